//! INVALID indexes: every write maintains them, and no statement is served by them.

use super::{DropAdvice, DropRule};
use crate::risk;
use pgassay_model::snapshot::Snapshot;

pub(super) fn find(snapshot: &Snapshot) -> Vec<DropAdvice> {
    let mut found = Vec::new();
    // A partitioned index is INVALID until all partitions have theirs: nothing failed.
    for relation in snapshot.relations.iter().filter(|relation| relation.kind != 'p') {
        for index in relation.indexes.iter().filter(|index| !index.valid) {
            let name = &index.definition.name;
            let rebuilding = name
                .rsplit_once("_cc")
                .is_some_and(|(_, tail)| tail.starts_with("new") || tail.starts_with("old"));
            let what = if rebuilding {
                "is what REINDEX CONCURRENTLY has left of a rebuild that was cut off, or works on now"
            } else {
                "is of a CREATE INDEX CONCURRENTLY that failed or goes on"
            };
            let mut drop = DropAdvice::of(
                DropRule::Invalid,
                relation,
                index,
                format!(
                    "{name} on {} is INVALID: it {what}. Writes maintain it and no statement uses it; see pg_stat_progress_create_index, and where nothing is at work drop it",
                    relation.name
                ),
                risk::drop_invalid(),
            );
            drop.undo = match (rebuilding, index.definition.unique) {
                (true, _) => "nothing: the index that it was to replace is there".to_owned(),
                (false, false) => drop.undo,
                (false, true) => {
                    format!("{} (it fails again while there are duplicates)", drop.undo)
                }
            };
            found.push(drop);
        }
    }
    found
}
