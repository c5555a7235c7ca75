//! Height of a B-tree where it can't be asked for.

/// Entries of a page above the leaves relative to a leaf's: pages there are filled to 70 % when an index is built,
/// leaves to 90 % (`BTREE_NONLEAF_FILLFACTOR` and `BTREE_DEFAULT_FILLFACTOR` of nbtree.h).
const ABOVE: f64 = 70.0 / 90.0;
/// Most entries there: 20 bytes each, of an 8-byte key (8152 × 0.7 ÷ 20).
const MOST: f64 = 285.0;

/// From its pages and rows, the keys above taken to be as wide as those of the leaves.
pub(crate) fn of_btree(pages: u64, rows: f32) -> u32 {
    // One of the pages is the metapage.
    let leaves = pages.saturating_sub(1) as f64;
    let per_leaf = if leaves > 0.0 { f64::from(rows.max(0.0)) / leaves } else { 0.0 };
    levels(leaves, (per_leaf * ABOVE).clamp(2.0, MOST))
}

/// Levels above `leaves` of which each page above points to `fan_out`.
pub(crate) fn levels(leaves: f64, fan_out: f64) -> u32 {
    let mut height = 0;
    let mut level = leaves;
    while level > 1.0 && height < 32 {
        level = (level / fan_out).ceil();
        height += 1;
    }
    height
}
