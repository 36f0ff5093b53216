//! Builder of minidumps from a readable description. It shares no code and no layout with the readers it tests: layouts
//! were written down from Microsoft's minidumpapiset.h and winnt.h and from Breakpad's and Crashpad's published headers.
//!
//! What it is not: a writer of dumps for users, and no guard against nonsense: it writes what it is told.
//!
//! ```
//! use afterimage_testkit::build_minidump::{Context, Cpu, Exception, MinidumpBuilder, Module, SystemInfo, Thread};
//!
//! let at_fault = Context::amd64().set("rip", 0x1_4000_1000).set("rsp", 0x9000);
//! let dump = MinidumpBuilder::new()
//!     .system(&SystemInfo::windows(Cpu::Amd64, 10, 0, 19045))
//!     .thread(Thread::new(0x1234).context(&at_fault).stack(0x9000, vec![0; 256]).name("main"))
//!     .module(Module::new(0x1_4000_0000, 0x5000, r"C:\app\victim.exe"))
//!     .exception(&Exception::new(0x1234, 0xc000_0005, 0x1_4000_1000, &at_fault).parameters(&[0, 0x10]))
//!     .build();
//! assert!(dump.starts_with(b"MDMP"));
//! ```
//!
//! The streams of lists (threads, modules, memory …) are written if they have rows, or if asked for when empty through
//! [`MinidumpBuilder::stream`]. Header and directory can be made to lie with the two `edit_` functions.
//!
//! *Trap*: the bytes of Memory64List have no RVA each: they follow one another from one base on, so they come last.

mod context;
mod extras;
mod lists;
mod process;
mod system;
#[cfg(test)]
mod tests;
mod text;

pub use context::Context;
pub use extras::{AnnotationObject, LinuxFile};
pub use process::{Exception, Handle, MemoryRegion, Module, Thread, ThreadInfo, UnloadedModule};
pub use system::{Cpu, MiscInfo, SystemInfo, SystemMemoryInfo, VmCounters};
pub use text::guid;

use std::rc::Rc;

use crate::build_core::pen::Pen;

/// Stream numbers.
#[allow(missing_docs, reason = "names as in minidumpapiset.h and in Breakpad's and Crashpad's headers")]
pub mod stream_type {
    pub const UNUSED: u32 = 0;
    pub const THREAD_LIST: u32 = 3;
    pub const MODULE_LIST: u32 = 4;
    pub const MEMORY_LIST: u32 = 5;
    pub const EXCEPTION: u32 = 6;
    pub const SYSTEM_INFO: u32 = 7;
    pub const MEMORY64_LIST: u32 = 9;
    pub const COMMENT_A: u32 = 10;
    pub const COMMENT_W: u32 = 11;
    pub const HANDLE_DATA: u32 = 12;
    pub const UNLOADED_MODULE_LIST: u32 = 14;
    pub const MISC_INFO: u32 = 15;
    pub const MEMORY_INFO_LIST: u32 = 16;
    pub const THREAD_INFO_LIST: u32 = 17;
    pub const SYSTEM_MEMORY_INFO: u32 = 21;
    pub const PROCESS_VM_COUNTERS: u32 = 22;
    pub const IPT_TRACE: u32 = 23;
    pub const THREAD_NAMES: u32 = 24;
    pub const BREAKPAD_INFO: u32 = 0x4767_0001;
    pub const ASSERTION_INFO: u32 = 0x4767_0002;
    pub const LINUX_DSO_DEBUG: u32 = 0x4767_000a;
    pub const CRASHPAD_INFO: u32 = 0x4350_0001;
    pub const MOZ_MAC_CRASH_INFO: u32 = 0x4d7a_0001;
    pub const MOZ_MAC_BOOT_ARGS: u32 = 0x4d7a_0002;
    pub const MOZ_LINUX_LIMITS: u32 = 0x4d7a_0003;
    pub const MOZ_SOFT_ERRORS: u32 = 0x4d7a_0004;
}

