//! The `measurement` document: latency, where it goes (the ledger), and blocks by which two can be compared.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Schema name of a measurement document.
pub const SCHEMA: &str = "pgassay/measurement/1";

/// What a client felt while a workload was driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// When the measurement ended.
    pub generated_at: Timestamp,
    /// The server driven, as a DSN without its password.
    pub target: String,
    /// Requests answered, errors included.
    pub requests: u64,
    /// Requests answered by an error or not at all.
    pub errors: u64,
    /// Seconds measured, warm-up excluded.
    pub duration_s: f64,
    /// Requests per second without error.
    pub throughput: f64,
    /// How the load was driven.
    pub mode: Mode,
    /// Latency of requests without error, from the intended start.
    pub latency_ms: Latency,
    /// Mean per request, part by part.
    pub ledger_ms: Ledger,
    /// Where each part of the ledger comes from: part → "measured by …" or "estimated by …".
    #[serde(default)]
    pub ledger_sources: BTreeMap<String, String>,
    /// Latency by statement.
    pub statements: Vec<StatementMeasurement>,
    /// Latency by transaction script, where scripts were driven: then a request is a whole script, and
    /// `statements` tells of the statements within.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<StatementMeasurement>,
    /// Equal slices of time, the unit of every comparison.
    pub blocks: Vec<Block>,
    /// CPU of the server's processes per request; None where the server is on another host.
    pub server_cpu_ms_per_request: Option<f64>,
    /// The pool in this window; None where no PgBouncer console was given.
    #[serde(default)]
    pub pool: Option<PoolWindow>,
    /// How many times each index of the database was scanned in this window, by `schema.name`.
    #[serde(default)]
    pub index_scans: BTreeMap<String, u64>,
    /// What the reader must know: parts that could not be told apart, warm-up not steady, lag …
    pub notes: Vec<String>,
}

/// How a load was driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mode {
    /// Concurrent clients (closed loop), or the most that may be in flight (open loop).
    pub clients: Option<u32>,
    /// Intended requests per second (open loop); None in a closed loop.
    pub rate: Option<f64>,
    /// When connections are opened.
    pub connect: Connect,
    /// How statements are sent.
    #[serde(default)]
    pub protocol: Protocol,
    /// Recorded sessions replayed at this multiple of their own speed (an open loop, `clients` the most sessions
    /// at once); None where requests were drawn by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
}

/// How a load's statements are sent (manual, "Frontend/Backend Protocol").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// A Query message, with the values as literals.
    Simple,
    /// Unnamed statements: parsed and planned for every request.
    #[default]
    Extended,
    /// Named statements: parsed once on each connection.
    Prepared,
}

/// When the load's connections are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connect {
    /// Once per client.
    Reuse,
    /// Anew for every request.
    PerRequest,
}

/// A latency distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Mean milliseconds per request by part; None where a part could not be told apart.
///
/// The known parts sum to `total`, which is the mean latency.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Opening the socket.
    pub connect: Option<f64>,
    /// TLS handshake.
    pub tls: Option<f64>,
    /// From the start-up message to the first ReadyForQuery.
    pub auth: Option<f64>,
    /// Waiting for a free connection: of the client's own pool, and of PgBouncer's.
    pub pool_wait: Option<f64>,
    /// Parsing, rewriting and planning in the backend.
    pub parse_plan: Option<f64>,
    /// Executing in the backend.
    pub execute: Option<f64>,
    /// The rest: network, PgBouncer's and the client's own work, the kernel's scheduling.
    pub network: Option<f64>,
    /// Mean latency.
    pub total: f64,
}

impl Ledger {
    /// The parts in the order in which a request meets them.
    pub fn parts(&self) -> [(&'static str, Option<f64>); 7] {
        [
            ("connect", self.connect),
            ("tls", self.tls),
            ("auth", self.auth),
            ("pool_wait", self.pool_wait),
            ("parse_plan", self.parse_plan),
            ("execute", self.execute),
            ("network", self.network),
        ]
    }

    /// The share (0–1) of the total that the named parts take; unknown parts count as nothing.
    pub fn share(&self, names: &[&str]) -> f64 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let sum: f64 = self
            .parts()
            .iter()
            .filter(|(name, _)| names.contains(name))
            .filter_map(|(_, value)| *value)
            .sum();
        (sum / self.total).clamp(0.0, 1.0)
    }
}

/// Latency of one statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementMeasurement {
    /// Identity in the workload.
    pub id: String,
    /// Text with `$n` parameters.
    pub sql: String,
    /// Requests answered, errors included.
    pub requests: u64,
    /// Requests answered by an error.
    pub errors: u64,
    /// Latency of those without error.
    pub latency_ms: Latency,
    /// First error seen, without values: SQLSTATE and message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
    /// Why its values ask the server for something else than the application's do, from the workload; None: they
    /// don't, or it was not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_representative: Option<String>,
}

/// A slice of the measured time. Comparisons take the block as their unit, never the request:
/// requests of one moment are not independent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Seconds since the measurement began.
    pub start_s: f64,
    /// Length in seconds.
    pub duration_s: f64,
    /// Requests whose intended start lies in the block, errors included.
    pub requests: u64,
    /// Those answered by an error.
    pub errors: u64,
    /// Latency of those without error.
    pub latency_ms: Latency,
    /// CPU of the server's processes in the block, milliseconds per request.
    pub server_cpu_ms_per_request: Option<f64>,
    /// Mean latency (ms) and number of requests without error, by statement id.
    pub statements: BTreeMap<String, BlockStatement>,
}

/// One statement within one block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BlockStatement {
    /// Requests without error.
    pub requests: u64,
    /// Their mean latency in milliseconds.
    pub mean_ms: f64,
}

/// PgBouncer over one window, from deltas of its counters (SHOW STATS_TOTALS, SHOW POOLS).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PoolWindow {
    /// Length of the window in seconds.
    pub duration_s: f64,
    /// Δ total_xact_count.
    pub transactions: u64,
    /// Δ total_wait_time, milliseconds.
    pub wait_ms: f64,
    /// Δ total_xact_time, milliseconds; includes the wait.
    pub xact_ms: f64,
    /// Δ total_query_time, milliseconds; includes the wait.
    pub query_ms: f64,
    /// Most client connections waiting at any sample.
    pub max_waiting: u64,
    /// Most server connections open at any sample.
    pub max_servers: u64,
}

impl PoolWindow {
    /// 1 − wait share, clipped to 0–1; 1 when no transaction took time.
    pub fn efficiency(&self) -> f64 {
        if self.xact_ms <= 0.0 { 1.0 } else { (1.0 - self.wait_ms / self.xact_ms).clamp(0.0, 1.0) }
    }

    /// Mean number of server connections held (Little's law).
    pub fn busy_servers(&self) -> f64 {
        if self.duration_s <= 0.0 {
            0.0
        } else {
            ((self.xact_ms - self.wait_ms) / (self.duration_s * 1e3)).max(0.0)
        }
    }
}
