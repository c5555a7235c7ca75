//! Size of an index that does not exist, from the planner's estimates of rows, widths and groups.
//!
//! HypoPG's own sizes ignore B-tree deduplication (up to 4.5 times too large, by the measurement in the
//! design of the index advisor), so they are not used.

use super::explain::Explain;
use super::plan::rows_and_width;
use crate::PostgresError;
use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_sql::{quote_identifier, quote_qualified};

/// Usable bytes of an 8 kB B-tree page: less the page header (24) and the B-tree's special space (16);
/// `SizeOfPageHeaderData` and `BTPageOpaqueData` in the server's sources.
const PAGE: f64 = 8192.0 - 24.0 - 16.0;
/// B-tree's default fillfactor (manual, CREATE INDEX).
const BTREE_FILL: f64 = 0.90;
/// Hash's default fillfactor (manual, CREATE INDEX).
const HASH_FILL: f64 = 0.75;
/// Line pointer, and header of an index tuple.
const LINE_POINTER: f64 = 4.0;
const TUPLE_HEADER: f64 = 8.0;
/// A heap tuple's address.
const TID: f64 = 6.0;
/// Largest posting list that building an index makes: a tenth of a page (`_bt_load` in nbtsort.c).
const POSTING: f64 = 8192.0 / 10.0 - LINE_POINTER;
/// BRIN's default `pages_per_range`.
const PAGES_PER_RANGE: f64 = 128.0;

/// The size; None for access methods without a formula here.
pub async fn estimate(
    explain: &mut Explain,
    snapshot: &Snapshot,
    index: &IndexDefinition,
) -> Result<Option<Bytes>, PostgresError> {
    let keys: Vec<String> = index.keys.iter().filter_map(key_text).collect();
    if keys.len() != index.keys.len() {
        return Ok(None);
    }
    let include = index.include.iter().map(|name| quote_identifier(name));
    let all: Vec<String> = keys.iter().cloned().chain(include).collect();
    let from = format!(
        "FROM {}{}",
        quote_qualified(&index.relation.schema, &index.relation.name),
        index.predicate.as_ref().map(|text| format!(" WHERE {text}")).unwrap_or_default()
    );
    let plan = explain.own(&format!("SELECT {} {from}", all.join(", "))).await?;
    let Some((rows, width)) = rows_and_width(&plan) else { return Ok(None) };
    let pages = match index.method.as_str() {
        "btree" => {
            let groups = if deduplicates(snapshot, index) {
                let grouped = format!("SELECT {0} {from} GROUP BY {0}", keys.join(", "));
                // A type that can't be grouped has no statistics to go by either.
                explain.own(&grouped).await.ok().and_then(|plan| rows_and_width(&plan))
            } else {
                None
            };
            btree_pages(rows, width, groups.map(|(groups, _)| groups))
        }
        "hash" => hash_pages(rows),
        // A metapage, the range map, and for each range a minimum and a maximum of each key.
        "brin" => {
            let ranges = snapshot.relation(&index.relation).map_or(0, |known| known.pages) as f64
                / PAGES_PER_RANGE;
            2.0 + (ranges * (aligned(TUPLE_HEADER + 2.0 * width) + LINE_POINTER) / PAGE).ceil()
        }
        _ => return Ok(None),
    };
    Ok(Some(Bytes(pages.ceil().max(1.0) as u64 * 8192)))
}

/// Pages of a B-tree of `rows` entries of `width` bytes, `groups` of them distinct; None: not deduplicated.
fn btree_pages(rows: f64, width: f64, groups: Option<f64>) -> f64 {
    let plain = aligned(TUPLE_HEADER + width);
    let mut bytes = rows * (plain + LINE_POINTER);
    if let Some(groups) = groups.map(|groups| groups.clamp(1.0, rows.max(1.0))) {
        let repeated = rows / groups;
        let most = ((POSTING - plain) / TID).floor().max(1.0);
        if repeated > 1.0 {
            let lists = groups * (repeated / most).ceil();
            let listed = aligned(plain + TID * rows / lists);
            bytes = bytes.min(lists * (listed + LINE_POINTER));
        }
    }
    let leaves = (bytes / (PAGE * BTREE_FILL)).ceil().max(1.0);
    // Above the leaves a tuple for each page below, and the metapage.
    let fan_out = (PAGE / (plain + LINE_POINTER)).max(2.0);
    let mut pages = 1.0 + leaves;
    let mut level = leaves;
    while level > 1.0 {
        level = (level / fan_out).ceil();
        pages += level;
    }
    pages
}

/// Pages of a hash index: as many buckets as the fillfactor asks for, rounded up to a power of two, above
/// 1024 in quarters of the step to the next (`_hash_spareindex` in hashutil.c), a metapage and a bitmap page.
fn hash_pages(rows: f64) -> f64 {
    // An entry holds the 4 bytes of a hash value, whatever the key.
    let entry = TUPLE_HEADER + aligned(4.0) + LINE_POINTER;
    let buckets = (rows / (8192.0 * HASH_FILL / entry).floor()).ceil().max(2.0);
    let power = buckets.log2().ceil().exp2();
    let step = if power > 1024.0 { power / 8.0 } else { power / 2.0 };
    let below = power / 2.0;
    2.0 + below + ((buckets - below) / step).ceil() * step
}

/// MAXALIGN.
fn aligned(bytes: f64) -> f64 {
    (bytes / 8.0).ceil() * 8.0
}

fn key_text(key: &IndexKey) -> Option<String> {
    match (&key.column, &key.expression) {
        (Some(column), _) => Some(quote_identifier(column)),
        (None, Some(expression)) => Some(format!("({expression})")),
        (None, None) => None,
    }
}

/// Deduplication is off with INCLUDE columns and for types whose equal values may differ in their bytes
/// (manual, "B-Tree Indexes", "Deduplication": numeric, jsonb, float4, float8, container types; interval since
/// its fix of 2023).
fn deduplicates(snapshot: &Snapshot, index: &IndexDefinition) -> bool {
    let safe = |type_name: &str| {
        let base = type_name.split('(').next().unwrap_or(type_name);
        !matches!(base, "numeric" | "jsonb" | "real" | "double precision" | "interval")
            && !base.ends_with("[]")
            && !base.ends_with("range")
    };
    let relation = snapshot.relation(&index.relation);
    index.include.is_empty()
        && index.keys.iter().all(|key| match &key.column {
            Some(name) => relation
                .and_then(|relation| relation.column(name))
                .is_none_or(|column| safe(&column.type_name)),
            None => true,
        })
}
