//! `apply --passive` and `verify --passive`: changes judged by what the application itself runs, group by group;
//! what helps is kept, the rest taken back. No load is driven.

pub mod document;
pub mod observing;
#[cfg(test)]
mod tests;
pub mod watch;

use crate::changing::{Access, Changing, Tried, journal_failure};
use crate::failure::{Exit, Failure};
use crate::judging::estimates;
use crate::judging::switchback;
use crate::optimize::groups;
use crate::optimize::outcome::{self, Judged};
use crate::passive::observing::{Observer, Switched};
use crate::passive::watch::{FEWEST_PAIRS, Watch};
use crate::past_runs;
use crate::target::Target;
use jiff::Timestamp;
use pgassay_change::Journal;
use pgassay_judge::{AbortRules, Judgement, compare_observations, compare_switched};
use pgassay_model::change::Change;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::observation::Observation;
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::run::{ChangeOutcome, ChangeState, Run, RunState};
use pgassay_model::units::Ms;
use pgassay_model::workload::Workload;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a change that waits for a restart is not tried.
const NEEDS_RESTART: &str = "comes into force only by a restart, which pgassay never does; apply it yourself in a maintenance window and measure again";
/// Why a change of the pooler is not tried.
const POOLER: &str = "what it changes (waiting for a connection, logging in) is not in pg_stat_statements, so it can't be judged by it; `pgassay optimize` measures it";

/// Firewalls and address translation forget connections that idle for some minutes.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Applies a plan group by group while the application runs, and returns the run, finished and stored.
pub async fn apply(target: &Target, plan: &Plan, watch: &Watch) -> Result<Run, Failure> {
    let mut observer = Observer::open(target, watch).await?;
    let access = Access::open(target).await?;
    let (to_try, skipped) = select(plan);
    // What would be refused after the window is refused before it.
    Changing::check(target, &access, &to_try).await?;
    let mut progress = Progressed {
        outcomes: skipped.iter().map(|(change, why)| outcome::skipped(change, why)).collect(),
        notes: document::notes(&observer, plan),
        ..Progressed::default()
    };
    if to_try.changes.is_empty() {
        let headline = "Nothing was tried: the plan has no change that can be judged passively";
        return untouched(target, plan, &observer, progress, headline.into());
    }
    target
        .progress
        .step(format!("watching the application for {:?}, nothing changed yet", watch.window));
    let before = observer.window("before", None).await?.observation;
    let baseline = match pgassay_judge::baseline(&before) {
        Ok(baseline) => baseline,
        Err(why) => {
            progress.outcomes.extend(to_try.changes.iter().map(|change| ChangeOutcome {
                verdict: Some(Verdict::Inconclusive),
                ..outcome::skipped(change, &format!("{why}; nothing was changed"))
            }));
            let headline = format!("Inconclusive: {why}; nothing was changed");
            return untouched(target, plan, &observer, progress, headline);
        }
    };
    let detectable = match baseline.detectable.filter(|effect| effect.is_finite()) {
        Some(effect) => {
            format!("changes of less than about {:.0} % can't be seen", effect * 100.0)
        }
        None => "too few buckets to say which changes can be seen".to_owned(),
    };
    let line = format!(
        "before: {} calls in {} buckets, weighted mean server time {}; {detectable}{}",
        before.calls(),
        before.buckets.len(),
        Ms(baseline.index_ms),
        if baseline.steady {
            ""
        } else {
            "; the second half differs from the first though nothing had changed: read small changes with care"
        }
    );
    target.progress.say(&line);
    progress.notes.push(line);

    let mut changing = Changing::begin(target, &access, plan).await?;
    let stored = access.journal().save_observation(changing.run(), &before);
    if let Err(error) = stored {
        return Err(changing.abandon(journal_failure(error)).await);
    }
    for (change, why) in &skipped {
        if let Err(failure) = changing.skip(change, why) {
            return Err(changing.abandon(failure).await);
        }
    }
    progress.first = Some(before.clone());
    progress.in_force = Some(before);
    let done = carry_out(&mut observer, &mut changing, &to_try, &mut progress).await;
    let run = match done {
        Ok(()) => document(target, plan, &mut observer, &changing, &mut progress).await,
        Err(failure) => Err(failure),
    };
    match run {
        Ok(run) => {
            changing.finish(&run).await?;
            Ok(run)
        }
        Err(failure) => {
            let run = changing.run().to_owned();
            let failure = changing.abandon(failure).await;
            if let Some(why) = progress.aborted.take().filter(|_| failure.exit == Exit::Undone) {
                let document = document::aborted(target, plan, &observer, run, progress, &why);
                if let Err(error) = past_runs::store(&target.state, &document) {
                    tracing::warn!(error = error.message, "the report of the run is not stored");
                }
            }
            Err(failure)
        }
    }
}

