//! kdump-compressed files of makedumpfile, QEMU and the diskdump before them; packed with zlib, LZO, snappy, zstd or not.
//!
//! *What it is not*: flattened files (`makedumpfile -F`, QEMU) are put straight by `super::flattened` first.
//!
//! *Example*: block 0 is the header, block 1 the sub-header, then two bitmaps, then one descriptor for each page held.
//!
//! *Trap*: a split set is several files with the same header and bitmaps; each has only the pages of its window. The
//! others are looked for beside the one that is opened.

mod cut;
mod header;
pub(crate) mod lzo;
mod memory;
mod siblings;

pub(crate) use header::flag;

use super::machine_dump;
use crate::machine::Machine;
use crate::source::SharedSource;
use crate::{Arch, Budget, Dump, DumpType, Error, Format, FormatReader, Issue, Os};
use header::Header;
use memory::{KdumpMemory, Part};
use std::path::Path;
use std::sync::Arc;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "kdump", probe: header::is_kdump, open };

/// Longest VMCOREINFO that is read.
const MAX_INFO: u64 = 1 << 20;

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let broken = |what| Error::Broken { path: path.to_owned(), format: READER.name, what };
    let mut header = Header::read(&*source).map_err(broken)?;
    if header.machine == 0 {
        header.by_notes(&source);
    }
    let mut issues = Vec::new();
    let mut parts = vec![Part::new(source.clone(), &header)];
    if header.split.is_some() {
        let others = siblings::find(path, &header);
        parts.extend(others.into_iter().map(|(source, header)| Part::new(source, &header)));
    }
    let lost: Vec<(u64, String)> = parts.iter().filter_map(|part| part.lost(header.block)).collect();
    let missing = lost.iter().fold(0u64, |sum, (bytes, _)| sum.saturating_add(*bytes));
    issues.extend(lost.into_iter().map(|(_, what)| Issue::loss(what)));
    let split = parts.len();
    let memory = KdumpMemory::new(parts, &header);
    if let Some((start, end)) = header.split {
        let window = format!("pages {start:#x} to {end:#x}");
        issues.push(match split {
            1 => Issue::loss(format!(
                "this is one file of a split set, with {window} only; the others are not beside it"
            )),
            _ => Issue::remark(format!("a split set of {split} files is read as one dump")),
        });
    }
    if header.status & flag::INCOMPLETE != 0 {
        issues.push(Issue::loss("makedumpfile marked it as incomplete: it ran out of room, or was stopped"));
    }
    if header.status & flag::EXCLUDED_VMEMMAP != 0 {
        issues.push(Issue::remark("the page structures of excluded pages are left out, too (makedumpfile -e)"));
    }
    let mut machine = Machine::new(Arc::new(memory));
    machine.page_size = header.block;
    machine.dump_level = header.dump_level;
    machine.name = Some(header.name.clone()).filter(|name| !name.system.is_empty() || !name.release.is_empty());
    let (at, len) = header.vmcoreinfo;
    if len > 0 {
        let text = crate::source::read_vec(&*source, at, len.min(MAX_INFO) as usize).unwrap_or_default();
        machine.vmcoreinfo = Some(super::vmcoreinfo::text(&text)).filter(|text| !text.is_empty());
    }
    let notes = crate::elf_core::machine_notes(&source, header.notes, header.elf(), budget);
    issues.extend(notes.issues);
    machine.cpus = notes.cpus;
    let erased = header.erased.1 > 0;
    if erased {
        issues.push(Issue::remark("makedumpfile erased data in it (its list is the ERASEINFO)"));
    }
    let mut dump = machine_dump(Format::Kdump, &source, (header.arch, header.endian), machine);
    dump.notes = notes.records;
    dump.os = Os::Linux;
    dump.dump_type = dump_type(header.dump_level);
    dump.writer = Some(writer(&header));
    dump.missing_bytes = missing;
    dump.issues = issues;
    if dump.arch == Arch::Other(0) {
        super::look_into(&mut dump);
    }
    super::linux_facts(&mut dump);
    if dump.time.is_none() && header.time != 0 {
        dump.time = i64::try_from(header.time).ok();
    }
    if let Some(what) = left_out(header.dump_level) {
        dump.issues.push(Issue::remark(what));
    }
    Ok(dump)
}

/// The mission's words for makedumpfile's levels: without user pages it is a kernel dump, without free pages and caches an
/// active one; pages of zeros alone are no loss.
pub(crate) fn dump_type(level: Option<u32>) -> DumpType {
    match level.unwrap_or(0) {
        0 | 1 => DumpType::Complete,
        level if level & 8 != 0 => DumpType::Kernel,
        _ => DumpType::Active,
    }
}

/// What a level leaves out, in words.
pub(crate) fn left_out(level: Option<u32>) -> Option<String> {
    // Pages of zeros alone are no loss: they read as zeros.
    let level = level.filter(|level| *level > 1)?;
    let kinds =
        ["pages of zeros", "unmapped pages of the page cache", "the page cache", "pages of processes", "free pages"];
    let out: Vec<&str> =
        kinds.into_iter().enumerate().filter(|(bit, _)| level >> bit & 1 == 1).map(|(_, kind)| kind).collect();
    Some(format!("left out by dump level {level}: {}", out.join(", ")))
}

fn writer(header: &Header) -> String {
    // QEMU writes version 6 with an empty utsname.
    if header.name.release.is_empty() && header.version == 6 { "qemu" } else { "makedumpfile" }.to_owned()
}
