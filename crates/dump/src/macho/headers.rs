//! Mach-O headers and load commands, of a core and of the images that lie in its memory.
//!
//! *What it is not*: it reads no symbols and no DWARF; that is the symbols crate's, for files.
//!
//! *Example*: `cffaedfe 07000001 03000000 04000000` begins a 64-bit core of x86-64.
//!
//! *Trap*: the width of the header does not tell the processor: a core of a Cortex-M (32 bits) may have the 64-bit header
//! (lldb's `armv7em` sample has).

use crate::bytes::Fields;
use crate::{Arch, Endian};

pub(super) const MH_CORE: u32 = 4;
pub(super) const MH_EXECUTE: u32 = 2;
pub(super) const MH_DYLINKER: u32 = 7;
pub(super) const LC_SEGMENT: u32 = 1;
pub(super) const LC_THREAD: u32 = 4;
pub(super) const LC_UNIXTHREAD: u32 = 5;
pub(super) const LC_IDENT: u32 = 8;
pub(super) const LC_ID_DYLIB: u32 = 0xd;
pub(super) const LC_ID_DYLINKER: u32 = 0xf;
pub(super) const LC_SEGMENT_64: u32 = 0x19;
pub(super) const LC_UUID: u32 = 0x1b;
pub(super) const LC_NOTE: u32 = 0x31;
pub(super) const LC_BUILD_VERSION: u32 = 0x32;

/// The header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) is_64: bool,
    pub(super) endian: Endian,
    pub(super) cpu: u32,
    pub(super) file_type: u32,
    pub(super) commands: u32,
    pub(super) commands_size: u32,
}

impl Header {
    /// Reads the first 32 bytes.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (is_64, endian) = match bytes.get(..4)? {
            [0xce, 0xfa, 0xed, 0xfe] => (false, Endian::Little),
            [0xcf, 0xfa, 0xed, 0xfe] => (true, Endian::Little),
            [0xfe, 0xed, 0xfa, 0xce] => (false, Endian::Big),
            [0xfe, 0xed, 0xfa, 0xcf] => (true, Endian::Big),
            _ => return None,
        };
        let fields = Fields::new(bytes, endian);
        Some(Self {
            is_64,
            endian,
            cpu: fields.u32(4)?,
            file_type: fields.u32(12)?,
            commands: fields.u32(16)?,
            commands_size: fields.u32(20)?,
        })
    }

    /// Bytes of the header.
    pub(super) fn size(&self) -> usize {
        if self.is_64 { 32 } else { 28 }
    }

    /// The processor by `mach/machine.h`.
    pub(super) fn arch(&self) -> Arch {
        match self.cpu {
            7 => Arch::X86,
            0x0100_0007 => Arch::X86_64,
            12 | 0x0200_000c => Arch::Arm,
            0x0100_000c => Arch::Aarch64,
            18 => Arch::Ppc,
            0x0100_0012 => Arch::Ppc64,
            _ => Arch::Other(0),
        }
    }
}

/// One load command: its number and all of its bytes.
pub(super) struct Command<'a> {
    pub(super) kind: u32,
    pub(super) fields: Fields<'a>,
}

/// The load commands; stops at the first one that does not fit. `bytes` begin behind the header.
pub(super) fn commands<'a>(header: &Header, bytes: &'a [u8]) -> impl Iterator<Item = Command<'a>> + use<'a> {
    let endian = header.endian;
    let mut rest = bytes;
    let mut left = header.commands;
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let fields = Fields::new(rest, endian);
        let (kind, size) = (fields.u32(0)?, fields.u32(4)? as usize);
        if size < 8 {
            return None;
        }
        let (command, behind) = rest.split_at_checked(size)?;
        rest = behind;
        Some(Command { kind, fields: Fields::new(command, endian) })
    })
}

/// LC_SEGMENT or LC_SEGMENT_64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) vmaddr: u64,
    pub(super) vmsize: u64,
    pub(super) fileoff: u64,
    pub(super) filesize: u64,
    /// Bit 0 read, 1 write, 2 execute.
    pub(super) protection: u32,
    /// Where the sections' headers begin in the command, how many there are, and bytes of each.
    pub(super) sections: (usize, u32, usize),
}

/// A name of at most 16 bytes.
pub(super) fn name(fields: Fields<'_>, at: usize) -> String {
    String::from_utf8_lossy(fields.cstr(at, 16).unwrap_or_default()).into_owned()
}

impl Segment {
    pub(super) fn read(command: &Command<'_>) -> Option<Self> {
        let fields = command.fields;
        let (word, sections, section) = match command.kind {
            LC_SEGMENT_64 => (8, 72, 80),
            LC_SEGMENT => (4, 56, 68),
            _ => return None,
        };
        let at = |index: usize| fields.uint(24 + index * word, word);
        let tail = 24 + 4 * word;
        Some(Self {
            name: name(fields, 8),
            vmaddr: at(0)?,
            vmsize: at(1)?,
            fileoff: at(2)?,
            filesize: at(3)?,
            // Folklore: the kernel's cores have the current protection in `initprot`, and all in `maxprot`.
            protection: fields.u32(tail + 4)?,
            sections: (sections, fields.u32(tail + 8)?, section),
        })
    }

    /// Name and address of each section.
    pub(super) fn section_addresses(&self, command: &Command<'_>) -> Vec<(String, u64)> {
        let (at, count, size) = self.sections;
        let word = if size == 80 { 8 } else { 4 };
        (0..count.min(256) as usize)
            .map_while(|index| {
                let start = at + index * size;
                Some((name(command.fields, start), command.fields.uint(start + 32, word)?))
            })
            .collect()
    }
}
