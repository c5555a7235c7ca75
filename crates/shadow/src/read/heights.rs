//! Heights of B-trees and first pages of GIN indexes: what the planner reads of an index's own pages.
//!
//! No right is needed for a height: the planner charges a descent 50 × `cpu_operator_cost` for each level and the
//! leaf, plus ceil(log2 N) comparisons (`btcostestimate` in selfuncs.c), so with `cpu_operator_cost = 1` the
//! start-up cost of a scan divided by 50 is the height + 1 as long as N < 2^50.

use super::field;
use super::meter::Metered;
use crate::ShadowError;
use crate::blueprint::{Blueprint, Lacking};
use pgassay_sql::{quote_identifier, quote_qualified};
use tokio_postgres::types::Type;

/// `DEFAULT_PAGE_CPU_MULTIPLIER` of selfuncs.c.
const PER_LEVEL: f64 = 50.0;
/// Only the index asked for is left to the planner.
const ALONE: &str = "SET LOCAL cpu_operator_cost = 1; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; \
    SET LOCAL enable_bitmapscan = off; SET LOCAL enable_incremental_sort = off; SET LOCAL jit = off; \
    SET LOCAL max_parallel_workers_per_gather = 0 /* pgassay */";
const KEYS: &str = include_str!("../sql/btree_keys.130000.sql");
const PAGE_INSPECT: &str = "SELECT n.nspname::pg_catalog.text AS schema FROM pg_catalog.pg_extension e \
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pageinspect' /* pgassay */";
/// An index of fewer pages is its metapage and one leaf; of up to two, the leaf is the root.
const ROOT_IS_LEAF: u64 = 2;

/// Reads them into the blueprint; what can't be read is left None, and estimated when built.
pub(super) async fn read(
    reading: &Metered<'_>,
    blueprint: &mut Blueprint,
) -> Result<(), ShadowError> {
    heights(reading, blueprint).await?;
    first_pages(reading, blueprint).await
}

async fn heights(reading: &Metered<'_>, blueprint: &mut Blueprint) -> Result<(), ShadowError> {
    let keys = reading.rows(KEYS, &[]).await?;
    reading.batch("SAVEPOINT alone /* pgassay */").await?;
    reading.batch(ALONE).await?;
    for row in &keys {
        let (schema, index): (String, String) = (field(row, "schema")?, field(row, "index")?);
        let found =
            blueprint.sizes.iter_mut().find(|size| size.schema == schema && size.name == index);
        let Some(size) = found else { continue };
        if size.pages <= ROOT_IS_LEAF {
            size.height = Some(0);
            continue;
        }
        let relation: String = field(row, "relation")?;
        let order: Option<String> = field(row, "order_by")?;
        let predicate: Option<String> = field(row, "predicate")?;
        let Some(order) = order else { continue };
        let sql = format!(
            "EXPLAIN (FORMAT JSON) SELECT 1 FROM ONLY {}{} ORDER BY {order} LIMIT 1 /* pgassay */",
            quote_qualified(&schema, &relation),
            predicate.map(|text| format!(" WHERE {text}")).unwrap_or_default(),
        );
        let rows = match reading.attempt(&sql, &[]).await? {
            Ok(rows) => rows,
            Err(error) => {
                tracing::debug!(%error, index = %quote_identifier(&index), "its height is not known");
                continue;
            }
        };
        size.height = rows.first().and_then(|row| height(row, &index));
    }
    reading.batch("ROLLBACK TO SAVEPOINT alone /* pgassay */").await?;
    Ok(())
}

/// From the plan's scan of this index, where the planner took it.
fn height(row: &tokio_postgres::Row, index: &str) -> Option<u32> {
    let text: Text<'_> = row.try_get(0).ok()?;
    let document: serde_json::Value = serde_json::from_str(text.0).ok()?;
    let mut node = document.get(0)?.get("Plan")?;
    loop {
        if node.get("Index Name").and_then(|name| name.as_str()) == Some(index) {
            let startup = node.get("Startup Cost")?.as_f64()?;
            let levels = (startup / PER_LEVEL).floor();
            return (levels >= 1.0).then_some(levels as u32 - 1);
        }
        node = node.get("Plans")?.get(0)?;
    }
}

/// A GIN index's metapage holds its numbers of entries and pages. Through pageinspect as it is now, else from the
/// file, as it was written last; both take a superuser's rights.
async fn first_pages(reading: &Metered<'_>, blueprint: &mut Blueprint) -> Result<(), ShadowError> {
    let gin: Vec<usize> = (0..blueprint.sizes.len())
        .filter(|place| {
            blueprint
                .sizes
                .get(*place)
                .is_some_and(|size| size.kind == "i" && size.method.as_deref() == Some("gin"))
        })
        .collect();
    if gin.is_empty() {
        return Ok(());
    }
    let inspect = reading.row(PAGE_INSPECT, &[]).await?;
    let schema: Option<String> = inspect.as_ref().map(|row| field(row, "schema")).transpose()?;
    let by_file = "SELECT pg_catalog.encode(pg_catalog.pg_read_binary_file(pg_catalog.pg_relation_filepath($1::pg_catalog.regclass), 0, 8192), 'hex') AS page /* pgassay */".to_owned();
    let ways: Vec<String> = schema
        .map(|schema| {
            let function = quote_qualified(&schema, "get_raw_page");
            format!("SELECT pg_catalog.encode({function}($1::pg_catalog.text, 0), 'hex') AS page /* pgassay */")
        })
        .into_iter()
        .chain([by_file])
        .collect();
    let mut unread = Vec::new();
    for place in gin {
        let Some(size) = blueprint.sizes.get_mut(place) else { continue };
        let name = quote_qualified(&size.schema, &size.name);
        for sql in &ways {
            if let Ok(rows) = reading.attempt(sql, &[(&name, Type::TEXT)]).await?
                && let Some(row) = rows.first()
            {
                size.first_page = field(row, "page")?;
                break;
            }
        }
        if size.first_page.is_none() {
            unread.push(format!("{}.{}", size.schema, size.name));
        }
    }
    if !unread.is_empty() {
        let what = format!(
            "numbers of entries of the GIN indexes {}, for which the planner's default stands",
            unread.join(", ")
        );
        let why = "only a superuser may read an index's pages";
        blueprint.lacking.push(Lacking::general(what, why));
    }
    Ok(())
}

/// A `json` column's text.
struct Text<'a>(&'a str);

impl<'a> tokio_postgres::types::FromSql<'a> for Text<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Text(std::str::from_utf8(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSON
    }
}
