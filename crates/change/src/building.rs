//! Long statements of index changes: lock time-outs with retries, cancelling on interrupt.

use crate::catalog::{self, column};
use crate::error::ChangeError;
use crate::options::ExecutorOptions;
use pgassay_model::connection::ConnectionSettings;
use pgassay_postgres::{Session, SessionOptions};
use pgassay_sql::quote_qualified;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// How often a running statement looks at the interrupt flag.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the statements of one change.
pub(crate) struct Building<'a> {
    pub client: &'a Client,
    pub settings: &'a ConnectionSettings,
    pub options: &'a ExecutorOptions<'a>,
    /// Undoing is not given up half-way.
    pub interruptible: bool,
}

impl Building<'_> {
    fn interrupted(&self) -> bool {
        self.interruptible && self.options.interrupt.requested()
    }

    /// Runs CREATE INDEX CONCURRENTLY, dropping the INVALID leftover of an attempt that ran into the lock
    /// time-out before the next. Returns notes.
    pub(crate) async fn build(
        &self,
        doing: &str,
        sql: &str,
        schema: &str,
        name: &str,
    ) -> Result<Vec<String>, ChangeError> {
        let mut attempt = 1;
        loop {
            match self.attempt(doing, sql, attempt).await {
                Ok(()) => return Ok(attempts_note(attempt)),
                Err(error) if lock_trouble(&error) && attempt < self.options.attempts => {
                    self.drop_leftover(schema, name).await?;
                    self.wait(attempt).await?;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs REINDEX CONCURRENTLY; what an attempt that ran into the lock time-out has left (`leftovers`) is dropped
    /// before the next. Returns notes.
    pub(crate) async fn rebuild<F>(
        &self,
        doing: &str,
        sql: &str,
        schema: &str,
        leftovers: impl Fn() -> F,
    ) -> Result<Vec<String>, ChangeError>
    where
        F: Future<Output = Result<Vec<String>, ChangeError>>,
    {
        let mut attempt = 1;
        loop {
            match self.attempt(doing, sql, attempt).await {
                Ok(()) => return Ok(attempts_note(attempt)),
                Err(error) if lock_trouble(&error) && attempt < self.options.attempts => {
                    for left in leftovers().await? {
                        self.drop_index(schema, &left).await?;
                    }
                    self.wait(attempt).await?;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs what leaves nothing behind where it fails, again while locks are held. Returns notes.
    pub(crate) async fn run_again(
        &self,
        doing: &str,
        sql: &str,
    ) -> Result<Vec<String>, ChangeError> {
        self.rebuild(doing, sql, "", || std::future::ready(Ok(Vec::new()))).await
    }

    /// Drops an INVALID index that an attempt has left; a valid one of that name is not of ours.
    pub(crate) async fn drop_leftover(&self, schema: &str, name: &str) -> Result<(), ChangeError> {
        match catalog::index(self.client, schema, name).await? {
            Some(found) if found.kind == "i" && !found.valid => self.drop_index(schema, name).await,
            _ => Ok(()),
        }
    }

    /// DROP INDEX CONCURRENTLY IF EXISTS, tried again while locks are held.
    pub(crate) async fn drop_index(&self, schema: &str, name: &str) -> Result<(), ChangeError> {
        let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {}", quote_qualified(schema, name));
        let doing = format!("dropping index {schema}.{name}");
        let mut attempt = 1;
        loop {
            match self.attempt(&doing, &sql, attempt).await {
                Err(error) if lock_trouble(&error) && attempt < self.options.attempts => {
                    self.wait(attempt).await?;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn wait(&self, attempt: u32) -> Result<(), ChangeError> {
        if let Some(progress) = self.options.progress {
            progress(&format!("locks are held by others; attempt {} comes next", attempt + 1));
        }
        let until = Instant::now() + self.options.backoff * factor(attempt);
        while Instant::now() < until {
            if self.interrupted() {
                return Err(ChangeError::Interrupt);
            }
            tokio::time::sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    /// Runs one statement with the lock time-out of a first attempt and without a statement time-out; cancelled on interrupt.
    pub(crate) async fn run(&self, doing: &str, sql: &str) -> Result<(), ChangeError> {
        self.attempt(doing, sql, 1).await
    }

    async fn attempt(&self, doing: &str, sql: &str, attempt: u32) -> Result<(), ChangeError> {
        if self.interrupted() {
            return Err(ChangeError::Interrupt);
        }
        let timeouts = catalog::row(
            self.client,
            "setting time-outs",
            "SELECT pg_catalog.current_setting('lock_timeout') AS lock,
                    pg_catalog.current_setting('statement_timeout') AS statement",
            &[],
        )
        .await?;
        let (lock, statement): (String, String) = match &timeouts {
            Some(row) => (column(row, "lock")?, column(row, "statement")?),
            None => ("0".into(), "0".into()),
        };
        let ms = (self.options.lock_timeout * factor(attempt)).as_millis().to_string();
        self.set_timeouts(&ms, "0").await?;
        let result = self.run_until_interrupted(sql).await;
        if !self.client.is_closed() {
            self.set_timeouts(&lock, &statement).await?;
        }
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = ChangeError::query(doing, &error);
                // 57014 is query_canceled: by us, if we were asked to stop.
                if self.interrupted() && error.sqlstate() == Some("57014") {
                    return Err(ChangeError::Interrupt);
                }
                Err(error)
            }
        }
    }

    async fn set_timeouts(&self, lock: &str, statement: &str) -> Result<(), ChangeError> {
        catalog::row(
            self.client,
            "setting time-outs",
            "SELECT pg_catalog.set_config('lock_timeout', $1, false),
                    pg_catalog.set_config('statement_timeout', $2, false)",
            &[&lock, &statement],
        )
        .await
        .map(|_| ())
    }

    async fn run_until_interrupted(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        let pid = self.own_pid().await;
        let sql = catalog::marked(sql);
        let work = self.client.batch_execute(&sql);
        tokio::pin!(work);
        let mut cancelled = false;
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep(LOOK) => {
                    if self.interrupted() && !cancelled {
                        cancelled = true;
                        self.cancel(pid).await;
                    }
                }
            }
        }
    }

    async fn own_pid(&self) -> Option<i32> {
        self.client
            .query_one(&catalog::marked("SELECT pg_catalog.pg_backend_pid()"), &[])
            .await
            .ok()
            .and_then(|row| row.try_get(0).ok())
    }

    /// Cancels from a second session, which honours the TLS settings as the first does.
    async fn cancel(&self, pid: Option<i32>) {
        let Some(pid) = pid else { return };
        match Session::connect(self.settings, SessionOptions::default()).await {
            Ok(session) => {
                let sql = catalog::marked("SELECT pg_catalog.pg_cancel_backend($1)");
                if let Err(error) = session.client().query(&sql, &[&pid]).await {
                    tracing::warn!(%error, pid, "the running statement could not be cancelled");
                }
            }
            Err(error) => tracing::warn!(%error, pid, "no connection to cancel the statement with"),
        }
    }
}

fn attempts_note(attempts: u32) -> Vec<String> {
    let note = || format!("took {attempts} attempts, since locks were held");
    (attempts > 1).then(note).into_iter().collect()
}

/// Waits double with each attempt, up to 32 times the first.
fn factor(attempt: u32) -> u32 {
    1 << attempt.saturating_sub(1).min(5)
}

/// `lock_not_available` and `deadlock_detected`: worth another attempt.
fn lock_trouble(error: &ChangeError) -> bool {
    matches!(error.sqlstate(), Some("55P03" | "40P01"))
}
