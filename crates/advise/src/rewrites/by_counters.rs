//! Rewrites that the tree alone does not call for: what the server counted of the statement, or its indexes, do.

use super::{Known, StatementRewrite};
use crate::by_partition;
use crate::index::name;
use pgassay_model::index::{Index, IndexDefinition, IndexKey};
use pgassay_model::relation::Relation;
use pgassay_model::what_if::{Hypothesis, WhatIf};
use pgassay_model::workload::WorkloadStatement;
use pgassay_sql::{Operator, Rule, StatementKind, StatementShape, Subject, ValueKind};

/// Pages for each row returned from which a walk along an order looks like one past rows that don't match.
const PAGES_PER_ROW: f64 = 100.0;
/// Bytes of a row from which reading all of it for a few columns shows.
const WIDE_ROW: u32 = 200;

/// ORDER BY … LIMIT served by the index of the order, while calls read pages far out of proportion to their rows.
pub(super) fn order_by_limit(
    known: &Known<'_>,
    statement: &WorkloadStatement,
    shape: &StatementShape,
    what_if: &mut dyn WhatIf,
) -> Option<StatementRewrite> {
    let order = shape.order.first().filter(|_| shape.limit && !shape.writes)?;
    let Subject::Column(column) = &order.subject else { return None };
    let relation = relation_of(known, shape, order.relation)?;
    let filtered = shape.predicates.iter().any(|predicate| {
        predicate.relation == order.relation
            && !predicate.in_or
            && predicate.subject != order.subject
            && matches!(predicate.operator, Operator::Equal | Operator::In)
    });
    if !filtered {
        return None;
    }
    let counted = known.counted.as_ref()?.rows(statement).iter();
    let (calls, rows, pages) = counted.fold((0, 0, 0), |sum, row| {
        (sum.0 + row.calls, sum.1 + row.rows, sum.2 + row.shared_hit + row.shared_read)
    });
    let per_row = pages as f64 / rows.max(1) as f64;
    if calls == 0 || per_row < PAGES_PER_ROW {
        return None;
    }
    let plan = what_if.cost(statement, &Hypothesis::default()).ok()?;
    let walked = relation.indexes.iter().find(|index| {
        first_column(&index.definition) == Some(column)
            && plan.indexes.contains(&index.definition.name)
    })?;
    let mut rewrite = StatementRewrite::of(
        statement,
        pgassay_sql::without_order_index(&statement.sql, &known.relations)?,
    );
    rewrite.reason = format!(
        "{}; {} calls read {per_row:.0} pages for each row returned, and the plan walks {}",
        rewrite.reason, calls, walked.definition.name
    );
    Some(rewrite)
}

/// A pattern that begins with a wildcard: no other form, another index.
pub(super) fn leading_wildcard(
    known: &Known<'_>,
    statement: &WorkloadStatement,
    shape: &StatementShape,
) -> Option<StatementRewrite> {
    let (relation, column) = shape.predicates.iter().find_map(|predicate| {
        let Subject::Column(column) = &predicate.subject else { return None };
        let wild = match &predicate.value {
            ValueKind::Constant(pattern) => pattern.starts_with("'%"),
            // As pg_stat_statements shows it: the calls seen tell.
            ValueKind::Parameter(number) => always_wild(statement, *number),
            ValueKind::Other => false,
        };
        (wild && predicate.operator == Operator::OtherLike)
            .then(|| Some((relation_of(known, shape, predicate.relation)?, column)))?
    })?;
    let trigrams = |index: &Index| {
        index.definition.keys.iter().any(|key| {
            key.column.as_ref() == Some(column)
                && key.opclass.as_deref().is_some_and(|opclass| opclass.ends_with("_trgm_ops"))
        })
    };
    if relation.indexes.iter().any(trigrams) {
        return None;
    }
    let mut index = IndexDefinition {
        relation: relation.name.clone(),
        name: String::new(),
        method: "gin".into(),
        unique: false,
        keys: vec![IndexKey {
            opclass: Some("gin_trgm_ops".into()),
            ..IndexKey::column(column.as_str())
        }],
        include: Vec::new(),
        predicate: None,
        pages_per_range: None,
    };
    index.name = name::choose(&index, &name::taken(known.snapshot, &relation.name.schema));
    let extension = match known.snapshot.server.extensions.contains_key("pg_trgm") {
        true => "",
        false => "CREATE EXTENSION pg_trgm; ",
    };
    Some(StatementRewrite {
        statement: statement.id.clone(),
        rule: Rule::LeadingWildcard,
        before: statement.sql.clone(),
        after: None,
        check: None,
        reason: format!(
            "no B-tree serves a pattern that begins with a wildcard, in whatever form: an index on trigrams does ({extension}{}); where whole words are meant, full-text search",
            by_partition::by_hand(relation, &index)
        ),
        costs: None,
    })
}

