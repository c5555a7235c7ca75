//! Rows at both ends of B-trees: the planner looks up the real ends of an index where a value lies at the end of
//! the histogram (`get_actual_variable_range` in selfuncs.c), so a few real rows have to be in the shadow.
//!
//! Such a look is a scan of the index, which the source counts (`pg_stat_user_indexes.idx_scan`, also when the
//! transaction is rolled back): one of an index that nobody scans would keep it from being found unused. So the
//! looks are not counted where the role may say so, and else taken only where another one changes nothing.

use super::field;
use super::meter::Metered;
use crate::ShadowError;
use crate::blueprint::{Blueprint, EndpointRow, Lacking};
use pgassay_model::index::RelationName;
use pgassay_sql::{quote_identifier, quote_qualified};
use std::collections::BTreeSet;

const LEADING_KEYS: &str = include_str!("../sql/leading_keys.130000.sql");
/// An end is one descent of an index; what takes longer goes another way, and is given up.
const GUARDS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; \
    SET LOCAL statement_timeout = 1000 /* pgassay */";
/// Names of columns that a sentence holds.
const NAMED: usize = 5;

/// Reads them into the blueprint, each row once; `uncounted`: scans are not counted in this reading.
pub(super) async fn read(
    reading: &Metered<'_>,
    uncounted: bool,
    blueprint: &mut Blueprint,
) -> Result<(), ShadowError> {
    let keys = reading.rows(LEADING_KEYS, &[]).await?;
    reading.batch(GUARDS).await?;
    let mut known: BTreeSet<(RelationName, Vec<Option<String>>)> = BTreeSet::new();
    let mut left_alone = BTreeSet::new();
    for row in &keys {
        let relation = super::name(row)?;
        let (key, columns): (String, Vec<String>) = (field(row, "key")?, field(row, "columns")?);
        if !uncounted && !field::<bool>(row, "harmless")? {
            left_alone.insert(format!("{relation} ({key})"));
            continue;
        }
        match ends(reading, &relation, &key, &columns).await? {
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
            Err(why) => blueprint.lacking.push(Lacking::general(
                format!("the ends of {key} on {relation}, for which its histogram stands"),
                why,
            )),
        }
    }
    if !left_alone.is_empty() {
        let mut names: Vec<String> = left_alone.iter().take(NAMED).cloned().collect();
        if left_alone.len() > NAMED {
            names.push(format!("{} more", left_alone.len() - NAMED));
        }
        blueprint.lacking.push(Lacking::general(
            format!("the ends of {}, for which histograms stand", names.join(", ")),
            "their indexes were never scanned, and a look would count as a scan; from 15 on GRANT SET ON PARAMETER track_counts TO the role lets it look uncounted",
        ));
    }
    Ok(())
}

/// The first and the last row by `key`, in text form, or why not.
async fn ends(
    reading: &Metered<'_>,
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
    match reading.table_rows(&sql).await {
        Ok(rows) => Ok(Ok(rows)),
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
