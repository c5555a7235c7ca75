//! CREATE STATISTICS and DROP STATISTICS written from a definition.

use crate::{quote_identifier, quote_qualified};
use pg_query::NodeEnum;
use pgassay_model::extended_statistics::StatisticsDefinition;

/// `CREATE STATISTICS …`. An expression is taken as it is: it comes from the deparser.
pub fn statistics_ddl(definition: &StatisticsDefinition) -> String {
    let StatisticsDefinition { relation, name, kinds, columns, expression } = definition;
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let mut subjects: Vec<String> = columns.iter().map(|column| quote_identifier(column)).collect();
    subjects.extend(expression.iter().map(|expression| format!("({expression})")));
    format!(
        "CREATE STATISTICS {}{kinds} ON {} FROM {}",
        quote_qualified(&relation.schema, name),
        subjects.join(", "),
        quote_qualified(&relation.schema, &relation.name)
    )
}

/// `ANALYZE …` of what an object is on: its columns alone, or with an expression the whole relation.
pub fn analyze_ddl(definition: &StatisticsDefinition) -> String {
    let relation = quote_qualified(&definition.relation.schema, &definition.relation.name);
    if definition.expression.is_some() {
        return format!("ANALYZE {relation}");
    }
    let columns: Vec<String> =
        definition.columns.iter().map(|column| quote_identifier(column)).collect();
    format!("ANALYZE {relation} ({})", columns.join(", "))
}

/// `DROP STATISTICS …`.
pub fn drop_statistics_ddl(schema: &str, name: &str) -> String {
    format!("DROP STATISTICS {}", quote_qualified(schema, name))
}

/// Whether [`statistics_ddl`] of a definition is that object and nothing else: its expression may come from a file.
pub fn is_only_statistics(definition: &StatisticsDefinition) -> bool {
    let Ok(parsed) = pg_query::parse(&statistics_ddl(definition), 0) else { return false };
    let [statement] = parsed.protobuf.stmts.as_slice() else { return false };
    let node = statement.stmt.as_ref().and_then(|statement| statement.node.as_ref());
    let Some(NodeEnum::CreateStatsStmt(statistics)) = node else { return false };
    let subjects = definition.columns.len() + usize::from(definition.expression.is_some());
    let relation = match statistics.relations.as_slice() {
        [relation] => matches!(
            &relation.node,
            Some(NodeEnum::RangeVar(relation))
                if relation.schemaname == definition.relation.schema
                    && relation.relname == definition.relation.name
        ),
        _ => false,
    };
    relation
        && statistics.exprs.len() == subjects
        && statistics.stat_types.len() == definition.kinds.len()
        && statistics.defnames.len() == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_model::extended_statistics::StatisticsKind;
    use pgassay_model::index::RelationName;

    fn definition() -> StatisticsDefinition {
        StatisticsDefinition {
            relation: RelationName { schema: "public".into(), name: "Order".into() },
            name: "s1".into(),
            kinds: vec![StatisticsKind::Dependencies, StatisticsKind::Mcv],
            columns: vec!["city".into(), "zip code".into()],
            expression: None,
        }
    }

    #[test]
    fn every_part_is_written_and_quoted() {
        let plain = definition();
        assert_eq!(
            statistics_ddl(&plain),
            "CREATE STATISTICS public.s1 (dependencies, mcv) ON city, \"zip code\" FROM public.\"Order\""
        );
        assert_eq!(analyze_ddl(&plain), "ANALYZE public.\"Order\" (city, \"zip code\")");
        let expression = StatisticsDefinition {
            kinds: Vec::new(),
            columns: Vec::new(),
            expression: Some("lower(city)".into()),
            ..definition()
        };
        assert_eq!(
            statistics_ddl(&expression),
            "CREATE STATISTICS public.s1 ON (lower(city)) FROM public.\"Order\""
        );
        assert!(is_only_statistics(&plain) && is_only_statistics(&expression));
    }

    #[test]
    fn sql_within_an_expression_cannot_add_to_the_statement() {
        for text in ["a), (b", "a) FROM x; DROP TABLE y; --", "", "a) FROM public.t --"] {
            let bad = StatisticsDefinition { expression: Some(text.into()), ..definition() };
            assert!(!is_only_statistics(&bad), "{}", statistics_ddl(&bad));
        }
    }
}
