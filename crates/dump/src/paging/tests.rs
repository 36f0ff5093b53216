//! Walks through tables that are written here entry by entry.

use super::*;
use crate::{Absence, Backing, FileOffset, Memory, Phys, Segment, SegmentMemory, Virt};
use std::sync::Arc;

/// 4 MiB of physical memory from address 0 on.
struct Ram(Vec<u8>);

impl Ram {
    fn new() -> Self {
        Self(vec![0; 4 << 20])
    }

    fn put(mut self, at: u64, value: u64, size: usize) -> Self {
        self.0[at as usize..at as usize + size].copy_from_slice(&value.to_le_bytes()[..size]);
        self
    }

    fn tables(self, layout: Layout, root: u64) -> PageTables {
        let end = Phys(self.0.len() as u64);
        let whole = Segment { start: Phys(0), end, backing: Backing::File(FileOffset(0)) };
        let memory = SegmentMemory::new(Arc::new(self.0), vec![whole]).with_elsewhere(Absence::NotInDump);
        PageTables::new(Arc::new(memory), layout, root)
    }
}

fn index(at: u64, shift: u32, bits: u32) -> u64 {
    (at >> shift & ((1 << bits) - 1)) * 8
}

#[test]
fn x86_64_walks_four_and_five_levels() {
    let at = 0xffff_8880_0020_3123u64;
    let four = Ram::new()
        .put(0x1000 + index(at, 39, 9), 0x2067, 8)
        .put(0x2000 + index(at, 30, 9), 0x3067, 8)
        .put(0x3000 + index(at, 21, 9), 0x4067, 8)
        .put(0x4000 + index(at, 12, 9), 0x8000_0000_0000_5061, 8);
    let tables = four.tables(Layout::x86_64(false), 0x1fff);
    let found = tables.translate(Virt(at)).unwrap();
    assert_eq!((found.physical, found.page_bytes, found.level), (Phys(0x5123), 4096, 3));
    assert_eq!((found.write, found.execute, found.user), (false, false, false));
    let miss = tables.translate(Virt(at + 0x1000)).unwrap_err();
    assert_eq!((miss.level, miss.reason, miss.absence()), ("PTE", MissReason::NotPresent, Absence::NotMapped));
    assert_eq!(tables.translate(Virt(0x1234_0000_0000_0000)).unwrap_err().reason, MissReason::NotCanonical);

    let at = 0xff11_0000_0020_3123u64;
    let five = Ram::new()
        .put(0x1000 + index(at, 48, 9), 0x2067, 8)
        .put(0x2000 + index(at, 39, 9), 0x3067, 8)
        // A page of 1 GiB, and one of 2 MiB elsewhere.
        .put(0x3000 + index(at, 30, 9), 0x4000_00e7, 8)
        .put(0x3000 + index(at, 30, 9) + 8, 0x4067, 8)
        .put(0x4000, 0x20_00e7 | 1 << 12, 8);
    let tables = five.tables(Layout::x86_64(true), 0x1000);
    let found = tables.translate(Virt(at)).unwrap();
    assert_eq!((found.physical, found.page_bytes), (Phys(0x4020_3123), 1 << 30));
    // Bit 12 is the memory type of a large page, no address.
    let found = tables.translate(Virt((at & !0x3fff_ffff) + 0x4000_0000 + 0x1234)).unwrap();
    assert_eq!((found.physical, found.page_bytes), (Phys(0x20_1234), 2 << 20));
    // The page of 1 GiB lies outside of this memory.
    assert_eq!(tables.read_at(Virt(at), &mut [0; 1]).unwrap_err().why, Absence::NotInDump);
}

#[test]
fn x86_walks_with_and_without_pae() {
    let at = 0xc123_4567u64;
    let pae = Ram::new().put(0x1020 + (at >> 30) * 8, 0x2001, 8).put(0x2000 + index(at, 21, 9), 0x3067, 8).put(
        0x3000 + index(at, 12, 9),
        0x1_0000_5067,
        8,
    );
    let found = pae.tables(Layout::x86_pae(), 0x1020).translate(Virt(at)).unwrap();
    assert_eq!((found.physical, found.write), (Phys(0x1_0000_5567), true));
    let legacy = Ram::new()
        .put(0x1000 + (at >> 22) * 4, 0x2067, 4)
        .put(0x2000 + (at >> 12 & 0x3ff) * 4, 0x5067, 4)
        // 4 MiB, with bit 32 of the address in bit 13.
        .put(0x1000 + (at >> 22) * 4 + 4, 0x0080_20e7, 4);
    let tables = legacy.tables(Layout::x86(), 0x1000);
    assert_eq!(tables.translate(Virt(at)).unwrap().physical, Phys(0x5567));
    assert_eq!(tables.translate(Virt(at + (4 << 20))).unwrap().physical, Phys(0x1_00a3_4567));
    assert_eq!(tables.translate(Virt(1 << 32)).unwrap_err().reason, MissReason::NotCanonical);
}

