//! PgBouncer as its console and its files show it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What was observed of a PgBouncer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PoolerSnapshot {
    /// SHOW VERSION, e.g. `1.18.0`.
    pub version: String,
    /// SHOW CONFIG by key.
    pub config: BTreeMap<String, PoolerSetting>,
    /// SHOW POOLS.
    pub pools: Vec<Pool>,
    /// SHOW DATABASES, PgBouncer's own left out.
    pub databases: Vec<PoolerDatabase>,
    /// Secrets of the userlist by user; None where the file cannot be read.
    pub userlist: Option<BTreeMap<String, SecretKind>>,
    /// Configuration file, where one was given and matches what is running.
    pub ini: Option<PathBuf>,
    /// Why the configuration file can't be edited, where it can't.
    pub ini_problem: Option<String>,
    /// Process id, where PgBouncer runs on this host.
    pub pid: Option<u32>,
    /// Open-files soft limit of the process (`/proc/PID/limits`).
    pub open_files_limit: Option<u64>,
    /// `net.core.somaxconn` of this host, where PgBouncer runs on it.
    pub somaxconn: Option<u64>,
    /// Log-ins to PgBouncer that were refused or timed out; None where unknown.
    pub refused: Option<u64>,
}

impl PoolerSnapshot {
    /// A setting's value as a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.config.get(key)?.value.parse().ok()
    }

    /// A setting's text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(|setting| setting.value.as_str())
    }
}

/// One row of SHOW CONFIG.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolerSetting {
    /// `value`.
    pub value: String,
    /// `default`; None before 1.13.
    pub default: Option<String>,
    /// `changeable`: false means only a restart of PgBouncer brings a change into force.
    pub changeable: bool,
}

/// One row of SHOW POOLS.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pool {
    /// `database`.
    pub database: String,
    /// `user`.
    pub user: String,
    /// `cl_active`.
    pub clients_active: u64,
    /// `cl_waiting`.
    pub clients_waiting: u64,
    /// `sv_active`.
    pub servers_active: u64,
    /// `sv_idle`.
    pub servers_idle: u64,
    /// `sv_used` + `sv_tested` + `sv_login`.
    pub servers_other: u64,
    /// `maxwait` + `maxwait_us`, seconds.
    pub max_wait_s: f64,
    /// `pool_mode`.
    pub mode: String,
}

/// One row of SHOW DATABASES.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolerDatabase {
    /// `name`.
    pub name: String,
    /// `host`; empty for a Unix socket.
    pub host: String,
    /// `port`.
    pub port: u16,
    /// `database` on the server.
    pub database: String,
    /// `pool_size` in force.
    pub pool_size: u64,
}

/// How a password is kept in the userlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// Plain text: SCRAM keys are derived from it at log-in.
    Plain,
    /// `md5…`.
    Md5,
    /// `SCRAM-SHA-256$…`.
    Scram,
    /// Empty.
    Empty,
}

/// Counters of SHOW STATS_TOTALS summed over databases, PgBouncer's own left out; times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolerTotals {
    /// `total_xact_count` / `xact_count`.
    pub transactions: u64,
    /// `query_count`.
    pub queries: u64,
    /// `xact_time`, µs, including the wait for a server.
    pub xact_us: u64,
    /// `query_time`, µs, including the wait for a server.
    pub query_us: u64,
    /// `wait_time`, µs.
    pub wait_us: u64,
}
