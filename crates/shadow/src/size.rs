//! Pages and rows of an index that does not exist. B-tree, hash and BRIN as for the other engines; GIN and GiST by
//! rules of thumb, good to about a factor of two (0.7 to 1.3 on what the tests build), where PostgreSQL has no estimate of what a value is cut into.

use crate::pages::PAGE;
use pgassay_model::index::IndexDefinition;
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::PostgresError;
use pgassay_postgres::what_if::Explain;
use pgassay_sql::{quote_identifier, quote_qualified};

/// Usable bytes of a page.
const USABLE: f64 = PAGE as f64 - 40.0;
/// How full pages of a GIN index are that was built at once.
const GIN_FILL: f64 = 0.9;
/// How full pages of a GiST index over ranges are, filled row by row: 0.45 to 0.55 measured on 15 to 18.
const GIST_FILL: f64 = 0.5;
/// Bytes of a row pointer in a posting list, which holds the differences of neighbouring rows (ginpostinglist.c).
const POSTING: f64 = 1.5;
/// Bytes of text, JSON or lexemes that make one key of a GIN index: about a word.
const BYTES_PER_KEY: f64 = 10.0;

/// Pages and rows; None for access methods without a formula.
pub(crate) async fn estimate(
    explain: &mut Explain,
    snapshot: &Snapshot,
    index: &IndexDefinition,
) -> Result<Option<(u64, f64)>, PostgresError> {
    let keys: Vec<String> = index
        .keys
        .iter()
        .filter_map(|key| match (&key.column, &key.expression) {
            (Some(column), _) => Some(quote_identifier(column)),
            (None, Some(expression)) => Some(format!("({expression})")),
            (None, None) => None,
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM {}{}",
        keys.join(", "),
        quote_qualified(&index.relation.schema, &index.relation.name),
        index.predicate.as_ref().map(|text| format!(" WHERE {text}")).unwrap_or_default()
    );
    let plan = explain.own(&sql).await?;
    let figure = |name: &str| plan.get(name).and_then(serde_json::Value::as_f64);
    let (Some(rows), Some(width)) = (figure("Plan Rows"), figure("Plan Width")) else {
        return Ok(None);
    };
    let pages = match index.method.as_str() {
        "gin" => gin_pages(rows, width, index),
        "gist" | "spgist" => {
            // A tuple's header and line pointer; the key in a header of its own; nothing of a key that is NULL.
            let key = (width + 8.0) * (1.0 - null_share(snapshot, index));
            let entry = 12.0 + (key / 8.0).ceil() * 8.0;
            1.0 + (rows * entry / (USABLE * GIST_FILL)).ceil()
        }
        _ => {
            let bytes = pgassay_postgres::what_if::estimate(explain, snapshot, index).await?;
            return Ok(bytes.map(|bytes| (bytes.0.div_ceil(PAGE as u64).max(1), rows)));
        }
    };
    Ok(Some((pages as u64, rows)))
}

fn gin_pages(rows: f64, width: f64, index: &IndexDefinition) -> f64 {
    let trigrams = index
        .keys
        .iter()
        .any(|key| key.opclass.as_deref().is_some_and(|name| name.ends_with("gin_trgm_ops")));
    // pg_trgm pads each word: about as many trigrams as letters.
    let keys_per_row = if trigrams { width } else { (width / BYTES_PER_KEY).max(1.0) };
    // The metapage and an entry page, and pages full of keys with their lists.
    2.0 + (rows * keys_per_row * POSTING / (USABLE * GIN_FILL)).ceil()
}

/// Share of rows whose only key is NULL; 0 where it is not known.
fn null_share(snapshot: &Snapshot, index: &IndexDefinition) -> f64 {
    let [key] = index.keys.as_slice() else { return 0.0 };
    snapshot
        .relation(&index.relation)
        .and_then(|relation| relation.column(key.column.as_deref()?))
        .and_then(|column| column.statistics.as_ref())
        .map_or(0.0, |statistics| statistics.null_fraction)
}
