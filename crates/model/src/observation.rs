//! The `observation` document: what the application itself ran on a server, bucket by bucket, as
//! pg_stat_statements tells it. Nothing was driven for it.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Schema name of an observation document.
pub const SCHEMA: &str = "pgassay/observation/1";

/// A window of time, cut into buckets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// When the window began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// DSN of the server without its password.
    pub target: String,
    /// Length asked for of a bucket, seconds.
    pub bucket_s: f64,
    /// The statements of this database that ran, by key (see [`statement_key`]). pgassay's own are left out, and
    /// statements within functions, where the extension tells them apart (1.9).
    pub statements: BTreeMap<String, ObservedStatement>,
    /// The buckets, in order of time. Those in which the counters were reset are not among them.
    pub buckets: Vec<Bucket>,
    /// Buckets left out because pg_stat_statements was reset within them.
    pub resets: u32,
    /// Δ `pg_stat_statements_info.dealloc`: times that entries were evicted, since `pg_stat_statements.max` was
    /// reached; None before version 1.9 of the extension.
    pub evictions: Option<u64>,
    /// `pg_stat_statements.track_planning`: whether times include planning.
    pub with_planning: bool,
}

/// A statement as the server tells it from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedStatement {
    /// `userid`: the same text of two roles may meet other relations, and is two statements.
    pub user: u32,
    /// `queryid`.
    pub queryid: i64,
    /// Identity as in a captured workload, `q` and the text's fingerprint; where the text can't be parsed, the
    /// queryid.
    pub id: String,
    /// The text as the server normalised it; of utility statements, whose constants stay in it, the first word.
    pub sql: String,
}

/// The key of a statement within an [`Observation`]: `userid/queryid`. `dbid` is that of the database observed.
pub fn statement_key(user: u32, queryid: i64) -> String {
    format!("{user}/{queryid}")
}

/// A slice of time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Bucket {
    /// Seconds since the window began.
    pub start_s: f64,
    /// Length in seconds.
    pub duration_s: f64,
    /// What each statement did in it, by key; statements without calls are left out.
    pub statements: BTreeMap<String, StatementActivity>,
    /// Statements beyond the largest of the bucket, together; they count for the time in all.
    pub others: StatementActivity,
    /// Δ `pg_stat_database.xact_commit`.
    pub commits: u64,
    /// Δ `xact_rollback`.
    pub rollbacks: u64,
    /// Δ `deadlocks`.
    pub deadlocks: u64,
    /// Share (0–1) of the host's memory that is not available; None where the server is on another host or in a
    /// control group with a limit of its own.
    #[serde(default)]
    pub memory_used: Option<f64>,
}

impl Bucket {
    /// Server time in the bucket over all statements, milliseconds.
    pub fn total_ms(&self) -> f64 {
        self.others.time_ms
            + self.statements.values().map(|statement| statement.time_ms).sum::<f64>()
    }

    /// Calls in the bucket over all statements.
    pub fn calls(&self) -> u64 {
        self.others.calls + self.statements.values().map(|statement| statement.calls).sum::<u64>()
    }

    /// Share (0–1) of the transactions that were rolled back; None where none ended.
    pub fn rollback_share(&self) -> Option<f64> {
        let ended = self.commits + self.rollbacks;
        (ended > 0).then(|| self.rollbacks as f64 / ended as f64)
    }
}

/// What a statement did within a bucket: deltas of its counters.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StatementActivity {
    /// Δ `calls`.
    pub calls: u64,
    /// Δ `total_exec_time` + Δ `total_plan_time`, milliseconds; planning counts where `track_planning` is on.
    pub time_ms: f64,
    /// Δ `rows`.
    pub rows: u64,
    /// Δ `shared_blks_hit` + Δ `shared_blks_read`.
    pub blocks: u64,
    /// Δ `wal_bytes`; 0 before version 1.8 of the extension.
    pub wal_bytes: u64,
}

impl StatementActivity {
    /// Mean server time of a call in milliseconds; None without calls.
    pub fn mean_ms(&self) -> Option<f64> {
        self.per_call(self.time_ms)
    }

    /// Rows per call; None without calls.
    pub fn rows_per_call(&self) -> Option<f64> {
        self.per_call(self.rows as f64)
    }

    /// Shared blocks touched per call; None without calls.
    pub fn blocks_per_call(&self) -> Option<f64> {
        self.per_call(self.blocks as f64)
    }

    fn per_call(&self, sum: f64) -> Option<f64> {
        (self.calls > 0).then(|| sum / self.calls as f64)
    }

    /// Adds another's figures.
    pub fn add(&mut self, other: &StatementActivity) {
        self.calls += other.calls;
        self.time_ms += other.time_ms;
        self.rows += other.rows;
        self.blocks += other.blocks;
        self.wal_bytes += other.wal_bytes;
    }
}

impl Observation {
    /// Each statement over the whole window.
    pub fn totals(&self) -> BTreeMap<&str, StatementActivity> {
        let mut totals: BTreeMap<&str, StatementActivity> = BTreeMap::new();
        for bucket in &self.buckets {
            for (key, activity) in &bucket.statements {
                totals.entry(key).or_default().add(activity);
            }
        }
        totals
    }

    /// Server time over all statements and buckets, milliseconds.
    pub fn total_ms(&self) -> f64 {
        self.buckets.iter().map(Bucket::total_ms).sum()
    }

    /// Calls over all statements and buckets.
    pub fn calls(&self) -> u64 {
        self.buckets.iter().map(Bucket::calls).sum()
    }

    /// Seconds that its buckets cover.
    pub fn covered_s(&self) -> f64 {
        self.buckets.iter().map(|bucket| bucket.duration_s).sum()
    }

    /// Every statement's text by its id, for documents that name statements.
    pub fn texts(&self) -> BTreeMap<&str, &str> {
        self.statements.values().map(|one| (one.id.as_str(), one.sql.as_str())).collect()
    }
}
