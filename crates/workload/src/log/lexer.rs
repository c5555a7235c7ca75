//! Where the literals of a statement stand, and a hash of the rest: one pass over the bytes, without allocating.
//!
//! The rules are those of PostgreSQL's scanner (manual, section 4.1, with `standard_conforming_strings` on).
//! Two statements with one hash differ in literals and comments only. Letter case and white space count here:
//! statements that differ in these are put together later, by libpg_query's fingerprint.

use memchr::{memchr, memchr2, memmem};
use std::ops::Range;

/// What kind of literal stands in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralKind {
    /// `42`, `-7`
    Integer,
    /// `1.5`, `1e3`
    Decimal,
    /// `'…'`, with its quotes
    Text,
    /// `E'…'`
    Escaped,
    /// `$tag$…$tag$`
    Dollar,
    /// `NULL`, as an element of a list or behind `=`
    Null,
    /// `TRUE` and `FALSE`, as elements of a list
    Boolean,
}

/// A literal and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    pub kind: LiteralKind,
    pub at: Range<usize>,
}

/// What a pass over a statement found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Of everything but literals and comments.
    pub hash: u64,
    /// In the order of the text.
    pub literals: Vec<Literal>,
    /// Where comments stand; hints (`/*+ … */`) are text.
    pub comments: Vec<Range<usize>>,
    /// Whether the statement carries the marker of our own.
    pub own: bool,
    /// Whether the last literal is an element of `IN (…)`.
    list: bool,
}

/// Text of the comment that every statement of our own carries.
const MARKER: &[u8] = b"/* pgassay */";

const OTHER: u8 = 0;
const WORD: u8 = 1;
const DIGIT: u8 = 2;
const SPECIAL: u8 = 3;

/// What a byte can begin. Bytes above 127 are letters, as in the scanner.
const CLASS: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = if b.is_ascii_alphabetic() || b == b'_' || b >= 128 {
            WORD
        } else if b.is_ascii_digit() {
            DIGIT
        } else if matches!(b, b'\'' | b'"' | b'$' | b'-' | b'/' | b'.') {
            SPECIAL
        } else {
            OTHER
        };
        byte += 1;
    }
    table
};

fn class(byte: u8) -> u8 {
    CLASS[usize::from(byte)]
}

fn is_word(byte: u8) -> bool {
    matches!(class(byte), WORD | DIGIT) || byte == b'$'
}

/// The statement without white space and semicolons around it.
pub(crate) fn trim(sql: &[u8]) -> &[u8] {
    let sql = sql.trim_ascii_start();
    let end = sql.iter().rposition(|b| !(b.is_ascii_whitespace() || *b == b';'));
    sql.get(..end.map_or(0, |end| end + 1)).unwrap_or_default()
}

impl Scan {
    /// Reads a statement; what was found before is forgotten, its memory kept.
    pub(crate) fn read(&mut self, sql: &[u8]) {
        self.hash = SEED;
        self.literals.clear();
        self.comments.clear();
        self.own = false;
        self.list = false;
        let mut at = 0;
        // Start of the text that is not hashed yet.
        let mut text = 0;
        while let Some(&byte) = sql.get(at) {
            match class(byte) {
                OTHER => at += 1,
                WORD => {
                    let end = word_end(sql, at);
                    match prefixed(sql, at, end) {
                        Some((kind, end)) => {
                            self.literal(sql, &mut text, kind, at..end);
                            at = end;
                        }
                        None => at = end,
                    }
                }
                DIGIT => {
                    let (kind, end) = number(sql, at);
                    let start = sign(sql, at).unwrap_or(at).max(text);
                    self.literal(sql, &mut text, kind, start..end);
                    at = end;
                }
                _ => match (byte, sql.get(at + 1)) {
                    (b'\'', _) => {
                        let end = quoted_end(sql, at + 1, b'\'');
                        self.literal(sql, &mut text, LiteralKind::Text, at..end);
                        at = end;
                    }
                    (b'"', _) => at = quoted_end(sql, at + 1, b'"'),
                    (b'.', Some(next)) if next.is_ascii_digit() => {
                        // `a.1` can't be: a point behind a word leads to a name.
                        let (_, end) = number(sql, at);
                        self.literal(sql, &mut text, LiteralKind::Decimal, at..end);
                        at = end;
                    }
                    (b'$', Some(next)) if next.is_ascii_digit() => at = word_end(sql, at + 1),
                    (b'$', _) => match dollar_end(sql, at) {
                        Some(end) => {
                            self.literal(sql, &mut text, LiteralKind::Dollar, at..end);
                            at = end;
                        }
                        None => at += 1,
                    },
                    (b'-', Some(b'-')) => {
                        let rest = sql.get(at..).unwrap_or_default();
                        let end = memchr(b'\n', rest).map_or(sql.len(), |length| at + length);
                        self.comment(sql, &mut text, at..end);
                        at = end;
                    }
                    (b'/', Some(b'*')) if sql.get(at + 2) == Some(&b'+') => {
                        at = comment_end(sql, at);
                    }
                    (b'/', Some(b'*')) => {
                        let end = comment_end(sql, at);
                        self.own |= sql.get(at..end) == Some(MARKER);
                        self.comment(sql, &mut text, at..end);
                        at = end;
                    }
                    _ => at += 1,
                },
            }
        }
        self.hash = hash(self.hash, sql.get(text..).unwrap_or_default().trim_ascii_end());
    }

