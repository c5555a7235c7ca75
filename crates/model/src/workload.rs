//! The `workload` document: statements with weights and parameter values.

use crate::Timestamp;
use crate::index::RelationName;
use serde::{Deserialize, Serialize};

/// Schema name of a workload document.
pub const SCHEMA: &str = "pgassay/workload/1";

/// What an application asks of its database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// When it was captured or read.
    pub generated_at: Timestamp,
    /// Where it comes from: "pg_stat_statements 1.10", "directory …".
    pub source: String,
    /// What is asked, and how often.
    pub statements: Vec<WorkloadStatement>,
    /// What was left out, and why.
    #[serde(default)]
    pub skipped: Vec<SkippedStatement>,
    /// Transactions as the application runs them, of several statements in one session. Empty: every request is
    /// one of `statements`, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Script>,
    /// What was recorded, session by session, in the order of their starts. Empty where the source knows no order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<RecordedSession>,
}

/// A transaction script, as pgbench reads them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// The file's stem.
    pub id: String,
    /// How often it is run, relative to the others; above 0.
    pub weight: f64,
    /// Its text.
    pub text: String,
    /// Whether any of its statements changes data.
    pub writes: bool,
}

/// What one session asked, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedSession {
    /// As the source names it (`%c`, or the process id with the start of its session).
    pub id: String,
    /// Its requests.
    pub requests: Vec<RecordedRequest>,
}

/// One request of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// Start, microseconds since the first request of the whole recording.
    pub at_us: u64,
    /// Index into `statements`.
    pub statement: usize,
    /// Index into that statement's `parameters`; 0 where it has none.
    pub parameters: usize,
    /// How long it took, microseconds; None where the source does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// Number of the explicit transaction within the session, from 1; 0: none, the request commits by itself.
    #[serde(default)]
    pub transaction: u32,
    /// Whether its explicit transaction ended with ROLLBACK when recorded: by the application, by an error, or
    /// because the session ended within it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rolled_back: bool,
}

/// One statement of a workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadStatement {
    /// Stable name: the file's stem, or `q` and the fingerprint in hexadecimal.
    pub id: String,
    /// Text with `$n` for parameters.
    pub sql: String,
    /// How often it is asked, relative to the others; above 0.
    pub weight: f64,
    /// Whether it changes data (INSERT, UPDATE, DELETE, MERGE, a locking clause, a data-modifying CTE).
    pub writes: bool,
    /// Sets of parameter values in PostgreSQL's text form, None for NULL; one set is chosen per request.
    /// Empty: the statement has no parameters.
    #[serde(default)]
    pub parameters: Vec<Vec<Option<String>>>,
    /// Parameters whose values no row may hold yet, since a unique index is on their column: whoever drives the
    /// workload makes them anew for each request. Those in `parameters` show their form, and would serve once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fresh: Vec<FreshParameter>,
    /// Where the values come from: "given", "rows of public.users", "pg_stats", "log", or "none needed".
    #[serde(default)]
    pub parameter_source: String,
    /// pg_stat_statements' queryid, where known.
    #[serde(default)]
    pub queryid: Option<i64>,
    /// Why its values ask the server for something else than the application's do: "1 row per call, the application's
    /// have 5000". None: they don't, or it was not or could not be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_representative: Option<String>,
    /// Whether it is known to only read: by its text, and since nothing that it calls, on the server that was asked,
    /// could write. Asked anew for each load, so never stored.
    #[serde(skip)]
    pub reads_only: bool,
    /// The plan of its slowest execution that auto_explain logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<LoggedPlan>,
}

/// A parameter that takes a new value with each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreshParameter {
    /// `n` of `$n`.
    pub number: usize,
    /// How its values are made.
    #[serde(flatten)]
    pub kind: FreshKind,
}

/// How a new value is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FreshKind {
    /// Whole numbers one after the other, from `first` on and above the greatest that the column holds by then.
    Serial {
        /// The relation.
        relation: RelationName,
        /// Its column.
        column: String,
        /// The first that was free at the capture, away from where the column's own sequence goes on.
        first: i64,
    },
    /// The text of the set, its first 12 characters replaced by hexadecimal digits.
    Text,
    /// A UUID of version 4.
    Uuid,
    /// The bytes of the set (`\x…`), the first 8 replaced.
    Bytes,
}

/// A plan as auto_explain logged it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedPlan {
    /// How long the execution took, milliseconds.
    pub took_ms: f64,
    /// The plan, in the format of `auto_explain.log_format`, without the query's text.
    pub text: String,
}

/// A statement that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedStatement {
    /// Its text, normalised where it could be parsed.
    pub statement: String,
    /// Why.
    pub reason: String,
}
