//! The normal form of a statement: `$n` for its literals, so that it can be prepared and means the same.
//!
//! pg_stat_statements' form can't always be prepared (`interval $1`) or resolves otherwise (`- $1`). Here a
//! number whose type does not follow from its surroundings is cast to the type that the scanner gives it
//! (manual, section 4.1.2.6), `interval '1 day'` becomes `$1::interval`, and what can't be a parameter stays:
//! positions in GROUP BY and ORDER BY, lengths of types, `interval '1' day`.

use crate::log::lexer::{Literal, LiteralKind, Scan, before};
use std::ops::Range;

/// A normal form, and which literals became parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Normal {
    /// Text with `$n`.
    pub sql: String,
    /// For each literal, in order: whether it is a parameter.
    pub parameters: Vec<bool>,
}

/// Types whose name may stand before a literal (manual, section 4.1.2.7), in one word.
const TYPES: &[&str] = &[
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "interval",
    "numeric",
    "decimal",
    "real",
    "float4",
    "float8",
    "int",
    "int2",
    "int4",
    "int8",
    "integer",
    "bigint",
    "smallint",
    "boolean",
    "bool",
    "uuid",
    "json",
    "jsonb",
    "inet",
    "cidr",
    "macaddr",
    "bytea",
    "text",
    "point",
    "box",
    "money",
    "xml",
    "regclass",
];

/// Words after which a number in parentheses is the length of a type.
const MEASURED: &[&str] = &[
    "numeric",
    "decimal",
    "dec",
    "varchar",
    "char",
    "character",
    "varying",
    "bpchar",
    "nchar",
    "bit",
    "varbit",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "float",
    "vector",
];

/// Fields that follow the literal of an interval.
const FIELDS: &[&str] = &["year", "month", "day", "hour", "minute", "second"];

/// Words that end a GROUP BY or ORDER BY.
const ENDS_BY: &[&str] = &[
    "having", "limit", "offset", "fetch", "for", "union", "rows", "range", "groups", "window",
    "order",
];

/// Makes the normal form; literals are numbered behind the `$n` that are there.
pub(crate) fn normal(text: &[u8], scan: &Scan) -> Normal {
    let mut normal = Normal { sql: String::new(), parameters: Vec::new() };
    let mut number = highest_parameter(text, scan);
    let mut sql: Vec<u8> = Vec::with_capacity(text.len());
    let mut by = false;
    let mut insert_values = false;
    let mut depth_at_by = 0_i32;
    let mut depth = 0_i32;
    let mut copied = 0;
    let mut comments = scan.comments.iter().peekable();
    for literal in &scan.literals {
        let from = sql.len();
        copy(text, copied..literal.at.start, &mut comments, &mut sql);
        copied = literal.at.end;
        for (word, depth) in words(sql.get(from..).unwrap_or_default(), &mut depth) {
            match word.as_str() {
                "by" => (by, depth_at_by) = (true, depth),
                "values" => insert_values = true,
                "select" | "returning" => insert_values = false,
                word if ENDS_BY.contains(&word) => by = false,
                _ => {}
            }
        }
        if by && depth < depth_at_by {
            by = false;
        }
        let insert = insert_values && into(&sql);
        let form = form(text, &sql, literal, by && depth == depth_at_by, insert);
        normal.parameters.push(form != Form::Constant);
        if form == Form::Constant {
            sql.extend_from_slice(text.get(literal.at.clone()).unwrap_or_default());
            continue;
        }
        number += 1;
        if let Form::OfType { name } = &form {
            let kept = sql.trim_ascii_end().len().saturating_sub(name.len());
            sql.truncate(kept);
        }
        sql.extend_from_slice(format!("${number}").as_bytes());
        match form {
            Form::Cast(name) => sql.extend_from_slice(format!("::{name}").as_bytes()),
            Form::OfType { name } => sql.extend_from_slice(format!("::{name}").as_bytes()),
            Form::Plain | Form::Constant => {}
        }
        // `'x'y` can't be, but `$1y` is not what was meant.
        if text.get(copied).is_some_and(u8::is_ascii_alphanumeric) {
            sql.push(b' ');
        }
    }
    copy(text, copied..text.len(), &mut comments, &mut sql);
    normal.sql = String::from_utf8_lossy(sql.trim_ascii()).into_owned();
    normal
}

