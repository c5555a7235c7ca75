//! What indexes cost those who write, in planner units.
//!
//! The planner does not count it, so the rules stand here. An INSERT writes an entry into every index, which
//! costs by access method (`entry_cost.rs`). An UPDATE that sets no indexed column can be HOT and writes none (manual,
//! section 73.7 "Heap-Only Tuples"): the first index on a column it sets ends that, and then *every* index of
//! the relation gets an entry; from 16 on BRIN does not end it. A DELETE leaves the entry to VACUUM.

use super::entry_cost::EntryCosts;
use super::selectivity::names;
use super::statement::Asked;
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_sql::StatementKind;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// Updates that must have been counted before their HOT share is taken as evidence.
const ENOUGH_UPDATES: u64 = 100;
/// From this version on an update that sets columns of summarizing indexes only, BRIN's, can be HOT (release notes of
/// 16, `amsummarizing`).
const SUMMARIZING: u32 = 160_000;

/// A relation's indexes today and proposed, for one question.
pub(super) struct Writes<'a> {
    costs: EntryCosts,
    /// Of an entry of an index, computed once.
    entries: RefCell<HashMap<IndexDefinition, f64>>,
    /// `server_version_num`.
    version: u32,
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
        Writes {
            costs: EntryCosts::of(snapshot),
            entries: RefCell::default(),
            version: snapshot.server.version_num,
            writers,
        }
    }

    /// Whether any statement writes a relation.
    pub(super) fn any(&self, relation: &RelationName) -> bool {
        self.writers.contains_key(relation)
    }

    /// The statements that write a relation.
    pub(super) fn of(&self, relation: &RelationName) -> &[&'a Asked<'a>] {
        self.writers.get(relation).map_or(&[], Vec::as_slice)
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
                asked.statement.weight
                    * asked.rows_into(&relation.name)
                    * self.per_row(relation, asked, added)
            })
            .sum()
    }

    fn per_row(&self, relation: &Relation, asked: &Asked<'_>, added: &[Kept<'_>]) -> f64 {
        let inserted = self.entries(relation, added);
        let sets_columns = !asked.shape.columns_written.is_empty();
        match asked.shape.kind {
            StatementKind::Update => self.updated(relation, asked, added),
            StatementKind::Delete => {
                self.costs.removed() * added.iter().map(|kept| kept.share).sum::<f64>()
            }
            // INSERT … ON CONFLICT DO UPDATE does the one or the other; below WITH it can be either. The dearer counts.
            _ if sets_columns => inserted.max(self.updated(relation, asked, added)),
            _ => inserted,
        }
    }

    /// One row updated.
    fn updated(&self, relation: &Relation, asked: &Asked<'_>, added: &[Kept<'_>]) -> f64 {
        let existing: f64 =
            relation.indexes.iter().map(|index| self.entry(relation, &index.definition)).sum();
        let hot_today = if relation
            .indexes
            .iter()
            .any(|index| ends_hot(self.version, asked, &index.definition))
        {
            0.0
        } else {
            hot_share(relation)
        };
        let hot_then = if added.iter().any(|kept| ends_hot(self.version, asked, kept.definition)) {
            0.0
        } else {
            hot_today
        };
        // A summary is kept up by HOT updates too.
        let summaries: Vec<Kept<'_>> = added
            .iter()
            .filter(|kept| {
                sets(asked, kept.definition) && !ends_hot(self.version, asked, kept.definition)
            })
            .map(|kept| Kept { definition: kept.definition, share: kept.share })
            .collect();
        (1.0 - hot_then) * (existing + self.entries(relation, added)) - (1.0 - hot_today) * existing
            + hot_then * self.entries(relation, &summaries)
    }

    /// One row's entries.
    fn entries(&self, relation: &Relation, indexes: &[Kept<'_>]) -> f64 {
        indexes.iter().map(|kept| kept.share * self.entry(relation, kept.definition)).sum()
    }

    /// One index entry written.
    fn entry(&self, relation: &Relation, index: &IndexDefinition) -> f64 {
        // What a B-tree's takes is quickly said; a GIN index's keys have to be counted.
        if index.method != "gin" {
            return self.costs.written(relation, index);
        }
        if let Some(known) = self.entries.borrow().get(index) {
            return *known;
        }
        let cost = self.costs.written(relation, index);
        self.entries.borrow_mut().insert(index.clone(), cost);
        cost
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

/// Whether a statement's updates are HOT today and with one more index would no longer be.
pub(super) fn loses_hot(
    snapshot: &Snapshot,
    relation: &Relation,
    asked: &Asked<'_>,
    added: &IndexDefinition,
) -> bool {
    let version = snapshot.server.version_num;
    !relation.indexes.iter().any(|index| ends_hot(version, asked, &index.definition))
        && ends_hot(version, asked, added)
}

/// Whether an UPDATE that has to write an entry of this index can't be HOT.
fn ends_hot(version: u32, asked: &Asked<'_>, index: &IndexDefinition) -> bool {
    sets(asked, index) && !(version >= SUMMARIZING && index.method == "brin")
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use pgassay_model::index::IndexKey;
    use pgassay_model::workload::WorkloadStatement;
    use pgassay_sql::Catalog;

    struct One;

    impl Catalog for One {
        fn columns(&self, _: Option<&str>, _: &str) -> Option<(RelationName, Vec<String>)> {
            let name = RelationName { schema: "public".into(), name: "t".into() };
            Some((name, vec!["id".into(), "at".into()]))
        }
    }

    #[test]
    fn from_16_on_an_update_of_a_brin_column_can_stay_hot() {
        let statement = WorkloadStatement {
            sql: "UPDATE t SET at = $1 WHERE id = $2".into(),
            ..WorkloadStatement::default()
        };
        let shape = pgassay_sql::shape(&statement.sql, &One).unwrap();
        let asked = Asked {
            statement: &statement,
            shape,
            before: None,
            children: Vec::new(),
            limit: None,
            rows_written: Vec::new(),
        };
        let index = |method: &str| IndexDefinition {
            relation: RelationName { schema: "public".into(), name: "t".into() },
            name: "i".into(),
            method: method.into(),
            unique: false,
            keys: vec![IndexKey::column("at")],
            include: Vec::new(),
            predicate: None,
            pages_per_range: None,
        };
        for (version, method, ends) in
            [(150_018, "brin", true), (160_000, "brin", false), (160_000, "btree", true)]
        {
            assert_eq!(ends_hot(version, &asked, &index(method)), ends, "{version} {method}");
        }
    }
}
