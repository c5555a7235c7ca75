//! Which index makes another one needless.

use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_model::relation::Relation;

/// The valid index of a relation that already serves whatever `candidate` would.
pub(super) fn existing<'r>(
    relation: &'r Relation,
    candidate: &IndexDefinition,
) -> Option<&'r IndexDefinition> {
    relation.indexes.iter().filter(|index| index.valid).map(|index| &index.definition).find(
        |index| {
            // Ranges of other lengths are weighed against each other, not beside what exists.
            let alike =
                IndexDefinition { pages_per_range: index.pages_per_range, ..candidate.clone() };
            covers(index, &alike)
        },
    )
}

/// Whether `index` serves whatever `candidate` would: the candidate's keys lead it (in the same or in the exactly
/// opposite order, since a B-tree is read both ways), its predicate is none or the same, and it holds the
/// candidate's INCLUDE columns. A unique index whose keys lead the candidate finds a single row already.
pub(super) fn covers(index: &IndexDefinition, candidate: &IndexDefinition) -> bool {
    if index.relation != candidate.relation || index.method != candidate.method {
        return false;
    }
    let predicate = match (&index.predicate, &candidate.predicate) {
        (None, _) => true,
        (Some(a), Some(b)) => normal(a) == normal(b),
        (Some(_), None) => false,
    };
    if !predicate || index.pages_per_range != candidate.pages_per_range {
        return false;
    }
    // GIN and BRIN find rows by any of their keys alike (manual, section 11.3 "Multicolumn Indexes").
    if matches!(index.method.as_str(), "gin" | "brin") {
        let has = |key: &IndexKey| {
            index.keys.iter().any(|other| same_subject(key, other) && key.opclass == other.opclass)
        };
        return candidate.keys.iter().all(has);
    }
    let unique = index.unique
        && index.predicate.is_none()
        && index.keys.len() <= candidate.keys.len()
        && candidate.include.is_empty()
        && leads(&index.keys, &candidate.keys);
    let included = candidate.include.iter().all(|column| {
        index.include.contains(column)
            || index.keys.iter().any(|key| key.column.as_ref() == Some(column))
    });
    unique || (included && leads(&candidate.keys, &index.keys))
}

/// Whether `keys` are the first keys of `longer`.
fn leads(keys: &[IndexKey], longer: &[IndexKey]) -> bool {
    let Some(first) = longer.get(..keys.len()) else { return false };
    let matches = |flipped: bool| {
        keys.iter().zip(first).all(|(a, b)| {
            same_subject(a, b)
                && a.opclass == b.opclass
                && (a.descending == b.descending) != flipped
                && (a.nulls_first == b.nulls_first) != flipped
        })
    };
    matches(false) || matches(true)
}

/// Whether two keys index the same thing.
pub(super) fn same_subject(a: &IndexKey, b: &IndexKey) -> bool {
    match (&a.column, &b.column, &a.expression, &b.expression) {
        (Some(a), Some(b), _, _) => a == b,
        (None, None, Some(a), Some(b)) => normal(a) == normal(b),
        _ => false,
    }
}

/// An expression's text without what the server adds when it shows one: parentheses, white space, casts of
/// constants and of varchar columns.
pub(crate) fn normal(text: &str) -> String {
    const TYPES: [&str; 5] = [
        "character varying",
        "timestamp without time zone",
        "timestamp with time zone",
        "double precision",
        "bit varying",
    ];
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("::") {
        plain.push_str(before);
        rest = match TYPES.iter().find_map(|name| after.strip_prefix(name)) {
            Some(rest) => rest,
            None => after.trim_start_matches(|c: char| {
                c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '[' | ']')
            }),
        };
    }
    plain.push_str(rest);
    plain.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_model::index::RelationName;

    fn index(keys: &[&str]) -> IndexDefinition {
        IndexDefinition {
            relation: RelationName { schema: "public".into(), name: "t".into() },
            name: "i".into(),
            method: "btree".into(),
            unique: false,
            keys: keys.iter().map(|key| IndexKey::column(*key)).collect(),
            include: Vec::new(),
            predicate: None,
            pages_per_range: None,
        }
    }

    #[test]
    fn a_longer_index_covers_its_leading_keys_and_no_others() {
        assert!(covers(&index(&["a", "b"]), &index(&["a"])));
        assert!(covers(&index(&["a"]), &index(&["a"])));
        assert!(!covers(&index(&["a"]), &index(&["a", "b"])));
        assert!(!covers(&index(&["b", "a"]), &index(&["a"])));
    }

    #[test]
    fn a_unique_index_covers_longer_ones_that_begin_with_it() {
        let unique = IndexDefinition { unique: true, ..index(&["id"]) };
        assert!(covers(&unique, &index(&["id", "name"])));
        assert!(!covers(&unique, &index(&["name", "id"])));
    }

    #[test]
    fn a_b_tree_read_backwards_serves_the_opposite_order_only() {
        let mut descending = index(&["a"]);
        descending.keys[0].descending = true;
        descending.keys[0].nulls_first = true;
        assert!(covers(&index(&["a"]), &descending));
        descending.keys[0].nulls_first = false;
        assert!(!covers(&index(&["a"]), &descending));
    }

    #[test]
    fn predicates_are_compared_as_the_server_writes_them() {
        let shown = IndexDefinition {
            predicate: Some("((status)::text = 'open'::text)".into()),
            ..index(&["a"])
        };
        let wanted = IndexDefinition { predicate: Some("status = 'open'".into()), ..index(&["a"]) };
        assert!(covers(&shown, &wanted));
        assert!(!covers(&shown, &index(&["a"])));
        assert!(covers(&index(&["a"]), &wanted));
    }

    #[test]
    fn gin_and_brin_serve_each_of_their_keys_and_gist_the_first_ones() {
        let of =
            |method: &str, keys: &[&str]| IndexDefinition { method: method.into(), ..index(keys) };
        for method in ["gin", "brin"] {
            assert!(covers(&of(method, &["a", "b"]), &of(method, &["b"])), "{method}");
            assert!(!covers(&of(method, &["a"]), &of(method, &["a", "b"])), "{method}");
        }
        assert!(covers(&of("gist", &["a", "b"]), &of("gist", &["a"])));
        assert!(!covers(&of("gist", &["a", "b"]), &of("gist", &["b"])));
        let shorter = IndexDefinition { pages_per_range: Some(32), ..of("brin", &["a"]) };
        assert!(!covers(&of("brin", &["a"]), &shorter) && !covers(&shorter, &of("brin", &["a"])));
    }

    #[test]
    fn another_operator_class_or_missing_include_column_is_not_covered() {
        let mut pattern = index(&["a"]);
        pattern.keys[0].opclass = Some("text_pattern_ops".into());
        assert!(!covers(&index(&["a"]), &pattern));
        let covering = IndexDefinition { include: vec!["b".into()], ..index(&["a"]) };
        assert!(!covers(&index(&["a"]), &covering));
        assert!(covers(&index(&["a", "b"]), &covering));
    }
}
