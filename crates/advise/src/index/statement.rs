//! Statements as the advisor sees them: shape, today's plan, and the rows they read and write.

use super::stop::Stop;
use super::{inheritance, selectivity};
use pgassay_model::index::RelationName;
use pgassay_model::plan::NotProposed;
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::{Snapshot, StatementStatistics};
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf};
use pgassay_model::workload::{SkippedStatement, Workload, WorkloadStatement};
use pgassay_sql::{Relations, StatementKind, StatementShape, shape};
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// Assumed where a LIMIT stands whose value can't be read from the text or the parameters.
const LIMIT_UNKNOWN: f64 = 100.0;

/// What pg_stat_statements counted, by queryid.
type Counted<'a> = HashMap<i64, &'a StatementStatistics>;

/// A statement with what is known of it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// As the workload has it.
    pub statement: &'a WorkloadStatement,
    /// What it asks for.
    pub shape: StatementShape,
    /// Its plan today; None where it can't be planned: then it counts as a writer only.
    pub before: Option<PlannedCost>,
    /// Mentions of tables that inherit from one that it names, each with that one's.
    pub children: Vec<(usize, usize)>,
    /// Rows that its LIMIT lets through.
    pub limit: Option<f64>,
    /// Rows that one execution inserts, updates or deletes, of each relation that it writes.
    pub rows_written: Vec<(RelationName, f64)>,
}

impl Asked<'_> {
    /// Weighted cost today.
    pub fn weighted_before(&self) -> f64 {
        self.before.as_ref().map_or(0.0, |plan| plan.total_cost * self.statement.weight)
    }

    /// Rows that one execution writes of a relation.
    pub fn rows_into(&self, relation: &RelationName) -> f64 {
        let known = self.rows_written.iter().find(|(name, _)| name == relation);
        known.map_or(1.0, |(_, rows)| *rows)
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
    let relations = Relations::of(snapshot);
    let counted: Counted<'_> = snapshot
        .statements
        .iter()
        .flatten()
        .filter(|known| known.calls > 0)
        .rev()
        .map(|known| (known.queryid, known))
        .collect();
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
            match stop.own(|| shape(&statement.sql, &relations)) {
                Ok(shape) => read.push((*statement, shape)),
                Err(error) => skip(statement, error.to_string()),
            }
        }
        let began = Instant::now();
        let questions: Vec<(&WorkloadStatement, Hypothesis)> =
            read.iter().map(|(statement, _)| (*statement, Hypothesis::default())).collect();
        let answers = engine.cost_many(&questions);
        stop.round(questions.len(), began.elapsed());
        for ((statement, mut shape), answer) in read.into_iter().zip(answers) {
            let before = answer.map_err(|error| skip(statement, error.to_string())).ok();
            if before.is_none() && !shape.writes {
                continue;
            }
            let children = inheritance::add_children(snapshot, &mut shape, before.as_ref());
            let limit = shape.limit.then(|| limit(statement, &shape));
            let rows_written =
                rows_written(snapshot, &counted, statement, &shape, before.as_ref(), limit);
            asked.push(Asked { statement, shape, before, children, limit, rows_written });
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

/// Rows one execution writes of each relation: `rows ÷ calls` of pg_stat_statements where it counts these rows, else
/// what the plan gives to its ModifyTable nodes, else an estimate from the statistics of the columns it restricts.
fn rows_written(
    snapshot: &Snapshot,
    counted: &Counted<'_>,
    statement: &WorkloadStatement,
    shape: &StatementShape,
    plan: Option<&PlannedCost>,
    limit: Option<f64>,
) -> Vec<(RelationName, f64)> {
    let targets: BTreeSet<&RelationName> = shape
        .relations
        .iter()
        .filter(|mention| mention.target_of_write)
        .map(|mention| &mention.name)
        .collect();
    // What is counted are rows of the outermost statement: what it writes where it is the one that writes.
    let outermost = shape.kind != StatementKind::Select && targets.len() == 1;
    let seen = statement.queryid.filter(|_| outermost).and_then(|queryid| counted.get(&queryid));
    let rows = |name: &RelationName| {
        if let Some(seen) = seen {
            return seen.rows as f64 / seen.calls as f64;
        }
        let planned =
            plan.and_then(|plan| plan.written.iter().find(|(known, _)| *known == name.name));
        match planned {
            Some((_, rows)) => rows.max(1.0),
            None => rows_by_statistics(snapshot, statement, shape, limit),
        }
    };
    targets.into_iter().map(|name| (name.clone(), rows(name))).collect()
}

fn rows_by_statistics(
    snapshot: &Snapshot,
    statement: &WorkloadStatement,
    shape: &StatementShape,
    limit: Option<f64>,
) -> f64 {
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
