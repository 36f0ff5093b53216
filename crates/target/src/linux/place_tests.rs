//! An arm64 kernel's place by page tables that are written here: with pages of 64 KiB, which no built machine has, and
//! without the part of the image that real kernels do not map.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

use super::place::{arch_of, place};
use afterimage_dump::{Arch, Backing, FileOffset, Machine, MemoryExt, Phys, Segment, SegmentMemory, Virt};
use afterimage_symbols::kernel::Kallsyms;
use std::sync::Arc;

/// Where the machine's memory begins.
const BASE: u64 = 0x4000_0000;
/// Bytes of a page.
const PAGE: u64 = 64 << 10;
/// Where the image begins, and where its text does.
const TEXT: u64 = 0xffff_d8bc_7820_0000;
const STEXT: u64 = TEXT + PAGE;
/// The same in physical memory, and what is there of it.
const IMAGE: u64 = BASE + 0x20_0000;
const PAGES: u64 = 8;
/// The root and the two tables below it.
const TABLES: [u64; 3] = [IMAGE + 4 * PAGE, BASE + PAGE, BASE + 2 * PAGE];

/// A machine whose kernel maps its image from `first` on; addresses have 48 or 52 bits.
fn machine(bits: u32, first: u64) -> Machine {
    let mut bytes = vec![0; 0x30_0000];
    let mut put = |at: u64, value: u64| {
        let at = (at - BASE) as usize;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    let slot = |at: u64, shift: u32, bits: u32| 8 * (at >> shift & ((1 << bits) - 1));
    put(TABLES[0] + slot(TEXT, 42, bits - 42), TABLES[1] | 3);
    put(TABLES[1] + slot(TEXT, 29, 13), TABLES[2] | 3);
    for at in (0..PAGES).map(|page| TEXT + page * PAGE).filter(|at| *at >= first) {
        put(TABLES[2] + slot(at, 16, 13), (at - TEXT + IMAGE) | 0x783);
    }
    // The header of an arm64 image.
    put(IMAGE + 56, 0x644d_5241);
    let whole =
        Segment { start: Phys(BASE), end: Phys(BASE + bytes.len() as u64), backing: Backing::File(FileOffset(0)) };
    Machine::new(Arc::new(SegmentMemory::new(Arc::new(bytes), vec![whole])))
}

/// The names that such a kernel has.
fn symbols(all: bool) -> Kallsyms {
    let mut symbols = Kallsyms::default();
    symbols.tokens_at = IMAGE + 3 * PAGE;
    symbols.add("_stext".to_owned(), STEXT);
    if all {
        for (name, at) in [("_text", TEXT), ("_etext", TEXT + 3 * PAGE), ("swapper_pg_dir", TEXT + 4 * PAGE)] {
            symbols.add(name.to_owned(), at);
        }
    }
    symbols
}

#[test]
fn the_header_of_an_image_need_not_be_mapped() {
    let info = format!("NUMBER(kimage_voffset)={:#x}\n", TEXT - IMAGE);
    for (bits, first) in [(52, STEXT), (52, TEXT), (48, STEXT), (48, TEXT)] {
        let machine = machine(bits, first);
        for info in [Some(&*info), None] {
            let found = place(&machine, Arch::Aarch64, &mut symbols(true), info, false).ok().unwrap();
            assert_eq!(found.offset, TEXT - IMAGE);
            assert_eq!((found.layout.page_bytes(), found.layout.va_bits()), (PAGE, bits));
            assert_eq!(found.tables.read_uint(Virt(STEXT), 4, afterimage_dump::Endian::Little).ok(), Some(0));
        }
    }
    // Its tables must lead to where it is said to lie.
    let info = format!("NUMBER(kimage_voffset)={:#x}\n", TEXT - IMAGE - PAGE);
    let found = place(&machine(52, STEXT), Arch::Aarch64, &mut symbols(true), Some(&info), false);
    assert!(found.is_ok_and(|found| found.offset == TEXT - IMAGE));
}

#[test]
fn a_kernel_with_names_of_functions_alone_is_found_by_its_header_and_all_pages() {
    let found = place(&machine(52, STEXT), Arch::Aarch64, &mut symbols(false), None, true).ok().unwrap();
    assert_eq!(found.offset, TEXT - IMAGE);
}

#[test]
fn the_processor_of_a_kernel_is_known_by_where_it_is_mapped() {
    assert_eq!(arch_of(Arch::Other(0), &symbols(true)), Arch::Aarch64);
    let mut x86 = Kallsyms::default();
    assert_eq!(arch_of(Arch::Other(0), &x86), Arch::Other(0));
    x86.add("_stext".to_owned(), 0xffff_ffff_8100_0000);
    assert_eq!(arch_of(Arch::Other(0), &x86), Arch::Other(0));
    // What the container says stands.
    assert_eq!(arch_of(Arch::X86_64, &symbols(true)), Arch::X86_64);
}
