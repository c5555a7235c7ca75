//! The whole job: measure, plan, apply group by group, measure again, keep what helped, roll back the rest, report.

use crate::changing::{Access, Changing, Tried};
use crate::failure::{Exit, Failure};
use crate::goal::Goal;
use crate::measure::{self, Options};
use crate::outcome;
use crate::target::Target;
use crate::validation;
use jiff::Timestamp;
use pgassay_judge::{Design, Margins};
use pgassay_load::LoadMode;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::{Connect, Measurement};
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::run::{self, ChangeOutcome, ChangeState, Run, RunState};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::{Bytes, Ms};
use pgassay_model::workload::Workload;
use pgassay_pgbouncer::Console;
use pgassay_postgres::Session;
use std::time::Duration;

/// What to optimize, and how strictly.
pub struct Request {
    /// Targets.
    pub goal: Goal,
    /// Closed or open loop as asked; None: open loop at [`SHARE_OF_CAPACITY`] of the measured capacity.
    pub mode: Option<LoadMode>,
    /// When connections are opened.
    pub connect: Connect,
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
}

/// Open-loop rate as a share of the closed-loop capacity: in the middle of the 50–70 % of the measurement protocol.
const SHARE_OF_CAPACITY: f64 = 0.6;
/// Clients that find the capacity.
const CAPACITY_CLIENTS: u32 = 8;
/// The most requests in flight in an open loop.
pub const OPEN_LOOP_CLIENTS: u32 = 32;
/// Why a change that waits for a restart is not tried.
const NEEDS_RESTART: &str = "comes into force only by a restart, which pgassay never does; apply it yourself in a maintenance window and measure again";
/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// The parts of a measurement that stay the same over a run.
struct Bench<'a> {
    target: &'a Target,
    session: &'a Session,
    console: Option<&'a Console>,
    workload: &'a Workload,
    options: Options,
}

impl Bench<'_> {
    async fn measure(&self) -> Result<Measurement, Failure> {
        measure::measure(self.target, Some(self.session), self.console, self.workload, &self.options).await
    }

    /// Closed loop, for the throughput that is possible.
    async fn capacity(&self) -> Result<Measurement, Failure> {
        let clients = match self.options.mode {
            LoadMode::Closed { clients } => clients,
            LoadMode::Open { .. } => CAPACITY_CLIENTS,
        };
        let duration = (self.options.duration / 3).max(Duration::from_secs(4));
        let options = Options {
            mode: LoadMode::Closed { clients },
            duration,
            block: duration / 8,
            ..self.options.clone()
        };
        measure::measure(self.target, Some(self.session), self.console, self.workload, &options).await
    }
}

