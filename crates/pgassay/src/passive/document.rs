//! What a passive run says in the end: outcomes, headline, notes, validation. Prints no figure that
//! pg_stat_statements does not know.

use crate::commands::in_force;
use crate::failure::Failure;
use crate::judging::estimates;
use crate::optimize::outcome;
use crate::passive::Progressed;
use crate::passive::observing::Observer;
use crate::passive::watch::ADVISED_WINDOW;
use crate::target::Target;
use crate::validation;
use jiff::Timestamp;
use pgassay_judge::{Judgement, PASSIVE_PRIMARY, compare_observations};
use pgassay_model::change::Change;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::observation::Observation;
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::run::{self, ChangeOutcome, ChangeState, Run, RunState, ValidationTest};
use pgassay_model::units::percent;
use std::collections::BTreeMap;

/// Longest piece of a statement's text in a note.
const TEXT: usize = 160;

/// What holds for every passive run.
pub fn notes(observer: &Observer<'_>, plan: &Plan) -> Vec<String> {
    let watch = observer.watch;
    let mut notes = vec![
        format!(
            "nothing was driven: what the application itself ran was read from pg_stat_statements in buckets of {:.1} s; a reading is one short read-only transaction with two catalog queries, and a third where statements turn up that were not met before",
            watch.bucket.as_secs_f64()
        ),
        "times are the server's own; waiting for a connection, the network and percentiles are not in pg_stat_statements, so the measurements before and after are left empty".to_owned(),
        format!("{PASSIVE_PRIMARY} is the mean server time of a call, each statement weighted by its share of the server time before (a geometric mean): a change of the mix of statements is no change of it"),
        "the same hours of yesterday and last week would tell a daily cycle from an effect; they need a history that is not kept yet, so a cycle counts as drift within a window, and unseen where windows are short against it".to_owned(),
        "a change is taken back at once when the server time rises by 25 %, or four standard deviations of the buckets before where that is more, in two buckets in a row (in place of p99, which is not known), rollbacks or deadlocks rise, statements stop coming to an end, or memory runs out; each only above all that was seen before".to_owned(),
    ];
    if watch.window < ADVISED_WINDOW {
        notes.push(format!(
            "windows of {:.0} s are shorter than the 30 minutes advised for production",
            watch.window.as_secs_f64()
        ));
    }
    let parameters = |change: &PlannedChange| matches!(change.change, Change::SetParameter { .. });
    if plan.changes.iter().any(parameters) {
        notes.push("a parameter acts on the whole server, and statements of this database were watched; sessions that keep a prepared statement with a generic plan keep that plan until they prepare it anew".to_owned());
    }
    if !observer.sees_memory() {
        notes.push(
            "the memory of the server's host can't be seen from here, so its rule was not applied"
                .to_owned(),
        );
    }
    notes
}

/// How busy the application was on both sides, and what was lost.
pub fn traffic(group: &str, design: &str, before: &Observation, after: &Observation) -> String {
    let rate = |side: &Observation| side.calls() as f64 / side.covered_s().max(1e-9);
    let mut text = format!(
        "group \"{group}\": {design}, {} and {} buckets, {:.1} and {:.1} calls per second",
        before.buckets.len(),
        after.buckets.len(),
        rate(before),
        rate(after)
    );
    for (side, which) in [(before, "before"), (after, "after")] {
        if side.resets > 0 {
            text.push_str(&format!(
                "; {which}: pg_stat_statements was reset, {} left out",
                if side.resets == 1 {
                    "1 bucket is".to_owned()
                } else {
                    format!("{} buckets are", side.resets)
                }
            ));
        }
        if let Some(evictions) = side.evictions.filter(|evictions| *evictions > 0) {
            text.push_str(&format!(
                "; {which}: entries were evicted {evictions} times, and what they had counted in their bucket is lost (raise pg_stat_statements.max)"
            ));
        }
        if !side.with_planning {
            text.push_str(&format!("; {which}: without planning (track_planning is off)"));
        }
    }
    text
}

/// A change with the names that the comparison gives to the statements it is meant for.
pub fn with_names(change: &PlannedChange, judgement: &Judgement) -> PlannedChange {
    let names = |id: &String| judgement.names.get(id).cloned().unwrap_or_default();
    PlannedChange {
        statements: change.statements.iter().flat_map(names).collect(),
        ..change.clone()
    }
}

