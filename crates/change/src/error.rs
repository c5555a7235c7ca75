//! Why a change was refused, failed or could not be undone; each error knows its exit status and its hint.

use crate::journal::JournalError;
use pgassay_pgbouncer::PgBouncerError;

/// What went wrong with a change.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A precondition does not hold; nothing was touched.
    #[error("{what}: {reason}")]
    Refused {
        /// The change or the thing it is about.
        what: String,
        /// Why not.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The target is not what it was when the plan was made; nothing was touched.
    #[error("{what} changed since the plan was made: expected {expected}, found {found}")]
    Stale {
        /// What differs.
        what: String,
        /// As in the plan.
        expected: String,
        /// As it is now.
        found: String,
    },
    /// A right is missing; nothing was touched.
    #[error("missing privilege: {what}")]
    MissingPrivilege {
        /// What was refused.
        what: String,
        /// The statement that grants it.
        grant: String,
    },
    /// Another session works on the target.
    #[error("another pgassay is working on this database: {holder}")]
    Locked {
        /// The other session, as `pg_stat_activity` shows it.
        holder: String,
    },
    /// A statement failed.
    #[error("{doing} failed: {message}{}", sqlstate.as_deref().map(|s| format!(" (SQLSTATE {s})")).unwrap_or_default())]
    Query {
        /// What was being done.
        doing: String,
        /// The server's message.
        message: String,
        /// SQLSTATE; None: the connection broke.
        sqlstate: Option<String>,
    },
    /// What was done is not what the catalog, the settings or the file show.
    #[error("{what} did not come out as intended: {found}")]
    Verification {
        /// What was checked.
        what: String,
        /// What was found.
        found: String,
    },
    /// A file could not be read or written.
    #[error("{doing} {path}: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
    /// PgBouncer, its console or its files.
    #[error("PgBouncer: {0}")]
    PgBouncer(#[from] PgBouncerError),
    /// The journal.
    #[error("the journal: {0}")]
    Journal(#[from] JournalError),
    /// A connection for our own use could not be made.
    #[error("connecting: {0}")]
    Connect(String),
    /// Asked to stop.
    #[error("interrupted")]
    Interrupt,
    /// The change failed and nothing of it is left.
    #[error("{change} failed and was undone: {cause}")]
    Undone {
        /// Id and title of the change.
        change: String,
        /// Why it failed.
        cause: Box<ChangeError>,
    },
    /// Something is left that could not be taken back.
    #[error("{change} could not be undone: {undo}{}", cause.as_ref().map(|c| format!(" (it failed with: {c})")).unwrap_or_default())]
    NotUndone {
        /// Id and title of the change.
        change: String,
        /// Why it failed in the first place; None where a roll-back was asked for.
        cause: Option<Box<ChangeError>>,
        /// Why it could not be undone.
        undo: Box<ChangeError>,
        /// What a person has to run to finish.
        remedy: Vec<String>,
    },
    /// A test's fault point stopped the work, as a crash would.
    #[error("stopped by a fault point")]
    Fault,
}

impl ChangeError {
    /// A failed statement, with its SQLSTATE.
    pub(crate) fn query(doing: impl Into<String>, error: &tokio_postgres::Error) -> Self {
        let database = error.as_db_error();
        ChangeError::Query {
            doing: doing.into(),
            message: database.map_or_else(|| error.to_string(), |e| e.message().to_owned()),
            sqlstate: database.map(|e| e.code().code().to_owned()),
        }
    }

    /// A file that could not be read or written.
    pub(crate) fn file(
        doing: &'static str,
        path: &std::path::Path,
        source: std::io::Error,
    ) -> Self {
        ChangeError::File { doing, path: path.display().to_string(), source }
    }

    /// SQLSTATE of the statement that failed, if one did.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            ChangeError::Query { sqlstate, .. } => sqlstate.as_deref(),
            ChangeError::Undone { cause, .. } => cause.sqlstate(),
            ChangeError::NotUndone { cause, undo, .. } => {
                cause.as_ref().and_then(|cause| cause.sqlstate()).or_else(|| undo.sqlstate())
            }
            _ => None,
        }
    }

    /// Whether the work stopped since it was asked to.
    pub fn interrupted(&self) -> bool {
        match self {
            ChangeError::Interrupt => true,
            ChangeError::Undone { cause, .. } => cause.interrupted(),
            _ => false,
        }
    }

    /// Whether the failure says that the change did not begin: its index's name was taken meanwhile (42P07,
    /// duplicate_table), or its file was edited meanwhile. What is there is then somebody else's.
    pub(crate) fn nothing_touched(&self) -> bool {
        matches!(self.sqlstate(), Some("42P07"))
            || matches!(self, ChangeError::PgBouncer(PgBouncerError::FileChanged { .. }))
    }

    /// Whether the connection to the server is gone.
    pub(crate) fn connection_lost(&self) -> bool {
        matches!(self, ChangeError::Query { sqlstate: None, .. })
            || matches!(self.sqlstate(), Some("57P01" | "57P02" | "57P03"))
    }

    /// Exit status of the command line: 2 refused, 3 unreachable, 4 rights, 5 failed and undone, 6 not undone,
    /// 130 interrupted and undone.
    pub fn exit_status(&self) -> u8 {
        match self {
            ChangeError::Refused { .. }
            | ChangeError::Stale { .. }
            | ChangeError::Locked { .. }
            | ChangeError::Journal(JournalError::NoRun(_) | JournalError::NoChange { .. }) => 2,
            ChangeError::Connect(_) => 3,
            ChangeError::MissingPrivilege { .. } => 4,
            ChangeError::NotUndone { .. } | ChangeError::Fault => 6,
            ChangeError::Interrupt => 130,
            ChangeError::Undone { cause, .. } if cause.interrupted() => 130,
            _ => 5,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            ChangeError::Refused { hint, .. } => Some(hint.clone()),
            ChangeError::Stale { .. } => {
                Some("make a new plan (pgassay plan) and apply that".to_owned())
            }
            ChangeError::MissingPrivilege { grant, .. } => Some(format!("run: {grant}")),
            ChangeError::Locked { .. } => Some(
                "wait until it is done; if its process died, its last statement is still running"
                    .to_owned(),
            ),
            ChangeError::Undone { cause, .. } => cause.hint(),
            ChangeError::NotUndone { remedy, .. } => Some(if remedy.is_empty() {
                "see pgassay history".to_owned()
            } else {
                format!("to finish by hand: {}", remedy.join("; "))
            }),
            _ => None,
        }
    }
}
