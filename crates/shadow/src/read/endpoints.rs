//! Rows at both ends of B-trees: the planner looks up the real ends of an index where a value lies at the end of
//! the histogram (`get_actual_variable_range` in selfuncs.c), so a few real rows have to be in the shadow.

use super::field;
use crate::ShadowError;
use crate::blueprint::{Blueprint, EndpointRow, Lacking};
use pgassay_model::index::RelationName;
use pgassay_postgres::{Reading, Session};
use pgassay_sql::{quote_identifier, quote_qualified};
use std::collections::BTreeSet;
use tokio_postgres::SimpleQueryMessage;

const LEADING_KEYS: &str = include_str!("../sql/leading_keys.130000.sql");
/// An end is one descent of an index; what takes longer goes another way, and is given up.
const GUARDS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; \
    SET LOCAL statement_timeout = 1000 /* pgassay */";

/// Reads them into the blueprint, each row once.
pub(super) async fn read(
    session: &Session,
    reading: &Reading<'_>,
    blueprint: &mut Blueprint,
) -> Result<(), ShadowError> {
    let keys = reading.rows(LEADING_KEYS, &[]).await?;
    reading.batch(GUARDS).await?;
    let mut known: BTreeSet<(RelationName, Vec<Option<String>>)> = BTreeSet::new();
    for row in &keys {
        let relation = super::name(row)?;
        let (key, columns): (String, Vec<String>) = (field(row, "key")?, field(row, "columns")?);
        match ends(session, reading, &relation, &key, &columns).await? {
            Ok(rows) => {
                for values in rows {
                    if known.insert((relation.clone(), values.clone())) {
                        let columns = columns.clone();
                        blueprint.endpoints.push(EndpointRow {
                            relation: relation.clone(),
                            columns,
                            values,
                        });
                    }
                }
            }
            Err(why) => blueprint.lacking.push(Lacking {
                relation: None,
                what: format!("the ends of {key} on {relation}, for which its histogram stands"),
                why,
            }),
        }
    }
    Ok(())
}

/// The first and the last row by `key`, in text form, or why not.
async fn ends(
    session: &Session,
    reading: &Reading<'_>,
    relation: &RelationName,
    key: &str,
    columns: &[String],
) -> Result<Result<Vec<Vec<Option<String>>>, String>, ShadowError> {
    let list: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
    let end = |direction: &str| {
        format!(
            "SELECT {} FROM ONLY {} WHERE {key} IS NOT NULL ORDER BY {key} {direction} LIMIT 1 /* pgassay */",
            list.join(", "),
            quote_qualified(&relation.schema, &relation.name),
        )
    };
    // By the simple protocol, in which every type comes as text.
    let sql = format!("SAVEPOINT ends; {}; {}; RELEASE SAVEPOINT ends", end("ASC"), end("DESC"));
    match session.client().simple_query(&sql).await {
        Ok(messages) => Ok(Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect())),
        Err(error) => {
            reading
                .batch("ROLLBACK TO SAVEPOINT ends /* pgassay */; RELEASE SAVEPOINT ends /* pgassay */")
                .await?;
            Ok(Err(error.as_db_error().map_or_else(
                || error.to_string(),
                |refusal| format!("{} ({})", refusal.message(), refusal.code().code()),
            )))
        }
    }
}
