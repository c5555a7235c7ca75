//! Indexes that nothing scanned for long enough to say so.

use super::{DropAdvice, DropRule, droppable, only_cover, unused_risk};
use crate::drafts::not_proposed;
use pgassay_model::Timestamp;
use pgassay_model::index::Index;
use pgassay_model::plan::NotProposed;
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;

/// Days without a scan before "never used" says something, and the size from which it matters (check
/// unused-index).
pub(crate) const TELLING_DAYS: f64 = 35.0;
pub(crate) const NOTICEABLE: Bytes = Bytes(10 << 20);

pub(super) fn find(
    snapshot: &Snapshot,
    now: Timestamp,
    listed: &dyn Fn(&Index) -> bool,
) -> (Vec<DropAdvice>, Vec<NotProposed>) {
    let (mut found, mut kept) = (Vec::new(), Vec::new());
    let counted = snapshot.counters.stats_reset.map(|since| days(now, since));
    for relation in &snapshot.relations {
        for index in &relation.indexes {
            if index.size < NOTICEABLE || !droppable(index) || listed(index) {
                continue;
            }
            match idle(index, counted, now) {
                Idle::Used => {}
                Idle::Unknown(why) => kept.push(not_proposed(drop_of(relation, index), why)),
                Idle::For(words) => match only_cover(relation, index) {
                    Some(key) => kept.push(not_proposed(
                        drop_of(relation, index),
                        format!("{words}, but it is the only index that serves foreign key {key}: without it every row deleted from the relation referred to scans {}", relation.name),
                    )),
                    None => found.push(DropAdvice::of(
                        DropRule::Unused,
                        relation,
                        index,
                        format!(
                            "{words}; {} of disk and cache, maintained by every write. Standbys count their own scans: look there, and mind jobs that run once a quarter or a year",
                            index.size
                        ),
                        unused_risk(index),
                    )),
                },
            }
        }
    }
    (found, kept)
}

enum Idle {
    Used,
    /// For so long, in words.
    For(String),
    /// Nothing can be said, why.
    Unknown(String),
}

fn idle(index: &Index, counted: Option<f64>, now: Timestamp) -> Idle {
    if let Some(last) = index.last_scan {
        let age = days(now, last);
        return if age >= TELLING_DAYS {
            Idle::For(format!("last scanned {age:.0} days ago (last_idx_scan)"))
        } else {
            Idle::Used
        };
    }
    match (index.scans, counted) {
        (1.., _) => Idle::Used,
        (0, Some(age)) if age >= TELLING_DAYS => {
            Idle::For(format!("not scanned once in {age:.0} days of statistics"))
        }
        (0, Some(age)) => Idle::Unknown(format!(
            "not scanned yet, but the statistics are only {age:.0} days old: {TELLING_DAYS:.0} say something"
        )),
        // Without a reset they are as old as the database, which nothing tells.
        (0, None) => Idle::Unknown(
            "not scanned yet, but since when is not known: pg_stat_database.stats_reset is NULL"
                .into(),
        ),
    }
}

fn days(now: Timestamp, since: Timestamp) -> f64 {
    now.duration_since(since).as_hours() as f64 / 24.0
}

fn drop_of(relation: &Relation, index: &Index) -> String {
    format!("dropping {}.{}", relation.name.schema, index.definition.name)
}
