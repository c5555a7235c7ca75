//! `--rehearse`: changes tried on a copy of the server, against another copy without them, before the server
//! itself sees any.

use crate::changing::{Access, Changing, Tried};
use crate::copies::{Copies, Copy};
use crate::failure::{Exit, Failure};
use crate::judging::estimates;
use crate::judging::paired::{self, Arm, Paired, Pairing};
use crate::measure::bench::{self, CAPACITY_CLIENTS, OPEN_LOOP_CLIENTS, SHARE_OF_CAPACITY};
use crate::measure::{self, Options};
use crate::optimize::outcome;
use crate::target::Target;
use pgassay_judge::LOOKS;
use pgassay_load::{LoadMode, Protocol, Writes};
use pgassay_model::change::Change;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::{Connect, Measurement};
use pgassay_model::plan::{Expected, ExpectedSource, Plan, PlanTarget, PlannedChange};
use pgassay_model::run::ChangeOutcome;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::percent;
use pgassay_model::workload::Workload;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a copy can't show, for every report of a rehearsal.
const LIMITS: &str = "the rehearsal ran on copies on this machine, without the pooler and without the other sessions of the server: cache size, disks and concurrency of the server itself are not in it";
const BLOCK_WARMUP: Duration = Duration::from_millis(300);

/// What the rehearsal of a plan has shown.
pub struct Rehearsed {
    /// Changes that did not prove themselves on the copy, and are not to be tried on the server.
    pub refused: Vec<ChangeOutcome>,
    /// What the others showed there, by the change's id; those that were not rehearsed are not among them.
    pub proven: BTreeMap<String, Proof>,
    /// What the reader must know.
    pub notes: Vec<String>,
}

/// Why a change proved itself on the copy.
pub struct Proof {
    /// In words.
    pub reason: String,
    /// The comparisons that bear on it.
    pub comparison: Vec<Comparison>,
}

/// What to rehearse with.
pub struct Rehearsal<'a> {
    /// The server that is copied.
    pub target: &'a Target,
    /// As observed.
    pub snapshot: &'a Snapshot,
    /// What is driven.
    pub workload: &'a Workload,
    /// When connections are opened.
    pub connect: Connect,
    /// How statements are sent.
    pub protocol: Protocol,
    /// Length of one side of a comparison at its last look; blocks are as long as on the server.
    pub duration: Duration,
    /// Seed of every random choice.
    pub seed: u64,
}

/// The copies, and how they are driven.
struct Stage<'a> {
    rehearsal: &'a Rehearsal<'a>,
    copies: &'a Copies,
    options: Options,
    /// How much slower the copy with the changes is by itself.
    offset: f64,
}

