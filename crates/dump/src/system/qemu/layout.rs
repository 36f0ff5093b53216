//! Where a machine's main RAM block lies in physical memory.
//!
//! *Trap*: the stream does not say. It names the machine type, and QEMU's own rules for that type follow from it; a user
//! who set `max-ram-below-4g` moved the hole, which the stream does not say either.

use super::blocks::Block;
use crate::{Arch, Endian};

/// A piece of a block in physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// First physical address.
    pub(super) start: u64,
    /// First address behind it.
    pub(super) end: u64,
    /// Which block.
    pub(super) block: usize,
    /// Where in the block it begins.
    pub(super) offset: u64,
}

/// What follows from the names in a stream.
pub(super) struct Layout {
    pub(super) pieces: Vec<Piece>,
    pub(super) arch: Arch,
    pub(super) endian: Endian,
    pub(super) remarks: Vec<String>,
}

const FOUR_GIB: u64 = 1 << 32;

/// Main RAM by the block's name: processor, byte order, first address.
const MAIN: &[(&str, Arch, Endian, u64)] = &[
    ("pc.ram", Arch::X86_64, Endian::Little, 0),
    ("microvm.ram", Arch::X86_64, Endian::Little, 0),
    ("mach-virt.ram", Arch::Aarch64, Endian::Little, 1 << 30),
    ("riscv_virt_board.ram", Arch::Riscv64, Endian::Little, 2 << 30),
    ("s390.ram", Arch::S390x, Endian::Big, 0),
    ("ppc_spapr.ram", Arch::Ppc64, Endian::Big, 0),
];

/// Lays out the main RAM of a machine of this type (`pc-i440fx-7.2`, `pc-q35-9.0`, `virt-8.1` …). If not all blocks are
/// known, one that is not known by its name is not taken for main RAM.
pub(super) fn layout(machine: Option<&str>, blocks: &[Block], all: bool) -> Layout {
    let machine = machine.unwrap_or_default();
    let pc = ["pc-", "q35", "microvm", "isapc", "xenfv"].iter().any(|prefix| machine.starts_with(prefix));
    let named = blocks.iter().enumerate().find_map(|(number, block)| {
        let (_, arch, endian, base) = MAIN.iter().find(|(name, ..)| *name == block.name)?;
        Some((vec![number], *arch, *endian, *base))
    });
    let mut remarks = Vec::new();
    let (numbers, arch, endian, base) = named.unwrap_or_else(|| {
        // `-object memory-backend-…,id=NAME` names the block; with NUMA there are several, in the order of the nodes.
        let mut numbers: Vec<usize> =
            (0..blocks.len()).filter(|&i| blocks.get(i).is_some_and(|block| is_backend(&block.name))).collect();
        if !all {
            numbers.clear();
            remarks.push("the main RAM is not among the RAM blocks that are left of the list".to_owned());
        } else if numbers.is_empty() {
            numbers.extend((0..blocks.len()).max_by_key(|&i| blocks.get(i).map(|block| block.length)));
            remarks.push("no RAM block has the name of main RAM; the largest is taken for it".to_owned());
        }
        numbers.sort_by_key(|&i| blocks.get(i).map(|block| block.name.clone()));
        if numbers.len() > 1 {
            let names: Vec<&str> = numbers.iter().filter_map(|&i| Some(blocks.get(i)?.name.as_str())).collect();
            remarks.push(format!("RAM blocks are taken in the order of their names: {}", names.join(", ")));
        }
        match machine {
            _ if pc || machine.is_empty() => (numbers, Arch::X86_64, Endian::Little, 0),
            _ if machine.starts_with("s390") => (numbers, Arch::S390x, Endian::Big, 0),
            _ if machine.starts_with("pseries") => (numbers, Arch::Ppc64, Endian::Big, 0),
            _ => (numbers, Arch::Other(0), Endian::Little, 0),
        }
    });
    if arch == Arch::Other(0) {
        remarks.push(format!("the memory map of a machine {machine:?} is not known: RAM is shown from address 0 on"));
    }
    let total = numbers.iter().filter_map(|&i| blocks.get(i)).fold(0u64, |sum, block| sum.saturating_add(block.length));
    let below = if arch == Arch::X86_64 { below_hole(machine, total) } else { u64::MAX };
    let mut pieces = Vec::new();
    let mut done = 0u64;
    for number in numbers {
        let Some(block) = blocks.get(number) else { continue };
        let first = below.saturating_sub(done).min(block.length);
        let mut put = |start: u64, offset: u64, length: u64| {
            if let Some(end) = start.checked_add(length).filter(|_| length > 0) {
                pieces.push(Piece { start, end, block: number, offset });
            }
        };
        put(base + done.min(below), 0, first);
        let above = (done + first).saturating_sub(below);
        put(FOUR_GIB.saturating_add(above), first, block.length - first);
        done = done.saturating_add(block.length);
    }
    pieces.sort_by_key(|piece| piece.start);
    Layout { pieces, arch, endian, remarks }
}

