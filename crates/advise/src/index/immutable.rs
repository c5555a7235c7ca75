//! Whether an expression can be indexed: PostgreSQL takes only immutable ones.

use super::selectivity::names;
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;

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
pub(crate) fn check(
    snapshot: &Snapshot,
    relation: &Relation,
    expression: &str,
) -> Result<(), String> {
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
        let builtin = function.strip_prefix("pg_catalog.").unwrap_or(function);
        if !FUNCTIONS.contains(&builtin) && !snapshot.immutable_functions.contains(function) {
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

/// Names before an opening parenthesis, with their schemas where these are written.
fn functions(expression: &str) -> impl Iterator<Item = &str> {
    expression.match_indices('(').filter_map(|(at, _)| {
        let before = expression.get(..at)?;
        let mut begin = before.len();
        loop {
            let part = before.get(..begin)?;
            begin = match part.strip_suffix('"') {
                Some(quoted) => quoted_from(quoted)?,
                None => part
                    .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$')))
                    .map_or(0, |end| end + part.get(end..).map_or(1, first_length)),
            };
            match before.get(..begin)?.strip_suffix('.') {
                Some(schema) if !schema.is_empty() => begin = schema.len(),
                _ => break,
            }
        }
        before.get(begin..).filter(|name| !name.is_empty())
    })
}

/// Where the quoted name begins that a text without its closing quote ends with; a doubled quote is one of the name.
fn quoted_from(text: &str) -> Option<usize> {
    let mut end = text.len();
    loop {
        let quote = text.get(..end)?.rfind('"')?;
        if !text.get(..quote)?.ends_with('"') {
            return Some(quote);
        }
        end = quote - 1;
    }
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
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
            assert_eq!(check(&snapshot(), &relation(), expression), Ok(()), "{expression}");
        }
        for expression in [
            "date_trunc('day', at)",
            "at::date",
            "email::date",
            "to_char(local, 'YYYY')",
            "mine(email)",
        ] {
            assert!(check(&snapshot(), &relation(), expression).is_err(), "{expression}");
        }
    }

    fn snapshot() -> Snapshot {
        let names = ["f_unaccent", "public.f_unaccent", "public.\"My (own)\""];
        Snapshot {
            immutable_functions: names.map(str::to_owned).into(),
            ..crate::fixture::snapshot()
        }
    }

    #[test]
    fn functions_of_the_application_count_where_they_are_declared_immutable() {
        for expression in [
            "f_unaccent(lower(email))",
            "lower(public.f_unaccent(email))",
            "pg_catalog.lower(email)",
            "public.\"My (own)\"(email)",
        ] {
            assert_eq!(check(&snapshot(), &relation(), expression), Ok(()), "{expression}");
        }
        for expression in ["other.f_unaccent(email)", "public.lower(email)", "\"mine\"(email)"] {
            assert!(check(&snapshot(), &relation(), expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn aggregates_are_told_from_functions_of_rows() {
        assert!(is_aggregate("sum(price * amount)") && !is_aggregate("lower(email)"));
    }
}
