//! Reads logs from beginning to end, one buffer at a time.

use crate::log::build::build;
use crate::log::collect::Collector;
use crate::log::entry::Entry;
use crate::log::error::LogError;
use crate::log::format::Counts;
use crate::log::prefix::Prefix;
use crate::log::source::{Source, sources};
use crate::log::{LogCapture, LogOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Read at a time: fits into the second-level cache.
const BUFFER: usize = 256 << 10;
/// The longest entry: a statement of 1 MB, with its values.
const MOST_ENTRY: usize = 4 << 20;
/// After so many lines without one that fits, reading on is in vain.
const PATIENCE: u64 = 10_000;

/// Prefixes that are often used: the server's default, Debian's, RDS's, pgBadger's and some without milliseconds.
const USUAL: &[&str] = &[
    "%m [%p] ",
    "%m [%p] %q%u@%d ",
    "%t:%r:%u@%d:[%p]:",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l-1] user=%u,db=%d ",
    "%t [%p-%l] %q%u@%d ",
    "%t [%p] ",
    "%m %u@%d ",
    "%t ",
    "%m ",
    "",
];

/// Captures a workload from logs: files in any format and order, plain or packed, directories of them, or `-`.
///
/// Memory is bounded whatever the logs hold: the 10,000 statements with the most execution time are kept (the rest
/// is counted), 200 sets of values of each are sampled, the first 100,000 requests are recorded; entries over 4 MB
/// and statements over 1 MB are left out and counted.
pub fn capture_logs(paths: &[PathBuf], options: &LogOptions) -> Result<LogCapture, LogError> {
    let prefix = Prefix::compile(&options.log_line_prefix);
    let sources = sources(paths, &prefix)?;
    let mut collector = Collector::new(options);
    if let Some(window) = options.window {
        let mut end = None;
        for source in &sources {
            end = end.max(source.ends(&prefix)?);
        }
        let micros = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        collector.since = end.map(|end| end.saturating_sub(micros));
    }
    let mut read = Reading::default();
    let foreign = sources.iter().find_map(|source| {
        source.language().map(|language| LogError::Language { path: source.path.clone(), language })
    });
    for source in sources {
        let (path, language) = (source.path.clone(), source.language());
        let known = collector.tally.statements;
        match read.source(source, &prefix, &mut collector) {
            Ok(()) | Err(LogError::WrongPrefix { .. } | LogError::NoEntries { .. })
                if foreign.is_some() && collector.tally.statements == 0 => {}
            result => result?,
        }
        if let Some(language) = language.filter(|_| collector.tally.statements == known) {
            read.cut.push(format!(
                "{} is in {language}: none of its statements are counted, only English logs can be read (lc_messages)",
                path.display()
            ));
        }
    }
    if collector.tally.statements == 0
        && let Some(foreign) = foreign
    {
        return Err(foreign);
    }
    if collector.tally.statements == 0 && collector.tally.plans == 0 {
        let tally = &collector.tally;
        // The prefix of processes without a session can match where that of sessions does not (%q).
        if tally.elsewhere + tally.own + tally.before_window + tally.too_long == 0
            && let Some(suspect) = read.suspect
        {
            return Err(suspect);
        }
        let because = [
            (tally.elsewhere, "statements are of other databases"),
            (tally.own, "are pgassay's own"),
            (tally.before_window, "entries are from before the window"),
            (tally.too_long, "statements are over 1 MB"),
        ];
        let because: Vec<String> = because
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        return Err(LogError::NoStatements {
            entries: tally.entries,
            because: (!because.is_empty()).then(|| because.join(", ")),
        });
    }
    Ok(build(collector, options, &read))
}

/// What was met on the way.
#[derive(Default)]
pub(crate) struct Reading {
    /// Files and their formats.
    pub files: Vec<(PathBuf, &'static str)>,
    /// Why files were not read, or not to their ends.
    pub cut: Vec<String>,
    /// Entries over 4 MB.
    pub too_long: u64,
    /// Lines that are no entries, and the first of them.
    pub foreign: u64,
    pub example: String,
    /// The error that such lines are, should there be no statements.
    suspect: Option<LogError>,
}

impl Reading {
    fn source(
        &mut self,
        source: Source,
        prefix: &Prefix,
        collector: &mut Collector<'_>,
    ) -> Result<(), LogError> {
        let path = source.path.clone();
        let name = source.format.name;
        let mut format = (source.format.open)(prefix);
        let mut reader = source.open()?;
        let interrupt = collector.interrupt();
        let mut buffer = Buffer::default();
        loop {
            if interrupt.requested() {
                return Err(LogError::Interrupted);
            }
            let end = match buffer.fill(&mut reader) {
                Ok(more) => !more,
                // What was unpacked up to here is good.
                Err(error) if buffer.total > 0 => {
                    self.cut.push(format!("{} ends early: {error}", path.display()));
                    true
                }
                Err(source) => return Err(LogError::File { path, source }),
            };
            let used =
                format.feed(buffer.filled(), end, &mut |entry: &Entry<'_>| collector.entry(entry));
            if buffer.take(used) >= MOST_ENTRY {
                self.too_long += 1;
                format.too_long();
                buffer.take(usize::MAX);
            }
            let counts = format.counts();
            if end || counts.entries == 0 && counts.foreign > PATIENCE {
                break;
            }
        }
        let counts = format.counts();
        if counts.entries == 0 && counts.foreign > 0 {
            return Err(no_entries(&path, name, prefix, counts));
        }
        if counts.foreign > 0 && self.example.is_empty() {
            self.example = String::from_utf8_lossy(&counts.example).into_owned();
        }
        if counts.foreign > 0 && self.suspect.is_none() {
            self.suspect = Some(no_entries(&path, name, prefix, counts));
        }
        self.foreign += counts.foreign;
        self.files.push((path, name));
        Ok(())
    }
}

fn no_entries(path: &Path, format: &'static str, prefix: &Prefix, counts: &Counts) -> LogError {
    let line: String = String::from_utf8_lossy(&counts.example)
        .chars()
        .map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if matches!(format, "csvlog" | "jsonlog") {
        return LogError::NoEntries { path: path.into(), format, line };
    }
    let fits =
        |text: &&&str| Prefix::compile(text).read(&counts.example, &mut Entry::default()).is_some();
    LogError::WrongPrefix {
        path: path.into(),
        prefix: prefix.text().to_owned(),
        example: prefix.example(),
        suggestion: USUAL.iter().find(fits).map(|text| (*text).to_owned()),
        line,
    }
}

/// A buffer that grows when an entry does not fit.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    /// Bytes read in all.
    total: u64,
}

impl Buffer {
    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Reads more; false at the end.
    fn fill(&mut self, reader: &mut dyn Read) -> std::io::Result<bool> {
        let wanted = if self.length < BUFFER / 2 { BUFFER } else { self.length * 2 };
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        loop {
            match reader.read(self.bytes.get_mut(self.length..).unwrap_or_default()) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.length += read;
                    self.total += read as u64;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the first bytes; returns how many stay.
    fn take(&mut self, used: usize) -> usize {
        let used = used.min(self.length);
        self.bytes.copy_within(used..self.length, 0);
        self.length -= used;
        self.length
    }
}
