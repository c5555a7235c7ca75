//! DDL written from the catalogs, in the order in which it is best run: no client program is needed.

use super::meter::Metered;
use super::{field, newest};
use crate::ShadowError;
use crate::blueprint::{Definition, EnumLabel, Need};
use pgassay_model::index::RelationName;

const SCHEMAS: &str = include_str!("../sql/schemas.130000.sql");
const EXTENSIONS: &str = include_str!("../sql/extensions.130000.sql");
const COLLATIONS: &[(u32, &str)] = &[
    (130_000, include_str!("../sql/collations.130000.sql")),
    (150_000, include_str!("../sql/collations.150000.sql")),
    (170_000, include_str!("../sql/collations.170000.sql")),
];
const TYPES: &[(u32, &str)] = &[
    (130_000, include_str!("../sql/types.130000.sql")),
    (140_000, include_str!("../sql/types.140000.sql")),
];
const FUNCTIONS: &str = include_str!("../sql/functions.130000.sql");
const TABLES: &str = include_str!("../sql/tables.130000.sql");
const INDEXES: &str = include_str!("../sql/indexes.130000.sql");
const VIEWS: &str = include_str!("../sql/views.130000.sql");
const ENUMS: &str = include_str!("../sql/enums.130000.sql");

/// Schemas and enum types.
pub(super) async fn beginnings(reading: &Metered<'_>) -> Result<Vec<Definition>, ShadowError> {
    statements(reading, SCHEMAS).await
}

/// Everything else but views and rules.
pub(super) async fn definitions(
    reading: &Metered<'_>,
    version_num: u32,
) -> Result<Vec<Definition>, ShadowError> {
    let mut definitions = Vec::new();
    for sql in [
        EXTENSIONS,
        newest(version_num, COLLATIONS),
        newest(version_num, TYPES),
        FUNCTIONS,
        TABLES,
        INDEXES,
    ] {
        definitions.extend(statements(reading, sql).await?);
    }
    Ok(definitions)
}

/// Views and rules.
pub(super) async fn views(reading: &Metered<'_>) -> Result<Vec<Definition>, ShadowError> {
    statements(reading, VIEWS).await
}

/// Labels of enum types.
pub(super) async fn enums(reading: &Metered<'_>) -> Result<Vec<EnumLabel>, ShadowError> {
    let rows = reading.rows(ENUMS, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(EnumLabel {
                schema: field(row, "schema")?,
                name: field(row, "name")?,
                label: field(row, "label")?,
                oid: field(row, "oid")?,
            })
        })
        .collect()
}

async fn statements(reading: &Metered<'_>, sql: &str) -> Result<Vec<Definition>, ShadowError> {
    let rows = reading.rows(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            let schema: Option<String> = field(row, "schema")?;
            let name: Option<String> = field(row, "relation")?;
            // Of tables and indexes only.
            let need: Option<String> = row.try_get("need").unwrap_or(None);
            Ok(Definition {
                relation: schema.zip(name).map(|(schema, name)| RelationName { schema, name }),
                sql: field(row, "statement")?,
                need: match need.as_deref() {
                    Some("precision") => Need::Precision,
                    Some("nothing") => Need::Nothing,
                    _ => Need::Plans,
                },
            })
        })
        .collect()
}
