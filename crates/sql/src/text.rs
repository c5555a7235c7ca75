//! Statements as text: normal form, fingerprint, number of parameters.

use crate::SqlError;
use pg_query::protobuf::{ScanToken, Token};

/// Replaces constants by `$n`, as pg_stat_statements shows statements.
pub fn normalise(sql: &str) -> Result<String, SqlError> {
    Ok(pg_query::normalize(sql)?)
}

/// Sixteen hexadecimal digits that are equal for statements that differ only in constants, white space
/// and the length of lists (libpg_query's fingerprint).
pub fn fingerprint(sql: &str) -> Result<String, SqlError> {
    Ok(pg_query::fingerprint(sql, 0, 0)?.hex)
}

/// The highest `n` of the `$n` in a statement; 0 without parameters.
pub fn parameter_count(sql: &str) -> Result<usize, SqlError> {
    let highest = tokens(sql)?
        .iter()
        .filter(|token| token.token == Token::Param as i32)
        .filter_map(|token| sql.get(token.start as usize + 1..token.end as usize)?.parse().ok())
        .max();
    Ok(highest.unwrap_or(0))
}

/// A statement with its `$n` replaced by literals, quoted; `None` is NULL. A parameter without a value stays.
///
/// The literals are of unknown type, as parameters are whose type nobody tells, so they are resolved alike.
pub fn with_literals(sql: &str, values: &[Option<String>]) -> Result<String, SqlError> {
    let mut text = String::with_capacity(sql.len() + 16 * values.len());
    let mut copied = 0;
    for token in tokens(sql)?.iter().filter(|token| token.token == Token::Param as i32) {
        let (start, end) = (token.start as usize, token.end as usize);
        let number: Option<usize> = sql.get(start + 1..end).and_then(|digits| digits.parse().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let (Some(value), Some(before)) = (value, sql.get(copied..start)) else { continue };
        text.push_str(before);
        match value {
            Some(value) => text.push_str(&crate::quote_literal(value)),
            None => text.push_str("NULL"),
        }
        copied = end;
    }
    text.push_str(sql.get(copied..).unwrap_or_default());
    Ok(text)
}

/// The tokens of a text. The scanner must not be given a text without any (its answer is a null pointer),
/// so a semicolon follows.
pub(crate) fn tokens(text: &str) -> Result<Vec<ScanToken>, SqlError> {
    let mut tokens = pg_query::scan_tokens(&format!("{text}\n;"))?;
    tokens.pop();
    Ok(tokens)
}

/// Checks that a text is exactly one statement.
pub fn single_statement(sql: &str) -> Result<(), SqlError> {
    match pg_query::parse(sql, 0)?.protobuf.stmts.len() {
        1 => Ok(()),
        count => Err(SqlError::Count(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_ignores_constants_and_white_space() {
        let plain = fingerprint("SELECT * FROM users WHERE id = 1");
        assert_eq!(plain, fingerprint("select *  from users where id = $1"));
        assert_ne!(plain, fingerprint("SELECT * FROM users WHERE name = 'x'"));
    }

    #[test]
    fn parameters_are_counted_outside_of_literals() {
        assert_eq!(parameter_count("SELECT $2, '$9', $1"), Ok(2));
        assert_eq!(parameter_count("SELECT 1"), Ok(0));
    }

    #[test]
    fn parameters_become_literals_outside_of_literals() {
        let values = [Some("it's".to_owned()), None];
        assert_eq!(
            with_literals("SELECT $2, '$1', \"$1\", $1::text /* $1 */, $3", &values).as_deref(),
            Ok("SELECT NULL, '$1', \"$1\", 'it''s'::text /* $1 */, $3")
        );
    }

    #[test]
    fn several_statements_or_none_are_refused() {
        assert_eq!(single_statement("SELECT 1;"), Ok(()));
        assert_eq!(single_statement("SELECT 1; SELECT 2"), Err(SqlError::Count(2)));
        assert_eq!(single_statement("-- nothing"), Err(SqlError::Count(0)));
        assert!(matches!(single_statement("SELEC 1"), Err(SqlError::Parse(_))));
    }
}
