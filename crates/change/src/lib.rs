//! One file per kind of change; executor, journal, recovery.
//!
//! The only crate that writes to a target. Nothing here runs without a journal entry that was durable
//! before the server was touched, and nothing here decides what to change: that is the plan's.

mod analyze;
mod building;
mod catalog;
mod create_index;
mod create_statistics;
mod drop_index;
pub mod error;
mod executor;
pub mod journal;
mod lock;
mod log_in;
mod options;
mod pooler_file;
pub mod recovery;
mod reindex;
mod rollback;
mod set_parameter;
mod set_pooler;
pub mod snapshot;

pub use error::ChangeError;
pub use executor::{Applied, Executor};
pub use journal::{ChangeRecord, Journal, JournalError, JournalState, RunRecord};
pub use options::{ExecutorOptions, Fault, FaultPoint, PoolerAccess};
pub use recovery::{Recovered, Standing};
