//! The planner's statistics: `pg_statistic` where it may be read, else what `pg_stats` shows.

use super::meter::Metered;
use super::{field, newest};
use crate::ShadowError;
use crate::blueprint::{Blueprint, ColumnStatistics, ExtendedStatistics, Figures, Lacking, Slot};
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
    let sql = if rights.columns { STATISTICS } else { newest(version_num, SHOWN) };
    for row in &reading.rows(sql, &[]).await? {
        blueprint.statistics.push(column(row)?);
    }
    if !rights.columns {
        for row in &reading.rows(UNREADABLE, &[]).await? {
            blueprint.lacking.push(Lacking {
                relation: Some(super::name(row)?),
                what: field(row, "what")?,
                why: "this role may not read it; GRANT pg_read_all_data TO the role".into(),
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
            let why =
                "this role may not read pg_statistic_ext_data; GRANT pg_read_all_data TO the role";
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