#[test]
fn arm64_has_every_granule() {
    let names = |page, va| {
        Layout::arm64(page, va).unwrap().levels().iter().map(|level| (level.name, level.bits)).collect::<Vec<_>>()
    };
    assert_eq!(names(12, 48), [("level 0", 9), ("level 1", 9), ("level 2", 9), ("level 3", 9)]);
    assert_eq!(names(12, 52)[0], ("level -1", 4));
    assert_eq!(names(14, 47), [("level 1", 11), ("level 2", 11), ("level 3", 11)]);
    assert_eq!(names(16, 48), [("level 1", 6), ("level 2", 13), ("level 3", 13)]);
    assert_eq!(names(16, 52)[0], ("level 1", 10));
    assert_eq!(Layout::arm64(13, 48), None);

    // 39 bits: three levels; the upper half begins at 0xffffff8000000000.
    let at = 0xffff_ff80_0020_3123u64;
    let ram = Ram::new()
        .put(0x1000 + index(at, 30, 9), 0x2003, 8)
        .put(0x2000 + index(at, 21, 9), 0x3003, 8)
        .put(0x3000 + index(at, 12, 9), 0x0060_0000_0000_5783, 8)
        .put(0x2000 + index(at, 21, 9) + 8, 0x20_0701, 8);
    let tables = ram.tables(Layout::arm64(12, 39).unwrap(), 0x1000 | 7 << 48);
    let found = tables.translate(Virt(at)).unwrap();
    assert_eq!((found.physical, found.write, found.execute), (Phys(0x5123), false, false));
    let block = tables.translate(Virt(at + (2 << 20))).unwrap();
    assert_eq!((block.physical, block.page_bytes), (Phys(0x20_3123), 2 << 20));

    // 64 KiB pages: bits 48 to 51 of the address lie in bits 12 to 15.
    let at = 0xfff0_0000_0001_2345u64;
    let layout = Layout::arm64(16, 52).unwrap();
    let ram = || Ram::new().put(0x1_0000, 0x2_0003, 8).put(0x2_0000, 0x3_0003, 8).put(0x3_0008, 0x5_a003, 8);
    assert_eq!(ram().tables(layout, 0x1_0000).translate(Virt(at)).unwrap().physical, Phys(0xa_0000_0005_2345));
    // So they do where virtual addresses have 48.
    let layout = Layout::arm64(16, 48).unwrap();
    let short = Virt(at | 0xf_0000_0000_0000);
    assert_eq!(ram().tables(layout, 0x1_0000).translate(short).unwrap().physical, Phys(0xa_0000_0005_2345));
    // LPA2: bits 51:50 in bits 9:8.
    let layout = Layout::arm64(12, 52).unwrap();
    let ram = Ram::new()
        .put(0x1000, 0x2003, 8)
        .put(0x2000, 0x3003, 8)
        .put(0x3000, 0x4003, 8)
        .put(0x4000, 0x5003, 8)
        .put(0x5000 + 0x12 * 8, 0x6003 | 1 << 48 | 2 << 8, 8);
    assert_eq!(ram.tables(layout, 0x1000).translate(Virt(at)).unwrap().physical, Phys(0x9_0000_0000_6345));
}

#[test]
fn a_roots_address_is_no_registers_value() {
    // Tables above 1 PiB: bit 50 stands in bit 4 of a register, and in bit 8 of an entry.
    const HIGH: u64 = 0x4_0000_0000_0000;
    let mut bytes = vec![0; 0x6000];
    for (table, next) in [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x5003), (0x5000, 0x403)] {
        bytes[table..table + 8].copy_from_slice(&(next | 1u64 << 8).to_le_bytes());
    }
    bytes[0x123] = 7;
    let whole = Segment { start: Phys(HIGH), end: Phys(HIGH + 0x6000), backing: Backing::File(FileOffset(0)) };
    let memory: Arc<dyn crate::PhysMemory> = Arc::new(SegmentMemory::new(Arc::new(bytes), vec![whole]));
    let layout = Layout::arm64(12, 52).unwrap();
    let leads = |tables: PageTables| tables.translate(Virt(0x123)).ok().map(|found| found.physical);
    let by_address = PageTables::with_roots(memory.clone(), layout.clone(), Some(Phys(HIGH + 0x1000)), None);
    assert_eq!(leads(by_address), Some(Phys(HIGH + 0x123)));
    // A register with an ASID.
    let register = 0x77 << 48 | 0x1000 | 1 << 4;
    let by_register = PageTables::with_halves(memory, layout, Some(register), None);
    assert_eq!(leads(by_register), Some(Phys(HIGH + 0x123)));
}

