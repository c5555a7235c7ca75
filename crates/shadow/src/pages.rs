//! The few pages of an index that the planner reads, written as the server would have written them for an index
//! of full size (src/include/access/nbtree.h, ginblock.h, brin_page.h and storage/bufpage.h of 13 to 18; little
//! endian). Every function gets and returns the first pages of a file.

/// Bytes of a page.
pub(crate) const PAGE: usize = 8192;
/// `SizeOfPageHeaderData`: where the contents of a metapage begin.
const HEADER: usize = 24;
/// Where `BTPageOpaqueData` (16 bytes) begins.
const BTREE_SPECIAL: usize = PAGE - 16;
const BTREE_MAGIC: u32 = 0x0005_3162;
const BRIN_MAGIC: u32 = 0xA810_9CFA;
/// Heap ranges that one page of a BRIN index's map addresses: (8192 − 24 − 8) ÷ 6 (`REVMAP_PAGE_MAXITEMS`).
const RANGES_PER_MAP_PAGE: u64 = 1360;
const BTP_LEAF: u16 = 1;
const BTP_ROOT: u16 = 2;

/// Offsets into `BTMetaPageData`.
mod meta {
    use super::HEADER;
    pub(super) const MAGIC: usize = HEADER;
    pub(super) const ROOT: usize = HEADER + 8;
    pub(super) const LEVEL: usize = HEADER + 12;
    pub(super) const FAST_ROOT: usize = HEADER + 16;
    pub(super) const FAST_LEVEL: usize = HEADER + 20;
}

/// Gives a B-tree a height: above its root a chain of pages with one downlink each, so that a descent to either
/// end arrives where it did before. None: these are not the pages of a B-tree, or there is no room below `pages`.
pub(crate) fn raise_btree(mut file: Vec<u8>, height: u32, pages: u64) -> Option<Vec<u8>> {
    if word(&file, meta::MAGIC)? != BTREE_MAGIC {
        return None;
    }
    file.truncate(file.len() / PAGE * PAGE);
    let (mut root, mut level) = (word(&file, meta::ROOT)?, word(&file, meta::LEVEL)?);
    if root == 0 {
        // Without a row there is no root yet.
        root = u32::try_from(file.len() / PAGE).ok()?;
        level = 0;
        file.extend(btree_page(0, BTP_LEAF | BTP_ROOT, None));
    }
    if level >= height {
        return Some(file);
    }
    let flags_at = usize::try_from(root).ok()? * PAGE + BTREE_SPECIAL + 12;
    let flags = u16::from_le_bytes(file.get(flags_at..flags_at + 2)?.try_into().ok()?);
    put(&mut file, flags_at, &(flags & !BTP_ROOT).to_le_bytes())?;
    while level < height {
        level += 1;
        let flags = if level == height { BTP_ROOT } else { 0 };
        let page = btree_page(level, flags, Some(root));
        root = u32::try_from(file.len() / PAGE).ok()?;
        file.extend(page);
    }
    for (at, value) in [
        (meta::ROOT, root),
        (meta::LEVEL, level),
        (meta::FAST_ROOT, root),
        (meta::FAST_LEVEL, level),
    ] {
        put(&mut file, at, &value.to_le_bytes())?;
    }
    (file.len() as u64 <= pages.saturating_mul(PAGE as u64)).then_some(file)
}

/// A page without neighbours; with one downlink, whose key is minus infinity, or empty.
fn btree_page(level: u32, flags: u16, downlink: Option<u32>) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    let (lower, upper) =
        if downlink.is_some() { (HEADER + 4, BTREE_SPECIAL - 8) } else { (HEADER, BTREE_SPECIAL) };
    let mut write = |at: usize, bytes: &[u8]| {
        let _ = put(&mut page, at, bytes);
    };
    write(12, &(lower as u16).to_le_bytes());
    write(14, &(upper as u16).to_le_bytes());
    write(16, &(BTREE_SPECIAL as u16).to_le_bytes());
    // Page size and layout version 4.
    write(18, &(PAGE as u16 | 4).to_le_bytes());
    if let Some(child) = downlink {
        // lp_off, LP_NORMAL and lp_len in 15, 2 and 15 bits; then t_tid with the child's block and no attributes,
        // and t_info with INDEX_ALT_TID_MASK and the length.
        let pointer = upper as u32 | 1 << 15 | 8 << 17;
        write(HEADER, &pointer.to_le_bytes());
        write(upper, &((child >> 16) as u16).to_le_bytes());
        write(upper + 2, &(child as u16).to_le_bytes());
        write(upper + 6, &(0x2000u16 | 8).to_le_bytes());
    }
    write(BTREE_SPECIAL + 8, &level.to_le_bytes());
    write(BTREE_SPECIAL + 12, &flags.to_le_bytes());
    page
}

/// Lets a BRIN index's metapage name as many pages of its map as a heap of `heap_pages` needs.
pub(crate) fn widen_brin(mut file: Vec<u8>, heap_pages: u64) -> Option<Vec<u8>> {
    if word(&file, HEADER)? != BRIN_MAGIC {
        return None;
    }
    let per_range = u64::from(word(&file, HEADER + 8)?.max(1));
    let map_pages = heap_pages.div_ceil(per_range).div_ceil(RANGES_PER_MAP_PAGE).max(1);
    put(&mut file, HEADER + 12, &u32::try_from(map_pages).ok()?.to_le_bytes())?;
    Some(file)
}

/// Puts the source's metapage in the place of a GIN index's own.
pub(crate) fn replace_gin_metapage(mut file: Vec<u8>, first_page: &[u8]) -> Option<Vec<u8>> {
    /// `GIN_META` in the flags at the end of a metapage, and `GIN_CURRENT_VERSION`.
    const META: u16 = 1 << 3;
    let flags = first_page.get(PAGE - 2..PAGE)?;
    if first_page.len() != PAGE || u16::from_le_bytes(flags.try_into().ok()?) & META == 0 {
        return None;
    }
    put(&mut file, 0, first_page)?;
    Some(file)
}

fn word(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?))
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    file.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}
