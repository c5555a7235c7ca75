//! One entry of a log, whatever its format.

use crate::log::lexer::hash;
use crate::log::time::Micros;

/// How grave an entry is, or which part of one a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Severity {
    #[default]
    Log,
    /// ERROR, FATAL, PANIC: the statement failed.
    Error,
    /// WARNING, NOTICE, INFO, DEBUG
    Other,
    /// DETAIL, a line of the entry before it.
    Detail,
    /// HINT, CONTEXT, STATEMENT, QUERY, LOCATION, BACKTRACE: lines of the entry before them.
    Attached,
}

impl Severity {
    /// The word that the server writes in English (`lc_messages`; see [`crate::log::language`]).
    pub(crate) fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"LOG" => Severity::Log,
            b"ERROR" | b"FATAL" | b"PANIC" => Severity::Error,
            b"DETAIL" => Severity::Detail,
            b"HINT" | b"CONTEXT" | b"STATEMENT" | b"QUERY" | b"LOCATION" | b"BACKTRACE" => {
                Severity::Attached
            }
            b"WARNING" | b"NOTICE" | b"INFO" | b"DEBUG" | b"DEBUG1" | b"DEBUG2" | b"DEBUG3"
            | b"DEBUG4" | b"DEBUG5" => Severity::Other,
            _ => return None,
        })
    }

    /// The severity at the beginning of a text, and where the message behind it begins.
    pub(crate) fn at_start(text: &[u8]) -> Option<(Self, usize)> {
        let colon = text.iter().take(12).position(|byte| *byte == b':')?;
        let severity = Severity::of(text.get(..colon)?)?;
        let spaces =
            text.get(colon + 1..)?.iter().take(2).take_while(|byte| **byte == b' ').count();
        Some((severity, colon + 1 + spaces))
    }
}

/// One entry; what the log does not tell is empty.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry<'a> {
    /// When it was written.
    pub time: Option<Micros>,
    /// `%p`
    pub pid: &'a [u8],
    /// `%c`
    pub session: &'a [u8],
    /// `%s`
    pub start: &'a [u8],
    /// `%d`
    pub database: &'a [u8],
    /// `%Q`; 0 is none.
    pub query_id: Option<i64>,
    pub severity: Severity,
    pub message: &'a [u8],
    /// The text behind DETAIL.
    pub detail: &'a [u8],
}

impl Entry<'_> {
    /// A number for the session; None where the log does not tell sessions apart.
    pub(crate) fn session_key(&self) -> Option<u64> {
        match (self.session, self.pid) {
            ([], []) => None,
            ([], pid) => Some(hash(hash(1, pid), self.start)),
            (session, _) => Some(hash(2, session)),
        }
    }

    /// The session as the log names it.
    pub(crate) fn session_name(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match (self.session, self.start) {
            ([], []) => text(self.pid),
            ([], start) => format!("{}@{}", text(self.pid), text(start)),
            (session, _) => text(session),
        }
    }
}
