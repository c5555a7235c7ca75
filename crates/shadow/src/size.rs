//! Pages and rows of an index that does not exist. B-tree, hash and BRIN as for the other engines; GIN and GiST by
//! rules of thumb, good to about a factor of two, where PostgreSQL has no estimate of what a value is cut into.

use crate::pages::PAGE;
use pgassay_model::index::IndexDefinition;
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::PostgresError;
use pgassay_postgres::what_if::Explain;
use pgassay_sql::{quote_identifier, quote_qualified};

/// Usable bytes of a page.
const USABLE: f64 = PAGE as f64 - 40.0;
/// How full pages are after splits at random places (ln 2; Yao, "On random 2-3 trees", 1978).
const SPLIT_FILL: f64 = 0.69;
/// Bytes of a row pointer in a compressed posting list: mostly the difference of neighbouring pages in one or two
/// bytes (ginpostinglist.c).
const POSTING: f64 = 2.0;
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
            // A tuple's header and line pointer, and the key as a box or range of the value.
            let entry = 12.0 + (width / 8.0).ceil() * 8.0;
            1.0 + (rows * entry / (USABLE * SPLIT_FILL)).ceil()
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
    // The metapage, and pages that are about half full of keys and their lists.
    2.0 + (rows * keys_per_row * POSTING / (USABLE * SPLIT_FILL)).ceil()
}