/// Fields of the file header, as they will be written.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct Header {
    pub signature: u32,
    pub version: u32,
    pub stream_count: u32,
    pub directory_rva: u32,
    pub checksum: u32,
    pub time: u32,
    pub flags: u64,
}

/// A row of the directory.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct DirectoryEntry {
    pub stream_type: u32,
    pub size: u32,
    pub rva: u32,
}

/// Writes a stream and what hangs on it; gives the size of the stream proper.
type StreamWriter = Rc<dyn Fn(&mut Pen) -> u64>;
type HeaderEdit = Rc<dyn Fn(&mut Header)>;
type DirectoryEdit = Rc<dyn Fn(&mut Vec<DirectoryEntry>)>;

/// Describes a minidump; [`MinidumpBuilder::build`] writes it.
#[derive(Clone, Default)]
pub struct MinidumpBuilder {
    time: u32,
    flags: u64,
    padded_lists: bool,
    threads: Vec<Thread>,
    modules: Vec<Module>,
    unloaded: Vec<UnloadedModule>,
    memory: Vec<(u64, Vec<u8>)>,
    memory64: Vec<(u64, u64, Vec<u8>)>,
    regions: Vec<MemoryRegion>,
    handles: Vec<Handle>,
    handles_version_1: bool,
    streams: Vec<(u32, StreamWriter)>,
    header_edits: Vec<HeaderEdit>,
    directory_edits: Vec<DirectoryEdit>,
}

impl MinidumpBuilder {
    /// An empty minidump.
    #[must_use]
    pub fn new() -> Self {
        Self { time: 0x6500_0000, ..Self::default() }
    }

    /// Unix time of the dump, and its MINIDUMP_TYPE.
    #[must_use]
    pub fn header(mut self, time: u32, flags: u64) -> Self {
        (self.time, self.flags) = (time, flags);
        self
    }

    /// Four bytes of padding between the count and the first row of ThreadList, ModuleList and MemoryList, as Breakpad
    /// on some systems writes it.
    #[must_use]
    pub fn padded_lists(mut self) -> Self {
        self.padded_lists = true;
        self
    }

    /// SystemInfo.
    #[must_use]
    pub fn system(self, system: &SystemInfo) -> Self {
        let system = system.clone();
        self.stream_with(stream_type::SYSTEM_INFO, move |pen| system.encode(pen))
    }

    /// A thread: ThreadList, and ThreadNames and ThreadInfoList if it has such parts.
    #[must_use]
    pub fn thread(mut self, thread: Thread) -> Self {
        self.threads.push(thread);
        self
    }

    /// A loaded module.
    #[must_use]
    pub fn module(mut self, module: Module) -> Self {
        self.modules.push(module);
        self
    }

    /// A module that is loaded no more.
    #[must_use]
    pub fn unloaded_module(mut self, module: UnloadedModule) -> Self {
        self.unloaded.push(module);
        self
    }

    /// Memory, in MemoryList.
    #[must_use]
    pub fn memory(mut self, address: u64, bytes: Vec<u8>) -> Self {
        self.memory.push((address, bytes));
        self
    }

    /// Memory, in Memory64List.
    #[must_use]
    pub fn memory64(self, address: u64, bytes: Vec<u8>) -> Self {
        let size = bytes.len() as u64;
        self.memory64_claiming(address, size, bytes)
    }

    /// Memory, in Memory64List, with a size that is not that of the bytes.
    #[must_use]
    pub fn memory64_claiming(mut self, address: u64, size: u64, bytes: Vec<u8>) -> Self {
        self.memory64.push((address, size, bytes));
        self
    }

    /// A region of the address space.
    #[must_use]
    pub fn region(mut self, region: MemoryRegion) -> Self {
        self.regions.push(region);
        self
    }

    /// An open handle.
    #[must_use]
    pub fn handle(mut self, handle: Handle) -> Self {
        self.handles.push(handle);
        self
    }

    /// Handles with the first descriptor, of 32 bytes, instead of the second, of 40.
    #[must_use]
    pub fn handles_version_1(mut self) -> Self {
        self.handles_version_1 = true;
        self
    }