/// What stands in the place of a literal.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    /// `$n`
    Plain,
    /// `$n::type`
    Cast(&'static str),
    /// `$n::type` for `type '…'`
    OfType { name: String },
    /// The literal itself.
    Constant,
}

fn form(text: &[u8], sql: &[u8], literal: &Literal, by: bool, insert: bool) -> Form {
    let rest = text.get(literal.at.end..).unwrap_or_default().trim_ascii_start();
    let cast = rest.starts_with(b"::");
    let word = last_word(sql);
    match literal.kind {
        LiteralKind::Null | LiteralKind::Boolean => Form::Plain,
        LiteralKind::Text | LiteralKind::Escaped | LiteralKind::Dollar => {
            if matches!(word.as_str(), "x" | "b" | "n") && !sql.ends_with(b" ") {
                return Form::Constant;
            }
            // `with time zone '…'`, and not `at time zone '…'`
            if word == "zone" && !is_at_time_zone(sql) {
                return Form::Constant;
            }
            if sql.trim_ascii_end().ends_with(b"&") || word == "precision" {
                return Form::Constant;
            }
            if !TYPES.contains(&word.as_str()) || before_is_point(sql, &word) {
                return Form::Plain;
            }
            if FIELDS.contains(&first_word(rest).as_str()) {
                return Form::Constant;
            }
            Form::OfType { name: word }
        }
        LiteralKind::Integer | LiteralKind::Decimal => {
            let open = sql.trim_ascii_end().strip_suffix(b"(");
            if by || open.is_some_and(|open| MEASURED.contains(&last_word(open).as_str())) {
                return Form::Constant;
            }
            if inside_measured(sql) {
                return Form::Constant;
            }
            if literal.kind == LiteralKind::Decimal {
                return if cast { Form::Plain } else { Form::Cast("numeric") };
            }
            let compared = matches!(before(sql, sql.len()), Some(b'=' | b'<' | b'>'));
            let arithmetic = rest.first().is_some_and(|byte| {
                matches!(byte, b'+' | b'-' | b'*' | b'/' | b'%' | b'|' | b'&' | b'#')
            });
            let by_context =
                matches!(word.as_str(), "limit" | "offset" | "between" | "first" | "next")
                    || (word == "and" && after_between(sql))
                    || in_list(sql)
                    || insert && matches!(before(sql, sql.len()), Some(b'(' | b','));
            if cast || (compared || by_context) && !arithmetic {
                return Form::Plain;
            }
            let digits = text.get(literal.at.clone()).unwrap_or_default();
            let value: Option<i128> = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
            Form::Cast(match value {
                Some(value) if i32::try_from(value).is_ok() => "integer",
                Some(value) if i64::try_from(value).is_ok() => "bigint",
                Some(_) => "numeric",
                // `0x1F` and `1_000` (16): as the scanner reads them, which text input does too.
                None => "integer",
            })
        }
    }
}

/// Whether the text is an INSERT (also behind WITH).
fn into(sql: &[u8]) -> bool {
    let head = String::from_utf8_lossy(sql.get(..sql.len().min(2000)).unwrap_or_default())
        .to_ascii_lowercase();
    head.contains("insert") && head.contains("into")
}

/// Whether the place is an element of `IN (…)`.
fn in_list(sql: &[u8]) -> bool {
    open_parenthesis(sql).is_some_and(|open| last_word(open) == "in")
}

/// Whether the place is within the lengths of a type: `numeric(10, …`.
fn inside_measured(sql: &[u8]) -> bool {
    sql.trim_ascii_end().ends_with(b",")
        && open_parenthesis(sql).is_some_and(|open| MEASURED.contains(&last_word(open).as_str()))
}

