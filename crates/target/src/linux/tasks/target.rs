//! A process of a machine as a target of its own, as if it had been dumped alone: then modules, stacks, names and lines are
//! worked out by what works them out for dumps of processes.
//!
//! *What it is not*: a copy. Memory is read through the process's page tables when it is asked for, and files of the page
//! cache are shared by all processes of the machine.
//!
//! *Trap*: registers that the kernel saved are a thread's own only while it is in the kernel. A thread that ran its program
//! when the machine stopped has a stack only if the dump has its processor's registers.

use super::core_notes::file_mappings;
use super::memory::ProcessMemory;
use super::process::Process;
use super::regions::ProcessRegion;
use super::registers::{RegisterSource, UserRegisters};
use super::threads::Thread;
use crate::files::Finder;
use crate::files::own::{Own, OwnFile, OwnFiles};
use crate::linux::Linux;
use crate::target::Target;
use afterimage_dump::source::Source;
use afterimage_dump::write::elf_core::Class;
use afterimage_dump::{
    Arch, Backing, Budget, Dump, DumpType, Endian, FileOffset, Format, Mapping, Memory, Os, Permissions,
    Process as Facts, Region, Segment, SegmentMemory, Virt,
};
use std::io;
use std::sync::Arc;

/// Bytes of programs' addresses on any processor here.
const ADDRESSES: u64 = 1 << 63;

/// A process of a machine, understood.
pub struct ProcessTarget {
    /// The process as a dump of its own; its threads are those whose user mode's registers are known.
    pub target: Target,
    /// Threads that are not among them, and why.
    pub without: Vec<(Thread, String)>,
    /// What was wrong on the way.
    pub remarks: Vec<String>,
}

/// A process's memory as a container whose offsets are addresses.
struct Space(Arc<ProcessMemory<Arc<Linux>>>);

impl Source for Space {
    fn len(&self) -> u64 {
        ADDRESSES
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(Virt(at), buf).map_err(|fault| io::Error::other(fault.why))
    }
}

/// What a process has mapped, out of the page cache.
struct MappedFiles {
    linux: Arc<Linux>,
    memory: Arc<ProcessMemory<Arc<Linux>>>,
}

impl OwnFiles for MappedFiles {
    fn at(&self, at: Virt) -> Option<OwnFile> {
        let region = self.memory.region_at(at.0)?;
        let file = region.file.filter(|file| *file != 0)?;
        let mapping = self.linux.pointer(file, "file", "f_mapping").filter(|mapping| *mapping != 0)?;
        let path = region.path.as_ref().ok()?.as_deref()?;
        let elf = self.linux.shared_elf(mapping, path)?;
        Some(OwnFile { file: elf.file, whole: elf.whole })
    }
}

impl Target {
    /// A process of the Linux machine in this dump as a target of its own.
    ///
    /// # Errors
    /// Why it has no memory, or there is no kernel to ask.
    pub fn process(&self, process: &Process) -> Result<ProcessTarget, String> {
        let linux = self.shared_linux()?;
        let (memory, mut remarks) = linux.shared_memory_of(process)?;
        let memory = Arc::new(memory);
        let (threads, remark) = linux.threads(process);
        remarks.extend(remark);
        let mut known: Vec<(Thread, UserRegisters)> = Vec::new();
        let mut without = Vec::new();
        for thread in threads {
            match linux.user_registers(thread.task) {
                Ok(registers) if registers.source == RegisterSource::LastEntry => {
                    without.push((thread, "it was running, and the dump has not the processor's registers".into()));
                }
                Ok(registers) if known.first().is_some_and(|(_, first)| first.arch() != registers.arch()) => {
                    without.push((thread, "it ran code of another width than the process's first thread".into()));
                }
                Ok(registers) => known.push((thread, registers)),
                Err(why) => without.push((thread, why)),
            }
        }
        let arch = known.first().map_or(linux.arch, |(_, first)| first.arch());
        let dump = linux.dump_of(process, &memory, arch, known);
        let files = Arc::new(MappedFiles { linux: linux.clone(), memory });
        let own = Own { files, machine: self.shared_finder().clone() };
        let finder = Finder::with_own(Arc::new(dump), self.options().clone(), Budget::default(), Some(own));
        Ok(ProcessTarget { target: Target::with_finder(finder), without, remarks })
    }
}

impl UserRegisters {
    fn arch(&self) -> Arch {
        self.registers.arch()
    }
}

impl Linux {
    fn dump_of(
        &self,
        process: &Process,
        memory: &Arc<ProcessMemory<Arc<Self>>>,
        arch: Arch,
        threads: Vec<(Thread, UserRegisters)>,
    ) -> Dump {
        let pointer_size = arch.info().pointer_size;
        let class = if pointer_size == 8 { Class::Bits64 } else { Class::Bits32 };
        let pairs = |bytes: Vec<u8>| {
            let word = |bytes: &[u8]| Endian::Little.uint(bytes);
            let pair = |pair: &[u8]| Some((word(pair.get(..pointer_size)?), word(pair.get(pointer_size..)?)));
            bytes.chunks_exact(2 * pointer_size).filter_map(pair).collect()
        };
        let mapping = |mapping: afterimage_dump::write::notes::FileMapping| Mapping {
            start: Virt(mapping.start),
            end: Virt(mapping.end),
            offset: mapping.offset,
            path: String::from_utf8_lossy(&mapping.path).into_owned(),
        };
        let thread = |(thread, registers): (Thread, UserRegisters)| afterimage_dump::Thread {
            tid: thread.tid,
            name: thread.comm,
            state: thread.state.map(String::from),
            registers: registers.registers,
            signal: None,
            signal_info: None,
            stack: None,
            thread_pointer: registers.thread_pointer.map(Virt),
            extra_notes: Vec::new(),
        };
        let segments = memory.regions().map(|region| Segment {
            start: Virt(region.start),
            end: Virt(region.end),
            backing: Backing::File(FileOffset(region.start)),
        });
        let segments = segments.collect();
        Dump {
            format: Format::ElfCore,
            compression: None,
            dump_type: DumpType::Complete,
            os: Os::Linux,
            os_version: self.release(),
            arch,
            endian: Endian::Little,
            pointer_size,
            time: None,
            writer: None,
            process: Facts {
                pid: Some(process.pid),
                ppid: process.ppid,
                name: process.comm.clone(),
                executable: process.exe.clone().ok(),
                ..Facts::default()
            },
            threads: threads.into_iter().map(thread).collect(),
            exception: None,
            modules: Vec::new(),
            unloaded_modules: Vec::new(),
            mappings: file_mappings(memory).into_iter().map(mapping).collect(),
            regions: memory.regions().map(region).collect(),
            memory: Arc::new(SegmentMemory::new(Arc::new(Space(memory.clone())), segments)),
            auxv: self.auxv(process, class).map(pairs).unwrap_or_default(),
            handles: Vec::new(),
            notes: Vec::new(),
            soft_errors: Vec::new(),
            issues: Vec::new(),
            missing_bytes: 0,
            file_size: 0,
            machine: None,
            report: None,
        }
    }
}

/// A mapping as a dump has it; how much of it is there nobody has counted.
fn region(region: &ProcessRegion) -> Region {
    let permissions =
        region.flags.map(|flags| Permissions { read: flags & 1 != 0, write: flags & 2 != 0, execute: flags & 4 != 0 });
    Region {
        start: Virt(region.start),
        end: Virt(region.end),
        permissions,
        path: region.path.clone().ok().flatten(),
        present_bytes: region.end - region.start,
    }
}
