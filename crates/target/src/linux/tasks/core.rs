//! A process of a machine as an ELF core, as its own kernel would have written one.
//!
//! *What it is*: [`Linux::core_of`] makes everything but the bytes; the same value then gives those, piece by piece.
//!
//! *Trap*: debuggers read zeros from a PT_LOAD that is longer in memory than in the file. So only what was never touched, and
//! is zero, is written so; what the dump does not have has no PT_LOAD at all, and reading it fails.

use super::memory::{MemoryPiece, PieceState, ProcessMemory};
use super::process::Process;
use super::regions::ProcessRegion;
use crate::linux::Linux;
use afterimage_dump::write::elf_core::{Core, Segment};
use afterimage_dump::write::layout::Content;
use afterimage_dump::write::notes;
use afterimage_dump::{Absence, MemoryExt, Permissions, Virt};
use std::io;
use std::ops::Range;

/// How often the machine's memory may be written into one core: pages are shared, but a hostile table could repeat one for
/// ever.
const MOST_SHARED: u64 = 4;
/// Bytes that may be written whatever the machine has.
const FREE: u64 = 1 << 30;

/// Mappings of what is no memory of programs (`VM_PFNMAP`, `VM_IO`). Those of the kernel's clocks are no longer marked so in
/// 7.x, and told by their name.
const SPECIAL: u64 = 0x400 | 0x4000;

/// The smallest page of any processor.
const PAGE: u64 = 4096;

/// A process as a core.
pub struct ProcessCore<'l> {
    /// Headers, notes, and which memory there is.
    pub core: Core,
    /// Bytes of memory that are in the dump.
    pub stored: u64,
    /// Bytes that were never touched and are zero.
    pub zeros: u64,
    /// What is missing, by reason; of the kernel's own pages (`[vvar]`), which no core ever holds, nothing is.
    pub absent: Vec<(Absence, u64)>,
    /// Threads that it has.
    pub threads: usize,
    /// Mappings that it has.
    pub regions: usize,
    /// What could not be told, and what of which mapping is missing.
    pub remarks: Vec<String>,
    memory: ProcessMemory<&'l Linux>,
    present: Vec<Range<u64>>,
    unreadable: u64,
}

impl Linux {
    /// A process as a core.
    ///
    /// # Errors
    /// Why it has none: it is the kernel's own, or has ended, or nothing of it is in the dump.
    pub fn core_of(&self, process: &Process) -> Result<ProcessCore<'_>, String> {
        let (memory, mut remarks) = self.memory_of(process)?;
        let told = self.core_notes(process, &memory)?;
        remarks.extend(told.remarks);
        let mut core = Core::new(told.class, told.arch.elf_machine(), self.page_bytes());
        core.notes = told.notes;
        let mut out = ProcessCore {
            core,
            stored: 0,
            zeros: 0,
            absent: Vec::new(),
            threads: told.threads,
            regions: memory.regions().count(),
            remarks,
            memory,
            present: Vec::new(),
            unreadable: 0,
        };
        let most = self.machine_bytes().saturating_mul(MOST_SHARED).saturating_add(FREE);
        let mut untouched = Vec::new();
        let regions: Vec<ProcessRegion> = out.memory.regions().cloned().collect();
        for region in &regions {
            let pieces = out.memory.pieces(region);
            out.region(region, &pieces, &mut untouched, most);
        }
        if out.memory.is_cut() {
            out.remarks.push("its mappings have more pieces than any process has: those behind are left out".into());
        }
        out.core.notes.push(notes::untouched(&untouched));
        Ok(out)
    }

    /// Bytes of the machine's memory, as far as the dump tells.
    fn machine_bytes(&self) -> u64 {
        let mut sum = 0u64;
        let mut at = afterimage_dump::Phys(0);
        while let Some(extent) = self.machine().next(at).filter(|extent| extent.end > at) {
            if extent.absent.is_none() {
                sum = sum.saturating_add(extent.end.0 - extent.start.max(at).0);
            }
            at = extent.end;
        }
        sum
    }
}

impl ProcessCore<'_> {
    fn region(&mut self, region: &ProcessRegion, pieces: &[MemoryPiece], zeros: &mut Vec<Range<u64>>, most: u64) {
        let flags = region.flags.unwrap_or(1);
        let permissions = Permissions { read: flags & 1 != 0, write: flags & 2 != 0, execute: flags & 4 != 0 };
        let mut missing: Vec<(Absence, u64)> = Vec::new();
        // Zeros behind what is there are of the same segment, as in a program's .bss.
        let mut open = false;
        for piece in pieces {
            let bytes = piece.end - piece.start;
            let state = match piece.state {
                PieceState::Present if self.stored.saturating_add(bytes) > most => PieceState::Absent(Absence::Corrupt),
                state => state,
            };
            let segment = |file_size| Segment { start: piece.start, memory_size: bytes, file_size, permissions };
            match state {
                PieceState::Present => {
                    self.core.segments.push(segment(bytes));
                    self.present.push(piece.start..piece.end);
                    self.stored += bytes;
                }
                PieceState::Zero => {
                    match self.core.segments.last_mut().filter(|_| open) {
                        Some(last) => last.memory_size += bytes,
                        None => self.core.segments.push(segment(0)),
                    }
                    zeros.push(piece.start..piece.end);
                    self.zeros = self.zeros.saturating_add(bytes);
                }
                PieceState::Absent(why) => add(&mut missing, why, bytes),
            }
            open = state == PieceState::Present;
        }
        // The kernel's own pages that it shows to programs, as [vvar], are in no core of any kernel: nothing is lost.
        let clocks = matches!(&region.path, Ok(Some(name)) if name.starts_with("[vvar"));
        if region.file == Some(0) && (clocks || flags & SPECIAL != 0) {
            return;
        }
        if !missing.is_empty() {
            let name = region.path.clone().ok().flatten().map(|name| format!(" {name}")).unwrap_or_default();
            let parts: Vec<String> = missing.iter().map(|(why, bytes)| format!("{bytes} bytes {why}")).collect();
            self.remarks.push(format!("{:#x}-{:#x}{name}: {}", region.start, region.end, parts.join(", ")));
        }
        for (why, bytes) in missing {
            add(&mut self.absent, why, bytes);
        }
    }
}

fn add(sums: &mut Vec<(Absence, u64)>, why: Absence, bytes: u64) {
    match sums.iter_mut().find(|(own, _)| *own == why) {
        Some((_, sum)) => *sum = sum.saturating_add(bytes),
        None => sums.push((why, bytes)),
    }
}

impl Content for ProcessCore<'_> {
    fn next(&mut self, at: u64, end: u64) -> Option<Range<u64>> {
        let first = self.present.partition_point(|range| range.end <= at);
        let range = self.present.get(first).filter(|range| range.start < end)?;
        Some(range.start.max(at)..range.end.min(end))
    }

    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            done += self.memory.read_upto(Virt(at.saturating_add(done as u64)), rest);
            if done < buf.len() {
                // What was promised cannot be read: zeros up to the page's end, and counted.
                let at = at.saturating_add(done as u64);
                let skip = (PAGE - at % PAGE).min((buf.len() - done) as u64);
                self.unreadable += skip;
                done += skip as usize;
            }
        }
        Ok(())
    }

    fn soft_errors(&mut self) -> Vec<String> {
        let mut lines = self.remarks.clone();
        if self.unreadable > 0 {
            lines
                .push(format!("{} bytes that should be there could not be read; they are zeros here", self.unreadable));
        }
        lines
    }
}