fn is_backend(name: &str) -> bool {
    name.starts_with("/objects/") || name.starts_with("ram-node") || name == "ram"
}

/// Bytes of RAM below the hole for devices.
///
/// Folklore: hw/i386/pc_piix.c: 3.5 GiB, but 3 GiB if RAM does not fit below 3.5 (since the 2.0 types: the rest is then
/// whole gigabytes); hw/i386/pc_q35.c: 2.75 GiB, but 2 GiB if it does not fit; hw/i386/microvm.c: 3 GiB.
fn below_hole(machine: &str, total: u64) -> u64 {
    const GIB: u64 = 1 << 30;
    let (most, below) = if machine.contains("q35") {
        (0xb000_0000, 2 * GIB)
    } else if machine.starts_with("microvm") {
        (3 * GIB, 3 * GIB)
    } else if machine.starts_with("pc-0.") || machine.starts_with("pc-1.") || machine.starts_with("pc-i440fx-1.") {
        (0xe000_0000, 0xe000_0000)
    } else {
        (0xe000_0000, 3 * GIB)
    };
    if total >= most { below } else { total }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(machine: &str, blocks: &[(&str, u64)]) -> Vec<(u64, u64, usize, u64)> {
        let block = |(name, length): &(&str, u64)| Block { name: (*name).to_owned(), length: *length, mapped: None };
        let blocks: Vec<Block> = blocks.iter().map(block).collect();
        let layout = layout(Some(machine), &blocks, true);
        layout.pieces.iter().map(|p| (p.start, p.end, p.block, p.offset)).collect()
    }

    #[test]
    fn holes() {
        let ram = |size| [("vga.vram", 1 << 24), ("pc.ram", size)];
        assert_eq!(pieces("pc-i440fx-7.2", &ram(1 << 28)), [(0, 1 << 28, 1, 0)]);
        assert_eq!(pieces("pc-i440fx-7.2", &ram(4 << 30)), [(0, 3 << 30, 1, 0), (4 << 30, 5 << 30, 1, 3 << 30)]);
        assert_eq!(pieces("pc-i440fx-7.2", &ram(0xd000_0000)), [(0, 0xd000_0000, 1, 0)]);
        assert_eq!(pieces("pc-q35-9.0", &ram(4 << 30)), [(0, 2 << 30, 1, 0), (4 << 30, 6 << 30, 1, 2 << 30)]);
        assert_eq!(pieces("virt-8.1", &[("mach-virt.ram", 1 << 32)]), [(1 << 30, 5 << 30, 0, 0)]);
        // Two NUMA nodes; the hole lies in the second.
        assert_eq!(
            pieces("pc-q35-9.0", &[("/objects/n1", 2 << 30), ("/objects/n0", 1 << 30)]),
            [(0, 1 << 30, 1, 0), (1 << 30, 2 << 30, 0, 0), (4 << 30, 5 << 30, 0, 1 << 30)]
        );
    }
}
