//! What a run says in the end: verdict per change, headline, risk, validation tests, commands that undo.

use crate::failure::Failure;
use crate::goal::Goal;
use crate::optimize::Request;
use crate::target::Target;
use jiff::Timestamp;
use pgassay_model::change::{Change, PoolerEdit};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::{Plan, PlannedChange, Risk, RiskLevel};
use pgassay_model::run::{self, ChangeOutcome, ChangeState, Run, RunState, ValidationTest};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::{Ms, percent};
use pgassay_pgbouncer::Console;
use pgassay_postgres::Session;

/// What is to become of one change of a measured group.
pub struct Judged {
    /// Keep it.
    pub keep: bool,
    /// Why.
    pub reason: String,
}

/// Judges one change within its group: an index that no statement used, or whose statements did not
/// gain, is rolled back even where the group improved.
pub fn judge_member(
    change: &PlannedChange,
    comparison: &[Comparison],
    after: &Measurement,
    group: Verdict,
    group_reason: &str,
    keep_group: bool,
) -> Judged {
    if !keep_group {
        return Judged { keep: false, reason: format!("its group is {group}: {group_reason}") };
    }
    if let Change::CreateIndex { definition, .. } = &change.change {
        let name = format!("{}.{}", definition.relation.schema, definition.name);
        if after.index_scans.get(&name).copied().unwrap_or(0) == 0 {
            return Judged { keep: false, reason: "no statement used it while it was measured".into() };
        }
        let verdicts: Vec<_> = change
            .statements
            .iter()
            .filter_map(|id| comparison.iter().find(|entry| entry.metric == format!("statement:{id}")))
            .collect();
        if !verdicts.is_empty() && verdicts.iter().all(|entry| entry.verdict != Verdict::Improved) {
            return Judged {
                keep: false,
                reason: "none of the statements it is meant for became faster beyond the noise".into(),
            };
        }
    }
    Judged { keep: true, reason: format!("its group is {group}: {group_reason}") }
}

/// The outcome of a change that was applied and judged.
pub fn of(
    change: &PlannedChange,
    judged: &Judged,
    verdict: Verdict,
    comparison: &[Comparison],
    elapsed_s: f64,
) -> ChangeOutcome {
    let relevant = comparison
        .iter()
        .filter(|entry| match entry.metric.strip_prefix("statement:") {
            Some(id) => change.statements.iter().any(|statement| statement == id),
            None => true,
        })
        .cloned()
        .collect();
    ChangeOutcome {
        id: change.id.clone(),
        kind: change.change.kind().to_owned(),
        title: change.title.clone(),
        group: change.group.clone(),
        state: if judged.keep { ChangeState::Kept } else { ChangeState::RolledBack },
        verdict: Some(verdict),
        reason: judged.reason.clone(),
        comparison: relevant,
        undo: change.undo.clone(),
        elapsed_s: Some(elapsed_s),
    }
}

/// The outcome of a change that was not tried.
pub fn skipped(change: &PlannedChange, why: &str) -> ChangeOutcome {
    ChangeOutcome {
        id: change.id.clone(),
        kind: change.change.kind().to_owned(),
        title: change.title.clone(),
        group: change.group.clone(),
        state: ChangeState::Skipped,
        verdict: None,
        reason: why.to_owned(),
        comparison: Vec::new(),
        undo: change.undo.clone(),
        elapsed_s: None,
    }
}

/// One honest sentence.
pub fn headline(
    before: &Measurement,
    after: &Measurement,
    comparison: &[Comparison],
    changes: &[ChangeOutcome],
    plan: &Plan,
) -> String {
    let count = |state| changes.iter().filter(|change| change.state == state).count();
    let (kept, rolled_back) = (count(ChangeState::Kept), count(ChangeState::RolledBack));
    if kept == 0 {
        return nothing_kept(before, rolled_back, plan);
    }
    let mean = comparison.iter().find(|entry| entry.metric == "latency_mean_ms");
    let interval = mean.and_then(|entry| Some((entry.change?, entry.ci_low?, entry.ci_high?)));
    let verdict = mean.map_or(Verdict::Inconclusive, |entry| entry.verdict);
    let gain = interval.map_or_else(String::new, |(change, low, high)| {
        format!(
            ": mean response time {} [95 % interval {} to {}], p95 {} → {}",
            percent(change), percent(low), percent(high),
            Ms(before.latency_ms.p95), Ms(after.latency_ms.p95)
        )
    });
    let verdict = match verdict {
        Verdict::Improved => "Improved",
        Verdict::Equivalent => "No difference",
        Verdict::Regressed => "Slower",
        Verdict::Inconclusive => "Inconclusive",
    };
    format!("{verdict}{gain}; {kept} changes kept, {rolled_back} rolled back")
}

