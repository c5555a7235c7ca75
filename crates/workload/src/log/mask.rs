//! Values replaced by others of the same form, for workloads that leave the house.
//!
//! A digit becomes a digit, a letter a letter of its case, and everything else stays; what a type's input checks
//! keeps its form (dates and times, hexadecimal digits, keys of JSON stay apart). Equal values become equal ones,
//! so joins and skew stay. What it costs: the values are not in the database, so look-ups mostly find nothing,
//! ranges select other shares of the rows, and patterns of LIKE match others. Timings of a masked workload are
//! those of its shape, not of its data.
//!
//! What replaces a value follows from it and a key, which is in no file: with a key that is known, short values are
//! found by masking all there are.

use crate::log::lexer::{LiteralKind, Scan, hash};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Source of values that a log was read with and that are masked already.
pub(crate) const LOG_MASKED: &str = "log, masked";

/// Replaces a value; the same for the same seed.
pub fn mask(value: &str, seed: u64) -> String {
    let mut random = StdRng::seed_from_u64(hash(seed, value.as_bytes()));
    if matches!(value, "t" | "f" | "true" | "false" | "TRUE" | "FALSE" | "") {
        // One bit, which any other value would break.
        return value.to_owned();
    }
    if let Some(date) = moment(value, &mut random) {
        return date;
    }
    if let Some(digits) = value.strip_prefix("\\x") {
        return format!("\\x{}", hexadecimal(digits, &mut random));
    }
    if is_uuid(value) {
        return hexadecimal(value, &mut random);
    }
    if value.starts_with(['{', '[']) && (value.contains('"') || value.starts_with('[')) {
        return json(value, &mut random);
    }
    let interval = is_interval(value);
    let number = value
        .trim_start_matches('-')
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'));
    let mut first = number;
    value
        .chars()
        .map(|c| {
            if interval && c.is_ascii_alphabetic() {
                return c;
            }
            let masked = character(c, first, &mut random);
            first &= !c.is_ascii_digit();
            masked
        })
        .collect()
}

/// Masks what a statement holds in place: literals that can't be parameters (`N'…'`, `U&'…'`, `B'…'`, `interval '1'
/// day`). Numbers that stay there are places in a list and lengths of types. Comments go: applications write ids of
/// users and requests into them.
pub(crate) fn mask_constants(sql: &str, seed: u64) -> String {
    let plain = without_comments(sql);
    let sql = plain.as_str();
    let mut scan = Scan::default();
    scan.read(sql.as_bytes());
    let mut masked = String::with_capacity(sql.len());
    let mut copied = 0;
    for literal in &scan.literals {
        if matches!(
            literal.kind,
            LiteralKind::Integer | LiteralKind::Decimal | LiteralKind::Null | LiteralKind::Boolean
        ) {
            continue;
        }
        let quotes = |text: &str| Some((text.find('\'')?, text.rfind('\'')?));
        let text = sql.get(literal.at.clone()).unwrap_or_default();
        let Some((open, close)) = quotes(text) else { continue };
        masked.push_str(sql.get(copied..literal.at.start + open + 1).unwrap_or_default());
        let inner = text.get(open + 1..close).unwrap_or_default();
        if masked.ends_with("x'") || masked.ends_with("X'") {
            let mut random = StdRng::seed_from_u64(hash(seed, inner.as_bytes()));
            masked.push_str(&hexadecimal(inner, &mut random));
        } else {
            masked.push_str(&mask(inner, seed));
        }
        copied = literal.at.start + close.max(open + 1);
    }
    masked.push_str(sql.get(copied..).unwrap_or_default());
    masked
}

fn without_comments(sql: &str) -> String {
    let mut scan = Scan::default();
    scan.read(sql.as_bytes());
    let mut plain = String::with_capacity(sql.len());
    let mut copied = 0;
    for comment in &scan.comments {
        plain.push_str(sql.get(copied..comment.start).unwrap_or_default());
        // A comment parts words as white space does.
        if !plain.ends_with(char::is_whitespace) {
            plain.push(' ');
        }
        copied = comment.end;
    }
    plain.push_str(sql.get(copied..).unwrap_or_default());
    plain
}

/// Units that the input of an interval takes (manual, section 8.5.4): with others it would be none.
const UNITS: [&str; 14] = [
    "microsecond",
    "millisecond",
    "second",
    "sec",
    "minute",
    "min",
    "hour",
    "day",
    "week",
    "month",
    "mon",
    "year",
    "decade",
    "ago",
];

/// `7 days`, `1 mon 02:00:00`
fn is_interval(value: &str) -> bool {
    let mut words = value
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .peekable();
    words.peek().is_some()
        && value.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
        && words.all(|word| UNITS.contains(&word.strip_suffix('s').unwrap_or(&word)))
}

/// A number's first digit is not 0 unless it was, and not greater, so that it stays within its type.
fn character(c: char, first: bool, random: &mut StdRng) -> char {
    match c {
        '0' if first => '0',
        '1'..='9' if first => char::from(random.random_range(b'1'..=c as u8)),
        // The greatest integers are 32767, 2147483647 and 9223372036854775807: no digit grows.
        '0'..='9' => char::from(random.random_range(b'0'..=(c as u8).max(b'0'))),
        'a'..='z' => char::from(random.random_range(b'a'..=b'z')),
        'A'..='Z' => char::from(random.random_range(b'A'..=b'Z')),
        c if c.is_alphabetic() => 'x',
        c => c,
    }
}

