//! Drives a workload and measures where the time goes: load, latency histograms, the ledger. Never judges.
//!
//! The client is our own and blocking, so that every step of a request (opening the socket, TLS, log-in,
//! waiting, the answer) can be timed by itself: one thread per client where requests have times, a few with
//! several clients each in a closed loop. Statements go by default as unnamed statements of the extended
//! protocol (Parse, Bind, Execute, Sync in one write), which behaves the same on a direct connection and
//! through PgBouncer of any version and pool mode.

mod answer;
mod arrivals;
mod client;
mod connection;
mod drive;
mod encode;
mod error;
mod fresh;
mod gate;
pub mod ledger;
mod login;
mod notes;
mod options;
mod prepared;
pub mod probe;
mod processes;
mod read_only;
mod redact;
mod replay;
mod reporter;
mod requests;
mod scripted;
#[cfg(target_os = "linux")]
mod seats;
mod tally;
mod wire;

pub use drive::{Driven, drive};
pub use error::LoadError;
pub use ledger::{ClientParts, ServerParts};
pub use options::{LoadMode, LoadOptions, Writes};
pub use pgassay_model::measurement::Protocol;
pub use replay::{recorded_duration, sessions_at_once};
