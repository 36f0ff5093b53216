//! Dumps made in memory for this crate's own tests.

use afterimage_dump::source::SharedSource;
use afterimage_dump::{
    Arch, Backing, Dump, DumpType, Endian, FileOffset, Format, Os, Permissions, Process, Region, Segment,
    SegmentMemory, Virt,
};
use std::sync::Arc;

/// A dump of an x86-64 Linux process with these pieces of memory and nothing else.
pub(crate) fn dump(pieces: Vec<(u64, Vec<u8>)>) -> Dump {
    let mut bytes = Vec::new();
    let mut segments = Vec::new();
    let mut regions = Vec::new();
    for (start, piece) in pieces {
        let offset = FileOffset(bytes.len() as u64);
        let end = Virt(start + piece.len() as u64);
        segments.push(Segment { start: Virt(start), end, backing: Backing::File(offset) });
        regions.push(Region {
            start: Virt(start),
            end,
            permissions: Some(Permissions { read: true, write: true, execute: false }),
            path: None,
            present_bytes: piece.len() as u64,
        });
        bytes.extend(piece);
    }
    let file_size = bytes.len() as u64;
    let source: SharedSource = Arc::new(bytes);
    Dump {
        format: Format::ElfCore,
        compression: None,
        dump_type: DumpType::Active,
        os: Os::Linux,
        os_version: None,
        arch: Arch::X86_64,
        endian: Endian::Little,
        pointer_size: 8,
        time: None,
        writer: None,
        process: Process::default(),
        threads: Vec::new(),
        exception: None,
        modules: Vec::new(),
        unloaded_modules: Vec::new(),
        mappings: Vec::new(),
        regions,
        memory: Arc::new(SegmentMemory::new(source, segments)),
        auxv: Vec::new(),
        handles: Vec::new(),
        notes: Vec::new(),
        soft_errors: Vec::new(),
        issues: Vec::new(),
        missing_bytes: 0,
        file_size,
        machine: None,
        report: None,
    }
}
