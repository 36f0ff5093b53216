//! What any dump is made of, whichever container it came in. Readers fill it, everything above reads it.
//!
//! *Trap*: nearly every field can be missing. `None` means that the container does not say, never zero.

use crate::apple_report::Report;
use crate::compressed::Compression;
use crate::machine::Machine;
use crate::registers::Registers;
use crate::segments::SegmentMemory;
use crate::{Arch, Endian, Virt};
use std::sync::Arc;

/// A container format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// An ELF core file.
    ElfCore,
    /// A Windows-style minidump (`MDMP`), of any system.
    Minidump,
    /// Physical memory from address 0 on, byte by byte.
    Raw,
    /// LiME, version 1.
    Lime,
    /// AVML, version 2: LiME's ranges in snappy frames.
    Avml,
    /// kdump-compressed (`makedumpfile`, diskdump).
    Kdump,
    /// LKCD, the kdump of the years before.
    Lkcd,
    /// sadump, by firmware of Fujitsu's machines.
    Sadump,
    /// VMware's saved state (`.vmss`, `.vmsn`), with or without a `.vmem` beside it.
    Vmware,
    /// QEMU's migration stream, as `migrate` and `savevm` write it.
    Qemu,
    /// Memory files of Firecracker and cloud-hypervisor.
    MicroVm,
    /// A Windows crash dump of a machine.
    Windows,
    /// A FreeBSD kernel dump.
    FreeBsdKernel,
    /// A Mach-O core.
    MachO,
    /// The container of kernel cores that macOS writes.
    MacOsKernel,
    /// A crash report in text or JSON (`.ips`, `.crash`, `.panic`).
    AppleReport,
}

impl Format {
    /// The name as the command line writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ElfCore => "elf",
            Self::Minidump => "minidump",
            Self::Raw => "raw",
            Self::Lime => "lime",
            Self::Avml => "avml",
            Self::Kdump => "kdump",
            Self::Lkcd => "lkcd",
            Self::Sadump => "sadump",
            Self::Vmware => "vmware",
            Self::Qemu => "qemu",
            Self::MicroVm => "microvm",
            Self::Windows => "windows",
            Self::FreeBsdKernel => "freebsd-kernel",
            Self::MachO => "mach-o",
            Self::MacOsKernel => "macos-kernel",
            Self::AppleReport => "apple-report",
        }
    }
}

/// How much of the process or machine a dump holds, in the field's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DumpType {
    /// All mapped memory of a process; all memory of a machine.
    Complete,
    /// The memory of a machine's kernel, without that of its processes.
    Kernel,
    /// The memory of a process that cannot be had from files; that of a machine without what can be read again or is not
    /// in use (free pages, caches).
    Active,
    /// A machine's kernel memory, and what of the rest fitted (Windows' automatic dump).
    Automatic,
    /// Registers, stacks and little more.
    Small,
}

impl DumpType {
    /// The name as the command line writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Kernel => "kernel",
            Self::Active => "active",
            Self::Automatic => "automatic",
            Self::Small => "small",
        }
    }
}

/// The operating system that the dumped process ran on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Os {
    /// Linux.
    Linux,
    /// Android.
    Android,
    /// Windows.
    Windows,
    /// macOS.
    MacOs,
    /// iOS.
    Ios,
    /// FreeBSD.
    FreeBsd,
    /// NetBSD.
    NetBsd,
    /// OpenBSD.
    OpenBsd,
    /// Something else, or not said.
    Unknown,
}

impl Os {
    /// All that have a name.
    const NAMED: [Self; 8] =
        [Self::Linux, Self::Android, Self::Windows, Self::MacOs, Self::Ios, Self::FreeBsd, Self::NetBsd, Self::OpenBsd];

    /// The system with this name in lower case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|os| os.name() == name)
    }

    /// The name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Android => "android",
            Self::Windows => "windows",
            Self::MacOs => "macos",
            Self::Ios => "ios",
            Self::FreeBsd => "freebsd",
            Self::NetBsd => "netbsd",
            Self::OpenBsd => "openbsd",
            Self::Unknown => "unknown",
        }
    }
}