/// The text before the parenthesis that is open at the end; only simple lists are looked at.
fn open_parenthesis(sql: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    for (at, byte) in sql.iter().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' if depth == 0 => return sql.get(..at),
            b'(' => depth -= 1,
            b';' => return None,
            _ => {}
        }
    }
    None
}

/// Whether the AND at the end belongs to a BETWEEN.
fn after_between(sql: &[u8]) -> bool {
    let tail = sql.get(sql.len().saturating_sub(120)..).unwrap_or_default();
    let text = String::from_utf8_lossy(tail).to_ascii_lowercase();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    matches!(words.as_slice(), [.., word, _, "and"] if *word == "between")
}

fn is_at_time_zone(sql: &[u8]) -> bool {
    let tail = sql.get(sql.len().saturating_sub(40)..).unwrap_or_default();
    let text = String::from_utf8_lossy(tail).to_ascii_lowercase();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    matches!(words.as_slice(), [.., "at", "time", "zone"])
}

/// `t.date '…'` can't be, but `t.date` is a column.
fn before_is_point(sql: &[u8], word: &str) -> bool {
    let sql = sql.trim_ascii_end();
    sql.get(..sql.len().saturating_sub(word.len())).is_some_and(|before| before.ends_with(b"."))
}

fn last_word(sql: &[u8]) -> String {
    let sql = sql.trim_ascii_end();
    let start =
        sql.iter().rposition(|b| !(b.is_ascii_alphanumeric() || *b == b'_')).map_or(0, |at| at + 1);
    String::from_utf8_lossy(sql.get(start..).unwrap_or_default()).to_ascii_lowercase()
}

fn first_word(text: &[u8]) -> String {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
    String::from_utf8_lossy(text.get(..end).unwrap_or_default()).to_ascii_lowercase()
}

/// The words of a text in lower case, each with the depth of parentheses it stands at.
fn words(text: &[u8], depth: &mut i32) -> Vec<(String, i32)> {
    let mut found = Vec::new();
    let mut word = String::new();
    for byte in text.iter().copied().chain([b' ']) {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            word.push(char::from(byte.to_ascii_lowercase()));
            continue;
        }
        if !word.is_empty() {
            found.push((std::mem::take(&mut word), *depth));
        }
        match byte {
            b'(' => *depth += 1,
            b')' => *depth -= 1,
            _ => {}
        }
    }
    found
}

/// Copies a part of the text without comments.
fn copy<'a>(
    text: &[u8],
    part: Range<usize>,
    comments: &mut std::iter::Peekable<impl Iterator<Item = &'a Range<usize>>>,
    to: &mut Vec<u8>,
) {
    let mut from = part.start;
    while let Some(comment) = comments.next_if(|comment| comment.start < part.end) {
        to.extend_from_slice(text.get(from..comment.start).unwrap_or_default());
        // A comment parts words as white space does.
        if !to.ends_with(b" ") {
            to.push(b' ');
        }
        from = comment.end.max(from);
    }
    to.extend_from_slice(text.get(from..part.end).unwrap_or_default());
}

/// The highest `n` of the `$n` outside of literals and comments.
fn highest_parameter(text: &[u8], scan: &Scan) -> usize {
    let hidden = |at: usize| {
        scan.literals.iter().any(|literal| literal.at.contains(&at))
            || scan.comments.iter().any(|comment| comment.contains(&at))
    };
    memchr::memchr_iter(b'$', text)
        .filter(|at| !hidden(*at))
        .filter_map(|at| {
            let digits = text.get(at + 1..)?;
            let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
            std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
        })
        .filter(|number| *number <= usize::from(u16::MAX))
        .max()
        .unwrap_or(0)
}