/// Runs the whole job on `target` and returns the run, finished and stored in the journal.
pub async fn optimize(
    target: &Target,
    snapshot: &Snapshot,
    workload: &Workload,
    request: &Request,
) -> Result<Run, Failure> {
    let session = target.observe().await?;
    let console = target.console().await?;
    let mut bench = Bench {
        target,
        session: &session,
        console: console.as_ref(),
        workload,
        options: Options {
            mode: LoadMode::Closed { clients: clients(target, snapshot, request.connect, CAPACITY_CLIENTS) },
            connect: request.connect,
            duration: request.duration,
            warmup: request.warmup,
            block: measure::block_length(request.duration),
            seed: request.seed,
            postmaster: snapshot.host.as_ref().and_then(|host| host.postmaster_pid),
        },
    };
    target.progress.step("measuring the capacity before any change (closed loop)");
    let capacity_before = bench.capacity().await?;
    bench.options.mode = match &request.mode {
        Some(mode) => mode.clone(),
        None => LoadMode::Open {
            rate: (capacity_before.throughput * SHARE_OF_CAPACITY).max(1.0),
            clients: clients(target, snapshot, request.connect, OPEN_LOOP_CLIENTS),
        },
    };
    target.progress.step(format!("measuring the response time before any change ({})", describe(&bench.options.mode)));
    let counters_before = pgassay_postgres::counters(&session).await.map_err(crate::target::postgres_failure)?;
    let before = bench.measure().await?;
    let counters_after = pgassay_postgres::counters(&session).await.map_err(crate::target::postgres_failure)?;
    target.progress.say(format!(
        "response time: mean {}, p95 {}, p99 {}",
        Ms(before.latency_ms.mean), Ms(before.latency_ms.p95), Ms(before.latency_ms.p99)
    ));

    target.progress.step("planning");
    let plan = crate::planning::plan(
        target,
        snapshot,
        workload,
        Some(&before),
        Some(&crate::planning::delta(&counters_before, &counters_after)),
        request.budget,
    )
    .await?;
    target.progress.say(format!("{} changes proposed, {} considered and not proposed", plan.changes.len(), plan.not_proposed.len()));

    let mut notes = vec![
        "after is measured later than before, on the same workload and rate: a change of the machine's own speed in between would count as well; the A/A figure says how much the first half of the blocks differed from the second".to_owned(),
    ];
    let gate = pgassay_judge::aa_gate(&before.blocks);
    notes.push(format!(
        "A/A on the blocks before: {}",
        if gate.passed { "no difference found" } else { "a difference was found though nothing had changed; read small changes with care" }
    ));

    if plan.changes.is_empty() {
        let mut run = outcome::untouched(target, snapshot, before, plan, request, notes)?;
        Changing::store_without_changes(target, &mut run)?;
        return Ok(run);
    }

    let access = Access::open(target).await?;
    let mut changing = Changing::begin(target, &access, &plan).await?;
    let carried = carry_out(&bench, &mut changing, &plan, before.clone(), request).await;
    let (outcomes, last) = match carried {
        Ok(done) => done,
        Err(failure) => return Err(changing.abandon(failure).await),
    };
    let kept = outcomes.iter().any(|change| change.state == ChangeState::Kept);
    target.progress.step("measuring the capacity after (closed loop)");
    let capacity_after = if kept {
        match bench.capacity().await {
            Ok(capacity) => capacity,
            Err(failure) => return Err(changing.abandon(failure).await),
        }
    } else {
        capacity_before.clone()
    };
    let after = if kept { last } else { before.clone() };
    let mut comparison = if kept {
        pgassay_judge::compare_measurements(&before, &after, Design::BeforeAfter, &Margins::default(), CONFIDENCE)
    } else {
        Vec::new()
    };
    if kept {
        replace_throughput(&mut comparison, &capacity_before, &capacity_after);
    }
    let checks = validation::validate(&session, console.as_ref(), &after, &outcomes, &plan, &request.goal).await?;
    let backups = changing.backups();
    let run = Run {
        schema: run::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        run: changing.run().to_owned(),
        state: if kept { RunState::Finished } else { RunState::RolledBack },
        target: target.server.to_string(),
        server_version: snapshot.server.version.clone(),
        headline: outcome::headline(&before, &after, &comparison, &outcomes, &plan),
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
    let entry = pgassay_judge::compare_measurements(before, after, Design::BeforeAfter, &margins, CONFIDENCE)
        .into_iter()
        .find(|entry| entry.metric == "throughput");
    if let Some(mut entry) = entry {
        entry.method = format!("closed-loop capacity; {}", entry.method);
        comparison.retain(|existing| existing.metric != "throughput");
        comparison.insert(comparison.len().min(3), entry);
    }
}

/// Applies, measures and judges group after group; returns what became of each change and the last
/// measurement of the state that is in force.
async fn carry_out(
    bench: &Bench<'_>,
    changing: &mut Changing<'_>,
    plan: &Plan,
    before: Measurement,
    request: &Request,
) -> Result<(Vec<ChangeOutcome>, Measurement), Failure> {
    let mut outcomes = Vec::new();
    let mut baseline = before;
    for group in groups(plan) {
        if bench.target.interrupt.requested() {
            return Err(Failure::new(Exit::Interrupted, "interrupted", "everything was undone"));
        }
        let members: Vec<&PlannedChange> = plan.changes.iter().filter(|change| change.group == group).collect();
        let mut applied = Vec::new();
        for change in members {
            if change.needs_restart {
                changing.skip(change, NEEDS_RESTART)?;
                outcomes.push(outcome::skipped(change, NEEDS_RESTART));
                continue;
            }
            bench.target.progress.step(format!("applying {}: {}", change.id, change.title));
            match changing.apply(change).await? {
                Tried::Applied { elapsed_s, .. } => applied.push((change, elapsed_s)),
                Tried::Refused(reason) => {
                    bench.target.progress.say(format!("{} was not applied: {reason}", change.id));
                    outcomes.push(outcome::skipped(change, &format!("refused before anything was touched: {reason}")));
                }
            }
        }
        if applied.is_empty() {
            continue;
        }
        bench.target.progress.step(format!("measuring with the group \"{group}\" ({})", describe(&bench.options.mode)));
        let after = bench.measure().await?;
        let comparison =
            pgassay_judge::compare_measurements(&baseline, &after, Design::BeforeAfter, &Margins::default(), CONFIDENCE);
        let (verdict, reason) = pgassay_judge::overall(&comparison, &Margins::default());
        bench.target.progress.say(format!("group \"{group}\": {verdict}: {reason}"));
        let keep_group = verdict == Verdict::Improved
            || (verdict == Verdict::Inconclusive && request.keep_inconclusive);
        let mut all_kept = keep_group;
        for (change, elapsed) in applied {
            let judged = outcome::judge_member(change, &comparison, &after, verdict, &reason, keep_group);
            if judged.keep {
                changing.keep(change, &judged.reason)?;
            } else {
                all_kept = false;
                bench.target.progress.step(format!("rolling back {}: {}", change.id, change.title));
                changing.rollback(change).await?;
            }
            outcomes.push(outcome::of(change, &judged, verdict, &comparison, elapsed));
        }
        if all_kept {
            baseline = after;
        } else if keep_group {
            bench.target.progress.step("measuring again without what was rolled back");
            baseline = bench.measure().await?;
        }
    }
    Ok((outcomes, baseline))
}

/// Clients to drive: where they keep their connections, no more than a pool in session mode has servers for,
/// since the others would only wait until PgBouncer turns them away.
fn clients(target: &Target, snapshot: &Snapshot, connect: Connect, wanted: u32) -> u32 {
    let Some(pooler) = &snapshot.pooler else { return wanted };
    if connect == Connect::PerRequest || pooler.text("pool_mode") != Some("session") {
        return wanted;
    }
    pooler
        .databases
        .iter()
        .find(|database| database.name == target.application.database)
        .and_then(|database| u32::try_from(database.pool_size).ok())
        .map_or(wanted, |servers| wanted.min(servers).max(1))
}

/// Groups in the order of the plan.
fn groups(plan: &Plan) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for change in &plan.changes {
        if !groups.contains(&change.group) {
            groups.push(change.group.clone());
        }
    }
    groups
}

/// The load in words.
fn describe(mode: &LoadMode) -> String {
    match mode {
        LoadMode::Closed { clients } => format!("{clients} clients in a closed loop"),
        LoadMode::Open { rate, .. } => format!("open loop, {rate:.0} requests/s"),
    }
}
