//! What can go wrong with a throw-away server.

use std::path::PathBuf;

/// Why a throw-away server could not be found, started or used.
#[derive(Debug, thiserror::Error)]
pub enum TestkitError {
    /// No server programs.
    #[error("no {program} found in {places}; {remedy}")]
    NotFound {
        /// "PostgreSQL server" or "PgBouncer".
        program: &'static str,
        /// Where it was looked for.
        places: String,
        /// What to install.
        remedy: &'static str,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// Which.
        program: String,
        /// Its exit status, in words.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A file or directory could not be used.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Servers do not run as root, and there is no other account.
    #[error(
        "PostgreSQL does not run as root, and there is no account postgres or nobody to run it as"
    )]
    NoAccount,
    /// A server did not come up.
    #[error("{program} did not accept connections within {seconds} s; its log ends: {log}")]
    NotReady {
        /// Which.
        program: &'static str,
        /// How long was waited.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// SQL was refused.
    #[error("SQL failed in database {database}: {message}")]
    Sql {
        /// The database.
        database: String,
        /// SQLSTATE and message.
        message: String,
    },
}

impl TestkitError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> TestkitError {
        let path = path.into();
        move |source| TestkitError::File { path, source }
    }
}
