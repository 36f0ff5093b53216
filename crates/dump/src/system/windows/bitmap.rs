//! Physical memory behind a bitmap: one bit a page, and the pages whose bits are set one after the other.
//!
//! *What it is not*: a list of pages. A terabyte has a bitmap of 32 MiB; it is read in blocks, and only as far as a read
//! needs it, to count the pages that lie before.
//!
//! *Trap*: where a page lies in the file depends on *every* bit before its own. So the counts at the beginnings of blocks
//! are kept (8 bytes for each 128 MiB of memory), and grow in order.

use crate::machine::{PhysMemory, collect_extents};
use crate::memory::{Absence, Extent, Fault, Memory};
use crate::source::SharedSource;
use crate::{Endian, Phys};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const PAGE: u64 = 4096;
/// Bytes of bitmap that are counted at once.
const BLOCK: u64 = 4096;
/// Pages of a block.
const BLOCK_PAGES: u64 = BLOCK * 8;
/// Ranges that [`Memory::extents`] gives at most.
const MAX_EXTENTS: usize = 1 << 16;

/// A bitmap and its pages.
pub(super) struct BitmapMemory {
    source: SharedSource,
    /// Where the bitmap begins in the file.
    bitmap_at: u64,
    /// Bits of it that are there.
    bits: u64,
    /// Where the first page lies in the file.
    first_page: u64,
    /// `counts[i]`: set bits before block `i`; grows as it is needed.
    counts: Mutex<Vec<u64>>,
    /// The block that was asked for last: ranges are asked for one after the other.
    last: Mutex<Option<(u64, Arc<[u8]>)>>,
    /// Whether the file reaches behind the last page.
    whole: OnceLock<bool>,
}

/// What one page is.
enum Page {
    At(u64),
    Absent(Absence),
}

impl BitmapMemory {
    pub(super) fn new(source: SharedSource, bitmap_at: u64, bits: u64, first_page: u64) -> Self {
        Self {
            source,
            bitmap_at,
            bits,
            first_page,
            counts: Mutex::new(vec![0]),
            last: Mutex::default(),
            whole: OnceLock::new(),
        }
    }

    /// Bytes that the counts grow to.
    pub(super) fn directory_bytes(bits: u64) -> u64 {
        bits.div_ceil(BLOCK_PAGES).saturating_add(1).saturating_mul(8)
    }

    /// The bytes of a block of the bitmap, with the bits behind the last one cleared.
    fn block(&self, block: u64) -> Result<Arc<[u8]>, Absence> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, bytes)) = &*last
            && *number == block
        {
            return Ok(bytes.clone());
        }
        let bytes: Arc<[u8]> = self.read_block(block)?.into();
        *last = Some((block, bytes.clone()));
        Ok(bytes)
    }

    fn read_block(&self, block: u64) -> Result<Vec<u8>, Absence> {
        let first = block.saturating_mul(BLOCK_PAGES);
        let bits = self.bits.saturating_sub(first).min(BLOCK_PAGES);
        let mut bytes = vec![0; bits.div_ceil(8) as usize];
        let at = self.bitmap_at.saturating_add(block.saturating_mul(BLOCK));
        let got = self.source.read_at(at, &mut bytes).map_err(|error| Absence::Io(error.kind()))?;
        if got < bytes.len() {
            return Err(Absence::Truncated);
        }
        if !bits.is_multiple_of(8)
            && let Some(last) = bytes.last_mut()
        {
            *last &= (1 << (bits % 8)) - 1;
        }
        Ok(bytes)
    }

    /// Whether the file reaches behind the last page: then no range need be looked at for its end.
    fn whole(&self) -> bool {
        *self.whole.get_or_init(|| {
            let last = self.bits.div_ceil(BLOCK_PAGES);
            let end = self.before(last).ok().and_then(|pages| self.offset(pages));
            end.is_some_and(|end| end <= self.source.len())
        })
    }

    /// Set bits before a block.
    fn before(&self, block: u64) -> Result<u64, Absence> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        while (counts.len() as u64) <= block {
            let last = counts.len() as u64 - 1;
            let sum = counts.last().copied().unwrap_or(0) + ones(&self.block(last)?);
            counts.push(sum);
        }
        counts.get(block as usize).copied().ok_or(Absence::Corrupt)
    }

    fn offset(&self, rank: u64) -> Option<u64> {
        self.first_page.checked_add(rank.checked_mul(PAGE)?)
    }

    fn page(&self, number: u64) -> Page {
        if number >= self.bits {
            return Page::Absent(Absence::NotMapped);
        }
        let block = number / BLOCK_PAGES;
        let bit = number % BLOCK_PAGES;
        let bytes = match self.block(block) {
            Ok(bytes) => bytes,
            Err(why) => return Page::Absent(why),
        };
        if !is_set(&bytes, bit) {
            return Page::Absent(Absence::NotInDump);
        }
        let inside = ones_upto(&bytes, bit);
        match self.before(block) {
            Ok(before) => match self.offset(before + inside) {
                Some(at) if at < self.source.len() => Page::At(at),
                Some(_) => Page::Absent(Absence::Truncated),
                None => Page::Absent(Absence::Corrupt),
            },
            Err(why) => Page::Absent(why),
        }
    }

    /// All set bits. This reads the whole bitmap.
    #[cfg(test)]
    pub(super) fn pages(&self) -> Option<u64> {
        self.before(self.bits.div_ceil(BLOCK_PAGES)).ok()
    }
}

