//! Index DDL written from a definition.

use crate::{quote_identifier, quote_qualified};
use pg_query::NodeEnum;
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
    if let Some(pages) = definition.pages_per_range {
        ddl.push_str(&format!(" WITH (pages_per_range = {pages})"));
    }
    if let Some(predicate) = &definition.predicate {
        ddl.push_str(&format!(" WHERE {predicate}"));
    }
    ddl
}

/// Whether [`index_ddl`] of a definition is that index and nothing else. Its operator classes, expressions and
/// predicate are SQL that may come from a file: none of them may end the statement, add a part to it, or
/// comment the rest of it out.
pub fn is_only_index(definition: &IndexDefinition) -> bool {
    let Ok(parsed) = pg_query::parse(&index_ddl(definition, true), 0) else { return false };
    let [statement] = parsed.protobuf.stmts.as_slice() else { return false };
    let node = statement.stmt.as_ref().and_then(|statement| statement.node.as_ref());
    let Some(NodeEnum::IndexStmt(index)) = node else { return false };
    let relation = index.relation.as_ref().is_some_and(|relation| {
        relation.schemaname == definition.relation.schema
            && relation.relname == definition.relation.name
    });
    relation
        && index.idxname == definition.name
        && index.access_method == definition.method
        && index.unique == definition.unique
        && index.index_params.len() == definition.keys.len()
        && index.index_including_params.len() == definition.include.len()
        && index.where_clause.is_some() == definition.predicate.is_some()
        && index.options.len() == usize::from(definition.pages_per_range.is_some())
        && index.options.iter().all(|option| {
            let Some(NodeEnum::DefElem(option)) = &option.node else { return false };
            let value = option.arg.as_ref().and_then(|value| value.node.as_ref());
            let pages = match value {
                Some(NodeEnum::Integer(value)) => u32::try_from(value.ival).ok(),
                _ => None,
            };
            option.defname == "pages_per_range"
                && option.defnamespace.is_empty()
                && pages == definition.pages_per_range
        })
        && index.table_space.is_empty()
        && !index.nulls_not_distinct
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
    fn sql_within_a_definition_cannot_add_to_the_statement() {
        let good = every_part();
        assert!(is_only_index(&good));
        let with = |change: &dyn Fn(&mut IndexDefinition)| {
            let mut definition = every_part();
            change(&mut definition);
            definition
        };
        let bad = [
            with(&|d| d.predicate = Some("active; DROP TABLE users".into())),
            with(&|d| d.predicate = Some("".into())),
            with(&|d| d.keys[2].opclass = Some("text_ops, (other".into())),
            with(&|d| d.keys[2].opclass = Some("text_ops, other".into())),
            with(&|d| d.keys[2].opclass = Some("text_ops) WITH (fillfactor = 10) --".into())),
            with(&|d| d.keys[2].opclass = Some("text_ops) TABLESPACE slow --".into())),
            with(&|d| d.keys[1].expression = Some("a), (b".into())),
            with(&|d| d.keys.clear()),
            with(&|d| d.name = String::new()),
            with(&|d| d.name = "x\0y".into()),
            with(&|d| d.name = "x".repeat(64)),
        ];
        for definition in &bad {
            assert!(!is_only_index(definition), "{}", index_ddl(definition, true));
        }
    }

    #[test]
    fn every_part_of_a_definition_is_written() {
        assert_eq!(
            index_ddl(&every_part(), true),
            "CREATE INDEX CONCURRENTLY i1 ON public.\"Order\" USING btree \
             (created DESC, (lower(mail)), \"user\" text_pattern_ops) INCLUDE (id) WHERE active"
        );
        assert_eq!(drop_index_ddl("public", "I1", true), "DROP INDEX CONCURRENTLY public.\"I1\"");
    }

    #[test]
    fn a_brin_index_says_how_many_pages_a_range_has() {
        let brin = IndexDefinition {
            method: "brin".into(),
            keys: vec![IndexKey::column("at")],
            include: Vec::new(),
            predicate: Some("active".into()),
            pages_per_range: Some(32),
            ..every_part()
        };
        assert_eq!(
            index_ddl(&brin, false),
            "CREATE INDEX i1 ON public.\"Order\" USING brin (at) WITH (pages_per_range = 32) WHERE active"
        );
        assert!(is_only_index(&brin));
        for opclass in [
            "x) WITH (fillfactor = 10) --",
            "x) WITH (pages_per_range = 1) --",
            "x) WITH (fillfactor = 10",
        ] {
            let key = IndexKey { opclass: Some(opclass.into()), ..IndexKey::column("at") };
            let smuggled = IndexDefinition { keys: vec![key], predicate: None, ..brin.clone() };
            assert!(!is_only_index(&smuggled), "{opclass}");
        }
    }

    fn every_part() -> IndexDefinition {
        IndexDefinition {
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
            pages_per_range: None,
        }
    }
}
