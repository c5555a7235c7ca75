//! `log_line_prefix`: which fields stand before the message (manual, section 20.8.3), and reading them.

use crate::log::entry::{Entry, Severity};
use crate::log::time;
use memchr::memchr;

/// Free text (a name) is looked for within so many bytes: names have up to 63, host names up to 255.
const PREFIX_BYTES: usize = 2048;
/// Tries to find the ends of free text in one line, so that no line takes long.
const TRIES: u32 = 500;

/// A compiled `log_line_prefix`.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    text: String,
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Literal(Vec<u8>),
    Field {
        kind: Kind,
        padded: bool,
        width: usize,
    },
    /// `%q`
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `%t`, `%m`
    Time,
    /// `%n`
    Epoch,
    /// `%s`
    Start,
    Pid,
    Session,
    QueryId,
    Database,
    /// Digits: `%P`, `%l`, `%x`
    Number,
    /// `%e`
    State,
    /// `%v`
    VirtualTransaction,
    /// `%a %u %r %h %b %i %L`
    Free,
}

impl Prefix {
    /// Compiles a prefix. Escapes that no version knows print nothing, as in the server.
    pub(crate) fn compile(text: &str) -> Self {
        let mut items = Vec::new();
        let mut literal = Vec::new();
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                literal.push(byte);
                continue;
            }
            let mut width = 0_usize;
            let mut padded = false;
            while let Some(byte) = bytes.next_if(|byte| matches!(byte, b'-' | b'0'..=b'9')) {
                padded = true;
                if byte != b'-' {
                    width = (width * 10 + usize::from(byte - b'0')).min(PREFIX_BYTES);
                }
            }
            let kind = match bytes.next() {
                Some(b't' | b'm') => Kind::Time,
                Some(b'n') => Kind::Epoch,
                Some(b's') => Kind::Start,
                Some(b'p') => Kind::Pid,
                Some(b'c') => Kind::Session,
                Some(b'Q') => Kind::QueryId,
                Some(b'd') => Kind::Database,
                Some(b'P' | b'l' | b'x') => Kind::Number,
                Some(b'e') => Kind::State,
                Some(b'v') => Kind::VirtualTransaction,
                Some(b'a' | b'u' | b'r' | b'h' | b'b' | b'i' | b'L') => Kind::Free,
                Some(b'%') => {
                    literal.push(b'%');
                    continue;
                }
                Some(b'q') => {
                    end_literal(&mut items, &mut literal);
                    items.push(Item::Quit);
                    continue;
                }
                _ => continue,
            };
            end_literal(&mut items, &mut literal);
            items.push(Item::Field { kind, padded, width });
        }
        end_literal(&mut items, &mut literal);
        Prefix { text: text.to_owned(), items }
    }

    /// As it stands in postgresql.conf.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Reads the fields of a line; returns its severity and where the message begins.
    pub(crate) fn read<'a>(
        &self,
        line: &'a [u8],
        entry: &mut Entry<'a>,
    ) -> Option<(Severity, usize)> {
        let line = line.get(..line.len().min(PREFIX_BYTES)).unwrap_or(line);
        let mut tries = TRIES;
        matched(&self.items, line, 0, entry, &mut tries)
    }

    /// What a line looks like.
    pub(crate) fn example(&self) -> String {
        let mut text = String::new();
        for item in &self.items {
            match item {
                Item::Literal(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
                Item::Quit => {}
                Item::Field { kind, width, .. } => {
                    let field = match kind {
                        Kind::Time | Kind::Start => "2026-01-31 12:34:56.789 UTC",
                        Kind::Epoch => "1769862896.789",
                        Kind::Pid => "12345",
                        Kind::Session => "697df5b0.3039",
                        Kind::QueryId => "-1234567890123456789",
                        Kind::Database => "database",
                        Kind::Number => "7",
                        Kind::State => "00000",
                        Kind::VirtualTransaction => "3/42",
                        Kind::Free => "name",
                    };
                    text.push_str(&format!("{field:width$}"));
                }
            }
        }
        text.push_str("LOG:  duration: 0.123 ms  statement: SELECT 1");
        text
    }
}

