//! A process's memory as the process would have read it: its page tables, and behind them what a first touch would have
//! brought: zeros, the page cache's copy of a mapped file, the kernel's own pages for programs.
//!
//! *What it is not*: complete. What was in swap or in a file on a disk is missing, with its reason.
//!
//! *Example*: `linux.memory_of(&process)?.read_upto(Virt(at), &mut buf)`.
//!
//! *Trap*: a mapping may reserve terabytes without a page. Nothing here goes through them page by page.

use super::process::Process;
use super::regions::ProcessRegion;
use crate::linux::Linux;
use crate::linux::cache::{FilePages, PageState};
use afterimage_dump::paging::{MissReason, PageTables};
use afterimage_dump::{Absence, Extent, Fault, Memory, MemoryExt, Phys, Virt};
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Pieces of one process's memory at most.
const MOST: usize = 1 << 20;
/// Steps through page tables at most: 256 GiB of small pages.
const STEPS: usize = 64 << 20;

/// What can be had of a piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceState {
    /// It is in the dump.
    Present,
    /// It was never touched, and is zero.
    Zero,
    /// It is not in the dump.
    Absent(Absence),
}

/// A piece of a process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPiece {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What can be had of it.
    pub state: PieceState,
}

/// What a first touch of a mapping brings.
enum Behind {
    /// Zeros.
    Zeros,
    /// A file's page.
    File(FileBehind),
    /// Bytes of the kernel's, as many as the number says.
    Kernel(u64, u64),
    /// Why nothing.
    Nothing(Absence),
}

/// A file by its `address_space`; its tree is read when a page of it is first asked for.
struct FileBehind {
    mapping: u64,
    pages: OnceLock<Option<Arc<FilePages>>>,
}

/// Where bytes are.
enum Place {
    Physical(Phys),
    Kernel(Virt),
    Zeros,
    Nowhere(Absence),
}

/// The memory of one process; the kernel is borrowed, or shared with others.
pub struct ProcessMemory<L> {
    linux: L,
    tables: PageTables,
    regions: Vec<(ProcessRegion, Behind)>,
    zero_page: Option<u64>,
    cut: Mutex<bool>,
}

impl Linux {
    /// The memory of a process; and what was wrong on the way to its mappings.
    ///
    /// # Errors
    /// Why it has none that could be read.
    pub fn memory_of(&self, process: &Process) -> Result<(ProcessMemory<&Self>, Vec<String>), String> {
        ProcessMemory::new(self, process)
    }

    /// The same, for those who keep it longer than they borrow the kernel.
    pub(super) fn shared_memory_of(
        self: &Arc<Self>,
        process: &Process,
    ) -> Result<(ProcessMemory<Arc<Self>>, Vec<String>), String> {
        ProcessMemory::new(self.clone(), process)
    }

    /// Where a process's memory begins to be looked up: its `mm_struct` and page tables.
    fn page_tables_of(&self, process: &Process) -> Result<(u64, PageTables), String> {
        let pid = process.pid;
        let mm = self.pointer(process.task, "task_struct", "mm");
        let mm = mm.ok_or_else(|| format!("the task_struct of process {pid} is not in the dump"))?;
        if mm == 0 {
            let what = match process.kernel_thread {
                Some(true) => "a thread of the kernel: it has no memory of its own",
                _ => "ended, and has no memory any more",
            };
            return Err(format!("process {pid} is {what}"));
        }
        let root = self.pointer(mm, "mm_struct", "pgd").and_then(|root| self.process_memory(root));
        let tables = root.ok_or_else(|| format!("the page tables of process {pid} are not in the dump"))?;
        Ok((mm, tables))
    }

    /// What a first touch of a mapping would bring.
    fn behind(&self, region: &ProcessRegion, mm: u64) -> Behind {
        let lost = Behind::Nothing(Absence::NotInDump);
        match region.file {
            None => lost,
            Some(0) => match self.pointer(region.area, "vm_area_struct", "vm_ops") {
                Some(0) => Behind::Zeros,
                _ if matches!(&region.path, Ok(Some(name)) if name == "[vdso]") => self.vdso(mm).unwrap_or(lost),
                _ => lost,
            },
            Some(file) => {
                let mapping = self.pointer(file, "file", "f_mapping").filter(|mapping| *mapping != 0);
                mapping.map_or(lost, |mapping| Behind::File(FileBehind { mapping, pages: OnceLock::new() }))
            }
        }
    }

