//! Indexes that are mostly empty space: their size against what their entries take, by how full their leaf pages were
//! counted to be (pgstatindex), or else by what the statistics say of the entries.

use crate::drafts::{Draft, without_figure};
use crate::evidence::Evidence;
use crate::reachable::NEGLIGIBLE;
use crate::risk;
use crate::words;
use pgassay_model::change::Change;
use pgassay_model::index::{Index, RelationName};
use pgassay_model::index_size::{self, BLOCK, ExpressionFacts};
use pgassay_model::plan::{ExpectedSource, Recommendation};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_sql::quote_qualified;

/// Share of an index that has to be empty beyond what a fresh one leaves, and the size from which it matters. The
/// estimate is within 10 % of the size of fresh indexes (tests of `model::index_size`), so half is no error of it.
const BLOATED: f64 = 0.50;
const NOTICEABLE: Bytes = Bytes(100 << 20);
/// Share from which counting is worth reading the whole index: an estimate is not exact.
const PERHAPS_BLOATED: f64 = 0.30;
/// Most that is read to count: a minute and a half at 100 MB/s, the slowest of disks in use.
const MOST_READ: Bytes = Bytes(9 << 30);
/// B-tree's default fillfactor, which the size's formula takes (manual, CREATE INDEX).
const DEFAULT_FILL: f64 = 90.0;

/// An index to be rebuilt.
#[derive(Debug, Clone, PartialEq)]
pub struct BloatedIndex {
    /// Its relation.
    pub relation: RelationName,
    /// Its name, in the relation's schema.
    pub index: String,
    /// `pg_get_indexdef`.
    pub definition: String,
    /// Its size.
    pub size: Bytes,
    /// What it would take anew.
    pub expected: Bytes,
    /// Whether that rests on counted pages; else it is an estimate from statistics.
    pub counted: bool,
    /// `REINDEX INDEX CONCURRENTLY …`, without semicolon.
    pub ddl: String,
    /// The figures, and where they come from.
    pub reason: String,
}

/// Indexes that may be bloated, the largest first, as far as reading all of them is bearable: `pg_class.oid` of those
/// whose leaf pages are to be counted before [`crate::plan`] or [`crate::beyond_indexes`] (`Index::leaves`). Those of
/// which the statistics tell nothing are among them.
pub fn perhaps_bloated(snapshot: &Snapshot) -> Vec<u32> {
    let mut indexes: Vec<&Index> = snapshot
        .relations
        .iter()
        .flat_map(|relation| relation.indexes.iter().map(move |index| (relation, index)))
        .filter(|(_, index)| index.size >= NOTICEABLE && is_btree(index))
        .filter(|(relation, index)| {
            estimated(relation, index).is_none_or(|anew| empty(index, anew) > PERHAPS_BLOATED)
        })
        .map(|(_, index)| index)
        .collect();
    indexes.sort_by_key(|index| std::cmp::Reverse(index.size));
    let mut read = 0;
    indexes
        .into_iter()
        .filter(|index| {
            let fits = read + index.size.0 <= MOST_READ.0;
            read += if fits { index.size.0 } else { 0 };
            fits
        })
        .map(|index| index.oid)
        .collect()
}

/// B-trees whose size is more than twice what their entries take.
pub(crate) fn find(snapshot: &Snapshot) -> Vec<BloatedIndex> {
    find_from(snapshot, NOTICEABLE)
}

/// As [`find`], from another size on.
fn find_from(snapshot: &Snapshot, noticeable: Bytes) -> Vec<BloatedIndex> {
    let mut found = Vec::new();
    for relation in &snapshot.relations {
        for index in relation.indexes.iter().filter(|index| index.size >= noticeable) {
            let counted = counted(index);
            let Some(expected) = counted.or_else(|| estimated(relation, index)) else { continue };
            let empty = empty(index, expected);
            if empty <= BLOATED {
                continue;
            }
            let name = &index.definition.name;
            found.push(BloatedIndex {
                relation: relation.name.clone(),
                index: name.clone(),
                definition: index.ddl.clone(),
                size: index.size,
                expected,
                counted: counted.is_some(),
                ddl: format!(
                    "REINDEX INDEX CONCURRENTLY {}",
                    quote_qualified(&relation.name.schema, name)
                ),
                reason: match index.leaves.filter(|_| counted.is_some()) {
                    Some(leaves) => format!(
                        "{name} takes {}: {} leaf pages, {} full (counted by pgstatindex); anew it would take about {expected}",
                        index.size,
                        leaves.pages,
                        words::share(leaves.density)
                    ),
                    None => format!(
                        "{name} takes {}, its {:.0} entries would take about {expected}: {} of it is empty (estimate from statistics; pgstatindex of the extension pgstattuple counts it)",
                        index.size,
                        relation.rows.unwrap_or(0.0),
                        words::share(empty)
                    ),
                },
            });
        }
    }
    found.sort_by_key(|index| std::cmp::Reverse(index.size.0 - index.expected.0));
    found
}

