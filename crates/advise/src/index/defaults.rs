//! By what a figure is estimated, in words: the planner, statistics, or the defaults that stand in where there are none.

use super::statement::Asked;
use pgassay_model::index::RelationName;
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use std::collections::BTreeSet;

/// Relations named in a note.
const NAMED: usize = 3;

/// The rules' name for some statements: `rule from statistics`, unless statistics of what they read are missing.
pub(super) fn rule<'a>(snapshot: &Snapshot, asked: impl Iterator<Item = &'a Asked<'a>>) -> String {
    let read: BTreeSet<&RelationName> =
        asked.flat_map(|asked| &asked.shape.relations).map(|used| &used.name).collect();
    let relations: Vec<&Relation> =
        read.into_iter().filter_map(|name| snapshot.relation(name)).collect();
    let lacking: Vec<(&Relation, &str)> =
        relations.iter().filter_map(|relation| Some((*relation, lack(relation)?))).collect();
    if lacking.is_empty() {
        return "rule from statistics".into();
    }
    let mut notes: Vec<String> = lacking
        .iter()
        .take(NAMED)
        .map(|(relation, why)| format!("the statistics of {} {why}", relation.name))
        .collect();
    if lacking.len() > NAMED {
        notes.push(format!("nor are there any of {} more", lacking.len() - NAMED));
    }
    let what = match lacking.len() == relations.len() {
        true => "rule by defaults, no statistics",
        false => "rule from statistics, by defaults where there are none",
    };
    format!("{what}: {}", notes.join("; "))
}

/// Why there are no statistics of any column of a relation; None: there are, or there is nothing to gather.
pub(super) fn lack(relation: &Relation) -> Option<&'static str> {
    let known = relation.columns.iter().any(|column| column.statistics.is_some());
    let empty = relation.rows == Some(0.0) || relation.columns.is_empty();
    if known || empty {
        return None;
    }
    // A partitioned table's are gathered by ANALYZE by hand alone.
    let gathered = relation.activity.last_analyze.is_some()
        || (relation.rows.is_some() && relation.kind != 'p');
    Some(match gathered {
        true => "can't be read by this role",
        false => "were never gathered (ANALYZE gathers them)",
    })
}
