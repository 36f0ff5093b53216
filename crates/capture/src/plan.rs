//! Which memory belongs into a dump of each type.
//!
//! *What it is*: the kernel's own rules for cores (`vma_dump_size`, with the process's `coredump_filter`), so that
//! `active` holds what a kernel's core would; `complete` adds files; `small` keeps stacks and what leads to names.
//!
//! *Example*: a private file mapping that was written to is dumped whole, one that was not gives its first page if
//! that is an ELF header.
//!
//! *Trap*: memory that was never touched is stored as a hole (it reads as zero), memory that was left out has
//! `file_size` 0 (it is unknown). PROT_NONE reservations that were never touched are left out: nothing could be there.

use crate::memory::Reader;
use crate::procfs::Vma;
use crate::touched::Touched;
use afterimage_dump::write::elf_core::Segment;
use afterimage_dump::{DumpType, Permissions};
use std::fs::File;
use std::ops::Range;

/// Untouched gaps of this size are named in a note instead of being holes: a file as long as its reservations is hard to
/// copy, to pack and to send.
pub(crate) const LARGE_GAP: u64 = 16 << 20;

/// Shared memory up to this size is read whole even if nothing tells which pages exist.
const SHARED_WHOLE: u64 = 256 << 20;

/// Bits of coredump_filter, by core(5).
mod filter {
    pub(super) const ANONYMOUS_PRIVATE: u64 = 1;
    pub(super) const ANONYMOUS_SHARED: u64 = 2;
    pub(super) const FILE_PRIVATE: u64 = 4;
    pub(super) const FILE_SHARED: u64 = 8;
    pub(super) const ELF_HEADERS: u64 = 16;
    pub(super) const HUGETLB_PRIVATE: u64 = 32;
    pub(super) const HUGETLB_SHARED: u64 = 64;
}

/// Where the bytes of a piece come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Left out.
    Nothing,
    /// Never touched: it is zero, which is said in a note.
    Untouched,
    /// Every page.
    All,
    /// The pages that were touched; the others are zero.
    Touched,
    /// The pages that this file has data for, from `offset` on; the others are zero.
    File {
        /// The mapped file.
        file: File,
        /// Its place that the piece begins with.
        offset: u64,
    },
}

/// A range of memory with one source.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) permissions: Permissions,
    pub(crate) source: Source,
    /// Bytes from the start on that the dump holds.
    pub(crate) stored: u64,
}

impl Piece {
    fn of(vma: &Vma, range: Range<u64>, source: Source) -> Self {
        Self::new(range, vma.permissions, source)
    }

    /// A piece of this range that is stored as its source says.
    pub(crate) fn new(range: Range<u64>, permissions: Permissions, source: Source) -> Self {
        let stored = if matches!(source, Source::Nothing | Source::Untouched) { 0 } else { range.end - range.start };
        Self { start: range.start, end: range.end, permissions, source, stored }
    }

    /// As a program header.
    pub(crate) fn segment(&self) -> Segment {
        Segment {
            start: self.start,
            memory_size: self.end - self.start,
            file_size: self.stored,
            permissions: self.permissions,
        }
    }
}

/// The whole plan.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Pieces begin and end at multiples of this, and are so aligned in the file.
    pub(crate) unit: u64,
    /// In ascending order.
    pub(crate) pieces: Vec<Piece>,
    pub(crate) soft_errors: Vec<String>,
}

/// What the plan is made from.
pub(crate) struct Request<'a> {
    pub(crate) pid: i32,
    pub(crate) dump_type: DumpType,
    pub(crate) vmas: &'a [Vma],
    pub(crate) filter: u64,
    pub(crate) reader: &'a Reader,
    pub(crate) page: u64,
    /// The ranges to keep, ascending and apart, if not all is kept.
    pub(crate) keep: Option<&'a [Range<u64>]>,
}

/// Plans a dump.
pub(crate) fn plan(request: &Request<'_>) -> Plan {
    let mut plan = Plan { unit: request.page, pieces: Vec::new(), soft_errors: Vec::new() };
    for vma in request.vmas {
        match request.keep {
            Some(keep) => parts(request, keep, vma, &mut plan),
            None => whole(request, vma, &mut plan),
        }
    }
    // Neighbours that hold nothing need no program header each, but then their protection would be lost: keep them.
    plan
}

/// The kernel's rules, in the kernel's order.
fn whole(request: &Request<'_>, vma: &Vma, plan: &mut Plan) {
    let complete = request.dump_type == DumpType::Complete;
    let wants = |bit: u64| complete || request.filter & bit != 0;
    let range = vma.start..vma.end;
    let source = if vma.vdso() {
        Source::All
    } else if vma.dont_dump || vma.io || (vma.special() && vma.path.starts_with(b"[v")) {
        // [vvar] and [vsyscall] are the kernel's, not the process's.
        Source::Nothing
    } else if vma.hugetlb {
        let bit = if vma.shared { filter::HUGETLB_SHARED } else { filter::HUGETLB_PRIVATE };
        match wants(bit) {
            true if vma.shared => shared(request, vma, plan),
            true => Source::Touched,
            false => Source::Nothing,
        }
    } else if vma.shared {
        // Memory without a name in the file system (memfd, shm, /dev/zero) counts as anonymous.
        let anonymous = !vma.file || vma.path.ends_with(b"(deleted)");
        let bit = if anonymous { filter::ANONYMOUS_SHARED } else { filter::FILE_SHARED };
        if wants(bit) { shared(request, vma, plan) } else { Source::Nothing }
    } else if !vma.file {
        let nothing_there = !vma.own_pages && !readable(vma.permissions);
        if wants(filter::ANONYMOUS_PRIVATE) && !nothing_there { Source::Touched } else { Source::Nothing }
    } else if (vma.own_pages && wants(filter::ANONYMOUS_PRIVATE)) || wants(filter::FILE_PRIVATE) {
        Source::All
    } else if wants(filter::ELF_HEADERS) && elf_header(request, vma) {
        let stored = request.page.min(vma.end - vma.start);
        plan.pieces.push(Piece { stored, ..Piece::of(vma, range, Source::All) });
        return;
    } else {
        Source::Nothing
    };
    plan.pieces.push(Piece::of(vma, range, source));
}