/// Share of an index that would not be there anew.
fn empty(index: &Index, anew: Bytes) -> f64 {
    1.0 - anew.0 as f64 / index.size.0.max(1) as f64
}

/// Partitioned indexes have no size; one that is INVALID may be half built.
fn is_btree(index: &Index) -> bool {
    index.definition.method == "btree" && index.valid
}

/// What an index would take anew, by how full its leaf pages were counted to be: as many as hold the same at its
/// fillfactor, pages above them in proportion, and the meta page. Entries of dead rows, which VACUUM has not removed,
/// count, and what deduplication would save does not.
fn counted(index: &Index) -> Option<Bytes> {
    let leaves = index.leaves.filter(|_| is_btree(index))?;
    let anew = leaves.pages as f64 * leaves.density * 100.0 / fillfactor(&index.ddl);
    let above = leaves.internal_pages as f64 / leaves.pages.max(1) as f64;
    Some(Bytes(((anew * (1.0 + above) + 1.0).ceil() * BLOCK) as u64))
}

/// What an index would take anew; None where the statistics don't tell: of parts of a relation, of expressions, of
/// other access methods, of columns that were never analyzed.
fn estimated(relation: &Relation, index: &Index) -> Option<Bytes> {
    let definition = &index.definition;
    let known = definition
        .keys
        .iter()
        .map(|key| key.column.as_ref())
        .chain(definition.include.iter().map(Some))
        .all(|column| {
            column.and_then(|name| relation.column(name)).is_some_and(|c| c.statistics.is_some())
        });
    if !is_btree(index) || definition.predicate.is_some() || !known {
        return None;
    }
    // Dead rows have entries too, until VACUUM has been there.
    let rows = relation.rows? + relation.activity.dead_rows as f64;
    let unknown = |_: &str| ExpressionFacts::UNKNOWN;
    let pages = index_size::pages(relation, definition, rows, &unknown, None)?;
    Some(Bytes((pages * BLOCK * DEFAULT_FILL / fillfactor(&index.ddl)) as u64))
}

/// `WITH (fillfactor='70')`.
fn fillfactor(ddl: &str) -> f64 {
    ddl.split_once("fillfactor='")
        .and_then(|(_, tail)| tail.split('\'').next()?.parse().ok())
        .filter(|fill: &f64| (10.0..=100.0).contains(fill))
        .unwrap_or(DEFAULT_FILL)
}

/// Those of relations that a real share of the load names, as changes.
pub(crate) fn decide(evidence: &Evidence<'_>) -> Vec<Draft> {
    find(evidence.snapshot)
        .into_iter()
        .filter_map(|index| {
            let statements = evidence.shapes.naming(&index.relation);
            let share = evidence.load.share(statements.iter().copied())?;
            (share >= NEGLIGIBLE).then(|| draft(index, &statements, share))
        })
        .collect()
}

fn draft(index: BloatedIndex, statements: &[&str], share: f64) -> Draft {
    let saved = Bytes(index.size.0.saturating_sub(index.expected.0));
    Draft {
        title: format!("rebuild {}", index.index),
        group: "bloated indexes",
        apply: vec![index.ddl.clone()],
        undo: vec!["nothing to put back: the rebuilt index holds what the old one held".to_owned()],
        needs_restart: false,
        expected: without_figure(
            format!(
                "statements on {} ({} of the load) read fewer pages of it; {saved} of disk and cache",
                index.relation,
                words::share(share)
            ),
            ExpectedSource::Rule,
        ),
        risk: risk::reindex(index.size, index.expected),
        evidence: vec![index.reason],
        statements: statements.iter().map(|&id| id.to_owned()).collect(),
        mechanism: format!("pg_relation_size of {}, blocks read and hit of it", index.index),
        change: Change::Reindex {
            relation: index.relation,
            name: index.index,
            ddl: index.definition,
            estimated_size: index.expected,
        },
    }
}