/// The outcome of a change that had to go at once.
pub fn taken_back(
    change: &PlannedChange,
    judgement: &Judgement,
    why: &str,
    elapsed_s: f64,
) -> ChangeOutcome {
    ChangeOutcome {
        state: ChangeState::RolledBack,
        verdict: Some(Verdict::Regressed),
        comparison: outcome::relevant(&with_names(change, judgement), &judgement.comparison),
        elapsed_s: Some(elapsed_s),
        ..outcome::skipped(
            change,
            &format!("taken back at once by a rule, not by a comparison: {why}"),
        )
    }
}

/// Before against after over the whole run: nothing where nothing was kept, of one group its own, of several from
/// first to last where the last state was watched, else the last group's.
pub fn whole(progress: &Progressed) -> Vec<Comparison> {
    match (progress.kept.as_slice(), &progress.first, &progress.in_force) {
        ([], ..) => Vec::new(),
        ([one], ..) => one.clone(),
        (_, Some(first), Some(last)) => compare_observations(first, last).comparison,
        ([.., last], ..) => last.clone(),
    }
}

/// A document with what is known in any case.
pub fn skeleton(
    target: &Target,
    plan: &Plan,
    observer: &Observer<'_>,
    run: String,
    progress: Progressed,
) -> Run {
    let mut notes = progress.notes;
    notes.extend(progress.first.iter().flat_map(|first| texts(first, &progress.outcomes)));
    let mut changes = progress.outcomes;
    changes.sort_by_key(|outcome| plan.changes.iter().position(|change| change.id == outcome.id));
    Run {
        schema: run::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        run,
        state: RunState::Finished,
        target: target.server.to_string(),
        server_version: observer.snapshot.server.version.clone(),
        headline: String::new(),
        before: None,
        after: None,
        comparison: Vec::new(),
        risk: outcome::risk(plan, &changes),
        changes,
        targets: Vec::new(),
        checks: Vec::new(),
        rollback: Vec::new(),
        plan: Some(plan.clone()),
        backups: Vec::new(),
        notes,
    }
}

/// The texts of the statements that outcomes name.
fn texts(observed: &Observation, outcomes: &[ChangeOutcome]) -> Vec<String> {
    let named = |id: &str| {
        outcomes
            .iter()
            .flat_map(|outcome| &outcome.comparison)
            .any(|entry| entry.metric.split(['(', ' ']).next() == Some(&format!("statement:{id}")))
    };
    observed
        .texts()
        .into_iter()
        .filter(|(id, _)| named(id))
        .map(|(id, sql)| {
            let line: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            let cut: String = line.chars().take(TEXT).collect();
            format!("{id} is {cut}{}", if cut.len() < line.len() { "…" } else { "" })
        })
        .collect()
}

/// The document of a run that was broken off by a rule and undone.
pub fn aborted(
    target: &Target,
    plan: &Plan,
    observer: &Observer<'_>,
    run: String,
    mut progress: Progressed,
    why: &str,
) -> Run {
    for outcome in progress.outcomes.iter_mut().filter(|outcome| in_force(outcome.state)) {
        outcome.state = ChangeState::RolledBack;
        outcome.reason = format!(
            "taken back with the whole run, since another change had to go at once; before that: {}",
            outcome.reason
        );
    }
    let mut run = skeleton(target, plan, observer, run, progress);
    run.state = RunState::FailedUndone;
    run.headline = format!("Taken back at once: {why}; everything was undone");
    run.checks = unmeasured_checks();
    run
}

/// One honest sentence.
pub fn headline(comparison: &[Comparison], changes: &[ChangeOutcome]) -> String {
    let count = |state| changes.iter().filter(|change| change.state == state).count();
    let (kept, rolled_back) = (count(ChangeState::Kept), count(ChangeState::RolledBack));
    let skipped = count(ChangeState::Skipped);
    let primary = comparison.iter().find(|entry| entry.metric == PASSIVE_PRIMARY);
    let interval = primary.and_then(|entry| Some((entry.change?, entry.ci_low?, entry.ci_high?)));
    let figure = interval.map_or_else(
        || "no interval".to_owned(),
        |(change, low, high)| {
            format!("{} [95 % interval {} to {}]", percent(change), percent(low), percent(high))
        },
    );
    let counts = format!("{kept} kept, {rolled_back} rolled back, {skipped} not tried");
    if kept == 0 {
        let harm = changes.iter().filter(|one| one.verdict == Some(Verdict::Regressed)).count();
        let worse = if harm > 0 { format!(", {harm} of them with harm") } else { String::new() };
        return format!("Nothing was kept: {counts}{worse}");
    }
    let word = match primary.map_or(Verdict::Inconclusive, |entry| entry.verdict) {
        Verdict::Improved => "Improved",
        Verdict::Equivalent => "No difference",
        Verdict::Regressed => "Slower",
        Verdict::Inconclusive => "Inconclusive",
    };
    format!("{word}: server time of the application's own statements {figure}; {counts}")
}

