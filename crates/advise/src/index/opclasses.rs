//! Which access method finds rows by an operator on a type, and with which operator class (manual, chapters "GIN",
//! "GiST", "BRIN" and "Hash Indexes", and the appendices "btree_gin", "btree_gist", "hstore", "intarray", "pg_trgm").

use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_sql::{Operator, Subject};

/// Functions that make a range of its bounds, which are immutable (`pg_proc.provolatile`), named as the type.
const RANGES: &[&str] =
    &["int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"];
/// Types that btree_gin and btree_gist both have operator classes for.
const PLAIN: &[&str] = &[
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "money",
    "oid",
    "timestamp",
    "time",
    "date",
    "interval",
    "macaddr",
    "text",
    "character",
    "bit",
    "numeric",
    "uuid",
];

/// What an operator on a type needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) method: &'static str,
    pub(super) opclass: Option<&'static str>,
}

const fn need(method: &'static str, opclass: Option<&'static str>) -> Need {
    Need { method, opclass }
}

/// Access methods that find rows by an operator on a type, the best first.
pub(super) fn needs(type_name: &str, operator: &str) -> &'static [Need] {
    const PATH: &[Need] = &[need("gin", Some("jsonb_path_ops")), need("gin", None)];
    const GIN: &[Need] = &[need("gin", None)];
    const GIST: &[Need] = &[need("gist", None)];
    // Not the default class of its type (manual, table "Built-in GiST Operator Classes").
    const ADDRESSES: &[Need] = &[need("gist", Some("inet_ops"))];
    let base = base(type_name);
    match (base.rsplit_once('.').map_or(base, |(_, name)| name), operator) {
        ("jsonb", "@>" | "@?" | "@@") => PATH,
        ("jsonb", "?" | "?|" | "?&") => GIN,
        ("tsvector", "@@") => GIN,
        ("hstore", "@>" | "?" | "?|" | "?&") => GIN,
        (array, "@>" | "<@" | "&&") if array.ends_with("[]") => GIN,
        (range, "@>" | "<@" | "&&" | "<<" | ">>" | "-|-" | "&<" | "&>")
            if range.ends_with("range") =>
        {
            GIST
        }
        ("inet" | "cidr", "&&" | "<<" | "<<=" | ">>" | ">>=") => ADDRESSES,
        ("point", "<@") => GIST,
        // PostGIS, whatever schema it is in.
        ("geometry" | "geography", "&&") => GIST,
        ("box" | "polygon" | "circle", "&&" | "@>" | "<@" | "<<" | ">>" | "&<" | "&>" | "~=") => {
            GIST
        }
        _ => &[],
    }
}

/// The operator class that a need comes down to on this server: with intarray, its operators take the place of
/// arrays' own on `integer[]`, and only its classes know them.
pub(super) fn opclass(snapshot: &Snapshot, type_name: &str, need: Need) -> Option<&'static str> {
    let intarray = snapshot.server.extensions.contains_key("intarray");
    if type_name == "integer[]" && need.method == "gin" && intarray {
        return Some("gin__int_ops");
    }
    need.opclass
}

/// Whether btree_gin and btree_gist index a type.
pub(super) fn is_plain(type_name: &str) -> bool {
    let base = base(type_name);
    !type_name.ends_with("[]")
        && PLAIN.iter().any(|known| base == *known || base.starts_with(&format!("{known} ")))
}

/// Whether a condition on a column of that type is one for GIN or GiST, so that no B-tree need be excused.
pub(super) fn is_theirs(type_name: &str, operator: &Operator) -> bool {
    match operator {
        Operator::Other(name) => !needs(type_name, name).is_empty(),
        _ => false,
    }
}

