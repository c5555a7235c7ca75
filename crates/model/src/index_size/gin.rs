//! Pages of a GIN index, from the keys that its values are cut into (manual, section "GIN Implementation").

use super::census::{Class, census};
use super::parts::Cut;
use super::{BLOCK, LINE_POINTER, TUPLE_HEADER, aligned};
use crate::index::IndexDefinition;
use crate::relation::{Column, Relation};

/// `GinMaxItemSize`, a third of a page: a key with a longer list has a tree of its own (ginblock.h).
const LONGEST_ENTRY: f64 = 2712.0;
/// Usable bytes of an entry page, and of a page of a posting tree (`GinDataPageMaxDataSize`).
const ENTRY_PAGE: f64 = BLOCK - 24.0 - 8.0;
const DATA_PAGE: f64 = BLOCK - 24.0 - 8.0 - 8.0;
/// The first row of a list stands in full, with the list's length (`GinPostingList`).
const LIST_HEADER: f64 = 8.0;
/// Lists of a posting tree's page are of about that many bytes each (`GinPostingListSegmentTargetSize`).
const SEGMENT: f64 = 256.0;
/// How full entry pages are: keys come sorted, and a full page is split in the middle (`entrySplitPage` in
/// ginentrypage.c), so that the left half stays as it is.
const ENTRY_FILL: f64 = 0.5;

/// Pages of an index of `rows` rows.
pub(super) fn pages(relation: &Relation, index: &IndexDefinition, rows: f64) -> f64 {
    let heap_pages = super::heap_pages(relation, rows);
    // A key of one of several columns begins with the column's number.
    let column_number = if index.keys.len() > 1 { 2.0 } else { 0.0 };
    let (mut entries, mut data) = (0.0, 0.0);
    for class in classes(relation, index, rows) {
        let key = aligned(TUPLE_HEADER + column_number + class.bytes);
        let listed = (class.share * rows).max(1.0);
        let list = LIST_HEADER + (listed - 1.0) * posting(listed, heap_pages);
        if key + list <= LONGEST_ENTRY {
            entries += class.keys * (LINE_POINTER + aligned(key + list));
        } else {
            entries += class.keys * (LINE_POINTER + key);
            let bytes = list * (1.0 + LIST_HEADER / SEGMENT);
            let leaves = (bytes / DATA_PAGE).ceil();
            // More than one are below another page.
            data += class.keys * if leaves > 1.0 { leaves + 1.0 } else { 1.0 };
        }
    }
    let leaves = (entries / (ENTRY_PAGE * ENTRY_FILL)).ceil().max(1.0);
    let above = if leaves > 1.0 { (leaves / 100.0).ceil() } else { 0.0 };
    // The metapage, the entries, and the trees of the frequent keys.
    1.0 + leaves + above + data
}

/// Keys that a row of a relation puts into an index, on average.
pub fn keys_a_row(relation: &Relation, index: &IndexDefinition) -> f64 {
    let rows = relation.rows.unwrap_or(relation.activity.live_rows as f64).max(1.0);
    classes(relation, index, rows).map(|class| class.a_row()).sum::<f64>().max(1.0)
}

fn classes<'a>(
    relation: &'a Relation,
    index: &'a IndexDefinition,
    rows: f64,
) -> impl Iterator<Item = Class> + 'a {
    index.keys.iter().flat_map(move |key| {
        let column = match (&key.column, &key.expression) {
            (Some(name), _) => relation.column(name),
            (None, Some(text)) => only_column(relation, text),
            (None, None) => None,
        };
        let type_name = match (&key.column, column) {
            (Some(_), Some(column)) => column.type_name.as_str(),
            // Of an expression of a document, documents are indexed.
            (None, Some(column)) if column.type_name == "jsonb" => "jsonb",
            _ => "",
        };
        let cut = Cut::of(key, type_name);
        let statistics = column.and_then(|column| column.statistics.as_ref());
        census(cut, statistics.filter(|known| known.average_width > 0), rows)
    })
}

/// The only column that an expression names.
fn only_column<'r>(relation: &'r Relation, text: &str) -> Option<&'r Column> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let names = |column: &&Column| {
        text.match_indices(column.name.as_str()).any(|(at, found)| {
            let before = text.get(..at).unwrap_or_default();
            let after = text.get(at + found.len()..).unwrap_or_default();
            !before.ends_with(word) && !after.starts_with(word)
        })
    };
    let mut named = relation.columns.iter().filter(names);
    named.next().filter(|_| named.next().is_none())
}

/// Bytes of a row in a list: the difference to the row before, the block's number times 2,048 and the row's within it,
/// seven bits a byte (ginpostinglist.c). Rows of a key are taken to lie anywhere.
fn posting(rows: f64, heap_pages: f64) -> f64 {
    let a_page = rows / heap_pages;
    let hit = -(-a_page).exp_m1();
    // Rows that are the first of their page; the others differ by less than 128 in nearly all cases.
    let first = (hit / a_page.max(f64::MIN_POSITIVE)).min(1.0);
    // The gap is less than so many pages with the chance that one of them is hit.
    let within = |pages: f64| 1.0 - (1.0 - hit).powf(pages);
    let bytes = 2.0 * within(7.0)
        + 3.0 * (within(1023.0) - within(7.0))
        + 4.0 * (within(131_071.0) - within(1023.0))
        + 5.0 * (1.0 - within(131_071.0));
    (1.0 - first) + first * bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_keys_take_a_byte_or_two_for_a_row_and_rare_ones_three() {
        assert!((1.0..1.3).contains(&posting(1e6, 1e4)), "{}", posting(1e6, 1e4));
        assert!((1.5..2.0).contains(&posting(1e4, 1e4)), "{}", posting(1e4, 1e4));
        assert!((2.8..3.1).contains(&posting(100.0, 1e4)), "{}", posting(100.0, 1e4));
    }
}
