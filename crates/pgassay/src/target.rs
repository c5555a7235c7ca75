//! What a command works on: the server, the way the application reaches it, and the pooler between.

use crate::cli::Common;
use crate::failure::{Exit, Failure, chain};
use crate::progress::Progress;
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_pgbouncer::Console;
use pgassay_postgres::{PostgresError, Session, SessionOptions};
use pgassay_workload::WorkloadError;
use std::path::{Path, PathBuf};

/// Everything that a command was pointed at.
pub struct Target {
    /// The server itself.
    pub server: ConnectionSettings,
    /// The way the application connects.
    pub application: ConnectionSettings,
    /// PgBouncer's console.
    pub console: Option<ConnectionSettings>,
    /// PgBouncer's configuration file.
    pub ini: Option<PathBuf>,
    /// PgBouncer's program.
    pub pgbouncer_binary: Option<PathBuf>,
    /// Where PostgreSQL's programs are looked for first.
    pub postgres_bin: Option<PathBuf>,
    /// Where journal and backups lie.
    pub state: PathBuf,
    /// Set by Ctrl-C.
    pub interrupt: Interrupt,
    /// Where progress is shown.
    pub progress: Progress,
}

impl Target {
    /// Resolves the DSN and the common flags; connects to nothing.
    pub fn resolve(
        dsn: &str,
        common: &Common,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let server = resolve_dsn(dsn)?;
        let application = match &common.app_dsn {
            Some(text) => resolve_dsn(text)?,
            None => server.clone(),
        };
        Ok(Target {
            server,
            application,
            console: common.pgbouncer.as_deref().map(resolve_dsn).transpose()?,
            ini: common.pgbouncer_ini.as_deref().map(absolute).transpose()?,
            pgbouncer_binary: common.pgbouncer_bin.clone(),
            state: absolute(&state_directory(common)?)?,
            postgres_bin: common.postgres_bin.clone(),
            interrupt: interrupt.clone(),
            progress: progress.clone(),
        })
    }

    /// Whether the application's connections go somewhere else than to the server itself.
    pub fn pooled(&self) -> bool {
        self.application.host != self.server.host || self.application.port != self.server.port
    }

    /// A read-only session on the server.
    pub async fn observe(&self) -> Result<Session, Failure> {
        Session::connect(&self.server, SessionOptions::default()).await.map_err(postgres_failure)
    }

    /// A session on the server that may change it.
    pub async fn writer(&self) -> Result<Session, Failure> {
        let session = Session::connect(
            &self.server,
            SessionOptions { read_only: false, ..SessionOptions::default() },
        )
        .await
        .map_err(postgres_failure)?;
        let standby = session
            .client()
            .query_one("SELECT pg_catalog.pg_is_in_recovery() /* pgassay */", &[])
            .await
            .map_err(|error| {
                Failure::new(Exit::Unreachable, error.to_string(), "check the server's log")
            })?
            .get::<_, bool>(0);
        if standby {
            return Err(Failure::new(
                Exit::Missing,
                format!(
                    "{} is a standby: it is read-only, so nothing can be changed there",
                    self.server
                ),
                "point pgassay at the primary; measuring and planning also work on a standby",
            ));
        }
        Ok(session)
    }

    /// PgBouncer's console, where one was given.
    pub async fn console(&self) -> Result<Option<Console>, Failure> {
        match &self.console {
            None => Ok(None),
            Some(settings) => Console::connect(settings).await.map(Some).map_err(|error| {
                Failure::new(
                    Exit::Unreachable,
                    chain(&error),
                    "check --pgbouncer: it is the console's DSN (database pgbouncer), and its user must stand in admin_users or stats_users",
                )
            }),
        }
    }

    /// Everything observed of the server and, where given, of the pooler.
    pub async fn snapshot(&self, session: &Session) -> Result<Snapshot, Failure> {
        let mut snapshot = pgassay_postgres::snapshot(session).await.map_err(postgres_failure)?;
        if let Some(console) = self.console().await? {
            let pooler = pgassay_pgbouncer::snapshot(&console, self.ini.as_deref()).await.map_err(
                |error| {
                    Failure::new(
                        Exit::Unreachable,
                        chain(&error),
                        "check --pgbouncer and --pgbouncer-ini",
                    )
                },
            )?;
            if let (Some(ini), Some(problem)) = (&self.ini, &pooler.ini_problem) {
                self.progress.say(format!(
                    "warning: {} can't be edited: {problem}; PgBouncer stays as it is",
                    ini.display()
                ));
            }
            snapshot.pooler = Some(pooler);
        }
        Ok(snapshot)
    }
}

/// Reads a DSN with the environment's defaults, as libpq does.
pub fn resolve_dsn(text: &str) -> Result<ConnectionSettings, Failure> {
    pgassay_postgres::dsn::resolve(text).map_err(|error| {
        Failure::input(
            chain(&error),
            "write it as postgresql://user@host:5432/database or as \"host=… dbname=… user=…\"",
        )
    })
}

/// A failure of the server or of reaching it, with its exit status.
pub fn postgres_failure(error: PostgresError) -> Failure {
    let exit = match &error {
        PostgresError::Unreachable { .. }
        | PostgresError::LoginRefused { .. }
        | PostgresError::StartingUp { .. }
        | PostgresError::TlsFailed { .. } => Exit::Unreachable,
        PostgresError::VersionTooOld { .. }
        | PostgresError::MissingPrivilege { .. }
        | PostgresError::MissingExtension { .. } => Exit::Missing,
        _ => Exit::Unreachable,
    };
    Failure::new(exit, chain(&error), error.hint())
}

/// A failure with a workload, with `exit` where the server was not lost over it.
pub fn workload_failure(error: WorkloadError, exit: Exit, hint: &str) -> Failure {
    match error {
        WorkloadError::Server(error) if error.sqlstate().is_none_or(ended) => {
            postgres_failure(error)
        }
        error => Failure::new(exit, chain(&error), hint),
    }
}

/// Whether an SQLSTATE says that the connection is over: classes 08 (connection exception) and 57P (operator
/// intervention that ends the session).
fn ended(sqlstate: &str) -> bool {
    sqlstate.starts_with("08") || sqlstate.starts_with("57P")
}

/// A path that still holds when the journal is read, or an undo is run, from another directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::input(
            format!("the path {} cannot be used: {error}", path.display()),
            "write it in full",
        )
    })
}

fn state_directory(common: &Common) -> Result<PathBuf, Failure> {
    if let Some(directory) = common.state() {
        return Ok(directory);
    }
    if let Some(directory) = std::env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(directory).join("pgassay"));
    }
    match std::env::var_os("HOME").filter(|value| !value.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".local/state/pgassay")),
        None => Err(Failure::input(
            "no state directory: none of --state, PGASSAY_STATE, XDG_STATE_HOME and HOME is set",
            "pass --state DIR",
        )),
    }
}
