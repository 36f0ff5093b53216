//! QEMU's migration stream, as `migrate`, `savevm` and libvirt's `save` write it, with and without fixed places of pages.
//!
//! *What it is*: the RAM of a guest by physical address, the names of its RAM blocks, and the registers of its processors.
//!
//! *What it is not*: a qcow2 image with a `savevm` inside must be taken out of it first, and `dump-guest-memory` writes ELF
//! or kdump, which other readers read.
//!
//! ```no_run
//! use afterimage_dump::{Budget, open};
//! // Made by: (qemu) migrate "exec:cat > guest.qevm"
//! let dump = open(std::path::Path::new("guest.qevm"), &Budget::default())?;
//! # Ok::<(), afterimage_dump::Error>(())
//! ```
//!
//! *Trap*: devices write their state without a length. Between the RAM, which is walked, and the end nothing can be walked;
//! see [`cpu`].

mod blocks;
mod cpu;
mod cursor;
mod layout;
mod memory;
mod stream;
mod xbzrle;

use super::machine_dump;
use super::opening::Opening;
use super::ranks::Bitmap;
use crate::bytes::Fields;
use crate::source::{SharedSource, Window};
use crate::{Budget, Dump, Endian, Error, Format, FormatReader, Issue, Machine, NoteRecord, Phys, compressed};
use blocks::{Block, read_blocks};
use cursor::Cursor;
use memory::{QemuMemory, Store, Stream};
use std::path::Path;
use std::sync::Arc;
use stream::Walker;

/// The reader.
pub(crate) const READER: FormatReader = FormatReader {
    name: NAME,
    probe: |head| head.starts_with(b"QEVM\0\0\0") || LIBVIRT.iter().any(|magic| head.starts_with(magic)),
    open,
};

const NAME: &str = "QEMU migration stream";
/// `LibvirtQemudPart` is a save that did not come to its end.
const LIBVIRT: [&[u8]; 2] = [b"LibvirtQemudSave", b"LibvirtQemudPart"];
/// What of a stream is walked when it is opened; the rest when a page is first asked for.
const AT_ONCE: u64 = 64 << 20;
/// Most bytes that the index of pages may take.
const INDEX: u64 = 48 << 20;
/// Where the `ram` section begins at the latest.
const HEAD: usize = 1 << 20;
/// RAM blocks: a machine has a dozen.
const MOST_BLOCKS: usize = 4096;

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let opening = Opening { path, format: NAME, source: &source, budget };
    let head = opening.upto(0, 92)?;
    if LIBVIRT.iter().any(|magic| head.starts_with(magic)) {
        return open_libvirt(&opening, &head);
    }
    open_stream(&opening, 0)
}

/// Folklore (libvirt's `virQEMUSaveHeader`): 16 bytes of magic, version, length of the XML, whether it was running, packing
/// (0 none, 1 gzip, 2 bzip2, 3 xz, 4 lzop, 5 zstd, 6 fixed places), offset of the cookie, 14 spare words: 92 bytes in the
/// host's byte order; then the XML, then QEMU's stream.
fn open_libvirt(opening: &Opening<'_>, head: &[u8]) -> Result<Dump, Error> {
    let little = Fields::new(head, Endian::Little);
    let endian = if little.u32(16).is_some_and(|version| version < 1 << 16) { Endian::Little } else { Endian::Big };
    let fields = Fields::new(head, endian);
    let (Some(length), Some(packing)) = (fields.u32(20), fields.u32(28)) else {
        return Err(opening.broken("libvirt's header is cut off"));
    };
    let start = 92 + u64::from(length);
    let mut dump = if packing == 0 || opening.upto(start, 4)? == b"QEVM" {
        open_stream(opening, start)?
    } else {
        let window: SharedSource = Arc::new(Window::new(opening.source.clone(), start, u64::MAX));
        let unpacked = compressed::unpack(opening.path, &window, opening.budget)?.ok_or_else(|| {
            opening.broken(format!("libvirt packed the stream in a way (number {packing}) that is not read"))
        })?;
        let mut dump = open_stream(&Opening { source: &unpacked.source, ..*opening }, 0)?;
        dump.compression = Some(unpacked.compression);
        dump.issues.extend(unpacked.issues);
        dump
    };
    if head.starts_with(b"LibvirtQemudPart") {
        dump.issues.push(Issue::loss("libvirt did not finish this save"));
    }
    Ok(dump)
}

