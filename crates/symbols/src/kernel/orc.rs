//! ORC: how an x86 kernel says where the caller of each of its instructions is
//! (arch/x86/include/asm/orc_types.h, arch/x86/kernel/unwind_orc.c).
//!
//! *What it is*: the lookup of an address in one table (the kernel's or a module's), and one step from a frame to its
//! caller. Memory comes through [`KernelBytes`].
//!
//! *What it is not*: a walk. Whoever calls knows the stacks, has the tables, and decides when to stop.
//!
//! *Trap*: the entry's six bytes have changed their meaning three times without a number that says so. A hash stands in
//! `__start_orc_header` since 6.4; without it the entries themselves tell. A return address belongs to the instruction
//! before it, the address in a register dump to its own: [`OrcState::lookup`] knows which one it is.

use super::{u16_at, u32_at, u64_at};

/// Bytes of kernel memory by virtual address.
pub trait KernelBytes {
    /// Copies bytes from `at` on and gives how many lie there without a gap, at most `buf.len()`.
    fn read(&self, at: u64, buf: &mut [u8]) -> usize;

    /// The 64-bit number at `at`.
    fn word(&self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read(at, &mut bytes) == 8).then(|| u64::from_le_bytes(bytes))
    }
}

/// Bytes of an entry.
const ENTRY: usize = 6;
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

/// The ORC of a kernel or of one module.
pub struct OrcTable {
    /// Where the distances of the addresses lie in memory: each counts from its own place.
    at: u64,
    addresses: Vec<u8>,
    entries: Vec<u8>,
    version: OrcVersion,
}

impl OrcTable {
    /// A table of what lies at `__start_orc_unwind_ip` (with its address) and `__start_orc_unwind`; without a version from
    /// the header, the entries tell it. `None` if the parts are no ORC.
    #[must_use]
    pub fn new(at: u64, addresses: Vec<u8>, entries: Vec<u8>, version: Option<OrcVersion>) -> Option<Self> {
        let count = (addresses.len() / 4).min(entries.len() / ENTRY);
        let version = version.or_else(|| OrcVersion::by_entries(&entries))?;
        let table = Self { at, addresses, entries, version };
        let step = (count / 256).max(1);
        let mut last = 0;
        for index in (0..count).step_by(step) {
            let address = table.address(index)?;
            if address < last {
                return None;
            }
            last = address;
        }
        (count > 0).then_some(table)
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> OrcVersion {
        self.version
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.addresses.len() / 4).min(self.entries.len() / ENTRY)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn address(&self, index: usize) -> Option<u64> {
        let distance = u32_at(&self.addresses, 4 * index)? as i32;
        Some(self.at.wrapping_add(4 * index as u64).wrapping_add(i64::from(distance) as u64))
    }

    /// The entry that holds at an address. Behind the last code it is [`OrcType::Undefined`].
    #[must_use]
    pub fn find(&self, ip: u64) -> Option<OrcEntry> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.address(middle)? <= ip {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let index = low.checked_sub(1)?;
        OrcEntry::parse(self.entries.get(index * ENTRY..)?, self.version)
    }
}

/// The registers that the kernel saves at an interrupt or a system call: `struct pt_regs`, part of its interface to
/// programs since ever (arch/x86/include/uapi/asm/ptrace.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PtRegs(pub [u64; 21]);

impl PtRegs {
    /// Numbers of registers.
    pub const R13: usize = 2;
    /// rbp
    pub const BP: usize = 4;
    /// r10
    pub const R10: usize = 7;
    /// rax
    pub const AX: usize = 10;
    /// rdx
    pub const DX: usize = 12;
    /// rdi
    pub const DI: usize = 14;
    /// rip: here begins what the processor itself saves: rip, cs, flags, rsp, ss.
    pub const IP: usize = 16;
    /// cs
    pub const CS: usize = 17;
    /// rsp
    pub const SP: usize = 19;

    /// A register by its number.
    #[must_use]
    pub fn get(&self, number: usize) -> u64 {
        self.0.get(number).copied().unwrap_or(0)
    }

    /// Sets a register by its number; another number is ignored.
    pub fn set(&mut self, number: usize, value: u64) {
        if let Some(place) = self.0.get_mut(number) {
            *place = value;
        }
    }

    fn read(memory: &dyn KernelBytes, at: u64) -> Option<Self> {
        let mut bytes = [0; 21 * 8];
        if memory.read(at, &mut bytes) != bytes.len() {
            return None;
        }
        let mut values = [0; 21];
        for (index, value) in values.iter_mut().enumerate() {
            *value = u64_at(&bytes, index * 8)?;
        }
        Some(Self(values))
    }
}

/// Why there is no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrcStop {
    /// The kernel's own mark: this is the outermost frame.
    End,
    /// The registers saved here are a program's.
    User {
        /// Where it was.
        ip: u64,
        /// Its stack pointer.
        sp: u64,
    },
    /// The entry says that nobody knows.
    Undefined,
    /// It needs a register that is not known here.
    NoRegister(OrcRegister),
    /// The memory at this address is not there.
    Unreadable(u64),
}

