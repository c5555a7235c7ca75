//! Sizes of indexes that do not exist, from statistics: formulas on values, without a server.
//!
//! HypoPG's own sizes ignore B-tree deduplication (up to 4.5 times too large, measured), and the planner takes
//! the columns of a key as dependent when it counts groups (a tenth of the rows at most, `estimate_num_groups`
//! in selfuncs.c), which makes an index of nearly unique keys look far too small. Here columns are taken as
//! independent: of columns that depend on each other too large a size is estimated, never too small a one.

mod btree;
mod census;
mod gin;
mod gist;
mod keys;
mod parts;

pub use gin::keys_a_row;

use crate::index::IndexDefinition;
use crate::relation::{Column, Relation};

/// Bytes of a page, PostgreSQL's default block size.
pub const BLOCK: f64 = 8192.0;
/// Usable bytes of an 8 kB B-tree page: less the page header (24) and the B-tree's special space (16);
/// `SizeOfPageHeaderData` and `BTPageOpaqueData` in the server's sources.
const PAGE: f64 = BLOCK - 24.0 - 16.0;
/// Hash's default fillfactor (manual, CREATE INDEX).
const HASH_FILL: f64 = 0.75;
/// Line pointer, and header of an index tuple.
const LINE_POINTER: f64 = 4.0;
const TUPLE_HEADER: f64 = 8.0;
/// `IndexAttributeBitMapData`: one bit for each of at most 32 columns, in entries that hold a NULL.
const NULL_BITMAP: f64 = 4.0;
/// BRIN's default `pages_per_range`.
const PAGES_PER_RANGE: f64 = 128.0;
/// Heap ranges that one page of BRIN's map addresses (`REVMAP_PAGE_MAXITEMS` in brin_page.h).
const RANGES_PER_MAP_PAGE: f64 = 1360.0;
/// Width assumed of what has no statistics, and the mean of what alignment adds to values of varying length.
const WIDTH_UNKNOWN: f64 = 16.0;
const SMEARED: f64 = 3.5;
/// Values looked at of a column.
const SAMPLES: usize = 101;

/// What is known of an expression that is a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpressionFacts {
    /// Bytes of a value, on average.
    pub width: f64,
    /// Distinct values among all rows; None: as many as rows.
    pub distinct: Option<f64>,
}

impl ExpressionFacts {
    /// Nothing.
    pub const UNKNOWN: ExpressionFacts = ExpressionFacts { width: WIDTH_UNKNOWN, distinct: None };
}

/// Pages of an index of `rows` entries; None for access methods without a formula here. `expressions` tells what
/// is known of the text of an expression; `groups` how many distinct keys there are, where that is known better.
pub fn pages(
    relation: &Relation,
    index: &IndexDefinition,
    rows: f64,
    expressions: &dyn Fn(&str) -> ExpressionFacts,
    groups: Option<f64>,
) -> Option<f64> {
    match index.method.as_str() {
        "btree" => {
            let entry = entry(relation, index, expressions);
            let groups = deduplicates(relation, index).then(|| match groups {
                Some(groups) => groups.clamp(1.0, rows.max(1.0)),
                None => keys::distinct_keys(relation, index, rows, expressions),
            });
            Some(btree::pages(rows, entry, groups))
        }
        "hash" => Some(hash_pages(rows)),
        // A metapage, the range map, and for each range a least and a greatest value of each key.
        "brin" => {
            let a_range = index.pages_per_range.map_or(PAGES_PER_RANGE, f64::from).max(1.0);
            let ranges = (heap_pages(relation, rows) / a_range).ceil();
            let width: f64 = widths(relation, index, expressions).map(|key| key.bytes).sum();
            let summary = aligned(TUPLE_HEADER + 2.0 * width) + LINE_POINTER;
            let map = (ranges / RANGES_PER_MAP_PAGE).ceil();
            Some(1.0 + map + (ranges * summary / PAGE).ceil())
        }
        // What values are cut into is estimated from those that statistics list: measured, 0.7 to 1.4 of what is built.
        "gin" => Some(gin::pages(relation, index, rows).ceil()),
        "gist" => {
            let width = |text: &str| expressions(text).width;
            Some(gist::pages(relation, index, rows, &width))
        }
        _ => None,
    }
}