/// Judges an applied run by what the application runs now, against what it ran before the run.
pub async fn verify(target: &Target, run: Run, watch: &Watch) -> Result<Run, Failure> {
    let before = Journal::open(&target.state)
        .and_then(|journal| journal.load_observation(&run.run))
        .map_err(journal_failure)?
        .ok_or_else(|| {
            Failure::input(
                format!("run {} holds nothing that was observed before it", run.run),
                "only `apply --passive` observes; without --passive, `verify` drives a workload",
            )
        })?;
    let mut observer = Observer::open(target, watch).await?;
    target.progress.step(format!("watching the application for {:?}", watch.window));
    let scans_before = observer.index_scans().await?;
    let after = observer.window("now", None).await?.observation;
    let scans = grown(&scans_before, &observer.index_scans().await?);
    let judgement = compare_observations(&before, &after);
    document::verified(&observer, run, &before, &after, judgement, &scans).await
}

/// What became of a plan so far.
#[derive(Default)]
pub struct Progressed {
    /// Of each change.
    pub outcomes: Vec<ChangeOutcome>,
    /// What the reader must know.
    pub notes: Vec<String>,
    /// What ran before anything was changed.
    pub first: Option<Observation>,
    /// What ran last with exactly what is in force; None where that was not watched.
    pub in_force: Option<Observation>,
    /// The comparison of each group that was kept.
    pub kept: Vec<Vec<Comparison>>,
    /// How often each index was scanned while its group was watched.
    pub scans: BTreeMap<String, u64>,
    /// Why a change had to go at once.
    pub aborted: Option<String>,
}

/// A change in force, and the seconds it took.
type Applied<'a> = (&'a PlannedChange, f64);

/// The changes that can be judged passively, and the others with the reason.
fn select(plan: &Plan) -> (Plan, Vec<(&PlannedChange, &'static str)>) {
    let why = |change: &PlannedChange| match change.change {
        _ if change.needs_restart => Some(NEEDS_RESTART),
        Change::SetPooler { .. } => Some(POOLER),
        _ => None,
    };
    let skipped = plan.changes.iter().filter_map(|change| Some((change, why(change)?))).collect();
    let changes = plan.changes.iter().filter(|change| why(change).is_none()).cloned().collect();
    (Plan { changes, ..plan.clone() }, skipped)
}

async fn carry_out(
    observer: &mut Observer<'_>,
    changing: &mut Changing<'_>,
    plan: &Plan,
    progress: &mut Progressed,
) -> Result<(), Failure> {
    for group in groups(plan) {
        let before = match progress.in_force.take() {
            Some(before) => before,
            None => {
                let which = format!("before the group \"{group}\"");
                kept_alive(changing, observer.window(&which, None)).await?.observation
            }
        };
        let applied = apply_group(observer, changing, plan, &group, progress).await?;
        if applied.is_empty() {
            progress.in_force = Some(before);
            continue;
        }
        let workload = plan.workload.as_ref();
        judge(observer, changing, &group, &applied, workload, before, progress).await?;
    }
    Ok(())
}

async fn apply_group<'a>(
    observer: &Observer<'_>,
    changing: &mut Changing<'_>,
    plan: &'a Plan,
    group: &str,
    progress: &mut Progressed,
) -> Result<Vec<Applied<'a>>, Failure> {
    let mut applied = Vec::new();
    for change in plan.changes.iter().filter(|change| change.group == group) {
        observer.say(&format!("applying {}: {}", change.id, change.title));
        match changing.apply(change).await? {
            Tried::Applied { elapsed_s, .. } => applied.push((change, elapsed_s)),
            Tried::Refused(reason) => {
                observer.say(&format!("{} was not applied: {reason}", change.id));
                let why = format!("refused before anything was touched: {reason}");
                progress.outcomes.push(outcome::skipped(change, &why));
            }
        }
    }
    Ok(applied)
}

