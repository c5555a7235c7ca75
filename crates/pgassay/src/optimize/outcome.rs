//! What a run says in the end: verdict per change, headline, risk, validation tests, commands that undo.

use crate::commands::in_force;
use crate::failure::Failure;
use crate::measure::bench::CONFIDENCE;
use crate::optimize::Request;
use crate::optimize::goal::Goal;
use crate::target::Target;
use crate::validation::{self, Measured};
use jiff::Timestamp;
use pgassay_judge::{Design, Margins};
use pgassay_model::change::Change;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::{Plan, PlannedChange, Risk, RiskLevel};
use pgassay_model::run::{self, ChangeOutcome, ChangeState, Run, RunState, ValidationTest};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::{Ms, percent};
use pgassay_pgbouncer::Console;
use pgassay_postgres::Session;
use std::collections::BTreeMap;

/// What is to become of one change of a measured group.
pub struct Judged {
    /// Keep it.
    pub keep: bool,
    /// Why.
    pub reason: String,
}

/// The outcome of a change that was judged before the server was touched, and was not applied.
pub fn not_applied(
    change: &PlannedChange,
    why: &str,
    verdict: Verdict,
    comparison: &[Comparison],
) -> ChangeOutcome {
    ChangeOutcome {
        verdict: Some(verdict),
        comparison: relevant(change, comparison),
        ..skipped(change, why)
    }
}

/// Judges one change within its group: an index that no statement used, or whose statements did not
/// gain, is rolled back even where the group improved.
pub fn judge_member(
    change: &PlannedChange,
    comparison: &[Comparison],
    scans: &BTreeMap<String, u64>,
    group: Verdict,
    group_reason: &str,
    keep_group: bool,
) -> Judged {
    if !keep_group {
        return Judged { keep: false, reason: format!("its group is {group}: {group_reason}") };
    }
    if let Change::CreateIndex { definition, .. } = &change.change {
        let name = format!("{}.{}", definition.relation.schema, definition.name);
        if scans.get(&name).copied().unwrap_or(0) == 0 {
            return Judged {
                keep: false,
                reason: "no statement used it while it was measured".into(),
            };
        }
        let verdicts: Vec<_> = change
            .statements
            .iter()
            .filter_map(|id| {
                comparison.iter().find(|entry| entry.metric == format!("statement:{id}"))
            })
            .collect();
        if !verdicts.is_empty() && verdicts.iter().all(|entry| entry.verdict != Verdict::Improved) {
            return Judged {
                keep: false,
                reason: "none of the statements it is meant for became faster beyond the noise"
                    .into(),
            };
        }
    }
    Judged { keep: true, reason: format!("its group is {group}: {group_reason}") }
}

/// Whether a statement that the change is meant for became significantly slower.
pub fn does_harm(change: &PlannedChange, comparison: &[Comparison]) -> bool {
    change.statements.iter().any(|id| {
        comparison.iter().any(|entry| {
            entry.metric == format!("statement:{id}") && entry.verdict == Verdict::Regressed
        })
    })
}

/// The comparisons that bear on a change: the whole workload, and the statements that it is meant for.
pub fn relevant(change: &PlannedChange, comparison: &[Comparison]) -> Vec<Comparison> {
    comparison
        .iter()
        .filter(|entry| match entry.metric.strip_prefix("statement:") {
            Some(id) => change.statements.iter().any(|statement| statement == id),
            None => true,
        })
        .cloned()
        .collect()
}

