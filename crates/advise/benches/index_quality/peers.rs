//! Other ways to choose indexes, written from their descriptions: what a set of ours is held against.

use crate::asking::Planner;
use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::Hypothesis;
use pgassay_model::workload::Workload;
use pgassay_sql::{Subject, shape};
use std::collections::{BTreeMap, BTreeSet};

/// Dexter proposes what at least halves a statement's cost (its `--min-cost-savings-pct`, 50 by default).
const HALF: f64 = 0.5;
/// Columns of one relation in one statement that pairs are made of, so that the questions stay small.
const MOST_COLUMNS: usize = 6;

/// A B-tree on columns; the name tells it from the others.
pub fn btree(relation: &RelationName, columns: &[&str]) -> IndexDefinition {
    IndexDefinition {
        relation: relation.clone(),
        name: format!("{}_{}_peer", relation.name, columns.join("_")),
        method: "btree".into(),
        unique: false,
        keys: columns.iter().map(|column| IndexKey::column(*column)).collect(),
        include: Vec::new(),
        predicate: None,
        pages_per_range: None,
    }
}

/// Columns that a statement compares, joins, orders or groups by, of relations that can be indexed and types that a
/// B-tree is for; columns that an index exists on are left out.
fn columns(snapshot: &Snapshot, sql: &str) -> BTreeMap<RelationName, BTreeSet<String>> {
    let mut found: BTreeMap<RelationName, BTreeSet<String>> = BTreeMap::new();
    let Ok(shape) = shape(sql, snapshot) else { return found };
    let predicates = shape.predicates.iter().filter_map(|known| match &known.subject {
        Subject::Column(column) => Some((known.relation, column.clone())),
        Subject::Expression(_) => None,
    });
    let joins = shape.joins.iter().flat_map(|join| [join.left.clone(), join.right.clone()]);
    let order = shape.order.iter().filter_map(|key| match &key.subject {
        Subject::Column(column) => Some((key.relation, column.clone())),
        Subject::Expression(_) => None,
    });
    for (mention, column) in predicates.chain(joins).chain(order).chain(shape.group.clone()) {
        let name = &shape.relations[mention].name;
        let Some(relation) = snapshot.relation(name) else { continue };
        let indexed = relation.indexes.iter().any(|index| {
            index.definition.keys.first().is_some_and(|key| key.column.as_ref() == Some(&column))
        });
        let ordered =
            relation.column(&column).is_some_and(|known| !known.type_name.starts_with("json"));
        if ordered && !indexed {
            found.entry(name.clone()).or_default().insert(column);
        }
    }
    found
}

/// One index for every column that a statement restricts, joins or sorts by.
pub fn every_column(snapshot: &Snapshot, workload: &Workload) -> Vec<IndexDefinition> {
    let mut all: BTreeSet<IndexDefinition> = BTreeSet::new();
    for statement in &workload.statements {
        for (relation, columns) in columns(snapshot, &statement.sql) {
            all.extend(columns.iter().map(|column| btree(&relation, &[column])));
        }
    }
    all.into_iter().collect()
}

/// As Dexter does: single columns and pairs are offered to each statement, and what the planner picks is kept where
/// the cost falls by half. Writers' costs and space are not looked at.
pub fn dexter(planner: &mut Planner, workload: &Workload) -> Vec<IndexDefinition> {
    let mut kept: BTreeSet<IndexDefinition> = BTreeSet::new();
    for statement in &workload.statements {
        let mut single = Vec::new();
        let mut pairs = Vec::new();
        for (relation, columns) in columns(&planner.snapshot, &statement.sql) {
            for column in columns.iter().take(MOST_COLUMNS) {
                single.push(btree(&relation, &[column]));
                let others = columns.iter().take(MOST_COLUMNS).filter(|other| *other != column);
                pairs.extend(others.map(|other| btree(&relation, &[column, other])));
            }
        }
        let mut cost = |indexes: Vec<IndexDefinition>| {
            let hypothesis = Hypothesis { indexes, ..Hypothesis::default() };
            planner.engine.cost(statement, &hypothesis).ok()
        };
        let Some(before) = cost(Vec::new()) else { continue };
        let narrow = cost(single.clone());
        let wide = cost(single.iter().chain(&pairs).cloned().collect());
        // The wider ones only where they bring something.
        let best = match (narrow, wide) {
            (Some(narrow), Some(wide)) if wide.total_cost < 0.97 * narrow.total_cost => wide,
            (Some(narrow), _) => narrow,
            _ => continue,
        };
        if best.total_cost <= HALF * before.total_cost {
            let used = single.into_iter().chain(pairs);
            kept.extend(used.filter(|index| best.indexes.contains(&index.name)));
        }
    }
    kept.into_iter().collect()
}