/// The validation tests where nothing was changed.
pub fn unmeasured_checks() -> Vec<ValidationTest> {
    [
        ("response_time", NO_RESPONSE_TIME),
        ("pool_efficiency", NO_POOL),
        ("index_effectiveness", "no index was created"),
        ("settings_applied", "no setting was changed"),
    ]
    .into_iter()
    .map(|(id, detail)| ValidationTest { id: id.into(), passed: None, detail: detail.into() })
    .collect()
}

const NO_RESPONSE_TIME: &str =
    "clients' response time is not in pg_stat_statements; `pgassay measure` measures it";
const NO_POOL: &str = "the pool is not in pg_stat_statements";

/// The validation tests, on what is in force now. `scans`: how often each index was scanned while it was watched.
pub async fn checks(
    observer: &Observer<'_>,
    changes: &[ChangeOutcome],
    plan: &Plan,
    scans: &BTreeMap<String, u64>,
) -> Result<Vec<ValidationTest>, Failure> {
    let mut checks = validation::validate(observer.session(), None, None, changes, plan).await?;
    let (mut used, mut unused) = (Vec::new(), Vec::new());
    for planned in &plan.changes {
        let kept = changes.iter().any(|one| one.id == planned.id && in_force(one.state));
        if let (true, Change::CreateIndex { definition, .. }) = (kept, &planned.change) {
            let name = format!("{}.{}", definition.relation.schema, definition.name);
            match scans.get(&name).copied().unwrap_or(0) {
                0 => unused.push(name),
                scans => used.push(format!("{name}: {scans} scans while it was watched")),
            }
        }
    }
    for check in &mut checks {
        match check.id.as_str() {
            "response_time" => check.detail = NO_RESPONSE_TIME.into(),
            "pool_efficiency" => check.detail = NO_POOL.into(),
            "index_effectiveness" if !used.is_empty() || !unused.is_empty() => {
                check.passed = Some(unused.is_empty());
                check.detail = match unused.is_empty() {
                    true => used.join("; "),
                    false => format!("not used while it was watched: {}", unused.join(", ")),
                };
            }
            _ => {}
        }
    }
    let workload = plan.workload.as_ref();
    checks.extend(estimates::check(observer.target(), workload, plan, changes).await?);
    Ok(checks)
}

/// A run judged again by what the application runs now.
pub async fn verified(
    observer: &Observer<'_>,
    run: Run,
    before: &Observation,
    after: &Observation,
    judgement: Judgement,
    scans: &BTreeMap<String, u64>,
) -> Result<Run, Failure> {
    let Judgement { comparison, verdict, reason, notes, .. } = &judgement;
    let mut changes = run.changes;
    let mut any = false;
    for change in changes.iter_mut().filter(|change| in_force(change.state)) {
        any = true;
        change.verdict = Some(*verdict);
        change.comparison.clone_from(comparison);
        change.reason = format!("watched again with all of the run in force: {verdict}: {reason}");
    }
    let now = Timestamp::now();
    let mut all_notes = run.notes;
    all_notes.push(format!(
        "watched again at {now:.0}, {:.1} hours after the run began; all that changed since, the run's or not, is in it",
        (now.as_second() - before.ended_at.as_second()) as f64 / 3600.0
    ));
    if !any {
        all_notes.push("nothing of the run is in force now".to_owned());
    }
    all_notes.push(traffic("all of the run", "before and after", before, after));
    all_notes.extend(notes.iter().cloned());
    let checks = match &run.plan {
        Some(plan) => checks(observer, &changes, plan, scans).await?,
        None => Vec::new(),
    };
    Ok(Run {
        generated_at: now,
        headline: format!("Watched again: {verdict}: {reason}"),
        comparison: comparison.clone(),
        changes,
        checks,
        notes: all_notes,
        ..run
    })
}
