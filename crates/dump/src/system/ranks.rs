//! Page bitmaps: which pages a container holds, and the how-many-th each is.
//!
//! *What it is*: one bit a page, least significant first, in the file. The place of a page's descriptor is the number of
//! set bits before its own, its *rank*. Sums of 32 768 bits each are kept, 8 bytes for every 128 MiB of memory.
//!
//! *Trap*: a terabyte has 32 MiB of bitmap. It is counted only as far as pages have been asked for, and never at opening.

use crate::source::{SharedSource, read_vec};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bytes of bitmap between two sums.
const BLOCK: u64 = 4096;
/// Blocks that are read at once while sums are made.
const BATCH: u64 = 256;
/// Pages of 128 TiB, more than any machine has.
const MOST: u64 = 1 << 35;
/// Blocks that are kept, for as many threads at different places.
const KEPT: usize = 16;

/// A bitmap in a file.
pub(crate) struct Bitmap {
    source: SharedSource,
    /// Where it begins.
    at: u64,
    /// Bits that count.
    bits: u64,
    /// Set bits before each block, as far as they have been counted.
    sums: Mutex<Vec<u64>>,
    /// Blocks that were read last: the next question is nearly always about one of them.
    last: [Mutex<(u64, Vec<u8>)>; KEPT],
}

impl Bitmap {
    /// A bitmap of `bits` bits at `at`; what the file does not have counts as not set.
    pub(crate) fn new(source: SharedSource, at: u64, bits: u64) -> Self {
        // A hostile length must not make walks longer than the file.
        let bits = bits.min(source.len().saturating_sub(at).saturating_mul(8)).min(MOST);
        let last = std::array::from_fn(|_| Mutex::new((u64::MAX, Vec::new())));
        Self { source, at, bits, sums: Mutex::new(vec![0]), last }
    }

    /// Bits that count.
    pub(crate) fn len(&self) -> u64 {
        self.bits
    }

    /// Calls `with` for the bytes of a block, without bits past the end.
    fn block<R>(&self, number: u64, with: impl FnOnce(&[u8]) -> R) -> R {
        let Some(last) = self.last.get((number % KEPT as u64) as usize) else { return with(&[]) };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != number {
            let bytes = read_vec(&*self.source, self.at.saturating_add(number * BLOCK), BLOCK as usize);
            *last = (number, self.trimmed(number * BLOCK, bytes.unwrap_or_default()));
        }
        with(&last.1)
    }

    /// Clears what lies past the end of the bitmap.
    fn trimmed(&self, first_byte: u64, mut bytes: Vec<u8>) -> Vec<u8> {
        let left = self.bits.saturating_sub(first_byte.saturating_mul(8));
        let whole = usize::try_from(left / 8).unwrap_or(usize::MAX);
        if let Some(cut) = bytes.get_mut(whole..) {
            if let Some(partial) = cut.first_mut() {
                *partial &= ((1u16 << (left % 8)) - 1) as u8;
            }
            if let Some(rest) = cut.get_mut(1..) {
                rest.fill(0);
            }
        }
        bytes
    }

