//! Indexes of which another does all that they do: exact duplicates, and those that a longer one begins with.

use crate::drafts::{Draft, without_figure};
use crate::drops::{self, DropRule, droppable};
use crate::evidence::Evidence;
use crate::reachable::NEGLIGIBLE;
use crate::risk;
use crate::words;
use pgassay_model::Timestamp;
use pgassay_model::change::Change;
use pgassay_model::index::{Index, IndexDefinition};
use pgassay_model::plan::{ExpectedSource, Recommendation, Risk};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_sql::drop_index_ddl;
use std::cmp::Reverse;

/// An index of which another one does all that it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duplicate<'a> {
    pub(crate) relation: &'a Relation,
    /// What can go.
    pub(crate) index: &'a Index,
    /// What stays.
    pub(crate) keeper: &'a Index,
    /// The same in all but its name; else the keeper's keys begin with all of its keys.
    pub(crate) exact: bool,
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

/// Whether all keys of a B-tree are the first ones of another, as `pg_get_indexdef` writes them (operator classes,
/// collations, directions), with the same predicate and all of its INCLUDE columns.
fn begins(index: &Index, longer: &Index) -> bool {
    let (a, b) = (&index.definition, &longer.definition);
    let (Some(keys), Some(others)) = (keys(&index.ddl), keys(&longer.ddl)) else { return false };
    let has = |column: &String| {
        b.include.contains(column) || b.keys.iter().any(|key| key.column.as_ref() == Some(column))
    };
    a.method == "btree"
        && b.method == "btree"
        && a.predicate == b.predicate
        && keys.len() < others.len()
        && others.starts_with(&keys)
        && a.include.iter().all(has)
}

/// The keys of an index as its definition writes them.
fn keys(ddl: &str) -> Option<Vec<&str>> {
    let (_, tail) = ddl.split_once(" USING ")?;
    let list = tail.get(tail.find('(')? + 1..)?;
    let (mut keys, mut depth, mut quote, mut start) = (Vec::new(), 0_usize, None, 0);
    for (at, character) in list.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') if depth > 0 => depth -= 1,
            (None, ',' | ')') if depth == 0 => {
                keys.push(list.get(start..at)?.trim());
                start = at + 1;
                if character == ')' {
                    return Some(keys);
                }
            }
            _ => {}
        }
    }
    None
}

/// Indexes of which another does all that they do: exact duplicates, of which the most used stays, then those that a
/// longer one begins with. Those of partitioned tables are [`partitioned`].
pub(crate) fn duplicates(snapshot: &Snapshot) -> Vec<Duplicate<'_>> {
    among(snapshot.relations.iter().filter(|relation| relation.kind != 'p'))
}

/// As [`duplicates`], of partitioned tables, whose indexes can't be dropped concurrently (manual, DROP INDEX).
pub(crate) fn partitioned(snapshot: &Snapshot) -> Vec<Duplicate<'_>> {
    among(snapshot.relations.iter().filter(|relation| relation.kind == 'p'))
}

