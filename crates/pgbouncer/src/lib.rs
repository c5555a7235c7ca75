//! PgBouncer: console, statistics, lossless configuration files.
