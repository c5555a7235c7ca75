//! Indexes that could go, with what speaks for it, the way back, and why others that look alike stay.
//!
//! Never dropped: what a constraint, uniqueness or a replica identity rests on, what a foreign key has to find its
//! referencing rows by, and the parts of a partitioned index.

mod invalid;
mod unused;

use crate::drafts::not_proposed;
use crate::duplicates::{self, Duplicate};
use crate::foreign_keys;
use crate::risk;
use pgassay_model::Timestamp;
use pgassay_model::index::{Index, RelationName};
use pgassay_model::plan::{Finding, NotProposed, Risk};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_sql::drop_index_ddl;

/// Why an index could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropRule {
    /// Another is the same but for its name.
    Duplicate,
    /// Another begins with all of its keys.
    Redundant,
    /// Nothing scanned it for long.
    Unused,
    /// It is INVALID: to be dropped and built again.
    Invalid,
}

impl DropRule {
    /// The rule's name in documents.
    pub fn name(self) -> &'static str {
        match self {
            DropRule::Duplicate => "duplicate",
            DropRule::Redundant => "redundant",
            DropRule::Unused => "unused",
            DropRule::Invalid => "invalid",
        }
    }
}

/// An index that could go.
#[derive(Debug, Clone, PartialEq)]
pub struct DropAdvice {
    /// Why.
    pub rule: DropRule,
    /// Its relation.
    pub relation: RelationName,
    /// Its name, in the relation's schema.
    pub index: String,
    /// Its size.
    pub size: Bytes,
    /// `DROP INDEX CONCURRENTLY …`, without semicolon.
    pub ddl: String,
    /// Its exact definition, CONCURRENTLY.
    pub undo: String,
    /// What speaks for it, and what to look at before.
    pub reason: String,
    /// Risk by rule (docs/risk.md).
    pub risk: Risk,
}

impl DropAdvice {
    fn of(rule: DropRule, relation: &Relation, index: &Index, reason: String, risk: Risk) -> Self {
        DropAdvice {
            rule,
            relation: relation.name.clone(),
            index: index.definition.name.clone(),
            size: index.size,
            ddl: drop_index_ddl(&relation.name.schema, &index.definition.name, true),
            undo: index.ddl.replacen("INDEX", "INDEX CONCURRENTLY", 1),
            reason,
            risk,
        }
    }
}

/// Everything that could go, and what looks as if it could and stays. `now`: the age of statistics is counted back
/// from it.
pub(crate) fn find(snapshot: &Snapshot, now: Timestamp) -> (Vec<DropAdvice>, Vec<NotProposed>) {
    let covered = duplicates::duplicates(snapshot);
    let mut found: Vec<DropAdvice> = covered.iter().map(of_duplicate).collect();
    found.extend(invalid::find(snapshot));
    let (unused, mut kept) = unused::find(snapshot, now, &|index| {
        covered.iter().any(|duplicate| duplicate.index.oid == index.oid)
    });
    found.extend(unused);
    kept.extend(duplicates::partitioned(snapshot).iter().map(of_partitioned));
    (found, kept)
}

/// A duplicate that only its owner can drop, at a time of their choice.
fn of_partitioned(duplicate: &Duplicate<'_>) -> NotProposed {
    let (schema, name) = (&duplicate.relation.name.schema, &duplicate.index.definition.name);
    not_proposed(
        format!("dropping {schema}.{name}"),
        format!(
            "{}; but a partitioned index can't be dropped CONCURRENTLY: {} locks {} and all of its partitions against reads and writes (ACCESS EXCLUSIVE) until it has them all, so do it by hand, in quiet hours, with a lock_timeout; {} brings it back, and builds it on each partition under a lock against writes",
            duplicate.likeness(),
            drop_index_ddl(schema, name, false),
            duplicate.relation.name,
            // pg_get_indexdef of a partitioned index says ONLY, which would make it without any of its parts.
            duplicate.index.ddl.replacen(" ON ONLY ", " ON ", 1)
        ),
    )
}

fn of_duplicate(duplicate: &Duplicate<'_>) -> DropAdvice {
    let rule = if duplicate.exact { DropRule::Duplicate } else { DropRule::Redundant };
    DropAdvice::of(
        rule,
        duplicate.relation,
        duplicate.index,
        format!("{}; {}", duplicate.likeness(), duplicate.use_of_both()),
        duplicate.risk(),
    )
}

/// INVALID indexes, as a finding.
pub(crate) fn findings(snapshot: &Snapshot) -> Option<Finding> {
    let invalid = invalid::find(snapshot);
    (!invalid.is_empty()).then(|| Finding {
        title: match invalid.as_slice() {
            [one] => format!("index {}.{} is INVALID", one.relation.schema, one.index),
            several => format!("{} indexes are INVALID", several.len()),
        },
        evidence: invalid
            .iter()
            .map(|drop| format!("{}: {}; then {}", drop.reason, drop.ddl, drop.undo))
            .collect(),
        share: None,
    })
}

/// Never dropped: what a constraint, uniqueness or replication rests on, and parts of a partitioned index.
pub(crate) fn droppable(index: &Index) -> bool {
    index.valid
        && !index.primary
        && index.constraint.is_none()
        && !index.definition.unique
        && !index.replica_identity
        && !index.attached
}

/// The foreign key that would have no index left without this one.
fn only_cover<'a>(relation: &'a Relation, index: &Index) -> Option<&'a str> {
    relation.foreign_keys.iter().find_map(|key| {
        let serves = |other: &&Index| foreign_keys::serves(other, key);
        let others =
            relation.indexes.iter().filter(|other| other.oid != index.oid).any(|o| serves(&o));
        (serves(&index) && !others).then_some(key.name.as_str())
    })
}

fn unused_risk(index: &Index, standbys: Option<u64>) -> Risk {
    risk::drop_unused(index.size, standbys)
}