/// Pages of a relation; of a partitioned table, which has none itself, about what its rows take.
fn heap_pages(relation: &Relation, rows: f64) -> f64 {
    if relation.kind != 'p' {
        return (relation.pages as f64).max(1.0);
    }
    let width: f64 = relation.columns.iter().map(|column| stored(column).bytes).sum();
    // A tuple's header and line pointer.
    (rows * (aligned(24.0 + width) + LINE_POINTER) / PAGE).ceil().max(1.0)
}

/// How values of a key are stored.
#[derive(Debug, Clone)]
struct Stored {
    /// Mean bytes of a value.
    bytes: f64,
    /// `typalign`; 1 for values with a short header.
    align: f64,
    null_fraction: f64,
    /// Bytes of single values, where they differ in length and some are known.
    samples: Vec<f64>,
    /// Whether they differ in length, and by how much is not known.
    smeared: bool,
}

impl Stored {
    fn unknown(bytes: f64) -> Self {
        Stored { bytes, align: 1.0, null_fraction: 0.0, samples: Vec::new(), smeared: true }
    }
}

fn stored(column: &Column) -> Stored {
    let base = column.type_name.split('(').next().unwrap_or(&column.type_name).trim();
    // `pg_type.typalign` of the types of fixed length.
    let align = match base {
        "smallint" => Some(2.0),
        "integer" | "date" | "real" | "oid" => Some(4.0),
        "bigint"
        | "double precision"
        | "timestamp without time zone"
        | "timestamp with time zone"
        | "time without time zone"
        | "time with time zone"
        | "interval"
        | "money" => Some(8.0),
        "boolean" | "\"char\"" | "uuid" => Some(1.0),
        _ => None,
    };
    let Some(statistics) = &column.statistics else { return Stored::unknown(WIDTH_UNKNOWN) };
    let mut samples: Vec<f64> = Vec::new();
    if align.is_none() {
        let values =
            statistics.histogram.iter().chain(statistics.most_common.iter().map(|(v, _)| v));
        samples = values
            .take(SAMPLES)
            .filter_map(|value| match base {
                "numeric" => Some(numeric_bytes(value)),
                "text" | "character varying" | "character" => {
                    // A short header of 1 byte up to 126 bytes of data (`VARATT_CAN_MAKE_SHORT`).
                    (value.len() <= 126).then_some(1.0 + value.len() as f64)
                }
                _ => None,
            })
            .collect();
    }
    let smeared = align.is_none() && samples.is_empty();
    Stored {
        bytes: f64::from(statistics.average_width),
        align: align.unwrap_or(1.0),
        null_fraction: statistics.null_fraction,
        samples,
        smeared,
    }
}

/// Bytes of a `numeric`: a header of 1 and one of 2 bytes, and 2 for each group of four decimal digits, counted from
/// the point, without groups of zeros at either end (`NumericData` in numeric.c).
fn numeric_bytes(text: &str) -> f64 {
    let digits = text.trim_start_matches('-');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let padded = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let all = padded + &fraction;
    let groups: Vec<&[u8]> = all.as_bytes().chunks(4).collect();
    let first = groups.iter().position(|group| *group != b"0000").unwrap_or(groups.len());
    let last = groups.iter().rposition(|group| *group != b"0000").map_or(first, |last| last + 1);
    3.0 + 2.0 * (last - first) as f64
}

fn widths<'a>(
    relation: &'a Relation,
    index: &'a IndexDefinition,
    expressions: &'a dyn Fn(&str) -> ExpressionFacts,
) -> impl Iterator<Item = Stored> + 'a {
    let column = move |name: &str| {
        relation.column(name).map_or_else(|| Stored::unknown(WIDTH_UNKNOWN), stored)
    };
    let keys = index.keys.iter().map(move |key| match (&key.column, &key.expression) {
        (Some(name), _) => column(name),
        (None, Some(text)) => of_same_width(relation, text)
            .map_or_else(|| Stored::unknown(expressions(text).width), stored),
        (None, None) => Stored::unknown(WIDTH_UNKNOWN),
    });
    keys.chain(index.include.iter().map(move |name| column(name)))
}

