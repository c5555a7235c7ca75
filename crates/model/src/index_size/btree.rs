//! Pages of a B-tree: leaf pages are filled with what its keys take, as building an index fills them.
//!
//! A closed formula is off by a tenth where an item takes a tenth of a page, as full posting lists do: what fits is
//! decided by a few bytes. So items are laid out page by page, with the rules of nbtsort.c, until the mean is known.

use super::{BLOCK, LINE_POINTER, PAGE, aligned};

/// Free bytes at which a leaf page is full: what the default fillfactor of 90 leaves (`BTGetTargetPageFreeSpace`).
const LEFT_FREE: f64 = BLOCK * 10.0 / 100.0;
/// Share of an inner page that is filled (`BTREE_NONLEAF_FILLFACTOR` in nbtree.h).
const INNER_FILL: f64 = 0.70;
/// A heap tuple's address.
const TID: f64 = 6.0;
/// A largest posting list with its key, in whole steps of MAXALIGN: a tenth of a page, rounded down, less a line
/// pointer (`_bt_load` in nbtsort.c, `_bt_dedup_save_htid` in nbtdedup.c).
const POSTING: f64 = 808.0;
/// Bytes of the largest entry that is let in (`BTMaxItemSize` in nbtree.h); longer values are compressed, or refused.
const LARGEST: f64 = 2704.0;
/// Rows that have a key in common, on average, up to which it matters how they are spread.
const FEW: f64 = 16.0;
/// Pages and items laid out, whichever comes first, until the mean of the pages is taken for all others.
const PAGES: f64 = 32.0;
const ITEMS: usize = 600;
/// (√5 − 1) ÷ 2: its multiples, without their whole part, are spread evenly over 0 to 1 however many there are.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// Pages of a B-tree of `rows` entries of `entry` bytes, `groups` of them distinct; None: not deduplicated.
pub(super) fn pages(rows: f64, entry: f64, groups: Option<f64>) -> f64 {
    let entry = entry.min(LARGEST);
    let single = leaves(rows, std::iter::repeat(Item { rows: 1.0, bytes: entry, list: 0.0 }));
    let groups = groups.filter(|groups| *groups < rows);
    let listed = groups.map(|groups| leaves(rows, lists(rows, entry, groups)));
    let leaves = listed.map_or(single, |listed| single.min(listed)).ceil().max(1.0);
    // Above the leaves a tuple for each page below, and the metapage.
    let fan_out = (PAGE * INNER_FILL / (entry + LINE_POINTER)).max(2.0);
    let mut pages = 1.0 + leaves;
    let mut level = leaves;
    while level > 1.0 {
        level = (level / fan_out).ceil();
        pages += level;
    }
    pages
}

/// What stands on a leaf page under one line pointer.
#[derive(Debug, Clone, Copy)]
struct Item {
    rows: f64,
    /// Without the line pointer.
    bytes: f64,
    /// Of those, the posting list.
    list: f64,
}

/// Leaf pages of so many rows, from laying out the first ones as `_bt_buildadd` (nbtsort.c) does: a page is finished
/// when the next item does not fit beside an address, or when less is free than the fillfactor leaves, to which is
/// added what truncating the last item's list would free. The last item then moves to the next page: its key without
/// the list is the page's high key, for which a line pointer was kept.
fn leaves(rows: f64, items: impl Iterator<Item = Item>) -> f64 {
    const EMPTY: f64 = PAGE - LINE_POINTER;
    let (mut free, mut on_page, mut held) = (EMPTY, 0_u32, 0.0);
    let (mut pages, mut finished, mut placed) = (0.0, 0.0, 0.0);
    let mut last = Item { rows: 0.0, bytes: 0.0, list: 0.0 };
    for (number, item) in items.enumerate() {
        if placed >= rows {
            break;
        }
        let left = free - LINE_POINTER;
        if left < item.bytes + aligned(TID) || (left + last.list < LEFT_FREE && on_page > 1) {
            pages += 1.0;
            finished += held - last.rows;
            if pages >= PAGES || number >= ITEMS {
                return rows / finished.max(1.0) * pages;
            }
            (free, on_page, held) = (EMPTY - last.bytes - LINE_POINTER, 1, last.rows);
        }
        free -= item.bytes + LINE_POINTER;
        on_page += 1;
        held += item.rows;
        placed += item.rows;
        last = item;
    }
    pages + 1.0
}

/// The items of one key after the other, equal keys sharing posting lists (manual, "B-Tree Indexes", "Deduplication").
fn lists(rows: f64, entry: f64, groups: f64) -> impl Iterator<Item = Item> {
    let most = ((POSTING - entry) / TID).floor().max(1.0);
    counts((rows / groups.max(1.0)).max(1.0)).flat_map(move |count| {
        let full = (count / most).floor();
        let rest = count - full * most;
        let list = move |rows: f64| {
            let list = if rows > 1.0 { TID * rows } else { 0.0 };
            let bytes = if rows > 1.0 { aligned(entry + list) } else { entry };
            Item { rows, bytes, list }
        };
        let full = std::iter::repeat_n(list(most), full as usize);
        full.chain((rest >= 1.0).then(|| list(rest)))
    })
}

