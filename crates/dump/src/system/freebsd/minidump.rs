//! Minidumps: the pages that the kernel uses, and its page tables.
//!
//! Folklore (sys/*/include/minidump.h, sys/kern/kern_dump.c): a page with the header, the message buffer, the ranges where
//! there is memory (since version 3 on amd64, 2 on arm64), the bitmap, the page tables, the pages; each filled up to whole
//! pages. Bits count pages of those ranges; before there were ranges, they were page numbers.

use super::virt::{KernelMap, KernelMemory, Tables};
use crate::bytes::Fields;
use crate::system::machine_dump;
use crate::system::opening::Opening;
use crate::system::ranked::{BitRange, RankedMemory};
use crate::system::ranks::Bitmap;
use crate::{Absence, Arch, Dump, DumpType, Endian, Error, Format, Issue, Machine};
use std::sync::Arc;

/// The start of the magic; the processor follows.
pub(super) const MAGIC: &[u8] = b"minidump FreeBSD/";
/// Bytes of ranges that are read.
const MOST_RANGES: usize = 64 << 10;
/// Bytes of the message buffer that are looked through.
const MESSAGES: usize = 4 << 20;

/// A header's fields.
struct Header {
    arch: Arch,
    tables: Tables,
    page_size: u64,
    messages: u64,
    bitmap: u64,
    page_tables: u64,
    kernel_base: u64,
    direct_phys: u64,
    direct_base: u64,
    direct_end: u64,
    ranges: u64,
}

fn header(opening: &Opening<'_>, head: &[u8]) -> Result<Header, Error> {
    let fields = Fields::new(head, Endian::Little);
    let name = fields.cstr(MAGIC.len(), 7).unwrap_or_default();
    let version = fields.u32(24).unwrap_or(0);
    let long = |at| fields.u64(at).ok_or_else(|| opening.broken("the header is cut off"));
    let word = |at| fields.u32(at).map(u64::from).ok_or_else(|| opening.broken("the header is cut off"));
    let unknown =
        || opening.broken(format!("minidump of {} with the unknown version {version}", String::from_utf8_lossy(name)));
    // Version from which on there are ranges, whether there is a physical base of the direct map, page tables.
    let (arch, with_ranges, with_phys, tables) = match (name, version) {
        (b"amd64", 1) => (Arch::X86_64, 3, false, Tables::Amd64Entries),
        (b"amd64", 2..=3) => (Arch::X86_64, 3, false, Tables::Amd64Directory),
        (b"arm64", 1..=3) => (Arch::Aarch64, 2, true, Tables::Arm64Entries),
        (b"riscv", 1..=2) => (Arch::Riscv64, 2, true, Tables::RiscvEntries),
        (b"amd64" | b"arm64" | b"riscv", _) => return Err(unknown()),
        _ => return Err(opening.broken(format!("minidumps of {} are not read", String::from_utf8_lossy(name)))),
    };
    let shift = if with_phys { 8 } else { 0 };
    // arm64's version 3 says how large its pages are.
    let page_size = if arch == Arch::Aarch64 && version >= 3 && word(76)? & 3 == 1 { 16_384 } else { 4096 };
    Ok(Header {
        arch,
        tables,
        page_size,
        messages: word(28)?,
        bitmap: word(32)?,
        page_tables: word(36)?,
        kernel_base: long(40)?,
        direct_phys: if with_phys { long(48)? } else { 0 },
        direct_base: long(48 + shift)?,
        direct_end: long(56 + shift)?,
        ranges: if version >= with_ranges { word(64 + shift)? } else { 0 },
    })
}

pub(super) fn open(opening: &Opening<'_>, head: &[u8]) -> Result<Dump, Error> {
    let header = header(opening, head)?;
    let page = header.page_size;
    let whole = |bytes: u64| bytes.next_multiple_of(page);
    let messages_at = page;
    let ranges_at = messages_at + whole(header.messages);
    let bitmap_at = ranges_at + whole(header.ranges);
    let tables_at = bitmap_at + whole(header.bitmap);
    let data_at = tables_at + header.page_tables;
    let mut issues = Vec::new();
    let ranges = ranges(opening, &header, ranges_at)?;
    let bits = header.bitmap * 8;
    let held = Bitmap::new(opening.source.clone(), bitmap_at, bits);
    if opening.source.len() < data_at {
        issues.push(Issue::loss(format!("the file is cut off before its first page at {data_at:#x}")));
    }
    let memory = Arc::new(RankedMemory {
        source: opening.source.clone(),
        page_size: page,
        ranges,
        held,
        ram: None,
        data: data_at..u64::MAX,
        beyond: Absence::Truncated,
    });
    let map = KernelMap {
        tables: header.tables,
        page_size: page,
        tables_at,
        tables_end: data_at,
        kernel_base: header.kernel_base,
        direct_phys: header.direct_phys,
        direct: header.direct_base..header.direct_end,
    };
    let mut machine = Machine::new(memory.clone());
    machine.page_size = page;
    machine.virtual_memory = Some(Arc::new(KernelMemory::new(opening.source.clone(), memory, map)));
    let mut dump = machine_dump(Format::FreeBsdKernel, opening.source, (header.arch, Endian::Little), machine);
    dump.dump_type = DumpType::Kernel;
    dump.issues = issues;
    let messages = opening.upto(messages_at, (header.messages as usize).min(MESSAGES))?;
    super::info::add_messages(&mut dump, &messages);
    Ok(dump)
}

/// The ranges of physical memory: pairs of first and last address, ended by a pair of zeros.
fn ranges(opening: &Opening<'_>, header: &Header, at: u64) -> Result<Vec<BitRange>, Error> {
    if header.ranges == 0 {
        return Ok(vec![BitRange { first: 0, end: header.bitmap * 8, bit: 0 }]);
    }
    let len = (header.ranges as usize).min(MOST_RANGES);
    opening.book("ranges of memory", len as u64 * 2)?;
    let bytes = opening.upto(at, len)?;
    let fields = Fields::new(&bytes, Endian::Little);
    let mut ranges: Vec<BitRange> = Vec::new();
    let mut bit = 0u64;
    for i in 0..len / 16 {
        let (Some(start), Some(end)) = (fields.u64(16 * i), fields.u64(16 * i + 8)) else { break };
        if end == 0 {
            break;
        }
        let (first, end) = (start / header.page_size, end.div_ceil(header.page_size));
        if end <= first || ranges.last().is_some_and(|last| last.end > first) {
            return Err(opening.broken(format!("a range of memory from {start:#x} that is not in order")));
        }
        ranges.push(BitRange { first, end, bit });
        bit += end - first;
    }
    Ok(ranges)
}