    /// The kernel's copy of the shared object that it maps into programs.
    fn vdso(&self, mm: u64) -> Option<Behind> {
        if let Some(image) = self.pointer(mm, "mm_struct", "context.vdso_image").filter(|image| *image != 0) {
            let data = self.pointer(image, "vdso_image", "data")?;
            return Some(Behind::Kernel(data, self.pointer(image, "vdso_image", "size")?));
        }
        let (start, end) = (self.symbols.address("vdso_start")?, self.symbols.address("vdso_end")?);
        Some(Behind::Kernel(start, end.checked_sub(start)?))
    }
}

impl<L: Deref<Target = Linux>> ProcessMemory<L> {
    fn new(linux: L, process: &Process) -> Result<(Self, Vec<String>), String> {
        let (mm, tables) = linux.page_tables_of(process)?;
        let (mut regions, remarks) = linux.regions_of(process)?;
        regions.sort_by_key(|region| region.start);
        let regions = regions.into_iter().map(|region| {
            let behind = linux.behind(&region, mm);
            (region, behind)
        });
        let regions = regions.collect();
        let zero = linux.symbols.address("empty_zero_page").and_then(|at| linux.memory().translate(Virt(at)).ok());
        let zero_page = zero.map(|found| found.physical.0);
        Ok((Self { linux, tables, regions, zero_page, cut: Mutex::new(false) }, remarks))
    }

    /// Its mappings, by address.
    pub fn regions(&self) -> impl Iterator<Item = &ProcessRegion> {
        self.regions.iter().map(|(region, _)| region)
    }

    /// What can be had of a mapping, piece by piece.
    #[must_use]
    pub fn pieces(&self, region: &ProcessRegion) -> Vec<MemoryPiece> {
        let mut pieces: Vec<MemoryPiece> = Vec::new();
        let mut at = region.start;
        let mut steps = 0;
        while at < region.end {
            steps += 1;
            let (place, bytes) = self.step(Virt(at), region.end);
            let (state, bytes) = match place {
                Place::Physical(physical) if self.is_zero_page(physical) => (PieceState::Zero, bytes),
                Place::Physical(physical) => {
                    let (absent, bytes) = self.linux.present_run(physical, bytes);
                    (absent.map_or(PieceState::Present, PieceState::Absent), bytes)
                }
                Place::Kernel(_) => (PieceState::Present, bytes),
                Place::Zeros => (PieceState::Zero, bytes),
                Place::Nowhere(why) => (PieceState::Absent(why), bytes),
            };
            let mut end = at.saturating_add(bytes.max(1)).min(region.end);
            let mut state = state;
            if pieces.len() >= MOST || steps >= STEPS || !self.linux.purse.spend(1) {
                *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = true;
                (state, end) = (PieceState::Absent(Absence::NotInDump), region.end);
            }
            match pieces.last_mut() {
                Some(last) if last.state == state => last.end = end,
                _ => pieces.push(MemoryPiece { start: at, end, state }),
            }
            at = end;
        }
        pieces
    }

    /// Where a page of it lies by its own page tables alone, and whether the dump has it.
    pub(in crate::linux) fn mapped(&self, at: u64) -> Option<Phys> {
        let physical = self.tables.translate(Virt(at)).ok()?.physical;
        let (absent, bytes) = self.linux.present_run(physical, self.linux.page_bytes());
        (absent.is_none() && bytes == self.linux.page_bytes()).then_some(physical)
    }