fn nothing_kept(before: &Measurement, rolled_back: usize, plan: &Plan) -> String {
    let tried = match rolled_back {
        0 => "no change was worth trying".to_owned(),
        1 => "one change was tried, did not prove itself and was rolled back".to_owned(),
        n => format!("{n} changes were tried, did not prove themselves and were rolled back"),
    };
    let largest = plan
        .reachable
        .iter()
        .max_by(|a, b| a.at_most_share.total_cmp(&b.at_most_share))
        .map(|lever| format!("; most of the time is in {} ({:.0} %)", lever.lever, lever.at_most_share * 100.0))
        .unwrap_or_default();
    format!("Nothing to gain: {tried}; p95 is {}{largest}", Ms(before.latency_ms.p95))
}

/// The risk that is left: the highest of what was kept (rule: docs/risk.md).
pub fn risk(plan: &Plan, changes: &[ChangeOutcome]) -> Risk {
    let kept: Vec<&PlannedChange> = plan
        .changes
        .iter()
        .filter(|planned| {
            changes.iter().any(|change| change.id == planned.id && change.state == ChangeState::Kept)
        })
        .collect();
    if kept.is_empty() {
        return Risk { level: RiskLevel::Low, reasons: vec!["nothing was left changed".into()] };
    }
    let level = kept.iter().map(|change| change.risk.level).max().unwrap_or(RiskLevel::Low);
    let reasons = kept
        .iter()
        .flat_map(|change| change.risk.reasons.iter().map(|reason| format!("{}: {reason}", change.id)))
        .collect();
    Risk { level, reasons }
}

/// Commands that undo what was kept: the whole run, then each change.
pub fn rollback_commands(run: &str, target: &Target, changes: &[ChangeOutcome]) -> Vec<String> {
    let kept: Vec<&ChangeOutcome> =
        changes.iter().filter(|change| change.state == ChangeState::Kept).collect();
    if kept.is_empty() {
        return Vec::new();
    }
    let mut flags = String::new();
    flags.push_str(&format!(" --state '{}'", target.state.display()));
    if let Some(console) = &target.console {
        flags.push_str(&format!(" --pgbouncer '{console}'"));
    }
    if let Some(ini) = &target.ini {
        flags.push_str(&format!(" --pgbouncer-ini '{}'", ini.display()));
    }
    let mut commands = vec![format!("pgassay rollback {run} '{}'{flags}", target.server)];
    if kept.len() > 1 {
        commands.extend(kept.iter().map(|change| {
            format!("pgassay rollback {run}/{} '{}'{flags}", change.id, target.server)
        }));
    }
    commands
}

/// The run of a target on which nothing was worth trying.
pub fn untouched(
    target: &Target,
    snapshot: &Snapshot,
    before: Measurement,
    plan: Plan,
    request: &Request,
    notes: Vec<String>,
) -> Result<Run, Failure> {
    let pool = pool_efficiency(&before);
    Ok(Run {
        schema: run::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        run: String::new(),
        state: RunState::Finished,
        target: target.server.to_string(),
        server_version: snapshot.server.version.clone(),
        headline: nothing_kept(&before, 0, &plan),
        comparison: Vec::new(),
        changes: Vec::new(),
        targets: request.goal.outcomes(&before.latency_ms, &[]),
        risk: risk(&plan, &[]),
        checks: vec![
            response_time(&before, &request.goal),
            pool,
            ValidationTest { id: "index_effectiveness".into(), passed: None, detail: "no index was created".into() },
            ValidationTest { id: "settings_applied".into(), passed: None, detail: "no setting was changed".into() },
        ],
        rollback: Vec::new(),
        after: Some(before.clone()),
        before: Some(before),
        plan: Some(plan),
        backups: Vec::new(),
        notes,
    })
}

fn response_time(after: &Measurement, goal: &Goal) -> ValidationTest {
    let outcomes = goal.outcomes(&after.latency_ms, &[]);
    let first = outcomes.first();
    ValidationTest {
        id: "response_time".into(),
        passed: first.map(|outcome| outcome.met),
        detail: first.map_or_else(String::new, |outcome| format!("target {}: {}", outcome.target, outcome.value)),
    }
}

