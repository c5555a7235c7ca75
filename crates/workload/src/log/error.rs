//! What can go wrong with logs.

use std::io;
use std::path::PathBuf;

/// A failure; says which file and line, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A file could not be read.
    #[error("reading {} failed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file that is no text.
    #[error("{} is no log but a binary file; logs are text, or text packed by gzip or zstd", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
    },
    /// Nothing to read.
    #[error("no log file is given or found in {place}; pass the server's log with --log FILE")]
    NoFiles {
        /// Where.
        place: String,
    },
    /// A file without a line.
    #[error("{} is empty; pass the log that the server writes (SHOW log_directory, SHOW log_filename)", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No line looks as `log_line_prefix` says.
    #[error(
        "no line of {} begins as log_line_prefix '{prefix}' says. Its first is\n  {line}\nand the prefix makes lines like\n  {example}\npass the prefix that the server had when it wrote the log with --log-line-prefix{}",
        path.display(),
        suggestion.as_ref().map(|prefix| format!("; '{prefix}' would fit")).unwrap_or_default()
    )]
    WrongPrefix {
        /// The file.
        path: PathBuf,
        /// The prefix.
        prefix: String,
        /// The first line that does not match.
        line: String,
        /// What one looks like.
        example: String,
        /// A usual prefix that matches.
        suggestion: Option<String>,
    },
    /// No line is an entry of the format.
    #[error("no line of {} is an entry of {format}; its first is\n  {line}", path.display())]
    NoEntries {
        /// The file.
        path: PathBuf,
        /// The format that the file seemed to have.
        format: &'static str,
        /// The first line.
        line: String,
    },
    /// Messages are in another language than English.
    #[error(
        "{} is in {language}, and only English logs can be read; set lc_messages = 'C' (ALTER SYSTEM, or ALTER DATABASE, then reload) for the time to be captured",
        path.display()
    )]
    Language {
        /// The file.
        path: PathBuf,
        /// Its language.
        language: &'static str,
    },
    /// Entries, but no statements among them.
    #[error(
        "{entries} log entries were read, and none is a statement{}; set log_min_duration_statement = 0 (or log_statement = 'all' with log_duration) for the time to be captured, in English (lc_messages)",
        because.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
    )]
    NoStatements {
        /// Entries read.
        entries: u64,
        /// What was left out.
        because: Option<String>,
    },
    /// The window can't be cut from a stream.
    #[error(
        "--window counts back from the end of the log, which a stream shows only when it is over; pass a file"
    )]
    WindowOfStream,
    /// Ctrl-C.
    #[error("interrupted while reading logs; nothing was written")]
    Interrupted,
}
