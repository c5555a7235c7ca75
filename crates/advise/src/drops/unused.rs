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
            let whole = Index { attached: false, ..index.clone() };
            if index.size < NOTICEABLE || !droppable(&whole) || listed(index) {
                continue;
            }
            match idle(index, counted, now) {
                Idle::Used => {}
                _ if snapshot.server.in_recovery => kept.push(not_proposed(
                    drop_of(relation, index),
                    "not scanned here, but this is a standby: what its primary and other standbys scan is counted there",
                )),
                Idle::For(words) if index.attached => kept.push(not_proposed(
                    drop_of(relation, index),
                    format!("{words}, but it is a part of a partitioned index, which only goes as a whole: look at the scans of all of its parts"),
                )),
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
                            "{words}; {} of disk and cache, maintained by every write. {}, and mind jobs that run once a quarter or a year; an index that is younger than the statistics has had less time",
                            index.size,
                            elsewhere(snapshot.server.standbys)
                        ),
                        unused_risk(index, snapshot.server.standbys),
                    )),
                },
            }
        }
    }
    (found, kept)
}

/// What else may scan it, which is not counted here (manual, "The Cumulative Statistics System": standbys count by
/// themselves, and theirs are not sent back).
fn elsewhere(standbys: Option<u64>) -> String {
    match standbys {
        Some(0) => {
            "No standby is connected and none has a slot; one that is fed from an archive alone can't be seen, and counts its own scans".to_owned()
        }
        Some(1) => {
            "Standbys count their own scans, and this server has one: look into its pg_stat_user_indexes first".to_owned()
        }
        Some(many) => format!(
            "Standbys count their own scans, and this server has {many}: look into the pg_stat_user_indexes of each first"
        ),
        None => "Standbys count their own scans: look there".to_owned(),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use crate::drops::{DropRule, find};
    use crate::fixture;
    use pgassay_model::Timestamp;
    use pgassay_model::index::RelationName;
    use pgassay_model::plan::RiskLevel;
    use pgassay_model::relation::ForeignKey;
    use pgassay_model::snapshot::Snapshot;
    use pgassay_model::units::Bytes;

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn days_ago(days: i64) -> Option<Timestamp> {
        Timestamp::from_second(now().as_second() - days * 86_400).ok()
    }

    /// A large index that nothing scanned, with statistics so old.
    fn idle(age: i64) -> Snapshot {
        let mut snapshot = fixture::snapshot();
        snapshot.counters.stats_reset = days_ago(age);
        let mut index = fixture::index("users", "by_mail", "email", false);
        (index.oid, index.scans, index.size) = (9, 0, Bytes(64 << 20));
        snapshot.relations[0].indexes.push(index);
        snapshot
    }

    #[test]
    fn an_index_is_unused_when_the_statistics_are_old_enough_to_say_so() {
        let (drops, kept) = find(&idle(90), now());
        assert_eq!((drops[0].rule, drops[0].index.as_str()), (DropRule::Unused, "by_mail"));
        assert_eq!(drops[0].risk.level, RiskLevel::Medium);
        assert!(drops[0].reason.contains("90 days of statistics"), "{}", drops[0].reason);
        assert!(drops[0].reason.contains("Standbys"), "{}", drops[0].reason);
        assert!(kept.is_empty());
        let (drops, kept) = find(&idle(10), now());
        assert!(drops.is_empty() && kept[0].why.contains("only 10 days old"), "{kept:?}");
        let mut unknown = idle(90);
        unknown.counters.stats_reset = None;
        assert!(find(&unknown, now()).1[0].why.contains("since when is not known"));
    }

    #[test]
    fn where_standbys_are_the_risk_is_high_and_on_a_standby_nothing_is_called_unused() {
        let mut snapshot = idle(90);
        snapshot.server.standbys = Some(0);
        let drop = find(&snapshot, now()).0.remove(0);
        assert_eq!(drop.risk.level, RiskLevel::Medium);
        assert!(drop.reason.contains("No standby is connected"), "{}", drop.reason);
        snapshot.server.standbys = Some(2);
        let drop = find(&snapshot, now()).0.remove(0);
        assert_eq!(drop.risk.level, RiskLevel::High);
        assert!(drop.reason.contains("this server has 2"), "{}", drop.reason);
        snapshot.server.in_recovery = true;
        let (drops, kept) = find(&snapshot, now());
        assert!(drops.is_empty() && kept[0].why.contains("this is a standby"), "{kept:?}");
    }

    #[test]
    fn parts_of_a_partitioned_index_stay() {
        let mut snapshot = idle(90);
        snapshot.relations[0].indexes.last_mut().unwrap().attached = true;
        let (drops, kept) = find(&snapshot, now());
        assert!(drops.is_empty() && kept[0].why.contains("a partitioned index"), "{kept:?}");
    }

    #[test]
    fn a_last_scan_long_ago_counts_and_a_recent_one_keeps() {
        let mut snapshot = idle(900);
        let index = snapshot.relations[0].indexes.last_mut().unwrap();
        (index.scans, index.last_scan) = (70, days_ago(200));
        assert!(find(&snapshot, now()).0[0].reason.contains("last scanned 200 days ago"));
        snapshot.relations[0].indexes.last_mut().unwrap().last_scan = days_ago(3);
        assert!(find(&snapshot, now()).0.is_empty());
    }

    #[test]
    fn what_uniqueness_replication_or_a_foreign_key_rests_on_stays() {
        for change in [
            |index: &mut pgassay_model::index::Index| index.definition.unique = true,
            |index: &mut pgassay_model::index::Index| index.constraint = Some("c".into()),
            |index: &mut pgassay_model::index::Index| index.replica_identity = true,
            |index: &mut pgassay_model::index::Index| index.size = Bytes(1 << 20),
            |index: &mut pgassay_model::index::Index| index.scans = 1,
        ] {
            let mut snapshot = idle(90);
            change(snapshot.relations[0].indexes.last_mut().unwrap());
            assert!(find(&snapshot, now()).0.is_empty());
        }
        let mut snapshot = idle(90);
        snapshot.relations[0].foreign_keys.push(ForeignKey {
            name: "of_mail".into(),
            columns: vec!["email".into()],
            references: RelationName { schema: "public".into(), name: "mails".into() },
            referenced: vec!["id".into()],
        });
        let (drops, kept) = find(&snapshot, now());
        assert!(drops.is_empty() && kept[0].why.contains("foreign key of_mail"), "{kept:?}");
        // A second one that serves the key sets the first free.
        let mut other = fixture::index("users", "mail_and_name", "email", false);
        other.definition.keys.push(pgassay_model::index::IndexKey::column("username"));
        (other.oid, other.size) = (10, Bytes(64 << 20));
        other.ddl = pgassay_sql::index_ddl(&other.definition, false);
        snapshot.relations[0].indexes.push(other);
        assert_eq!(find(&snapshot, now()).0[0].rule, DropRule::Redundant);
    }
}