fn hexadecimal(text: &str, random: &mut StdRng) -> String {
    text.chars()
        .map(|c| match c {
            '0'..='9' | 'a'..='f' => {
                char::from_digit(random.random_range(0..16), 16).unwrap_or('0')
            }
            'A'..='F' => char::from_digit(random.random_range(10..16), 16)
                .unwrap_or('a')
                .to_ascii_uppercase(),
            c => c,
        })
        .collect()
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A date with or without a time: the year stays, day and time move.
fn moment(value: &str, random: &mut StdRng) -> Option<String> {
    let date = value.get(..10)?;
    let form: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if form != "0000-00-00" {
        return None;
    }
    let rest = value.get(10..)?;
    let (month, day) = (random.random_range(1..=12), random.random_range(1..=28));
    let mut masked = format!("{}-{month:02}-{day:02}", value.get(..4)?);
    let form: String =
        rest.chars().take(9).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if !matches!(form.as_str(), " 00:00:00" | "T00:00:00") {
        masked.push_str(rest);
        return rest.is_empty().then_some(masked);
    }
    let (hour, minute, second) =
        (random.random_range(0..24), random.random_range(0..60), random.random_range(0..60));
    masked.push_str(&format!(
        "{}{hour:02}:{minute:02}:{second:02}{}",
        rest.get(..1)?,
        rest.get(9..)?
    ));
    Some(masked)
}

/// Strings of a JSON document or of an array; numbers of the rest. Keys are names, and stay.
fn json(text: &str, random: &mut StdRng) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = string_end(rest);
            let inner = rest.get(1..end).unwrap_or_default();
            let after = rest.get(end + 1..).unwrap_or_default();
            masked.push('"');
            if after.trim_start().starts_with(':') {
                masked.push_str(inner);
            } else {
                let mut escaped = false;
                let mut digits = 0;
                for c in inner.chars() {
                    let keep = escaped || digits > 0 || c == '\\';
                    digits = if escaped && c == 'u' { 4 } else { usize::saturating_sub(digits, 1) };
                    escaped = c == '\\' && !escaped;
                    masked.push(if keep { c } else { character(c, false, random) });
                }
            }
            if end < rest.len() {
                masked.push('"');
            }
            rest = after;
            continue;
        }
        // true, false and null are words outside of strings.
        let first = !masked.ends_with(|before: char| before.is_ascii_digit() || before == '.');
        masked.push(if c.is_ascii_digit() { character(c, first, random) } else { c });
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    masked
}

/// Where the string that begins a text closes.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn masked_values_keep_their_form_and_equality() {
        assert_eq!(mask("bob@example.com", 1), mask("bob@example.com", 1));
        assert_ne!(mask("bob@example.com", 1), mask("bob@example.com", 2));
        assert_ne!(mask("bob@example.com", 1), "bob@example.com");
        assert!(mask("bob@example.com", 1).contains('@'));
        let number: i64 = mask("-2147483647", 1).parse().unwrap();
        assert!((-2_147_483_647..=-1_000_000_000).contains(&number));
        let date = mask("2026-01-31 12:34:56.789+02", 1);
        assert!(
            date.parse::<jiff::civil::DateTime>().is_ok() || date.ends_with(".789+02"),
            "{date}"
        );
        assert_eq!(mask("true", 1), "true");
        let interval = mask("27 days 04:05", 1);
        assert!(interval.contains(" days ") && interval != "27 days 04:05", "{interval}");
        let uuid = mask("123e4567-e89b-12d3-a456-426614174000", 1);
        assert!(is_uuid(&uuid), "{uuid}");
    }

    #[test]
    fn literals_that_stay_in_a_statement_are_masked_in_their_places() {
        let sql = "SELECT U&'secr\\0065t', N'it''s secret', X'1Fab', timestamp with time zone '2020-03-04 05:06:07', interval '9' day, $1 FROM \"secret\" ORDER BY 1";
        let masked = mask_constants(sql, 1);
        assert_eq!(masked.matches("secr").count(), 1, "{masked}");
        assert!(masked.contains("FROM \"secret\" ORDER BY 1") && masked.contains("''"), "{masked}");
        assert!(
            !masked.contains("03-04 05:06") && pgassay_sql::fingerprint(&masked).is_ok(),
            "{masked}"
        );
        assert_eq!(mask_constants("SELECT $1, 'x", 1).len(), "SELECT $1, 'x".len());
        assert_eq!(
            mask_constants("SELECT/* user=7 */1 -- bob\nFROM t /*+ SeqScan(t) */", 1),
            "SELECT 1 \nFROM t /*+ SeqScan(t) */"
        );
    }

    #[test]
    fn masked_json_is_json_with_the_same_keys() {
        let value = r#"{"name": "B\u00f6b \"x\"", "age": 42, "ok": true, "list": [1, 0.5, null]}"#;
        let masked: serde_json::Value = serde_json::from_str(&mask(value, 1)).unwrap();
        assert!(masked.get("name").unwrap().as_str().unwrap() != "Böb \"x\"");
        assert_eq!(masked.get("ok"), Some(&serde_json::Value::Bool(true)));
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "[\\[{\"a-z0-9:\\\\ä, -]{0,40}") {
            let _ = (mask(&value, 1), mask_constants(&value, 1));
        }
    }
}
