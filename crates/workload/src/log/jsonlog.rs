//! `jsonlog` (15 and later, manual, section 20.8.5): one flat object a line.

use crate::log::entry::{Entry, Severity};
use crate::log::format::{Counts, Format};
use crate::log::time;
use memchr::{memchr, memchr2};

/// Reads jsonlog.
#[derive(Default)]
pub(crate) struct Jsonlog {
    counts: Counts,
    /// The rest of a line is thrown away.
    dropping: bool,
    message: Vec<u8>,
    detail: Vec<u8>,
    database: Vec<u8>,
}

/// Whether a file is jsonlog.
pub(crate) fn recognises(first: &[u8]) -> bool {
    first.starts_with(b"{\"")
}

/// The values that matter, as they stand in the line; strings without their quotes, not unescaped.
#[derive(Default)]
struct Values<'a> {
    entry: Entry<'a>,
    severity: &'a [u8],
}

impl<'a> Values<'a> {
    /// Reads one line; None where it is no flat object.
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut values = Values::default();
        let mut rest = line.trim_ascii().strip_prefix(b"{")?;
        loop {
            let (key, after) = string(rest.strip_prefix(b"\"")?)?;
            let after = after.strip_prefix(b":")?;
            let (value, after) = match after {
                [b'"', text @ ..] => string(text)?,
                _ => {
                    let end = memchr2(b',', b'}', after)?;
                    (after.get(..end)?, after.get(end..)?)
                }
            };
            values.keep(key, value);
            match after {
                [b',', after @ ..] => rest = after,
                [b'}', ..] => return Some(values),
                _ => return None,
            }
        }
    }

    fn keep(&mut self, key: &[u8], value: &'a [u8]) {
        let entry = &mut self.entry;
        match key {
            b"timestamp" => entry.time = time::timestamp(value).map(|(micros, _)| micros),
            b"pid" => entry.pid = value,
            b"dbname" => entry.database = value,
            b"session_id" => entry.session = value,
            b"session_start" => entry.start = value,
            b"error_severity" => self.severity = value,
            b"message" => entry.message = value,
            b"detail" => entry.detail = value,
            b"query_id" => {
                let number =
                    std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
                entry.query_id = number.filter(|number| *number != 0);
            }
            _ => {}
        }
    }
}

/// A string up to its closing quote, and what follows.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        match text.get(at)? {
            b'"' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => at += 2,
        }
    }
}

impl Format for Jsonlog {
    fn feed(&mut self, data: &[u8], end: bool, entries: &mut dyn FnMut(&Entry<'_>)) -> usize {
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let length = match memchr(b'\n', rest) {
                Some(length) => length,
                None if end => rest.len(),
                None if self.dropping => return data.len(),
                None => return at,
            };
            let line = rest.get(..length).unwrap_or_default();
            at += (length + 1).min(rest.len());
            if std::mem::take(&mut self.dropping) || line.trim_ascii().is_empty() {
                continue;
            }
            let values = Values::read(line);
            let severity = values.as_ref().and_then(|values| Severity::of(values.severity));
            let (Some(values), Some(severity)) = (values, severity) else {
                self.counts.foreign(line);
                continue;
            };
            self.counts.entries += 1;
            entries(&Entry {
                severity,
                message: unescaped(values.entry.message, &mut self.message),
                detail: unescaped(values.entry.detail, &mut self.detail),
                database: unescaped(values.entry.database, &mut self.database),
                ..values.entry
            });
        }
        at
    }

    fn too_long(&mut self) {
        self.dropping = true;
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// The text with its escapes resolved (RFC 8259, section 7).
fn unescaped<'a>(text: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr(b'\\', text).is_none() {
        return text;
    }
    scratch.clear();
    let mut from = 0;
    while let Some(length) = memchr(b'\\', text.get(from..).unwrap_or_default()) {
        scratch.extend_from_slice(text.get(from..from + length).unwrap_or_default());
        let at = from + length + 1;
        from = at + 1;
        match text.get(at) {
            Some(b'n') => scratch.push(b'\n'),
            Some(b't') => scratch.push(b'\t'),
            Some(b'r') => scratch.push(b'\r'),
            Some(b'b') => scratch.push(8),
            Some(b'f') => scratch.push(12),
            Some(b'u') => {
                let (character, taken) = code_point(text.get(at + 1..).unwrap_or_default());
                scratch.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                from += taken;
            }
            Some(other) => scratch.push(*other),
            None => {}
        }
    }
    scratch.extend_from_slice(text.get(from..).unwrap_or_default());
    scratch
}

/// The character of four digits behind `\u`, or of two surrogates, and how many bytes they take.
fn code_point(text: &[u8]) -> (char, usize) {
    let four = |text: Option<&[u8]>| {
        text.and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
    };
    let Some(high) = four(text.get(..4)) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if (0xd800..0xdc00).contains(&high)
        && text.get(4..6) == Some(b"\\u")
        && let Some(low) = four(text.get(6..10)).filter(|low| (0xdc00..0xe000).contains(low))
    {
        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}
