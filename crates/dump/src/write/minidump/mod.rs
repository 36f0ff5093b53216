//! A dump laid out as a minidump: header, directory and streams first, all memory behind them.
//!
//! *What it is*: [`lay_out`] for any opened dump, [`lay_out_core`] for a core that has not been written yet. One file a
//! kind of stream; `facts` finds what Linux's streams copy.
//!
//! *What it is not*: it chooses no memory, and reads none but the headers of modules.
//!
//! ```no_run
//! use afterimage_dump::write::{DumpMemory, layout, minidump};
//! let dump = afterimage_dump::open(std::path::Path::new("core"), &afterimage_dump::Budget::default())?;
//! let layout = minidump::lay_out(&dump, &DumpMemory::stored(&dump), dump.dump_type)?;
//! let mut out = layout::Pipe(std::io::stdout());
//! layout::write(&layout, &mut DumpMemory::new(&dump), &mut out)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Trap*: places in a minidump have 32 bits, but for the base of `Memory64ListStream`. So streams come first, a stack
//! is named by its thread only where it lies below 4 GiB, and soft errors at the end of a larger file are found by
//! afterimage's own stream alone. All that is not memory is held in memory until it is written, the notes of a core twice:
//! some 8 KiB a thread.

pub(crate) mod contexts;
mod elf_id;
mod exception;
pub(crate) mod facts;
mod linux;
pub(crate) mod memory;
mod modules;
mod regions;
mod system;
mod threads;

use super::elf_core::{self, Core};
use super::layout::{Layout, TailForm};
use super::pen::Pen;
use super::{WriteError, cut, notes};
use crate::bytes::Fields;
use crate::elf_core::parts::{self, Parts};
use crate::minidump::{self, raw};
use crate::{Budget, Dump, DumpType, Endian, Format, Os};
use std::ops::Range;
use std::sync::Arc;

/// Room for soft errors at the end of the file, in bytes.
const TAIL_ROOM: usize = 32 * 1024;
/// Places in the directory.
const DIRECTORY: usize = 32;

/// Lays a dump out as a minidump that holds `stored` (ascending, apart) of its memory.
///
/// `dump_type` is what the header shall promise; [`DumpType::Small`] with less than 3 GiB gets a `MemoryListStream`,
/// which more tools read, all others a `Memory64ListStream`.
///
/// # Errors
/// When the streams do not fit into 4 GiB.
pub fn lay_out(dump: &Dump, stored: &[Range<u64>], dump_type: DumpType) -> Result<Layout, WriteError> {
    lay_out_with(dump, stored, dump_type, TAIL_ROOM)
}

fn lay_out_with(
    dump: &Dump,
    stored: &[Range<u64>],
    dump_type: DumpType,
    tail_room: usize,
) -> Result<Layout, WriteError> {
    let mut file = File::new(dump);
    system::system_info(&mut file);
    system::misc_info(&mut file);
    let contexts = threads::thread_list(&mut file, stored);
    threads::thread_names(&mut file);
    exception::exception(&mut file, &contexts);
    modules::module_list(&mut file);
    modules::unloaded(&mut file);
    regions::memory_info_list(&mut file);
    system::handles(&mut file);
    linux::streams(&mut file);
    memory::untouched(&mut file);
    copies(&mut file);
    if let Some(parts) = core_parts(dump) {
        let head = elf_core::lay_out(&cut_core(dump, parts, stored))?.head;
        file.pen.reserve(head.len());
        file.stream(minidump::ELF_HEAD, |pen| pen.bytes(&head));
    }
    let info = file.stream(minidump::INFO, |pen| {
        pen.u32(1);
        pen.zeros(20);
    });
    let list = memory::list(&mut file, stored, dump_type);

    // Everything that is not memory is known: now memory gets its places.
    let head_len = file.pen.len();
    let (placed, tail_at) = memory::place(head_len, stored)?;
    memory::fill(&mut file, &list, &placed);
    file.pen.fill(info + 8, tail_at, 8);
    file.pen.fill(info + 16, tail_room as u64, 8);
    if let Ok(rva) = u32::try_from(tail_at) {
        file.directory.push((raw::MOZ_SOFT_ERRORS, tail_room as u32, rva));
    }
    let flags = file.flags(dump_type);
    if head_len > u64::from(u32::MAX) {
        return Err(WriteError::TooLarge { what: "the streams" });
    }
    file.header(flags);
    let head = file.pen.done();
    Ok(Layout { head, memory: placed, tail_at, tail_room, tail_form: TailForm::Json })
}

/// Lays a core that has not been written yet out as a minidump with the memory that its segments store.
///
/// # Errors
/// As [`lay_out`], and when the core contradicts itself.
pub fn lay_out_core(core: &Core) -> Result<Layout, WriteError> {
    let head = elf_core::lay_out(core)?.head;
    let mut dump = crate::elf_core::open_head(Arc::new(head), &Budget::default())
        .map_err(|error| WriteError::Contradiction { what: error.to_string() })?;
    // Of what the memory would tell, nothing can be known here; whether it is all there is what the segments say.
    dump.issues.clear();
    let kept = core.segments.iter().filter(|segment| segment.file_size > 0);
    let stored: Vec<Range<u64>> =
        kept.map(|segment| segment.start..segment.start.saturating_add(segment.file_size)).collect();
    lay_out_with(&dump, &stored, dump.dump_type, core.tail_room.clamp(2, TAIL_ROOM))
}