/// A text with its words in lower case and single spaces outside of quotes, for telling whether two normal
/// forms have their parameters in the same places.
pub(crate) fn canonical(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut quote = None;
    for c in sql.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        match quote {
            Some(_) => text.push(c),
            None if c.is_whitespace() && (text.ends_with([' ', '(', ',']) || text.is_empty()) => {}
            None if c.is_whitespace() => text.push(' '),
            None => {
                if matches!(c, ')' | ',') && text.ends_with(' ') {
                    text.pop();
                }
                text.extend(c.to_lowercase());
            }
        }
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::literal::value;
    use proptest::prelude::*;

    fn of(sql: &str) -> String {
        let mut scan = Scan::default();
        scan.read(sql.as_bytes());
        normal(sql.as_bytes(), &scan).sql
    }

    fn values(sql: &str) -> Vec<Option<String>> {
        let mut scan = Scan::default();
        scan.read(sql.as_bytes());
        let normal = normal(sql.as_bytes(), &scan);
        let kept = scan.literals.iter().zip(&normal.parameters).filter(|(_, kept)| **kept);
        kept.map(|(literal, _)| value(sql.as_bytes(), literal)).collect()
    }

    #[test]
    fn literals_become_parameters_that_can_be_prepared() {
        for (sql, expected) in [
            (
                "SELECT * FROM t WHERE a = 1 AND b IN (1, 2)",
                "SELECT * FROM t WHERE a = $1 AND b IN ($2, $3)",
            ),
            (
                "SELECT a FROM t WHERE a = $2 AND b > 5 LIMIT 10",
                "SELECT a FROM t WHERE a = $2 AND b > $3 LIMIT $4",
            ),
            ("SELECT now() - interval '1 day'", "SELECT now() - $1::interval"),
            ("SELECT now() - interval '1' day", "SELECT now() - interval '1' day"),
            (
                "UPDATE t SET a = a + -5 WHERE b = -7",
                "UPDATE t SET a = a + $1::integer WHERE b = $2",
            ),
            (
                "SELECT a FROM t GROUP BY 1 ORDER BY a, 2 LIMIT 3",
                "SELECT a FROM t GROUP BY 1 ORDER BY a, 2 LIMIT $1",
            ),
            (
                "SELECT x::numeric(10, 2), 'a'::varchar(3)",
                "SELECT x::numeric(10, 2), $1::varchar(3)",
            ),
            ("SELECT a * 1.5, round(x, 2)", "SELECT a * $1::numeric, round(x, $2::integer)"),
            (
                "INSERT INTO t (a, b) VALUES (1, 'x'), (2, NULL)",
                "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)",
            ),
            (
                "SELECT a FROM t WHERE b BETWEEN 1 AND 2",
                "SELECT a FROM t WHERE b BETWEEN $1 AND $2",
            ),
            (
                "SELECT x'1F', timestamp with time zone '2020-01-01'",
                "SELECT x'1F', timestamp with time zone '2020-01-01'",
            ),
            ("SELECT a AT TIME ZONE 'UTC' /* c='1' */ FROM t", "SELECT a AT TIME ZONE $1  FROM t"),
            (
                "SELECT (SELECT b FROM c ORDER BY 1) FROM t WHERE a = 4",
                "SELECT (SELECT b FROM c ORDER BY 1) FROM t WHERE a = $1",
            ),
        ] {
            assert_eq!(of(sql), expected);
        }
    }

    #[test]
    fn values_are_those_of_the_literals() {
        assert_eq!(
            values("SELECT 'it''s', E'a\\n\\u00e4\\'', $q$x$q$, f(NULL, -3) WHERE a = 5e3"),
            [Some("it's"), Some("a\nä'"), Some("x"), None, Some("-3"), Some("5e3")]
                .map(|v| v.map(str::to_owned))
        );
    }

    #[test]
    fn the_canonical_form_ignores_case_and_white_space_only() {
        assert_eq!(
            canonical("SELECT  A ,b FROM t\n WHERE x = 'A  B'"),
            canonical("select a, b from t where x = 'A  B'")
        );
        assert_ne!(canonical("select a, b"), canonical("select b, a"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-zE0-9'$\"/*(),.:=&ä \n\\\\-]{0,120}") {
            let _ = of(&text);
            let _ = values(&text);
            let _ = canonical(&text);
        }
    }
}
