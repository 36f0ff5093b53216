//! Entries, steps and tables that are written here, and nonsense.

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
