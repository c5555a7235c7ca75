//! The whole job: measure, plan, apply group by group, measure again, keep what helped, roll back the rest, report.

pub mod goal;
pub mod on_copies;
pub mod outcome;
pub mod rehearsal;

use crate::changing::{Access, Changing};
use crate::failure::{Exit, Failure};
use crate::judging::Judging;
use crate::judging::estimates;
use crate::measure::Options;
use crate::measure::answered::some_answered;
use crate::measure::bench::{
    self, Bench, CAPACITY_CLIENTS, CONFIDENCE, OPEN_LOOP_CLIENTS, SHARE_OF_CAPACITY, Side,
};
use crate::measure::side_effects;
use crate::optimize::goal::Goal;
use crate::optimize::rehearsal::Rehearsal;
use crate::target::Target;
use crate::validation::{self, Measured};
use jiff::Timestamp;
use pgassay_judge::{Design, Margins};
use pgassay_load::{LoadMode, Protocol, Writes};
use pgassay_model::comparison::Comparison;
use pgassay_model::measurement::{Connect, Measurement};
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::run::{self, ChangeOutcome, ChangeState, Run, RunState};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::{Bytes, Ms};
use pgassay_model::workload::Workload;
use std::collections::BTreeMap;
use std::time::Duration;

/// What to optimize, and how strictly.
pub struct Request {
    /// Targets.
    pub goal: Goal,
    /// Closed or open loop as asked; None: open loop at [`SHARE_OF_CAPACITY`] of the measured capacity.
    pub mode: Option<LoadMode>,
    /// When connections are opened.
    pub connect: Connect,
    /// How statements are sent.
    pub protocol: Protocol,
    /// What becomes of what the workload writes.
    pub writes: Writes,
    /// Length of each side of a comparison.
    pub duration: Duration,
    /// Time driven first and not counted.
    pub warmup: Duration,
    /// Seed of every random choice.
    pub seed: u64,
    /// Keep changes that could not be told from noise.
    pub keep_inconclusive: bool,
    /// Most that new indexes may take.
    pub budget: Option<Bytes>,
    /// Try changes on a copy of the server first.
    pub rehearse: bool,
}

/// Runs the whole job on `target` and returns the run, finished and stored in the journal.
pub async fn optimize(
    target: &Target,
    snapshot: &Snapshot,
    workload: &Workload,
    request: &Request,
) -> Result<Run, Failure> {
    Changing::ready(target).await?;
    let session = target.observe().await?;
    let console = target.console().await?;
    let mut bench = Bench {
        target,
        session: &session,
        console: console.as_ref(),
        workload,
        options: Options {
            mode: LoadMode::Closed {
                clients: bench::clients(target, snapshot, request.connect, CAPACITY_CLIENTS),
            },
            connect: request.connect,
            protocol: request.protocol,
            writes: request.writes,
            duration: request.duration,
            warmup: request.warmup,
            block: bench::block_length(request.duration),
            seed: request.seed,
            postmaster: snapshot.host.as_ref().and_then(|host| host.postmaster_pid),
            awaited_indexes: Vec::new(),
        },
        rare: BTreeMap::new(),
    };
    target.progress.step("measuring the capacity before any change (closed loop)");
    let capacity_before = bench.capacity().await?;
    some_answered(&capacity_before)?;
    bench.options.mode = match &request.mode {
        Some(mode) => mode.clone(),
        None => LoadMode::Open {
            rate: (capacity_before.throughput * SHARE_OF_CAPACITY).max(1.0),
            clients: bench::clients(target, snapshot, request.connect, OPEN_LOOP_CLIENTS),
        },
    };
    target.progress.step(format!(
        "measuring the response time before any change ({})",
        bench::describe(&bench.options.mode)
    ));
    let counters_before =
        pgassay_postgres::counters(&session).await.map_err(crate::target::postgres_failure)?;
    let mut before = bench.whole().await?;
    // Found by a stall, or by neighbours of this machine: at a rate that can't be kept up, latency only tells
    // how long the queue has been growing.
    if request.mode.is_none()
        && let (Some(answered), LoadMode::Open { clients, .. }) =
            (bench::fell_behind(&before), &bench.options.mode)
    {
        bench.options.mode =
            LoadMode::Open { rate: answered * SHARE_OF_CAPACITY, clients: *clients };
        target.progress.step(format!(
            "the server did not keep up; measuring again ({})",
            bench::describe(&bench.options.mode)
        ));
        before = bench.whole().await?;
    }
    some_answered(&before)?;
    let counters_after =
        pgassay_postgres::counters(&session).await.map_err(crate::target::postgres_failure)?;
    target.progress.say(format!(
        "response time: mean {}, p95 {}, p99 {}",
        Ms(before.latency_ms.mean),
        Ms(before.latency_ms.p95),
        Ms(before.latency_ms.p99)
    ));

    target.progress.step("planning");
    let mut plan = crate::advising::planning::plan(
        target,
        snapshot,
        workload,
        Some(&before),
        Some(&crate::advising::planning::delta(&counters_before, &counters_after)),
        request.budget,
    )
    .await?;
    target.progress.say(format!(
        "{} changes proposed, {} considered and not proposed",
        plan.changes.len(),
        plan.not_proposed.len()
    ));

    let mut notes = vec![
        "after is measured later than before, on the same workload and rate: a change of the machine's own speed in between would count as well; the A/A figure says how much the first half of the blocks differed from the second".to_owned(),
    ];
    notes.extend(side_effects::notes(workload, snapshot, request.writes));
    let gate = pgassay_judge::aa_gate(&before.blocks);
    notes.push(format!(
        "A/A on the blocks before: {}",
        if gate.passed {
            "no difference found"
        } else {
            "a difference was found though nothing had changed; read small changes with care"
        }
    ));

    let mut refused = Vec::new();
    if request.rehearse && !plan.changes.is_empty() {
        let rehearsal = Rehearsal {
            target,
            snapshot,
            workload,
            connect: request.connect,
            protocol: request.protocol,
            duration: request.duration,
            seed: request.seed,
        };
        let rehearsed = rehearsal.run(&mut plan).await?;
        notes.extend(rehearsed.notes);
        refused = rehearsed.refused;
    }
    let to_try: Vec<PlannedChange> = plan
        .changes
        .iter()
        .filter(|change| !refused.iter().any(|outcome| outcome.id == change.id))
        .cloned()
        .collect();
    if to_try.is_empty() {
        let mut run = outcome::untouched(target, snapshot, before, plan, refused, request, notes)?;
        Changing::store_without_changes(target, &mut run, Some(workload))?;
        return Ok(run);
    }

    let access = Access::open(target).await?;
    let mut changing = Changing::begin_measured(target, &access, &plan, workload).await?;
    for outcome in &refused {
        if let Some(change) = plan.changes.iter().find(|change| change.id == outcome.id) {
            changing.skip(change, &outcome.reason)?;
        }
    }
    let to_try = Plan { changes: to_try, ..plan.clone() };
    bench.find_rare(&to_try, &before);
    let done = match bench.rare_ones().await {
        Ok(rare) => {
            let before = Side { whole: before.clone(), rare };
            carry_out(&bench, &mut changing, &to_try, &before, request, snapshot).await
        }
        Err(failure) => Err(failure),
    };
    let done = match done {
        Ok(done) if done.kept() => {
            target.progress.step("measuring the capacity after (closed loop)");
            bench.capacity().await.map(|capacity| (done, capacity))
        }
        Ok(done) => Ok((done, capacity_before.clone())),
        Err(failure) => Err(failure),
    };
    let (done, capacity_after) = match done {
        Ok(done) => done,
        Err(failure) => return Err(changing.abandon(failure).await),
    };
    let kept = done.kept();
    let Done { mut outcomes, after, mut comparison } = done;
    outcomes.extend(refused);
    outcomes.sort_by_key(|outcome| plan.changes.iter().position(|change| change.id == outcome.id));
    if kept {
        replace_throughput(&mut comparison, &capacity_before, &capacity_after);
    }
    let mut checks = validation::validate(
        &session,
        console.as_ref(),
        Some(Measured { after: &after, goal: &request.goal }),
        &outcomes,
        &plan,
    )
    .await?;
    checks.extend(estimates::check(target, Some(workload), &plan, &outcomes).await?);
    let backups = changing.backups();
    let run = Run {
        schema: run::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        run: changing.run().to_owned(),
        state: if kept { RunState::Finished } else { RunState::RolledBack },
        target: target.server.to_string(),
        server_version: snapshot.server.version.clone(),
        headline: outcome::headline(&before, &after, &comparison, &outcomes),
        targets: request.goal.outcomes(&after.latency_ms, &comparison),
        risk: outcome::risk(&plan, &outcomes),
        rollback: outcome::rollback_commands(changing.run(), target, &outcomes),
        before: Some(before),
        after: Some(after),
        comparison,
        changes: outcomes,
        checks,
        plan: Some(plan),
        backups,
        notes,
    };
    changing.finish(&run).await?;
    Ok(run)
}