/// A dump of one process or one machine, opened.
pub struct Dump {
    /// The container.
    pub format: Format,
    /// What the container was packed with.
    pub compression: Option<Compression>,
    /// How much of the process it holds, judged by its content.
    pub dump_type: DumpType,
    /// The operating system.
    pub os: Os,
    /// The operating system's version or kernel release, where the dump says it.
    pub os_version: Option<String>,
    /// The processor.
    pub arch: Arch,
    /// Byte order.
    pub endian: Endian,
    /// Bytes of a pointer in the dumped process: 4 for x32 although the processor has 8.
    pub pointer_size: usize,
    /// When the dump was made, in seconds since 1970 (UTC).
    pub time: Option<i64>,
    /// The program, if known, that wrote the container, for example `kernel`, `gcore`, `qemu-user`, `afterimage`.
    pub writer: Option<String>,
    /// Facts about the process.
    pub process: Process,
    /// All threads; the one that crashed stands first where the container orders them so.
    pub threads: Vec<Thread>,
    /// What happened, if the dump is of a crash.
    pub exception: Option<Exception>,
    /// Modules as the container lists them (NT_FILE grouped by file, a minidump's module list), by base address.
    pub modules: Vec<ModuleRecord>,
    /// Modules that had been unloaded before the dump.
    pub unloaded_modules: Vec<ModuleRecord>,
    /// Every single file mapping that the container lists.
    pub mappings: Vec<Mapping>,
    /// Ranges of the address space with their protection, in ascending order.
    pub regions: Vec<Region>,
    /// The bytes.
    pub memory: Arc<SegmentMemory<Virt>>,
    /// The auxiliary vector (`AT_*` type and value).
    pub auxv: Vec<(u64, u64)>,
    /// Open handles or file descriptors.
    pub handles: Vec<Handle>,
    /// Every note or stream of the container, known or not, in file order.
    pub notes: Vec<NoteRecord>,
    /// What the writer could not read, in its own words (soft errors stored in the dump).
    pub soft_errors: Vec<String>,
    /// What is wrong with, or missing from, this dump: found while reading it.
    pub issues: Vec<Issue>,
    /// Bytes of memory that the container says it holds but that lie past the end of the file.
    pub missing_bytes: u64,
    /// Bytes of the (uncompressed) container.
    pub file_size: u64,
    /// The machine, if the dump is of a whole one; its processors are then the [`Dump::threads`].
    pub machine: Option<Box<Machine>>,
    /// What a crash report tells beyond all this, if the dump is one; its stacks go by the index in [`Dump::threads`].
    pub report: Option<Box<Report>>,
}

impl Dump {
    /// The thread that crashed.
    #[must_use]
    pub fn crashed_thread(&self) -> Option<&Thread> {
        let tid = self.exception.as_ref()?.tid?;
        self.threads.iter().find(|thread| thread.tid == tid)
    }

    /// The value of an entry of the auxiliary vector.
    #[must_use]
    pub fn auxv_value(&self, kind: u64) -> Option<u64> {
        self.auxv.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value)
    }

    /// The region that holds an address.
    #[must_use]
    pub fn region(&self, at: Virt) -> Option<&Region> {
        let next = self.regions.partition_point(|region| region.start <= at);
        self.regions.get(next.checked_sub(1)?).filter(|region| at < region.end)
    }

    /// Whether nothing that the container promises is missing.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.missing_bytes == 0 && !self.issues.iter().any(|issue| issue.loses_data)
    }
}

/// Facts about the dumped process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Process id.
    pub pid: Option<u32>,
    /// Parent's process id.
    pub ppid: Option<u32>,
    /// Real user id.
    pub uid: Option<u32>,
    /// Real group id.
    pub gid: Option<u32>,
    /// The short name that the kernel keeps (`comm`).
    pub name: Option<String>,
    /// Command line with single blanks between the arguments; an ELF core keeps only its first 79 bytes.
    pub command_line: Option<String>,
    /// Path of the executable.
    pub executable: Option<String>,
    /// Start time in seconds since 1970 (UTC).
    pub start_time: Option<i64>,
    /// CPU time spent in user mode, in microseconds.
    pub user_time_us: Option<u64>,
    /// CPU time spent in the kernel, in microseconds.
    pub system_time_us: Option<u64>,
    /// Environment as the container lists it (a Linux minidump's stream); most have it only in memory.
    pub environment: Vec<(String, String)>,
    /// Free facts in the order of the container: (`lsb_release`, text), (`cpu_info`, text) …
    pub facts: Vec<(String, String)>,
}

/// One thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Its name, where the container has one.
    pub name: Option<String>,
    /// State letter or word, where the container has one.
    pub state: Option<String>,
    /// Integer registers.
    pub registers: Registers,
    /// The signal that this thread had been stopped by, from its own register note; 0 is `None`.
    pub signal: Option<i32>,
    /// This thread's own signal information (gcore, and the crashing thread of a kernel's core).
    pub signal_info: Option<SignalInfo>,
    /// The stack that the container names for it: start and size in bytes.
    pub stack: Option<(Virt, u64)>,
    /// Thread environment block (Windows) or thread pointer.
    pub thread_pointer: Option<Virt>,
    /// Raw vector and other register sets: the note's or context's type and where it lies (index into [`Dump::notes`]).
    pub extra_notes: Vec<usize>,
}