/// How many rows each key has, `mean` on average. Statistics don't tell whether there are as many of each, as of items
/// of orders of the same size, or whether that is left to chance: where they are few, it is the one of every other key
/// and the other (Poisson's law, no key being empty) of those between; where they are many, chance alone.
fn counts(mean: f64) -> impl Iterator<Item = f64> {
    let few = if mean <= FEW { chances(mean) } else { Vec::new() };
    (1_u32..).map(move |key| {
        let at = (f64::from(key) * GOLDEN).fract();
        let count = if mean > FEW {
            // The logistic law's quantile, of the deviation that Poisson's law has.
            let deviation = (at / (1.0 - at)).ln() * 3.0_f64.sqrt() / std::f64::consts::PI;
            mean + mean.sqrt() * deviation
        } else if key % 2 == 0 {
            mean + at
        } else {
            1.0 + few.iter().take_while(|below| **below <= at).count() as f64
        };
        if mean > FEW { count.round() } else { count.floor() }.max(1.0)
    })
}

/// The chance that a key has at most one row, at most two and so on, by Poisson's law without zero of that mean.
fn chances(mean: f64) -> Vec<f64> {
    let rate = rate(mean);
    let mut chance = (-rate).exp() / -(-rate).exp_m1();
    let mut below = 0.0;
    let counts = 1..(4.0 * FEW) as u32;
    counts
        .map(|count| {
            chance *= rate / f64::from(count);
            below += chance;
            below
        })
        .collect()
}

/// The rate of Poisson's law without zero that has that mean: `mean = rate ÷ (1 − e^−rate)`.
fn rate(mean: f64) -> f64 {
    let mut rate = (mean - 1.0).max(1e-6);
    for _ in 0..50 {
        rate = mean * -(-rate).exp_m1();
    }
    rate.max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_unique_integers_has_366_entries_a_page() {
        // Measured: an index on a bigint key of a million rows has 2,745 pages.
        let pages = pages(1e6, 16.0, Some(1e6));
        assert!((pages / 2745.0 - 1.0).abs() < 0.01, "{pages}");
    }

    #[test]
    fn lists_of_equal_keys_fill_pages_as_building_does() {
        // Measured on TPC-H's lineitem (6,001,215 rows), orders (1,500,000) and customer (150,000): l_partkey,
        // l_shipdate, l_suppkey, o_custkey, c_mktsegment.
        for (rows, entry, groups, built) in [
            (6_001_215.0, 16.0, 200_000.0, 5_504.0),
            (6_001_215.0, 16.0, 2_526.0, 5_210.0),
            (6_001_215.0, 16.0, 10_000.0, 5_203.0),
            (1_500_000.0, 16.0, 99_996.0, 1_536.0),
            (150_000.0, 24.0, 5.0, 131.0),
        ] {
            let pages = pages(rows, entry, Some(groups));
            assert!((pages / built - 1.0).abs() < 0.02, "{pages} for {built}");
        }
    }

    #[test]
    fn nearly_unique_keys_take_nearly_as_much_as_unique_ones_and_repeated_ones_less() {
        let unique = pages(1e6, 16.0, Some(1e6));
        let nearly = pages(1e6, 16.0, Some(0.98e6));
        let pairs = pages(1e6, 16.0, Some(0.5e6));
        let many = pages(1e6, 16.0, Some(1e3));
        assert!(nearly > 0.97 * unique && nearly <= unique);
        assert!(pairs < 0.9 * unique && many < 0.4 * unique, "{unique} {pairs} {many}");
    }

    #[test]
    fn the_widest_entries_stand_two_to_a_page() {
        // Three fit, and the last one of a page moves to the next.
        assert_eq!(pages(3_000.0, 2704.0, None), pages(3_000.0, 9000.0, None));
        let pages = pages(3_000.0, 2704.0, None);
        assert!((1_500.0..4_000.0).contains(&pages), "{pages}");
    }

    #[test]
    fn so_many_rows_as_there_are_keys_for_are_spread_over_them() {
        for mean in [1.0, 1.02, 2.0, 7.3, 16.0, 17.0, 400.0] {
            let keys = 10_000;
            let rows: f64 = counts(mean).take(keys).sum();
            assert!((rows / keys as f64 / mean - 1.0).abs() < 0.01, "{mean} {rows}");
        }
    }

    #[test]
    fn the_rate_of_a_law_without_zero_gives_its_mean() {
        for mean in [1.001, 1.5, 4.0, 12.0] {
            let rate = rate(mean);
            assert!((rate / -(-rate).exp_m1() - mean).abs() < 1e-3 * mean, "{mean} {rate}");
        }
    }
}