/// The core that a dump is, or that it was made of.
pub(crate) fn core_parts(dump: &Dump) -> Option<Parts> {
    match dump.format {
        Format::ElfCore => parts::read(&**dump.memory.source(), &Budget::default()).ok(),
        Format::Minidump => parts::read(&minidump::elf_head(dump)?, &Budget::default()).ok(),
        _ => None,
    }
}

/// Copies the streams of a minidump that hold no places in the file, and that nothing else was made of.
fn copies(file: &mut File<'_>) {
    const FLAT: [u32; 7] = [
        10, // CommentStreamA
        11, // CommentStreamW
        17, // ThreadInfoListStream
        21, // SystemMemoryInfoStream
        22, // ProcessVmCountersStream
        raw::MD_BREAKPAD_INFO_STREAM,
        0x4767_0002, // MD_ASSERTION_INFO_STREAM
    ];
    for kind in FLAT {
        if let Some(bytes) = facts::stream(file.dump, kind) {
            file.copy(kind, &bytes);
        }
    }
}

/// The types of the streams in a layout of this module's.
pub(crate) fn stream_types(layout: &Layout, endian: Endian) -> Vec<u32> {
    let fields = Fields::new(&layout.head, endian);
    let count = fields.u32(8).unwrap_or(0) as usize;
    (0..count).filter_map(|place| fields.u32(raw::HEADER_SIZE as usize + place * raw::DIRECTORY_SIZE)).collect()
}

/// A core with what is stored of its memory.
pub(crate) fn cut_core(dump: &Dump, parts: Parts, stored: &[Range<u64>]) -> Core {
    let segments = cut::segments(&parts.segments, stored);
    let shorter = segments != parts.segments;
    let mut core = parts.core(segments);
    // Folklore: the tail of a segment of NetBSD's is zero, but only where some of the segment is there.
    if shorter && dump.os == Os::NetBsd {
        core.notes.push(notes::untouched(&memory::zero(dump)));
    }
    core
}

/// A minidump that grows.
struct File<'d> {
    dump: &'d Dump,
    pen: Pen,
    /// Type, size and place of each stream.
    directory: Vec<(u32, u32, u32)>,
    /// 32-bit places to fill in with where a range of memory lies, with its address and size: position, address, size.
    memory_places: Vec<(usize, u64, u32)>,
    /// Facts that the dump has as bytes, by their names.
    facts: facts::Facts,
}

impl<'d> File<'d> {
    fn new(dump: &'d Dump) -> Self {
        let mut pen = Pen::new(dump.endian);
        pen.zeros(raw::HEADER_SIZE as usize + DIRECTORY * raw::DIRECTORY_SIZE);
        Self { dump, pen, directory: Vec::new(), memory_places: Vec::new(), facts: facts::Facts::of(dump) }
    }

    /// Writes a stream, and gives the position of its first byte.
    fn stream(&mut self, kind: u32, write: impl FnOnce(&mut Pen)) -> usize {
        self.pen.align(8);
        let rva = self.pen.rva();
        let before = self.pen.len();
        write(&mut self.pen);
        let size = u32::try_from(self.pen.len() - before).unwrap_or(u32::MAX);
        self.directory.push((kind, size, rva));
        before as usize
    }

    /// Writes a stream of bytes, if there are any.
    fn copy(&mut self, kind: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.stream(kind, |pen| pen.bytes(bytes));
        }
    }

    fn has(&self, kind: u32) -> bool {
        self.directory.iter().any(|(number, ..)| *number == kind)
    }

    /// `MINIDUMP_TYPE` of the header.
    fn flags(&self, dump_type: DumpType) -> u64 {
        let memory = match dump_type {
            DumpType::Complete => raw::MINI_DUMP_WITH_FULL_MEMORY,
            DumpType::Active => raw::MINI_DUMP_WITH_PRIVATE_READ_WRITE_MEMORY,
            _ => 0,
        };
        let with = |kind, flag| if self.has(kind) { flag } else { 0 };
        memory
            | with(raw::HANDLE_DATA_STREAM, raw::MINI_DUMP_WITH_HANDLE_DATA)
            | with(raw::UNLOADED_MODULE_LIST_STREAM, raw::MINI_DUMP_WITH_UNLOADED_MODULES)
            | with(raw::MEMORY_INFO_LIST_STREAM, raw::MINI_DUMP_WITH_FULL_MEMORY_INFO)
    }

    /// Writes header and directory into the room that was kept for them.
    fn header(&mut self, flags: u64) {
        let mut front = Pen::new(self.dump.endian);
        // The signature is a number: `MDMP` in a little-endian file, `PMDM` in a big-endian one.
        front.u32(0x504d_444d);
        front.u32(u32::from(raw::MINIDUMP_VERSION));
        front.u32(self.directory.len() as u32);
        front.u32(raw::HEADER_SIZE as u32);
        front.u32(0);
        front.u32(self.dump.time.and_then(|time| u32::try_from(time).ok()).unwrap_or(0));
        front.u64(flags);
        for &(kind, size, rva) in &self.directory {
            front.u32(kind);
            front.u32(size);
            front.u32(rva);
        }
        self.pen.overwrite(0, &front.done());
    }
}
