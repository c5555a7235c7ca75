//! syslog as PostgreSQL writes it: lines with the header of RFC 3164 or 5424, entries cut at newlines and into
//! pieces of up to 900 bytes that are numbered `[entry-piece]` (`syslog_sequence_numbers`, `syslog_split_messages`).

use crate::log::entry::{Entry, Severity};
use crate::log::format::{Counts, Format};
use crate::log::prefix::Prefix;
use crate::log::stderr::Stderr;
use crate::log::time::{self, Micros};
use memchr::{memchr, memmem};
use std::collections::{BTreeMap, VecDeque};

/// Processes whose entries may be unfinished at one time.
const MOST_OPEN: usize = 4096;
/// Bytes of one entry; of a longer one the rest is dropped.
const MOST_BYTES: usize = 2 << 20;

/// Reads syslog.
pub(crate) struct Syslog {
    prefix: Prefix,
    text: Stderr,
    counts: Counts,
    dropping: bool,
    open: BTreeMap<u64, Assembled>,
    /// Processes in the order in which they were first met.
    order: VecDeque<u64>,
}

/// The pieces of one process's entry, put together as stderr shows it.
struct Assembled {
    number: u64,
    time: Option<Micros>,
    pid: Vec<u8>,
    text: Vec<u8>,
}

/// One line.
struct Piece<'a> {
    time: Option<Micros>,
    pid: &'a [u8],
    /// Entry and piece, where they are numbered.
    numbers: Option<(u64, u64)>,
    text: &'a [u8],
}

/// Whether a file is syslog.
pub(crate) fn recognises(first: &[u8]) -> bool {
    let line = first.get(..memchr(b'\n', first).unwrap_or(first.len())).unwrap_or_default();
    piece(line).is_some()
}

fn piece(line: &[u8]) -> Option<Piece<'_>> {
    let mut rest = line;
    if let Some(priority) = line.strip_prefix(b"<") {
        let end = memchr(b'>', priority).filter(|end| *end <= 3)?;
        rest = priority.get(end + 1..)?;
    }
    if let Some(text) = rest.strip_prefix(b"1 ") {
        return rfc5424(text);
    }
    let (time, length) = time::without_year(rest).or_else(|| {
        // rsyslog's RSYSLOG_FileFormat; a blank within is stderr's.
        time::timestamp(rest).filter(|_| rest.get(10) == Some(&b'T'))
    })?;
    let rest = rest.get(length..)?.strip_prefix(b" ")?;
    let host = memchr(b' ', rest)?;
    let rest = rest.get(host + 1..)?;
    let head = rest.get(..rest.len().min(100))?;
    let open =
        memchr(b'[', head).filter(|open| memchr(b' ', head).is_none_or(|blank| *open < blank))?;
    let close = open + memmem::find(rest.get(open..)?, b"]: ")?;
    let pid = rest.get(open + 1..close).filter(|pid| pid.iter().all(u8::is_ascii_digit))?;
    Some(numbered(Some(time), pid, rest.get(close + 3..)?))
}

/// `TIMESTAMP HOST APP PROCID MSGID STRUCTURED-DATA MSG`
fn rfc5424(text: &[u8]) -> Option<Piece<'_>> {
    let mut words = text.splitn(6, |byte| *byte == b' ');
    let (time, _, _, pid, _) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let mut rest = words.next()?;
    rest = match rest {
        [b'-', rest @ ..] => rest,
        [b'[', ..] => rest.get(memmem::find(rest, b"] ")? + 1..)?,
        _ => return None,
    };
    rest = rest.strip_prefix(b" ")?;
    rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
    let time = time::timestamp(time).map(|(micros, _)| micros);
    Some(numbered(time, pid, rest))
}

/// Takes `[5-2] ` off the text.
fn numbered<'a>(time: Option<Micros>, pid: &'a [u8], text: &'a [u8]) -> Piece<'a> {
    let read = || {
        let inner = text.strip_prefix(b"[")?;
        let end = memchr(b']', inner).filter(|end| *end < 40)?;
        let (entry, piece) = std::str::from_utf8(inner.get(..end)?).ok()?.split_once('-')?;
        let rest = inner.get(end + 1..)?;
        Some(((entry.parse().ok()?, piece.parse().ok()?), rest.strip_prefix(b" ").unwrap_or(rest)))
    };
    match read() {
        Some((numbers, text)) => Piece { time, pid, numbers: Some(numbers), text },
        None => Piece { time, pid, numbers: None, text },
    }
}