/// The outcome of a change that was applied and judged.
pub fn of(
    change: &PlannedChange,
    judged: &Judged,
    verdict: Verdict,
    comparison: &[Comparison],
    elapsed_s: f64,
) -> ChangeOutcome {
    let mut reason = judged.reason.clone();
    if !judged.keep && matches!(change.change, Change::Analyze { .. }) {
        reason.push_str(
            "; the new statistics stay all the same, since ANALYZE has no undo: what is measured after it includes them",
        );
    }
    if !judged.keep && matches!(change.change, Change::Reindex { .. }) {
        reason.push_str(
            "; the rebuilt index stays all the same, since it holds what the old one held: what is measured after it includes it",
        );
    }
    ChangeOutcome {
        id: change.id.clone(),
        kind: change.change.kind().to_owned(),
        title: change.title.clone(),
        group: change.group.clone(),
        state: if judged.keep { ChangeState::Kept } else { ChangeState::RolledBack },
        verdict: Some(verdict),
        reason,
        comparison: relevant(change, comparison),
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
) -> String {
    let count = |state| changes.iter().filter(|change| change.state == state).count();
    let (kept, rolled_back) = (count(ChangeState::Kept), count(ChangeState::RolledBack));
    if kept == 0 {
        return nothing_kept(before, changes);
    }
    let mean = comparison.iter().find(|entry| entry.metric == "latency_mean_ms");
    let interval = mean.and_then(|entry| Some((entry.change?, entry.ci_low?, entry.ci_high?)));
    let verdict = mean.map_or(Verdict::Inconclusive, |entry| entry.verdict);
    let gain = interval.map_or_else(String::new, |(change, low, high)| {
        format!(
            ": mean response time {} [{} % interval {} to {}], p95 {} → {}",
            percent(change),
            mean.map_or(0.0, |entry| (entry.confidence * 1000.0).round() / 10.0),
            percent(low),
            percent(high),
            Ms(before.latency_ms.p95),
            Ms(after.latency_ms.p95)
        )
    });
    let verdict = match verdict {
        Verdict::Improved => "Improved",
        Verdict::Equivalent => "No difference",
        Verdict::Regressed => "Slower",
        Verdict::Inconclusive => "Inconclusive",
    };
    let changes = if kept == 1 { "change" } else { "changes" };
    format!("{verdict}{gain}; {kept} {changes} kept, {rolled_back} rolled back")
}

fn nothing_kept(before: &Measurement, changes: &[ChangeOutcome]) -> String {
    let tried: Vec<&ChangeOutcome> =
        changes.iter().filter(|change| change.state == ChangeState::RolledBack).collect();
    let slower = tried.iter().filter(|change| change.verdict == Some(Verdict::Regressed)).count();
    let untouched = changes
        .iter()
        .filter(|change| change.state == ChangeState::Skipped && change.verdict.is_some())
        .count();
    let what = match (tried.len(), slower) {
        (0, _) if untouched > 0 => format!(
            "{untouched} of the changes proposed did not prove themselves on a copy or on half of the connections, and the server was not touched"
        ),
        (0, _) => "no change was worth trying".to_owned(),
        (1, 1) => "one change was tried, made it slower and was rolled back".to_owned(),
        (1, _) => "one change was tried, did not prove itself and was rolled back".to_owned(),
        (n, 0) => format!("{n} changes were tried, did not prove themselves and were rolled back"),
        (n, slower) => {
            format!("{n} changes were tried and rolled back, {slower} of them made it slower")
        }
    };
    let (part, share) = largest_part(before);
    format!(
        "Nothing to gain: {what}; p95 is {}; the largest part of the response time is {part} ({:.0} %)",
        Ms(before.latency_ms.p95),
        share * 100.0
    )
}

/// The largest part of the ledger, in words, and its share (0–1).
fn largest_part(measurement: &Measurement) -> (&'static str, f64) {
    let ledger = &measurement.ledger_ms;
    [
        ("connecting", ["connect", "tls", "auth"].as_slice()),
        ("waiting for a free connection", &["pool_wait"]),
        ("parsing and planning", &["parse_plan"]),
        ("execution", &["execute"]),
        ("network, commit and the rest", &["network"]),
    ]
    .map(|(words, parts)| (words, ledger.share(parts)))
    .into_iter()
    .max_by(|a, b| a.1.total_cmp(&b.1))
    .unwrap_or(("not known", 0.0))
}

/// The risk that is left: the highest of what was kept (rule: docs/risk.md).
pub fn risk(plan: &Plan, changes: &[ChangeOutcome]) -> Risk {
    let kept: Vec<&PlannedChange> = plan
        .changes
        .iter()
        .filter(|planned| {
            changes.iter().any(|change| change.id == planned.id && in_force(change.state))
        })
        .collect();
    if kept.is_empty() {
        return Risk { level: RiskLevel::Low, reasons: vec!["nothing was left changed".into()] };
    }
    let level = kept.iter().map(|change| change.risk.level).max().unwrap_or(RiskLevel::Low);
    let reasons = kept
        .iter()
        .flat_map(|change| {
            change.risk.reasons.iter().map(|reason| format!("{}: {reason}", change.id))
        })
        .collect();
    Risk { level, reasons }
}

/// Commands that undo what is in force: the whole run, then each change.
pub fn rollback_commands(run: &str, target: &Target, changes: &[ChangeOutcome]) -> Vec<String> {
    let kept: Vec<&ChangeOutcome> =
        changes.iter().filter(|change| in_force(change.state)).collect();
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
    changes: Vec<ChangeOutcome>,
    request: &Request,
    notes: Vec<String>,
) -> Result<Run, Failure> {
    Ok(Run {
        schema: run::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        run: String::new(),
        state: RunState::Finished,
        target: target.server.to_string(),
        server_version: snapshot.server.version.clone(),
        headline: nothing_kept(&before, &changes),
        comparison: Vec::new(),
        changes,
        targets: request.goal.outcomes(&before.latency_ms, &[]),
        risk: risk(&plan, &[]),
        checks: vec![
            validation::response_time(&before, &request.goal),
            validation::pool_efficiency(&before),
            ValidationTest {
                id: "index_effectiveness".into(),
                passed: None,
                detail: "no index was created".into(),
            },
            ValidationTest {
                id: "settings_applied".into(),
                passed: None,
                detail: "no setting was changed".into(),
            },
        ],
        rollback: Vec::new(),
        after: Some(before.clone()),
        before: Some(before),
        plan: Some(plan),
        backups: Vec::new(),
        notes,
    })
}

/// Two measurements that nothing is known of but which came first, with the verdict and its reason.
pub fn against(before: &Measurement, after: &Measurement) -> (Vec<Comparison>, Verdict, String) {
    let margins = Margins::default();
    let design = Design::BeforeAfter;
    let comparison =
        pgassay_judge::compare_measurements(before, after, design, &margins, CONFIDENCE);
    let (verdict, reason) = pgassay_judge::overall(&comparison, &margins);
    (comparison, verdict, reason)
}

/// A run measured again: `before` against `after`, with what is in force now.
pub async fn verified(
    session: &Session,
    console: Option<&Console>,
    run: Run,
    before: Measurement,
    after: Measurement,
    goal: &Goal,
) -> Result<Run, Failure> {
    let (comparison, verdict, reason) = against(&before, &after);
    let mut changes = run.changes;
    for change in changes.iter_mut().filter(|change| in_force(change.state)) {
        change.verdict = Some(verdict);
        change.comparison.clone_from(&comparison);
        change.reason = format!("measured again with all of the run in force: {verdict}: {reason}");
    }
    let checks = match &run.plan {
        Some(plan) => {
            let measured = Measured { after: &after, goal };
            validation::validate(session, console, Some(measured), &changes, plan).await?
        }
        None => Vec::new(),
    };
    Ok(Run {
        generated_at: Timestamp::now(),
        headline: format!("Verified: {verdict}: {reason}"),
        targets: goal.outcomes(&after.latency_ms, &comparison),
        before: Some(before),
        after: Some(after),
        comparison,
        changes,
        checks,
        ..run
    })
}
