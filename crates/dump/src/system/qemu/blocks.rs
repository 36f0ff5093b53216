//! The list of RAM blocks at the start of the `ram` section, and what tells the two kinds of streams apart.
//!
//! *Trap*: the list has no count. It ends when the lengths add up to the total, and between the blocks may stand numbers
//! that only some machines write (page size for postcopy, address for shared memory), with no word that they are there. So
//! what cannot be a name with a length is skipped eight bytes at a time.

use super::cursor::Cursor;

/// One RAM block as the stream lists it.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Its name as `pc.ram` or `vga.vram`.
    pub(super) name: String,
    /// Bytes of it.
    pub(super) length: u64,
    /// Where its bitmap and its pages stand, in a file with fixed places.
    pub(super) mapped: Option<Mapped>,
}

/// Where a block's pages stand in a file with fixed places.
///
/// Folklore: QEMU 9.0's `MappedRamHeader`, 28 packed bytes, most significant byte first: version 1 (4), page size (8),
/// offset of the bitmap (8), offset of the pages (8), both from the start of the file. The bitmap itself is an array of the
/// host's `unsigned long`, in the host's byte order (migration/ram.c).
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped {
    pub(super) page_size: u64,
    pub(super) bitmap_at: u64,
    pub(super) pages_at: u64,
}

/// `sizeof(MappedRamHeader)`.
const MAPPED_HEADER: u64 = 28;
/// Numbers between blocks that are skipped at most.
const MOST_EXTRA: u32 = 2;

/// Reads the list whose lengths add up to `total`; `Err` has what is wrong, beside the blocks that were read.
pub(super) fn read_blocks(cursor: &mut Cursor, total: u64, most: usize) -> (Vec<Block>, Option<String>) {
    let mut blocks: Vec<Block> = Vec::new();
    let mut left = total;
    while left > 0 {
        if blocks.len() >= most {
            return (blocks, Some(format!("more than {most} RAM blocks")));
        }
        let Some((name, length)) = entry(cursor, left) else {
            return (blocks, Some(format!("the list of RAM blocks stops {left} bytes before its total")));
        };
        left -= length;
        let mapped = mapped_header(cursor, length);
        if let Some(mapped) = mapped {
            cursor.at = mapped.pages_at.saturating_add(length);
        } else if left == 0 {
            // An address behind the last block; no record begins with one.
            for _ in 0..MOST_EXTRA {
                if cursor.peek(8).is_some_and(|next| crate::Endian::Big.uint(next) & 0xfff == 0) {
                    cursor.skip(8);
                }
            }
        }
        blocks.push(Block { name, length, mapped });
    }
    (blocks, None)
}

fn entry(cursor: &mut Cursor, left: u64) -> Option<(String, u64)> {
    let start = cursor.at;
    for extra in 0..=MOST_EXTRA {
        cursor.at = start.saturating_add(8 * u64::from(extra));
        let Some(name) = cursor.name() else { continue };
        let Some(length) = cursor.number(8) else { continue };
        let sound = !name.is_empty() && name.iter().all(|b| (b' '..=b'~').contains(b));
        if sound && length > 0 && length <= left {
            return Some((String::from_utf8_lossy(&name).into_owned(), length));
        }
    }
    cursor.at = start;
    None
}

/// A header of fixed places, known by what it says of itself: its bitmap follows it at once.
fn mapped_header(cursor: &mut Cursor, length: u64) -> Option<Mapped> {
    let start = cursor.at;
    for extra in 0..=MOST_EXTRA {
        let at = start.saturating_add(8 * u64::from(extra));
        cursor.at = at;
        let number = |cursor: &mut Cursor, size| cursor.number(size);
        let fields = (|| Some((number(cursor, 4)?, number(cursor, 8)?, number(cursor, 8)?, number(cursor, 8)?)))();
        if let Some((1, page_size, bitmap_at, pages_at)) = fields
            && page_size.is_power_of_two()
            && (1 << 10..=1 << 21).contains(&page_size)
            && bitmap_at == at.saturating_add(MAPPED_HEADER)
            && pages_at >= bitmap_at.saturating_add((length / page_size).div_ceil(8))
        {
            return Some(Mapped { page_size, bitmap_at, pages_at });
        }
    }
    cursor.at = start;
    None
}
