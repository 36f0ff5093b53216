//! Entries of ORC: what their six bytes mean in each version.

use crate::kernel::u16_at;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 6;
/// Entries that are looked at to tell a version.
const SAMPLE: usize = 20_000;

/// What the bits of an entry mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrcVersion {
    /// Up to 6.2.
    V1,
    /// 6.3: a bit says that an address is exact.
    V2,
    /// 6.4 to 7.0: the end is a type of its own.
    V3,
    /// 7.1 and later: other numbers for registers.
    V4,
}

impl OrcVersion {
    /// By the hash in the kernel's `__start_orc_header` or a module's `.orc_header`.
    #[must_use]
    pub fn by_header(header: &[u8]) -> Option<Self> {
        match header.first_chunk::<4>()? {
            [0xdb, 0x84, 0xae, 0xd4] => Some(Self::V2),
            [0xfe, 0x5d, 0x32, 0xbf] => Some(Self::V3),
            [0x13, 0x7c, 0x36, 0xad] => Some(Self::V4),
            _ => None,
        }
    }

    /// By the entries themselves: most are calls whose frame is found by the stack pointer.
    ///
    /// A call is type 0 in versions 1 and 2, type 2 later; the stack pointer is register 5 up to version 3, then 3. Red
    /// Hat's 5.14.0-517 has version 3 and no header, so the release says nothing.
    #[must_use]
    pub fn by_entries(entries: &[u8]) -> Option<Self> {
        let (mut old, mut third, mut fourth, mut high) = (0usize, 0usize, 0usize, false);
        let step = (entries.len() / ENTRY / SAMPLE).max(1);
        for entry in entries.chunks_exact(ENTRY).step_by(step) {
            let flags = u16_at(entry, 4)?;
            match (flags & 0xf, flags >> 8 & 7) {
                (5, 0) => old += 1,
                (5, 2) => third += 1,
                (3, 2) => fourth += 1,
                _ => {}
            }
            high |= flags >> 11 & 1 == 1;
        }
        let most = old.max(third).max(fourth);
        match most {
            0 => None,
            _ if most == third => Some(Self::V3),
            _ if most == fourth => Some(Self::V4),
            _ if high => Some(Self::V2),
            _ => Some(Self::V1),
        }
    }
}

/// A register that an entry counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrcRegister {
    /// None.
    Undefined,
    /// The caller's stack pointer.
    PreviousSp,
    /// rax
    Ax,
    /// rdx
    Dx,
    /// rdi
    Di,
    /// rbp
    Bp,
    /// rsp
    Sp,
    /// r10
    R10,
    /// r13
    R13,
    /// What lies at rbp and the distance.
    BpIndirect,
    /// What lies at rsp, and the distance.
    SpIndirect,
}

impl OrcRegister {
    fn by_number(number: u16, version: OrcVersion) -> Option<Self> {
        let old = [
            Self::Undefined,
            Self::PreviousSp,
            Self::Dx,
            Self::Di,
            Self::Bp,
            Self::Sp,
            Self::R10,
            Self::R13,
            Self::BpIndirect,
            Self::SpIndirect,
        ];
        let new = [
            Self::Undefined,
            Self::Ax,
            Self::Dx,
            Self::Sp,
            Self::Bp,
            Self::Di,
            Self::R10,
            Self::R13,
            Self::PreviousSp,
            Self::SpIndirect,
            Self::BpIndirect,
        ];
        let table: &[Self] = if version == OrcVersion::V4 { &new } else { &old };
        table.get(usize::from(number)).copied()
    }
}

/// What lies at the frame's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrcType {
    /// Nobody knows: no code, or code without a stack.
    Undefined,
    /// The last frame of a stack.
    End,
    /// A return address.
    Call,
    /// All registers (`struct pt_regs`).
    Registers,
    /// What the processor itself saved at an interrupt.
    PartialRegisters,
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrcEntry {
    /// Distance of the caller's stack pointer from `sp`.
    pub sp_offset: i16,
    /// Distance of the saved rbp from `bp`.
    pub bp_offset: i16,
    /// What the caller's stack pointer counts from.
    pub sp: OrcRegister,
    /// What the place of the saved rbp counts from.
    pub bp: OrcRegister,
    /// What lies there.
    pub kind: OrcType,
    /// Whether the address found there is an instruction's own, and no return address.
    pub signal: bool,
}

impl OrcEntry {
    /// What the kernel takes where it has no entry (programs that were compiled at run time): a frame made by rbp.
    pub const FRAME_POINTER: Self = Self {
        sp_offset: 16,
        bp_offset: -16,
        sp: OrcRegister::Bp,
        bp: OrcRegister::PreviousSp,
        kind: OrcType::Call,
        signal: false,
    };

    /// Reads the six bytes; `None` where they make no sense.
    #[must_use]
    pub fn parse(bytes: &[u8], version: OrcVersion) -> Option<Self> {
        let flags = u16_at(bytes, 4)?;
        let sp = OrcRegister::by_number(flags & 0xf, version)?;
        let bp = OrcRegister::by_number(flags >> 4 & 0xf, version)?;
        let (kind, signal) = match version {
            OrcVersion::V1 | OrcVersion::V2 => {
                let end = flags >> if version == OrcVersion::V1 { 10 } else { 11 } & 1 == 1;
                let kind = match flags >> 8 & 3 {
                    _ if sp == OrcRegister::Undefined => {
                        if end {
                            OrcType::End
                        } else {
                            OrcType::Undefined
                        }
                    }
                    0 => OrcType::Call,
                    1 => OrcType::Registers,
                    2 => OrcType::PartialRegisters,
                    _ => return None,
                };
                let registers = matches!(kind, OrcType::Registers | OrcType::PartialRegisters);
                (kind, if version == OrcVersion::V1 { registers } else { flags >> 10 & 1 == 1 })
            }
            OrcVersion::V3 | OrcVersion::V4 => {
                let kind = match flags >> 8 & 7 {
                    0 => OrcType::Undefined,
                    1 => OrcType::End,
                    2 => OrcType::Call,
                    3 => OrcType::Registers,
                    4 => OrcType::PartialRegisters,
                    _ => return None,
                };
                (kind, flags >> 11 & 1 == 1)
            }
        };
        let (sp_offset, bp_offset) = (u16_at(bytes, 0)? as i16, u16_at(bytes, 2)? as i16);
        Some(Self { sp_offset, bp_offset, sp, bp, kind, signal })
    }
}
