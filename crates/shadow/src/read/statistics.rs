//! The planner's statistics: `pg_statistic` where it may be read, else what `pg_stats` shows.

use super::meter::Metered;
use super::{field, newest};
use crate::ShadowError;
use crate::blueprint::{Blueprint, ColumnStatistics, ExtendedStatistics, Figures, Lacking, Slot};
use pgassay_sql::quote_qualified;
use tokio_postgres::Row;

const STATISTICS: &str = include_str!("../sql/statistics.130000.sql");
const SHOWN: &[(u32, &str)] = &[
    (130_000, include_str!("../sql/shown_statistics.130000.sql")),
    (170_000, include_str!("../sql/shown_statistics.170000.sql")),
];
const UNREADABLE: &str = include_str!("../sql/unreadable.130000.sql");
const EXTENDED: &[(u32, &str)] = &[
    (130_000, include_str!("../sql/extended.130000.sql")),
    (140_000, include_str!("../sql/extended.140000.sql")),
    (150_000, include_str!("../sql/extended.150000.sql")),
];
const ROLE: &str = "SELECT pg_catalog.quote_ident(current_user) AS role /* pgassay */";
const WITHOUT_DATA: &str = include_str!("../sql/extended_relations.130000.sql");

/// What this role may read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    /// `pg_statistic`.
    pub columns: bool,
    /// `pg_statistic_ext_data`.
    pub extended: bool,
}

/// Reads them into the blueprint, and what is not readable as lacking.
pub(super) async fn read(
    reading: &Metered<'_>,
    version_num: u32,
    rights: Rights,
    blueprint: &mut Blueprint,
) -> Result<(), ShadowError> {
    let role = match rights {
        Rights { columns: true, extended: true } => String::new(),
        _ => match reading.row(ROLE, &[]).await? {
            Some(row) => field(&row, "role")?,
            None => "the role".to_owned(),
        },
    };
    let sql = if rights.columns { STATISTICS } else { newest(version_num, SHOWN) };
    for row in &reading.rows(sql, &[]).await? {
        blueprint.statistics.push(column(row)?);
    }
    if !rights.columns {
        for row in &reading.rows(UNREADABLE, &[]).await? {
            let relation = super::name(row)?;
            let grant = if field(row, "selectable")? {
                format!("SELECT ON {} TO {role}", quote_qualified(&relation.schema, &relation.name))
            } else {
                format!("SELECT ON pg_catalog.pg_statistic TO {role}")
            };
            blueprint.lacking.push(Lacking {
                relation: Some(relation),
                what: field(row, "what")?,
                why: format!("this role may not read it; GRANT {grant}"),
                grave: field(row, "grave")?,
            });
        }
    }
    if rights.extended {
        for row in &reading.rows(newest(version_num, EXTENDED), &[]).await? {
            blueprint.extended.push(extended(row)?);
        }
    } else {
        for row in &reading.rows(WITHOUT_DATA, &[]).await? {
            let why = format!(
                "this role may not read them; GRANT SELECT ON pg_catalog.pg_statistic_ext_data TO {role}"
            );
            let what = "its extended statistics";
            blueprint.lacking.push(Lacking::slight(super::name(row)?, what, why));
        }
    }
    Ok(())
}

fn column(row: &Row) -> Result<ColumnStatistics, ShadowError> {
    Ok(ColumnStatistics {
        schema: field(row, "schema")?,
        relation: field(row, "relation")?,
        column: field(row, "column")?,
        number: field(row, "number")?,
        inherited: field(row, "inherited")?,
        figures: Figures {
            null_fraction: field(row, "null_fraction")?,
            width: field(row, "width")?,
            distinct: field(row, "distinct")?,
            slots: document::<Vec<Slot>>(field(row, "slots")?)?.unwrap_or_default(),
        },
    })
}

fn extended(row: &Row) -> Result<ExtendedStatistics, ShadowError> {
    Ok(ExtendedStatistics {
        schema: field(row, "schema")?,
        relation: field(row, "relation")?,
        name: field(row, "name")?,
        inherited: field(row, "inherited")?,
        ndistinct: field(row, "ndistinct")?,
        dependencies: field(row, "dependencies")?,
        mcv: field(row, "mcv")?,
        expressions: document(field(row, "expressions")?)?,
    })
}

fn document<T: serde::de::DeserializeOwned>(
    text: Option<String>,
) -> Result<Option<T>, ShadowError> {
    text.map(|text| {
        serde_json::from_str(&text).map_err(|error| super::unexpected(error.to_string()))
    })
    .transpose()
}
