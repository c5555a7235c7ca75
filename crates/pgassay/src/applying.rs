//! `apply`: a whole plan applied without measuring; a failure takes back all of it.

use crate::changing::{Access, Changing, Tried};
use crate::failure::{Exit, Failure};
use crate::judging::estimates;
use crate::target::Target;
use crate::validation;
use jiff::Timestamp;
use pgassay_model::plan::{Plan, PlannedChange, Risk, RiskLevel};
use pgassay_model::run::{self, ChangeOutcome, ChangeState, Run, RunState};

/// Applies a whole plan without measuring; a failure takes back all of it. `dry_run`: checks only.
pub async fn apply(target: &Target, plan: &Plan, dry_run: bool) -> Result<Run, Failure> {
    let access = Access::open(target).await?;
    if dry_run {
        Changing::check(target, &access, plan).await?;
        let outcomes = plan
            .changes
            .iter()
            .map(|change| {
                outcome(change, ChangeState::Skipped, "dry run: it could be applied", None)
            })
            .collect();
        return Ok(document(target, plan, String::new(), RunState::Finished, outcomes));
    }
    let mut changing = Changing::begin(target, &access, plan).await?;
    if let Err(failure) = changing.preflight(plan).await {
        return Err(changing.abandon(failure).await);
    }
    let mut outcomes = Vec::new();
    for change in &plan.changes {
        match changing.apply(change).await {
            Ok(Tried::Applied { elapsed_s, pending_restart, notes }) => {
                let mut reason = "applied, not measured".to_owned();
                if pending_restart {
                    reason.push_str("; comes into force when the server is restarted");
                }
                for note in notes {
                    reason.push_str(&format!("; {note}"));
                }
                outcomes.push(outcome(change, ChangeState::Applied, &reason, Some(elapsed_s)));
            }
            // Preflight let it pass: the target changed meanwhile.
            Ok(Tried::Refused(reason)) => {
                let failure = Failure::new(Exit::Undone, format!("{}: {reason}", change.id), "");
                return Err(changing.abandon(failure).await);
            }
            Err(failure) => return Err(changing.abandon(failure).await),
        }
    }
    let mut run = document(target, plan, changing.run().to_owned(), RunState::Finished, outcomes);
    let checked = async {
        let (session, console) = (target.observe().await?, target.console().await?);
        let mut checks =
            validation::validate(&session, console.as_ref(), None, &run.changes, plan).await?;
        checks.extend(estimates::check(target, plan.workload.as_ref(), plan, &run.changes).await?);
        Ok(checks)
    };
    run.checks = match checked.await {
        Ok(checks) => checks,
        Err(failure) => return Err(changing.abandon(failure).await),
    };
    run.backups = changing.backups();
    run.rollback = crate::optimize::outcome::rollback_commands(&run.run, target, &run.changes);
    changing.finish(&run).await?;
    Ok(run)
}

fn outcome(
    change: &PlannedChange,
    state: ChangeState,
    reason: &str,
    elapsed_s: Option<f64>,
) -> ChangeOutcome {
    ChangeOutcome {
        id: change.id.clone(),
        kind: change.change.kind().to_owned(),
        title: change.title.clone(),
        group: change.group.clone(),
        state,
        verdict: None,
        reason: reason.to_owned(),
        comparison: Vec::new(),
        undo: change.undo.clone(),
        elapsed_s,
    }
}

/// The document of a run that was not measured.
fn document(
    target: &Target,
    plan: &Plan,
    run: String,
    state: RunState,
    changes: Vec<ChangeOutcome>,
) -> Run {
    let applied = changes.iter().filter(|change| change.state == ChangeState::Applied).count();
    let reasons: Vec<String> = plan
        .changes
        .iter()
        .flat_map(|change| {
            change.risk.reasons.iter().map(|reason| format!("{}: {reason}", change.id))
        })
        .collect();
    Run {
        schema: run::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        run,
        state,
        target: target.server.to_string(),
        server_version: version_of(plan.target.version_num),
        headline: format!(
            "{applied} changes applied, none of them measured: no improvement is claimed"
        ),
        before: None,
        after: None,
        comparison: Vec::new(),
        changes,
        targets: Vec::new(),
        risk: Risk {
            level: plan
                .changes
                .iter()
                .map(|change| change.risk.level)
                .max()
                .unwrap_or(RiskLevel::Low),
            reasons,
        },
        checks: Vec::new(),
        rollback: Vec::new(),
        plan: Some(plan.clone()),
        backups: Vec::new(),
        notes: Vec::new(),
    }
}

/// `15.18` of 150018.
fn version_of(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}
