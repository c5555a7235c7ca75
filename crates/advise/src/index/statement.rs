//! Statements as the advisor sees them: shape, today's plan, and the rows they read and write.

use super::selectivity;
use super::stop::Stop;
use pgassay_model::plan::NotProposed;
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf};
use pgassay_model::workload::{SkippedStatement, Workload, WorkloadStatement};
use pgassay_sql::{StatementKind, StatementShape, shape};
use std::time::Instant;

/// Assumed where a LIMIT stands whose value can't be read from the text or the parameters.
const LIMIT_UNKNOWN: f64 = 100.0;

/// A statement with what is known of it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// As the workload has it.
    pub statement: &'a WorkloadStatement,
    /// What it asks for.
    pub shape: StatementShape,
    /// Its plan today; None where it can't be planned: then it counts as a writer only.
    pub before: Option<PlannedCost>,
    /// Rows that its LIMIT lets through.
    pub limit: Option<f64>,
    /// Rows that one execution inserts, updates or deletes.
    pub rows_written: f64,
}

impl Asked<'_> {
    /// Weighted cost today.
    pub fn weighted_before(&self) -> f64 {
        self.before.as_ref().map_or(0.0, |plan| plan.total_cost * self.statement.weight)
    }

    /// The relation of a mention.
    pub fn relation<'s>(&self, snapshot: &'s Snapshot, mention: usize) -> Option<&'s Relation> {
        snapshot.relation(&self.shape.relations.get(mention)?.name)
    }
}

/// Reads and plans every statement, where time is limited the heaviest first; those that can't be read are skipped,
/// those that can't be planned as well, but they stay as writers.
pub(super) fn read<'a>(
    snapshot: &Snapshot,
    workload: &'a Workload,
    engine: &mut dyn WhatIf,
    stop: &Stop,
) -> (Vec<Asked<'a>>, Vec<SkippedStatement>) {
    let mut asked = Vec::new();
    let mut skipped = Vec::new();
    let mut skip = |statement: &WorkloadStatement, reason: String| {
        skipped.push(SkippedStatement { statement: statement.sql.clone(), reason });
    };
    let mut statements: Vec<&WorkloadStatement> = workload.statements.iter().collect();
    if stop.limited() {
        statements.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    }
    let mut rest = statements.as_slice();
    while !rest.is_empty() && !stop.requested() {
        let (some, later) = rest.split_at(stop.at_once().min(rest.len()));
        rest = later;
        let mut read = Vec::with_capacity(some.len());
        for statement in some {
            match stop.own(|| shape(&statement.sql, snapshot)) {
                Ok(shape) => read.push((*statement, shape)),
                Err(error) => skip(statement, error.to_string()),
            }
        }
        let began = Instant::now();
        let questions: Vec<(&WorkloadStatement, Hypothesis)> =
            read.iter().map(|(statement, _)| (*statement, Hypothesis::default())).collect();
        let answers = engine.cost_many(&questions);
        stop.round(questions.len(), began.elapsed());
        for ((statement, shape), answer) in read.into_iter().zip(answers) {
            let before = answer.map_err(|error| skip(statement, error.to_string())).ok();
            if before.is_none() && !shape.writes {
                continue;
            }
            let limit = shape.limit.then(|| limit(statement, &shape));
            let rows_written = rows_written(snapshot, statement, &shape, limit);
            asked.push(Asked { statement, shape, before, limit, rows_written });
        }
    }
    for statement in rest {
        skip(statement, "the time limit or an interrupt came before it was looked at".into());
    }
    (asked, skipped)
}

/// The LIMIT's value: the mean over the parameter sets, or the number in the text.
pub(super) fn limit(statement: &WorkloadStatement, shape: &StatementShape) -> f64 {
    let values: Vec<f64> = shape
        .limit_parameters
        .first()
        .into_iter()
        .flat_map(|number| {
            statement.parameters.iter().filter_map(move |set| {
                set.get(number.checked_sub(1)?)?.as_deref()?.parse::<f64>().ok()
            })
        })
        .collect();
    if !values.is_empty() {
        return (values.iter().sum::<f64>() / values.len() as f64).max(1.0);
    }
    let lower = statement.sql.to_ascii_lowercase();
    lower
        .match_indices("limit")
        .filter_map(|(at, word)| {
            let rest = lower.get(at + word.len()..)?.trim_start();
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..digits)?.parse::<f64>().ok()
        })
        .last()
        .unwrap_or(LIMIT_UNKNOWN)
        .max(1.0)
}

/// Rows one execution writes: `rows ÷ calls` of pg_stat_statements where it knows the statement, else estimated
/// from the statistics of the columns it restricts.
fn rows_written(
    snapshot: &Snapshot,
    statement: &WorkloadStatement,
    shape: &StatementShape,
    limit: Option<f64>,
) -> f64 {
    let seen = statement.queryid.and_then(|queryid| {
        snapshot
            .statements
            .as_ref()?
            .iter()
            .find(|known| known.queryid == queryid && known.calls > 0)
    });
    if let Some(seen) = seen {
        return seen.rows as f64 / seen.calls as f64;
    }
    let estimate = match shape.kind {
        StatementKind::Update | StatementKind::Delete => shape
            .relations
            .iter()
            .position(|mention| mention.target_of_write)
            .and_then(|target| {
                let relation = snapshot.relation(&shape.relations.get(target)?.name)?;
                let restricted =
                    shape.predicates.iter().any(|predicate| predicate.relation == target);
                let share = selectivity::of_mention(relation, statement, shape, target);
                // Restricted only through a join or a subquery: one row for each row of the other side.
                let joined =
                    shape.joins.iter().any(|join| join.left.0 == target || join.right.0 == target);
                (restricted || !joined).then(|| selectivity::rows(relation) * share)
            })
            .unwrap_or(1.0),
        _ => 1.0,
    };
    limit.map_or(estimate, |limit| estimate.min(limit)).max(1.0)
}

/// A note on a statement.
pub(super) fn note(statement: &WorkloadStatement, why: impl Into<String>) -> NotProposed {
    NotProposed { what: statement.id.clone(), why: why.into() }
}