/// The column whose values an expression gives back at about their length: `lower(email)`. The planner takes 32 bytes
/// for whatever text (`get_typavgwidth` in lsyscache.c).
fn of_same_width<'r>(relation: &'r Relation, expression: &str) -> Option<&'r Column> {
    let (function, argument) = expression.trim().strip_suffix(')')?.split_once('(')?;
    if !matches!(function, "btrim" | "initcap" | "lower" | "reverse" | "upper") {
        return None;
    }
    let name = argument.split("::").next()?.trim_matches(['(', ')', '"', ' ']);
    relation.column(name)
}

/// Mean bytes of an entry, without its line pointer.
fn entry(
    relation: &Relation,
    index: &IndexDefinition,
    expressions: &dyn Fn(&str) -> ExpressionFacts,
) -> f64 {
    let values: Vec<Stored> = widths(relation, index, expressions).collect();
    let smeared = values.iter().any(|value| value.smeared);
    let stored = |header: f64, data: f64| {
        if smeared { header + data + SMEARED } else { aligned(header + data) }
    };
    // Alignment makes the mean of the sizes more than the size of the mean: entries are laid out with values that
    // the statistics name, those of each column in another order.
    let rounds = values.iter().map(|value| value.samples.len()).max().unwrap_or(0).max(1);
    let mut full = 0.0;
    for round in 0..rounds {
        let mut data = 0.0;
        for (place, value) in values.iter().enumerate() {
            let sample = (round * (2 * place + 1)) % value.samples.len().max(1);
            let bytes = value.samples.get(sample).copied().unwrap_or(value.bytes);
            data = (data / value.align).ceil() * value.align + bytes;
        }
        full += stored(TUPLE_HEADER, data) / rounds as f64;
    }
    let all_there: f64 = values.iter().map(|value| 1.0 - value.null_fraction).product();
    let sparse: f64 = values.iter().map(|value| value.bytes * (1.0 - value.null_fraction)).sum();
    all_there * full + (1.0 - all_there) * stored(aligned(TUPLE_HEADER + NULL_BITMAP), sparse)
}

/// Pages of a hash index: as many buckets as the fillfactor asks for, rounded up to a power of two, above
/// 1024 in quarters of the step to the next (`_hash_spareindex` in hashutil.c), a metapage and a bitmap page.
fn hash_pages(rows: f64) -> f64 {
    // An entry holds the 4 bytes of a hash value, whatever the key.
    let entry = TUPLE_HEADER + aligned(4.0) + LINE_POINTER;
    let buckets = (rows / (BLOCK * HASH_FILL / entry).floor()).ceil().max(2.0);
    let power = buckets.log2().ceil().exp2();
    let step = if power > 1024.0 { power / 8.0 } else { power / 2.0 };
    let below = power / 2.0;
    2.0 + below + ((buckets - below) / step).ceil() * step
}

/// MAXALIGN.
fn aligned(bytes: f64) -> f64 {
    (bytes / 8.0).ceil() * 8.0
}

/// Deduplication is off with INCLUDE columns and for types whose equal values may differ in their bytes
/// (manual, "B-Tree Indexes", "Deduplication": numeric, jsonb, float4, float8, container types; interval since
/// its fix of 2023).
fn deduplicates(relation: &Relation, index: &IndexDefinition) -> bool {
    let safe = |type_name: &str| {
        let base = type_name.split('(').next().unwrap_or(type_name);
        !matches!(base, "numeric" | "jsonb" | "real" | "double precision" | "interval")
            && !base.ends_with("[]")
            && !base.ends_with("range")
    };
    index.include.is_empty()
        && index.keys.iter().all(|key| match &key.column {
            Some(name) => relation.column(name).is_none_or(|column| safe(&column.type_name)),
            None => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_takes_two_bytes_for_four_digits() {
        for (text, bytes) in
            [("0", 3.0), ("7", 5.0), ("0.05", 5.0), ("1234.5", 7.0), ("-173665.47", 9.0)]
        {
            assert_eq!(numeric_bytes(text), bytes, "{text}");
        }
    }
}
