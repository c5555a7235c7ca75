//! One group of changes judged: the strongest design that its changes allow, the looks, what is kept or taken back.

pub mod concurrent;
pub mod estimates;
pub mod paired;
pub mod parts;
pub mod switchback;
#[cfg(test)]
mod tests;

use crate::changing::{Changing, Tried};
use crate::failure::Failure;
use crate::judging::concurrent::Halves;
use crate::measure;
use crate::measure::bench::{self, Bench, Side};
use crate::optimize::outcome;
use pgassay_judge::LOOKS;
use pgassay_model::change::Change;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::plan::PlannedChange;
use pgassay_model::run::ChangeOutcome;
use pgassay_model::snapshot::Snapshot;

/// Why a change that waits for a restart is not tried.
const NEEDS_RESTART: &str = "comes into force only by a restart, which pgassay never does; apply it yourself in a maintenance window and measure again";
/// Blocks measured of a state that is not judged itself.
const UNJUDGED_BLOCKS: u32 = LOOKS[1];

/// A change in force, and the seconds it took.
pub type Applied<'a> = (&'a PlannedChange, f64);

/// Judges one group of changes.
pub struct Judging<'a> {
    /// What measures.
    pub bench: &'a Bench<'a>,
    /// The target as observed before anything was changed.
    pub snapshot: &'a Snapshot,
    /// The group's name.
    pub group: &'a str,
    /// Keep what could not be told from noise, too.
    pub keep_inconclusive: bool,
    /// The group has proved itself on a copy.
    pub rehearsed: bool,
}

/// How a group is compared with the state without it, strongest first.
enum Design {
    /// On connections of its own, before the server is touched.
    Halves(Box<Halves>),
    /// Switched on and off; why not by halves.
    Switchback(String),
    /// Blocks before it, then blocks after it.
    BeforeAfter,
}

/// What blocks after a change have shown.
struct Seen {
    after: Side,
    comparison: Vec<Comparison>,
    verdict: Verdict,
    reason: String,
}