impl Rehearsal<'_> {
    /// Tries the groups of `plan` on a copy, one after the other; drops from the plan what did not improve, and
    /// replaces expectations by what was measured.
    pub async fn run(&self, plan: &mut Plan) -> Result<Rehearsed, Failure> {
        if !plan.changes.iter().any(can_be_rehearsed) {
            // Copies would be made for nothing.
            let notes = plan.changes.iter().map(not_rehearsed).collect();
            return Ok(Rehearsed { refused: Vec::new(), proven: BTreeMap::new(), notes });
        }
        let session = self.target.observe().await?;
        let copies = Copies::make(self.target, &session, self.snapshot).await?;
        drop(session);
        let mut rehearsed = self.run_on(&copies, plan).await?;
        rehearsed
            .notes
            .push("what proved itself on the copies is measured on the server again".into());
        Ok(rehearsed)
    }

    /// As [`Rehearsal::run`], on copies that are there.
    pub async fn run_on(&self, copies: &Copies, plan: &mut Plan) -> Result<Rehearsed, Failure> {
        let mut notes = vec![LIMITS.to_owned()];
        notes.extend(copies.notes.iter().cloned());
        let stage = self.stage(copies, &mut notes).await?;
        let (without, with) =
            (Access::open(&copies.without.target).await?, Access::open(&copies.with.target).await?);
        // A restored dump is a server of its own, made here of the one that the plan was made for.
        let on_copies = Plan {
            target: PlanTarget { system_identifier: None, ..plan.target.clone() },
            ..plan.clone()
        };
        let mut level = Changing::begin(&copies.without.target, &without, &on_copies).await?;
        let mut trying = Changing::begin(&copies.with.target, &with, &on_copies).await?;
        let (mut refused, mut proven) = (Vec::new(), BTreeMap::new());
        for group in crate::optimize::groups(plan) {
            let members: Vec<PlannedChange> =
                plan.changes.iter().filter(|change| change.group == group).cloned().collect();
            let (able, unable): (Vec<_>, Vec<_>) = members.into_iter().partition(|change| {
                can_be_rehearsed(change) && !(copies.dumped && rebuilds(change))
            });
            notes.extend(unable.iter().map(not_rehearsed));
            let mut tried: Vec<&PlannedChange> = Vec::new();
            for change in &able {
                self.target.progress.step(format!("on the copy: {}", change.title));
                match trying.apply(change).await? {
                    Tried::Applied { .. } => tried.push(change),
                    Tried::Refused(reason) => {
                        refused.push(outcome::skipped(
                            change,
                            &format!("refused on the copy: {reason}"),
                        ));
                    }
                }
            }
            if tried.is_empty() {
                continue;
            }
            let (paired, scans) = stage.compare(&group, &tried).await?;
            for change in tried {
                let judged = outcome::judge_member(
                    change,
                    &paired.comparison,
                    &scans,
                    paired.verdict,
                    &paired.reason,
                    paired.verdict == Verdict::Improved,
                );
                let copy = &copies.with.target;
                let judged = estimates::heed(copy, Some(self.workload), change, judged).await?;
                if judged.keep {
                    // The other copy gets it too, so that the next group is compared with it in force.
                    level.apply(change).await?;
                    expect(plan, &change.id, &paired.comparison);
                    let comparison = outcome::relevant(change, &paired.comparison);
                    let proof = Proof { reason: judged.reason, comparison };
                    proven.insert(change.id.clone(), proof);
                } else {
                    trying.rollback(change).await?;
                    let mut outcome = outcome::skipped(
                        change,
                        &format!(
                            "rehearsed on a copy and not tried on the server: {}",
                            judged.reason
                        ),
                    );
                    outcome.verdict = Some(paired.verdict);
                    outcome.comparison = outcome::relevant(change, &paired.comparison);
                    refused.push(outcome);
                }
            }
        }
        Ok(Rehearsed { refused, proven, notes })
    }

    /// Warms the copies, finds a rate that they keep up with, and compares them with each other as they are.
    async fn stage<'a>(
        &'a self,
        copies: &'a Copies,
        notes: &mut Vec<String>,
    ) -> Result<Stage<'a>, Failure> {
        let mut options = Options {
            mode: LoadMode::Closed { clients: CAPACITY_CLIENTS },
            connect: self.connect,
            protocol: self.protocol,
            // Copies are there to be written to.
            writes: Writes::Run,
            duration: Duration::from_secs(4),
            warmup: Duration::from_secs(1),
            block: Duration::from_secs(4),
            seed: self.seed,
            postmaster: None,
            awaited_indexes: Vec::new(),
        };
        self.target.progress.step("warming the copies");
        measure::block(&copies.with.target, self.workload, &options).await?;
        let capacity = measure::block(&copies.without.target, self.workload, &options).await?;
        if capacity.errors * 2 > capacity.requests {
            let first =
                capacity.statements.iter().find_map(|statement| statement.first_error.clone());
            return Err(Failure::new(
                Exit::Input,
                format!("the workload fails on the copy: {}", first.unwrap_or_default()),
                "a copy lets roles in over its socket without a password; the role of --app-dsn has to exist on the server",
            ));
        }
        options.mode = LoadMode::Open {
            rate: (capacity.throughput * SHARE_OF_CAPACITY).max(1.0),
            clients: OPEN_LOOP_CLIENTS,
        };
        options.duration = bench::block_length(self.duration);
        options.warmup = BLOCK_WARMUP;
        let mut stage = Stage { rehearsal: self, copies, options, offset: 0.0 };
        self.target.progress.step("comparing the copies with each other (A/A)");
        let pairing = Pairing {
            name: "A/A on two copies",
            seed: self.seed,
            looks: paired::AA_LOOKS,
            offset: 0.0,
        };
        let same = stage.pairs(&pairing).await?;
        let (offset, mean) = paired::offset(&same);
        stage.offset = offset;
        if let Some((change, (low, high))) =
            mean.and_then(|mean| Some((mean.change?, (mean.ci_low?, mean.ci_high?))))
        {
            notes.push(format!(
                "A/A on the two copies: mean latency {} [{}, {}]{}",
                percent(change),
                percent(low),
                percent(high),
                if offset == 0.0 {
                    ""
                } else {
                    "; the copies differ by themselves, which is taken off what follows"
                }
            ));
        }
        Ok(stage)
    }
}