fn among<'a>(relations: impl Iterator<Item = &'a Relation>) -> Vec<Duplicate<'a>> {
    let mut found = Vec::new();
    for relation in relations {
        let mut order: Vec<&Index> = relation.indexes.iter().filter(|index| index.valid).collect();
        order.sort_by_key(|index| {
            (droppable(index), Reverse(index.scans), index.definition.name.clone())
        });
        let mut kept: Vec<&Index> = Vec::new();
        for index in order {
            match kept.iter().find(|keeper| same(keeper, index)) {
                Some(keeper) if droppable(index) => {
                    found.push(Duplicate { relation, index, keeper, exact: true });
                }
                _ => kept.push(index),
            }
        }
        // A keeper that could go itself would be no keeper.
        let lasting =
            |index: &Index| !droppable(index) || !kept.iter().any(|longer| begins(index, longer));
        for index in kept.iter().filter(|index| droppable(index)) {
            let keepers = kept.iter().filter(|longer| begins(index, longer) && lasting(longer));
            if let Some(keeper) = keepers.min_by_key(|keeper| keeper.size) {
                found.push(Duplicate { relation, index, keeper, exact: false });
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

    /// What makes the other one do.
    pub(crate) fn likeness(&self) -> String {
        let (name, keeper) = (&self.index.definition.name, &self.keeper.definition.name);
        if self.exact {
            format!(
                "{name} and {keeper} have the same keys, operator classes, collations and predicate"
            )
        } else {
            format!(
                "{keeper} begins with all keys of {name}, in the same order, operator classes, collations and predicate"
            )
        }
    }

    /// How often each was scanned.
    pub(crate) fn use_of_both(&self) -> String {
        let (name, keeper) = (&self.index.definition.name, &self.keeper.definition.name);
        format!(
            "{name} was scanned {} times, {keeper} {} times",
            self.index.scans, self.keeper.scans
        )
    }

    pub(crate) fn risk(&self) -> Risk {
        if self.exact {
            risk::drop_duplicate(self.index.size)
        } else {
            risk::drop_redundant(self.index.size, self.keeper.size)
        }
    }

    fn title(&self) -> String {
        let (name, keeper) = (&self.index.definition.name, &self.keeper.definition.name);
        if self.exact {
            format!("drop {name}, a duplicate of {keeper}")
        } else {
            format!("drop {name}, which {keeper} begins with")
        }
    }
}

/// Duplicates whose relation is written by a real share of the load, as changes.
pub(crate) fn decide(evidence: &Evidence<'_>) -> Vec<Draft> {
    duplicates(evidence.snapshot)
        .into_iter()
        .filter_map(|duplicate| {
            let written = duplicate.written(evidence).filter(|share| *share >= NEGLIGIBLE)?;
            Some(draft(&duplicate, written, evidence))
        })
        .collect()
}

fn draft(duplicate: &Duplicate<'_>, written: f64, evidence: &Evidence<'_>) -> Draft {
    let Duplicate { relation, index, .. } = duplicate;
    let name = &index.definition.name;
    let schema = &index.definition.relation.schema;
    Draft {
        title: duplicate.title(),
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
        risk: duplicate.risk(),
        evidence: vec![duplicate.likeness(), duplicate.use_of_both()],
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

/// Duplicates that nothing measured would show, and indexes that were not used for long, for people to decide.
pub(crate) fn recommendations(evidence: &Evidence<'_>, now: Timestamp) -> Vec<Recommendation> {
    let mut all: Vec<Recommendation> = duplicates(evidence.snapshot)
        .iter()
        .filter(|duplicate| duplicate.written(evidence).is_none_or(|share| share < NEGLIGIBLE))
        .map(|duplicate| Recommendation {
            title: duplicate.title(),
            text: format!(
                "{}; {}. The workload hardly writes {}, so no measurement of the response time would show it",
                drop_index_ddl(&duplicate.relation.name.schema, &duplicate.index.definition.name, true),
                duplicate.likeness(),
                duplicate.relation.name
            ),
            expected: format!("{} of disk and cache, and less to maintain", duplicate.index.size),
            source: "the catalog".to_owned(),
        })
        .collect();
    all.extend(unused(evidence, now));
    all
}

fn unused(evidence: &Evidence<'_>, now: Timestamp) -> Option<Recommendation> {
    let (drops, _) = drops::find(evidence.snapshot, now);
    let unused: Vec<_> = drops.iter().filter(|drop| drop.rule == DropRule::Unused).collect();
    if unused.is_empty() {
        return None;
    }
    let size = Bytes(unused.iter().map(|drop| drop.size.0).sum());
    let names: Vec<String> =
        unused.iter().map(|drop| format!("{}.{}", drop.relation.schema, drop.index)).collect();
    let reason = unused.first().map(|drop| drop.reason.as_str()).unwrap_or_default();
    Some(Recommendation {
        title: format!("drop indexes not used ({})", unused.len()),
        text: format!("DROP INDEX CONCURRENTLY of {} ({reason})", words::list(&names)),
        expected: format!("{size} of disk and cache, and less work for every write"),
        source: "pg_stat_user_indexes.idx_scan".to_owned(),
    })
}
