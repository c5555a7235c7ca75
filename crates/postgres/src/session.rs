//! Guarded sessions: read-only and with time-outs from the first moment, or, behind a pooler, in
//! transactions that bring their guards along and leave nothing in a shared backend.

use crate::connect::{self, Attempt};
use crate::{PostgresError, connect::Connected};
use pgassay_model::connection::ConnectionSettings;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// How a session is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// `default_transaction_read_only`.
    pub read_only: bool,
    /// `statement_timeout`.
    pub statement_timeout: Duration,
    /// `lock_timeout`: a session that observes must not queue before the application's.
    pub lock_timeout: Duration,
    /// `idle_in_transaction_session_timeout`.
    pub idle_in_transaction_timeout: Duration,
}

impl Default for SessionOptions {
    /// Read-only, 30 s for a statement, 2 s for a lock, 60 s idle in a transaction.
    fn default() -> Self {
        SessionOptions {
            read_only: true,
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(2),
            idle_in_transaction_timeout: Duration::from_secs(60),
        }
    }
}

impl SessionOptions {
    fn parameters(&self) -> [(&'static str, String); 3] {
        [
            ("statement_timeout", self.statement_timeout.as_millis().to_string()),
            ("lock_timeout", self.lock_timeout.as_millis().to_string()),
            (
                "idle_in_transaction_session_timeout",
                self.idle_in_transaction_timeout.as_millis().to_string(),
            ),
        ]
    }

    /// As command-line switches of the backend, after those of the DSN.
    fn startup(&self, of_dsn: Option<&str>, session: &str) -> String {
        let mut text = of_dsn.map(|options| format!("{options} ")).unwrap_or_default();
        let read_only = if self.read_only { "on" } else { "off" };
        text.push_str(&format!("-c default_transaction_read_only={read_only} -c {TAG}={session}"));
        for (name, value) in self.parameters() {
            text.push_str(&format!(" -c {name}={value}"));
        }
        text
    }

    /// As statements that end with their transaction.
    fn local(&self) -> String {
        self.parameters()
            .iter()
            .map(|(name, value)| format!("; SET LOCAL {name} = {value} /* pgassay */"))
            .collect()
    }
}

/// A parameter that only this session's start-up sets: reading it back tells whether the backend that
/// answers is the one whose start-up we asked for, or one that a pooler keeps.
const TAG: &str = "pgassay.session";
/// The first version supported.
const OLDEST: u32 = 130_000;

/// A session on a server.
#[derive(Debug)]
pub struct Session {
    client: Client,
    settings: ConnectionSettings,
    options: SessionOptions,
    version_num: u32,
    pooled: bool,
    encrypted: bool,
    /// One reading at a time.
    turn: Mutex<()>,
    /// A reading was dropped before its end, so its transaction may still be open.
    left_open: AtomicBool,
}

impl Session {
    /// Connects, with the guards in force from the first moment.
    ///
    /// The guards travel as libpq's `options`. A pooler in transaction mode refuses or ignores them; a SET
    /// would then reach sessions of the application, so none is sent: see [`Session::read`].
    pub async fn connect(
        settings: &ConnectionSettings,
        options: SessionOptions,
    ) -> Result<Session, PostgresError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{}_{number}", std::process::id());
        let startup = options.startup(settings.options.as_deref(), &tag);
        let limit = settings.connect_timeout;
        let connecting = async {
            match connect::connect(settings, Some(&startup)).await {
                Err(Attempt::OptionsRefused(_)) => {
                    connect::connect(settings, settings.options.as_deref()).await
                }
                result => result,
            }
        };
        let Connected { client, encrypted } = tokio::time::timeout(limit, connecting)
            .await
            .map_err(|_| PostgresError::Unreachable {
                server: settings.to_string(),
                message: format!("no answer within {} s", limit.as_secs_f64()),
            })?
            .map_err(Attempt::into_error)?;
        let mut session = Session {
            client,
            settings: settings.clone(),
            options,
            version_num: 0,
            pooled: false,
            encrypted,
            turn: Mutex::new(()),
            left_open: AtomicBool::new(false),
        };
        session.look(&tag).await?;
        Ok(session)
    }

    /// Reads the version, and whether our start-up reached this backend.
    async fn look(&mut self, tag: &str) -> Result<(), PostgresError> {
        let doing = "looking at the session";
        let sql = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
                          pg_catalog.current_setting('server_version'),
                          pg_catalog.current_setting('pgassay.session', true),
                          pg_catalog.current_setting('default_transaction_read_only')
                   /* pgassay */";
        let row = self
            .client
            .query_typed_one(sql, &[])
            .await
            .map_err(|error| PostgresError::query(doing, &error))?;
        self.version_num = u32::try_from(value::<i32>(&row, 0, doing)?).unwrap_or(0);
        let server = self.settings.to_string();
        if self.version_num < OLDEST {
            return Err(PostgresError::VersionTooOld { server, version: value(&row, 1, doing)? });
        }
        let ours = value::<Option<String>>(&row, 2, doing)?.as_deref() == Some(tag);
        let read_only = value::<String>(&row, 3, doing)? == "on";
        self.pooled = !ours || read_only != self.options.read_only;
        if self.pooled && !self.options.read_only {
            return Err(PostgresError::Pooled { server });
        }
        // A session that waits while a load runs must not be ended for idling; 13 has no such limit, and
        // refuses the parameter at start-up.
        if !self.pooled && self.version_num >= 140_000 {
            self.client
                .batch_execute("SET idle_session_timeout = 0 /* pgassay */")
                .await
                .map_err(|error| PostgresError::query(doing, &error))?;
        }
        Ok(())
    }

