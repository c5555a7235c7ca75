//! Commands that judge what was done before: a run measured again, two measurements beside each other.

use crate::Answer;
use crate::cli;
use crate::commands::Context;
use crate::documents::read_json;
use crate::failure::Failure;
use crate::judging::estimates;
use crate::measure::answered::some_answered;
use crate::measure::bench;
use crate::measure::driving;
use crate::measure::side_effects;
use crate::measure::{self, Options};
use crate::optimize::goal::Goal;
use crate::optimize::outcome;
use crate::passive;
use crate::passive::watch;
use crate::past_runs;
use jiff::Timestamp;
use pgassay_model::comparison::Verdict;
use pgassay_model::measurement::{self, Measurement};
use pgassay_model::plan::PlannedChange;
use std::time::Duration;

/// How two measurement files are compared.
const COMPARED: &str = "blocks of the one against blocks of the other: two files do not tell what else changed in between";

/// `verify`: measures a past run's changes again, or watches them in production.
pub async fn verify(context: &Context<'_>, arguments: &cli::Verify) -> Result<Answer, Failure> {
    if driving::on_copy(&arguments.drive) {
        return Err(Failure::input(
            "what was applied to the server can't be verified on a copy of it (--writes copy)",
            "use --writes rollback, or a workload that only reads",
        ));
    }
    let goal = Goal::parse(&arguments.target, &arguments.gain)?;
    let target = context.target(&arguments.dsn)?;
    let mut run = past_runs::load_run(&target.state, &arguments.run)?;
    let stored = past_runs::workload_of(&target.state, &run)?;
    if arguments.passive.passive {
        let watch = watch::watch(&arguments.passive, false)?;
        // What the statements ask for is known from the run's own workload, which its document does not hold.
        let held = run.plan.as_ref().is_none_or(|plan| plan.workload.is_some());
        if let Some(plan) = &mut run.plan {
            plan.workload = stored;
        }
        let mut run = passive::verify(&target, run, &watch).await?;
        if let Some(plan) = run.plan.as_mut().filter(|_| !held) {
            plan.workload = None;
        }
        past_runs::store(&target.state, &run)?;
        let slower = run.comparison.iter().any(|one| one.verdict == Verdict::Regressed);
        return Ok(context.run_answer(&run, None, !slower));
    }
    let before = run.before.clone().or_else(|| run.plan.as_ref()?.measurement.clone()).ok_or_else(|| {
        Failure::input(
            format!("run {} has no measurement from before it", run.run),
            "plan with `--measurement FILE` (from `pgassay measure -o FILE`), or use `measure` and `compare`",
        )
    })?;
    let session = target.observe().await?;
    let snapshot = target.snapshot(&session).await?;
    let console = target.console().await?;
    let mut workload = match (&arguments.workload, stored) {
        (None, Some(workload)) => workload,
        (path, _) => context.workload(path.as_ref(), &session, &snapshot).await?,
    };
    context.find_hidden_writes(&arguments.drive, &session, &mut workload).await?;
    let duration =
        arguments.drive.duration.unwrap_or(Duration::from_secs_f64(before.duration_s.max(1.0)));
    let planned: Vec<&PlannedChange> = run.plan.iter().flat_map(|plan| &plan.changes).collect();
    let most = |wanted| bench::clients(&target, &snapshot, before.mode.connect, wanted);
    let options = Options {
        connect: before.mode.connect,
        protocol: arguments.drive.protocol.map_or(before.mode.protocol, driving::protocol),
        mode: driving::mode(&arguments.drive, &workload, most)
            .unwrap_or_else(|| driving::as_before(&before.mode)),
        duration,
        block: measure::block_length(duration),
        awaited_indexes: bench::created_indexes(&planned),
        ..context.drive_options(&arguments.drive, &target, &snapshot, &workload)?
    };
    context.step("measuring again");
    let mut after =
        measure::measure(&target, Some(&session), console.as_ref(), &workload, &options).await?;
    some_answered(&after)?;
    after.notes.extend(side_effects::notes(&workload, &snapshot, options.writes));
    after.notes.extend(
        pgassay_judge::differences(&before, &after)
            .iter()
            .map(|difference| format!("not the load of the measurement before: {difference}")),
    );
    let mut run = outcome::verified(&session, console.as_ref(), run, before, after, &goal).await?;
    if let Some(plan) = &run.plan {
        let tested = estimates::check(&target, Some(&workload), plan, &run.changes).await?;
        run.checks.extend(tested);
    }
    past_runs::store(&target.state, &run)?;
    let yes = !run
        .comparison
        .iter()
        .any(|entry| entry.metric == "latency_mean_ms" && entry.verdict == Verdict::Regressed)
        && run.targets.iter().all(|target| target.met);
    Ok(context.run_answer(&run, None, yes))
}

/// `compare`: two measurement files.
pub fn compare(context: &Context<'_>, arguments: &cli::Compare) -> Result<Answer, Failure> {
    let before: Measurement = read_json(&arguments.before, measurement::SCHEMA)?;
    let after: Measurement = read_json(&arguments.after, measurement::SCHEMA)?;
    let (comparison, verdict, reason) = outcome::against(&before, &after);
    let differences = pgassay_judge::differences(&before, &after);
    let not_alike: String =
        differences.iter().map(|difference| format!("not the same load: {difference}\n")).collect();
    let text = format!(
        "{verdict}: {reason}\n{COMPARED}\n{not_alike}\n{}",
        pgassay_report::comparison_terminal(&comparison, context.color)
    );
    let json = serde_json::json!({
        "schema": "pgassay/comparison/1",
        "generated_at": Timestamp::now().to_string(),
        "verdict": verdict,
        "reason": reason,
        "design": COMPARED,
        "differences": differences,
        "comparison": comparison,
    });
    Ok(Answer { text, json: json.to_string(), yes: verdict != Verdict::Regressed })
}
