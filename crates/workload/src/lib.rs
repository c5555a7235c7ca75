//! Workloads: captured from pg_stat_statements and logs, read from files, their parameters filled with values the
//! database holds. Never drives a load, and never writes to a server.
//!
//! Values, in order of worth: given in the workload; a joint sample of rows, which keeps the correlation of
//! a relation's columns; the planner's statistics (design "verification", capture and replay). A statement
//! whose values can't be had from these is listed as skipped: none is made up, except the row counts of
//! LIMIT, the length of lists and values for unique columns of new rows, and these are named in
//! `parameter_source`.

mod assemble;
mod bounds;
mod capture;
mod directory;
mod error;
mod file;
mod fill;
mod fresh;
mod hidden_writes;
mod known_reads;
mod log;
mod masked;
pub mod pgbench;
mod plan;
mod probe;
mod representative;
mod sample;
mod sample_query;
mod scripts;
mod statistics;

pub use capture::{CaptureOptions, capture_statements};
pub use error::WorkloadError;
pub use file::{read, write};
pub use fill::fill_parameters;
pub use hidden_writes::find_hidden_writes;
pub use log::{LogCapture, LogError, LogOptions, capture_logs, join_statistics, mask};
pub use masked::mask_workload;
pub use representative::{CheckOptions, Checked, check_values};
