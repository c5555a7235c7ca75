//! Indexes that serve what two others serve, in less space (index merging, Chaudhuri and Narasayya, ICDE 1999).

use super::cover;
use pgassay_model::index::IndexDefinition;

/// INCLUDE columns of a merged index.
const MOST_COLUMNS: usize = 10;

/// The B-tree that finds rows as both do, and holds the columns that both hold; None where neither's keys lead
/// the other's, or one covers the other already.
pub(super) fn merged(a: &IndexDefinition, b: &IndexDefinition) -> Option<IndexDefinition> {
    let (short, long) = if a.keys.len() <= b.keys.len() { (a, b) } else { (b, a) };
    let plain = |index: &IndexDefinition| {
        index.method == "btree"
            && !index.unique
            && index.keys.iter().all(|key| key.column.is_some())
    };
    if !plain(a)
        || !plain(b)
        || a.relation != b.relation
        || a.predicate != b.predicate
        || long.keys.get(..short.keys.len()) != Some(short.keys.as_slice())
    {
        return None;
    }
    let mut include = long.include.clone();
    for column in &short.include {
        let is_key = long.keys.iter().any(|key| key.column.as_ref() == Some(column));
        if !is_key && !include.contains(column) {
            include.push(column.clone());
        }
    }
    let merged = IndexDefinition { name: String::new(), include, ..long.clone() };
    let new = !cover::covers(a, &merged) && !cover::covers(b, &merged);
    (new && merged.include.len() <= MOST_COLUMNS).then_some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_model::index::{IndexKey, RelationName};

    fn index(keys: &[&str], include: &[&str]) -> IndexDefinition {
        IndexDefinition {
            relation: RelationName { schema: "public".into(), name: "t".into() },
            name: "i".into(),
            method: "btree".into(),
            unique: false,
            keys: keys.iter().map(|key| IndexKey::column(*key)).collect(),
            include: include.iter().map(|name| (*name).into()).collect(),
            predicate: None,
            pages_per_range: None,
        }
    }

    #[test]
    fn keys_of_the_longer_and_columns_of_both_are_kept() {
        let merged = merged(&index(&["a"], &["x", "b"]), &index(&["a", "b"], &["y"]));
        assert_eq!(
            merged,
            Some(IndexDefinition { name: String::new(), ..index(&["a", "b"], &["y", "x"]) })
        );
    }

    #[test]
    fn what_one_covers_or_other_keys_lead_is_not_merged() {
        assert_eq!(merged(&index(&["a"], &[]), &index(&["a", "b"], &["y"])), None);
        assert_eq!(merged(&index(&["a"], &["x"]), &index(&["b"], &["x"])), None);
    }
}
