//! `optimize --writes copy`: the whole workload is driven on two copies of the server, which judge the changes; the
//! server gets what proved itself there, and is driven only by the part of the workload that reads.

use crate::advising::planning;
use crate::changing::{Access, Changing, Tried};
use crate::copies::Copies;
use crate::copies::on_copy;
use crate::failure::{Exit, Failure};
use crate::judging::estimates;
use crate::measure::answered::some_answered;
use crate::measure::bench::{
    self, Bench, CAPACITY_CLIENTS, OPEN_LOOP_CLIENTS, SHARE_OF_CAPACITY, Side,
};
use crate::measure::driving;
use crate::measure::{self, Options};
use crate::optimize::outcome;
use crate::optimize::rehearsal::{Proof, Rehearsal, Rehearsed, can_be_rehearsed};
use crate::optimize::{Request, groups};
use crate::target::{Target, postgres_failure};
use crate::validation;
use jiff::Timestamp;
use pgassay_load::{LoadMode, Writes};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::run::{self, ChangeOutcome, ChangeState, Run, RunState};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::percent;
use pgassay_model::workload::Workload;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a change that copies can't judge is left alone.
const NOT_REHEARSED: &str = "the copies can't judge it (no pooler and no restart there, and no bloat where they were restored from a dump), and the server is not driven by what writes: judge it with --writes rollback or run";

/// Runs the whole job and returns the run, finished and stored in the journal.
pub async fn optimize(
    target: &Target,
    snapshot: &Snapshot,
    workload: &Workload,
    request: &Request,
) -> Result<Run, Failure> {
    Changing::ready(target).await?;
    let session = target.observe().await?;
    let console = target.console().await?;
    let reading = driving::reading_part(workload);
    let mut notes = vec![what_was_driven(workload, reading.as_ref())];
    let copies = Copies::make(target, &session, snapshot).await?;
    let mut plan = plan_on_copies(&copies, target, snapshot, workload, request).await?;

    let mut bench = reading.as_ref().map(|reading| Bench {
        target,
        session: &session,
        console: console.as_ref(),
        workload: reading,
        options: Options {
            mode: LoadMode::Closed {
                clients: bench::clients(target, snapshot, request.connect, CAPACITY_CLIENTS),
            },
            postmaster: snapshot.host.as_ref().and_then(|host| host.postmaster_pid),
            writes: Writes::Refuse,
            ..options(request)
        },
        rare: BTreeMap::new(),
    });
    let clients = bench::clients(target, snapshot, request.connect, OPEN_LOOP_CLIENTS);
    let before = match &mut bench {
        Some(bench) => Some(measure_before(bench, request, clients).await?),
        None => None,
    };
    let Rehearsed { refused: mut outcomes, proven, notes: said } =
        if !plan.changes.iter().any(can_be_rehearsed) {
            Rehearsed { refused: Vec::new(), proven: BTreeMap::new(), notes: copies.notes.clone() }
        } else {
            let rehearsal = Rehearsal {
                target,
                snapshot,
                workload,
                connect: request.connect,
                protocol: request.protocol,
                duration: request.duration,
                seed: request.seed,
            };
            rehearsal.run_on(&copies, &mut plan).await?
        };
    drop(copies);
    notes.extend(said);
    let judged_there = |change: &PlannedChange, outcomes: &[ChangeOutcome]| {
        outcomes.iter().any(|outcome| outcome.id == change.id)
    };
    for change in &plan.changes {
        if !proven.contains_key(&change.id) && !judged_there(change, &outcomes) {
            outcomes.push(outcome::skipped(change, NOT_REHEARSED));
        }
    }

    let access = Access::open(target).await?;
    // The server was measured by what reads.
    let measured_by = reading.as_ref().unwrap_or(workload);
    let mut changing = Changing::begin_measured(target, &access, &plan, measured_by).await?;
    for outcome in &outcomes {
        if let Some(change) = plan.changes.iter().find(|change| change.id == outcome.id) {
            changing.skip(change, &outcome.reason)?;
        }
    }
    let mut applying = Applying { bench: bench.as_ref(), latest: before.clone() };
    let mut done = Ok(());
    for group in groups(&plan) {
        let members: Vec<(&PlannedChange, &Proof)> = plan
            .changes
            .iter()
            .filter(|change| change.group == group)
            .filter_map(|change| Some((change, proven.get(&change.id)?)))
            .collect();
        done = applying.group(target, &mut changing, &group, &members, &mut outcomes).await;
        if done.is_err() {
            break;
        }
    }
    if let Err(failure) = done {
        return Err(changing.abandon(failure).await);
    }
    outcomes.sort_by_key(|outcome| plan.changes.iter().position(|change| change.id == outcome.id));
    let kept = outcomes.iter().any(|change| change.state == ChangeState::Kept);
    let after = if kept { applying.latest.clone() } else { before.clone() };
    let comparison = match (&before, &after) {
        (Some(before), Some(after)) if kept => bench::compare(&side(before), &side(after)).0,
        _ => Vec::new(),
    };
    // An index may serve nothing but what writes: then no scan on the server shows its use.
    let mut checks =
        validation::validate(&session, console.as_ref(), None, &outcomes, &plan).await?;
    if let Some(after) = &after {
        let measured =
            [validation::response_time(after, &request.goal), validation::pool_efficiency(after)];
        for test in measured {
            if let Some(open) = checks.iter_mut().find(|open| open.id == test.id) {
                *open = test;
            }
        }
    }
    checks.extend(estimates::check(target, Some(workload), &plan, &outcomes).await?);
    let run = Run {
        schema: run::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        run: changing.run().to_owned(),
        state: if kept || outcomes.iter().all(|change| change.state == ChangeState::Skipped) {
            RunState::Finished
        } else {
            RunState::RolledBack
        },
        target: target.server.to_string(),
        server_version: snapshot.server.version.clone(),
        headline: headline(&outcomes, &comparison, before.is_some()),
        targets: after
            .as_ref()
            .map(|after| request.goal.outcomes(&after.latency_ms, &comparison))
            .unwrap_or_default(),
        risk: outcome::risk(&plan, &outcomes),
        rollback: outcome::rollback_commands(changing.run(), target, &outcomes),
        before,
        after,
        comparison,
        changes: outcomes,
        checks,
        plan: Some(plan),
        backups: changing.backups(),
        notes,
    };
    changing.finish(&run).await?;
    Ok(run)
}