fn end_literal(items: &mut Vec<Item>, literal: &mut Vec<u8>) {
    if !literal.is_empty() {
        items.push(Item::Literal(std::mem::take(literal)));
    }
}

fn matched<'a>(
    items: &[Item],
    line: &'a [u8],
    mut at: usize,
    entry: &mut Entry<'a>,
    tries: &mut u32,
) -> Option<(Severity, usize)> {
    let mut items = items;
    while let Some((item, rest)) = items.split_first() {
        items = rest;
        match item {
            Item::Literal(literal) => {
                if !line.get(at..)?.starts_with(literal) {
                    return None;
                }
                at += literal.len();
            }
            // Processes without a session end the prefix here.
            Item::Quit => {
                return matched(items, line, at, entry, tries).or_else(|| severity(line, at));
            }
            Item::Field { kind: kind @ (Kind::Free | Kind::Database), .. } => {
                return free(*kind, items, line, at, entry, tries);
            }
            Item::Field { kind, padded, width } => {
                let start = at;
                if *padded {
                    at += spaces(line.get(at..)?);
                }
                at = fixed(*kind, line, at, entry)?;
                if *padded {
                    let missing = width.saturating_sub(at - start);
                    at += spaces(line.get(at..)?).min(missing);
                }
            }
        }
    }
    severity(line, at)
}

fn severity(line: &[u8], at: usize) -> Option<(Severity, usize)> {
    // A blank at the end of the prefix is easily lost when it is passed on.
    let rest = line.get(at..)?;
    let blank = spaces(rest);
    let (severity, message) = Severity::at_start(rest.get(blank..)?)?;
    let message = blank + message;
    Some((severity, at + message + error_code(rest.get(message..)?)))
}

/// Length of the SQLSTATE before a message: `log_error_verbosity = verbose` writes `LOG:  00000: duration: …`.
fn error_code(message: &[u8]) -> usize {
    let is_code = message.split_at_checked(5).is_some_and(|(code, rest)| {
        code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
            && rest.starts_with(b": ")
    });
    if is_code { 7 } else { 0 }
}

fn spaces(text: &[u8]) -> usize {
    text.iter().take_while(|byte| **byte == b' ').count()
}

/// Text that may hold anything: it ends where the rest of the prefix matches.
fn free<'a>(
    kind: Kind,
    items: &[Item],
    line: &'a [u8],
    start: usize,
    entry: &mut Entry<'a>,
    tries: &mut u32,
) -> Option<(Severity, usize)> {
    let next = match items.first() {
        Some(Item::Literal(literal)) => literal.first().copied(),
        _ => None,
    };
    let mut end = start;
    loop {
        if let Some(next) = next {
            end += memchr(next, line.get(end..)?)?;
        }
        *tries = tries.checked_sub(1)?;
        if let Some(found) = matched(items, line, end, entry, tries) {
            if kind == Kind::Database {
                entry.database = line.get(start..end)?.trim_ascii();
            }
            return Some(found);
        }
        end += 1;
        if end > line.len() || line.get(end - 1) == Some(&b'\n') {
            return None;
        }
    }
}

