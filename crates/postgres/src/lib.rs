//! PostgreSQL observed: connection settings, guarded sessions, collectors of catalog and statistics, and
//! what-if engines. Never changes a target.

mod activity;
mod connect;
mod counters;
pub mod dsn;
mod error;
mod fields;
mod functions;
mod host;
mod leaves;
mod parameters;
mod relations;
mod session;
mod snapshot;
pub mod tls;
mod unseen;
mod views;
pub mod what_if;

pub use activity::{Activity, ActivityReader, StatementCounters, memory_used};
pub use connect::client;
pub use counters::{counters, index_scans, statement_statistics};
pub use error::PostgresError;
pub use leaves::{Leaves, Uncounted, index_leaves};
pub use session::{Reading, Session, SessionOptions};
pub use snapshot::snapshot;
pub use what_if::what_if;