/// Watches with a group in force, keeps what helped and takes the rest back.
async fn judge(
    observer: &mut Observer<'_>,
    changing: &mut Changing<'_>,
    group: &str,
    applied: &[Applied<'_>],
    workload: Option<&Workload>,
    before: Observation,
    progress: &mut Progressed,
) -> Result<(), Failure> {
    let scans_before = observer.index_scans().await?;
    let pairs = observer.watch.buckets() / 2;
    let reloadable =
        applied.iter().all(|(change, _)| matches!(change.change, Change::SetParameter { .. }));
    let switching = reloadable && pairs >= FEWEST_PAIRS;
    let rules = AbortRules::new(&before);
    let (judgement, after, aborted, on) = if switching {
        let switched = switch(observer, changing, pairs, applied, rules).await?;
        let judgement = compare_switched(&before, &switched.without, &switched.with);
        (judgement, switched.with, switched.aborted, switched.on)
    } else {
        let which = format!("with the group \"{group}\"");
        let watched = kept_alive(changing, observer.window(&which, Some(rules))).await?;
        let judgement = compare_observations(&before, &watched.observation);
        (judgement, watched.observation, watched.aborted, true)
    };
    if let Some(why) = aborted {
        progress.aborted = Some(why.clone());
        progress.outcomes.extend(
            applied
                .iter()
                .map(|(change, elapsed)| document::taken_back(change, &judgement, &why, *elapsed)),
        );
        return Err(Failure::new(Exit::Undone, format!("group \"{group}\" had to go: {why}"), ""));
    }
    let Judgement { comparison, verdict, reason, .. } = &judgement;
    let design = if switching { "switched on and off in random order" } else { "before and after" };
    observer.say(&format!("group \"{group}\" ({design}): {verdict}: {reason}"));
    progress.notes.push(document::traffic(group, design, &before, &after));
    progress.notes.extend(judgement.notes.iter().map(|note| format!("group \"{group}\": {note}")));

    let keep_group = *verdict == Verdict::Improved
        || (*verdict == Verdict::Inconclusive && observer.watch.keep_inconclusive);
    let scans = grown(&scans_before, &observer.index_scans().await?);
    let mut as_watched = true;
    if keep_group && !on {
        switchback::switch(changing, applied, true).await?;
    }
    for (change, elapsed) in applied.iter().rev() {
        let meant = document::with_names(change, &judgement);
        let judged: Judged =
            outcome::judge_member(&meant, comparison, &scans, *verdict, reason, keep_group);
        let judged = estimates::heed(observer.target(), workload, change, judged).await?;
        if judged.keep {
            changing.keep(change, &judged.reason)?;
            progress.scans.extend(scans_of(change, &scans));
        } else {
            if on || keep_group {
                observer.say(&format!("rolling back {}: {}", change.id, change.title));
                changing.rollback(change).await?;
            }
            as_watched = false;
        }
        let mut of = outcome::of(&meant, &judged, *verdict, comparison, *elapsed);
        of.reason = format!("{} ({design})", of.reason);
        progress.outcomes.push(of);
    }
    let any_kept = applied.iter().any(|(change, _)| {
        progress.outcomes.iter().any(|one| one.id == change.id && one.state == ChangeState::Kept)
    });
    if any_kept {
        progress.kept.push(comparison.clone());
    }
    // What comes next has to be compared with what is in force from here on.
    progress.in_force = (keep_group && as_watched).then_some(after);
    Ok(())
}

/// Watches, while the session that changes the server is kept from idling for hours.
async fn kept_alive<T>(changing: &Changing<'_>, watching: impl Future<Output = T>) -> T {
    let beats = async {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            changing.heartbeat().await;
        }
    };
    tokio::select! {
        watched = watching => watched,
        never = beats => never,
    }
}

async fn switch(
    observer: &mut Observer<'_>,
    changing: &mut Changing<'_>,
    pairs: usize,
    applied: &[Applied<'_>],
    rules: AbortRules<'_>,
) -> Result<Switched, Failure> {
    changing.keep_silent(true);
    let switched = observer
        .pairs(pairs, rules, async |on| switchback::switch(changing, applied, on).await)
        .await;
    changing.keep_silent(false);
    switched
}

/// The scans of the index that a change creates.
fn scans_of(change: &PlannedChange, scans: &BTreeMap<String, u64>) -> Option<(String, u64)> {
    let Change::CreateIndex { definition, .. } = &change.change else { return None };
    let name = format!("{}.{}", definition.relation.schema, definition.name);
    Some((name.clone(), scans.get(&name).copied()?))
}

/// How often each index was scanned in between.
fn grown(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    after
        .iter()
        .map(|(name, scans)| {
            (name.clone(), scans.saturating_sub(before.get(name).copied().unwrap_or(0)))
        })
        .collect()
}

/// The run of a plan of which nothing was tried, stored.
fn untouched(
    target: &Target,
    plan: &Plan,
    observer: &Observer<'_>,
    progress: Progressed,
    headline: String,
) -> Result<Run, Failure> {
    let mut run = document::skeleton(target, plan, observer, String::new(), progress);
    run.headline = headline;
    run.checks = document::unmeasured_checks();
    Changing::store_without_changes(target, &mut run, None)?;
    Ok(run)
}

/// The document of a run that came to its end.
async fn document(
    target: &Target,
    plan: &Plan,
    observer: &mut Observer<'_>,
    changing: &Changing<'_>,
    progress: &mut Progressed,
) -> Result<Run, Failure> {
    let progress = std::mem::take(progress);
    let comparison = document::whole(&progress);
    let scans = progress.scans.clone();
    let mut run = document::skeleton(target, plan, observer, changing.run().to_owned(), progress);
    run.generated_at = Timestamp::now();
    run.headline = document::headline(&comparison, &run.changes);
    run.comparison = comparison;
    run.state = match run.changes.iter().any(|change| change.state == ChangeState::Kept) {
        true => RunState::Finished,
        false => RunState::RolledBack,
    };
    run.risk = outcome::risk(plan, &run.changes);
    run.rollback = outcome::rollback_commands(&run.run, target, &run.changes);
    run.backups = changing.backups();
    run.checks = document::checks(observer, &run.changes, plan, &scans).await?;
    Ok(run)
}
