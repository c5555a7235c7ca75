//! Throw-away PostgreSQL and PgBouncer for tests and the demo.
