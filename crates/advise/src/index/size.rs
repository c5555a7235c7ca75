//! Sizes of indexes from statistics alone, where the what-if engine has no opinion.

use super::selectivity::rows;
use pgassay_model::index::IndexDefinition;
use pgassay_model::index_size::{BLOCK, ExpressionFacts, pages};
use pgassay_model::relation::Relation;
use pgassay_model::units::Bytes;

/// Pages of an index that holds that share of the relation's rows.
pub(super) fn estimate(relation: &Relation, index: &IndexDefinition, share: f64) -> f64 {
    let entries = (rows(relation) * share).max(1.0);
    pages(relation, index, entries, &|_| ExpressionFacts::UNKNOWN, None).unwrap_or(1.0)
}

/// The same in bytes.
pub(super) fn bytes(relation: &Relation, index: &IndexDefinition, share: f64) -> Bytes {
    Bytes((estimate(relation, index, share) * BLOCK) as u64)
}