/// The others, for people to decide.
pub(crate) fn recommendations(evidence: &Evidence<'_>) -> Vec<Recommendation> {
    find(evidence.snapshot)
        .into_iter()
        .filter(|index| {
            let share = evidence.load.share(evidence.shapes.naming(&index.relation));
            share.is_none_or(|share| share < NEGLIGIBLE)
        })
        .map(|index| Recommendation {
            title: format!("rebuild {}", index.index),
            text: format!("{}; {}", index.ddl, index.reason),
            expected: format!(
                "about {} of disk and cache",
                Bytes(index.size.0.saturating_sub(index.expected.0))
            ),
            source: match index.counted {
                true => "pgstatindex (counted)".to_owned(),
                false => "pg_relation_size against pg_stats (estimate)".to_owned(),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::fixture;
    use pgassay_model::index::IndexLeaves;

    #[test]
    fn an_index_of_twice_what_its_entries_take_is_rebuilt_and_a_full_one_is_not() {
        let mut snapshot = fixture::snapshot();
        let full = Bytes(16 << 20);
        snapshot.relations[0].indexes[0].size = full;
        assert_eq!(find_from(&snapshot, Bytes(1 << 20)), []);
        snapshot.relations[0].indexes[0].size = Bytes(300 << 20);
        let found = find(&snapshot);
        assert_eq!(found[0].ddl, "REINDEX INDEX CONCURRENTLY public.users_pkey");
        assert!(found[0].expected.0 > 12 << 20 && found[0].expected.0 < 18 << 20, "{found:?}");
        // What statistics say nothing of is left alone.
        snapshot.relations[0].columns[0].statistics = None;
        assert_eq!(find(&snapshot), []);
    }

    #[test]
    fn counted_pages_overrule_the_estimate_and_say_so() {
        let mut snapshot = fixture::snapshot();
        let index = &mut snapshot.relations[0].indexes[0];
        index.size = Bytes(300 << 20);
        let oid = index.oid;
        assert_eq!(perhaps_bloated(&snapshot), [oid]);
        assert!(!find(&snapshot)[0].counted);
        let leaves = IndexLeaves { pages: 38_000, internal_pages: 190, density: 0.85 };
        snapshot.relations[0].indexes[0].leaves = Some(leaves);
        assert_eq!(find(&snapshot), [], "the statistics were wrong");
        // And where they tell nothing, they are counted all the same.
        snapshot.relations[0].columns[0].statistics = None;
        assert_eq!(perhaps_bloated(&snapshot), [oid]);
        let leaves = IndexLeaves { density: 0.09, ..leaves };
        snapshot.relations[0].indexes[0].leaves = Some(leaves);
        let found = find(&snapshot);
        assert!(found[0].counted && found[0].reason.contains("counted by pgstatindex"));
        // A tenth of the pages, at the default fillfactor.
        assert!((found[0].expected.0 as f64 / (31 << 20) as f64 - 1.0).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn what_would_take_too_long_to_read_is_not_counted() {
        let mut snapshot = fixture::snapshot();
        let mut second = snapshot.relations[0].indexes[0].clone();
        (second.oid, second.size) = (77, Bytes(200 << 20));
        snapshot.relations[0].indexes[0].size = Bytes(50 << 30);
        snapshot.relations[0].indexes.push(second);
        assert_eq!(perhaps_bloated(&snapshot), [77]);
    }

    #[test]
    fn pages_that_are_kept_empty_are_no_bloat() {
        assert_eq!(fillfactor("CREATE INDEX a ON t USING btree (b) WITH (fillfactor='45')"), 45.0);
        assert_eq!(fillfactor("CREATE INDEX a ON t USING btree (b)"), 90.0);
    }
}