    /// The client. Through a pooler use [`Session::read`] instead: named prepared statements and anything
    /// outside of a transaction may meet another backend at every statement there.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How it was connected.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// `server_version_num`, e.g. 150018.
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    pub(crate) fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Whether a pooler answers in place of the server: our start-up settings are not in force.
    pub fn pooled(&self) -> bool {
        self.pooled
    }

    /// Whether the connection is encrypted.
    pub fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// Begins a read-only transaction with the guards set for it alone; every collector reads in one. Ends
    /// with [`Reading::end`], or when it is dropped, before the next.
    pub async fn read(&self, doing: &'static str) -> Result<Reading<'_>, PostgresError> {
        self.begin(doing, "READ ONLY").await
    }

    pub(crate) async fn begin(
        &self,
        doing: &'static str,
        mode: &str,
    ) -> Result<Reading<'_>, PostgresError> {
        let turn = self.turn.lock().await;
        let rollback =
            if self.left_open.load(Ordering::SeqCst) { "ROLLBACK /* pgassay */; " } else { "" };
        let begin = format!("{rollback}BEGIN {mode} /* pgassay */{}", self.options.local());
        self.left_open.store(true, Ordering::SeqCst);
        let reading = Reading { session: self, doing, _turn: turn };
        reading.batch(&begin).await?;
        Ok(reading)
    }
}

/// A transaction in which something is read.
#[derive(Debug)]
pub struct Reading<'a> {
    session: &'a Session,
    doing: &'static str,
    _turn: MutexGuard<'a, ()>,
}

impl Reading<'_> {
    /// Rows of a statement, by the unnamed prepared statement, so that it also works through a pooler.
    pub async fn rows(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, PostgresError> {
        self.session
            .client
            .query_typed(sql, parameters)
            .await
            .map_err(|error| PostgresError::query(self.doing, &error))
    }

    /// The first row, where there is one.
    pub async fn row(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Option<Row>, PostgresError> {
        Ok(self.rows(sql, parameters).await?.into_iter().next())
    }

    /// Statements without result.
    pub async fn batch(&self, sql: &str) -> Result<(), PostgresError> {
        self.session
            .client
            .batch_execute(sql)
            .await
            .map_err(|error| PostgresError::query(self.doing, &error))
    }

    /// Like [`Reading::rows`], for a statement that the role may be refused: the transaction goes on.
    pub async fn attempt(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Result<Vec<Row>, PostgresError>, PostgresError> {
        self.batch("SAVEPOINT attempt /* pgassay */").await?;
        let result = self.rows(sql, parameters).await;
        let end = match &result {
            Ok(_) => "RELEASE SAVEPOINT attempt /* pgassay */",
            Err(error) if error.sqlstate().is_none() => return Err(error.clone()),
            Err(_) => {
                "ROLLBACK TO SAVEPOINT attempt /* pgassay */; RELEASE SAVEPOINT attempt /* pgassay */"
            }
        };
        self.batch(end).await?;
        Ok(result)
    }

    /// Like [`Reading::rows`]; texts that are no UTF-8, which a database in SQL_ASCII may hold, come as they are.
    pub(crate) async fn rows_in_any_encoding(&self, sql: &str) -> Result<Vec<Row>, PostgresError> {
        match self.attempt(sql, &[]).await? {
            // character_not_in_repertoire
            Err(error) if error.sqlstate() == Some("22021") => {
                self.batch("SET LOCAL client_encoding = 'SQL_ASCII' /* pgassay */").await?;
                let rows = self.attempt(sql, &[]).await?;
                self.batch("SET LOCAL client_encoding = 'UTF8' /* pgassay */").await?;
                rows
            }
            result => result,
        }
    }

    /// Ends the transaction; nothing of it stays.
    pub async fn end(self) -> Result<(), PostgresError> {
        self.batch("ROLLBACK /* pgassay */").await?;
        self.session.left_open.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// What is being done, for errors.
    pub(crate) fn doing(&self) -> &'static str {
        self.doing
    }
}

/// A column of a row.
pub(crate) fn value<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    column: usize,
    doing: &str,
) -> Result<T, PostgresError> {
    row.try_get(column).map_err(|error| PostgresError::query(doing, &error))
}
