//! PostgreSQL performance optimizer that proves what it changes.
fn main() {}
