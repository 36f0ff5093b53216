//! Where a file that is cut off stops to have its pages.
//!
//! *What it is*: makedumpfile and QEMU write pages in the order of their descriptors, so that what is lost begins at one of
//! them. It is found by halving; from there on each descriptor is looked at when it is asked for.
//!
//! *Trap*: all pages of zeros share the bytes of the first. Such a descriptor says nothing about the pages before it, and
//! behind the cut these pages are still there.
//!
//! *Trap*: a flattened file that is cut off has descriptors that were never written, which read as zeros.

use super::header::DESCRIPTOR;
use crate::Endian;
use crate::bytes::Fields;
use crate::source::{SharedSource, read_vec};

/// Descriptors that are read at once.
const CHUNK: u64 = 256;
/// Descriptors that are looked at while the first lost one is searched. Only stretches of zeros, of which 4 GiB are one
/// such number, need more than some thousands.
const SEARCHED: u64 = 1 << 20;
/// Descriptors that are counted behind it: of 16 GiB.
const COUNTED: u64 = 1 << 22;

/// Whether a page's bytes do not lie in a file of this length.
pub(super) fn is_lost(offset: u64, size: u64, length: u64) -> bool {
    offset.saturating_add(size) > length || (offset == 0 && size == 0)
}

/// The descriptors of a file.
pub(super) struct Descriptors {
    pub(super) source: SharedSource,
    pub(super) endian: Endian,
    /// Where they begin.
    pub(super) at: u64,
    /// How many there should be.
    pub(super) count: u64,
}

/// What is lost of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// No page with a descriptor before this one is lost.
    pub(super) first: u64,
    /// Pages that are lost, or as many as were counted.
    pub(super) lost: u64,
    /// Whether all were counted.
    pub(super) counted: bool,
}

enum Look {
    /// One of them is lost.
    Lost,
    /// None is, and neither is a page before them.
    Whole,
    /// All of these pages are the same one, which is there.
    Unknown,
}

impl Descriptors {
    /// Descriptors that lie in the file.
    fn whole(&self) -> u64 {
        (self.source.len().saturating_sub(self.at) / DESCRIPTOR).min(self.count)
    }

    /// Where the pages of some descriptors lie, and whether they are lost.
    fn read(&self, from: u64, most: u64) -> Vec<(u64, bool)> {
        let length = self.source.len();
        let most = most.min(CHUNK).min(self.whole().saturating_sub(from));
        let at = self.at.saturating_add(from.saturating_mul(DESCRIPTOR));
        let bytes = read_vec(&*self.source, at, (most * DESCRIPTOR) as usize).unwrap_or_default();
        let places = bytes.chunks_exact(DESCRIPTOR as usize).map_while(|descriptor| {
            let fields = Fields::new(descriptor, self.endian);
            let (offset, size) = (fields.u64(0)?, u64::from(fields.u32(8)?));
            Some((offset, is_lost(offset, size, length)))
        });
        places.collect()
    }

    /// What the descriptors from one on, as far as another, say about the pages up to there.
    fn look(&self, from: u64, to: u64, left: &mut u64) -> Look {
        let mut at = from;
        let mut other: Option<u64> = None;
        while at < to && *left > 0 {
            let chunk = self.read(at, (to - at).min(*left));
            if chunk.is_empty() || chunk.iter().any(|(_, lost)| *lost) {
                return Look::Lost;
            }
            // Two pages that share no bytes: one of them is no page of zeros, and lies behind all that came before it.
            let first = *other.get_or_insert(chunk.first().map_or(0, |(offset, _)| *offset));
            if chunk.iter().any(|(offset, _)| *offset != first) {
                return Look::Whole;
            }
            at += chunk.len() as u64;
            *left = left.saturating_sub(chunk.len() as u64);
        }
        Look::Unknown
    }