impl Syslog {
    pub(crate) fn new(prefix: &Prefix) -> Self {
        Syslog {
            prefix: prefix.clone(),
            text: Stderr::of_pieces(prefix),
            counts: Counts::default(),
            dropping: false,
            open: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    fn begins_line(&self, text: &[u8]) -> Option<Severity> {
        self.prefix.read(text, &mut Entry::default()).map(|(severity, _)| severity)
    }

    fn take(&mut self, piece: &Piece<'_>, entries: &mut dyn FnMut(&Entry<'_>)) {
        let process = crate::log::lexer::hash(0, piece.pid);
        let decoded = decoded(piece.text);
        let text: &[u8] = &decoded;
        let known = self.open.get(&process).map(|open| open.number);
        let line = self.begins_line(text);
        let continues = match (piece.numbers, known) {
            (Some((entry, part)), Some(number)) => part > 1 && entry == number,
            (None, Some(_)) => {
                !matches!(line, Some(Severity::Log | Severity::Error | Severity::Other))
            }
            (_, None) => false,
        };
        if continues {
            if let Some(open) =
                self.open.get_mut(&process).filter(|open| open.text.len() < MOST_BYTES)
            {
                if text.starts_with(b"\t") || line.is_some() || piece.numbers.is_none() {
                    open.text.push(b'\n');
                }
                open.text.extend_from_slice(text);
            }
            return;
        }
        self.finish(process, entries);
        while known.is_none() && self.open.len() >= MOST_OPEN {
            match self.order.pop_front() {
                Some(oldest) => self.finish(oldest, entries),
                None => break,
            }
        }
        if known.is_none() {
            self.order.push_back(process);
        }
        self.open.insert(
            process,
            Assembled {
                number: piece.numbers.map_or(0, |(entry, _)| entry),
                time: piece.time,
                pid: piece.pid.to_vec(),
                text: text.to_vec(),
            },
        );
    }

    fn finish(&mut self, process: u64, entries: &mut dyn FnMut(&Entry<'_>)) {
        let Some(open) = self.open.remove(&process) else { return };
        self.text.feed(&open.text, true, &mut |entry| {
            entries(&Entry {
                time: entry.time.or(open.time),
                pid: if entry.pid.is_empty() { &open.pid } else { entry.pid },
                ..*entry
            });
        });
        let text = self.text.counts();
        self.counts.entries = text.entries;
        self.counts.foreign = text.foreign;
        self.counts.example.clone_from(&text.example);
    }
}

/// rsyslog's `#011` and its like are control characters (`$EscapeControlCharactersOnReceive`).
fn decoded(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if memmem::find(text, b"#01").is_none() {
        return text.into();
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match rest {
            [b'#', b'0', b'1', b'1', rest @ ..] => {
                plain.push(b'\t');
                rest
            }
            [b'#', b'0', b'1', b'2', rest @ ..] => {
                plain.push(b'\n');
                rest
            }
            _ => {
                plain.push(*byte);
                after
            }
        };
    }
    plain.into()
}

impl Format for Syslog {
    fn feed(&mut self, data: &[u8], end: bool, entries: &mut dyn FnMut(&Entry<'_>)) -> usize {
        let mut at = 0;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let length = match memchr(b'\n', rest) {
                Some(length) => length,
                None if end => rest.len(),
                None if self.dropping => return data.len(),
                None => break,
            };
            let line = rest.get(..length).unwrap_or_default();
            at += (length + 1).min(rest.len());
            if std::mem::take(&mut self.dropping) {
                continue;
            }
            // Lines of other programs are no fault of the log's.
            if let Some(piece) = piece(line) {
                self.take(&piece, entries);
            }
        }
        if end {
            let order: Vec<u64> = self.order.drain(..).collect();
            for process in order {
                self.finish(process, entries);
            }
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