/// Least pool efficiency that is called good (design of the pool metrics: target above 0.75).
const GOOD_POOL_EFFICIENCY: f64 = 0.75;

fn pool_efficiency(after: &Measurement) -> ValidationTest {
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
                pool.efficiency() * 100.0, GOOD_POOL_EFFICIENCY * 100.0, pool.busy_servers(), pool.max_waiting
            ),
        },
    }
}

/// The four validation tests of every run, on what is in force now.
#[expect(clippy::too_many_arguments, reason = "each is one fact that a test rests on")]
pub async fn validation(
    _target: &Target,
    session: &Session,
    console: Option<&Console>,
    before: &Measurement,
    after: &Measurement,
    changes: &[ChangeOutcome],
    plan: &Plan,
    goal: &Goal,
) -> Result<Vec<ValidationTest>, Failure> {
    let kept = |planned: &&PlannedChange| {
        changes.iter().any(|change| change.id == planned.id && change.state == ChangeState::Kept)
    };
    let (mut used, mut unused) = (Vec::new(), Vec::new());
    let (mut in_force, mut not_in_force) = (Vec::new(), Vec::new());
    for planned in plan.changes.iter().filter(kept) {
        match &planned.change {
            Change::CreateIndex { definition, .. } => {
                let name = format!("{}.{}", definition.relation.schema, definition.name);
                match after.index_scans.get(&name) {
                    Some(scans) if *scans > 0 => {
                        used.push(format!("{name}: {scans} scans, for {}", planned.statements.join(", ")));
                    }
                    _ => unused.push(name),
                }
            }
            Change::SetParameter { name, to, .. } => {
                let value: String = session
                    .client()
                    .query_one("SELECT pg_catalog.current_setting($1) /* pgassay */", &[name])
                    .await
                    .map_err(|error| {
                        Failure::new(crate::failure::Exit::Unreachable, error.to_string(), "check the server's log")
                    })?
                    .get(0);
                if same_setting(&value, to) { &mut in_force } else { &mut not_in_force }
                    .push(format!("{name} = {value}"));
            }
            Change::SetPooler { edit: PoolerEdit::Ini { settings, .. } } => {
                if let Some(console) = console {
                    let config = console.show_config().await.map_err(|error| {
                        Failure::new(crate::failure::Exit::Unreachable, error.to_string(), "check --pgbouncer")
                    })?;
                    for setting in settings {
                        let value = config.get(&setting.key).map_or("", |found| found.value.as_str());
                        if value == setting.to { &mut in_force } else { &mut not_in_force }
                            .push(format!("{} = {value}", setting.key));
                    }
                }
            }
            Change::SetPooler { edit: PoolerEdit::Userlist { users, .. } } => {
                let errors_rose = after.errors > before.errors;
                if errors_rose { &mut not_in_force } else { &mut in_force }
                    .push(format!("SCRAM secrets of {} (log-ins measured: {} errors)", users.join(", "), after.errors));
            }
            Change::DropIndex { .. } | Change::Analyze { .. } => {}
        }
    }
    let index = ValidationTest {
        id: "index_effectiveness".into(),
        passed: (!used.is_empty() || !unused.is_empty()).then_some(unused.is_empty()),
        detail: match (used.is_empty(), unused.is_empty()) {
            (true, true) => "no index was kept".into(),
            (_, true) => used.join("; "),
            _ => format!("not used: {}", unused.join(", ")),
        },
    };
    let settings = ValidationTest {
        id: "settings_applied".into(),
        passed: (!in_force.is_empty() || !not_in_force.is_empty()).then_some(not_in_force.is_empty()),
        detail: match (in_force.is_empty(), not_in_force.is_empty()) {
            (true, true) => "no setting was kept".into(),
            (_, true) => in_force.join("; "),
            _ => format!("not in force: {}", not_in_force.join(", ")),
        },
    };
    Ok(vec![response_time(after, goal), pool_efficiency(after), index, settings])
}

/// Whether two notations are the same value: `1GB` and `1024MB`.
fn same_setting(a: &str, b: &str) -> bool {
    use pgassay_model::units::Bytes;
    a == b
        || matches!((a.parse::<Bytes>(), b.parse::<Bytes>()), (Ok(a), Ok(b)) if a == b)
        || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}