    /// What is lost, if anything is.
    pub(super) fn cut(&self) -> Option<Cut> {
        let whole = self.whole();
        let mut left = SEARCHED;
        if whole == self.count && matches!(self.look(whole.saturating_sub(CHUNK), whole, &mut left), Look::Whole) {
            return None;
        }
        let (mut low, mut high) = (0, whole);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.look(middle, high, &mut left) {
                Look::Whole => low = middle + 1,
                // Too early is no mistake: what follows is looked at page by page.
                Look::Lost | Look::Unknown => high = middle,
            }
        }
        let (mut first, mut lost) = (None, self.count - whole);
        let mut at = low;
        while at < whole && at - low < COUNTED {
            let chunk = self.read(at, CHUNK);
            if chunk.is_empty() {
                break;
            }
            for (index, _) in chunk.iter().enumerate().filter(|(_, (_, is_lost))| *is_lost) {
                first.get_or_insert(at + index as u64);
                lost += 1;
            }
            at += chunk.len() as u64;
        }
        let counted = at >= whole;
        if lost == 0 && counted {
            return None;
        }
        let first = first.unwrap_or(if counted { whole } else { low });
        Some(Cut { first, lost, counted })
    }

    /// Whether the page of a descriptor is lost, and for how many of the next ones, at most so many, this is the same.
    pub(super) fn run(&self, from: u64, most: u64) -> (u64, bool) {
        let chunk = self.read(from, most);
        let Some((_, first)) = chunk.first() else { return (most, true) };
        (chunk.iter().take_while(|(_, lost)| lost == first).count() as u64, *first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Pages of 10 bytes behind their descriptors; `true` is a page of zeros, which all share the first of their kind.
    fn file(zeros: &[bool]) -> Vec<u8> {
        let mut place = 8 + 24 * zeros.len() as u64;
        let mut shared = None;
        let mut bytes = vec![0xee; 8];
        for zero in zeros {
            let own = if *zero { *shared.get_or_insert(place) } else { place };
            if own == place {
                place += 10;
            }
            bytes.extend(own.to_le_bytes());
            bytes.extend(10u32.to_le_bytes());
            bytes.extend([0; 12]);
        }
        bytes.resize(place as usize, 7);
        bytes
    }

    fn descriptors(bytes: &[u8], count: usize) -> Descriptors {
        Descriptors { source: Arc::new(bytes.to_vec()), endian: Endian::Little, at: 8, count: count as u64 }
    }

    #[test]
    fn the_first_lost_page_is_found_among_zeros() {
        let mixed: Vec<bool> = (0..3000).map(|i| i % 3 == 0 || (900..1700).contains(&i) || i > 2600).collect();
        let layouts = [vec![false; 3000], mixed, vec![true; 3000], vec![false], vec![true; 2]];
        for zeros in layouts {
            let whole = file(&zeros);
            assert_eq!(descriptors(&whole, zeros.len()).cut(), None);
            for cut in (0..whole.len()).step_by(997).chain([whole.len() - 1]) {
                let table = descriptors(&whole[..cut], zeros.len());
                let naive: Vec<bool> = (0..zeros.len())
                    .map(|i| {
                        let Some(own) = whole[..cut].get(8 + 24 * i..8 + 24 * (i + 1)) else { return true };
                        u64::from_le_bytes(own[..8].try_into().unwrap()) + 10 > cut as u64
                    })
                    .collect();
                let found = table.cut().unwrap_or_else(|| panic!("nothing is lost at {cut}"));
                let lost = naive.iter().filter(|lost| **lost).count() as u64;
                assert_eq!((found.lost, found.counted), (lost, true), "cut at {cut}");
                assert_eq!(found.first, naive.iter().position(|lost| *lost).unwrap() as u64, "cut at {cut}");
                let mut at = found.first;
                while at < zeros.len() as u64 {
                    let (length, lost) = table.run(at, zeros.len() as u64 - at);
                    assert!(length > 0 && naive[at as usize..(at + length) as usize].iter().all(|own| *own == lost));
                    at += length;
                }
            }
        }
    }
}
