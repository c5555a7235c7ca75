//! Functions of the application that an index can be computed by.

use crate::fields::Fields;
use crate::{PostgresError, Reading};
use std::collections::BTreeSet;

const IMMUTABLE: &str = include_str!("sql/immutable_functions.130000.sql");

/// Names of functions outside of `pg_catalog` all of whose overloads are immutable, quoted where SQL needs it.
pub(crate) async fn read_immutable_functions(
    reading: &Reading<'_>,
) -> Result<BTreeSet<String>, PostgresError> {
    let rows = reading.rows(IMMUTABLE, &[]).await?;
    rows.iter().map(|row| Fields::new(row, reading.doing()).get("name")).collect()
}
