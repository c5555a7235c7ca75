//! Extended statistics where the planner is far off: its estimate of a statement's rows against those that calls of
//! it returned.
//!
//! Free evidence: EXPLAIN estimates, pg_stat_statements has counted. It takes statements whose rows are those that
//! their conditions let through (no LIMIT; of one relation, or of a join of which one relation has all the
//! conditions), or the groups of a GROUP BY.

use crate::drafts::{Draft, without_figure};
use crate::index::immutable;
use crate::load::{Counted, Load};
use crate::reachable::NEGLIGIBLE;
use crate::risk;
use crate::shapes::Shapes;
use crate::words;
use pgassay_model::change::Change;
use pgassay_model::extended_statistics::{StatementRows, StatisticsDefinition, StatisticsKind};
use pgassay_model::index::IndexDefinition;
use pgassay_model::plan::{ExpectedSource, Recommendation};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::PlannedCost;
use pgassay_model::workload::WorkloadStatement;
use pgassay_sql::{
    Operator, RelationUse, StatementKind, StatementShape, Subject, analyze_ddl,
    drop_statistics_ddl, statistics_ddl,
};
use std::collections::BTreeSet;

/// An estimate that is wrong by less than that seldom makes another plan (Leis et al., "How Good Are Query
/// Optimizers, Really?", PVLDB 9(3), 2015: plans turn bad from errors of an order of magnitude).
const FAR_OFF: f64 = 10.0;
/// Calls before a mean number of rows is one.
const FEW_CALLS: u64 = 20;
/// Default of default_statistics_target (manual, section 20.7).
const TARGET: f64 = 100.0;
/// `STATS_MAX_DIMENSIONS`.
const MOST_COLUMNS: usize = 8;
/// NAMEDATALEN − 1, less two digits that tell objects of the same name apart.
const LONGEST: usize = 63 - 2;

/// A statistics object that is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct MissingStatistics {
    /// The object.
    pub definition: StatisticsDefinition,
    /// `CREATE STATISTICS …`, without semicolon.
    pub ddl: String,
    /// The ANALYZE that fills it.
    pub analyze: String,
    /// `DROP STATISTICS …`.
    pub undo: String,
    /// The planner's estimate of the rows and those that came.
    pub reason: String,
    /// Statements that are estimated wrongly.
    pub statements: Vec<String>,
    /// Rows of each of them, estimated and counted.
    pub rows: Vec<StatementRows>,
}

impl MissingStatistics {
    /// One object serves several statements, with the kinds that each needs.
    fn take(&mut self, rows: StatementRows, other: &StatisticsDefinition, reason: String) {
        self.definition.kinds.extend(&other.kinds);
        self.definition.kinds.sort();
        self.definition.kinds.dedup();
        self.ddl = statistics_ddl(&self.definition);
        self.statements.push(rows.statement.clone());
        self.rows.push(rows);
        self.reason.push_str("; ");
        self.reason.push_str(&reason);
    }
}

/// Objects that would tell the planner what it lacks. `plans`: each statement's plan today; `proposed`: indexes that
/// are proposed, whose expressions get statistics by themselves.
pub(crate) fn find<'w>(
    snapshot: &Snapshot,
    shapes: &Shapes<'_>,
    plans: impl Iterator<Item = (&'w WorkloadStatement, &'w PlannedCost)>,
    proposed: &[IndexDefinition],
) -> Vec<MissingStatistics> {
    let Some(counted) = snapshot.statements.as_deref().map(Counted::of) else { return Vec::new() };
    let mut found: Vec<MissingStatistics> = Vec::new();
    for (statement, plan) in plans {
        let Some(shape) = shapes.of_id(&statement.id) else { continue };
        let (calls, rows) = counted
            .rows(statement)
            .iter()
            .fold((0, 0), |(calls, rows), row| (calls + row.calls, rows + row.rows));
        if calls < FEW_CALLS || statement.not_representative.is_some() {
            continue;
        }
        let Some(estimated) = plan.rows else { continue };
        let actual = rows as f64 / calls as f64;
        let off = estimated.max(1.0) / actual.max(1.0);
        if off.max(1.0 / off) < FAR_OFF {
            continue;
        }
        let Some(mut definition) = wanted(snapshot, shape, off < 1.0, proposed) else { continue };
        let reason = reason(statement, &definition, estimated, actual, calls);
        let rows = StatementRows { statement: statement.id.clone(), estimated, actual };
        let same = |known: &MissingStatistics| {
            known.definition.relation == definition.relation
                && known.definition.columns == definition.columns
                && known.definition.expression == definition.expression
        };
        if let Some(known) = found.iter_mut().find(|known| same(known)) {
            known.take(rows, &definition, reason);
            continue;
        }
        let stem = definition.name.clone();
        let mut number = 0;
        while found.iter().any(|known| known.definition.name == definition.name) {
            number += 1;
            definition.name = format!("{stem}{number}");
        }
        found.push(MissingStatistics {
            ddl: statistics_ddl(&definition),
            analyze: analyze_ddl(&definition),
            undo: drop_statistics_ddl(&definition.relation.schema, &definition.name),
            reason,
            definition,
            statements: vec![statement.id.clone()],
            rows: vec![rows],
        });
    }
    found
}