/// Throughput is what a closed loop reaches; in an open loop it is what was asked for.
fn replace_throughput(comparison: &mut Vec<Comparison>, before: &Measurement, after: &Measurement) {
    let margins = Margins::default();
    let entry = pgassay_judge::compare_measurements(
        before,
        after,
        Design::BeforeAfter,
        &margins,
        CONFIDENCE,
    )
    .into_iter()
    .find(|entry| entry.metric == "throughput");
    if let Some(mut entry) = entry {
        entry.method = format!("closed-loop capacity; {}", entry.method);
        comparison.retain(|existing| existing.metric != "throughput");
        comparison.insert(comparison.len().min(4), entry);
    }
}

/// What became of a plan.
struct Done {
    outcomes: Vec<ChangeOutcome>,
    /// The last measurement of the state that is in force.
    after: Measurement,
    /// That against the state before anything was changed; empty where nothing was kept.
    comparison: Vec<Comparison>,
}

impl Done {
    fn kept(&self) -> bool {
        self.outcomes.iter().any(|change| change.state == ChangeState::Kept)
    }
}

/// Judges group after group, each with what was kept of those before it in force.
async fn carry_out(
    bench: &Bench<'_>,
    changing: &mut Changing<'_>,
    plan: &Plan,
    before: &Side,
    request: &Request,
    snapshot: &Snapshot,
) -> Result<Done, Failure> {
    let mut outcomes = Vec::new();
    let mut standing = before.clone();
    let mut changed = false;
    for group in groups(plan) {
        if bench.target.interrupt.requested() {
            return Err(Failure::new(Exit::Interrupted, "interrupted", ""));
        }
        let judging = Judging {
            bench,
            snapshot,
            group: &group,
            keep_inconclusive: request.keep_inconclusive,
            rehearsed: request.rehearse,
        };
        let members: Vec<&PlannedChange> =
            plan.changes.iter().filter(|change| change.group == group).collect();
        if let Some(side) = judging.run(changing, &members, &mut standing, &mut outcomes).await? {
            standing = side;
            changed = true;
        }
    }
    let comparison = if changed { bench::compare(before, &standing).0 } else { Vec::new() };
    Ok(Done { outcomes, after: standing.whole, comparison })
}

/// Groups in the order of the plan.
pub fn groups(plan: &Plan) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for change in &plan.changes {
        if !groups.contains(&change.group) {
            groups.push(change.group.clone());
        }
    }
    groups
}