    /// Whether some of it was left out because it would have been more than any process has.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_zero_page(&self, at: Phys) -> bool {
        self.zero_page.is_some_and(|zero| at.0.wrapping_sub(zero) < self.linux.page_bytes())
    }

    /// The mapping that holds an address.
    pub(super) fn region_at(&self, at: u64) -> Option<&ProcessRegion> {
        self.region(at).map(|(region, _)| region)
    }

    fn region(&self, at: u64) -> Option<&(ProcessRegion, Behind)> {
        let next = self.regions.partition_point(|(region, _)| region.start <= at);
        self.regions.get(next.checked_sub(1)?).filter(|(region, _)| at < region.end)
    }

    /// Where the bytes from `at` on are, and how many there are together, up to `end`.
    fn step(&self, at: Virt, end: u64) -> (Place, u64) {
        let most = end.saturating_sub(at.0);
        let miss = match self.tables.translate(at) {
            Ok(found) => {
                let room = found.page_bytes - (at.0 & (found.page_bytes - 1));
                return (Place::Physical(found.physical), room.min(most));
            }
            Err(miss) => miss,
        };
        let level = self.tables.layout().levels().iter().find(|level| level.name == miss.level);
        let shift = level.map_or(0, |level| level.shift);
        // To the end of what this entry would map.
        let room = (1u64 << shift) - (at.0 & ((1 << shift) - 1));
        let room = room.min(most);
        if miss.reason != MissReason::NotPresent {
            return (Place::Nowhere(miss.absence()), room);
        }
        let Some((region, behind)) = self.region(at.0) else { return (Place::Nowhere(Absence::NotMapped), room) };
        let inside = at.0 - region.start;
        let room = room.min(region.end - at.0);
        match behind {
            Behind::Zeros => (Place::Zeros, room),
            Behind::Nothing(why) => (Place::Nowhere(*why), room),
            Behind::Kernel(data, size) => match size.checked_sub(inside) {
                Some(left) if left > 0 => (Place::Kernel(Virt(data.wrapping_add(inside))), room.min(left)),
                _ => (Place::Zeros, room),
            },
            Behind::File(file) => {
                let pages = file.pages.get_or_init(|| self.linux.shared_pages(file.mapping));
                match pages {
                    Some(pages) => self.of_file(pages, region.offset, inside, room),
                    None => (Place::Nowhere(Absence::NotInDump), room),
                }
            }
        }
    }

    fn of_file(&self, pages: &FilePages, offset: Option<u64>, inside: u64, room: u64) -> (Place, u64) {
        let Some(offset) = offset.and_then(|offset| offset.checked_add(inside)) else {
            return (Place::Nowhere(Absence::NotInDump), room);
        };
        let page_bytes = self.linux.page_bytes();
        // A touch behind the last page of a file is a bus error.
        let end = pages.size.checked_next_multiple_of(page_bytes).unwrap_or(u64::MAX);
        let Some(left) = end.checked_sub(offset).filter(|left| *left > 0) else {
            return (Place::Nowhere(Absence::NotMapped), room);
        };
        let (state, count) = pages.find(offset / page_bytes, page_bytes);
        let skipped = offset % page_bytes;
        let room = room.min(left).min(count.saturating_mul(page_bytes).saturating_sub(skipped));
        let place = match (state, state.absence()) {
            (PageState::Cached(first), _) => Place::Physical(Phys(first.0.wrapping_add(skipped))),
            (_, Some(why)) => Place::Nowhere(why),
            (_, None) => Place::Zeros,
        };
        (place, room)
    }
}

impl<L: Deref<Target = Linux> + Send + Sync> Memory<Virt> for ProcessMemory<L> {
    fn read_at(&self, at: Virt, buf: &mut [u8]) -> Result<usize, Fault<Virt>> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (place, bytes) = self.step(at, at.0.saturating_add(buf.len() as u64));
        let len = bytes.clamp(1, buf.len() as u64) as usize;
        let buf = buf.get_mut(..len).unwrap_or_default();
        match place {
            Place::Physical(physical) => {
                self.linux.machine().read_at(physical, buf).map_err(|fault| Fault { at, why: fault.why })
            }
            Place::Kernel(own) => self.linux.memory().read_at(own, buf).map_err(|fault| Fault { at, why: fault.why }),
            Place::Zeros => {
                buf.fill(0);
                Ok(len)
            }
            Place::Nowhere(why) => Err(Fault { at, why }),
        }
    }

    fn extents(&self) -> Vec<Extent<Virt>> {
        let mut extents = Vec::new();
        for (region, _) in &self.regions {
            extents.extend(self.pieces(region).into_iter().map(|piece| {
                let absent = match piece.state {
                    PieceState::Absent(why) => Some(why),
                    PieceState::Present | PieceState::Zero => None,
                };
                Extent { start: Virt(piece.start), end: Virt(piece.end), absent }
            }));
            if extents.len() >= MOST {
                break;
            }
        }
        extents
    }
}

impl<L: Deref<Target = Linux> + Send + Sync> ProcessMemory<L> {
    /// Bytes at an address, as many as lie there without a gap, at most `most`.
    #[must_use]
    pub fn bytes(&self, at: u64, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let got = self.read_upto(Virt(at), &mut bytes);
        bytes.truncate(got);
        bytes
    }
}
