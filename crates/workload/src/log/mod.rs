//! Workloads from the server's log: streamed, in bounded memory.
//!
//! One file per format ([`stderr`], [`csvlog`], [`jsonlog`], [`syslog`]) behind one table ([`format`]); each gives
//! entries, of which [`collect`] makes counts, samples of values and a recording. The statement is looked at as
//! bytes only ([`lexer`]); the C parser sees each kind of statement once, at the end ([`build`]).

mod auto_explain;
mod build;
mod collect;
mod csvlog;
mod entry;
mod error;
mod format;
mod join;
mod jsonlog;
mod language;
mod lexer;
mod literal;
mod mask;
mod message;
mod normal;
mod parts;
mod prefix;
mod prepared;
mod read;
mod recording;
mod source;
mod stderr;
mod syslog;
mod table;
mod time;
mod values;

pub use error::LogError;
pub use join::join_statistics;
pub use mask::mask;
pub(crate) use mask::{LOG_MASKED, mask_constants};
pub use read::capture_logs;

use pgassay_model::interrupt::Interrupt;
use pgassay_model::workload::Workload;
use std::time::Duration;

/// How logs are read.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// `log_line_prefix` that the server had; for stderr and syslog.
    pub log_line_prefix: String,
    /// Statements of other databases are left out, where the log tells; None: all are taken.
    pub database: Option<String>,
    /// Whether values are known not to be cut (`log_parameter_max_length = -1`). Else a set with a value that ends
    /// in three dots is not used.
    pub parameters_whole: bool,
    /// Only so much of the log, counted back from its last entry.
    pub window: Option<Duration>,
    /// Values are replaced by others of the same form.
    pub mask: bool,
    /// How many statements: those with the most execution time (or calls, where no durations are logged).
    pub limit: usize,
    /// Seed of samples.
    pub seed: u64,
    /// Key of masks: who knows it finds short values by trying.
    pub mask_key: u64,
    /// Stops the reading.
    pub interrupt: Interrupt,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            // The server's own default.
            log_line_prefix: "%m [%p] ".into(),
            database: None,
            parameters_whole: false,
            window: None,
            mask: false,
            limit: 100,
            seed: 42,
            mask_key: rand::random(),
            interrupt: Interrupt::default(),
        }
    }
}

/// What logs gave.
#[derive(Debug, Clone, PartialEq)]
pub struct LogCapture {
    /// Statements with calls as weights, parameters as they were sent, and sessions as they ran.
    pub workload: Workload,
    /// Execution time of each statement, milliseconds, where durations are logged; as `workload.statements`.
    pub total_ms: Vec<f64>,
    /// What a reader should know of it.
    pub notes: Vec<String>,
}
