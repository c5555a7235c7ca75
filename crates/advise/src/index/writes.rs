//! What indexes cost those who write, in planner units.
//!
//! The planner does not count it, so the rules stand here. Per index entry written: the descent of the tree,
//! as `btcostestimate` counts it, and one leaf page fetched at random and dirtied (`random_page_cost`). An INSERT
//! writes an entry into every index. An UPDATE that sets no indexed column can be HOT and writes none (manual,
//! section 73.7 "Heap-Only Tuples"): the first index on a column it sets ends that, and then *every* index of
//! the relation gets an entry. A DELETE leaves the entry to VACUUM, which reads the index in order:
//! `cpu_index_tuple_cost`.

use super::rule_path::Costs;
use super::selectivity::{names, rows};
use super::statement::Asked;
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_sql::StatementKind;
use std::collections::{BTreeSet, HashMap};

/// Updates that must have been counted before their HOT share is taken as evidence.
const ENOUGH_UPDATES: u64 = 100;

/// A relation's indexes today and proposed, for one question.
pub(super) struct Writes<'a> {
    costs: Costs,
    /// Statements that write a relation.
    writers: HashMap<&'a RelationName, Vec<&'a Asked<'a>>>,
}

/// An index with the share of the relation's rows that it holds.
pub(super) struct Kept<'a> {
    /// The index.
    pub definition: &'a IndexDefinition,
    /// 0–1; 1 without predicate.
    pub share: f64,
}

impl<'a> Writes<'a> {
    pub(super) fn new(snapshot: &Snapshot, asked: &'a [Asked<'a>]) -> Self {
        let mut writers: HashMap<&RelationName, Vec<&Asked<'_>>> = HashMap::new();
        for statement in asked {
            let targets = statement.shape.relations.iter().filter(|used| used.target_of_write);
            let targets: BTreeSet<&RelationName> = targets.map(|used| &used.name).collect();
            for target in targets {
                writers.entry(target).or_default().push(statement);
            }
        }
        Writes { costs: Costs::of(snapshot), writers }
    }

    /// Whether any statement writes a relation.
    pub(super) fn any(&self, relation: &RelationName) -> bool {
        self.writers.contains_key(relation)
    }

    /// Whether no statement writes.
    pub(super) fn none(&self) -> bool {
        self.writers.is_empty()
    }

    /// Weighted cost that `added` bring to the writers of `relation`.
    pub(super) fn added(&self, relation: &Relation, added: &[Kept<'_>]) -> f64 {
        if added.is_empty() {
            return 0.0;
        }
        self.writers
            .get(&relation.name)
            .into_iter()
            .flatten()
            .map(|asked| {
                asked.statement.weight * asked.rows_written * self.per_row(relation, asked, added)
            })
            .sum()
    }

    /// Whether a statement's updates are HOT today and would no longer be.
    pub(super) fn loses_hot(
        relation: &Relation,
        asked: &Asked<'_>,
        added: &IndexDefinition,
    ) -> bool {
        !relation.indexes.iter().any(|index| sets(asked, &index.definition)) && sets(asked, added)
    }

    fn per_row(&self, relation: &Relation, asked: &Asked<'_>, added: &[Kept<'_>]) -> f64 {
        let new_entries: f64 = added.iter().map(|kept| kept.share).sum();
        let inserted = self.entry(relation) * new_entries;
        let sets_columns = !asked.shape.columns_written.is_empty();
        match asked.shape.kind {
            StatementKind::Update => self.updated(relation, asked, added),
            StatementKind::Delete => self.costs.index_tuple * new_entries,
            // INSERT … ON CONFLICT DO UPDATE does the one or the other; below WITH it can be either. The dearer counts.
            _ if sets_columns => inserted.max(self.updated(relation, asked, added)),
            _ => inserted,
        }
    }

    /// One row updated.
    fn updated(&self, relation: &Relation, asked: &Asked<'_>, added: &[Kept<'_>]) -> f64 {
        let existing = relation.indexes.len() as f64;
        let new_entries: f64 = added.iter().map(|kept| kept.share).sum();
        let hot_today = if relation.indexes.iter().any(|index| sets(asked, &index.definition)) {
            0.0
        } else {
            hot_share(relation)
        };
        let hot_then =
            if added.iter().any(|kept| sets(asked, kept.definition)) { 0.0 } else { hot_today };
        let entries = (1.0 - hot_then) * (existing + new_entries) - (1.0 - hot_today) * existing;
        self.entry(relation) * entries
    }

    /// One index entry written.
    fn entry(&self, relation: &Relation) -> f64 {
        self.costs.descent(rows(relation), (rows(relation) / 300.0).max(1.0))
            + self.costs.random_page
    }
}

/// Share of updates that find room for a new version on the same page: observed, or all where too few were seen.
pub(super) fn hot_share(relation: &Relation) -> f64 {
    let activity = &relation.activity;
    if activity.updated >= ENOUGH_UPDATES {
        (activity.hot_updated as f64 / activity.updated as f64).clamp(0.0, 1.0)
    } else {
        1.0
    }
}

/// Whether an UPDATE sets a column that an index reads: as key, INCLUDE, or in its predicate.
fn sets(asked: &Asked<'_>, index: &IndexDefinition) -> bool {
    asked.shape.columns_written.iter().any(|column| {
        index.keys.iter().any(|key| {
            key.column.as_ref() == Some(column)
                || key.expression.as_deref().is_some_and(|text| names(text, column))
        }) || index.include.contains(column)
            || index.predicate.as_deref().is_some_and(|text| names(text, column))
    })
}
