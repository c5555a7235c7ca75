//! Everything observed of a target at one moment; advice needs nothing else, so it works offline.

use crate::Timestamp;
use crate::index::RelationName;
use crate::parameter::Parameter;
use crate::pooler::PoolerSnapshot;
use crate::relation::{Relation, View};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A target as observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The server.
    pub server: Server,
    /// `pg_settings` by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// User relations.
    pub relations: Vec<Relation>,
    /// Views of the same schemas.
    #[serde(default)]
    pub views: Vec<View>,
    /// Functions outside of `pg_catalog` that depend on their arguments alone, as SQL writes their names: with their
    /// schema, and without it where `search_path` finds them.
    #[serde(default)]
    pub immutable_functions: BTreeSet<String>,
    /// pg_stat_statements of this database; None where it isn't readable.
    pub statements: Option<Vec<StatementStatistics>>,
    /// Counters of the database and the server.
    pub counters: Counters,
    /// The host, where the server runs on this one.
    pub host: Option<HostFacts>,
    /// PgBouncer, where its console was given.
    pub pooler: Option<PoolerSnapshot>,
    /// What could not be seen, and what would make it visible.
    pub unseen: Vec<Unseen>,
}

impl Snapshot {
    /// The relation of that name.
    pub fn relation(&self, name: &RelationName) -> Option<&Relation> {
        // The names tell relations apart sooner than the schemas, which are few.
        let same = |known: &RelationName| known.name == name.name && known.schema == name.schema;
        self.relations.iter().find(|relation| same(&relation.name))
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.get(name)
    }
}

/// The server and what this session may do on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Server {
    /// `server_version_num`, e.g. 150018.
    pub version_num: u32,
    /// `server_version`, e.g. "15.18 (Debian …)".
    pub version: String,
    /// `pg_control_system().system_identifier`; None where not readable.
    pub system_identifier: Option<i64>,
    /// `current_database()`.
    pub database: String,
    /// `current_user`.
    pub user: String,
    /// `rolsuper`.
    pub superuser: bool,
    /// Member of `pg_monitor` (or superuser).
    pub monitor: bool,
    /// Member of `pg_read_all_data` (or superuser).
    pub read_all_data: bool,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// Extensions installed in this database, with their versions.
    pub extensions: BTreeMap<String, String>,
    /// Extensions that could be created, by name.
    pub available_extensions: BTreeSet<String>,
    /// `data_directory`; None where not readable.
    pub data_directory: Option<String>,
    /// `pg_database_size`.
    pub database_size: Bytes,
    /// Default collation is C or POSIX.
    pub c_collation: bool,
    /// Physical standbys: those connected (`pg_stat_replication`), and slots of others; None: not known. What is fed
    /// from an archive alone can't be seen.
    #[serde(default)]
    pub standbys: Option<u64>,
}

/// One statement of pg_stat_statements; times in milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StatementStatistics {
    /// `queryid`.
    pub queryid: i64,
    /// `query`, normalised by the server.
    pub query: String,
    /// `calls`.
    pub calls: u64,
    /// `total_exec_time`.
    pub total_exec_ms: f64,
    /// `total_plan_time`; 0 unless `track_planning`.
    pub total_plan_ms: f64,
    /// `rows`.
    pub rows: u64,
    /// `shared_blks_hit`.
    pub shared_hit: u64,
    /// `shared_blks_read`.
    pub shared_read: u64,
    /// `temp_blks_written`.
    pub temp_written: u64,
    /// `wal_bytes`.
    pub wal_bytes: u64,
}

/// Counters; deltas of two of these are rates. None where the version or the privileges don't show one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// `pg_stat_database.stats_reset`.
    pub stats_reset: Option<Timestamp>,
    /// `pg_stat_database.xact_commit`.
    pub commits: u64,
    /// `xact_rollback`.
    pub rollbacks: u64,
    /// `blks_hit`.
    pub blocks_hit: u64,
    /// `blks_read`.
    pub blocks_read: u64,
    /// `blk_read_time`, ms; 0 unless `track_io_timing`.
    pub block_read_ms: f64,
    /// `temp_bytes`.
    pub temp_bytes: u64,
    /// `deadlocks`.
    pub deadlocks: u64,
    /// `sessions` (14+).
    pub sessions: Option<u64>,
    /// Timed checkpoints: `checkpoints_timed`, from 17 `num_timed`.
    pub checkpoints_timed: Option<u64>,
    /// Requested checkpoints: `checkpoints_req`, from 17 `num_requested`.
    pub checkpoints_requested: Option<u64>,
    /// `pg_stat_wal.wal_bytes` (14+).
    pub wal_bytes: Option<u64>,
    /// `pg_stat_wal.wal_fpi` (14+).
    pub wal_full_page_images: Option<u64>,
    /// `pg_stat_wal.wal_buffers_full` (14+).
    pub wal_buffers_full: Option<u64>,
    /// Client backends, active.
    pub backends_active: u64,
    /// Client backends in all.
    pub backends: u64,
    /// Client backends idle in transaction.
    pub backends_idle_in_transaction: u64,
    /// Backends waiting for a lock.
    pub backends_blocked: u64,
}

/// The host that runs the server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// Physical memory, or the control group's limit where smaller.
    pub memory: Bytes,
    /// MemAvailable.
    pub available: Bytes,
    /// Page cache (Cached + Buffers).
    pub page_cache: Bytes,
    /// Cores this process may use.
    pub cores: u32,
    /// Whether the data directory's disk spins; None where unknown.
    pub rotational: Option<bool>,
    /// Process id of the postmaster.
    pub postmaster_pid: Option<u32>,
    /// Bytes free where the data directory lies.
    pub disk_free: Option<Bytes>,
}

/// Something that could not be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
    /// The GRANT, setting or flag that would show it.
    pub remedy: String,
}
