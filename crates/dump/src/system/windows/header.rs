//! The header of both widths: 8 KiB with 64-bit addresses, 4 KiB with 32-bit ones.
//!
//! *Example*: `Header::parse(&bytes).map(|header| header.directory_table_base())`.
//!
//! *Trap*: the two widths have nothing but the first 16 bytes in common, and the dump type stands at 0xf98 in one and at
//! 0xf88 in the other.

use super::stop::{DumpKind, ExceptionRecord, Stop};
use crate::bytes::Fields;
use crate::minidump::context;
use crate::source::{SharedSource, read_vec};
use crate::{Arch, Endian, Registers, Virt};
use std::io;

/// What a field has that nobody wrote: `PAGE`.
pub(super) const UNSET: u32 = 0x4547_4150;
/// The same twice.
const UNSET_64: u64 = 0x4547_4150_4547_4150;

/// Bytes of an address in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// `PAGE` `DUMP`.
    Bits32,
    /// `PAGE` `DU64`.
    Bits64,
}

/// Where the fields stand (`DUMP_HEADER32` and `DUMP_HEADER64` of the WDK's debuggers).
pub(super) struct Layout {
    pub(super) len: usize,
    pub(super) pointer: usize,
    directory_table_base: usize,
    loaded_modules: usize,
    active_processes: usize,
    machine: usize,
    processors: usize,
    code: usize,
    parameters: usize,
    version_user: usize,
    debugger_data: usize,
    pub(super) memory: usize,
    pub(super) context: (usize, usize),
    exception: usize,
    comment: usize,
    pub(super) kind: usize,
    required_space: usize,
    system_time: usize,
    up_time: usize,
    secondary_data_state: usize,
    product_type: usize,
    suite_mask: usize,
    /// 64-bit headers only: writer's status, attributes, boot id.
    tail: Option<(usize, usize, usize)>,
}

static BITS_32: Layout = Layout {
    len: 0x1000,
    pointer: 4,
    directory_table_base: 0x10,
    loaded_modules: 0x18,
    active_processes: 0x1c,
    machine: 0x20,
    processors: 0x24,
    code: 0x28,
    parameters: 0x2c,
    version_user: 0x3c,
    debugger_data: 0x60,
    memory: 0x64,
    context: (0x320, 1200),
    exception: 0x7d0,
    comment: 0x820,
    kind: 0xf88,
    required_space: 0xfa0,
    system_time: 0xfc0,
    up_time: 0xfb8,
    secondary_data_state: 0xf90,
    product_type: 0xf94,
    suite_mask: 0xf98,
    tail: None,
};

static BITS_64: Layout = Layout {
    len: 0x2000,
    pointer: 8,
    directory_table_base: 0x10,
    loaded_modules: 0x20,
    active_processes: 0x28,
    machine: 0x30,
    processors: 0x34,
    code: 0x38,
    parameters: 0x40,
    version_user: 0x60,
    debugger_data: 0x80,
    memory: 0x88,
    context: (0x348, 3000),
    exception: 0xf00,
    comment: 0xfb0,
    kind: 0xf98,
    required_space: 0xfa0,
    system_time: 0xfa8,
    up_time: 0x1030,
    secondary_data_state: 0x103c,
    product_type: 0x1040,
    suite_mask: 0x1044,
    tail: Some((0x1048, 0x1050, 0x1054)),
};

impl Layout {
    /// Where `RequiredDumpSpace` stands.
    pub(super) fn required_space(&self) -> usize {
        self.required_space
    }

    /// Where the writer's status, the attributes and the boot id stand, in 64-bit headers.
    pub(super) fn tail(&self) -> Option<(usize, usize, usize)> {
        self.tail
    }
}

/// `PaeEnabled` of a 32-bit header.
const PAE_ENABLED: usize = 0x5c;

/// The header's bytes, and what they say.
#[derive(Clone, Debug)]
pub struct Header {
    bytes: Vec<u8>,
    width: Width,
}

/// By the first eight bytes.
pub(super) fn width(head: &[u8]) -> Option<Width> {
    match head.get(..8)? {
        b"PAGEDU64" => Some(Width::Bits64),
        b"PAGEDUMP" => Some(Width::Bits32),
        _ => None,
    }
}

fn set32(value: u32) -> Option<u32> {
    (value != UNSET).then_some(value)
}

fn set64(value: u64) -> Option<u64> {
    (value != UNSET_64 && value != u64::from(UNSET) && value != 0).then_some(value)
}

/// Seconds since 1970 of a FILETIME (100 ns since 1601).
pub(super) fn unix_time(filetime: u64) -> Option<i64> {
    const BETWEEN: i64 = 11_644_473_600;
    let seconds = i64::try_from(filetime / 10_000_000).ok()? - BETWEEN;
    (seconds > 0).then_some(seconds)
}

impl Header {
    /// Reads the header of a file; `None` if the file ends within it, or begins with something else.
    ///
    /// # Errors
    /// What the operating system says when it cannot read.
    pub(super) fn read(source: &SharedSource) -> io::Result<Option<Self>> {
        Ok(Self::parse(&read_vec(&**source, 0, BITS_64.len)?))
    }

