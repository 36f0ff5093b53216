//! An index of pages whose records follow one another in a file, in far less than an entry a page.
//!
//! *What it is*: a stretch is up to 64 pages with ascending numbers whose records stand one behind the other; a reader
//! keeps in its `place` what it needs to find the how-many-th record. A page that comes again replaces the older one.
//!
//! *What it is not*: it reads no file.
//!
//! *Trap*: nothing keeps a hostile file from giving each page a stretch of its own, so their number is limited; the limit
//! is booked with the budget before the index is made.

use std::collections::BTreeMap;
use std::ops::Range;

/// Most pages of a stretch.
pub(crate) const MOST_PAGES: u8 = 64;
/// What an entry costs in memory, with its share of the tree.
pub(crate) const ENTRY_BYTES: u64 = 72;
/// Entries that are looked at to join neighbours.
const JOINED: usize = 4096;

#[derive(Clone, Copy)]
struct Entry<P> {
    skip: u8,
    count: u8,
    place: P,
}

/// Stretches by their first page.
pub(crate) struct Stretches<P> {
    entries: BTreeMap<u64, Entry<P>>,
}

impl<P: Copy> Stretches<P> {
    pub(crate) fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// Entries held.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds `count` pages from `first` on; what was known of them before is forgotten.
    pub(crate) fn put(&mut self, first: u64, count: u8, place: P) {
        let Some(end) = first.checked_add(u64::from(count)).filter(|_| count > 0) else { return };
        let mut rest: Option<(u64, Entry<P>)> = None;
        if let Some((&start, entry)) = self.entries.range_mut(..first).next_back() {
            rest = tail(start, entry, end);
            let keep = first - start;
            if keep < u64::from(entry.count) {
                entry.count = keep as u8;
            } else {
                rest = None;
            }
        }
        while let Some((&start, _)) = self.entries.range(first..end).next() {
            if let Some(entry) = self.entries.remove(&start) {
                rest = tail(start, &entry, end).or(rest);
            }
        }
        if let Some((start, entry)) = rest {
            self.entries.insert(start, entry);
        }
        self.entries.insert(first, Entry { skip: 0, count, place });
    }

    /// The stretch that holds a page, and the how-many-th of its records is the page's.
    pub(crate) fn find(&self, page: u64) -> Option<(P, u8)> {
        let (&start, entry) = self.entries.range(..=page).next_back()?;
        let into = page - start;
        (into < u64::from(entry.count)).then(|| (entry.place, entry.skip.saturating_add(into as u8)))
    }

    /// The first run of pages that ends behind `page`; may begin before it, and may be given in pieces.
    pub(crate) fn run(&self, page: u64) -> Option<Range<u64>> {
        let first = match self.entries.range(..=page).next_back() {
            Some((&start, entry)) if page - start < u64::from(entry.count) => start,
            _ => *self.entries.range(page..).next()?.0,
        };
        let mut end = first;
        for (&start, entry) in self.entries.range(first..).take(JOINED) {
            if start != end {
                break;
            }
            end = start.saturating_add(u64::from(entry.count));
        }
        Some(first..end)
    }
}

/// What of an entry lies at or behind `end`.
fn tail<P: Copy>(start: u64, entry: &Entry<P>, end: u64) -> Option<(u64, Entry<P>)> {
    let own_end = start.saturating_add(u64::from(entry.count));
    let gone = end.saturating_sub(start);
    (own_end > end).then(|| {
        let skip = entry.skip.saturating_add(gone as u8);
        (end, Entry { skip, count: (own_end - end) as u8, place: entry.place })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_pages_replace_earlier_ones() {
        let mut stretches = Stretches::new();
        let mut truth: Vec<Option<(u32, u8)>> = vec![None; 600];
        let mut state = 1u64;
        for number in 0..2000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (first, count) = ((state >> 33) % 500, ((state >> 20) % 64 + 1) as u8);
            stretches.put(first, count, number);
            for k in 0..count {
                truth[first as usize + usize::from(k)] = Some((number, k));
            }
            for (page, own) in truth.iter().enumerate() {
                assert_eq!(stretches.find(page as u64), *own, "page {page} after {number}");
            }
        }
        assert_eq!(stretches.run(0).unwrap().start, truth.iter().position(Option::is_some).unwrap() as u64);
    }

    #[test]
    fn runs_join_neighbours_and_show_gaps() {
        let mut stretches = Stretches::new();
        stretches.put(10, 4, ());
        stretches.put(14, 64, ());
        stretches.put(100, 1, ());
        assert_eq!(stretches.run(0), Some(10..78));
        // A run begins with the stretch that holds the page.
        assert_eq!(stretches.run(77), Some(14..78));
        assert_eq!(stretches.run(78), Some(100..101));
        assert_eq!(stretches.run(101), None);
    }
}