impl Stage<'_> {
    /// Compares the copies with `tried` in force on one of them; also returns how often indexes were scanned.
    async fn compare(
        &self,
        group: &str,
        tried: &[&PlannedChange],
    ) -> Result<(Paired, BTreeMap<String, u64>), Failure> {
        let target = &self.rehearsal.target;
        target
            .progress
            .step(format!("rehearsing the group \"{group}\" (alternating blocks on two copies)"));
        let session = self.copies.with.target.observe().await?;
        let before = pgassay_postgres::index_scans(&session)
            .await
            .map_err(crate::target::postgres_failure)?;
        let pairing = Pairing {
            name: "alternating blocks on two copies",
            seed: self.rehearsal.seed,
            looks: &LOOKS,
            offset: self.offset,
        };
        let mut paired = self.pairs(&pairing).await?;
        let created = bench::created_indexes(tried);
        let copy = &self.copies.with.target;
        let after = measure::await_scans(copy, &session, &created, &before).await?;
        let used = measure::scanned(&before, after);
        if paired.verdict == Verdict::Improved {
            self.look_at_rare(&mut paired, tried).await?;
        }
        Ok((paired, used))
    }

    /// Measures by themselves the statements that changes are meant for and that the pairs could not judge.
    async fn look_at_rare(
        &self,
        paired: &mut Paired,
        tried: &[&PlannedChange],
    ) -> Result<(), Failure> {
        let judged = |id: &str| {
            paired.comparison.iter().any(|entry| {
                entry.metric == format!("statement:{id}") && entry.verdict != Verdict::Inconclusive
            })
        };
        let mean = |id: &str| {
            let seen: Vec<f64> = paired
                .without
                .iter()
                .flat_map(|block| &block.statements)
                .filter(|statement| statement.id == id && statement.requests > 0)
                .map(|statement| statement.latency_ms.mean)
                .collect();
            seen.iter().sum::<f64>() / (seen.len() as f64).max(1.0)
        };
        let rare: BTreeMap<String, f64> = tried
            .iter()
            .flat_map(|change| &change.statements)
            .filter(|id| !judged(id))
            .map(|id| (id.clone(), mean(id)))
            .collect();
        let workload = self.rehearsal.workload;
        let options = &self.options;
        let before = bench::alone(&self.copies.without.target, workload, options, &rare).await?;
        let after = bench::alone(&self.copies.with.target, workload, options, &rare).await?;
        let beneath = bench::put_rare(&mut paired.comparison, &before, &after);
        paired.comparison.extend(beneath);
        Ok(())
    }

    async fn pairs(&self, pairing: &Pairing<'_>) -> Result<Paired, Failure> {
        let target = self.rehearsal.target;
        let mut number = 0;
        paired::compare(
            pairing,
            |line| target.progress.say(line),
            async |arm| -> Result<Measurement, Failure> {
                let copy: &Copy = match arm {
                    Arm::Without => &self.copies.without,
                    Arm::With => &self.copies.with,
                };
                number += 1;
                let options = Options {
                    postmaster: copy.postmaster,
                    // Both blocks of a pair ask the same.
                    seed: self.options.seed + (number - 1) / 2,
                    ..self.options.clone()
                };
                measure::block(&copy.target, self.rehearsal.workload, &options).await
            },
        )
        .await
    }
}

/// What lives in the server itself and needs no restart.
pub fn can_be_rehearsed(change: &PlannedChange) -> bool {
    !change.needs_restart && !matches!(change.change, Change::SetPooler { .. })
}

/// What takes away what no dump holds: there is nothing to see on a copy that was restored from one.
fn rebuilds(change: &PlannedChange) -> bool {
    matches!(change.change, Change::Reindex { .. })
}

/// Why a change was not tried on a copy.
fn not_rehearsed(change: &PlannedChange) -> String {
    let why = if change.needs_restart {
        "it takes a restart"
    } else if rebuilds(change) {
        "a copy that was restored from a dump has no bloat"
    } else {
        "a copy of the server has no pooler"
    };
    format!("{} was not rehearsed: {why}", change.id)
}

/// Replaces what was expected of a change by what its group showed on the copy.
fn expect(plan: &mut Plan, id: &str, comparison: &[Comparison]) {
    let Some(change) = plan.changes.iter_mut().find(|change| change.id == id) else { return };
    let mean = comparison.iter().find(|entry| entry.metric == "latency_mean_ms");
    if let Some(mean) = mean {
        change.expected = Expected {
            effect: format!(
                "with its group on a copy: mean latency {}",
                mean.change.map(percent).unwrap_or_default()
            ),
            low: mean.ci_low,
            high: mean.ci_high,
            source: ExpectedSource::Rehearsed,
        };
    }
}
