//! The `workload` document: statements with weights and parameter values.

use crate::Timestamp;
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
}

/// One statement of a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Where the values come from: "given", "rows of public.users", "pg_stats", "log", or "none needed".
    #[serde(default)]
    pub parameter_source: String,
    /// pg_stat_statements' queryid, where known.
    #[serde(default)]
    pub queryid: Option<i64>,
}

/// A statement that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedStatement {
    /// Its text, normalised where it could be parsed.
    pub statement: String,
    /// Why.
    pub reason: String,
}
