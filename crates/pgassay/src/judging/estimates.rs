//! Whether extended statistics made the planner's estimates better: what it expects now against what came.

use crate::commands::in_force;
use crate::failure::{Exit, Failure};
use crate::optimize::outcome::Judged;
use crate::target::Target;
use pgassay_model::change::Change;
use pgassay_model::extended_statistics::StatementRows;
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::run::{ChangeOutcome, ValidationTest};
use pgassay_model::what_if::Hypothesis;
use pgassay_model::workload::Workload;

/// One more validation test of a run in which statistics are in force; None where none are.
pub async fn check(
    target: &Target,
    workload: Option<&Workload>,
    plan: &Plan,
    changes: &[ChangeOutcome],
) -> Result<Option<ValidationTest>, Failure> {
    let kept = |id: &str| changes.iter().any(|c| c.id == id && in_force(c.state));
    let expected: Vec<StatementRows> = plan
        .changes
        .iter()
        .filter(|planned| kept(&planned.id))
        .flat_map(|planned| rows(planned).to_vec())
        .collect();
    ask(target, workload, expected).await
}

/// Whether a change whose group is to be kept did what it is for: statistics with which the planner expects no better
/// what comes are taken back, whatever else became faster meanwhile, and with those that helped it is said. Other
/// changes, and those of which the planner can't be asked, stay as they were judged. `target`: where it is in force.
pub async fn heed(
    target: &Target,
    workload: Option<&Workload>,
    change: &PlannedChange,
    judged: Judged,
) -> Result<Judged, Failure> {
    if !judged.keep {
        return Ok(judged);
    }
    Ok(match ask(target, workload, rows(change).to_vec()).await? {
        Some(ValidationTest { passed: Some(false), detail, .. }) => Judged {
            keep: false,
            reason: format!(
                "the planner's estimates came no nearer to the rows that come: {detail}"
            ),
        },
        Some(ValidationTest { detail, .. }) => {
            Judged { keep: true, reason: format!("{}; {detail}", judged.reason) }
        }
        None => judged,
    })
}

fn rows(change: &PlannedChange) -> &[StatementRows] {
    match &change.change {
        Change::CreateStatistics { rows, .. } => rows,
        _ => &[],
    }
}

/// What the planner expects now; None where there is nothing to ask about.
async fn ask(
    target: &Target,
    workload: Option<&Workload>,
    expected: Vec<StatementRows>,
) -> Result<Option<ValidationTest>, Failure> {
    if expected.is_empty() {
        return Ok(None);
    }
    let Some(workload) = workload.cloned() else { return Ok(Some(untold())) };
    let session = target.observe().await?;
    let snapshot = target.snapshot(&session).await?;
    let runtime = tokio::runtime::Handle::current();
    let now = tokio::task::spawn_blocking(move || {
        let mut planner = pgassay_postgres::what_if(runtime, session, &snapshot);
        let mut estimates = Vec::new();
        for rows in expected {
            let statement = workload.statements.iter().find(|known| known.id == rows.statement);
            let plan = statement.and_then(|s| planner.cost(s, &Hypothesis::default()).ok());
            if let Some(now) = plan.and_then(|plan| plan.rows) {
                estimates.push((rows, now));
            }
        }
        estimates
    })
    .await
    .map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            format!("asking the planner stopped: {error}"),
            "report this with the workload",
        )
    })?;
    Ok(Some(if now.is_empty() { untold() } else { test(&now) }))
}

/// Nothing tells what the statements ask for, or they can't be planned.
fn untold() -> ValidationTest {
    ValidationTest {
        id: "row_estimates".into(),
        passed: None,
        detail: "the planner was not asked: the workload at hand has none of the statements that the statistics are meant for (verify: give it with --workload)".into(),
    }
}

fn test(now: &[(StatementRows, f64)]) -> ValidationTest {
    let better = |(rows, now): &(StatementRows, f64)| {
        off(*now, rows.actual) < off(rows.estimated, rows.actual)
    };
    let words: Vec<String> = now
        .iter()
        .map(|(rows, now)| {
            format!(
                "{}: {now:.0} rows expected, {:.0} before, {:.1} come",
                rows.statement, rows.estimated, rows.actual
            )
        })
        .collect();
    ValidationTest {
        id: "row_estimates".into(),
        passed: Some(now.iter().all(better)),
        detail: words.join("; "),
    }
}

/// How many times one is the other, 1 or more (the q-error).
fn off(a: f64, b: f64) -> f64 {
    let (a, b) = (a.max(1.0), b.max(1.0));
    (a / b).max(b / a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_pass_where_all_of_them_came_nearer() {
        let rows =
            |estimated, actual| StatementRows { statement: "pair".into(), estimated, actual };
        let good = (rows(10.0, 200.0), 190.0);
        let bad = (rows(10.0, 0.2), 400.0);
        assert_eq!(test(std::slice::from_ref(&good)).passed, Some(true));
        let both = test(&[good, bad]);
        assert_eq!(both.passed, Some(false));
        assert!(both.detail.starts_with("pair: 190 rows expected, 10 before, 200.0 come; "));
    }
}
