//! What runs on a server: cumulative counters of its statements and transactions, cheap enough to be read again
//! and again; and what they need to be readable.

use crate::counters::extension;
use crate::fields::{Fields, newest};
use crate::{PostgresError, Session};
use pgassay_model::snapshot::HostFacts;
use pgassay_sql::quote_identifier;
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::types::Type;

/// By the extension's version.
const ACTIVITY: &[((u32, u32), &str)] = &[
    ((1, 4), include_str!("sql/activity.1.4.sql")),
    ((1, 8), include_str!("sql/activity.1.8.sql")),
    ((1, 9), include_str!("sql/activity.1.9.sql")),
    ((1, 11), include_str!("sql/activity.1.11.sql")),
];
const TRANSACTIONS: &[((u32, u32), &str)] = &[
    ((1, 4), include_str!("sql/transactions.1.4.sql")),
    ((1, 9), include_str!("sql/transactions.1.9.sql")),
];
const TEXTS: &str = include_str!("sql/statement_texts.1.4.sql");
const SEES_ALL: &str = "
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r
                WHERE (r.rolname = 'pg_read_all_stats' AND pg_catalog.pg_has_role(r.oid, 'USAGE'))
                   OR (r.rolname = CURRENT_USER AND r.rolsuper)) AS sees_all,
       CURRENT_USER::pg_catalog.text AS role,
       coalesce(pg_catalog.current_setting('pg_stat_statements.track', true), '') AS track,
       coalesce(pg_catalog.current_setting('pg_stat_statements.track_planning', true), '') = 'on' AS with_planning
/* pgassay */";

/// Counters of one statement since it was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StatementCounters {
    /// `calls`.
    pub calls: u64,
    /// `total_exec_time` + `total_plan_time`, milliseconds.
    pub time_ms: f64,
    /// `rows`.
    pub rows: u64,
    /// `shared_blks_hit` + `shared_blks_read`.
    pub blocks: u64,
    /// `wal_bytes`; 0 before version 1.8 of the extension.
    pub wal_bytes: u64,
    /// `stats_since`, seconds since 1970; None before version 1.11.
    pub since: Option<f64>,
}

/// Counters of a database at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Activity {
    /// By `userid` and `queryid`: statements of this database, top level where the extension tells (1.9).
    pub statements: HashMap<(u32, i64), StatementCounters>,
    /// `pg_stat_statements_info.dealloc`; None before version 1.9.
    pub evictions: Option<u64>,
    /// `pg_stat_statements_info.stats_reset`, seconds since 1970; None before version 1.9.
    pub reset_at: Option<f64>,
    /// `pg_stat_database.xact_commit`.
    pub commits: u64,
    /// `xact_rollback`.
    pub rollbacks: u64,
    /// `deadlocks`.
    pub deadlocks: u64,
}

/// Reads [`Activity`] of one session's database.
#[derive(Debug, Clone)]
pub struct ActivityReader {
    activity: String,
    transactions: String,
    texts: String,
    /// `pg_stat_statements.track_planning`.
    pub with_planning: bool,
    /// `pg_stat_statements.track`.
    pub track: String,
}

impl ActivityReader {
    /// Finds the extension, and refuses where other roles' statements can't be seen.
    pub async fn open(session: &Session) -> Result<Self, PostgresError> {
        let reading = session.read("looking for pg_stat_statements").await?;
        let doing = reading.doing();
        let found = extension(&reading, "pg_stat_statements").await?;
        let missing = || PostgresError::MissingExtension {
            doing: doing.to_owned(),
            extension: "pg_stat_statements".to_owned(),
        };
        let (schema, version) = found.ok_or_else(missing)?;
        let (Some(activity), Some(transactions)) =
            (newest(version, ACTIVITY), newest(version, TRANSACTIONS))
        else {
            return Err(missing());
        };
        let row = reading.row(SEES_ALL, &[]).await?.ok_or_else(missing)?;
        let fields = Fields::new(&row, doing);
        if !fields.get::<bool>("sees_all")? {
            let role = quote_identifier(&fields.get::<String>("role")?);
            return Err(PostgresError::MissingPrivilege {
                doing: "watching the application's statements".to_owned(),
                message: format!(
                    "this role does not see other roles' statements; GRANT pg_read_all_stats TO {role}"
                ),
                sqlstate: "42501".to_owned(),
            });
        }
        let placed = |sql: &str| sql.replace("{schema}", &quote_identifier(&schema));
        let reader = ActivityReader {
            activity: placed(activity),
            transactions: placed(transactions),
            texts: placed(TEXTS),
            with_planning: fields.get("with_planning")?,
            track: fields.get("track")?,
        };
        reading.end().await?;
        Ok(reader)
    }

    /// The counters now: one read-only transaction with two queries.
    pub async fn read(&self, session: &Session) -> Result<Activity, PostgresError> {
        let reading = session.read("reading pg_stat_statements").await?;
        let doing = reading.doing();
        let rows = reading.rows(&self.activity, &[]).await?;
        let transactions = reading.row(&self.transactions, &[]).await?;
        reading.end().await?;
        let mut activity = Activity::default();
        for row in &rows {
            let fields = Fields::new(row, doing);
            let user = u32::try_from(fields.get::<i64>("userid")?).unwrap_or(0);
            let counters = StatementCounters {
                calls: fields.count("calls")?,
                time_ms: fields.get("time_ms")?,
                rows: fields.count("rows")?,
                blocks: fields.count("blocks")?,
                wal_bytes: fields.count("wal_bytes")?,
                since: fields.get("since")?,
            };
            activity.statements.insert((user, fields.get("queryid")?), counters);
        }
        if let Some(row) = &transactions {
            let fields = Fields::new(row, doing);
            activity.evictions = fields.maybe_count("evictions")?;
            activity.reset_at = fields.get("reset_at")?;
            activity.commits = fields.count("commits")?;
            activity.rollbacks = fields.count("rollbacks")?;
            activity.deadlocks = fields.count("deadlocks")?;
        }
        Ok(activity)
    }

    /// The texts of statements, by `queryid`. The server reads its file of texts for it, so only for those that
    /// are not known yet.
    pub async fn texts(
        &self,
        session: &Session,
        queryids: &[i64],
    ) -> Result<BTreeMap<i64, String>, PostgresError> {
        let reading = session.read("reading texts of statements").await?;
        let rows = reading.rows(&self.texts, &[(&queryids, Type::INT8_ARRAY)]).await?;
        let doing = reading.doing();
        reading.end().await?;
        rows.iter()
            .map(|row| {
                let fields = Fields::new(row, doing);
                let text: Option<String> = fields.get("query")?;
                Ok((fields.get("queryid")?, text.unwrap_or_default()))
            })
            .collect()
    }
}

/// Share (0–1) of the memory of the server's host that is in use: 1 − MemAvailable ÷ MemTotal. None where the
/// host is not this one (`host`: facts of the server's host, seen from here), or a control group limits the
/// server to less, whose use is not read.
pub fn memory_used(host: Option<&HostFacts>) -> Option<f64> {
    let host = host?;
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let value = |name: &str| crate::host::meminfo_value(&meminfo, name);
    let (total, available) = (value("MemTotal")?, value("MemAvailable")?);
    (total > 0 && host.memory.0 >= total).then(|| 1.0 - available as f64 / total as f64)
}