/// A frame, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrcState {
    /// Its address in the code.
    pub ip: u64,
    /// Its stack pointer.
    pub sp: u64,
    /// Its rbp.
    pub bp: u64,
    /// Whether `ip` is an instruction's own address; otherwise it is a return address.
    pub exact: bool,
    /// All registers, in a frame that was interrupted.
    pub registers: Option<PtRegs>,
    /// Those of the frame before, which hold on where the processor saved only some.
    pub previous: Option<PtRegs>,
}

impl OrcState {
    /// The address to look up.
    #[must_use]
    pub fn lookup(&self) -> u64 {
        if self.exact { self.ip } else { self.ip.wrapping_sub(1) }
    }

    fn register(&self, number: usize) -> Option<u64> {
        self.registers.or(self.previous).map(|registers| registers.get(number))
    }

    /// The caller, by the entry for [`Self::lookup`].
    ///
    /// # Errors
    /// Why there is none.
    pub fn step(&self, entry: &OrcEntry, memory: &dyn KernelBytes) -> Result<Self, OrcStop> {
        let word = |at: u64| memory.word(at).ok_or(OrcStop::Unreadable(at));
        match entry.kind {
            OrcType::End => return Err(OrcStop::End),
            OrcType::Undefined => return Err(OrcStop::Undefined),
            OrcType::Call | OrcType::Registers | OrcType::PartialRegisters => {}
        }
        let distance = i64::from(entry.sp_offset) as u64;
        let from = |number| self.register(number).ok_or(OrcStop::NoRegister(entry.sp));
        let sp = match entry.sp {
            OrcRegister::Sp => self.sp.wrapping_add(distance),
            OrcRegister::Bp => self.bp.wrapping_add(distance),
            // The distance of an indirect rsp counts behind the jump since 5.12, when it came into use.
            OrcRegister::SpIndirect => word(self.sp)?.wrapping_add(distance),
            OrcRegister::BpIndirect => word(self.bp.wrapping_add(distance))?,
            OrcRegister::R10 => from(PtRegs::R10)?,
            OrcRegister::R13 => from(PtRegs::R13)?,
            OrcRegister::Di => from(PtRegs::DI)?,
            OrcRegister::Dx => from(PtRegs::DX)?,
            OrcRegister::Ax => from(PtRegs::AX)?,
            OrcRegister::Undefined | OrcRegister::PreviousSp => return Err(OrcStop::Undefined),
        };
        let mut caller = *self;
        caller.exact = entry.signal;
        match entry.kind {
            OrcType::Registers => {
                let registers = PtRegs::read(memory, sp).ok_or(OrcStop::Unreadable(sp))?;
                (caller.ip, caller.sp) = (registers.get(PtRegs::IP), registers.get(PtRegs::SP));
                user(registers.get(PtRegs::CS), &caller)?;
                (caller.registers, caller.previous) = (Some(registers), None);
            }
            OrcType::PartialRegisters => {
                (caller.ip, caller.sp) = (word(sp)?, word(sp.wrapping_add(24))?);
                user(word(sp.wrapping_add(8))?, &caller)?;
                caller.previous = self.registers.or(self.previous);
                caller.registers = None;
            }
            OrcType::Call | OrcType::End | OrcType::Undefined => {
                (caller.ip, caller.sp) = (word(sp.wrapping_sub(8))?, sp);
                (caller.registers, caller.previous) = (None, None);
            }
        }
        let distance = i64::from(entry.bp_offset) as u64;
        caller.bp = match entry.bp {
            OrcRegister::PreviousSp => word(sp.wrapping_add(distance))?,
            OrcRegister::Bp => word(self.bp.wrapping_add(distance))?,
            _ => caller.register(PtRegs::BP).unwrap_or(self.bp),
        };
        Ok(caller)
    }
}

