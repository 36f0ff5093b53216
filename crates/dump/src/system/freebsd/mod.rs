//! FreeBSD kernel dumps: full ones (ELF by physical address) and minidumps (amd64, arm64, riscv64).
//!
//! *What it is*: physical memory, the kernel's virtual memory where a minidump has its page tables, and what savecore wrote
//! into the `info` file beside a `vmcore`.
//!
//! *What it is not*: a process's core of FreeBSD is an ordinary ELF core. Registers of threads lie in kernel memory, at
//! addresses that only the kernel's symbols know.
//!
//! *Trap*: a full dump has no virtual addresses (`p_vaddr` is zero throughout) and its root page table is a kernel variable.
//! On amd64 a root is found by what it looks like; on others [`crate::Machine::virtual_memory`] is there for minidumps only.

mod amd64;
mod info;
mod minidump;
mod virt;

use super::machine_dump;
use super::opening::Opening;
use crate::bytes::Fields;
use crate::source::SharedSource;
use crate::{
    Absence, Arch, Backing, Budget, Dump, DumpType, Endian, Error, FileOffset, Format, FormatReader, Issue, Machine,
    Os, Phys, Segment, SegmentMemory,
};
use std::path::Path;
use std::sync::Arc;

/// The reader.
///
/// Folklore: a full dump is an ELF core of the "standalone" system (`EI_OSABI` 255, sys/kern/kern_dump.c), which no other
/// core is; it must be asked for before the reader of ELF cores.
pub(crate) const READER: FormatReader =
    FormatReader { name: NAME, probe: |head| head.starts_with(minidump::MAGIC) || is_full(head), open };

const NAME: &str = "FreeBSD kernel dump";

fn is_full(head: &[u8]) -> bool {
    let endian = if head.get(5) == Some(&2) { Endian::Big } else { Endian::Little };
    head.starts_with(b"\x7fELF") && head.get(7) == Some(&0xff) && Fields::new(head, endian).u16(16) == Some(4)
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let opening = Opening { path, format: NAME, source: &source, budget };
    let head = opening.upto(0, 4096)?;
    let mut dump = if is_full(&head) { open_full(&opening, &head)? } else { minidump::open(&opening, &head)? };
    dump.os = Os::FreeBsd;
    dump.writer.get_or_insert_with(|| "freebsd".to_owned());
    info::add(&opening, &mut dump);
    Ok(dump)
}

fn open_full(opening: &Opening<'_>, head: &[u8]) -> Result<Dump, Error> {
    let wide = head.get(4) == Some(&2);
    let endian = if head.get(5) == Some(&2) { Endian::Big } else { Endian::Little };
    let fields = Fields::new(head, endian);
    let word = if wide { 8 } else { 4 };
    let cut_off = || opening.broken("the ELF header is cut off");
    let arch = Arch::from_elf(fields.u16(18).ok_or_else(cut_off)?, wide);
    let (table, size, count) = if wide {
        (fields.u64(32), fields.u16(54), fields.u16(56))
    } else {
        (fields.u32(28).map(u64::from), fields.u16(42), fields.u16(44))
    };
    let (Some(table), Some(size), Some(count)) = (table, size, count) else { return Err(cut_off()) };
    let least = if wide { 56 } else { 32 };
    if usize::from(size) < least {
        return Err(opening.broken(format!("segment headers of {size} bytes")));
    }
    let count = usize::from(count).min(opening.budget.max_items);
    opening.book("segments", (count * (usize::from(size) + 64)) as u64)?;
    let headers = opening.upto(table, count * usize::from(size))?;
    let mut issues = Vec::new();
    if headers.len() < count * usize::from(size) {
        issues.push(Issue::loss("the list of segments is cut off"));
    }
    let mut segments = Vec::new();
    let mut missing = 0u64;
    for header in headers.chunks_exact(usize::from(size)) {
        let fields = Fields::new(header, endian);
        // Offset, physical address, bytes: the places follow the word size.
        let at = if wide { [8, 24, 32] } else { [4, 12, 16] };
        let [Some(offset), Some(start), Some(bytes)] = at.map(|at| fields.uint(at, word)) else { continue };
        if fields.u32(0) != Some(1) {
            continue;
        }
        let Some(end) = start.checked_add(bytes) else { continue };
        missing = missing.saturating_add(offset.saturating_add(bytes).saturating_sub(opening.source.len().max(offset)));
        let here = opening.source.len().saturating_sub(offset).min(bytes);
        let middle = start + here;
        segments.push(Segment { start: Phys(start), end: Phys(middle), backing: Backing::File(FileOffset(offset)) });
        segments.push(Segment { start: Phys(middle), end: Phys(end), backing: Backing::Absent(Absence::Truncated) });
    }
    if missing > 0 {
        issues.push(Issue::loss(format!("the file is cut off: {missing} bytes of memory are missing")));
    }
    let memory = Arc::new(SegmentMemory::new(opening.source.clone(), segments));
    let mut machine = Machine::new(memory.clone());
    if arch == Arch::X86_64 {
        machine.virtual_memory = Some(Arc::new(amd64::FullKernelMemory::new(memory)));
    }
    let mut dump = machine_dump(Format::FreeBsdKernel, opening.source, (arch, endian), machine);
    dump.dump_type = DumpType::Complete;
    dump.missing_bytes = missing;
    dump.issues = issues;
    Ok(dump)
}
