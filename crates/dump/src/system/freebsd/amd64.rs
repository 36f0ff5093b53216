//! The kernel's virtual memory in a full dump of amd64, whose root page table nobody names.
//!
//! *What it is*: a search for a root, and a walk over four levels from it.
//!
//! *What it is not*: a walk of a process's memory: whichever root is found, only the kernel's half, which all share, is
//! looked at.
//!
//! *Trap*: the search reads eight bytes of each page of the dump. It is made when the first address is asked for.
//!
//! Folklore (sys/amd64/include/vmparam.h, `PML4PML4I`): entry 256 of every root maps the root itself, so that the kernel
//! can see its own tables. A page whose entry 256 names that very page is a root. With five levels (`LA57`) it is not.

use crate::machine::PhysMemory;
use crate::memory::{Absence, Extent, Fault, Memory, MemoryExt};
use crate::{Endian, Phys, SegmentMemory, Virt};
use std::sync::{Arc, OnceLock};

const PAGE: u64 = 4096;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// The entry that maps the root.
const SELF: u64 = 256;
/// Present and writable.
const VALID: u64 = 3;
const LARGE: u64 = 0x80;
const MOST_TABLES: usize = 1 << 14;
const MOST_EXTENTS: usize = 1 << 16;

/// The memory.
pub(super) struct FullKernelMemory {
    memory: Arc<SegmentMemory<Phys>>,
    root: OnceLock<Option<u64>>,
}

impl FullKernelMemory {
    pub(super) fn new(memory: Arc<SegmentMemory<Phys>>) -> Self {
        Self { memory, root: OnceLock::new() }
    }

    fn entry(&self, table: u64, number: u64) -> Result<u64, Absence> {
        self.memory.read_uint(Phys(table + 8 * number), 8, Endian::Little).map_err(|fault| fault.why)
    }

    fn root(&self) -> Option<u64> {
        *self.root.get_or_init(|| {
            let mut at = Phys(0);
            while let Some(extent) = self.memory.next(at).filter(|extent| extent.end > at) {
                at = extent.end;
                if extent.absent.is_some() {
                    continue;
                }
                let mut page = extent.start.0.next_multiple_of(PAGE);
                while page.checked_add(PAGE).is_some_and(|end| end <= extent.end.0) {
                    let own = self.entry(page, SELF).is_ok_and(|entry| entry & FRAME == page && entry & VALID == VALID);
                    // The kernel itself is mapped by the last entry.
                    if own && self.entry(page, 511).is_ok_and(|entry| entry & 1 == 1) {
                        return Some(page);
                    }
                    page += PAGE;
                }
            }
            None
        })
    }

    fn translate(&self, at: u64) -> Result<u64, Absence> {
        if at >> 47 != 0x1_ffff {
            return Err(Absence::NotMapped);
        }
        let mut table = self.root().ok_or(Absence::NotInDump)?;
        for shift in [39, 30, 21, 12] {
            let entry = self.entry(table, at >> shift & 511)?;
            if entry & 1 == 0 {
                return Err(Absence::NotMapped);
            }
            if shift == 12 || (entry & LARGE != 0 && shift < 39) {
                let within = (1u64 << shift) - 1;
                return Ok((entry & FRAME & !within) | (at & within));
            }
            table = entry & FRAME;
        }
        Err(Absence::NotMapped)
    }

    /// Adds what a table maps; `start` is the address of its first entry.
    fn walk(&self, (table, start, shift): (u64, u64, u32), tables: &mut usize, extents: &mut Vec<Extent<Virt>>) {
        let first = if shift == 39 { SELF + 1 } else { 0 };
        for number in first..512 {
            if *tables >= MOST_TABLES || extents.len() >= MOST_EXTENTS {
                return;
            }
            let Ok(entry) = self.entry(table, number) else { return };
            if entry & 1 == 0 {
                continue;
            }
            let at = start.wrapping_add(number << shift);
            if shift > 12 && (entry & LARGE == 0 || shift == 39) {
                *tables += 1;
                self.walk((entry & FRAME, at, shift - 9), tables, extents);
                continue;
            }
            let frame = entry & FRAME & !((1u64 << shift) - 1);
            let absent = match self.memory.next(Phys(frame)) {
                Some(extent) if extent.start.0 <= frame => extent.absent,
                _ => Some(Absence::NotInDump),
            };
            let end = Virt(at.saturating_add(1 << shift));
            match extents.last_mut() {
                Some(last) if last.end.0 == at && last.absent == absent => last.end = end,
                _ => extents.push(Extent { start: Virt(at), end, absent }),
            }
        }
    }
}

impl Memory<Virt> for FullKernelMemory {
    fn read_at(&self, at: Virt, buf: &mut [u8]) -> Result<usize, Fault<Virt>> {
        let phys = self.translate(at.0).map_err(|why| Fault { at, why })?;
        let len = (buf.len() as u64).min(PAGE - at.0 % PAGE) as usize;
        let Some(buf) = buf.get_mut(..len) else { return Ok(0) };
        self.memory.read_at(Phys(phys), buf).map_err(|fault| Fault {
            at,
            why: if fault.why == Absence::NotMapped { Absence::NotInDump } else { fault.why },
        })
    }

    fn extents(&self) -> Vec<Extent<Virt>> {
        let mut extents = Vec::new();
        if let Some(root) = self.root() {
            // The upper half begins with entry 256.
            self.walk((root, 0xffff_0000_0000_0000, 39), &mut 0, &mut extents);
        }
        extents
    }
}
