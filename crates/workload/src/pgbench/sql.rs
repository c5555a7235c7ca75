//! SQL of a script: where a statement ends, which variables it uses, and what it does.

use super::lexer::name_length;
use super::value::Value;
use crate::directory::Unknown;
use pgassay_sql::{StatementKind, quote_literal};
use std::collections::BTreeSet;

/// What a statement is to transactions and to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It reads, or sets something of the session.
    Reads,
    /// It changes data, or might.
    Writes,
    /// It begins a transaction.
    Begins,
    /// It commits one.
    Commits,
    /// It rolls one back.
    RollsBack,
}

/// A statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Text with `$n` where variables stood.
    pub sql: String,
    /// The variable of each `$n`, by its number in the script.
    pub variables: Vec<usize>,
    /// What it does.
    pub effect: Effect,
    /// Kind of the statement.
    pub kind: StatementKind,
    /// Line of its first word.
    pub line: usize,
    /// The text around the variables: one piece more than there are of these.
    pieces: Vec<String>,
}

impl Query {
    /// The statement with values as literals: numbers as they are, the rest quoted.
    pub fn with_literals(&self, values: &[Value]) -> String {
        let mut text = String::new();
        for (number, piece) in self.pieces.iter().enumerate() {
            text.push_str(piece);
            match values.get(number).filter(|_| number < self.variables.len()) {
                Some(Value::Text(value)) => text.push_str(&quote_literal(value)),
                // Behind a minus, a negative number would begin a comment.
                Some(value) => match value.text() {
                    Some(value) if value.starts_with('-') => text.push_str(&format!("({value})")),
                    Some(value) if value.ends_with(|c: char| c.is_ascii_digit()) => {
                        text.push_str(&value);
                    }
                    Some(value) => text.push_str(&quote_literal(&value)),
                    None => text.push_str("NULL"),
                },
                None => {}
            }
        }
        text
    }
}

/// What ends the SQL at the start of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Semicolon,
    Backslash,
    Text,
}

/// A piece of SQL.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Its length in bytes, without what ends it.
    pub(crate) length: usize,
    pub(crate) ending: Ending,
    /// Places of `:name`: start, end, whether within brackets, where it may also be a slice.
    pub(crate) variables: Vec<(usize, usize, bool)>,
}

/// Finds the end of the SQL at the start of a text, as psql finds it: a semicolon or a backslash outside of
/// quotes, comments and parentheses.
pub(crate) fn scan(text: &str) -> Scanned {
    let bytes = text.as_bytes();
    let mut scanned = Scanned { length: bytes.len(), ending: Ending::Text, variables: Vec::new() };
    let (mut at, mut parentheses, mut brackets) = (0, 0usize, 0usize);
    let mut after_name = false;
    while let Some(&byte) = bytes.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let mut length = 1;
        let mut names = false;
        match byte {
            b'\'' => length = quoted(rest, '\'', false),
            b'"' => length = quoted(rest, '"', false),
            b'-' if rest.starts_with("--") => length = rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => length = comment(rest),
            b'$' if !after_name => length = dollar_quoted(rest),
            b':' if rest.starts_with("::") || rest.starts_with(":=") => length = 2,
            b':' => {
                let name = name_length(rest.get(1..).unwrap_or_default());
                if name > 0 {
                    length = name + 1;
                    scanned.variables.push((at, at + length, brackets > 0));
                }
            }
            b'(' => parentheses += 1,
            b')' => parentheses = parentheses.saturating_sub(1),
            b'[' => brackets += 1,
            b']' => brackets = brackets.saturating_sub(1),
            b';' if parentheses == 0 => {
                scanned.length = at;
                scanned.ending = Ending::Semicolon;
                return scanned;
            }
            b'\\' => {
                scanned.length = at;
                scanned.ending = Ending::Backslash;
                return scanned;
            }
            _ => {
                let word = word_length(rest);
                if word > 0 {
                    length = word;
                    names = true;
                    let escapes = matches!(rest.get(..word), Some("e" | "E"));
                    let after = rest.get(word..).unwrap_or_default();
                    if escapes && after.starts_with('\'') {
                        length += quoted(after, '\'', true);
                        names = false;
                    }
                }
            }
        }
        after_name = names;
        at += length.max(1);
    }
    scanned
}

