//! Which pages of a range of private memory have ever been touched.
//!
//! *What it is not*: it says nothing about file pages or shared memory: a page that is not in this process's page
//! table may have content there all the same.
//!
//! *Example*: of a 256 GiB reservation with one megabyte in use, `next` names that megabyte in well under a second.
//!
//! *Trap*: `PAGEMAP_SCAN` (Linux 6.7) may return no range and yet not have come to the end; only `walk_end` tells.

use crate::sys;
use crate::sys::pages::{Scan, scan};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Entries of the classic pagemap that are read at once: 512 KiB, for 256 MiB of address space.
const ENTRIES: usize = 64 * 1024;

/// Ranges that one scan tells of.
const REGIONS: usize = 1024;

/// A window of the address space, already looked at.
pub(crate) struct Touched {
    pagemap: File,
    scan: bool,
    page: u64,
    window: Range<u64>,
    ranges: VecDeque<Range<u64>>,
}

impl Touched {
    /// Opens the page map of a process.
    pub(crate) fn of(pid: sys::Tid) -> std::io::Result<Self> {
        let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
        Ok(Self { pagemap, scan: true, page: sys::page_size(), window: 0..0, ranges: VecDeque::new() })
    }

    /// The next touched range in `at..end`; both on page boundaries. Calls must go upwards within a range.
    pub(crate) fn next(&mut self, at: u64, end: u64) -> Option<Range<u64>> {
        let mut at = at;
        if !self.window.contains(&at) {
            self.window = at..at;
            self.ranges.clear();
        }
        while at < end {
            while let Some(range) = self.ranges.front() {
                if range.end <= at {
                    self.ranges.pop_front();
                } else if range.start >= end {
                    return None;
                } else {
                    return Some(range.start.max(at)..range.end.min(end));
                }
            }
            at = self.window.end.max(at);
            if at < end {
                self.refill(at, end);
            }
        }
        None
    }

    /// Looks at the pages from `at` on: afterwards the window begins there and is not empty.
    fn refill(&mut self, at: u64, end: u64) {
        self.ranges.clear();
        if self.scan {
            match scan(&self.pagemap, &Scan::TOUCHED, at, end, REGIONS) {
                Ok((walk_end, ranges)) if walk_end > at => {
                    self.ranges = ranges.into_iter().map(|(range, _)| range).collect();
                    self.window = at..walk_end;
                    return;
                }
                _ => self.scan = false,
            }
        }
        let pages = ((end - at) / self.page).clamp(1, ENTRIES as u64) as usize;
        let mut entries = vec![0u8; pages * 8];
        let offset = at / self.page * 8;
        let known = self.pagemap.read_exact_at(&mut entries, offset).is_ok();
        for (n, entry) in entries.chunks_exact(8).enumerate() {
            // Bits 63 and 62: present, swapped. What cannot be told is taken to be touched.
            let touched = !known || entry.last().is_some_and(|high| high & 0xc0 != 0);
            let start = at + n as u64 * self.page;
            match self.ranges.back_mut() {
                Some(last) if touched && last.end == start => last.end += self.page,
                _ if touched => self.ranges.push_back(start..start + self.page),
                _ => {}
            }
        }
        self.window = at..at + pages as u64 * self.page;
    }

    /// Uses the classic page map only.
    #[cfg(test)]
    fn classic(mut self) -> Self {
        self.scan = false;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_see_the_touched_pages() {
        let page = sys::page_size() as usize;
        // Far larger than a window of the classic map.
        let len = 1usize << 30;
        let memory = sys::reserve(len);
        let start = memory as u64;
        let pages = [0, 1, 1000, 200_000, len / page - 1];
        for n in pages {
            sys::touch(memory, n * page);
        }
        let own = sys::own_pid();
        for mut touched in [Touched::of(own).unwrap(), Touched::of(own).unwrap().classic()] {
            let mut found = Vec::new();
            let (mut at, end) = (start, start + len as u64);
            while let Some(range) = touched.next(at, end) {
                assert!(range.start >= at && range.end <= end);
                found.extend((range.start..range.end).step_by(page).map(|at| (at - start) as usize / page));
                at = range.end;
            }
            assert_eq!(found, pages);
        }
    }
}
