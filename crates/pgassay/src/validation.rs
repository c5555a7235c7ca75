//! The four validation tests of every run: response time, pool efficiency, index effectiveness, settings in force.

use crate::commands::in_force;
use crate::failure::Failure;
use crate::optimize::goal::Goal;
use pgassay_model::change::{Change, PoolerEdit};
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::run::{ChangeOutcome, ValidationTest};
use pgassay_pgbouncer::Console;
use pgassay_postgres::Session;

/// Whether the response time meets the target.
pub fn response_time(after: &Measurement, goal: &Goal) -> ValidationTest {
    let outcomes = goal.outcomes(&after.latency_ms, &[]);
    let first = outcomes.first();
    ValidationTest {
        id: "response_time".into(),
        passed: first.map(|outcome| outcome.met),
        detail: first.map_or_else(String::new, |outcome| {
            format!("target {}: {}", outcome.target, outcome.value)
        }),
    }
}

/// Least pool efficiency that is called good (design of the pool metrics: target above 0.75).
const GOOD_POOL_EFFICIENCY: f64 = 0.75;

/// Whether the pool kept few requests waiting.
pub fn pool_efficiency(after: &Measurement) -> ValidationTest {
    match &after.pool {
        None => ValidationTest {
            id: "pool_efficiency".into(),
            passed: None,
            detail: "no PgBouncer console was given".into(),
        },
        Some(pool) => ValidationTest {
            id: "pool_efficiency".into(),
            passed: Some(pool.efficiency() >= GOOD_POOL_EFFICIENCY),
            detail: format!(
                "{:.1} % (1 − Δwait ÷ Δxact_time), target {:.0} %; {:.2} servers busy on average, at most {} clients waiting",
                pool.efficiency() * 100.0,
                GOOD_POOL_EFFICIENCY * 100.0,
                pool.busy_servers(),
                pool.max_waiting
            ),
        },
    }
}

/// What was measured with the changes in force, and the target it is held against.
#[derive(Clone, Copy)]
pub struct Measured<'a> {
    /// The measurement.
    pub after: &'a Measurement,
    /// The target.
    pub goal: &'a Goal,
}

/// The four validation tests of every run, on what is in force now; what only a measurement tells stays open
/// where there is none.
pub async fn validate(
    session: &Session,
    console: Option<&Console>,
    measured: Option<Measured<'_>>,
    changes: &[ChangeOutcome],
    plan: &Plan,
) -> Result<Vec<ValidationTest>, Failure> {
    let kept = |planned: &&PlannedChange| {
        changes.iter().any(|change| change.id == planned.id && in_force(change.state))
    };
    let (mut used, mut unused, mut built) = (Vec::new(), Vec::new(), Vec::new());
    let (mut in_force, mut not_in_force) = (Vec::new(), Vec::new());
    for planned in plan.changes.iter().filter(kept) {
        match &planned.change {
            Change::CreateIndex { definition, .. } => {
                let name = format!("{}.{}", definition.relation.schema, definition.name);
                match measured.map(|measured| measured.after.index_scans.get(&name)) {
                    None => built.push(name),
                    Some(Some(scans)) if *scans > 0 => {
                        used.push(format!(
                            "{name}: {scans} scans, for {}",
                            planned.statements.join(", ")
                        ));
                    }
                    Some(_) => unused.push(name),
                }
            }
            Change::SetParameter { name, to, .. } => {
                let value: String = session
                    .client()
                    .query_one("SELECT pg_catalog.current_setting($1) /* pgassay */", &[name])
                    .await
                    .map_err(|error| {
                        Failure::new(
                            crate::failure::Exit::Unreachable,
                            error.to_string(),
                            "check the server's log",
                        )
                    })?
                    .get(0);
                if same_setting(&value, to) { &mut in_force } else { &mut not_in_force }
                    .push(format!("{name} = {value}"));
            }
            Change::SetPooler { edit: PoolerEdit::Ini { settings, .. } } => {
                if let Some(console) = console {
                    let config = console.show_config().await.map_err(|error| {
                        Failure::new(
                            crate::failure::Exit::Unreachable,
                            error.to_string(),
                            "check --pgbouncer",
                        )
                    })?;
                    for setting in settings {
                        let value =
                            config.get(&setting.key).map_or("", |found| found.value.as_str());
                        if value == setting.to { &mut in_force } else { &mut not_in_force }
                            .push(format!("{} = {value}", setting.key));
                    }
                }
            }
            Change::SetPooler { edit: PoolerEdit::Userlist { users, .. } } => {
                let users = users.join(", ");
                match measured.map(|measured| measured.after) {
                    // Applying it has tried to log in.
                    None => in_force.push(format!("SCRAM secrets of {users}")),
                    Some(after) => {
                        let answered = after.requests - after.errors;
                        if answered > 0 { &mut in_force } else { &mut not_in_force }.push(format!(
                            "SCRAM secrets of {users} ({answered} of {} requests answered)",
                            after.requests
                        ));
                    }
                }
            }
            Change::DropIndex { .. }
            | Change::Analyze { .. }
            | Change::CreateStatistics { .. }
            | Change::Reindex { .. } => {}
        }
    }
    let index = ValidationTest {
        id: "index_effectiveness".into(),
        passed: (!used.is_empty() || !unused.is_empty()).then_some(unused.is_empty()),
        detail: match (used.is_empty(), unused.is_empty()) {
            (true, true) if !built.is_empty() => {
                format!("built and valid, use not measured: {}", built.join(", "))
            }
            (true, true) => "no index was kept".into(),
            (_, true) => used.join("; "),
            _ => format!("not used: {}", unused.join(", ")),
        },
    };
    let settings = ValidationTest {
        id: "settings_applied".into(),
        passed: (!in_force.is_empty() || !not_in_force.is_empty())
            .then_some(not_in_force.is_empty()),
        detail: match (in_force.is_empty(), not_in_force.is_empty()) {
            (true, true) => "no setting was kept".into(),
            (_, true) => in_force.join("; "),
            _ => format!("not in force: {}", not_in_force.join(", ")),
        },
    };
    let open = |id: &str| ValidationTest {
        id: id.into(),
        passed: None,
        detail: "nothing was measured; `pgassay verify` does".into(),
    };
    let (response, pool) = match measured {
        Some(Measured { after, goal }) => (response_time(after, goal), pool_efficiency(after)),
        None => (open("response_time"), open("pool_efficiency")),
    };
    Ok(vec![response, pool, index, settings])
}

/// Whether two notations are the same value: `1GB` and `1024MB`.
fn same_setting(a: &str, b: &str) -> bool {
    use pgassay_model::units::Bytes;
    a == b
        || matches!((a.parse::<Bytes>(), b.parse::<Bytes>()), (Ok(a), Ok(b)) if a == b)
        || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}