    /// Takes a header out of the first bytes of a file; `None` if they are too few or of something else.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let width = width(bytes)?;
        let len = match width {
            Width::Bits32 => BITS_32.len,
            Width::Bits64 => BITS_64.len,
        };
        Some(Self { bytes: bytes.get(..len)?.to_vec(), width })
    }

    /// The bytes as they stand in the file: 0x1000 or 0x2000.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// 32 or 64 bits.
    #[must_use]
    pub fn width(&self) -> Width {
        self.width
    }

    pub(super) fn layout(&self) -> &'static Layout {
        match self.width {
            Width::Bits32 => &BITS_32,
            Width::Bits64 => &BITS_64,
        }
    }

    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.bytes, Endian::Little)
    }

    fn u32(&self, at: usize) -> u32 {
        self.fields().u32(at).unwrap_or(0)
    }

    fn pointer(&self, at: usize) -> u64 {
        self.fields().uint(at, self.layout().pointer).unwrap_or(0)
    }

    fn text(&self, at: usize, len: usize) -> Option<String> {
        let bytes = self.fields().slice(at, len)?;
        let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
        let filled = text.chunks(4).all(|word| b"PAGE".starts_with(word));
        let plain = text.iter().all(|b| (0x20..0x7f).contains(b));
        (!text.is_empty() && !filled && plain).then(|| String::from_utf8_lossy(text).trim().to_owned())
    }

    /// Which kind of dump follows.
    #[must_use]
    pub fn kind(&self) -> DumpKind {
        DumpKind::of(self.u32(self.layout().kind))
    }

    /// The processor, by the machine number of PE files.
    #[must_use]
    pub fn arch(&self) -> Arch {
        match self.u32(self.layout().machine) {
            0x8664 => Arch::X86_64,
            0xaa64 => Arch::Aarch64,
            0x14c => Arch::X86,
            0x1c0 | 0x1c4 => Arch::Arm,
            _ => Arch::Other(0),
        }
    }

    /// `DirectoryTableBase`: the value of CR3 or TTBR.
    #[must_use]
    pub fn directory_table_base(&self) -> Option<u64> {
        set64(self.pointer(self.layout().directory_table_base))
    }

    /// Whether a 32-bit machine used PAE; `None` where nobody wrote it.
    pub(super) fn pae(&self) -> Option<bool> {
        match (self.width, self.fields().u8(PAE_ENABLED)?) {
            (Width::Bits32, 0) => Some(false),
            (Width::Bits32, 1) => Some(true),
            _ => None,
        }
    }

    /// Registers of the crashed processor.
    #[must_use]
    pub fn registers(&self) -> Option<Registers> {
        let (at, len) = self.layout().context;
        let arch = self.arch();
        let found = context::read(arch, Fields::new(self.fields().slice(at, len)?, Endian::Little))?;
        (found.kind.arch == arch && found.registers.pc().is_some()).then_some(found.registers)
    }

    fn exception(&self) -> Option<ExceptionRecord> {
        read_exception(Fields::new(self.bytes.get(self.layout().exception..)?, Endian::Little), self.layout().pointer)
    }

    /// All that the header says of the stop.
    #[must_use]
    pub fn stop(&self) -> Stop {
        let layout = self.layout();
        let field = |at: usize| set32(self.u32(at));
        let pointer = |at: usize| set64(self.pointer(at)).map(Virt);
        let parameter = |index: usize| self.pointer(layout.parameters + index * layout.pointer);
        let time = |at: usize| set64(self.fields().u64(at)?);
        let attributes = layout.tail.and_then(|(_, at, _)| field(at));
        let code = self.u32(layout.code);
        Stop {
            code,
            parameters: [parameter(0), parameter(1), parameter(2), parameter(3)],
            kind: self.kind(),
            build: field(12).filter(|&build| build != 0),
            major_version: field(8),
            version_user: self.text(layout.version_user, 32),
            product_type: field(layout.product_type).filter(|&product| product != 0),
            suite_mask: field(layout.suite_mask),
            processors: field(layout.processors).filter(|&count| count != 0),
            debugger_data: pointer(layout.debugger_data),
            loaded_modules: pointer(layout.loaded_modules),
            active_processes: pointer(layout.active_processes),
            system_time: time(layout.system_time).and_then(unix_time),
            up_time: time(layout.up_time).filter(|&ticks| ticks < 1 << 56).map(|ticks| ticks as f64 / 1e7),
            secondary_data_state: field(layout.secondary_data_state),
            comment: self.text(layout.comment, 128),
            attributes,
            boot_id: layout.tail.and_then(|(_, _, at)| field(at)),
            writer_status: layout.tail.and_then(|(at, _, _)| field(at)),
            exception: self.exception(),
            // LiveDumpGeneratedDump is bit 4; LIVE_SYSTEM_DUMP is bug check 0x161.
            live: code == 0x161 || attributes.is_some_and(|bits| bits >> 4 & 1 == 1),
            ..Stop::default()
        }
    }
}

/// `EXCEPTION_RECORD32` or `EXCEPTION_RECORD64`; `None` for one that nobody wrote.
pub(super) fn read_exception(fields: Fields<'_>, pointer: usize) -> Option<ExceptionRecord> {
    let code = set32(fields.u32(0)?).filter(|&code| code != 0)?;
    let flags = fields.u32(4)?;
    let at = if pointer == 8 { 16 } else { 12 };
    let address = fields.uint(at, pointer)?;
    let count = fields.u32(at + pointer)?;
    // A count that nobody wrote is `PAGE`.
    let count = if count > 15 { 0 } else { count as usize };
    let first = if pointer == 8 { 32 } else { 20 };
    let parameters = (0..count).filter_map(|i| fields.uint(first + i * pointer, pointer)).collect();
    Some(ExceptionRecord { code, flags, address, parameters })
}
