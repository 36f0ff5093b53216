//! The kernel's virtual memory, by the page tables that a minidump has.
//!
//! *What it is*: the direct map, which is physical memory at an offset, and the kernel's own map.
//!
//! *Trap*: on amd64 the tables are page directories, and the page tables below them are ordinary pages of the dump; on the
//! others, and in version 1, the last level itself is written out for the whole kernel map.

use crate::machine::PhysMemory;
use crate::memory::{Absence, Extent, Fault, Memory, MemoryExt};
use crate::source::SharedSource;
use crate::system::ranked::RankedMemory;
use crate::{Endian, Phys, Virt};
use std::ops::Range;
use std::sync::Arc;

/// What the tables' entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// Page directory entries of 2 MiB each.
    Amd64Directory,
    /// Page table entries.
    Amd64Entries,
    /// Descriptors of the third level.
    Arm64Entries,
    /// Sv39's last level.
    RiscvEntries,
}

/// Where the tables are, and what they map.
pub(super) struct KernelMap {
    pub(super) tables: Tables,
    pub(super) page_size: u64,
    pub(super) tables_at: u64,
    pub(super) tables_end: u64,
    pub(super) kernel_base: u64,
    pub(super) direct_phys: u64,
    pub(super) direct: Range<u64>,
}

/// The memory.
pub(super) struct KernelMemory {
    source: SharedSource,
    memory: Arc<RankedMemory>,
    map: KernelMap,
}

/// Extents that are listed at most.
const MOST_EXTENTS: usize = 1 << 16;
/// Pages that are looked at for them.
const MOST_STEPS: u64 = 1 << 20;

impl KernelMemory {
    pub(super) fn new(source: SharedSource, memory: Arc<RankedMemory>, map: KernelMap) -> Self {
        Self { source, memory, map }
    }

    /// Bytes that one entry of the tables maps.
    fn entry_span(&self) -> u64 {
        if self.map.tables == Tables::Amd64Directory { 2 << 20 } else { self.map.page_size }
    }

    /// An entry of the tables.
    fn entry(&self, number: u64) -> Result<u64, Absence> {
        let at =
            number.checked_mul(8).and_then(|bytes| self.map.tables_at.checked_add(bytes)).ok_or(Absence::NotMapped)?;
        if at >= self.map.tables_end {
            return Err(Absence::NotMapped);
        }
        let mut bytes = [0; 8];
        match self.source.read_at(at, &mut bytes) {
            Ok(8) => Ok(u64::from_le_bytes(bytes)),
            Ok(_) => Err(Absence::Truncated),
            Err(e) => Err(Absence::Io(e.kind())),
        }
    }

    /// Where a virtual address lies in physical memory.
    fn translate(&self, at: u64) -> Result<u64, Absence> {
        const FRAME: u64 = 0x000f_ffff_ffff_f000;
        let map = &self.map;
        if map.direct.contains(&at) {
            return Ok((at - map.direct.start).wrapping_add(map.direct_phys));
        }
        let from_base = at.checked_sub(map.kernel_base).ok_or(Absence::NotMapped)?;
        let entry = self.entry(from_base / self.entry_span())?;
        let into = at % map.page_size;
        let (valid, frame) = match map.tables {
            Tables::Amd64Entries => (entry & 1 == 1, entry & FRAME),
            Tables::Arm64Entries => (entry & 3 == 3, entry & 0x0000_ffff_ffff_ffff & !(map.page_size - 1)),
            Tables::RiscvEntries => (entry & 1 == 1, (entry >> 10 & ((1 << 44) - 1)) << 12),
            Tables::Amd64Directory => {
                if entry & 1 == 0 {
                    return Err(Absence::NotMapped);
                }
                if entry & 0x80 != 0 {
                    return Ok((entry & FRAME & !((2 << 20) - 1)) | (at % (2 << 20)));
                }
                let table = Phys((entry & FRAME) + (at >> 12 & 511) * 8);
                let entry = self.memory.read_uint(table, 8, Endian::Little).map_err(|fault| fault.why)?;
                (entry & 1 == 1, entry & FRAME)
            }
        };
        if valid { Ok(frame | into) } else { Err(Absence::NotMapped) }
    }

