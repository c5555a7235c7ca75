//! Throw-away PostgreSQL and PgBouncer: found on this machine, started on loopback, removed when dropped.
//!
//! For tests and for `pgassay demo`. Everything here blocks; call it from a thread that may.

mod account;
mod error;
mod locate;
mod pgbouncer;
mod postgres;
mod shared;

pub use account::give_to_server;
pub use error::TestkitError;
pub use locate::{
    Installation, POSTGRES_BIN_VARIABLE, find_pgbouncer, find_postgres, find_postgres_major,
};
pub use pgbouncer::{PgBouncer, PgBouncerOptions};
pub use postgres::{Postgres, PostgresOptions};
pub use shared::{fresh_database, shared};