fn open_stream(opening: &Opening<'_>, start: u64) -> Result<Dump, Error> {
    let head = opening.upto(start, HEAD)?;
    let fields = Fields::new(&head, Endian::Big);
    if !head.starts_with(b"QEVM") {
        return Err(opening.broken(format!("no stream begins at {start:#x}")));
    }
    let version = fields.u32(4).ok_or_else(|| opening.broken("the stream's head is cut off"))?;
    if version != 3 {
        return Err(opening.broken(format!("the stream has the unknown version {version}")));
    }
    let machine = machine_type(fields);
    let page_size = page_size(&head);
    let ram = find_ram(&head).ok_or_else(|| opening.broken("no section with RAM in the first megabyte"))?;
    let mut cursor = Cursor::new(opening.source.clone(), start.saturating_add(ram.content));
    let first = cursor.number(8).ok_or_else(|| opening.broken("the section with RAM is cut off"))?;
    if first & (page_size - 1) != 4 {
        return Err(opening.broken("the section with RAM begins without a list of blocks"));
    }
    let total = first & !(page_size - 1);
    let (blocks, problem) = if ram.version >= 4 {
        read_blocks(&mut cursor, total, MOST_BLOCKS.min(opening.budget.max_items))
    } else {
        (vec![Block { name: "pc.ram".to_owned(), length: total, mapped: None }], None)
    };
    if blocks.is_empty() {
        return Err(opening.broken(problem.unwrap_or_else(|| "no RAM block".to_owned())));
    }
    let layout = layout::layout(machine.as_deref(), &blocks, problem.is_none());
    let mut issues: Vec<Issue> = problem.map(Issue::loss).into_iter().collect();
    issues.extend(layout.remarks.iter().map(Issue::remark));
    let mapped = blocks.iter().any(|block| block.mapped.is_some());
    // Whether all pages are known already.
    let mut walked = true;
    let (store, devices, page_size) = if mapped {
        let devices = blocks.iter().filter_map(|block| Some(block.mapped?.pages_at.saturating_add(block.length))).max();
        let size = blocks.iter().find_map(|block| Some(block.mapped?.page_size)).unwrap_or(page_size);
        let place = |block: &Block| {
            let mapped = block.mapped?;
            Some((
                mapped,
                Bitmap::new(opening.source.clone(), mapped.bitmap_at, block.length.div_ceil(mapped.page_size)),
            ))
        };
        (Store::Mapped(blocks.iter().map(place).collect()), devices.unwrap_or(0), size)
    } else {
        // The smallest record, of nine bytes, can cost an entry.
        let most = opening.source.len().saturating_mul(8).saturating_add(64 << 10);
        let booked = opening.book_upto(INDEX.min(most));
        let facts = (page_size, ram.section, u64::from(ram.version));
        let mut walker = Walker::new(opening.source.clone(), cursor.at, blocks.clone(), facts, booked);
        walker.go_on(cursor.at.saturating_add(AT_ONCE));
        walked = walker.ended();
        let stream = Stream::new(walker);
        let mut devices = cursor.at.saturating_add(AT_ONCE);
        if walked {
            let index = stream.index();
            issues.extend(index.problems.iter().map(Issue::loss));
            if index.cut_off && index.problems.is_empty() {
                issues.push(Issue::loss(
                    "the stream is cut off in its RAM: pages are missing, and those of a guest that was running may be older \
                     than the others",
                ));
            }
            devices = index.end;
        }
        (Store::Stream(Box::new(stream)), devices, page_size)
    };
    if mapped && opening.source.len() < devices {
        issues.push(Issue::loss(format!("the file is cut off: {} of at least {devices} bytes", opening.source.len())));
    }
    let (cpus, problems) = cpu::read_cpus(opening.source, devices, opening.budget.max_threads);
    issues.extend(problems.into_iter().map(Issue::remark));
    if cpus.is_empty() && issues.is_empty() {
        issues.push(Issue::remark("no state of a processor was found behind the RAM"));
    }
    let notes = blocks.iter().map(|block| NoteRecord {
        owner: block.name.clone(),
        kind: 0,
        name: Some("RAM block"),
        tid: None,
        offset: block.mapped.map_or(0, |mapped| mapped.pages_at),
        size: block.length,
    });
    let notes = notes.collect();
    let memory = QemuMemory::new(opening.source.clone(), page_size, layout.pieces, store);
    let mut whole = Machine::new(Arc::new(memory));
    whole.page_size = page_size;
    whole.page_table = cpus.first().and_then(|cpu| cpu.control("cr3")).map(|cr3| Phys(cr3 & 0x000f_ffff_ffff_f000));
    whole.cpus = cpus;
    let mut dump = machine_dump(Format::Qemu, opening.source, (layout.arch, layout.endian), whole);
    dump.writer = Some(machine.map_or_else(|| "qemu".to_owned(), |machine| format!("qemu ({machine})")));
    dump.notes = notes;
    dump.issues = issues;
    if walked {
        super::look_into(&mut dump);
    }
    Ok(dump)
}

/// The machine type out of the configuration section (7), which streams have since 2.4.
fn machine_type(fields: Fields<'_>) -> Option<String> {
    if fields.u8(8) != Some(7) {
        return None;
    }
    let len = fields.u32(9)? as usize;
    let name = fields.slice(13, len.min(256))?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// 4096, unless the subsection says otherwise that machines with several sizes write.
fn page_size(head: &[u8]) -> u64 {
    const NAME: &[u8] = b"configuration/target-page-bits";
    let bits = head
        .get(..4096.min(head.len()))
        .and_then(|start| start.windows(NAME.len()).position(|window| window == NAME))
        .and_then(|at| Fields::new(head, Endian::Big).u32(at + NAME.len() + 4));
    match bits {
        Some(bits @ 10..=21) => 1 << bits,
        _ => 4096,
    }
}

struct RamSection {
    /// Where its content begins.
    content: u64,
    section: u64,
    version: u32,
}

/// The head of the `ram` section: 1, section (4), 3, "ram", instance (4), version (4).
fn find_ram(head: &[u8]) -> Option<RamSection> {
    const NAME: &[u8] = b"\x03ram\0\0\0\0\0\0\0";
    let fields = Fields::new(head, Endian::Big);
    let mut at = 8;
    loop {
        let name = at + head.get(at..)?.windows(NAME.len()).position(|window| window == NAME)?;
        at = name + 1;
        let version = u32::from(fields.u8(name + NAME.len())?);
        if (3..=4).contains(&version) && fields.u8(name.checked_sub(5)?) == Some(1) {
            let content = (name + NAME.len() + 1) as u64;
            return Some(RamSection { content, section: u64::from(fields.u32(name - 4)?), version });
        }
    }
}
