//! The server's own text format (`log_destination = 'stderr'`): a prefix, a severity, a message; further lines
//! of a message begin with a tab.

use crate::log::entry::{Entry, Severity};
use crate::log::format::{Counts, Format};
use crate::log::prefix::Prefix;
use memchr::memchr;
use std::ops::Range;

/// Reads stderr logs.
pub(crate) struct Stderr {
    prefix: Prefix,
    counts: Counts,
    /// The rest of a line is thrown away: it belongs to an entry that is too long.
    dropping: bool,
    /// Every line ends with a newline: one that does not was cut off, or is still being written.
    lines_end: bool,
    message: Vec<u8>,
    detail: Vec<u8>,
}

/// An entry whose lines are still being read.
struct Open<'a> {
    head: Entry<'a>,
    message: Range<usize>,
    detail: Range<usize>,
    last: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Message,
    Detail,
    Attached,
}

impl Stderr {
    pub(crate) fn new(prefix: &Prefix) -> Self {
        Stderr {
            prefix: prefix.clone(),
            counts: Counts::default(),
            dropping: false,
            lines_end: true,
            message: Vec::new(),
            detail: Vec::new(),
        }
    }

    /// For texts of one entry each, without a newline at the end.
    pub(crate) fn of_pieces(prefix: &Prefix) -> Self {
        Stderr { lines_end: false, ..Stderr::new(prefix) }
    }

    fn give(&mut self, data: &[u8], open: &Open<'_>, entries: &mut dyn FnMut(&Entry<'_>)) {
        let message = data.get(open.message.clone()).unwrap_or_default();
        let detail = data.get(open.detail.clone()).unwrap_or_default();
        self.counts.entries += 1;
        entries(&Entry {
            message: untabbed(message, &mut self.message),
            detail: untabbed(detail, &mut self.detail),
            ..open.head
        });
    }
}

impl Format for Stderr {
    fn feed(&mut self, data: &[u8], end: bool, entries: &mut dyn FnMut(&Entry<'_>)) -> usize {
        let mut at = 0;
        if self.dropping {
            match memchr(b'\n', data) {
                Some(length) => at = length + 1,
                None => return data.len(),
            }
            self.dropping = false;
        }
        let mut consumed = at;
        let mut open: Option<Open<'_>> = None;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let length = match memchr(b'\n', rest) {
                Some(length) => length,
                None if end && self.lines_end && (open.is_some() || self.counts.entries > 0) => {
                    self.counts.foreign(b"the last line, which is cut off");
                    let continues = rest.first() == Some(&b'\t');
                    open = open.filter(|open| !(continues && open.last == Part::Message));
                    if let Some(open) = open.as_mut().filter(|open| open.last == Part::Detail) {
                        open.detail = if continues { 0..0 } else { open.detail.clone() };
                    }
                    break;
                }
                None if end => rest.len(),
                None => return consumed,
            };
            let line = rest.get(..length).unwrap_or_default();
            let start = at;
            let stop = at + length;
            at = (stop + 1).min(data.len());
            if line.first() == Some(&b'\t') {
                match &mut open {
                    Some(open) if open.last == Part::Message => open.message.end = stop,
                    Some(open) if open.last == Part::Detail => open.detail.end = stop,
                    _ => {}
                }
                continue;
            }
            let mut head = Entry::default();
            let Some((severity, message)) = self.prefix.read(line, &mut head) else {
                if !line.trim_ascii().is_empty() {
                    self.counts.foreign(line);
                }
                if let Some(open) = &mut open {
                    open.last = Part::Attached;
                }
                continue;
            };
            let text = start + message..stop;
            match (severity, &mut open) {
                (Severity::Detail, Some(open)) if open.head.pid == head.pid => {
                    open.detail = text;
                    open.last = Part::Detail;
                }
                (Severity::Detail | Severity::Attached, Some(open)) => open.last = Part::Attached,
                (Severity::Detail | Severity::Attached, None) => {}
                _ => {
                    if let Some(open) = open.take() {
                        self.give(data, &open, entries);
                    }
                    head.severity = severity;
                    consumed = start;
                    open = Some(Open { head, message: text, detail: 0..0, last: Part::Message });
                }
            }
        }
        if !end {
            // The next line may belong to the entry.
            return if open.is_some() { consumed } else { at };
        }
        if let Some(open) = open {
            self.give(data, &open, entries);
        }
        data.len()
    }

    fn too_long(&mut self) {
        self.dropping = true;
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// The text without the tabs that the server put behind its newlines.
fn untabbed<'a>(text: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if memchr(b'\n', text).is_none() {
        return text;
    }
    scratch.clear();
    let mut from = 0;
    for newline in memchr::memchr_iter(b'\n', text) {
        scratch.extend_from_slice(text.get(from..=newline).unwrap_or_default());
        from = newline + 1 + usize::from(text.get(newline + 1) == Some(&b'\t'));
    }
    scratch.extend_from_slice(text.get(from..).unwrap_or_default());
    scratch
}
