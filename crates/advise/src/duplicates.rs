//! Indexes that serve nothing: exact duplicates, and those that no statement ever used.

use crate::drafts::{Draft, without_figure};
use crate::evidence::Evidence;
use crate::reachable::NEGLIGIBLE;
use crate::risk;
use crate::words;
use pgassay_model::Timestamp;
use pgassay_model::change::Change;
use pgassay_model::index::{Index, IndexDefinition};
use pgassay_model::plan::{ExpectedSource, Recommendation};
use pgassay_model::relation::Relation;
use pgassay_model::units::Bytes;
use pgassay_sql::drop_index_ddl;
use std::cmp::Reverse;

/// Days of statistics before "never used" says something, and the size from which it matters (check
/// unused-index).
const TELLING_DAYS: f64 = 35.0;
const NOTICEABLE: Bytes = Bytes(10 << 20);

/// An index with another that is the same in all but its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duplicate<'a> {
    relation: &'a Relation,
    /// What can go.
    index: &'a Index,
    /// What stays.
    keeper: &'a Index,
}

/// Never dropped: what a constraint, uniqueness or replication rests on.
fn droppable(index: &Index) -> bool {
    index.valid
        && !index.primary
        && index.constraint.is_none()
        && !index.definition.unique
        && !index.replica_identity
}

/// The same index but for its name and uniqueness, collations included (`pg_get_indexdef` shows those).
fn same(a: &Index, b: &Index) -> bool {
    let essence = |index: &Index| IndexDefinition {
        name: String::new(),
        unique: false,
        ..index.definition.clone()
    };
    let tail = |index: &Index| index.ddl.split_once(" USING ").map(|(_, tail)| tail.to_owned());
    essence(a) == essence(b) && tail(a) == tail(b)
}

/// Exact duplicates that could go; of several equal ones the most used stays.
pub(crate) fn duplicates<'a>(evidence: &Evidence<'a>) -> Vec<Duplicate<'a>> {
    let mut found = Vec::new();
    for relation in &evidence.snapshot.relations {
        let mut order: Vec<&Index> = relation.indexes.iter().filter(|index| index.valid).collect();
        order.sort_by_key(|index| {
            (droppable(index), Reverse(index.scans), index.definition.name.clone())
        });
        let mut kept: Vec<&Index> = Vec::new();
        for index in order {
            match kept.iter().find(|keeper| same(keeper, index)) {
                Some(keeper) if droppable(index) => {
                    found.push(Duplicate { relation, index, keeper });
                }
                _ => kept.push(index),
            }
        }
    }
    found
}

impl Duplicate<'_> {
    /// Share of the load that writes its relation and so maintains it; None where unknown.
    fn written(&self, evidence: &Evidence<'_>) -> Option<f64> {
        evidence.load.share(evidence.shapes.writing(&self.relation.name))
    }
}

/// Duplicates whose relation is written by a real share of the load, as changes.
pub(crate) fn decide(evidence: &Evidence<'_>) -> Vec<Draft> {
    duplicates(evidence)
        .into_iter()
        .filter_map(|duplicate| {
            let written = duplicate.written(evidence).filter(|share| *share >= NEGLIGIBLE)?;
            Some(draft(&duplicate, written, evidence))
        })
        .collect()
}

fn draft(duplicate: &Duplicate<'_>, written: f64, evidence: &Evidence<'_>) -> Draft {
    let Duplicate { relation, index, keeper } = duplicate;
    let name = &index.definition.name;
    let schema = &index.definition.relation.schema;
    Draft {
        title: format!("drop {name}, a duplicate of {}", keeper.definition.name),
        group: "duplicate indexes",
        apply: vec![drop_index_ddl(schema, name, true)],
        undo: vec![index.ddl.replacen("INDEX", "INDEX CONCURRENTLY", 1)],
        needs_restart: false,
        expected: without_figure(
            format!(
                "writers of {} ({} of the load) maintain one index less; {} of disk and cache",
                relation.name,
                words::share(written),
                index.size
            ),
            ExpectedSource::Rule,
        ),
        risk: risk::drop_duplicate(index.size),
        evidence: vec![
            format!(
                "{name} and {} have the same keys, operator classes, collations and predicate",
                keeper.definition.name
            ),
            format!(
                "{name} was scanned {} times, {} {} times",
                index.scans, keeper.definition.name, keeper.scans
            ),
        ],
        statements: evidence
            .shapes
            .writing(&relation.name)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        mechanism: "pg_stat_wal.wal_bytes and execution time of the writers".to_owned(),
        change: Change::DropIndex {
            relation: relation.name.clone(),
            name: name.clone(),
            ddl: index.ddl.clone(),
        },
    }
}

/// Duplicates that nothing measured would show, and indexes that were never used, for people to decide.
pub(crate) fn recommendations(evidence: &Evidence<'_>, now: Timestamp) -> Vec<Recommendation> {
    let mut all: Vec<Recommendation> = duplicates(evidence)
        .iter()
        .filter(|duplicate| duplicate.written(evidence).is_none_or(|share| share < NEGLIGIBLE))
        .map(|Duplicate { index, keeper, relation }| Recommendation {
            title: format!("drop {}, a duplicate of {}", index.definition.name, keeper.definition.name),
            text: format!(
                "{}; the workload hardly writes {}, so no measurement of the response time would show it",
                drop_index_ddl(&index.definition.relation.schema, &index.definition.name, true),
                relation.name
            ),
            expected: format!("{} of disk and cache, and less to maintain", index.size),
            source: "the catalog".to_owned(),
        })
        .collect();
    all.extend(unused(evidence, now));
    all
}

fn unused(evidence: &Evidence<'_>, now: Timestamp) -> Option<Recommendation> {
    let since = evidence.snapshot.counters.stats_reset?;
    let days = now.duration_since(since).as_hours() as f64 / 24.0;
    let indexes: Vec<&Index> = evidence
        .snapshot
        .relations
        .iter()
        .flat_map(|relation| &relation.indexes)
        .filter(|index| droppable(index) && index.scans == 0 && index.size >= NOTICEABLE)
        .collect();
    if indexes.is_empty() || days < TELLING_DAYS {
        return None;
    }
    let size = Bytes(indexes.iter().map(|index| index.size.0).sum());
    let names: Vec<String> = indexes
        .iter()
        .map(|index| format!("{}.{}", index.definition.relation.schema, index.definition.name))
        .collect();
    Some(Recommendation {
        title: format!("drop indexes never used ({})", indexes.len()),
        text: format!(
            "{} have not been scanned since the statistics were reset {days:.0} days ago; make sure that no standby and no yearly job uses them, then DROP INDEX CONCURRENTLY",
            words::list(&names)
        ),
        expected: format!("{size} of disk and cache, and less work for every write"),
        source: "pg_stat_user_indexes.idx_scan".to_owned(),
    })
}