/// Plans by what the whole workload takes on a copy; the other copy gets the same, so that they stay alike.
async fn plan_on_copies(
    copies: &Copies,
    target: &Target,
    snapshot: &Snapshot,
    workload: &Workload,
    request: &Request,
) -> Result<Plan, Failure> {
    let mut options = options(request);
    for copy in [&copies.without, &copies.with] {
        on_copy::fill_cache(&copy.target, workload, &options).await?;
    }
    let capacity_options = Options {
        mode: LoadMode::Closed { clients: CAPACITY_CLIENTS },
        duration: CAPACITY,
        block: CAPACITY,
        ..options.clone()
    };
    target.progress.step("measuring the capacity of the copies (closed loop)");
    let mut slower = f64::INFINITY;
    for copy in [&copies.without, &copies.with] {
        let capacity = measure::block(&copy.target, workload, &capacity_options).await?;
        slower = slower.min(capacity.throughput);
    }
    options.mode = request.mode.clone().unwrap_or(LoadMode::Open {
        rate: (slower * SHARE_OF_CAPACITY).max(1.0),
        clients: OPEN_LOOP_CLIENTS,
    });
    target.progress.step(format!(
        "measuring the response time on a copy ({})",
        bench::describe(&options.mode)
    ));
    let session = copies.without.target.observe().await?;
    let early = pgassay_postgres::counters(&session).await.map_err(postgres_failure)?;
    options.postmaster = copies.without.postmaster;
    let measured =
        measure::measure(&copies.without.target, Some(&session), None, workload, &options).await?;
    some_answered(&measured)?;
    let late = pgassay_postgres::counters(&session).await.map_err(postgres_failure)?;
    options.postmaster = copies.with.postmaster;
    measure::block(&copies.with.target, workload, &options).await?;
    target.progress.step("planning");
    let counted = planning::delta(&early, &late);
    let plan =
        planning::plan(target, snapshot, workload, Some(&measured), Some(&counted), request.budget)
            .await?;
    target.progress.say(format!(
        "{} changes proposed, {} considered and not proposed",
        plan.changes.len(),
        plan.not_proposed.len()
    ));
    Ok(plan)
}

/// How long a copy's capacity is looked for.
const CAPACITY: Duration = Duration::from_secs(4);

fn options(request: &Request) -> Options {
    Options {
        mode: LoadMode::Closed { clients: CAPACITY_CLIENTS },
        connect: request.connect,
        protocol: request.protocol,
        // On copies; on the server it is refused.
        writes: Writes::Run,
        duration: request.duration,
        warmup: request.warmup,
        block: measure::block_length(request.duration),
        seed: request.seed,
        postmaster: None,
        awaited_indexes: Vec::new(),
    }
}

/// Measures on the server what reads, at a rate that the server keeps up with.
async fn measure_before(
    bench: &mut Bench<'_>,
    request: &Request,
    clients: u32,
) -> Result<Measurement, Failure> {
    let progress = &bench.target.progress;
    bench.options.mode = match &request.mode {
        Some(mode) => mode.clone(),
        None => {
            progress.step("measuring the server's capacity for what reads (closed loop)");
            let capacity = bench.capacity().await?;
            let rate = (capacity.throughput * SHARE_OF_CAPACITY).max(1.0);
            LoadMode::Open { rate, clients }
        }
    };
    progress.step(format!(
        "measuring on the server, before any change, what reads ({})",
        bench::describe(&bench.options.mode)
    ));
    let before = bench.whole().await?;
    some_answered(&before)?;
    Ok(before)
}

/// Applies to the server what proved itself on the copies.
struct Applying<'a> {
    /// Measures what reads; None where nothing does.
    bench: Option<&'a Bench<'a>>,
    /// The last measurement of the state in force.
    latest: Option<Measurement>,
}

