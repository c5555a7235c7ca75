//! Pages of a GiST index (manual, section "GiST Implementation").

use super::{BLOCK, LINE_POINTER, TUPLE_HEADER, aligned};
use crate::index::IndexDefinition;
use crate::relation::{Column, Relation};

/// Usable bytes of a page: less its header and GiST's special space (gist.h).
const PAGE: f64 = BLOCK - 24.0 - 16.0;
/// How full pages are: filled row by row 0.45 to 0.6, measured on 15 with ranges, addresses and btree_gist; 0.7 to 0.85 on 18,
/// which sorts these too.
const FILL: f64 = 0.55;
/// The same of an index that is sorted when it is built (manual, "GiST Indexes", sortsupport): points from 14 on; 0.66
/// measured on 15, where a few pages at a time are split by likeness.
const SORTED_FILL: f64 = 0.67;

/// Pages of an index of `rows` rows.
pub(super) fn pages(
    relation: &Relation,
    index: &IndexDefinition,
    rows: f64,
    width_of: &dyn Fn(&str) -> f64,
) -> f64 {
    let columns: Vec<Option<&Column>> =
        index.keys.iter().map(|key| relation.column(key.column.as_deref()?)).collect();
    let mut bytes = 0.0;
    let mut all_null = 1.0;
    for (key, column) in index.keys.iter().zip(&columns) {
        let statistics = column.and_then(|column| column.statistics.as_ref());
        let width = match (statistics, &key.expression) {
            (Some(known), _) => f64::from(known.average_width),
            (None, Some(text)) => width_of(text),
            (None, None) => 16.0,
        };
        let nulls = statistics.map_or(0.0, |known| known.null_fraction);
        all_null *= nulls;
        bytes += (1.0 - nulls) * key_bytes(column.map_or("", |column| &column.type_name), width);
    }
    // Nothing but a bitmap of a row whose keys are all NULL.
    let entry = LINE_POINTER
        + all_null * aligned(TUPLE_HEADER + 4.0)
        + (1.0 - all_null)
            * aligned(TUPLE_HEADER + bytes / (1.0 - all_null).max(f64::MIN_POSITIVE));
    let sorted = columns
        .iter()
        .all(|column| column.is_some_and(|column| base(&column.type_name) == "point"));
    let fill = if sorted { SORTED_FILL } else { FILL };
    let leaves = (rows * entry / (PAGE * fill)).ceil().max(1.0);
    let fan_out = (PAGE * fill / entry).max(2.0);
    let (mut pages, mut level) = (leaves, leaves);
    while level > 1.0 {
        level = (level / fan_out).ceil();
        pages += level;
    }
    pages
}

/// Bytes of a key on a leaf: a range or a box as it is, a point as a box, a plain value of btree_gist as two bounds.
fn key_bytes(type_name: &str, width: f64) -> f64 {
    let base = base(type_name);
    if base.ends_with("range") || matches!(base, "box" | "") {
        width
    } else if base == "point" {
        32.0
    } else if matches!(base, "polygon" | "circle") {
        // Their bounding box (`gist_poly_compress`, `gist_circle_compress`).
        32.0
    } else if matches!(base, "inet" | "cidr") {
        // `GistInetKey`: three bytes of header beside the address.
        width
    } else {
        2.0 * width
    }
}

fn base(type_name: &str) -> &str {
    type_name.split('(').next().unwrap_or(type_name).trim()
}
