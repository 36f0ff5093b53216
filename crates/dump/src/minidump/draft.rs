//! What the stream readers fill: the [`Dump`] so far, and what only the end of reading can turn into parts of it.

use super::input::Place;
use crate::model::{Dump, DumpType, Exception, Format, Os, Process};
use crate::source::SharedSource;
use crate::{Arch, Endian, Region, SegmentMemory};
use std::collections::HashMap;
use std::sync::Arc;

/// A range of memory that the file says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) rva: u64,
}

/// `MINIDUMP_EXCEPTION_STREAM` as it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct RawException {
    pub(super) tid: u32,
    pub(super) code: u32,
    pub(super) flags: u32,
    pub(super) address: u64,
    pub(super) parameters: Vec<u64>,
    pub(super) context: Option<Place>,
}

/// A dump that is being read.
pub(super) struct Draft {
    /// The result; its memory and exception are set at the end.
    pub(super) dump: Dump,
    /// `MINIDUMP_HEADER::Version`.
    pub(super) version: u32,
    /// `MINIDUMP_HEADER::Flags`, a `MINIDUMP_TYPE`.
    pub(super) flags: u64,
    /// `PlatformId`, if there is a SystemInfo stream.
    pub(super) platform: Option<u32>,
    /// Memory out of the memory lists.
    pub(super) stored: Vec<Stored>,
    /// Stacks as the thread list places them; used where no memory list has them.
    pub(super) stacks: Vec<Stored>,
    /// Whether the regions are the whole address space.
    pub(super) all_regions: bool,
    /// Regions of `MemoryInfoListStream` or of the maps.
    pub(super) regions: Vec<Region>,
    /// Paths of the modules in the container's order.
    pub(super) module_order: Vec<String>,
    /// Where each thread stands in [`Dump::threads`].
    pub(super) threads: HashMap<u32, usize>,
    /// All exceptions, in file order.
    pub(super) exceptions: Vec<RawException>,
    /// Breakpad's thread that asked for the dump.
    pub(super) requesting_thread: Option<u32>,
    /// The head of an ELF core that afterimage put into the file.
    pub(super) elf_head: Option<Place>,
    /// Ranges that were zero and are not stored, as afterimage's stream says.
    pub(super) untouched: Vec<(u64, u64)>,
    /// What `/proc/PID/maps` calls regions that another stream describes too.
    pub(super) region_names: Vec<Region>,
    /// Notes to add behind the streams: vector registers.
    pub(super) contexts: Vec<crate::NoteRecord>,
}

impl Draft {
    pub(super) fn new(source: &SharedSource, endian: Endian) -> Self {
        let dump = Dump {
            format: Format::Minidump,
            compression: None,
            dump_type: DumpType::Small,
            os: Os::Unknown,
            os_version: None,
            arch: Arch::Other(0),
            endian,
            pointer_size: 8,
            time: None,
            writer: None,
            process: Process::default(),
            threads: Vec::new(),
            exception: None::<Exception>,
            modules: Vec::new(),
            unloaded_modules: Vec::new(),
            mappings: Vec::new(),
            regions: Vec::new(),
            memory: Arc::new(SegmentMemory::new(source.clone(), Vec::new())),
            auxv: Vec::new(),
            handles: Vec::new(),
            notes: Vec::new(),
            soft_errors: Vec::new(),
            issues: Vec::new(),
            missing_bytes: 0,
            file_size: source.len(),
            machine: None,
            report: None,
        };
        Self {
            dump,
            version: 0,
            flags: 0,
            platform: None,
            stored: Vec::new(),
            stacks: Vec::new(),
            all_regions: false,
            regions: Vec::new(),
            module_order: Vec::new(),
            threads: HashMap::new(),
            exceptions: Vec::new(),
            requesting_thread: None,
            elf_head: None,
            untouched: Vec::new(),
            region_names: Vec::new(),
            contexts: Vec::new(),
        }
    }

    /// Keeps a free fact about the process or the system.
    pub(super) fn fact(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.dump.process.facts.push((name.into(), value.into()));
    }

    /// Keeps a fact if there is one.
    pub(super) fn fact_if(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.fact(name, value);
        }
    }

    /// Whether a stream of this type is in the file.
    pub(super) fn has_stream(&self, number: u32) -> bool {
        self.dump.notes.iter().any(|note| note.kind == number)
    }
}
