//! LKCD dumps of the versions that no sample is of.

use crate::build_core::pen::Pen;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Raw,
    /// As run lengths.
    Runs,
}

/// Which header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A 32-bit PC: header fields of a 32-bit machine, registers as i386 has them.
    I386,
    /// A 64-bit PC.
    X86_64,
}

/// A dump of `version` (2 to 8) with these pages in this order; `registers` is the number that the first register of
/// processor 0 holds.
#[must_use]
pub fn dump(version: u32, machine: Machine, packing: Packing, pages: &[(u64, Vec<u8>)], registers: u64) -> Vec<u8> {
    let wide = machine == Machine::X86_64;
    let mut pen = Pen::little();
    pen.u64(0xa819_0173_618f_23ed);
    pen.u32(version);
    let header_size = if version >= 8 {
        734
    } else if wide {
        744
    } else {
        724
    };
    pen.u32(header_size);
    pen.u32(8);
    pen.u32(4096);
    for number in [0u64, 0, 0] {
        pen.u64(number);
    }
    pen.u32(pages.len() as u32);
    text(&mut pen, "it broke", 256);
    if version < 8 && wide {
        pen.u32(0);
    }
    for number in [1_000_000_000u64, 5] {
        pen.number(number, if wide || version >= 8 { 8 } else { 4 });
    }
    let name = if wide { "x86_64" } else { "i686" };
    for word in ["Linux", "old", "2.4.20", "#1", name, "(none)"] {
        text(&mut pen, word, 65);
    }
    if version < 8 {
        pen.u16(0);
    }
    pen.number(0xc000, if wide || version >= 8 { 8 } else { 4 });
    // Packing, flags, device.
    for number in [if packing == Packing::Runs { 1 } else { 0 }, 0, 0] {
        pen.u32(number);
    }
    let to_header = u64::from(header_size) - pen.position();
    pen.bytes(&vec![0; to_header as usize]);
    processors(&mut pen, machine, registers);
    let to_pages = 65_536 - pen.position();
    pen.bytes(&vec![0; to_pages as usize]);
    for (number, content) in pages {
        let bytes = if packing == Packing::Runs { runs(content) } else { content.clone() };
        pen.u64(number * 4096);
        pen.u32(bytes.len() as u32);
        pen.u32(if packing == Packing::Runs { 2 } else { 1 });
        pen.bytes(&bytes);
    }
    pen.u64(0);
    pen.u32(0);
    pen.u32(4);
    pen.into_bytes()
}

fn processors(pen: &mut Pen, machine: Machine, first: u64) {
    let (names, width, own, most) = match machine {
        Machine::X86_64 => (21u64, 8usize, 0, 8u64),
        Machine::I386 => (15, 4, 8, 4),
    };
    pen.u64(0xdead_dead);
    pen.u32(if width == 8 { 2 } else { 3 });
    let set = names * width as u64;
    pen.u32((16 + own + set + 8 + most * (set + 3 * width as u64)) as u32);
    pen.bytes(&vec![0; (own + set) as usize]);
    pen.u32(2);
    pen.u32(0);
    for cpu in 0..2 {
        for register in 0..names {
            let value = first + 100 * cpu + register;
            pen.number(value, width);
        }
    }
}

fn text(pen: &mut Pen, words: &str, len: usize) {
    let mut bytes = words.as_bytes().to_vec();
    bytes.resize(len, 0);
    pen.bytes(&bytes);
}

/// Zero is the mark: 0 count value, or 0 0 for a single zero.
fn runs(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for run in content.chunk_by(|a, b| a == b) {
        let value = run.first().copied().unwrap_or(0);
        for part in run.chunks(255) {
            match (value, part.len()) {
                (0, 1) => out.extend([0, 0]),
                (value, 1) => out.push(value),
                (value, count) => out.extend([0, count as u8, value]),
            }
        }
    }
    out
}