/// The two lowest bits of cs are 0 in the kernel. With FRED the rest of the word holds other things.
fn user(cs: u64, caller: &OrcState) -> Result<(), OrcStop> {
    if cs & 3 == 0 { Ok(()) } else { Err(OrcStop::User { ip: caller.ip, sp: caller.sp }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

    use super::*;

    struct Stack(u64, Vec<u64>);

    impl KernelBytes for Stack {
        fn read(&self, at: u64, buf: &mut [u8]) -> usize {
            let bytes: Vec<u8> = self.1.iter().flat_map(|word| word.to_le_bytes()).collect();
            let Some(rest) = at.checked_sub(self.0).and_then(|at| bytes.get(at as usize..)) else { return 0 };
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            len
        }
    }

    fn entry(sp: i16, bp: i16, flags: u16) -> [u8; 6] {
        let mut bytes = [0; 6];
        bytes[..2].copy_from_slice(&sp.to_le_bytes());
        bytes[2..4].copy_from_slice(&bp.to_le_bytes());
        bytes[4..].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    /// The layouts are those of orc_types.h at 6.1, 6.3, 6.12, and the registers' new numbers.
    #[test]
    fn a_call_in_each_version() {
        for (version, flags) in
            [(OrcVersion::V1, 0x15), (OrcVersion::V2, 0x15), (OrcVersion::V3, 0x215), (OrcVersion::V4, 0x283)]
        {
            let entry = OrcEntry::parse(&entry(24, -16, flags), version).unwrap();
            assert_eq!(entry.kind, OrcType::Call, "{version:?}");
            assert_eq!((entry.sp, entry.bp), (OrcRegister::Sp, OrcRegister::PreviousSp), "{version:?}");
            let state = OrcState { ip: 0x500, sp: 0x1000, bp: 7, exact: false, registers: None, previous: None };
            let caller = state.step(&entry, &Stack(0x1000, vec![1, 0xb9, 0x600])).unwrap();
            assert_eq!((caller.ip, caller.sp, caller.bp), (0x600, 0x1018, 0xb9), "{version:?}");
        }
    }

    #[test]
    fn versions_are_told_by_their_entries() {
        let many = |flags: u16| entry(8, 0, flags).repeat(8);
        assert_eq!(OrcVersion::by_entries(&many(0x05)), Some(OrcVersion::V1));
        assert_eq!(OrcVersion::by_entries(&[many(0x05), entry(0, 0, 0x800).to_vec()].concat()), Some(OrcVersion::V2));
        assert_eq!(OrcVersion::by_entries(&many(0x205)), Some(OrcVersion::V3));
        assert_eq!(OrcVersion::by_entries(&many(0x203)), Some(OrcVersion::V4));
        assert_eq!(OrcVersion::by_entries(&many(0)), None);
    }

    #[test]
    fn registers_of_a_program_end_it_and_those_of_the_kernel_go_on() {
        let regs = OrcEntry::parse(&entry(0, 0, 0xb05), OrcVersion::V3).unwrap();
        assert_eq!((regs.kind, regs.signal), (OrcType::Registers, true));
        let mut saved: Vec<u64> = (100..121).collect();
        saved[PtRegs::CS] = 0x33;
        let state = OrcState { ip: 1, sp: 0x1000, bp: 7, exact: false, registers: None, previous: None };
        let stop = state.step(&regs, &Stack(0x1000, saved.clone())).unwrap_err();
        assert_eq!(stop, OrcStop::User { ip: 116, sp: 119 });
        saved[PtRegs::CS] = 0x10;
        let caller = state.step(&regs, &Stack(0x1000, saved.clone())).unwrap();
        assert_eq!((caller.ip, caller.sp, caller.bp, caller.exact), (116, 119, 104, true));
        assert_eq!(state.step(&regs, &Stack(0x1000, saved[..20].to_vec())), Err(OrcStop::Unreadable(0x1000)));
    }

    /// Whatever stands there: an answer or none.
    #[test]
    fn nonsense_is_survived() {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 32) as u32
        };
        for round in 0..2000u64 {
            let addresses: Vec<u8> = (0..random() % 9).flat_map(|_| random().to_le_bytes()).collect();
            let entries: Vec<u8> = (0..random() % 64).map(|_| random() as u8).collect();
            let version = [None, Some(OrcVersion::V1), Some(OrcVersion::V3), Some(OrcVersion::V4)][round as usize % 4];
            let at = if round % 2 == 0 { u64::MAX - 9 } else { 0x1000 };
            let Some(table) = OrcTable::new(at, addresses, entries, version) else { continue };
            let sp = u64::from(random() % 300) + 0xf80;
            let mut state = OrcState { ip: at, sp, bp: u64::MAX, exact: true, registers: None, previous: None };
            for ip in [0, at, u64::MAX, u64::from(random())] {
                let Some(entry) = table.find(ip) else { continue };
                let stack = Stack(0x1000, (0..40).map(|_| u64::from(random()) << 32).collect());
                if let Ok(caller) = state.step(&entry, &stack) {
                    state = OrcState { sp, ..caller };
                }
            }
        }
    }

    #[test]
    fn addresses_are_found_between_their_neighbours() {
        // Three entries for 0x2000, 0x2010 and 0x2020, at 0x1000.
        let addresses: Vec<u8> = [0x1000u32, 0x100c, 0x1018].into_iter().flat_map(u32::to_le_bytes).collect();
        let entries = [entry(8, 0, 0x205), entry(16, 0, 0x205), entry(0, 0, 0)].concat();
        let table = OrcTable::new(0x1000, addresses, entries, None).unwrap();
        let sp = |ip| table.find(ip).map(|entry| entry.sp_offset);
        assert_eq!((sp(0x1fff), sp(0x2000), sp(0x200f), sp(0x2010)), (None, Some(8), Some(8), Some(16)));
        assert_eq!(table.find(0x9000).unwrap().kind, OrcType::Undefined);
    }
}