    fn literal(&mut self, sql: &[u8], text: &mut usize, kind: LiteralKind, at: Range<usize>) {
        let before = sql.get(*text..at.start).unwrap_or_default();
        let element = !self.literals.is_empty() && matches!(before.trim_ascii(), b",");
        self.list = if element { self.list } else { follows_in(before) };
        if element && self.list {
            // Lists of any length are one statement, as in libpg_query's fingerprint.
            *text = at.end;
            self.literals.push(Literal { kind, at });
            return;
        }
        // Integers and decimals are told apart, since a parameter's type follows from them.
        let tag: u64 = if kind == LiteralKind::Decimal { 0xd1 } else { 0x11 };
        self.hash = mix(hash(self.hash, before), tag);
        *text = at.end;
        self.literals.push(Literal { kind, at });
    }

    fn comment(&mut self, sql: &[u8], text: &mut usize, at: Range<usize>) {
        let before = sql.get(*text..at.start).unwrap_or_default();
        let before = if at.start == *text { before } else { before.trim_ascii_end() };
        if !before.is_empty() {
            self.hash = hash(self.hash, before);
        }
        *text = at.end;
        self.comments.push(at);
    }
}

/// Whether a text ends in `IN (`.
fn follows_in(text: &[u8]) -> bool {
    let Some(open) = text.trim_ascii_end().strip_suffix(b"(") else { return false };
    matches!(open.trim_ascii_end(), [.., before, b'i' | b'I', b'n' | b'N'] if before.is_ascii_whitespace())
}

fn word_end(sql: &[u8], at: usize) -> usize {
    let rest = sql.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())
}

/// Literals that begin with a letter.
fn prefixed(sql: &[u8], at: usize, end: usize) -> Option<(LiteralKind, usize)> {
    let word = sql.get(at..end)?;
    match word {
        [b'e' | b'E'] if sql.get(end) == Some(&b'\'') => {
            Some((LiteralKind::Escaped, escaped_end(sql, end + 1)))
        }
        [b'n' | b'N', _, _, _] if word.eq_ignore_ascii_case(b"null") => (element(sql, at, end)
            || before(sql, at) == Some(b'='))
        .then_some((LiteralKind::Null, end)),
        [b't' | b'T', _, _, _] if word.eq_ignore_ascii_case(b"true") => {
            element(sql, at, end).then_some((LiteralKind::Boolean, end))
        }
        [b'f' | b'F', _, _, _, _] if word.eq_ignore_ascii_case(b"false") => {
            element(sql, at, end).then_some((LiteralKind::Boolean, end))
        }
        _ => None,
    }
}

/// Whether a word is an element of a list: between parentheses and commas.
fn element(sql: &[u8], start: usize, end: usize) -> bool {
    let after = sql.get(end..).unwrap_or_default().trim_ascii_start().first();
    matches!(before(sql, start), Some(b'(' | b',')) && matches!(after, Some(b')' | b','))
}

/// The last byte before `at` that is no white space.
pub(crate) fn before(sql: &[u8], at: usize) -> Option<u8> {
    sql.get(..at)?.iter().rev().copied().find(|byte| !byte.is_ascii_whitespace())
}

/// Where the sign of a number stands, if the minus before it can't be a subtraction.
fn sign(sql: &[u8], at: usize) -> Option<usize> {
    let minus = at.checked_sub(1).filter(|minus| sql.get(*minus) == Some(&b'-'))?;
    matches!(before(sql, minus), Some(b'=' | b'<' | b'>' | b'(' | b',' | b'+' | b'*' | b'/'))
        .then_some(minus)
}

fn number(sql: &[u8], at: usize) -> (LiteralKind, usize) {
    let digits = |from: usize| {
        let rest = sql.get(from..).unwrap_or_default();
        from + rest.iter().position(|b| !(b.is_ascii_digit() || *b == b'_')).unwrap_or(rest.len())
    };
    if let (Some(b'0'), Some(b'x' | b'X' | b'o' | b'O' | b'b' | b'B')) =
        (sql.get(at), sql.get(at + 1))
    {
        return (LiteralKind::Integer, word_end(sql, at));
    }
    let mut end = digits(at);
    let mut kind = LiteralKind::Integer;
    // `1..10` in PL/pgSQL is no decimal.
    if sql.get(end) == Some(&b'.') && sql.get(end + 1) != Some(&b'.') {
        end = digits(end + 1);
        kind = LiteralKind::Decimal;
    }
    if matches!(sql.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(sql.get(end + 1), Some(b'+' | b'-')));
        if sql.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1 + sign);
            kind = LiteralKind::Decimal;
        }
    }
    (kind, end.max(at + 1))
}

