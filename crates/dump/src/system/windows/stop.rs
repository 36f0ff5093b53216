//! What a Windows dump says of its stop.

use crate::Virt;

/// A stop ("blue screen"), or a dump that was taken without one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stop {
    /// Bug check code, as the header has it: a small dump may have bit 28 set (0x1000007e for 0x7e).
    pub code: u32,
    /// Its four parameters; those of a 32-bit machine are not sign-extended.
    pub parameters: [u64; 4],
    /// What kind of dump the header announces.
    pub kind: DumpKind,
    /// Build of the system (`MinorVersion`), as 19041.
    pub build: Option<u32>,
    /// Whether the kernel is a free (15) or a checked (12) build (`MajorVersion`).
    pub major_version: Option<u32>,
    /// `VersionUser`, if it has text.
    pub version_user: Option<String>,
    /// The kernel's own build text (`19041.1.amd64fre.vb_release.191206-1406`), where the dump holds it.
    pub build_lab: Option<String>,
    /// `ProductType`: 1 workstation, 2 domain controller, 3 server.
    pub product_type: Option<u32>,
    /// `SuiteMask`, bits as `VER_SUITE_*`.
    pub suite_mask: Option<u32>,
    /// Processors of the machine.
    pub processors: Option<u32>,
    /// Address of the kernel's `KDDEBUGGER_DATA64`.
    pub debugger_data: Option<Virt>,
    /// Address of `PsLoadedModuleList`.
    pub loaded_modules: Option<Virt>,
    /// Address of `PsActiveProcessHead`.
    pub active_processes: Option<Virt>,
    /// When the machine stopped, in seconds since 1970 (UTC).
    pub system_time: Option<i64>,
    /// Seconds that it had run.
    pub up_time: Option<f64>,
    /// `SecondaryDataState`.
    pub secondary_data_state: Option<u32>,
    /// Comment, if someone wrote one.
    pub comment: Option<String>,
    /// Attributes of the file (`DUMP_FILE_ATTRIBUTES`).
    pub attributes: Option<u32>,
    /// Counts the starts of the machine.
    pub boot_id: Option<u32>,
    /// `WriterStatus`: the writer's own result.
    pub writer_status: Option<u32>,
    /// The exception record of the header.
    pub exception: Option<ExceptionRecord>,
    /// Whether the machine ran on: the dump was taken of a live system.
    pub live: bool,
    /// Process that ran on the crashed processor: id and short name, where they are certain.
    pub process: Option<(u32, String)>,
    /// Number of the crashed processor, where the dump holds its control block.
    pub processor: Option<u32>,
    /// Name and nominal frequency in MHz of the processor, where the dump holds its control block.
    pub processor_name: Option<(String, u32)>,
    /// Address of the thread that ran (`ETHREAD`).
    pub thread: Option<Virt>,
    /// Id of that thread, where it is certain.
    pub thread_id: Option<u32>,
    /// Drivers that had been unloaded.
    pub unloaded: Vec<UnloadedDriver>,
}

/// Bit 28 of a bug check code: the variant that the system writes for a small dump.
const SMALL: u32 = 0x1000_0000;

impl Stop {
    /// The code without the bit of small dumps.
    #[must_use]
    pub fn plain_code(&self) -> u32 {
        if self.code & 0xf000_0000 == SMALL { self.code & !SMALL } else { self.code }
    }

    /// Whether nothing had gone wrong: a live dump, and no other code than the one that says so.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.live || self.code == 0x161
    }
}

/// An exception record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExceptionRecord {
    /// Code, as 0xc0000005.
    pub code: u32,
    /// Flags; bit 0 means that it cannot be continued.
    pub flags: u32,
    /// Address of the instruction.
    pub address: u64,
    /// `ExceptionInformation`.
    pub parameters: Vec<u64>,
}

/// A driver that was unloaded before the stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnloadedDriver {
    /// Name; small dumps keep its first 12 characters.
    pub name: String,
    /// Where it began.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// When it was unloaded, in seconds since 1970 (UTC); only in dumps with the kernel's own list.
    pub time: Option<i64>,
}

/// `DumpType` of the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpKind {
    /// 1: all runs of physical memory.
    #[default]
    Full,
    /// 2: a bitmap, before Windows 8: the kernel's memory.
    Summary,
    /// 3: the header alone.
    Header,
    /// 4: a small dump.
    Triage,
    /// 5: a bitmap of all memory, or of the active part.
    BitmapFull,
    /// 6: a bitmap of the kernel's memory.
    BitmapKernel,
    /// 7: an automatic dump.
    Automatic,
    /// 8: ranges with the kernel's memory (`.dump /k`).
    RangesKernel,
    /// 9: ranges with the kernel's and processes' memory (`.dump /ka`).
    RangesActive,
    /// 10: ranges with all memory (`.dump /f`).
    RangesFull,
    /// Any other number.
    Unknown(u32),
}

impl DumpKind {
    /// By `DumpType`. What nobody wrote (Windows 2000 before its first service pack) is a complete dump.
    #[must_use]
    pub fn of(number: u32) -> Self {
        match number {
            1 | super::header::UNSET => Self::Full,
            2 => Self::Summary,
            3 => Self::Header,
            4 => Self::Triage,
            5 => Self::BitmapFull,
            6 => Self::BitmapKernel,
            7 => Self::Automatic,
            8 => Self::RangesKernel,
            9 => Self::RangesActive,
            10 => Self::RangesFull,
            other => Self::Unknown(other),
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> String {
        let words = match self {
            Self::Full => "complete, runs of physical memory",
            Self::Summary => "kernel, a bitmap and its pages",
            Self::Header => "the header alone",
            Self::Triage => "small",
            Self::BitmapFull => "complete, a bitmap and its pages",
            Self::BitmapKernel => "kernel, a bitmap and its pages",
            Self::Automatic => "automatic, a bitmap and its pages",
            Self::RangesKernel => "kernel, ranges of pages",
            Self::RangesActive => "kernel and processes, ranges of pages",
            Self::RangesFull => "complete, ranges of pages",
            Self::Unknown(number) => return format!("unknown kind {number:#x}"),
        };
        words.to_owned()
    }
}
