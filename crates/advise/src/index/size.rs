//! Sizes of B-trees from statistics, where the what-if engine has no opinion.

use super::selectivity::rows;
use pgassay_model::index::IndexDefinition;
use pgassay_model::relation::Relation;
use pgassay_model::units::Bytes;

/// Bytes of a page, PostgreSQL's default block size.
pub(super) const PAGE: f64 = 8192.0;
/// What a leaf page holds at B-tree's default fillfactor of 90 % (manual, CREATE INDEX), header (24 bytes) and
/// special space (16 bytes) taken off (`bufpage.h`, `nbtree.h`).
const LEAF: f64 = (PAGE - 24.0 - 16.0) * 0.9;
/// Line pointer (4 bytes) and index tuple header (8 bytes).
const OVERHEAD: f64 = 12.0;
/// A TID in a posting list (`itemptr.h`).
const TID: f64 = 6.0;
/// Width assumed of a column or expression without statistics.
const WIDTH_UNKNOWN: f64 = 16.0;

/// Entries of an index, given the share of the relation's rows that its predicate keeps, and its size in pages.
pub(super) fn estimate(relation: &Relation, index: &IndexDefinition, predicate_share: f64) -> f64 {
    let entries = (rows(relation) * predicate_share).max(1.0);
    let width = |column: &str| {
        relation
            .column(column)
            .and_then(|column| column.statistics.as_ref())
            .map_or(WIDTH_UNKNOWN, |statistics| f64::from(statistics.average_width))
    };
    let keys: f64 = index
        .keys
        .iter()
        .map(|key| key.column.as_deref().map_or(WIDTH_UNKNOWN, width))
        .chain(index.include.iter().map(|column| width(column)))
        .sum();
    // Data is aligned to 8 bytes (MAXALIGN).
    let tuple = OVERHEAD + (keys / 8.0).ceil() * 8.0;
    // Equal keys share one posting list (deduplication, manual section 64.4.3), but for INCLUDE indexes; a posting
    // list holds at most a sixth of a page, about 1,300 bytes.
    let distinct: f64 = index
        .keys
        .iter()
        .map(|key| {
            key.column
                .as_deref()
                .and_then(|column| relation.column(column)?.statistics.as_ref())
                .map_or(entries, |statistics| statistics.distinct(rows(relation)))
        })
        .product::<f64>()
        .clamp(1.0, entries);
    let repeats = entries / distinct;
    let entry = if repeats > 2.0 && index.include.is_empty() {
        TID + tuple / repeats.min((PAGE / 6.0 - tuple).max(TID) / TID)
    } else {
        tuple
    };
    // Inner pages are about 1 in 200 of the leaves; one page for the meta page.
    (entries * entry / LEAF * 1.005).ceil() + 1.0
}

/// The same in bytes.
pub(super) fn bytes(relation: &Relation, index: &IndexDefinition, predicate_share: f64) -> Bytes {
    Bytes((estimate(relation, index, predicate_share) * PAGE) as u64)
}