fn reason(
    statement: &WorkloadStatement,
    definition: &StatisticsDefinition,
    estimated: f64,
    actual: f64,
    calls: u64,
) -> String {
    let off = (estimated.max(1.0) / actual.max(1.0)).max(actual.max(1.0) / estimated.max(1.0));
    let what = match &definition.expression {
        Some(expression) => format!("nothing is known of {expression}"),
        None => format!("{} are taken as independent", definition.columns.join(" and ")),
    };
    format!(
        "{}: the planner expects {estimated:.0} rows, {calls} calls returned {actual:.1} on average (pg_stat_statements): {off:.0} × off, since {what}",
        statement.id
    )
}

/// The relation that all conditions of a statement are on. Where others are joined to it, by equality and without
/// conditions of their own, an estimate that is too low is that of the conditions: it is what makes the planner take
/// a nested loop for a few rows that turn out to be many. One that is too high may as well be the join's.
fn restricted(shape: &StatementShape, more: bool) -> Option<&RelationUse> {
    if let [only] = shape.relations.as_slice() {
        return Some(only);
    }
    let place = shape.predicates.first()?.relation;
    let joined =
        |other: usize| shape.joins.iter().any(|join| join.left.0 == other || join.right.0 == other);
    let all = more
        && shape.group.is_empty()
        && shape.predicates.iter().all(|predicate| predicate.relation == place)
        && (0..shape.relations.len()).all(joined);
    shape.relations.get(place).filter(|_| all)
}

/// What is missing for a statement; `more`: more rows come than are expected.
fn wanted(
    snapshot: &Snapshot,
    shape: &StatementShape,
    more: bool,
    proposed: &[IndexDefinition],
) -> Option<StatisticsDefinition> {
    let named = restricted(shape, more)?;
    let plain = shape.kind == StatementKind::Select
        && !shape.writes
        && !shape.limit
        && shape.unknown_relations.is_empty()
        && shape.views.is_empty()
        && shape.predicates.iter().all(|predicate| !predicate.in_or);
    let relation = snapshot.relation(&named.name).filter(|_| plain)?;
    // Without statistics of each column ANALYZE comes first.
    let analyzed = |name: &str| relation.column(name).is_some_and(|c| c.statistics.is_some());
    let grouped: BTreeSet<&str> = shape.group.iter().map(|(_, column)| column.as_str()).collect();
    if !grouped.is_empty() {
        let usable =
            (2..=MOST_COLUMNS).contains(&grouped.len()) && grouped.iter().all(|c| analyzed(c));
        return usable
            .then(|| object(relation, &grouped, vec![StatisticsKind::Ndistinct]))
            .filter(|object| is_new(relation, object));
    }
    let mut columns: BTreeSet<&str> = BTreeSet::new();
    let mut expressions: BTreeSet<&str> = BTreeSet::new();
    let mut equal = true;
    for predicate in &shape.predicates {
        match (&predicate.subject, &predicate.operator) {
            (Subject::Column(column), Operator::Equal | Operator::In) => {
                columns.insert(column);
            }
            // Dependencies are for equalities alone (manual, "Functional Dependencies"); MCV lists for ranges too.
            (Subject::Column(column), Operator::Range | Operator::IsNull | Operator::IsNotNull) => {
                columns.insert(column);
                equal = false;
            }
            (Subject::Expression(text), Operator::Equal | Operator::In | Operator::Range) => {
                expressions.insert(text);
            }
            _ => return None,
        }
    }
    if let (Some(expression), true) = (expressions.first(), columns.is_empty()) {
        return (expressions.len() == 1)
            .then(|| of_expression(snapshot, relation, expression, proposed))
            .flatten();
    }
    let usable = expressions.is_empty()
        && (2..=MOST_COLUMNS).contains(&columns.len())
        && columns.iter().all(|column| analyzed(column));
    // A list holds as many combinations as the statistics target, and what is not in it is estimated as if independent,
    // dependencies or not (`statext_clauselist_selectivity` takes the list first): one that can't hold all does harm.
    let held = columns.iter().all(|column| {
        let statistics = relation.column(column).and_then(|column| column.statistics.as_ref());
        let rows = relation.rows.unwrap_or(0.0);
        statistics.is_some_and(|statistics| statistics.distinct(rows) <= target(snapshot))
    });
    let kinds = match (more, equal, held) {
        // A dependency makes an estimate larger, never smaller; only the combinations themselves do that.
        (true, true, true) => vec![StatisticsKind::Dependencies, StatisticsKind::Mcv],
        (true, true, false) => vec![StatisticsKind::Dependencies],
        (_, _, true) => vec![StatisticsKind::Mcv],
        (_, _, false) => return None,
    };
    usable.then(|| object(relation, &columns, kinds)).filter(|object| is_new(relation, object))
}