#[test]
fn what_systems_keep_in_absent_entries() {
    let ram = || {
        let inverted = !0x5000u64 & 0x000f_ffff_ffff_f000;
        Ram::new()
            .put(0x1000, 0x2067, 8)
            .put(0x2000, 0x3067, 8)
            .put(0x3000, 0x4067, 8)
            .put(0x4008, inverted | 0x100, 8)
            .put(0x4010, 0x6880, 8)
            .put(0x4018, 0x1234_0000_0000_0000, 8)
            .put(0x4020, 0x6000 | 0x400, 8)
    };
    let linux = ram().tables(Layout::x86_64(false), 0x1000).with_software(Software::Linux { prot_none: 8 });
    let page = linux.translate(Virt(0x1010)).unwrap();
    assert_eq!((page.physical, page.kept, page.write), (Phys(0x5010), true, false));
    assert_eq!(linux.translate(Virt(0x3000)).unwrap_err().absence(), Absence::Swapped);
    assert_eq!(linux.translate(Virt(0)).unwrap_err().absence(), Absence::NotMapped);
    let windows = ram().tables(Layout::x86_64(false), 0x1000).with_software(Software::Windows);
    assert_eq!(windows.translate(Virt(0x2010)).unwrap().physical, Phys(0x6010));
    assert_eq!(windows.translate(Virt(0x4000)).unwrap_err().reason, MissReason::Prototype);
    assert_eq!(windows.translate(Virt(0x3000)).unwrap_err().absence(), Absence::Swapped);
    let plain = ram().tables(Layout::x86_64(false), 0x1000);
    assert_eq!(plain.translate(Virt(0x2010)).unwrap_err().reason, MissReason::NotPresent);
}

#[test]
fn a_walk_over_tables_that_map_themselves_ends() {
    let tables = Ram::new()
        .put(0x1000, 0x1067, 8)
        .put(0x1000 + 511 * 8, 0x2067, 8)
        .put(0x2000, 0x3067, 8)
        .put(0x3000, 0x20_00e7, 8)
        .put(0x3008, 0x20_00e7, 8)
        .tables(Layout::x86_64(false), 0x1000);
    let extents = tables.extents();
    assert_eq!(extents.len(), 1);
    assert_eq!((extents[0].start, extents[0].end), (Virt(0xffff_ff80_0000_0000), Virt(0xffff_ff80_0040_0000)));
}

/// The same page at two places: the range says which one is meant.
#[test]
fn an_address_is_found_by_what_it_maps() {
    let (direct, image) = (0xffff_8880_0020_0000u64, 0xffff_ffff_8120_0000u64);
    let tables = Ram::new()
        .put(0x1000 + index(direct, 39, 9), 0x2067, 8)
        .put(0x2000 + index(direct, 30, 9), 0x3067, 8)
        .put(0x3000 + index(direct, 21, 9), 0x0020_00e3, 8)
        .put(0x1000 + index(image, 39, 9), 0x4067, 8)
        .put(0x4000 + index(image, 30, 9), 0x5067, 8)
        .put(0x5000 + index(image, 21, 9), 0x0020_00e1, 8)
        // A table that is mapped into itself.
        .put(0x1000 + index(u64::MAX << 47, 39, 9), 0x1067, 8)
        .tables(Layout::x86_64(false), 0x1000);
    let from = |physical, first: u64| tables.find(Phys(physical), first..=u64::MAX).map(|at| at.0);
    assert_eq!(from(0x20_1234, 0xffff_8000_0000_0000), Some(direct + 0x1234));
    assert_eq!(from(0x20_1234, 0xffff_ffff_8000_0000), Some(image + 0x1234));
    assert_eq!(from(0x40_0000, 0xffff_8000_0000_0000), None);
    assert_eq!(tables.find(Phys(0x20_0000), 0..=1 << 46), None);
}
