//! What can go wrong with PgBouncer, its console and its files.

use std::path::{Path, PathBuf};

/// A failure; says what failed, on what, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum PgBouncerError {
    /// The console could not be reached in time or at all.
    #[error(
        "PgBouncer's console at {console} could not be reached: {message}; check that PgBouncer runs and listens there"
    )]
    Unreachable {
        /// The console's address, without password.
        console: String,
        /// Cause.
        message: String,
    },
    /// The console refused the log-in.
    #[error(
        "PgBouncer's console at {console} refused the log-in: {message}; the user must stand in admin_users or stats_users and in the userlist"
    )]
    LoginRefused {
        /// The console's address, without password.
        console: String,
        /// PgBouncer's message.
        message: String,
    },
    /// No encrypted connection as `sslmode` asks for it.
    #[error(
        "no encrypted connection to PgBouncer's console at {console}: {message}; check sslmode and sslrootcert"
    )]
    TlsFailed {
        /// The console's address, without password.
        console: String,
        /// What was wrong.
        message: String,
    },
    /// A console command failed.
    #[error("{command} on PgBouncer's console failed: {message}{}", sqlstate.as_deref().map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default())]
    Command {
        /// The command, without values.
        command: String,
        /// PgBouncer's message.
        message: String,
        /// SQLSTATE; None where the connection broke or time ran out.
        sqlstate: Option<String>,
    },
    /// A SHOW command lacks a column that is needed.
    #[error("{command} shows no usable column {column}; PgBouncer 1.18 or later is needed")]
    MissingColumn {
        /// The command.
        command: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A file could not be read, written or replaced.
    #[error("{doing} {} failed: {source}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file is not what it was when it was read; nothing was written.
    #[error("{} changed meanwhile; nothing was written: plan again", path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// A configuration file or userlist can't be read as PgBouncer reads it.
    #[error("{}, line {line}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// An edit that would not do what it says, or not safely.
    #[error("{what} can't be edited in {}: {reason}", path.display())]
    NotEditable {
        /// Key or user.
        what: String,
        /// The file.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
    /// The rehearsal could not be set up.
    #[error("the rehearsal of the new configuration could not be set up: {0}")]
    RehearsalSetUp(String),
    /// A throw-away PgBouncer did not start on the candidate, or did not take all of it.
    #[error(
        "a throw-away PgBouncer refused the new configuration, the running one was not touched: {0}"
    )]
    RehearsalFailed(String),
}

impl PgBouncerError {
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| PgBouncerError::File { doing, path, source }
    }
}
