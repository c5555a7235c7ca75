//! Counters of database and server, of statements, and of indexes.

use crate::fields::{Fields, newest};
use crate::{PostgresError, Reading, Session};
use pgassay_model::snapshot::{Counters, StatementStatistics};
use pgassay_sql::quote_identifier;
use std::collections::BTreeMap;
use tokio_postgres::types::Type;

const DATABASE: &[(u32, &str)] = &[
    (130_000, include_str!("sql/counters.130000.sql")),
    (140_000, include_str!("sql/counters.140000.sql")),
];
const CHECKPOINTS: &[(u32, &str)] = &[
    (130_000, include_str!("sql/checkpoints.130000.sql")),
    (170_000, include_str!("sql/checkpoints.170000.sql")),
];
const WAL: &[(u32, &str)] = &[(140_000, include_str!("sql/wal.140000.sql"))];
/// By the extension's version, which ALTER EXTENSION … UPDATE may have left behind the server's.
const STATEMENTS: &[((u32, u32), &str)] = &[
    ((1, 4), include_str!("sql/statements.1.4.sql")),
    ((1, 8), include_str!("sql/statements.1.8.sql")),
    ((1, 9), include_str!("sql/statements.1.9.sql")),
];
const EXTENSION: &str = include_str!("sql/extension.130000.sql");
const INDEX_SCANS: &str = include_str!("sql/index_scans.130000.sql");

/// Counters of this database and of the server.
///
/// From 15 on, backends report at most once a second, and when they end; before, through the statistics
/// collector, up to half a second later. So a delta around a load misses at most the last second of
/// backends that stay connected, as a pooler's do.
pub async fn counters(session: &Session) -> Result<Counters, PostgresError> {
    let reading = session.read("reading counters").await?;
    let counters = read_counters(&reading, session.version_num()).await?;
    reading.end().await?;
    Ok(counters)
}

pub(crate) async fn read_counters(
    reading: &Reading<'_>,
    version: u32,
) -> Result<Counters, PostgresError> {
    let mut counters = Counters::default();
    if let Some(row) = first(reading, newest(version, DATABASE)).await? {
        let fields = Fields::new(&row, reading.doing());
        counters = Counters {
            stats_reset: fields.time("stats_reset")?,
            commits: fields.count("commits")?,
            rollbacks: fields.count("rollbacks")?,
            blocks_hit: fields.count("blocks_hit")?,
            blocks_read: fields.count("blocks_read")?,
            block_read_ms: fields.get("block_read_ms")?,
            temp_bytes: fields.count("temp_bytes")?,
            deadlocks: fields.count("deadlocks")?,
            sessions: fields.maybe_count("sessions")?,
            backends_active: fields.count("active")?,
            backends: fields.count("backends")?,
            backends_idle_in_transaction: fields.count("idle_in_transaction")?,
            backends_blocked: fields.count("blocked")?,
            ..counters
        };
    }
    if let Some(row) = first(reading, newest(version, CHECKPOINTS)).await? {
        let fields = Fields::new(&row, reading.doing());
        counters.checkpoints_timed = fields.maybe_count("timed")?;
        counters.checkpoints_requested = fields.maybe_count("requested")?;
    }
    if let Some(row) = first(reading, newest(version, WAL)).await? {
        let fields = Fields::new(&row, reading.doing());
        counters.wal_bytes = fields.maybe_count("bytes")?;
        counters.wal_full_page_images = fields.maybe_count("full_page_images")?;
        counters.wal_buffers_full = fields.maybe_count("buffers_full")?;
    }
    Ok(counters)
}

async fn first(
    reading: &Reading<'_>,
    sql: Option<&str>,
) -> Result<Option<tokio_postgres::Row>, PostgresError> {
    match sql {
        Some(sql) => reading.row(sql, &[]).await,
        None => Ok(None),
    }
}

/// pg_stat_statements of this database, our own statements left out; None where the extension is not
/// installed, not loaded or not readable. Current up to the last statement that ended.
pub async fn statement_statistics(
    session: &Session,
) -> Result<Option<Vec<StatementStatistics>>, PostgresError> {
    let reading = session.read("reading pg_stat_statements").await?;
    let statements = read_statements(&reading).await?;
    reading.end().await?;
    Ok(statements.ok())
}

/// The statements, or in words why there are none.
pub(crate) async fn read_statements(
    reading: &Reading<'_>,
) -> Result<Result<Vec<StatementStatistics>, String>, PostgresError> {
    let Some((schema, version)) = extension(reading, "pg_stat_statements").await? else {
        return Ok(Err("the extension is not installed in this database".into()));
    };
    let Some(sql) = newest(version, STATEMENTS) else {
        return Ok(Err("the extension is older than 1.4: ALTER EXTENSION … UPDATE".into()));
    };
    let sql = sql.replace("{schema}", &quote_identifier(&schema));
    let rows = match reading.rows_in_any_encoding(&sql).await {
        Ok(rows) => rows,
        Err(
            PostgresError::Query { message, sqlstate: Some(_), .. }
            | PostgresError::MissingPrivilege { message, .. },
        ) => {
            return Ok(Err(message));
        }
        Err(error) => return Err(error),
    };
    let statements = rows.iter().map(|row| statement(Fields::new(row, reading.doing())));
    Ok(Ok(statements.collect::<Result<_, _>>()?))
}

fn statement(fields: Fields<'_>) -> Result<StatementStatistics, PostgresError> {
    Ok(StatementStatistics {
        queryid: fields.get("queryid")?,
        query: fields.any_text("query")?.unwrap_or_default(),
        calls: fields.count("calls")?,
        total_exec_ms: fields.get("total_exec_ms")?,
        total_plan_ms: fields.get("total_plan_ms")?,
        rows: fields.count("rows")?,
        shared_hit: fields.count("shared_hit")?,
        shared_read: fields.count("shared_read")?,
        temp_written: fields.count("temp_written")?,
        wal_bytes: fields.count("wal_bytes")?,
    })
}

/// Schema and version (major, minor) of an extension of this database.
pub(crate) async fn extension(
    reading: &Reading<'_>,
    name: &str,
) -> Result<Option<(String, (u32, u32))>, PostgresError> {
    let Some(row) = reading.row(EXTENSION, &[(&name, Type::TEXT)]).await? else {
        return Ok(None);
    };
    let fields = Fields::new(&row, reading.doing());
    Ok(Some((fields.get("schema")?, version(&fields.get::<String>("version")?))))
}

/// `1.10` and `1.4.1` as numbers, so that 1.10 comes after 1.9.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// `idx_scan` of user indexes by `schema.index`. See [`counters`] for how late backends report; a backend
/// that ends reports at once, so after a load on direct connections nothing is missing once they are gone.
pub async fn index_scans(session: &Session) -> Result<BTreeMap<String, u64>, PostgresError> {
    let reading = session.read("reading scans of indexes").await?;
    let rows = reading.rows(INDEX_SCANS, &[]).await?;
    let scans = rows
        .iter()
        .map(|row| {
            let fields = Fields::new(row, reading.doing());
            Ok((fields.get("name")?, fields.count("scans")?))
        })
        .collect::<Result<_, PostgresError>>()?;
    reading.end().await?;
    Ok(scans)
}
