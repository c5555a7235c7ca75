//! Index DDL written from a definition.

use crate::{quote_identifier, quote_qualified};
use pgassay_model::index::{IndexDefinition, IndexKey};

/// `CREATE INDEX …` for a definition. Operator classes and predicates are taken as they are: they come
/// from the catalog or from the deparser.
pub fn index_ddl(definition: &IndexDefinition, concurrently: bool) -> String {
    let keys: Vec<String> = definition.keys.iter().map(key_text).collect();
    let mut ddl = format!(
        "CREATE {}INDEX {}{} ON {} USING {} ({})",
        if definition.unique { "UNIQUE " } else { "" },
        if concurrently { "CONCURRENTLY " } else { "" },
        quote_identifier(&definition.name),
        quote_qualified(&definition.relation.schema, &definition.relation.name),
        quote_identifier(&definition.method),
        keys.join(", "),
    );
    if !definition.include.is_empty() {
        let columns: Vec<String> =
            definition.include.iter().map(|name| quote_identifier(name)).collect();
        ddl.push_str(&format!(" INCLUDE ({})", columns.join(", ")));
    }
    if let Some(predicate) = &definition.predicate {
        ddl.push_str(&format!(" WHERE {predicate}"));
    }
    ddl
}

fn key_text(key: &IndexKey) -> String {
    let mut text = match (&key.column, &key.expression) {
        (Some(column), _) => quote_identifier(column),
        (None, Some(expression)) => format!("({expression})"),
        (None, None) => String::new(),
    };
    if let Some(opclass) = &key.opclass {
        text.push(' ');
        text.push_str(opclass);
    }
    if key.descending {
        text.push_str(" DESC");
    }
    if key.nulls_first != key.descending {
        text.push_str(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
    }
    text
}

/// `DROP INDEX …`.
pub fn drop_index_ddl(schema: &str, name: &str, concurrently: bool) -> String {
    let concurrently = if concurrently { "CONCURRENTLY " } else { "" };
    format!("DROP INDEX {concurrently}{}", quote_qualified(schema, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_model::index::RelationName;

    #[test]
    fn every_part_of_a_definition_is_written() {
        let definition = IndexDefinition {
            relation: RelationName { schema: "public".into(), name: "Order".into() },
            name: "i1".into(),
            method: "btree".into(),
            unique: false,
            keys: vec![
                IndexKey { descending: true, nulls_first: true, ..IndexKey::column("created") },
                IndexKey {
                    column: None,
                    expression: Some("lower(mail)".into()),
                    ..IndexKey::column("")
                },
                IndexKey { opclass: Some("text_pattern_ops".into()), ..IndexKey::column("user") },
            ],
            include: vec!["id".into()],
            predicate: Some("active".into()),
        };
        assert_eq!(
            index_ddl(&definition, true),
            "CREATE INDEX CONCURRENTLY i1 ON public.\"Order\" USING btree \
             (created DESC, (lower(mail)), \"user\" text_pattern_ops) INCLUDE (id) WHERE active"
        );
        assert_eq!(drop_index_ddl("public", "I1", true), "DROP INDEX CONCURRENTLY public.\"I1\"");
    }
}
