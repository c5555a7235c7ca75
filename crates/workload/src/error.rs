//! What can go wrong with workload files and with the server that fills them.

use pgassay_postgres::PostgresError;
use std::io;
use std::path::{Path, PathBuf};

/// A failure; says which file and line, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// A file or directory could not be read or written.
    #[error("{doing} {} failed", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file is not UTF-8 text.
    #[error("{} is not UTF-8 text; convert it (iconv -t UTF-8)", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A JSON file is not a workload document.
    #[error("{}, line {}: not a workload as `pgassay capture` writes it", path.display(), source.line())]
    NotAWorkload {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: serde_json::Error,
    },
    /// A document of another kind or version.
    #[error(
        "{} is a document of schema \"{found}\", and \"{}\" is needed; capture the workload again",
        path.display(),
        pgassay_model::workload::SCHEMA
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: String,
    },
    /// A file that is neither a directory nor a document is a pgbench script, and this one can't be read.
    #[error(
        "{}, {reason} (read as a pgbench script; a workload is also a file from `pgassay capture` or a directory of .sql files)",
        path.display()
    )]
    Script {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong there.
        reason: String,
    },
    /// A directory without a .sql file.
    #[error("{} holds no .sql file; put one statement into each", path.display())]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
    /// A weight that is none.
    #[error("{}, {place}: \"{text}\" is no weight; a number above 0 is needed", path.display())]
    Weight {
        /// The file.
        path: PathBuf,
        /// The line or the statement.
        place: String,
        /// What stands there.
        text: String,
    },
    /// A `-- params:` line that is none.
    #[error(
        "{}, line {line}: {reason}; expected a JSON array of the values of $1, $2 …, for example `-- params: [42, \"x\", null]`",
        path.display()
    )]
    Params {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A document could not be written as JSON.
    #[error("the workload can't be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The server refused a statement of ours, or the connection broke.
    #[error(transparent)]
    Server(#[from] PostgresError),
    /// pg_stat_statements is not readable.
    #[error(
        "pg_stat_statements is not readable: add it to shared_preload_libraries, restart, CREATE EXTENSION pg_stat_statements, and GRANT pg_read_all_stats to this role"
    )]
    NoStatistics,
}

impl WorkloadError {
    /// Wraps an I/O error with what was done to which file.
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| WorkloadError::File { doing, path, source }
    }
}
