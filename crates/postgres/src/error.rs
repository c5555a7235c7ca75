//! What can go wrong between us and a server, and what helps.

use crate::connect::POOLER_WANTS_TLS;

/// A failure of reaching, entering or asking a server. Names servers without passwords.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// Nothing answers there.
    #[error("no connection to {server}: {message}")]
    Unreachable {
        /// Server as a URL without password.
        server: String,
        /// What the operating system or the protocol said.
        message: String,
    },
    /// The server answers and refuses the log-in.
    #[error("{server} refuses the log-in: {message}{}", state(.sqlstate))]
    LoginRefused {
        /// Server as a URL without password.
        server: String,
        /// The server's words.
        message: String,
        /// SQLSTATE, e.g. 28P01; None where we gave up, for want of a password.
        sqlstate: Option<String>,
    },
    /// The server starts, stops or recovers, and takes no sessions yet.
    #[error("{server} takes no sessions now: {message} ({sqlstate})")]
    StartingUp {
        /// Server as a URL without password.
        server: String,
        /// The server's words.
        message: String,
        /// SQLSTATE 57P03 (or 57P01, 57P02).
        sqlstate: String,
    },
    /// No encrypted connection as `sslmode` asks for it.
    #[error("no encrypted connection to {server}: {message}")]
    TlsFailed {
        /// Server as a URL without password.
        server: String,
        /// What was wrong.
        message: String,
    },
    /// Older than PostgreSQL 13.
    #[error("{server} runs PostgreSQL {version}; 13 is the oldest version supported")]
    VersionTooOld {
        /// Server as a URL without password.
        server: String,
        /// `server_version`.
        version: String,
    },
    /// A session that may write was asked for through a pooler.
    #[error(
        "{server} is answered by a connection pooler; changing a server needs a direct session"
    )]
    Pooled {
        /// Server as a URL without password.
        server: String,
    },
    /// The role may not do that.
    #[error("{doing}: {message} ({sqlstate})")]
    MissingPrivilege {
        /// What was done.
        doing: String,
        /// The server's words.
        message: String,
        /// SQLSTATE, usually 42501.
        sqlstate: String,
    },
    /// An extension is not there.
    #[error("{doing}: extension {extension} is not installed in this database")]
    MissingExtension {
        /// What was done.
        doing: String,
        /// Its name.
        extension: String,
    },
    /// The server refused a statement of ours, or the connection broke under it.
    #[error("{doing}: {message}{}", state(.sqlstate))]
    Query {
        /// What was done.
        doing: String,
        /// The server's words, or the connection's.
        message: String,
        /// SQLSTATE; None where no answer came.
        sqlstate: Option<String>,
    },
}

fn state(sqlstate: &Option<String>) -> String {
    sqlstate.as_ref().map(|code| format!(" ({code})")).unwrap_or_default()
}

impl PostgresError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            PostgresError::Unreachable { .. } => {
                "check that the server runs, host and port, listen_addresses, and firewalls between".into()
            }
            PostgresError::LoginRefused { message, .. } if message == POOLER_WANTS_TLS => {
                "the pooler takes encrypted connections only: sslmode=require or stricter".into()
            }
            PostgresError::LoginRefused { sqlstate, .. } => match sqlstate.as_deref() {
                None | Some("28P01") => "check user and password (PGPASSWORD, ~/.pgpass, or in the DSN)".into(),
                Some("08P01" | "0A000") => {
                    "the pooler does not take the DSN's options: leave them out, or add options to ignore_startup_parameters".into()
                }
                Some("28000") => "check that the role exists and may log in (psql: \\du); if it does, add a line for this user, database and address to pg_hba.conf, or try another sslmode".into(),
                Some("3D000") => "check the database's name: psql -l lists them".into(),
                Some("53300") => "no connection slot is free: raise max_connections, end idle sessions, or wait".into(),
                Some("42501") => "GRANT CONNECT ON DATABASE … TO the role".into(),
                _ => "check user, password, database and pg_hba.conf; the server's log says more".into(),
            },
            PostgresError::StartingUp { .. } => {
                "wait until the server is up and try again; its log shows the progress of recovery".into()
            }
            PostgresError::TlsFailed { .. } => {
                "check sslmode and sslrootcert; the certificate must name the host as subjectAltName for verify-full".into()
            }
            PostgresError::VersionTooOld { .. } => "upgrade the server to a supported version".into(),
            PostgresError::Pooled { .. } => {
                "give the DSN of the server itself, and the pooler's as the application's".into()
            }
            PostgresError::MissingPrivilege { .. } => {
                "GRANT pg_monitor TO the role (pg_read_all_data for column statistics), or use a role that may".into()
            }
            PostgresError::MissingExtension { extension, .. } => format!(
                "CREATE EXTENSION {extension}; as a role that may{}",
                if extension == "pg_stat_statements" {
                    ", after adding it to shared_preload_libraries and a restart"
                } else {
                    ""
                }
            ),
            PostgresError::Query { sqlstate, .. } => match sqlstate.as_deref() {
                Some("57014") => "it ran into a time-out or was cancelled: try again when the server is less busy".into(),
                Some("55P03") => "another session holds the lock: try again later".into(),
                None => "the connection broke: check the server's log and try again".into(),
                Some("22021") => "the database holds text that is not UTF-8 (encoding SQL_ASCII, where nothing is converted): it can't be read; find such values and convert them (convert_from), or move to a database in UTF8".into(),
                _ => "the server's log shows the statement".into(),
            },
        }
    }

    /// SQLSTATE, where the server gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            PostgresError::StartingUp { sqlstate, .. }
            | PostgresError::MissingPrivilege { sqlstate, .. } => Some(sqlstate),
            PostgresError::LoginRefused { sqlstate, .. }
            | PostgresError::Query { sqlstate, .. } => sqlstate.as_deref(),
            _ => None,
        }
    }

    /// A statement's failure: 42501 is `insufficient_privilege`.
    pub(crate) fn query(doing: &str, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) if refusal.code().code() == "42501" => PostgresError::MissingPrivilege {
                doing: doing.to_owned(),
                message: refusal.message().to_owned(),
                sqlstate: refusal.code().code().to_owned(),
            },
            Some(refusal) => PostgresError::Query {
                doing: doing.to_owned(),
                message: refusal.message().to_owned(),
                sqlstate: Some(refusal.code().code().to_owned()),
            },
            None => PostgresError::Query {
                doing: doing.to_owned(),
                message: causes(error),
                sqlstate: None,
            },
        }
    }
}

/// An error's words and those of everything that caused it.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