/// `siginfo_t`, as far as it could be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// `si_signo`.
    pub signo: i32,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`, for faults.
    pub address: Option<u64>,
    /// `si_pid`, for signals that a process sent.
    pub pid: Option<u32>,
    /// `si_uid`, for signals that a process sent.
    pub uid: Option<u32>,
    /// `si_syscall`, for SIGSYS.
    pub syscall: Option<i32>,
}

/// The event that a dump was made for.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The thread that it happened in.
    pub tid: Option<u32>,
    /// What it was.
    pub kind: ExceptionKind,
    /// The address that the processor or the system names: the memory that was touched, or the instruction.
    pub address: Option<Virt>,
    /// Registers at that moment (a minidump keeps them apart from the thread's).
    pub registers: Option<Registers>,
}

/// An exception in its own system's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExceptionKind {
    /// A UNIX signal; `code` is `si_code` where it is known.
    Signal {
        /// Number on the dumped system.
        signo: i32,
        /// `si_code`.
        code: Option<i32>,
        /// All of the signal information.
        info: Option<SignalInfo>,
    },
    /// A Windows structured exception.
    Windows {
        /// Exception code, as `0xc0000005`.
        code: u32,
        /// Exception flags.
        flags: u32,
        /// `ExceptionInformation`.
        parameters: Vec<u64>,
    },
    /// A Mach exception.
    Mach {
        /// Exception type, as `EXC_BAD_ACCESS` = 1.
        exception: u32,
        /// First code.
        code: u64,
        /// Further codes.
        parameters: Vec<u64>,
    },
    /// A kernel that stopped its machine itself.
    Panic {
        /// The address in the kernel that called for it.
        caller: Option<u64>,
    },
}

/// A module as the container lists it.
#[derive(Clone, Debug, Default)]
pub struct ModuleRecord {
    /// Lowest address.
    pub base: u64,
    /// First address behind it.
    pub end: u64,
    /// Path as the dumped system knew it.
    pub path: String,
    /// Build id (ELF), UUID (Mach-O) or the PDB's GUID bytes, in file order.
    pub build_id: Option<Vec<u8>>,
    /// Identity in Breakpad's form (`debug_id`: 32 hex digits and the age), where the container has it.
    pub debug_id: Option<String>,
    /// Name of the separate debug file (PDB), where the container has it.
    pub debug_file: Option<String>,
    /// Version as text.
    pub version: Option<String>,
    /// Link time (PE `TimeDateStamp`) in seconds since 1970.
    pub timestamp: Option<u32>,
}

/// One mapping of a file: `start..end` shows the file from `offset` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: Virt,
    /// First address behind it.
    pub end: Virt,
    /// Place in the file, in bytes.
    pub offset: u64,
    /// Path as the dumped system knew it.
    pub path: String,
}

/// A range of the address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: Virt,
    /// First address behind it.
    pub end: Virt,
    /// Protection; `None` where the container does not say.
    pub permissions: Option<Permissions>,
    /// File or kernel's name for it (`[stack]`, `[vdso]`), where known.
    pub path: Option<String>,
    /// Bytes of it that the dump holds.
    pub present_bytes: u64,
}

/// Page protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Permissions {
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
}

impl std::fmt::Display for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flag = |on, letter| if on { letter } else { '-' };
        write!(f, "{}{}{}", flag(self.read, 'r'), flag(self.write, 'w'), flag(self.execute, 'x'))
    }
}

/// An open handle (Windows) or file descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// Its number.
    pub handle: u64,
    /// Its type, as `File` or `Event`.
    pub kind: Option<String>,
    /// The object's name or path.
    pub name: Option<String>,
    /// Access rights that it was opened with.
    pub access: Option<u32>,
}

/// One note (ELF) or stream (minidump) of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteRecord {
    /// Owner's name for notes (`CORE`, `LINUX` …); empty for streams.
    pub owner: String,
    /// Type number.
    pub kind: u32,
    /// The type's name in its specification, if known.
    pub name: Option<&'static str>,
    /// Thread that it belongs to.
    pub tid: Option<u32>,
    /// Where its content lies in the (uncompressed) container, in bytes.
    pub offset: u64,
    /// Length of its content in bytes.
    pub size: u64,
}

/// Something wrong with, or missing from, the dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// One sentence, in lower case, without a full stop.
    pub text: String,
    /// Whether it means that content is missing.
    pub loses_data: bool,
}

impl Issue {
    /// A remark that loses nothing.
    #[must_use]
    pub fn remark(text: impl Into<String>) -> Self {
        Self { text: text.into(), loses_data: false }
    }

    /// Something that is missing.
    #[must_use]
    pub fn loss(text: impl Into<String>) -> Self {
        Self { text: text.into(), loses_data: true }
    }
}
