//! BRIN indexes: for columns whose values lie in order on disk (manual, chapter "BRIN Indexes").

use super::candidates::{Found, Mention};
use super::selectivity;
use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_model::relation::Relation;
use pgassay_sql::{Operator, Predicate, Subject};

/// BRIN skips ranges of pages only where values lie in order on disk.
const CORRELATED: f64 = 0.9;
/// Ranges from which there are enough to skip some.
const MANY_RANGES: u64 = 16;
/// Pages of a range by default (manual, CREATE INDEX, `pages_per_range`).
pub(super) const DEFAULT_RANGE: u32 = 128;
/// Shorter ranges that are weighed beside the default: each reads a quarter of what the one before reads too much,
/// in an index four times as long.
const SHORTER: [u32; 2] = [32, 8];
/// A statement that wants fewer pages than so many ranges hold reads a fifth or more in vain: the ranges at both
/// ends of what it wants belong to it only in part, by half on average.
const FEW_RANGES: f64 = 5.0;

impl Mention<'_> {
    /// Adds one for each column in order, and one for all of them.
    pub(super) fn brin(&self, found: &mut Found) {
        let mut keys: Vec<IndexKey> = Vec::new();
        let of_mention =
            self.asked.shape.predicates.iter().filter(|known| known.relation == self.mention);
        for predicate in of_mention {
            let Subject::Column(name) = &predicate.subject else { continue };
            let compares =
                matches!(predicate.operator, Operator::Equal | Operator::In | Operator::Range);
            let in_order =
                correlation(self.relation, name).is_some_and(|known| known >= CORRELATED);
            let key = IndexKey::column(name.as_str());
            if compares && in_order && !predicate.in_or && !keys.contains(&key) {
                keys.push(key);
            }
        }
        for key in &keys {
            self.by_range_lengths(std::slice::from_ref(key), found);
        }
        if keys.len() > 1 {
            keys.truncate(self.max_width);
            self.by_range_lengths(&keys, found);
        }
    }

    /// One with the default's ranges, and with shorter ones where the statement wants few pages.
    fn by_range_lengths(&self, keys: &[IndexKey], found: &mut Found) {
        let wanted = self.pages_wanted(keys);
        let shorter = SHORTER.into_iter().filter(|length| {
            let longer = f64::from(*length) * 4.0;
            wanted < FEW_RANGES * longer
        });
        for length in std::iter::once(DEFAULT_RANGE).chain(shorter) {
            if self.relation.pages < MANY_RANGES * u64::from(length) {
                continue;
            }
            let definition = IndexDefinition {
                relation: self.relation.name.clone(),
                name: String::new(),
                method: "brin".into(),
                unique: false,
                keys: keys.to_vec(),
                include: Vec::new(),
                predicate: None,
                pages_per_range: (length != DEFAULT_RANGE).then_some(length),
            };
            self.push_definition(found, definition);
        }
    }

    /// Heap pages that hold what the conditions on the keys let through, were all rows in order.
    fn pages_wanted(&self, keys: &[IndexKey]) -> f64 {
        let on_keys = |predicate: &&Predicate| {
            predicate.relation == self.mention
                && !predicate.in_or
                && keys.iter().any(|key| super::wanted::is_on(key, &predicate.subject))
        };
        let predicates = self.asked.shape.predicates.iter().filter(on_keys);
        let share = selectivity::together(self.relation, self.asked.statement, predicates);
        (share * self.relation.pages as f64).max(1.0)
    }
}

/// How far values of a column lie in order on disk, forwards or backwards.
pub(super) fn correlation(relation: &Relation, column: &str) -> Option<f64> {
    Some(relation.column(column)?.statistics.as_ref()?.correlation?.abs())
}
