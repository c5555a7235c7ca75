//! Counts what reading takes of the source: statements, rows, bytes and time.

use crate::blueprint::Taken;
use pgassay_postgres::{PostgresError, Reading, Session};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};

/// A reading that is counted.
pub(super) struct Metered<'a> {
    session: &'a Session,
    reading: Reading<'a>,
    began: Instant,
    statements: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    table_rows: AtomicU64,
}

impl<'a> Metered<'a> {
    /// Begins a reading.
    pub(super) async fn begin(
        session: &'a Session,
        doing: &'static str,
    ) -> Result<Metered<'a>, PostgresError> {
        let began = Instant::now();
        let reading = session.read(doing).await?;
        Ok(Metered {
            session,
            reading,
            began,
            // BEGIN and ROLLBACK; the guards beside them change nothing on the server.
            statements: AtomicU64::new(2),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            table_rows: AtomicU64::new(0),
        })
    }

    /// As [`Reading::rows`].
    pub(super) async fn rows(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, PostgresError> {
        self.statements.fetch_add(1, Relaxed);
        Ok(self.counted(self.reading.rows(sql, parameters).await?))
    }

    /// As [`Reading::row`].
    pub(super) async fn row(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Option<Row>, PostgresError> {
        Ok(self.rows(sql, parameters).await?.into_iter().next())
    }

    /// As [`Reading::batch`].
    pub(super) async fn batch(&self, sql: &str) -> Result<(), PostgresError> {
        self.statements.fetch_add(1, Relaxed);
        self.reading.batch(sql).await
    }

    /// As [`Reading::attempt`].
    pub(super) async fn attempt(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Result<Vec<Row>, PostgresError>, PostgresError> {
        // With its savepoint's beginning and end.
        self.statements.fetch_add(3, Relaxed);
        Ok(self.reading.attempt(sql, parameters).await?.map(|rows| self.counted(rows)))
    }

    /// Rows of tables as text, by the simple protocol.
    pub(super) async fn table_rows(
        &self,
        sql: &str,
    ) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
        let messages = self.session.client().simple_query(sql).await?;
        let rows: Vec<Vec<Option<String>>> = messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect();
        // Two looks, within a savepoint.
        self.statements.fetch_add(4, Relaxed);
        self.rows.fetch_add(rows.len() as u64, Relaxed);
        self.table_rows.fetch_add(rows.len() as u64, Relaxed);
        let bytes = rows.iter().flatten().flatten().map(|value| value.len() as u64).sum();
        self.bytes.fetch_add(bytes, Relaxed);
        Ok(rows)
    }

    fn counted(&self, rows: Vec<Row>) -> Vec<Row> {
        self.rows.fetch_add(rows.len() as u64, Relaxed);
        self.bytes.fetch_add(rows.iter().map(|row| row.raw_size_bytes() as u64).sum(), Relaxed);
        rows
    }

    /// Ends the reading; what it took.
    pub(super) async fn end(self) -> Result<Taken, PostgresError> {
        self.reading.end().await?;
        Ok(Taken {
            statements: self.statements.into_inner(),
            rows: self.rows.into_inner(),
            bytes: self.bytes.into_inner(),
            milliseconds: self.began.elapsed().as_secs_f64() * 1000.0,
            table_rows: self.table_rows.into_inner(),
        })
    }
}