fn is_set(bytes: &[u8], bit: u64) -> bool {
    bytes.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

fn ones(bytes: &[u8]) -> u64 {
    bytes.chunks(8).map(|word| u64::from(Endian::Little.uint(word).count_ones())).sum()
}

fn ones_upto(bytes: &[u8], bit: u64) -> u64 {
    let whole = ones(bytes.get(..(bit / 8) as usize).unwrap_or_default());
    let rest = bytes.get((bit / 8) as usize).map_or(0, |byte| (byte & ((1 << (bit % 8)) - 1)).count_ones());
    whole + u64::from(rest)
}

/// First bit from `from` on that is not as `state` says, or the end of the block.
fn change(bytes: &[u8], from: u64, bits: u64, state: bool) -> u64 {
    let same = if state { 0xff } else { 0 };
    let mut at = from;
    while at < bits {
        if at.is_multiple_of(8) && bytes.get((at / 8) as usize) == Some(&same) {
            at += 8;
        } else if is_set(bytes, at) == state {
            at += 1;
        } else {
            break;
        }
    }
    at.min(bits)
}

impl Memory<Phys> for BitmapMemory {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        if buf.is_empty() {
            return Ok(0);
        }
        let fault = |why| Fault { at, why };
        let skip = at.0 % PAGE;
        let len = (buf.len() as u64).min(PAGE - skip) as usize;
        match self.page(at.0 / PAGE) {
            Page::Absent(why) => Err(fault(why)),
            Page::At(offset) => match self.source.read_at(offset + skip, buf.get_mut(..len).unwrap_or_default()) {
                Ok(0) => Err(fault(Absence::Truncated)),
                Ok(got) => Ok(got),
                Err(error) => Err(fault(Absence::Io(error.kind()))),
            },
        }
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        collect_extents(self, MAX_EXTENTS)
    }
}

impl PhysMemory for BitmapMemory {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let number = at.0 / PAGE;
        if number >= self.bits {
            return None;
        }
        let block = number / BLOCK_PAGES;
        let first = block * BLOCK_PAGES;
        let bits = (self.bits - first).min(BLOCK_PAGES);
        let extent = |from: u64, to: u64, absent| Extent {
            start: Phys(from.saturating_mul(PAGE)),
            end: Phys(to.saturating_mul(PAGE)),
            absent,
        };
        let bytes = match self.block(block) {
            Ok(bytes) => bytes,
            Err(why) => return Some(extent(number, first + bits, Some(why))),
        };
        let bit = number - first;
        let state = is_set(&bytes, bit);
        let end = first + change(&bytes, bit, bits, state);
        if !state {
            return Some(extent(number, end, Some(Absence::NotInDump)));
        }
        if self.whole() {
            return Some(extent(number, end, None));
        }
        let before = self.before(block);
        if let Ok(pages) = before
            && self.offset(pages).is_none_or(|offset| offset >= self.source.len())
        {
            // The file ended before this block: of the rest of the bitmap nothing is there, whatever its bits say.
            return Some(extent(number, self.bits, Some(Absence::Truncated)));
        }
        let rank = before.map(|before| before + ones_upto(&bytes, bit));
        let offset = match rank.map(|rank| self.offset(rank)) {
            Ok(Some(offset)) => offset,
            Ok(None) => return Some(extent(number, end, Some(Absence::Corrupt))),
            Err(why) => return Some(extent(number, end, Some(why))),
        };
        let held = self.source.len().saturating_sub(offset);
        let bytes_here = (end - number) * PAGE;
        let mut found = extent(number, end, None);
        let middle = Phys(found.start.0.saturating_add(held));
        if held >= bytes_here {
            return Some(found);
        }
        // A file may end within a page.
        if at >= middle {
            (found.start, found.absent) = (middle, Some(Absence::Truncated));
        } else {
            found.end = middle;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn pages_are_found_by_the_bits_before_them() {
        // Bits over several blocks: every 7th page of 100 000.
        let bits = 100_000u64;
        let mut bitmap = vec![0u8; bits.div_ceil(8) as usize];
        let set: Vec<u64> = (0..bits).filter(|n| n % 7 == 3).collect();
        for n in &set {
            bitmap[(n / 8) as usize] |= 1 << (n % 8);
        }
        let first = (bitmap.len() as u64).next_multiple_of(PAGE);
        let mut file = bitmap;
        file.resize(first as usize, 0);
        for n in &set {
            // A page's first eight bytes are its number; the rest is left out in all but the last.
            let at = file.len();
            file.extend_from_slice(&n.to_le_bytes());
            file.resize(at + PAGE as usize, 0);
        }
        let memory = BitmapMemory::new(Arc::new(file), 0, bits, first);
        assert_eq!(memory.pages(), Some(set.len() as u64));
        for n in [set[0], set[1], set[4_000], set[9_999], *set.last().unwrap()] {
            let mut word = [0; 8];
            assert_eq!(memory.read_at(Phys(n * PAGE), &mut word).unwrap(), 8);
            assert_eq!(u64::from_le_bytes(word), n);
        }
        assert_eq!(memory.read_at(Phys(0), &mut [0; 1]).unwrap_err().why, Absence::NotInDump);
        assert_eq!(memory.read_at(Phys(bits * PAGE), &mut [0; 1]).unwrap_err().why, Absence::NotMapped);
        let first = memory.next(Phys(0)).unwrap();
        assert_eq!((first.start, first.end, first.absent), (Phys(0), Phys(3 * PAGE), Some(Absence::NotInDump)));
        let second = memory.next(first.end).unwrap();
        assert_eq!((second.start, second.end, second.absent), (Phys(3 * PAGE), Phys(4 * PAGE), None));
    }
}
