//! The pages of a `ram` section as a stream: one walk over the records, which leaves an index.
//!
//! *Trap*: a live guest's pages come several times; the last one counts. A page may come as the difference (XBZRLE) to
//! what it was, so what it was must stay known.
//!
//! Folklore (migration/ram.c of QEMU 7.2 to 10.0): a record is a number of eight bytes, most significant first, whose low
//! bits are flags: 1 full (obsolete), 2 zero or filled (one byte follows), 4 list of blocks, 8 page, 0x10 end of the
//! section, 0x20 same block as before (else its name follows), 0x40 XBZRLE, 0x80 RDMA's hook, 0x100 zlib (until 9.0),
//! 0x200 multifd's flush.

use super::blocks::{Block, read_blocks};
use super::cursor::Cursor;
use crate::source::SharedSource;
use crate::system::stretches::{ENTRY_BYTES, MOST_PAGES, Stretches};
use std::collections::BTreeMap;

const ZERO: u64 = 2;
const MEM_SIZE: u64 = 4;
const PAGE: u64 = 8;
const END: u64 = 0x10;
const CONTINUE: u64 = 0x20;
const XBZRLE: u64 = 0x40;
const HOOK: u64 = 0x80;
const ZLIB: u64 = 0x100;
const FLUSH: u64 = 0x200;

/// Differences that one page may be made of.
const MOST_DELTAS: usize = 4096;
/// What one costs in memory, in a list that doubles as it grows.
const DELTA_BYTES: u64 = 16;

/// Where the records of a stretch are: record `k` is a number of eight bytes and then a page, if bit `k` is set, else one
/// byte that fills it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    at: u64,
    pages: u64,
}

impl Place {
    /// Where the data of a record lies, and whether it is a whole page.
    pub(super) fn data(self, record: u8, page_size: u64) -> (u64, bool) {
        let before = u64::from(record);
        let whole = u64::from((self.pages & ((1u64 << (record & 63)) - 1)).count_ones());
        let bytes = 8 * (before + 1) + whole * page_size + (before - whole);
        (self.at.saturating_add(bytes), self.pages >> (record & 63) & 1 == 1)
    }
}

/// A page that is not simply there.
pub(super) enum Odd {
    /// Differences to the page in the stretch, each at its flag byte.
    Deltas(Vec<u64>),
    /// A zlib stream with its length before it.
    Zlib(u64),
}

/// The pages of one block.
pub(super) struct Pages {
    pub(super) stretches: Stretches<Place>,
    pub(super) odd: BTreeMap<u64, Odd>,
    /// Differences in `odd`.
    deltas: u64,
}

impl Pages {
    /// Bytes that they take.
    fn cost(&self) -> u64 {
        ENTRY_BYTES * (self.stretches.len() + self.odd.len()) as u64 + DELTA_BYTES * self.deltas
    }

    /// A page comes whole: what it was put together from is forgotten.
    fn forget(&mut self, page: u64) {
        if !self.odd.is_empty()
            && let Some(Odd::Deltas(deltas)) = self.odd.remove(&page)
        {
            self.deltas = self.deltas.saturating_sub(deltas.len() as u64);
        }
    }
}

/// Where every page is.
#[derive(Default)]
pub(super) struct Index {
    /// In the order of the blocks.
    pub(super) blocks: Vec<Pages>,
    /// The section did not come to its end.
    pub(super) cut_off: bool,
    /// First byte behind the section.
    pub(super) end: u64,
    pub(super) problems: Vec<String>,
}

struct Pending {
    block: usize,
    first: u64,
    count: u8,
    place: Place,
}

/// The walk.
pub(super) struct Walker {
    cursor: Cursor,
    blocks: Vec<Block>,
    index: Index,
    page_size: u64,
    section: u64,
    version: u64,
    current: Option<usize>,
    pending: Option<Pending>,
    /// Bytes that the index may still take.
    left: u64,
    flushes: u64,
    pages: u64,
    ended: bool,
}

impl Walker {
    /// From the first record behind the list of blocks, `at`; the index may take `booked` bytes.
    pub(super) fn new(
        source: SharedSource,
        at: u64,
        blocks: Vec<Block>,
        (page_size, section, version): (u64, u64, u64),
        booked: u64,
    ) -> Self {
        let pages = blocks.iter().map(|_| Pages { stretches: Stretches::new(), odd: BTreeMap::new(), deltas: 0 });
        let index = Index { blocks: pages.collect(), cut_off: true, end: at, problems: Vec::new() };
        // Old streams have one space of addresses and no names.
        let current = (version < 4).then_some(0);
        let cursor = Cursor::new(source, at);
        let left = booked;
        Self {
            cursor,
            blocks,
            index,
            page_size,
            section,
            version,
            current,
            pending: None,
            left,
            flushes: 0,
            pages: 0,
            ended: false,
        }
    }

    /// Whether the section's end, or the file's, has been reached.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Walks on until `limit` in the file.
    pub(super) fn go_on(&mut self, limit: u64) {
        while !self.ended && self.cursor.at < limit {
            if self.record().is_none() {
                self.ended = true;
            }
        }
        if self.ended && self.flush().is_none() {
            self.index.cut_off = true;
        }
    }

    /// The index, after the walk has come to its end.
    pub(super) fn finish(mut self) -> Index {
        self.go_on(u64::MAX);
        self.index.end = self.cursor.at;
        if self.flushes > 0 && self.pages == 0 {
            self.index.problems.push(
                "the pages went through other channels (multifd), and are not in this file: migrate without multifd, or \
                 with mapped-ram"
                    .to_owned(),
            );
        }
        self.index
    }