/// Length of a word or a number, of which a dollar sign is a part.
fn word_length(text: &str) -> usize {
    let belongs = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    if text.starts_with('$') { 0 } else { text.find(|c| !belongs(c)).unwrap_or(text.len()) }
}

/// Length of what is quoted, its quotes included; to the end where it is not closed. A doubled quote closes
/// and opens again, which comes to the same.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Length of a comment, which may hold others.
fn comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a dollar-quoted text; 1 where the dollar sign begins none.
fn dollar_quoted(text: &str) -> usize {
    let after = text.get(1..).unwrap_or_default();
    let tag = name_length(after);
    if !after.get(tag..).unwrap_or_default().starts_with('$') {
        return 1;
    }
    let opening = text.get(..tag + 2).unwrap_or_default();
    let inner = text.get(opening.len()..).unwrap_or_default();
    inner.find(opening).map_or(text.len(), |end| opening.len() * 2 + end)
}

/// Makes a query of a text and its variables; None where it is empty but for comments.
pub(crate) fn query(
    text: &str,
    variables: &[(usize, usize, bool)],
    line: usize,
    known: &BTreeSet<String>,
    prefixes: &[String],
    number: &mut dyn FnMut(&str) -> usize,
) -> Result<Option<Query>, String> {
    let skipped = leading(text);
    let body = text.get(skipped..).unwrap_or_default();
    if body.trim().is_empty() {
        return Ok(None);
    }
    let line = line + text.get(..skipped).unwrap_or_default().matches('\n').count();
    let mut pieces = Vec::new();
    let mut numbers = Vec::new();
    let mut sql = String::new();
    let mut copied = skipped;
    for (start, end, in_brackets) in variables {
        let name = text.get(start + 1..*end).unwrap_or_default();
        if !known.contains(name) && !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            // The upper bound of a slice looks like a variable.
            if *in_brackets {
                continue;
            }
            return Err(format!("the variable :{name} is set nowhere in the script"));
        }
        let piece = text.get(copied..*start).unwrap_or_default();
        numbers.push(number(name));
        sql.push_str(piece);
        sql.push_str(&format!("${}", numbers.len()));
        pieces.push(piece.to_owned());
        copied = *end;
    }
    let last = text.get(copied..).unwrap_or_default().trim_end();
    sql.push_str(last);
    pieces.push(last.to_owned());
    let shape = pgassay_sql::shape(&sql, &Unknown).map_err(|error| error.to_string())?;
    let effect = effect(&sql, shape.kind, shape.writes);
    Ok(Some(Query { effect, kind: shape.kind, sql, variables: numbers, line, pieces }))
}

/// Length of the white space and comments that a text begins with.
pub(crate) fn leading(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let space = rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        let length = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else {
            0
        };
        at += space + length;
        if length == 0 {
            return at;
        }
    }
}

/// Whether a transaction's or a session's mode is to be READ WRITE.
pub(crate) fn asks_to_write(sql: &str) -> bool {
    let text = sql.to_ascii_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).any(|pair| {
        pair.first() == Some(&"read") && pair.last().is_some_and(|word| word.starts_with("write"))
    })
}

fn effect(sql: &str, kind: StatementKind, writes: bool) -> Effect {
    if kind != StatementKind::Utility {
        return if writes { Effect::Writes } else { Effect::Reads };
    }
    let mut words = sql
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase);
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    let analyzes = second == "analyze" || words.any(|word| word == "analyze");
    match first.as_str() {
        "begin" | "start" => Effect::Begins,
        "commit" | "end" if second != "prepared" => Effect::Commits,
        "rollback" | "abort"
            if second != "prepared" && !sql.to_ascii_lowercase().contains(" to ") =>
        {
            Effect::RollsBack
        }
        "explain" if analyzes => Effect::Writes,
        "rollback" if second != "prepared" => Effect::Reads,
        // A session that is read-only would write again.
        "set" if sql.to_ascii_lowercase().contains("read_only") || asks_to_write(sql) => {
            Effect::Writes
        }
        "explain" | "savepoint" | "release" | "set" | "reset" | "show" | "declare" | "fetch"
        | "close" | "move" | "discard" | "deallocate" | "prepare" | "listen" | "unlisten" => {
            Effect::Reads
        }
        _ => Effect::Writes,
    }
}