fn readable(permissions: Permissions) -> bool {
    permissions.read || permissions.write || permissions.execute
}

/// Whether the mapping begins with an ELF header.
pub(crate) fn elf_header(request: &Request<'_>, vma: &Vma) -> bool {
    vma.offset == 0 && vma.permissions.read && request.reader.exact::<4>(vma.start) == Some(*b"\x7fELF")
}

/// Shared memory: what exists of it is known to the file behind it only. Reading a page that does not exist would
/// make it exist.
fn shared(request: &Request<'_>, vma: &Vma, plan: &mut Plan) -> Source {
    let path = format!("/proc/{}/map_files/{:x}-{:x}", request.pid, vma.start, vma.end);
    if let Ok(file) = File::open(path) {
        return Source::File { file, offset: vma.offset };
    }
    if vma.end - vma.start <= SHARED_WHOLE {
        return Source::All;
    }
    plan.soft_errors.push(format!(
        "shared memory {:#x}-{:#x}: only the pages that this process used itself are here",
        vma.start, vma.end
    ));
    Source::Touched
}

/// The parts of a mapping that lie in ranges to keep.
fn parts(request: &Request<'_>, keep: &[Range<u64>], vma: &Vma, plan: &mut Plan) {
    let mut kept: Vec<Range<u64>> = Vec::new();
    if !vma.io && !vma.dont_dump && (vma.vdso() || !vma.path.starts_with(b"[v")) {
        let first = keep.partition_point(|range| range.end <= vma.start);
        let within = keep.iter().skip(first).take_while(|range| range.start < vma.end);
        for range in within {
            let start = range.start.max(vma.start) / request.page * request.page;
            let end = range.end.min(vma.end).next_multiple_of(request.page);
            if start < end {
                kept.push(start..end);
            }
        }
    }
    let mut at = vma.start;
    for range in kept {
        let range = range.start.max(at)..range.end.max(at);
        if range.is_empty() {
            continue;
        }
        if at < range.start {
            plan.pieces.push(Piece::of(vma, at..range.start, Source::Nothing));
        }
        at = range.end;
        match plan.pieces.last_mut() {
            Some(last) if last.end == range.start && last.start >= vma.start && last.stored > 0 => {
                last.end = range.end;
                last.stored = last.end - last.start;
            }
            _ => plan.pieces.push(Piece::of(vma, range, Source::All)),
        }
    }
    if at < vma.end {
        plan.pieces.push(Piece::of(vma, at..vma.end, Source::Nothing));
    }
}

impl Plan {
    /// Splits pieces at large untouched gaps (a sanitizer's shadow memory reserves terabytes). The memory is that of
    /// process `pid`, which stands.
    pub(crate) fn name_gaps(&mut self, pid: i32) {
        let Ok(mut touched) = Touched::of(pid) else { return };
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces.drain(..) {
            if !matches!(piece.source, Source::Touched) || piece.end - piece.start < LARGE_GAP {
                pieces.push(piece);
                continue;
            }
            let mut runs = Vec::new();
            let mut at = piece.start;
            while let Some(range) = touched.next(at, piece.end) {
                at = range.end;
                add_run(&mut runs, range);
            }
            split(&piece, &runs, &mut pieces);
        }
        self.pieces = pieces;
    }

    /// What the note of untouched memory says.
    pub(crate) fn untouched(&self) -> Vec<Range<u64>> {
        let untouched = self.pieces.iter().filter(|piece| matches!(piece.source, Source::Untouched));
        untouched.map(|piece| piece.start..piece.end).collect()
    }
}

/// Adds a touched range to runs that large gaps part.
pub(crate) fn add_run(runs: &mut Vec<Range<u64>>, range: Range<u64>) {
    match runs.last_mut() {
        Some(run) if range.start.saturating_sub(run.end) < LARGE_GAP => run.end = run.end.max(range.end),
        _ => runs.push(range),
    }
}

/// Splits a piece into its runs and the gaps between them.
fn split(piece: &Piece, runs: &[Range<u64>], out: &mut Vec<Piece>) {
    let mut at = piece.start;
    let mut part = |range: Range<u64>, source| {
        if !range.is_empty() {
            out.push(Piece::new(range, piece.permissions, source));
        }
    };
    for run in runs {
        // A gap at an end that is not large stays a hole.
        let start = if run.start - at < LARGE_GAP { at } else { run.start };
        let end = if piece.end - run.end < LARGE_GAP { piece.end } else { run.end };
        part(at..start, Source::Untouched);
        part(start..end, Source::Touched);
        at = end;
    }
    part(at..piece.end, Source::Untouched);
}