    /// Exception.
    #[must_use]
    pub fn exception(self, exception: &Exception) -> Self {
        let exception = exception.clone();
        self.stream_with(stream_type::EXCEPTION, move |pen| lists::exception(&exception, pen))
    }

    /// MiscInfo.
    #[must_use]
    pub fn misc(self, misc: &MiscInfo) -> Self {
        let misc = misc.clone();
        self.stream_with(stream_type::MISC_INFO, move |pen| misc.encode(pen))
    }

    /// SystemMemoryInfo.
    #[must_use]
    pub fn system_memory(self, info: &SystemMemoryInfo) -> Self {
        let info = info.clone();
        self.stream_with(stream_type::SYSTEM_MEMORY_INFO, move |pen| info.encode(pen))
    }

    /// ProcessVmCounters.
    #[must_use]
    pub fn vm_counters(self, counters: &VmCounters) -> Self {
        let counters = counters.clone();
        self.stream_with(stream_type::PROCESS_VM_COUNTERS, move |pen| counters.encode(pen))
    }

    /// CommentStreamA.
    #[must_use]
    pub fn comment_a(self, comment: &str) -> Self {
        self.stream(stream_type::COMMENT_A, comment.as_bytes())
    }

    /// CommentStreamW.
    #[must_use]
    pub fn comment_w(self, comment: &str) -> Self {
        self.stream(stream_type::COMMENT_W, &text::utf16(comment))
    }

    /// A slot of the directory that is not used, as Breakpad leaves it when a file could not be read.
    #[must_use]
    pub fn unused_slot(self) -> Self {
        self.stream(stream_type::UNUSED, &[])
    }

    /// Any stream. Two streams of one type are allowed.
    #[must_use]
    pub fn stream(self, stream_type: u32, bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        self.stream_with(stream_type, move |pen| {
            pen.bytes(&bytes);
            bytes.len() as u64
        })
    }

    /// Any stream from a function that writes it at the pen's place, then what it refers to, and gives the size of the
    /// stream itself. RVAs come from [`Pen::rva`].
    #[must_use]
    pub fn stream_with(mut self, stream_type: u32, write: impl Fn(&mut Pen) -> u64 + 'static) -> Self {
        self.streams.push((stream_type, Rc::new(write)));
        self
    }

    /// Changes the header after it has been worked out.
    #[must_use]
    pub fn edit_header(mut self, edit: impl Fn(&mut Header) + 'static) -> Self {
        self.header_edits.push(Rc::new(edit));
        self
    }

    /// Changes the directory after it has been worked out; rows added here are written over what follows it.
    #[must_use]
    pub fn edit_directory(mut self, edit: impl Fn(&mut Vec<DirectoryEntry>) + 'static) -> Self {
        self.directory_edits.push(Rc::new(edit));
        self
    }

    /// The file.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut streams = self.streams.clone();
        streams.extend(self.list_streams());
        let mut pen = Pen::little();
        pen.zeros(32).zeros(streams.len().saturating_mul(12));

        let mut directory = Vec::new();
        for (stream_type, write) in &streams {
            let rva = pen.align(8).rva();
            let size = write(&mut pen) as u32;
            let rva = if *stream_type == stream_type::UNUSED { 0 } else { rva };
            directory.push(DirectoryEntry { stream_type: *stream_type, size, rva });
        }
        for edit in &self.directory_edits {
            edit(&mut directory);
        }
        let mut header = Header {
            signature: 0x504d_444d,
            version: 0xa793,
            stream_count: directory.len() as u32,
            directory_rva: 32,
            checksum: 0,
            time: self.time,
            flags: self.flags,
        };
        for edit in &self.header_edits {
            edit(&mut header);
        }

        let mut front = Pen::little();
        front.u32(header.signature).u32(header.version).u32(header.stream_count).u32(header.directory_rva);
        front.u32(header.checksum).u32(header.time).u64(header.flags);
        for entry in &directory {
            front.u32(entry.stream_type).u32(entry.size).u32(entry.rva);
        }
        let mut file = front.into_bytes();
        file.extend(pen.into_bytes().into_iter().skip(file.len()));
        file
    }
}
