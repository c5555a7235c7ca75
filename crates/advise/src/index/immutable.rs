//! Whether an expression can be indexed: PostgreSQL takes only immutable ones.

use super::selectivity::names;
use pgassay_model::relation::Relation;

/// Functions of `pg_catalog` that are immutable (`pg_proc.provolatile = 'i'`) for every argument but time with
/// time zone.
const FUNCTIONS: &[&str] = &[
    "abs",
    "btrim",
    "ceil",
    "ceiling",
    "char_length",
    "coalesce",
    "date_part",
    "date_trunc",
    "extract",
    "floor",
    "json_extract_path_text",
    "jsonb_extract_path_text",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "md5",
    "mod",
    "octet_length",
    "position",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "split_part",
    "strpos",
    "substr",
    "substring",
    "translate",
    "trim",
    "trunc",
    "upper",
];

/// Types between which casts are immutable.
const PLAIN_TYPES: &[&str] = &[
    "smallint",
    "int2",
    "int",
    "int4",
    "integer",
    "bigint",
    "int8",
    "numeric",
    "text",
    "varchar",
    "character varying",
    "boolean",
    "uuid",
];

/// Checks an expression over columns of `relation`; the error says what is not known to be immutable.
pub(crate) fn check(relation: &Relation, expression: &str) -> Result<(), String> {
    let columns: Vec<_> =
        relation.columns.iter().filter(|column| names(expression, &column.name)).collect();
    if let Some(column) = columns.iter().find(|column| column.type_name.contains("with time zone"))
    {
        return Err(format!(
            "{expression} depends on the session's time zone ({} is {}), so it can't be indexed; compare the column with bounds instead",
            column.name, column.type_name
        ));
    }
    for function in functions(expression) {
        if !FUNCTIONS.contains(&function) {
            return Err(format!(
                "{function}() in {expression} is not known to be immutable, and only immutable expressions can be indexed"
            ));
        }
    }
    for target in expression.split("::").skip(1) {
        let target = target.trim_start();
        let plain = PLAIN_TYPES.iter().any(|name| target.starts_with(name));
        let of_time = columns.iter().all(|column| column.type_name.starts_with("timestamp"))
            && target.starts_with("date");
        let source = columns
            .iter()
            .all(|column| PLAIN_TYPES.iter().any(|name| column.type_name.starts_with(name)));
        if !((plain && source) || of_time || columns.is_empty()) {
            return Err(format!(
                "the cast in {expression} may depend on the session's settings, so it can't be indexed"
            ));
        }
    }
    Ok(())
}

/// Whether an expression is computed over groups of rows, so that no index of rows has it.
pub(super) fn is_aggregate(expression: &str) -> bool {
    functions(expression)
        .any(|function| matches!(function, "avg" | "count" | "max" | "min" | "sum"))
}

/// Words before an opening parenthesis.
fn functions(expression: &str) -> impl Iterator<Item = &str> {
    expression.match_indices('(').filter_map(|(at, _)| {
        let before = expression.get(..at)?;
        let begin =
            before.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |end| end + 1);
        before.get(begin..).filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use pgassay_model::index::RelationName;
    use pgassay_model::relation::{Column, RelationActivity};
    use pgassay_model::units::Bytes;

    fn relation() -> Relation {
        let column = |name: &str, type_name: &str| Column {
            name: name.into(),
            type_name: type_name.into(),
            not_null: true,
            has_default: false,
            c_collation: None,
            statistics: None,
        };
        Relation {
            oid: 1,
            name: RelationName { schema: "public".into(), name: "t".into() },
            kind: 'r',
            pages: 100,
            rows: None,
            size: Bytes(0),
            all_visible_pages: 0,
            columns: vec![
                column("email", "text"),
                column("at", "timestamp with time zone"),
                column("local", "timestamp without time zone"),
            ],
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            extended_statistics: Vec::new(),
            has_children: false,
            activity: RelationActivity::default(),
        }
    }

    #[test]
    fn only_what_depends_on_nothing_but_the_row_can_be_indexed() {
        for expression in
            ["lower(email)", "left(btrim(email), 3)", "date_trunc('day', local)", "local::date"]
        {
            assert_eq!(check(&relation(), expression), Ok(()), "{expression}");
        }
        for expression in [
            "date_trunc('day', at)",
            "at::date",
            "email::date",
            "to_char(local, 'YYYY')",
            "mine(email)",
        ] {
            assert!(check(&relation(), expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn aggregates_are_told_from_functions_of_rows() {
        assert!(is_aggregate("sum(price * amount)") && !is_aggregate("lower(email)"));
    }
}