fn target(snapshot: &Snapshot) -> f64 {
    let parameter = snapshot.parameter("default_statistics_target");
    parameter.and_then(|parameter| parameter.number()).unwrap_or(TARGET)
}

/// Statistics of one expression (14+), where no index on it has them already.
fn of_expression(
    snapshot: &Snapshot,
    relation: &Relation,
    expression: &str,
    proposed: &[IndexDefinition],
) -> Option<StatisticsDefinition> {
    let indexed =
        relation.indexes.iter().map(|index| &index.definition).chain(proposed).any(|index| {
            index.relation == relation.name
                && index.predicate.is_none()
                && index.keys.iter().any(|key| key.expression.as_deref() == Some(expression))
        });
    if indexed || snapshot.server.version_num < 140_000 {
        return None;
    }
    immutable::check(snapshot, relation, expression).ok()?;
    let object = StatisticsDefinition {
        relation: relation.name.clone(),
        name: name(relation, &[expression]),
        kinds: Vec::new(),
        columns: Vec::new(),
        expression: Some(expression.to_owned()),
    };
    is_new(relation, &object).then_some(object)
}

fn object(
    relation: &Relation,
    columns: &BTreeSet<&str>,
    kinds: Vec<StatisticsKind>,
) -> StatisticsDefinition {
    let ordered: Vec<&str> = relation
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|column| columns.contains(column))
        .collect();
    StatisticsDefinition {
        relation: relation.name.clone(),
        name: name(relation, &ordered),
        kinds,
        columns: ordered.into_iter().map(str::to_owned).collect(),
        expression: None,
    }
}

/// Whether there is no object that covers it, nor one of its name.
fn is_new(relation: &Relation, object: &StatisticsDefinition) -> bool {
    !relation.extended_statistics.iter().any(|known| {
        let covers = object.columns.iter().all(|column| known.columns.contains(column))
            && object.kinds.iter().all(|kind| known.kinds.contains(kind))
            && (object.expression.is_none() || known.expression.is_some());
        known.name == object.name || covers
    })
}

/// `orders_city_zip_stat`, as PostgreSQL itself would name it (`ChooseExtendedStatisticName`).
fn name(relation: &Relation, subjects: &[&str]) -> String {
    let words: Vec<String> = subjects
        .iter()
        .flat_map(|text| text.split(|c: char| !(c.is_alphanumeric() || c == '_')))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let stem = format!("{}_{}", relation.name.name, words.join("_"));
    let mut end = stem.len().min(LONGEST - "_stat".len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_stat", stem.get(..end).unwrap_or_default())
}

/// Those whose statements are a real share of the load, as changes.
pub(crate) fn decide(missing: &[MissingStatistics], load: &Load) -> Vec<Draft> {
    missing
        .iter()
        .filter(|object| noticeable(object, load))
        .map(|object| Draft {
            title: format!(
                "statistics of {} ({})",
                object.definition.relation,
                subjects(&object.definition)
            ),
            group: "extended statistics",
            apply: vec![object.ddl.clone(), object.analyze.clone()],
            undo: vec![object.undo.clone()],
            needs_restart: false,
            expected: without_figure(
                format!(
                    "the planner expects about the rows that come, and may choose another plan: {}",
                    words::list(
                        &object
                            .rows
                            .iter()
                            .map(|rows| {
                                format!(
                                    "{} {:.1}, not {:.0}",
                                    rows.statement, rows.actual, rows.estimated
                                )
                            })
                            .collect::<Vec<_>>()
                    )
                ),
                ExpectedSource::Rule,
            ),
            risk: risk::create_statistics(),
            evidence: vec![object.reason.clone()],
            statements: object.statements.clone(),
            mechanism: format!("EXPLAIN's rows of {}", words::list(&object.statements)),
            change: Change::CreateStatistics {
                definition: object.definition.clone(),
                rows: object.rows.clone(),
            },
        })
        .collect()
}

/// The others, for people to decide.
pub(crate) fn recommendations(missing: &[MissingStatistics], load: &Load) -> Vec<Recommendation> {
    missing
        .iter()
        .filter(|object| !noticeable(object, load))
        .map(|object| Recommendation {
            title: format!(
                "create statistics of {} ({})",
                object.definition.relation,
                subjects(&object.definition)
            ),
            text: format!("{}; {}; {}", object.ddl, object.analyze, object.reason),
            expected: "estimates near the rows that come; the response time hardly shows it"
                .to_owned(),
            source: "EXPLAIN's rows against pg_stat_statements'".to_owned(),
        })
        .collect()
}

fn noticeable(object: &MissingStatistics, load: &Load) -> bool {
    load.share(object.statements.iter().map(String::as_str)).is_none_or(|share| share >= NEGLIGIBLE)
}

fn subjects(definition: &StatisticsDefinition) -> String {
    definition.expression.clone().unwrap_or_else(|| definition.columns.join(", "))
}