impl Applying<'_> {
    /// Applies a group and keeps it, unless what reads became slower by it.
    async fn group(
        &mut self,
        target: &Target,
        changing: &mut Changing<'_>,
        group: &str,
        members: &[(&PlannedChange, &Proof)],
        outcomes: &mut Vec<ChangeOutcome>,
    ) -> Result<(), Failure> {
        let mut applied = Vec::new();
        for (change, proof) in members {
            if target.interrupt.requested() {
                return Err(Failure::new(Exit::Interrupted, "interrupted", ""));
            }
            target.progress.step(format!("applying {}: {}", change.id, change.title));
            match changing.apply(change).await? {
                Tried::Applied { elapsed_s, .. } => applied.push((*change, *proof, elapsed_s)),
                Tried::Refused(reason) => {
                    let reason = format!("refused before anything was touched: {reason}");
                    outcomes.push(outcome::skipped(change, &reason));
                }
            }
        }
        if applied.is_empty() {
            return Ok(());
        }
        let (slower, here) = self.measure(target, group).await?;
        for (change, proof, elapsed_s) in applied {
            let judged = outcome::Judged {
                keep: !slower,
                reason: format!("on the copies {}; {here}", proof.reason),
            };
            if slower {
                target.progress.step(format!("rolling back {}: {}", change.id, change.title));
                changing.rollback(change).await?;
            } else {
                changing.keep(change, &judged.reason)?;
            }
            let verdict = if slower { Verdict::Regressed } else { Verdict::Improved };
            outcomes.push(outcome::of(change, &judged, verdict, &proof.comparison, elapsed_s));
        }
        Ok(())
    }

    /// Whether what reads became slower on the server, and that in words.
    async fn measure(&mut self, target: &Target, group: &str) -> Result<(bool, String), Failure> {
        let (Some(bench), Some(before)) = (self.bench, &self.latest) else {
            let alone =
                "on the server it was not measured, since nothing of the workload only reads";
            return Ok((false, alone.to_owned()));
        };
        target.progress.step(format!(
            "measuring with the group \"{group}\" what reads ({})",
            bench::describe(&bench.options.mode)
        ));
        let after = bench.whole().await?;
        let (_, verdict, reason) = bench::compare(&side(before), &side(&after));
        let here = format!("what reads is {verdict} on the server: {reason}");
        target.progress.say(format!("group \"{group}\": {here}"));
        let slower = verdict == Verdict::Regressed;
        if !slower {
            self.latest = Some(after);
        }
        Ok((slower, here))
    }
}

fn side(whole: &Measurement) -> Side {
    Side { whole: whole.clone(), rare: BTreeMap::new() }
}

/// What was driven where, for the report.
fn what_was_driven(workload: &Workload, reading: Option<&Workload>) -> String {
    let names = |workload: &Workload| -> Vec<String> {
        if workload.scripts.is_empty() {
            workload.statements.iter().map(|statement| statement.id.clone()).collect()
        } else {
            workload.scripts.iter().map(|script| script.id.clone()).collect()
        }
    };
    let all = names(workload);
    let Some(reading) = reading.map(names) else {
        return "judged on the copies alone: everything in the workload writes, so nothing of it was driven on the server and before and after were not measured there".to_owned();
    };
    let writing: Vec<String> = all.iter().filter(|id| !reading.contains(id)).cloned().collect();
    if writing.is_empty() {
        return "nothing in the workload writes: the server was driven by all of it".to_owned();
    }
    format!(
        "the whole workload was driven on copies only; before and after on the server are of the {} of {} that only \
         read, without {}",
        reading.len(),
        all.len(),
        writing.join(", ")
    )
}

/// One honest sentence.
fn headline(outcomes: &[ChangeOutcome], comparison: &[Comparison], measured: bool) -> String {
    let kept: Vec<&ChangeOutcome> =
        outcomes.iter().filter(|change| change.state == ChangeState::Kept).collect();
    let mean = |comparison: &[Comparison]| {
        comparison
            .iter()
            .find(|entry| entry.metric == "latency_mean_ms")
            .and_then(|entry| Some((entry.change?, entry.ci_low?, entry.ci_high?)))
            .map(|(change, low, high)| {
                format!("{} [95 % interval {} to {}]", percent(change), percent(low), percent(high))
            })
    };
    if kept.is_empty() {
        return format!(
            "Nothing to gain: of {} changes proposed none proved itself on copies of the server",
            outcomes.len()
        );
    }
    let mut on_copies: Vec<String> = Vec::new();
    for change in &kept {
        if let Some(words) = mean(&change.comparison)
            && !on_copies.contains(&words)
        {
            on_copies.push(words);
        }
    }
    let here = match mean(comparison) {
        Some(words) => format!("what reads, on the server: {words}"),
        None if measured => "what reads was not compared on the server".to_owned(),
        None => "not measured on the server, where nothing that writes is driven".to_owned(),
    };
    format!(
        "Improved on copies of the server: mean response time {}; {} of {} changes kept; {here}",
        on_copies.join(", then "),
        kept.len(),
        outcomes.len()
    )
}