    /// One record; `None` where it cannot go on.
    fn record(&mut self) -> Option<()> {
        let at = self.cursor.at;
        let head = self.cursor.number(8)?;
        let flags = head & (self.page_size - 1);
        let page = head / self.page_size;
        if flags & (ZERO | PAGE | XBZRLE | ZLIB) != 0 {
            let new_name = flags & CONTINUE == 0 && self.version >= 4;
            if new_name {
                let name = self.cursor.name()?;
                let place = self.blocks.iter().position(|block| block.name.as_bytes() == name);
                if place.is_none() {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    return self.stop(format!("a page of an unknown RAM block {name:?} at {at:#x}"));
                }
                self.current = place;
            }
            let Some(block) = self.current else {
                return self.stop(format!("a page without a RAM block at {at:#x}"));
            };
            if page >= self.blocks.get(block).map_or(0, |block| block.length.div_ceil(self.page_size)) {
                return self.stop(format!("a page outside its RAM block at {at:#x}"));
            }
            self.pages += 1;
            return self.page(block, page, flags);
        }
        match flags {
            END => self.section_end(),
            HOOK => Some(()),
            FLUSH => {
                self.flushes += 1;
                Some(())
            }
            MEM_SIZE if self.version >= 4 => {
                // The same list again; blocks do not change while a stream is written.
                let (_, problem) = read_blocks(&mut self.cursor, page.saturating_mul(self.page_size), 1 << 16);
                problem.map_or(Some(()), |problem| self.stop(problem))
            }
            MEM_SIZE => Some(()),
            _ => self.stop(format!("a record with the unknown flags {flags:#x} at {at:#x}")),
        }
    }

    fn stop(&mut self, problem: String) -> Option<()> {
        self.index.problems.push(problem);
        None
    }

    fn page(&mut self, block: usize, page: u64, flags: u64) -> Option<()> {
        let data = self.cursor.at;
        if flags & (ZERO | PAGE) != 0 {
            let whole = flags & PAGE != 0;
            self.plain(block, page, data, whole)?;
            self.cursor.skip(if whole { self.page_size } else { 1 });
            return Some(());
        }
        self.flush()?;
        let pages = self.index.blocks.get_mut(block)?;
        let before = pages.cost();
        if flags & XBZRLE != 0 {
            self.cursor.skip(1);
            let len = self.cursor.number(2)?;
            self.cursor.skip(len);
            match pages.odd.entry(page).or_insert_with(|| Odd::Deltas(Vec::new())) {
                Odd::Deltas(deltas) if deltas.len() < MOST_DELTAS => deltas.push(data),
                _ => return self.stop(format!("a difference to a page that cannot have one at {data:#x}")),
            }
            pages.deltas += 1;
        } else {
            let len = self.cursor.number(4)?;
            self.cursor.skip(len);
            pages.forget(page);
            pages.odd.insert(page, Odd::Zlib(data));
            // That there is a page, for those who ask for ranges.
            pages.stretches.put(page, 1, Place { at: data, pages: 0 });
        }
        let after = pages.cost();
        self.pay(before, after)
    }

    /// A page or a filled page: the next of its stretch, or the first of a new one.
    fn plain(&mut self, block: usize, page: u64, data: u64, whole: bool) -> Option<()> {
        if let Some(pages) = self.index.blocks.get_mut(block) {
            let before = pages.cost();
            pages.forget(page);
            let after = pages.cost();
            self.pay(before, after)?;
        }
        let page_size = self.page_size;
        if let Some(pending) = &mut self.pending
            && pending.block == block
            && pending.count < MOST_PAGES
            && pending.first + u64::from(pending.count) == page
            && pending.place.data(pending.count, page_size).0 == data
        {
            pending.place.pages |= u64::from(whole) << pending.count;
            pending.count += 1;
            return Some(());
        }
        self.flush()?;
        // The first record may have a name before its data; the place is reckoned back from the data.
        let place = Place { at: data.saturating_sub(8), pages: u64::from(whole) };
        self.pending = Some(Pending { block, first: page, count: 1, place });
        Some(())
    }

    /// Settles what a change of the index costs.
    fn pay(&mut self, before: u64, after: u64) -> Option<()> {
        match self.left.saturating_add(before).checked_sub(after) {
            Some(left) => {
                self.left = left;
                Some(())
            }
            None => self.stop(format!("the index of pages is full at {:#x} of the file", self.cursor.at)),
        }
    }

    fn flush(&mut self) -> Option<()> {
        let Some(pending) = self.pending.take() else { return Some(()) };
        let pages = self.index.blocks.get_mut(pending.block)?;
        let before = pages.cost();
        pages.stretches.put(pending.first, pending.count, pending.place);
        let after = pages.cost();
        self.pay(before, after)
    }

    /// The end of a section, and the head of the next if it goes on with this machine's RAM.
    fn section_end(&mut self) -> Option<()> {
        self.flush()?;
        if self.cursor.peek(1) == Some(&[0x7e]) {
            self.cursor.skip(5);
        }
        loop {
            match self.cursor.number(1)? {
                // Part or end of a section.
                2 | 3 => {
                    if self.cursor.number(4)? != self.section {
                        return self.stop(format!("a part of another section at {:#x}", self.cursor.at));
                    }
                    return Some(());
                }
                // A command: number, length, content.
                8 => {
                    let _ = self.cursor.number(2)?;
                    let len = self.cursor.number(2)?;
                    self.cursor.skip(len);
                }
                // A device's state, the description of all, the end: no RAM comes behind them.
                0 | 4 | 6 => {
                    self.cursor.at -= 1;
                    self.index.cut_off = false;
                    return None;
                }
                // Another device that sends its state in pieces: of unknown length.
                kind => return self.stop(format!("a section of kind {kind} in the middle of the RAM")),
            }
        }
    }
}
