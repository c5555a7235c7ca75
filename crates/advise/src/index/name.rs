//! Names of proposed indexes: `users_email_idx`, as PostgreSQL would choose them.

use pgassay_model::index::IndexDefinition;
use pgassay_model::snapshot::Snapshot;
use std::collections::BTreeSet;

/// NAMEDATALEN − 1: longer names are cut by the server.
const LONGEST: usize = 63;

/// Every name of relations and indexes in a schema.
pub(crate) fn taken(snapshot: &Snapshot, schema: &str) -> BTreeSet<String> {
    snapshot
        .relations
        .iter()
        .filter(|relation| relation.name.schema == schema)
        .flat_map(|relation| {
            std::iter::once(relation.name.name.clone())
                .chain(relation.indexes.iter().map(|index| index.definition.name.clone()))
        })
        .collect()
}

/// A name for `index` that is not among `taken`.
pub(crate) fn choose(index: &IndexDefinition, taken: &BTreeSet<String>) -> String {
    let mut stem = index.relation.name.clone();
    for key in &index.keys {
        let text = key.column.as_deref().or(key.expression.as_deref()).unwrap_or_default();
        stem.push('_');
        stem.push_str(&words(text));
    }
    if index.predicate.is_some() {
        stem.push_str("_partial");
    }
    if !index.include.is_empty() {
        stem.push_str("_covering");
    }
    if index.method != "btree" {
        stem.push('_');
        stem.push_str(&index.method);
    } else if index.keys.iter().any(|key| key.opclass.is_some()) {
        stem.push_str("_pattern");
    }
    let mut number = 0u32;
    loop {
        let suffix = if number == 0 { "_idx".to_owned() } else { format!("_idx{number}") };
        let mut end = stem.len().min(LONGEST - suffix.len());
        while !stem.is_char_boundary(end) {
            end -= 1;
        }
        let name = format!("{}{suffix}", stem.get(..end).unwrap_or_default());
        if !taken.contains(&name) {
            return name;
        }
        number += 1;
    }
}

/// The words of an expression, joined by underscores: `lower(email)` is `lower_email`.
fn words(text: &str) -> String {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_model::index::{IndexKey, RelationName};

    fn index(relation: &str, keys: &[&str]) -> IndexDefinition {
        IndexDefinition {
            relation: RelationName { schema: "public".into(), name: relation.into() },
            name: String::new(),
            method: "btree".into(),
            unique: false,
            keys: keys.iter().map(|key| IndexKey::column(*key)).collect(),
            include: Vec::new(),
            predicate: None,
            pages_per_range: None,
        }
    }

    #[test]
    fn a_name_reads_like_postgresqls_own_and_a_taken_one_is_numbered() {
        let plain = index("users", &["email"]);
        assert_eq!(choose(&plain, &BTreeSet::new()), "users_email_idx");
        let taken = BTreeSet::from(["users_email_idx".to_owned()]);
        assert_eq!(choose(&plain, &taken), "users_email_idx1");
        let mut lower = index("users", &[]);
        lower.keys.push(IndexKey {
            column: None,
            expression: Some("lower(email)".into()),
            ..IndexKey::column("")
        });
        assert_eq!(choose(&lower, &BTreeSet::new()), "users_lower_email_idx");
    }

    #[test]
    fn a_long_name_is_cut_to_what_the_server_keeps() {
        let long = index(&"ü".repeat(40), &["column"]);
        let name = choose(&long, &BTreeSet::new());
        assert!(name.len() <= 63 && name.ends_with("_idx"), "{name}");
        let again = choose(&long, &BTreeSet::from([name.clone()]));
        assert!(again != name && again.len() <= 63);
    }
}