/// Whether an index of another method than B-tree finds rows by a condition on one of its keys.
pub(super) fn finds(
    index: &IndexDefinition,
    key: &IndexKey,
    type_name: &str,
    operator: &Operator,
) -> bool {
    let opclass = key.opclass.as_deref();
    let plain = || opclass.is_none() && is_plain(type_name);
    match (index.method.as_str(), operator) {
        ("hash", Operator::Equal | Operator::In) => true,
        ("brin", Operator::Equal | Operator::In | Operator::Range) => true,
        ("gin" | "gist", Operator::Equal | Operator::In | Operator::Range) => plain(),
        ("gin", Operator::PrefixLike | Operator::OtherLike) => {
            opclass.is_some_and(|name| name.ends_with("gin_trgm_ops"))
        }
        ("gin", Operator::Other(name)) if is_pattern(name) => {
            opclass.is_some_and(|name| name.ends_with("gin_trgm_ops"))
        }
        ("gin" | "gist", Operator::Other(name)) => needs(type_name, name).iter().any(|need| {
            need.method == index.method
                && (need.opclass.is_none() || need.opclass == opclass)
                && (opclass != Some("jsonb_path_ops") || !name.starts_with('?'))
        }),
        _ => false,
    }
}

/// ILIKE and regular expressions.
pub(super) fn is_pattern(operator: &str) -> bool {
    matches!(operator, "~~*" | "~" | "~*")
}

/// The type of a subject; of an expression only what another method than B-tree could index is told.
pub(super) fn type_of(relation: &Relation, subject: &Subject) -> String {
    match subject {
        Subject::Column(name) => {
            relation.column(name).map_or(String::new(), |column| column.type_name.clone())
        }
        Subject::Expression(text) if text.starts_with("to_tsvector(") => "tsvector".into(),
        Subject::Expression(text) => {
            range_made(text).or_else(|| part_of_document(relation, text)).unwrap_or_default().into()
        }
    }
}

/// The range type that an expression makes.
fn range_made(text: &str) -> Option<&'static str> {
    RANGES.iter().find(|name| text.strip_prefix(*name).is_some_and(|r| r.starts_with('('))).copied()
}

/// Whether an expression makes a range of columns and constants only, so that it is immutable.
pub(super) fn is_range_of_columns(relation: &Relation, text: &str) -> bool {
    let Some(arguments) = range_made(text)
        .and_then(|name| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')'))
    else {
        return false;
    };
    arguments.split(", ").all(|argument| {
        let argument = argument.trim();
        let name = argument.trim_matches('"');
        relation.column(name).is_some()
            || matches!(argument, "NULL" | "'[]'" | "'[)'" | "'(]'" | "'()'")
    })
}

/// `document -> 'tags'` is a document again, `document ->> 'tags'` a text.
fn part_of_document(relation: &Relation, text: &str) -> Option<&'static str> {
    let (column, path) = text.split_once("->")?;
    let column = column.trim().trim_matches(['(', '"']);
    let is_document = relation.column(column).is_some_and(|known| known.type_name == "jsonb");
    let whole = !path.contains("->>") && !path.starts_with('>') && !path.contains('(');
    (is_document && whole).then_some("jsonb")
}

fn base(type_name: &str) -> &str {
    match type_name.split_once('(') {
        // `timestamp(3) without time zone`, `numeric(10,2)`: the name before its modifier.
        Some((name, _)) if !type_name.ends_with("[]") => name.trim(),
        _ => type_name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_served_by_the_method_whose_operator_class_knows_it() {
        assert_eq!(needs("jsonb", "@>").len(), 2);
        assert_eq!(needs("jsonb", "?"), [need("gin", None)]);
        assert_eq!(needs("text[]", "&&"), [need("gin", None)]);
        assert_eq!(needs("tstzrange", "&&"), [need("gist", None)]);
        assert_eq!(needs("inet", "<<="), [need("gist", Some("inet_ops"))]);
        assert!(needs("jsonb", "<@").is_empty() && needs("text", "@@").is_empty());
    }

    #[test]
    fn plain_types_are_those_of_the_btree_extensions() {
        for name in ["integer", "numeric(10,2)", "timestamp with time zone", "character varying(5)"]
        {
            assert!(is_plain(name), "{name}");
        }
        for name in ["integer[]", "jsonb", "int4range", "point"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