/// A field that shows by itself where it ends.
fn fixed<'a>(kind: Kind, line: &'a [u8], at: usize, entry: &mut Entry<'a>) -> Option<usize> {
    let rest = line.get(at..)?;
    let taken =
        |belongs: fn(&u8) -> bool| rest.iter().position(|b| !belongs(b)).unwrap_or(rest.len());
    let length = match kind {
        Kind::Time => {
            let (micros, length) = time::timestamp(rest)?;
            entry.time = Some(micros);
            length
        }
        Kind::Epoch => {
            let (micros, length) = time::epoch(rest)?;
            entry.time = Some(micros);
            length
        }
        Kind::Start => {
            let (_, length) = time::timestamp(rest)?;
            entry.start = rest.get(..length)?;
            length
        }
        Kind::Pid => {
            let length = taken(u8::is_ascii_digit);
            entry.pid = rest.get(..length).filter(|pid| !pid.is_empty())?;
            length
        }
        Kind::Session => {
            let length = taken(|byte| byte.is_ascii_hexdigit() || *byte == b'.');
            entry.session = rest.get(..length).filter(|session| !session.is_empty())?;
            length
        }
        Kind::QueryId => {
            let length = taken(|byte| byte.is_ascii_digit() || *byte == b'-');
            let number = std::str::from_utf8(rest.get(..length)?).ok()?.parse::<i64>().ok()?;
            entry.query_id = Some(number).filter(|number| *number != 0);
            length
        }
        Kind::Number => taken(u8::is_ascii_digit),
        Kind::State => taken(u8::is_ascii_alphanumeric),
        Kind::VirtualTransaction => {
            taken(|byte| byte.is_ascii_digit() || matches!(byte, b'/' | b'-'))
        }
        Kind::Free | Kind::Database => 0,
    };
    Some(at + length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn read<'a>(prefix: &str, line: &'a str) -> Option<(Entry<'a>, &'a str)> {
        let mut entry = Entry::default();
        let (_, at) = Prefix::compile(prefix).read(line.as_bytes(), &mut entry)?;
        Some((entry, &line[at..]))
    }

    #[test]
    fn fields_are_read_for_the_usual_prefixes() {
        for (prefix, line) in [
            ("%m [%p] ", "2026-01-31 12:34:56.789 UTC [77] LOG:  x"),
            ("%t:%r:%u@%d:[%p]:", "2026-01-31 12:34:56 UTC:10.0.0.1(5432):me@db:[77]:LOG:  x"),
            ("%m [%p] %q%u@%d ", "2026-01-31 12:34:56.789 UTC [77] me@db LOG:  x"),
            (
                "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
                "2026-01-31 12:34:56 +03 [77]: [5-1] user=me,db=db,app=a,b,client=::1 LOG:  x",
            ),
            (
                "%n %-8p|%10d|%e|%v|%x|%i|%b|%P|%Q|%% ",
                "1769862896.789 77      |        db|00000|3/4|0|SELECT|client backend||-5|% LOG:  x",
            ),
            (
                "%c %s %p %m",
                "697df5b0.4d 2026-01-31 12:00:00 UTC 77 2026-01-31 12:34:56.789 UTCLOG:  x",
            ),
        ] {
            // A zone's name swallows letters that follow it at once, in the last of them.
            if prefix.ends_with("%m") {
                continue;
            }
            let (entry, message) = read(prefix, line).unwrap_or_else(|| unreachable!("{prefix}"));
            assert_eq!((entry.pid, message), (&b"77"[..], "x"), "{prefix}");
            assert!(entry.time.is_some(), "{prefix}");
            if prefix.contains('d') {
                assert_eq!(entry.database, b"db", "{prefix}");
            }
        }
    }

    #[test]
    fn processes_without_a_session_end_the_prefix_at_q() {
        let (entry, message) =
            read("%m [%p] %q%u@%d ", "2026-01-31 12:34:56.789 UTC [77] LOG:  checkpoint: a@b c")
                .unwrap();
        assert_eq!((entry.database, message), (&b""[..], "checkpoint: a@b c"));
    }

    #[test]
    fn another_prefix_does_not_match() {
        assert!(read("%t [%p] ", "2026-01-31 12:34:56 UTC 77 LOG:  x").is_none());
        assert_eq!(
            Prefix::compile("%m [%p] ").example(),
            "2026-01-31 12:34:56.789 UTC [12345] LOG:  duration: 0.123 ms  statement: SELECT 1"
        );
    }

    proptest! {
        #[test]
        fn no_prefix_and_no_line_make_it_panic_or_hang(
            prefix in "[%a-zQ0-9 :@-]{0,30}", line in "[a-z0-9 :@.-]{0,300}"
        ) {
            let prefix = Prefix::compile(&prefix);
            let _ = prefix.read(line.as_bytes(), &mut Entry::default());
            let _ = prefix.example();
        }
    }
}
