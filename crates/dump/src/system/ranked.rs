//! Memory whose pages stand packed one behind the other, with a bitmap of which pages they are.
//!
//! *What it is*: what sadump and FreeBSD's minidumps have in common.
//!
//! *Trap*: the bits need not be page numbers: FreeBSD numbers only the pages of the ranges where it found memory.

use super::ranks::Bitmap;
use crate::Phys;
use crate::machine::{PhysMemory, collect_extents};
use crate::memory::{Absence, Extent, Fault, Memory};
use crate::source::SharedSource;

const MOST_EXTENTS: usize = 1 << 20;

/// Pages `first..end` are the bits from `bit` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitRange {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) bit: u64,
}

/// The memory.
pub(crate) struct RankedMemory {
    pub(crate) source: SharedSource,
    pub(crate) page_size: u64,
    /// In ascending order, without overlap.
    pub(crate) ranges: Vec<BitRange>,
    /// The pages that are there.
    pub(crate) held: Bitmap,
    /// The pages that were memory, where that is known.
    pub(crate) ram: Option<Bitmap>,
    /// Where the first page stands, and the first byte behind the last.
    pub(crate) data: std::ops::Range<u64>,
    /// What a page is that lies behind `data`.
    pub(crate) beyond: Absence,
}

impl RankedMemory {
    fn range(&self, page: u64) -> Option<&BitRange> {
        let next = self.ranges.partition_point(|range| range.end <= page);
        self.ranges.get(next)
    }

    /// Where a page stands in the file.
    fn place(&self, page: u64) -> Result<u64, Absence> {
        let range = self.range(page).filter(|range| range.first <= page).ok_or(Absence::NotMapped)?;
        let bit = range.bit.saturating_add(page - range.first);
        if !self.held.get(bit) {
            return Err(match &self.ram {
                Some(ram) if !ram.get(bit) => Absence::NotMapped,
                _ => Absence::NotInDump,
            });
        }
        let place = self.held.rank(bit).saturating_mul(self.page_size).saturating_add(self.data.start);
        if place >= self.data.end { Err(self.beyond) } else { Ok(place) }
    }
}

impl Memory<Phys> for RankedMemory {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        let fault = |why| Fault { at, why };
        let into = at.0 % self.page_size;
        let place = self.place(at.0 / self.page_size).map_err(fault)?;
        let len = (buf.len() as u64).min(self.page_size - into) as usize;
        let Some(buf) = buf.get_mut(..len).filter(|buf| !buf.is_empty()) else { return Ok(0) };
        match self.source.read_at(place.saturating_add(into), buf) {
            Ok(0) => Err(fault(Absence::Truncated)),
            Ok(got) => Ok(got),
            Err(e) => Err(fault(Absence::Io(e.kind()))),
        }
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        collect_extents(self, MOST_EXTENTS)
    }
}

impl PhysMemory for RankedMemory {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let mut page = at.0 / self.page_size;
        loop {
            let range = self.range(page)?;
            page = page.max(range.first);
            let bit = range.bit.saturating_add(page - range.first);
            let (run, set) = self.held.run(bit)?;
            let mut end = range.end.min(page.saturating_add(run.end - bit));
            let mut absent = None;
            if !set {
                absent = Some(Absence::NotInDump);
                if let Some(ram) = &self.ram {
                    let (was, set) = ram.run(bit)?;
                    end = end.min(page.saturating_add(was.end - bit));
                    if !set {
                        page = end;
                        continue;
                    }
                }
            } else {
                // How many of them the file still has.
                let place = self.held.rank(bit).saturating_mul(self.page_size).saturating_add(self.data.start);
                let (limit, why) = if self.data.end <= self.source.len() {
                    (self.data.end, self.beyond)
                } else {
                    (self.source.len(), Absence::Truncated)
                };
                match limit.saturating_sub(place).div_ceil(self.page_size) {
                    0 => absent = Some(why),
                    have => end = end.min(page.saturating_add(have)),
                }
            }
            let address = |page: u64| Phys(page.saturating_mul(self.page_size));
            let extent = Extent { start: address(page), end: address(end), absent };
            // The very last page has no address behind it.
            return (extent.end > at && extent.start < extent.end).then_some(extent);
        }
    }
}
