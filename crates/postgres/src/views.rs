//! Views with their queries, so that advice can look through them.

use crate::fields::Fields;
use crate::{PostgresError, Reading};
use pgassay_model::index::RelationName;
use pgassay_model::relation::View;

const VIEWS: &str = include_str!("sql/views.130000.sql");
/// So that every relation is named with its schema.
const QUALIFIED: &str =
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog', true) /* pgassay */";

/// Views of the relations' schemas; for the rest of the transaction `search_path` is `pg_catalog`. Without them
/// statements on views get no advice, which fails nothing else.
pub(crate) async fn read_views(reading: &Reading<'_>) -> Result<Vec<View>, PostgresError> {
    reading.rows(QUALIFIED, &[]).await?;
    let rows = match reading.attempt(VIEWS, &[]).await? {
        Ok(rows) => rows,
        Err(error) => {
            tracing::info!(%error, "views are not looked through");
            return Ok(Vec::new());
        }
    };
    let doing = reading.doing();
    rows.iter()
        .map(|row| {
            let fields = Fields::new(row, doing);
            Ok(View {
                name: RelationName { schema: fields.get("schema")?, name: fields.get("name")? },
                definition: fields.get("definition")?,
            })
        })
        .collect()
}
