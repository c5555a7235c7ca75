//! The formats of logs, and telling which one a file has. A new format is a file beside this and a line in
//! [`FORMATS`].

use crate::log::csvlog::Csvlog;
use crate::log::entry::Entry;
use crate::log::jsonlog::Jsonlog;
use crate::log::prefix::Prefix;
use crate::log::stderr::Stderr;
use crate::log::syslog::Syslog;
use crate::log::{csvlog, jsonlog, syslog};

/// Reads a log piece by piece.
pub(crate) trait Format {
    /// Gives the complete entries at the beginning of `data`; returns how many bytes they and what is no entry
    /// take. With `end`, nothing follows and all is taken.
    fn feed(&mut self, data: &[u8], end: bool, entries: &mut dyn FnMut(&Entry<'_>)) -> usize;

    /// What was not taken is dropped, since it is longer than any entry may be: reading goes on at the next one.
    fn too_long(&mut self);

    /// What was met so far.
    fn counts(&self) -> &Counts;
}

/// What was met in one file.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Entries given.
    pub entries: u64,
    /// Lines that are none of this format.
    pub foreign: u64,
    /// The first of them.
    pub example: Vec<u8>,
}

impl Counts {
    /// Counts a line that is no entry.
    pub(crate) fn foreign(&mut self, line: &[u8]) {
        if self.foreign == 0 {
            self.example = line.get(..line.len().min(200)).unwrap_or_default().to_vec();
        }
        self.foreign += 1;
    }
}

/// One format.
pub(crate) struct Registered {
    /// As in `log_destination`.
    pub name: &'static str,
    /// Whether the first bytes of a file look like it.
    pub recognises: fn(&[u8]) -> bool,
    /// A reader for one file.
    pub open: fn(&Prefix) -> Box<dyn Format>,
}

/// All formats; the first that recognises a file reads it.
pub(crate) const FORMATS: &[Registered] = &[
    Registered {
        name: "jsonlog",
        recognises: jsonlog::recognises,
        open: |_| Box::new(Jsonlog::default()),
    },
    Registered {
        name: "csvlog",
        recognises: csvlog::recognises,
        open: |_| Box::new(Csvlog::default()),
    },
    Registered {
        name: "syslog",
        recognises: syslog::recognises,
        open: |prefix| Box::new(Syslog::new(prefix)),
    },
    STDERR,
];

/// What a file has that no other format recognises.
pub(crate) const STDERR: Registered = Registered {
    name: "stderr",
    recognises: |_| true,
    open: |prefix| Box::new(Stderr::new(prefix)),
};

/// The format of a file.
pub(crate) fn recognised(first: &[u8]) -> &'static Registered {
    FORMATS.iter().find(|format| (format.recognises)(first)).unwrap_or(&STDERR)
}
