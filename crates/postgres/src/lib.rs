//! PostgreSQL observed: connection settings, guarded sessions, collectors of catalog and statistics, and
//! what-if engines. Never changes a target.

mod connect;
pub mod dsn;
mod error;
mod session;
pub mod tls;

pub use error::PostgresError;
pub use session::{Reading, Session, SessionOptions};