/// Whether every call seen had a pattern that begins with a wildcard.
fn always_wild(statement: &WorkloadStatement, number: usize) -> bool {
    let calls = super::seen(statement);
    let wild = |set: &Vec<Option<String>>| {
        let value = number.checked_sub(1).and_then(|place| set.get(place));
        value.is_some_and(|value| value.as_deref().is_some_and(|text| text.starts_with('%')))
    };
    !calls.is_empty() && calls.iter().all(wild)
}

/// `SELECT *` of wide rows where an index holds what the conditions and the order ask for.
pub(super) fn select_star(
    known: &Known<'_>,
    statement: &WorkloadStatement,
    shape: &StatementShape,
) -> Option<StatementRewrite> {
    let [named] = shape.relations.as_slice() else { return None };
    let relation = known.relations.relation(&named.name)?;
    // Every column is read, and it says so by a star.
    let star = shape.kind == StatementKind::Select
        && !shape.writes
        && shape.views.is_empty()
        && shape.columns_read.len() >= relation.columns.len()
        && statement
            .sql
            .to_ascii_lowercase()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .starts_with("select * ");
    let width: u32 = relation
        .columns
        .iter()
        .filter_map(|column| column.statistics.as_ref())
        .map(|statistics| statistics.average_width)
        .sum();
    if !star || width < WIDE_ROW {
        return None;
    }
    let asked: Vec<&str> = shape
        .predicates
        .iter()
        .map(|predicate| &predicate.subject)
        .chain(shape.order.iter().map(|key| &key.subject))
        .map(|subject| match subject {
            Subject::Column(column) => Some(column.as_str()),
            Subject::Expression(_) => None,
        })
        .collect::<Option<_>>()?;
    let first = asked.first()?;
    let index = relation.indexes.iter().find(|index| {
        index.valid
            && !index.definition.unique
            && index.definition.method == "btree"
            && index.definition.predicate.is_none()
            && first_column(&index.definition).is_some_and(|column| column == first)
            && asked.iter().all(|column| columns(&index.definition).any(|held| held == column))
    })?;
    let held: Vec<&str> = columns(&index.definition).map(String::as_str).collect();
    Some(StatementRewrite {
        statement: statement.id.clone(),
        rule: Rule::SelectStar,
        before: statement.sql.clone(),
        after: None,
        check: None,
        reason: format!(
            "a row of {} has {} columns and about {width} bytes, and every one that matches is fetched; name the columns that are used: {} ({}) answers alone where those are all",
            relation.name,
            relation.columns.len(),
            index.definition.name,
            held.join(", ")
        ),
        costs: None,
    })
}

fn relation_of<'a>(
    known: &Known<'a>,
    shape: &StatementShape,
    mention: usize,
) -> Option<&'a Relation> {
    known.relations.relation(&shape.relations.get(mention)?.name)
}

fn first_column(index: &IndexDefinition) -> Option<&String> {
    index.keys.first()?.column.as_ref()
}

fn columns(index: &IndexDefinition) -> impl Iterator<Item = &String> {
    index.keys.iter().filter_map(|key| key.column.as_ref()).chain(&index.include)
}
