//! `EXECUTE name (…)` of SQL: the statement that was prepared, which the server adds to the entry as
//! `DETAIL:  prepare: PREPARE name AS …`, with the values that it was executed with.

use crate::log::lexer::{Scan, trim};
use crate::log::literal::value;
use crate::log::parts::parts;

/// What an EXECUTE asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executed<'a> {
    /// The statement, with `$n`.
    pub sql: &'a [u8],
    /// Its values as a DETAIL of bound parameters; empty where there are none, or one of them is no literal.
    pub detail: Vec<u8>,
}

/// The statement behind an EXECUTE; None where it is none, or its DETAIL is of another.
pub(crate) fn executed<'a>(sql: &[u8], detail: &'a [u8]) -> Option<Executed<'a>> {
    let rest = after_word(sql, b"execute")?;
    let prepare = detail.strip_prefix(b"prepare: ")?;
    let (name, arguments) = name(rest)?;
    let mut scan = Scan::default();
    scan.read(prepare);
    // The whole message is repeated in which the PREPARE came.
    let sql = parts(prepare, &scan).into_iter().find_map(|part| prepared(part, &name))?;
    Some(Executed { sql, detail: values(arguments).unwrap_or_default() })
}

/// The statement of `PREPARE name (types) AS statement`.
fn prepared<'a>(sql: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let (name, rest) = name(after_word(sql, b"prepare")?)?;
    if name != wanted {
        return None;
    }
    let rest = match rest.strip_prefix(b"(") {
        Some(types) => types.get(closing(types)? + 1..)?.trim_ascii_start(),
        None => rest,
    };
    Some(trim(after_word(rest, b"as")?))
}

/// What follows a word, where the text begins with it.
fn after_word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (first, rest) = text.split_at_checked(word.len())?;
    let ends = rest.first().is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'"');
    (first.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_ascii_start())
}

/// An identifier as the catalog has it, and what follows it.
fn name(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let end = memchr::memchr(b'"', quoted)?;
        return Some((quoted.get(..end)?.to_vec(), quoted.get(end + 1..)?.trim_ascii_start()));
    }
    let end = text
        .iter()
        .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || *b >= 128))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), rest.trim_ascii_start()))
}

/// Where the parenthesis closes that was opened before the text; types hold no quotes that hide one.
fn closing(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `(1, 'x', NULL)` as `Parameters: $1 = '1', $2 = 'x', $3 = NULL`; None where one is no literal.
fn values(arguments: &[u8]) -> Option<Vec<u8>> {
    let inner = arguments.trim_ascii().strip_prefix(b"(")?.strip_suffix(b")")?;
    let mut scan = Scan::default();
    // Literals are told by their neighbours in a list.
    scan.read(arguments);
    let offset = arguments.len() - arguments.trim_ascii_start().len() + 1;
    let mut detail = b"Parameters: ".to_vec();
    let mut from = 0;
    for (number, literal) in scan.literals.iter().enumerate() {
        let start = literal.at.start.checked_sub(offset)?;
        let between = plain(inner.get(from..start)?)?;
        if between != if number == 0 { &b""[..] } else { b"," } {
            return None;
        }
        from = literal.at.end.checked_sub(offset)?;
        if number > 0 {
            detail.extend_from_slice(b", ");
        }
        detail.extend_from_slice(format!("${} = ", number + 1).as_bytes());
        match value(arguments, literal) {
            Some(value) => {
                detail.extend_from_slice(format!("'{}'", value.replace('\'', "''")).as_bytes());
            }
            None => detail.extend_from_slice(b"NULL"),
        }
    }
    (from > 0 && plain(inner.get(from..)?)?.is_empty()).then_some(detail)
}

/// What stands between two literals, without white space and the casts that follow one (`'1'::text`).
fn plain(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    let Some(cast) = text.strip_prefix(b"::") else { return Some(text) };
    let end = cast.iter().position(|byte| *byte == b',').unwrap_or(cast.len());
    let (kind, rest) = cast.split_at_checked(end)?;
    let is_name =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'"' | b' ' | b'[' | b']');
    kind.iter().all(is_name).then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn of(sql: &str, detail: &str) -> Option<(String, String)> {
        let found = executed(sql.as_bytes(), detail.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((text(found.sql), text(&found.detail)))
    }

    #[test]
    fn an_execute_stands_for_its_statement_with_its_values() {
        let detail = "prepare: PREPARE other AS SELECT 2; prepare P1 (int, numeric(8, 2)) as SELECT $1, ';'; ";
        for (sql, values) in [
            ("EXECUTE p1 (1, 'it''s', null)", "Parameters: $1 = '1', $2 = 'it''s', $3 = NULL"),
            ("execute P1(-5,E'\\n'::text , true)", "Parameters: $1 = '-5', $2 = '\n', $3 = 'true'"),
            ("EXECUTE p1", ""),
            ("EXECUTE p1 (now(), 1)", ""),
            ("EXECUTE p1 (1 + 1)", ""),
        ] {
            let found = of(sql, detail).unwrap();
            assert_eq!(found, ("SELECT $1, ';'".to_owned(), values.to_owned()), "{sql}");
        }
        assert_eq!(of("EXECUTE \"P1\" (1)", detail), None);
        assert_eq!(of("EXECUTE p2 (1)", detail), None);
        assert_eq!(of("EXECUTE p1 (1)", "Parameters: $1 = '1'"), None);
        assert_eq!(of("executed", detail), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "[a-z1'$\"(), :-]{0,40}", detail in "[a-zA-Z1'$\"();ä -]{0,60}") {
            let _ = of(&format!("EXECUTE {sql}"), &format!("prepare: PREPARE {detail}"));
        }
    }
}