    /// Whether a bit is set.
    pub(crate) fn get(&self, bit: u64) -> bool {
        if bit >= self.bits {
            return false;
        }
        let byte = bit / 8;
        self.block(byte / BLOCK, |bytes| {
            bytes.get((byte % BLOCK) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
        })
    }

    /// Number of set bits before `bit`.
    pub(crate) fn rank(&self, bit: u64) -> u64 {
        let bit = bit.min(self.bits);
        let byte = bit / 8;
        let before = self.sum(byte / BLOCK);
        before
            + self.block(byte / BLOCK, |bytes| {
                let whole = bytes.get(..(byte % BLOCK) as usize).unwrap_or(bytes);
                let partial = bytes.get((byte % BLOCK) as usize).copied().unwrap_or(0);
                count(whole) + u64::from((partial & ((1u16 << (bit % 8)) - 1) as u8).count_ones())
            })
    }

    /// Set bits before a block; counts as far as that.
    fn sum(&self, block: u64) -> u64 {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        while (sums.len() as u64) <= block {
            let next = sums.len() as u64 - 1;
            let place = self.at.saturating_add(next * BLOCK);
            let hole = (self.source.data_from(place).saturating_sub(place) / BLOCK).min(block + 1 - next);
            if hole > 1 {
                // Zeros that need not be read.
                let sum = sums.last().copied().unwrap_or(0);
                sums.extend(std::iter::repeat_n(sum, hole as usize));
                continue;
            }
            let blocks = BATCH.min((self.bits.div_ceil(8 * BLOCK)).saturating_sub(next)).max(1);
            let at = self.at.saturating_add(next * BLOCK);
            let bytes = read_vec(&*self.source, at, (blocks * BLOCK) as usize).unwrap_or_default();
            let bytes = self.trimmed(next * BLOCK, bytes);
            let mut sum = sums.last().copied().unwrap_or(0);
            let mut pieces = bytes.chunks(BLOCK as usize);
            for _ in 0..blocks {
                sum += pieces.next().map_or(0, count);
                sums.push(sum);
            }
        }
        sums.get(block as usize).copied().unwrap_or(0)
    }

    /// The first run of equal bits that ends behind `from`: its range from `from` on, and whether they are set. A run may
    /// be given in pieces. `None` at the end.
    pub(crate) fn run(&self, from: u64) -> Option<(Range<u64>, bool)> {
        if from >= self.bits {
            return None;
        }
        let block = from / (8 * BLOCK);
        let end = ((block + 1) * 8 * BLOCK).min(self.bits);
        let (range, set) = self.block(block, |bytes| {
            let bit = |at: u64| bytes.get((at / 8 % BLOCK) as usize).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
            let set = bit(from);
            let mut at = from + 1;
            while at < end {
                let same = if set { 0xff } else { 0 };
                if at.is_multiple_of(8) && bytes.get((at / 8 % BLOCK) as usize).copied().unwrap_or(0) == same {
                    at += 8;
                } else if bit(at) == set {
                    at += 1;
                } else {
                    break;
                }
            }
            (from..at.min(end), set)
        });
        if set || range.end < end {
            return Some((range, set));
        }
        // Zeros up to the end of the block, and perhaps a hole behind it that need not be read.
        let place = self.at.saturating_add((block + 1) * BLOCK);
        let hole = self.source.data_from(place).saturating_sub(place) / BLOCK;
        Some((from..((block + 1 + hole).saturating_mul(8 * BLOCK)).min(self.bits).max(end), false))
    }
}

fn count(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let whole: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    whole + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn ranks_and_runs_agree_with_counting() {
        let mut state = 7u64;
        // Stretches of zeros, of ones, and of noise, over more than two blocks; the last bits do not count.
        let bytes: Vec<u8> = (0..10_000u32)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match i / 300 % 3 {
                    0 => 0,
                    1 => 0xff,
                    _ => (state >> 56) as u8,
                }
            })
            .collect();
        let bits = 79_995;
        let naive: Vec<bool> = (0..bits).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect();
        let mut file = vec![0xaa; 100];
        file.extend(&bytes);
        let bitmap = Bitmap::new(Arc::new(file), 100, bits as u64);
        let mut rank = 0;
        for (i, &set) in naive.iter().enumerate() {
            if i % 97 == 0 || i > bits - 20 {
                assert_eq!(bitmap.get(i as u64), set, "bit {i}");
                assert_eq!(bitmap.rank(i as u64), rank, "rank {i}");
            }
            rank += u64::from(set);
        }
        assert_eq!(bitmap.rank(u64::MAX), rank);
        let mut at = 0;
        while let Some((range, set)) = bitmap.run(at) {
            assert!(range.start == at && range.end > at);
            assert!(naive[range.start as usize..range.end as usize].iter().all(|&own| own == set), "{range:?}");
            at = range.end;
        }
        assert_eq!(at, bits as u64);
    }

    #[test]
    fn a_bitmap_that_is_cut_off_has_no_pages_there() {
        let bitmap = Bitmap::new(Arc::new(vec![0xff; 10]), 2, 1 << 30);
        assert_eq!(bitmap.rank(1 << 29), 64);
        assert!(bitmap.get(63) && !bitmap.get(64));
    }
}
