//! Why a workload could not be driven at all; errors of single requests are counted, not raised.

use crate::connection::ConnectionError;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No connection could be opened.
    #[error("no connection to {target}: {reason}")]
    Unreachable {
        /// DSN without its password.
        target: String,
        /// What happened.
        reason: String,
    },
    /// The server answered and refused the log-in.
    #[error("{target} refused the log-in: {reason}")]
    LoginRefused {
        /// DSN without its password.
        target: String,
        /// SQLSTATE, where the server sent one.
        sqlstate: Option<String>,
        /// Its words, with SQLSTATE.
        reason: String,
    },
    /// The connection can't be encrypted as `sslmode` wants it.
    #[error("no TLS to {target}: {reason}")]
    Tls {
        /// DSN without its password.
        target: String,
        /// Why not.
        reason: String,
    },
    /// The workload holds nothing that can be driven.
    #[error("the workload has no statements")]
    EmptyWorkload,
    /// There is nothing to replay.
    #[error("the workload has no recorded sessions, or none in the time asked for")]
    NoSessions,
    /// A recorded request names what the workload does not hold.
    #[error(
        "session {session} asks for statement {statement} with set {set} of its values, which the workload does not hold"
    )]
    Session {
        /// Its id.
        session: String,
        /// Place of the statement.
        statement: usize,
        /// Place of the set of values.
        set: usize,
    },
    /// A statement can't be sent as it is.
    #[error("statement {statement} cannot be driven: {reason}")]
    Statement {
        /// Its id.
        statement: String,
        /// Why.
        reason: String,
    },
    /// The way to the server does not keep prepared statements.
    #[error("prepared statements do not work on this way to the server: {reason}")]
    Prepared {
        /// What showed it.
        reason: String,
    },
    /// The options make no sense.
    #[error("the load cannot be driven: {0}")]
    Options(&'static str),
    /// The operating system gave no thread.
    #[error("cannot start {clients} client threads")]
    Threads {
        /// How many were wanted.
        clients: u32,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The interrupt flag was set.
    #[error("interrupted while driving the load")]
    Interrupted,
}

impl LoadError {
    /// An opening that failed, told apart by whether the server answered.
    pub(crate) fn opening(target: String, error: &ConnectionError) -> Self {
        match error {
            ConnectionError::Server(refusal) => LoadError::LoginRefused {
                target,
                sqlstate: Some(refusal.sqlstate.clone()),
                reason: refusal.to_string(),
            },
            ConnectionError::Login(reason) => {
                LoadError::LoginRefused { target, sqlstate: None, reason: reason.clone() }
            }
            ConnectionError::Tls(reason) => LoadError::Tls { target, reason: reason.clone() },
            other => LoadError::Unreachable { target, reason: other.to_string() },
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            LoadError::Unreachable { .. } => {
                "check that the server runs and listens there (host, port, sslmode, firewall)"
                    .into()
            }
            LoadError::LoginRefused { sqlstate, .. } => match sqlstate.as_deref() {
                Some("28P01") => "check user and password (DSN, PGPASSWORD or ~/.pgpass)".into(),
                Some("28000") => "check user, pg_hba.conf and sslmode".into(),
                Some("3D000") => "check the name of the database".into(),
                Some("53300") => "fewer clients, or a higher max_connections or pool".into(),
                Some("57P03") => {
                    "the server is starting or stopping: try again when it accepts connections"
                        .into()
                }
                _ => "check user, password and database, and the server's or pooler's log".into(),
            },
            LoadError::Tls { .. } => {
                "check sslmode, sslrootcert and the server's certificate".into()
            }
            LoadError::EmptyWorkload => {
                "capture a workload (pgassay capture) or name a directory with .sql files".into()
            }
            LoadError::NoSessions => {
                "capture from a log, which knows sessions and times; or give --rate or --clients".into()
            }
            LoadError::Session { .. } => "capture the workload again".into(),
            LoadError::Statement { .. } => {
                "give it parameter values (-- params: [...]), or take it out of the workload".into()
            }
            LoadError::Prepared { .. } => {
                "a pooler in transaction mode must track them (PgBouncer from 1.21, max_prepared_statements above 0); \
                 otherwise use --protocol extended"
                    .into()
            }
            LoadError::Options(_) => "see pgassay measure --help".into(),
            LoadError::Threads { .. } => "use fewer clients, or raise ulimit -u".into(),
            LoadError::Interrupted => "run it again".into(),
        }
    }
}
