//! Relations whose statistics are missing or stale: everything the planner estimates rests on them.

use crate::drafts::{Draft, without_figure};
use crate::evidence::Evidence;
use crate::risk;
use crate::words;
use pgassay_model::change::Change;
use pgassay_model::plan::ExpectedSource;
use pgassay_model::relation::Relation;
use pgassay_sql::quote_qualified;

/// Modified rows, as a multiple of what triggers an automatic ANALYZE, from which statistics are stale (check
/// analyze-overdue): below it autovacuum is at it.
const OVERDUE: f64 = 2.0;
/// Defaults of autovacuum_analyze_threshold and _scale_factor (manual, section 20.10).
const THRESHOLD: f64 = 50.0;
const SCALE_FACTOR: f64 = 0.1;

/// One ANALYZE for each relation that the workload names and whose statistics are missing or stale.
pub(crate) fn decide(evidence: &Evidence<'_>) -> Vec<Draft> {
    evidence
        .snapshot
        .relations
        .iter()
        .filter_map(|relation| {
            let statements = evidence.shapes.naming(&relation.name);
            let why = (!statements.is_empty()).then(|| stale(evidence, relation))??;
            Some(draft(relation, &statements, why))
        })
        .collect()
}

/// Why a relation's statistics cannot be relied on; None where they can.
pub(crate) fn stale(evidence: &Evidence<'_>, relation: &Relation) -> Option<String> {
    let activity = &relation.activity;
    let rows = relation.rows.unwrap_or(activity.live_rows as f64).max(activity.live_rows as f64);
    let known = relation.columns.iter().any(|column| column.statistics.is_some());
    // After a reset of the counters last_analyze is gone, while the planner's statistics are still there.
    if activity.last_analyze.is_none() && !known && rows > 0.0 && relation.kind == 'r' {
        return Some(format!("{} has about {rows:.0} rows and was never analyzed", relation.name));
    }
    let threshold = evidence.number("autovacuum_analyze_threshold").unwrap_or(THRESHOLD);
    let factor = evidence.number("autovacuum_analyze_scale_factor").unwrap_or(SCALE_FACTOR);
    let trigger = threshold + factor * rows;
    let modified = activity.modified_since_analyze as f64;
    (modified > OVERDUE * trigger).then(|| {
        format!(
            "{modified:.0} rows of {} were modified since it was last analyzed, {:.1} × what triggers an automatic ANALYZE",
            relation.name,
            modified / trigger
        )
    })
}

fn draft(relation: &Relation, statements: &[&str], why: String) -> Draft {
    Draft {
        title: format!("ANALYZE {}", relation.name),
        group: "analyze",
        apply: vec![format!(
            "ANALYZE {}",
            quote_qualified(&relation.name.schema, &relation.name.name)
        )],
        undo: vec!["nothing to put back: new statistics replace the old ones for good".to_owned()],
        needs_restart: false,
        expected: without_figure(
            format!(
                "the planner estimates {} from statistics that are true",
                words::list(statements)
            ),
            ExpectedSource::Rule,
        ),
        risk: risk::analyze(),
        evidence: vec![why],
        statements: statements.iter().map(|&id| id.to_owned()).collect(),
        mechanism: "pg_stat_user_tables.last_analyze, and the plans of the statements".to_owned(),
        change: Change::Analyze { relation: relation.name.clone() },
    }
}