impl Judging<'_> {
    /// Judges the group against `before`, the state in force, keeps what helped and takes the rest back. Returns
    /// what was measured of the state that is in force then; None where that is still the state before.
    pub async fn run(
        &self,
        changing: &mut Changing<'_>,
        members: &[&PlannedChange],
        before: &mut Side,
        outcomes: &mut Vec<ChangeOutcome>,
    ) -> Result<Option<Side>, Failure> {
        let (waiting, able): (Vec<&PlannedChange>, Vec<_>) =
            members.iter().partition(|change| change.needs_restart);
        for change in waiting {
            changing.skip(change, NEEDS_RESTART)?;
            outcomes.push(outcome::skipped(change, NEEDS_RESTART));
        }
        if able.is_empty() {
            return Ok(None);
        }
        let design = self.design(&able).await;
        let words = self.words(&design, &able);
        self.bench.target.progress.say(format!("group \"{}\" is judged by {words}", self.group));
        match design {
            Design::Halves(halves) => {
                self.judge_by_halves(changing, &able, &halves, &words, outcomes).await
            }
            Design::Switchback(_) => {
                let applied = self.apply(changing, &able, outcomes).await?;
                if applied.is_empty() {
                    return Ok(None);
                }
                self.judge_by_switching(changing, &applied, &words, outcomes).await
            }
            Design::BeforeAfter => {
                if before.whole.blocks.len() < self.bench.whole_blocks() as usize {
                    self.bench.target.progress.step("measuring more of the state before");
                    self.bench.more(before, self.bench.whole_blocks()).await?;
                }
                let applied = self.apply(changing, &able, outcomes).await?;
                if applied.is_empty() {
                    return Ok(None);
                }
                self.judge_afterwards(changing, applied, before, &words, outcomes).await
            }
        }
    }

    async fn design(&self, changes: &[&PlannedChange]) -> Design {
        if !switchback::possible(changes) {
            return Design::BeforeAfter;
        }
        let bench = self.bench;
        match Halves::of(bench.target, self.snapshot, &bench.options.mode, changes).await {
            Ok(halves) => Design::Halves(Box::new(halves)),
            Err(why_not) => Design::Switchback(why_not),
        }
    }

    /// The design, and why it was taken.
    fn words(&self, design: &Design, changes: &[&PlannedChange]) -> String {
        let copies = if self.rehearsed {
            "it was compared on copies before"
        } else {
            "--rehearse compares on copies"
        };
        match design {
            Design::Halves(_) => "half of the connections with it and half without, at the same time: a session can set it and no pooler is in between".to_owned(),
            Design::Switchback(why_not) => format!(
                "blocks with it on and off in random order: a reload switches it while the application runs, and half of the connections with it and half without was not possible, since {why_not}"
            ),
            Design::BeforeAfter if changes.iter().all(|change| stays(change)) => {
                format!("blocks before and blocks after: what was there before can't be put back; {copies}")
            }
            Design::BeforeAfter => format!(
                "blocks before and blocks after: an index can't be switched off in production; {copies}"
            ),
        }
    }

    async fn apply<'c>(
        &self,
        changing: &mut Changing<'_>,
        changes: &[&'c PlannedChange],
        outcomes: &mut Vec<ChangeOutcome>,
    ) -> Result<Vec<Applied<'c>>, Failure> {
        let progress = &self.bench.target.progress;
        let mut applied = Vec::new();
        for change in changes {
            progress.step(format!("applying {}: {}", change.id, change.title));
            match changing.apply(change).await? {
                Tried::Applied { elapsed_s, .. } => applied.push((*change, elapsed_s)),
                Tried::Refused(reason) => {
                    progress.say(format!("{} was not applied: {reason}", change.id));
                    outcomes.push(outcome::skipped(
                        change,
                        &format!("refused before anything was touched: {reason}"),
                    ));
                }
            }
        }
        Ok(applied)
    }

    async fn judge_afterwards(
        &self,
        changing: &mut Changing<'_>,
        mut applied: Vec<Applied<'_>>,
        before: &Side,
        words: &str,
        outcomes: &mut Vec<ChangeOutcome>,
    ) -> Result<Option<Side>, Failure> {
        let all_stay = applied.iter().all(|(change, _)| stays(change));
        loop {
            let in_force: Vec<&PlannedChange> = applied.iter().map(|(change, _)| *change).collect();
            let Seen { after, comparison, verdict, reason } = self.look(before, &in_force).await?;
            self.say(verdict, &reason);
            let keep_group = self.keeps(verdict);
            // One member that does harm must not cost the others: without it they are measured again.
            let harmful =
                |change: &PlannedChange| !keep_group && outcome::does_harm(change, &comparison);
            let spoiled = applied.iter().any(|(change, _)| harmful(change))
                && !applied.iter().all(|(change, _)| harmful(change));
            let mut left = Vec::new();
            let mut taken_back = false;
            for (change, elapsed) in applied {
                if spoiled && !harmful(change) {
                    left.push((change, elapsed));
                    continue;
                }
                let mut judged = outcome::judge_member(
                    change,
                    &comparison,
                    &after.whole.index_scans,
                    verdict,
                    &reason,
                    keep_group,
                );
                let (target, workload) = (self.bench.target, self.bench.workload);
                judged = estimates::heed(target, Some(workload), change, judged).await?;
                judged.reason = with_design(&judged.reason, words);
                if judged.keep {
                    changing.keep(change, &judged.reason)?;
                } else {
                    taken_back = true;
                    self.bench
                        .target
                        .progress
                        .step(format!("rolling back {}: {}", change.id, change.title));
                    changing.rollback(change).await?;
                }
                outcomes.push(outcome::of(change, &judged, verdict, &comparison, elapsed));
            }
            if !left.is_empty() {
                applied = left;
                continue;
            }
            return match (keep_group, taken_back) {
                (true, false) => Ok(Some(after)),
                (true, true) => self.measure(", without what was rolled back").await.map(Some),
                // New statistics and rebuilt indexes stay whatever they were judged: what follows is compared with them in force.
                (false, _) if all_stay => Ok(Some(after)),
                (false, _) => Ok(None),
            };
        }
    }

    /// Measures blocks after the changes until they tell, or the last look.
    async fn look(&self, before: &Side, in_force: &[&PlannedChange]) -> Result<Seen, Failure> {
        let bench = self.bench;
        let counted = pgassay_postgres::index_scans;
        let scans = counted(bench.session).await.map_err(crate::target::postgres_failure)?;
        self.step("");
        let (first, later) = bench.looks().split_first().unwrap_or((&LOOKS[0], &[]));
        let mut after = bench.side(*first).await?;
        let (mut comparison, mut verdict, mut reason) = bench::compare(before, &after);
        for look in later {
            if told(verdict, &comparison, in_force) {
                break;
            }
            let there = after.whole.blocks.len();
            bench.target.progress.say(format!("after {there} blocks: {verdict}: {reason}"));
            self.step(" further");
            bench.more(&mut after, *look).await?;
            (comparison, verdict, reason) = bench::compare(before, &after);
        }
        // The parts of the measurement and the rare statements by themselves all count.
        let created = bench::created_indexes(in_force);
        let now = measure::await_scans(bench.target, bench.session, &created, &scans).await?;
        after.whole.index_scans = measure::scanned(&scans, now);
        Ok(Seen { after, comparison, verdict, reason })
    }

    async fn judge_by_halves(
        &self,
        changing: &mut Changing<'_>,
        changes: &[&PlannedChange],
        halves: &Halves,
        words: &str,
        outcomes: &mut Vec<ChangeOutcome>,
    ) -> Result<Option<Side>, Failure> {
        let paired = self.by_halves(halves).await?;
        let (verdict, comparison) = (paired.verdict, &paired.comparison);
        self.say(verdict, &paired.reason);
        let keep = self.keeps(verdict);
        let reason = with_design(&format!("its group is {verdict}: {}", paired.reason), words);
        if !keep {
            let reason = format!("not applied: {reason}");
            for change in changes {
                changing.skip(change, &reason)?;
                outcomes.push(outcome::not_applied(change, &reason, verdict, comparison));
            }
            return Ok(None);
        }
        let applied = self.apply(changing, changes, outcomes).await?;
        let judged = outcome::Judged { keep, reason };
        for (change, elapsed) in &applied {
            changing.keep(change, &judged.reason)?;
            outcomes.push(outcome::of(change, &judged, verdict, comparison, *elapsed));
        }
        if applied.is_empty() { Ok(None) } else { self.measure("").await.map(Some) }
    }

    async fn judge_by_switching(
        &self,
        changing: &mut Changing<'_>,
        applied: &[Applied<'_>],
        words: &str,
        outcomes: &mut Vec<ChangeOutcome>,
    ) -> Result<Option<Side>, Failure> {
        let (paired, on) = self.switch_on_and_off(changing, applied).await?;
        let (verdict, reason) = (paired.verdict, &paired.reason);
        self.say(verdict, reason);
        let keep = self.keeps(verdict);
        if keep != on {
            switchback::switch(changing, applied, keep).await?;
        }
        let reason = with_design(&format!("its group is {verdict}: {reason}"), words);
        let judged = outcome::Judged { keep, reason };
        for (change, elapsed) in applied {
            if keep {
                changing.keep(change, &judged.reason)?;
            }
            outcomes.push(outcome::of(change, &judged, verdict, &paired.comparison, *elapsed));
        }
        if !keep {
            return Ok(None);
        }
        self.measure("").await.map(Some)
    }

    fn keeps(&self, verdict: Verdict) -> bool {
        verdict == Verdict::Improved || (verdict == Verdict::Inconclusive && self.keep_inconclusive)
    }

    /// Measures the state in force, for what follows and for the report.
    async fn measure(&self, which: &str) -> Result<Side, Failure> {
        self.step(which);
        self.bench.side(UNJUDGED_BLOCKS).await
    }

    fn step(&self, which: &str) {
        let mode = bench::describe(&self.bench.options.mode);
        let group = self.group;
        self.bench
            .target
            .progress
            .step(format!("measuring with the group \"{group}\"{which} ({mode})"));
    }

    fn say(&self, verdict: Verdict, reason: &str) {
        self.bench.target.progress.say(format!("group \"{}\": {verdict}: {reason}", self.group));
    }
}

/// Whether further blocks could change nothing that matters: a verdict, and where it is for the group, one for
/// each index in it too, whose statements may tell later than the whole workload.
fn told(verdict: Verdict, comparison: &[Comparison], changes: &[&PlannedChange]) -> bool {
    let open = |change: &&PlannedChange| {
        let verdicts = || {
            change
                .statements
                .iter()
                .filter_map(|id| {
                    comparison.iter().find(|entry| entry.metric == format!("statement:{id}"))
                })
                .map(|entry| entry.verdict)
        };
        matches!(change.change, Change::CreateIndex { .. })
            && verdicts().all(|verdict| verdict != Verdict::Improved)
            && verdicts().any(|verdict| verdict == Verdict::Inconclusive)
    };
    match verdict {
        Verdict::Inconclusive => false,
        Verdict::Improved => !changes.iter().any(open),
        Verdict::Equivalent | Verdict::Regressed => true,
    }
}

/// What stays in force when it is taken back.
fn stays(change: &PlannedChange) -> bool {
    matches!(change.change, Change::Analyze { .. } | Change::Reindex { .. })
}

fn with_design(reason: &str, words: &str) -> String {
    format!("{reason} (judged by {words})")
}