/// The end of what is quoted, behind the closing quote; a doubled quote is part of it.
pub(crate) fn quoted_end(sql: &[u8], mut at: usize, quote: u8) -> usize {
    while let Some(length) = memchr(quote, sql.get(at..).unwrap_or_default()) {
        at += length + 1;
        if sql.get(at) != Some(&quote) {
            return at;
        }
        at += 1;
    }
    sql.len()
}

fn escaped_end(sql: &[u8], mut at: usize) -> usize {
    while let Some(length) = memchr2(b'\'', b'\\', sql.get(at..).unwrap_or_default()) {
        at += length;
        match (sql.get(at), sql.get(at + 1)) {
            (Some(b'\\'), _) | (_, Some(b'\'')) => at += 2,
            _ => return at + 1,
        }
    }
    sql.len()
}

fn dollar_end(sql: &[u8], at: usize) -> Option<usize> {
    let rest = sql.get(at..)?;
    let tag_length = 1 + rest.get(1..)?.iter().position(|byte| *byte == b'$')?;
    let tag = rest.get(..=tag_length)?;
    let inner = tag.get(1..tag_length)?;
    if !inner.iter().all(|byte| class(*byte) == WORD || class(*byte) == DIGIT) {
        return None;
    }
    let body = rest.get(tag.len()..)?;
    let length = memmem::find(body, tag)?;
    Some(at + tag.len() + length + tag.len())
}

/// The end of a comment; comments nest.
fn comment_end(sql: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(length) = memchr2(b'/', b'*', sql.get(at..).unwrap_or_default()) {
        at += length;
        match (sql.get(at), sql.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (Some(b'*'), Some(b'/')) => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    sql.len()
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of a product, as wyhash mixes (https://github.com/wangyi-fudan/wyhash).
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    (product as u64) ^ (product >> 64) as u64
}

/// Continues a hash with some bytes.
pub(crate) fn hash(mut state: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map(u64::from_le_bytes).unwrap_or_default();
        state = mix(state, word);
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    mix(state, u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn literals(sql: &str) -> Vec<&str> {
        let mut scan = Scan::default();
        scan.read(sql.as_bytes());
        scan.literals.iter().map(|literal| &sql[literal.at.clone()]).collect()
    }

    fn key(sql: &str) -> u64 {
        let mut scan = Scan::default();
        scan.read(sql.as_bytes());
        scan.hash
    }

    #[test]
    fn literals_are_found_and_names_and_parameters_are_not() {
        assert_eq!(
            literals("SELECT a1, \"b'2\" FROM t3 WHERE a1=-7 AND b > 1.5e-3"),
            ["-7", "1.5e-3"]
        );
        assert_eq!(literals("SELECT a-1, a - 1, .5, x.y1"), ["1", "1", ".5"]);
        assert_eq!(
            literals("SELECT 'it''s', E'a\\'b', $$x'y$$, $q$ $$ $q$, $1"),
            ["'it''s'", "E'a\\'b'", "$$x'y$$", "$q$ $$ $q$"]
        );
        assert_eq!(literals("INSERT INTO t VALUES (NULL, true, 'x')"), ["NULL", "true", "'x'"]);
        assert_eq!(literals("UPDATE t SET a = null WHERE b IS NULL AND c = true"), ["null"]);
    }

    #[test]
    fn statements_that_differ_in_literals_and_comments_have_one_hash() {
        let plain = key("SELECT a FROM t WHERE b = 1 AND c = 'x'");
        assert_eq!(plain, key("SELECT a FROM t WHERE b = -20 AND c = 'it''s /* no */'"));
        assert_eq!(plain, key("SELECT a FROM t WHERE b = 1 AND c = 'x' /* trace='7' */"));
        assert_eq!(plain, key("SELECT a FROM t WHERE b = 1 AND c = 'x' -- trace 8"));
        assert_ne!(plain, key("SELECT a FROM t WHERE b = 1 AND d = 'x'"));
        let list = key("SELECT a FROM t WHERE b IN (1) AND f(1, 2)");
        assert_eq!(list, key("SELECT a FROM t WHERE b IN (1, 2,3) AND f(1, 2)"));
        assert_ne!(list, key("SELECT a FROM t WHERE b IN (1) AND f(1, 2, 3)"));
        assert_ne!(plain, key("SELECT a FROM t WHERE b = 1.5 AND c = 'x'"));
    }

    #[test]
    fn our_own_statements_are_known() {
        let mut scan = Scan::default();
        scan.read(b"SELECT 1 /* pgassay */");
        assert!(scan.own);
        scan.read(b"SELECT '/* pgassay */'");
        assert!(!scan.own);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_scan_panic_and_literals_do_not_overlap(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\''), Just(b'$'), Just(b'/'), Just(b'*'), Just(b'-'), Just(b'1'), Just(b'e'), Just(b'\\')], 0..200)
        ) {
            let mut scan = Scan::default();
            scan.read(&bytes);
            let mut last = 0;
            for literal in &scan.literals {
                prop_assert!(literal.at.start >= last && literal.at.end <= bytes.len());
                last = literal.at.end;
            }
        }
    }
}