    /// Whole pages and what they are, from an address on, of the kernel's own map.
    fn kernel_extents(&self, extents: &mut Vec<Extent<Virt>>) {
        let span = self.entry_span();
        let entries = self.map.tables_end.saturating_sub(self.map.tables_at) / 8;
        let mut steps = 0u64;
        for number in 0..entries {
            let Some(start) = number.checked_mul(span).and_then(|bytes| self.map.kernel_base.checked_add(bytes)) else {
                break;
            };
            // A directory entry that maps nothing is not looked at page by page.
            let entry = match self.entry(number) {
                Ok(entry) => entry,
                Err(_) => break,
            };
            if entry == 0 {
                continue;
            }
            for page in 0..span / self.map.page_size {
                steps += 1;
                if extents.len() >= MOST_EXTENTS || steps > MOST_STEPS {
                    return;
                }
                let Some(at) = start.checked_add(page * self.map.page_size) else { return };
                match self.translate(at) {
                    Ok(phys) => self.add(extents, at, self.state(phys)),
                    Err(Absence::NotMapped) => {}
                    Err(why) => self.add(extents, at, Some(why)),
                }
            }
        }
    }

    /// What a page of physical memory is.
    fn state(&self, phys: u64) -> Option<Absence> {
        match self.memory.next(Phys(phys)) {
            Some(extent) if extent.start.0 <= phys => extent.absent,
            _ => Some(Absence::NotInDump),
        }
    }

    fn add(&self, extents: &mut Vec<Extent<Virt>>, at: u64, absent: Option<Absence>) {
        let end = Virt(at.saturating_add(self.map.page_size));
        match extents.last_mut() {
            Some(last) if last.end.0 == at && last.absent == absent => last.end = end,
            _ => extents.push(Extent { start: Virt(at), end, absent }),
        }
    }

    /// The direct map: physical memory at its offset.
    fn direct_extents(&self, extents: &mut Vec<Extent<Virt>>) {
        let mut at = Phys(self.map.direct_phys);
        while let Some(extent) = self.memory.next(at) {
            let virt = |phys: Phys| phys.0.checked_sub(self.map.direct_phys)?.checked_add(self.map.direct.start);
            let (Some(start), Some(end)) = (virt(extent.start.max(Phys(self.map.direct_phys))), virt(extent.end))
            else {
                return;
            };
            if start >= self.map.direct.end || extents.len() >= 2 * MOST_EXTENTS || extent.end <= at {
                return;
            }
            let end = end.min(self.map.direct.end);
            extents.push(Extent { start: Virt(start), end: Virt(end), absent: extent.absent });
            at = extent.end;
        }
    }
}

impl Memory<Virt> for KernelMemory {
    fn read_at(&self, at: Virt, buf: &mut [u8]) -> Result<usize, Fault<Virt>> {
        let phys = self.translate(at.0).map_err(|why| Fault { at, why })?;
        let len = (buf.len() as u64).min(self.map.page_size - at.0 % self.map.page_size) as usize;
        let Some(buf) = buf.get_mut(..len) else { return Ok(0) };
        // Mapped, and not in the dump: what is mapped was memory.
        self.memory.read_at(Phys(phys), buf).map_err(|fault| Fault {
            at,
            why: if fault.why == Absence::NotMapped { Absence::NotInDump } else { fault.why },
        })
    }

    fn extents(&self) -> Vec<Extent<Virt>> {
        let mut extents = Vec::new();
        self.kernel_extents(&mut extents);
        self.direct_extents(&mut extents);
        extents.sort_by_key(|extent| extent.start);
        extents
    }
}
