//! `csvlog` (manual, section 20.8.4): the fields that matter have had the same places in all versions.

use crate::log::entry::{Entry, Severity};
use crate::log::format::{Counts, Format};
use crate::log::time;
use memchr::{memchr, memchr_iter, memchr2};
use std::ops::Range;

const TIME: usize = 0;
const DATABASE: usize = 2;
const PID: usize = 3;
const SESSION: usize = 5;
const START: usize = 8;
const SEVERITY: usize = 11;
const MESSAGE: usize = 13;
const DETAIL: usize = 14;
/// From 14 on.
const QUERY_ID: usize = 25;
/// Fields of an entry of version 13 less its last, which 12 does not have.
const LEAST_FIELDS: usize = 23;
const FIELDS: usize = 32;

/// Reads csvlog.
#[derive(Default)]
pub(crate) struct Csvlog {
    counts: Counts,
    /// Lines are thrown away up to the next that begins with a time.
    seeking: bool,
    message: Vec<u8>,
    detail: Vec<u8>,
    database: Vec<u8>,
}

/// One field: where it stands within its quotes, and whether there are doubled quotes in it.
#[derive(Clone, Default)]
struct Field {
    at: Range<usize>,
    doubled: bool,
}

/// Whether a file is csvlog: a time, a comma and a name in quotes or nothing.
pub(crate) fn recognises(first: &[u8]) -> bool {
    time::timestamp(first)
        .is_some_and(|(_, length)| matches!(first.get(length..), Some([b',', b'"' | b',', ..])))
}

/// Reads one record; None where it is not complete.
fn record(data: &[u8], fields: &mut [Field; FIELDS]) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut count = 0;
    loop {
        let mut field = Field::default();
        if data.get(at) == Some(&b'"') {
            let start = at + 1;
            at = start;
            loop {
                at += memchr(b'"', data.get(at..)?)?;
                if data.get(at + 1)? != &b'"' {
                    break;
                }
                field.doubled = true;
                at += 2;
            }
            field.at = start..at;
            at += 1;
        } else {
            let length = memchr2(b',', b'\n', data.get(at..)?)?;
            field.at = at..at + length;
            at += length;
        }
        if let Some(slot) = fields.get_mut(count) {
            *slot = field;
        }
        count += 1;
        match data.get(at)? {
            b',' => at += 1,
            b'\n' => return Some((count.min(FIELDS), at + 1)),
            b'\r' if data.get(at + 1)? == &b'\n' => return Some((count.min(FIELDS), at + 2)),
            // Damaged: what follows is read as the next record, from the next line on.
            _ => {
                let rest = memchr(b'\n', data.get(at..)?)?;
                return Some((0, at + rest + 1));
            }
        }
    }
}

/// Where the next line begins that starts with a time.
fn next_time(data: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', data)
        .map(|newline| newline + 1)
        .find(|start| data.get(*start..).is_some_and(|line| time::timestamp(line).is_some()))
}

impl Format for Csvlog {
    fn feed(&mut self, data: &[u8], end: bool, entries: &mut dyn FnMut(&Entry<'_>)) -> usize {
        let mut at = 0;
        let mut fields: [Field; FIELDS] = std::array::from_fn(|_| Field::default());
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            if self.seeking {
                let Some(start) = next_time(rest) else {
                    // A time that the end cuts is kept.
                    return if end { data.len() } else { at.max(data.len().saturating_sub(40)) };
                };
                self.seeking = false;
                at += start;
                continue;
            }
            let Some((count, length)) = record(rest, &mut fields) else {
                if !end {
                    return at;
                }
                self.counts.foreign(b"the last entry, which is cut off");
                return data.len();
            };
            let bytes = |number: usize| {
                let field = fields.get(number).filter(|_| number < count);
                field.and_then(|field| rest.get(field.at.clone())).unwrap_or_default()
            };
            let time = time::timestamp(bytes(TIME));
            let severity = Severity::of(bytes(SEVERITY));
            let (Some((time, _)), Some(severity), true) = (time, severity, count >= LEAST_FIELDS)
            else {
                let line = memchr(b'\n', rest).map_or(rest.len(), |length| length + 1);
                self.counts.foreign(rest.get(..line).unwrap_or_default().trim_ascii_end());
                at += line;
                continue;
            };
            let number =
                std::str::from_utf8(bytes(QUERY_ID)).ok().and_then(|text| text.parse::<i64>().ok());
            let doubled = |number: usize| fields.get(number).is_some_and(|field| field.doubled);
            self.counts.entries += 1;
            entries(&Entry {
                time: Some(time),
                pid: bytes(PID),
                session: bytes(SESSION),
                start: bytes(START),
                database: single(bytes(DATABASE), doubled(DATABASE), &mut self.database),
                query_id: number.filter(|number| *number != 0),
                severity,
                message: single(bytes(MESSAGE), doubled(MESSAGE), &mut self.message),
                detail: single(bytes(DETAIL), doubled(DETAIL), &mut self.detail),
            });
            at += length;
        }
        at
    }

    fn too_long(&mut self) {
        self.seeking = true;
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// The text with single quotes for doubled ones.
fn single<'a>(text: &'a [u8], doubled: bool, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if !doubled {
        return text;
    }
    scratch.clear();
    let mut from = 0;
    while let Some(length) = memchr(b'"', text.get(from..).unwrap_or_default()) {
        scratch.extend_from_slice(text.get(from..=from + length).unwrap_or_default());
        from += length + 2;
    }
    scratch.extend_from_slice(text.get(from..).unwrap_or_default());
    scratch
}
