//! LKCD: dumps of Linux kernels of the years 1999 to 2008, and of s390-tools until later.
//!
//! *What it is*: a header, one for the processor behind it, and pages with 16 bytes before each, in any order, packed with
//! zlib or run lengths or not.
//!
//! *What it is not*: it reads no dump of MCLX's own index pages, only what they have in common.
//!
//! *Trap*: nothing says where a page is. The file is walked once, page by page, when the first page is asked for.
//!
//! Folklore (crash's `lkcd_dump_v*.h`, libkdumpfile's lkcd.c): versions 2 to 7 have fields whose places follow the word
//! size of the machine that was dumped, which they do not say; the name of the system stands only at one of both places.
//! From 8 on there is one header. From 9 on the first page stands where a field says (size of the writer's buffer).

use super::opening::{Opening, field_text};
use super::stretches::{ENTRY_BYTES, Stretches};
use super::{BlockCache, machine_dump, named_registers};
use crate::bytes::Fields;
use crate::machine::{PhysMemory, SystemName, collect_extents};
use crate::memory::{Absence, Extent, Fault, Memory};
use crate::source::{SharedSource, read_vec};
use crate::{Arch, Budget, Cpu, Dump, Endian, Error, Format, FormatReader, Issue, Machine, Os, Phys};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The reader.
pub(crate) const READER: FormatReader = FormatReader {
    name: NAME,
    probe: |head| head.starts_with(&MAGIC.to_le_bytes()) || head.starts_with(&MAGIC.to_be_bytes()),
    open,
};

const NAME: &str = "LKCD dump";
const MAGIC: u64 = 0xa819_0173_618f_23ed;
/// Where the first page stands unless the header says so.
const FIRST_PAGE: u64 = 65_536;
/// Before each page: address (8), size (4), flags (4).
const PAGE_HEAD: u64 = 16;
/// Pages of a stretch: a page is found by reading the heads before it.
const STRETCH: u8 = 16;
const INDEX: u64 = 32 << 20;
/// A file up to this size is walked when it is opened.
const AT_ONCE: u64 = 16 << 20;
const CACHE: usize = 4 << 20;
const MOST_EXTENTS: usize = 1 << 20;

/// Places of the fields in one kind of header.
struct Places {
    panic: usize,
    /// Where the time stands, and the bytes of each of its two numbers.
    time: (usize, usize),
    name: usize,
    compression: Option<usize>,
    buffer: Option<usize>,
}

const V1_32: Places = Places { panic: 60, time: (316, 4), name: 324, compression: None, buffer: None };
const V1_64: Places = Places { panic: 60, time: (320, 8), name: 336, compression: None, buffer: None };
const V2_32: Places = Places { panic: 52, time: (308, 4), name: 316, compression: Some(712), buffer: None };
const V2_64: Places = Places { panic: 52, time: (312, 8), name: 328, compression: Some(728), buffer: None };
const V8: Places = Places { panic: 52, time: (308, 8), name: 324, compression: Some(722), buffer: Some(734) };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    Runs,
    Zlib,
    Unknown,
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let opening = Opening { path, format: NAME, source: &source, budget };
    let head = opening.upto(0, 4096)?;
    let endian = if head.starts_with(&MAGIC.to_le_bytes()) { Endian::Little } else { Endian::Big };
    let fields = Fields::new(&head, endian);
    let cut_off = || opening.broken("the header is cut off");
    // The two upper bits mark Mission Critical's variants.
    let version = fields.u32(8).ok_or_else(cut_off)? & 0x3fff_ffff;
    let page_size = u64::from(fields.u32(20).ok_or_else(cut_off)?);
    if !page_size.is_power_of_two() || !(1 << 10..=1 << 16).contains(&page_size) {
        return Err(opening.broken(format!("a page size of {page_size} bytes")));
    }
    let places = match version {
        1 => pick(fields, &V1_32, &V1_64),
        2..=7 => pick(fields, &V2_32, &V2_64),
        8..=10 => &V8,
        _ => return Err(opening.broken(format!("unknown version {version}"))),
    };
    let packing = match places.compression.filter(|_| version >= 5).map(|at| fields.u32(at)) {
        None | Some(Some(1)) => Packing::Runs,
        Some(Some(2)) => Packing::Zlib,
        Some(_) => Packing::Unknown,
    };
    let first_page = match places.buffer.filter(|_| version >= 9) {
        Some(at) => fields.u64(at).ok_or_else(cut_off)?,
        None => FIRST_PAGE,
    };
    let name = system_name(fields, places);
    let arch = arch_of(name.as_ref().map_or("", |name| &name.machine));
    let asm_at = u64::from(fields.u32(12).unwrap_or(0));
    let cpus = cpus(&opening, asm_at, (arch, endian))?;
    let mut issues = Vec::new();
    // The smallest record has sixteen bytes.
    let booked = opening.book_upto(INDEX.min(source.len().saturating_mul(5).saturating_add(64 << 10)));
    let memory = LkcdMemory {
        source: source.clone(),
        endian,
        page_size,
        packing,
        first_page,
        most: booked / ENTRY_BYTES,
        index: OnceLock::new(),
        cache: BlockCache::new(CACHE),
    };
    if source.len() <= first_page {
        issues.push(Issue::loss(format!("the file is cut off before its first page at {first_page:#x}")));
    } else if source.len() <= AT_ONCE {
        let index = memory.index();
        issues.extend(index.problem.iter().map(Issue::loss));
    }
    let mut machine = Machine::new(Arc::new(memory));
    machine.page_size = page_size;
    machine.cpus = cpus;
    machine.name = name;
    let mut dump = machine_dump(Format::Lkcd, &source, (arch, endian), machine);
    dump.os = Os::Linux;
    dump.time = fields.uint(places.time.0, places.time.1).filter(|&at| at > 0).and_then(|at| i64::try_from(at).ok());
    let panic = fields.slice(places.panic, 256).map(field_text).filter(|text| !text.is_empty());
    dump.process.facts.extend(panic.map(|text| ("panic".to_owned(), text)));
    dump.writer = Some(format!("lkcd version {version}"));
    dump.issues = issues;
    Ok(dump)
}

/// The 32-bit places, unless the name of the system stands at the 64-bit ones.
fn pick<'a>(fields: Fields<'_>, narrow: &'a Places, wide: &'a Places) -> &'a Places {
    let sound = |places: &Places| {
        system_name(fields, places).is_some_and(|name| name.system == "Linux" && !name.release.is_empty())
    };
    if !sound(narrow) && sound(wide) { wide } else { narrow }
}

fn system_name(fields: Fields<'_>, places: &Places) -> Option<SystemName> {
    let field = |number: usize| fields.slice(places.name + 65 * number, 65).map(field_text);
    let name =
        SystemName { system: field(0)?, node: field(1)?, release: field(2)?, version: field(3)?, machine: field(4)? };
    (!name.system.is_empty() || !name.release.is_empty()).then_some(name)
}

fn arch_of(machine: &str) -> Arch {
    match machine {
        "x86_64" => Arch::X86_64,
        "ppc64" => Arch::Ppc64,
        "s390x" => Arch::S390x,
        "alpha" => Arch::Alpha,
        "ia64" => Arch::Other(50),
        "s390" => Arch::Other(22),
        _ if machine.len() == 4 && machine.starts_with('i') && machine.ends_with("86") => Arch::X86,
        _ if machine.starts_with("arm") => Arch::Arm,
        _ => Arch::Other(0),
    }
}

/// Registers out of the processor's header: magic (8), version (4), size (4), registers of the one that panicked, number
/// of processors (4), which of them dumped (4), registers of `NR_CPUS` processors. `NR_CPUS` follows from the size.
fn cpus(opening: &Opening<'_>, at: u64, (arch, endian): (Arch, Endian)) -> Result<Vec<Cpu>, Error> {
    const X86_64: [&str; 21] = [
        "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
        "orig_rax", "rip", "cs", "eflags", "rsp", "ss",
    ];
    const X86: [&str; 15] =
        ["ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "orig_eax", "eip", "cs", "eflags", "esp", "ss"];
    // Names, bytes of a register, where the number of processors stands, further bytes for each of `NR_CPUS`.
    let (names, width, count_at, further): (&[&str], usize, usize, usize) = match arch {
        Arch::X86_64 => (&X86_64, 8, 184, 24),
        Arch::X86 => (&X86, 4, 84, 12),
        _ => return Ok(Vec::new()),
    };
    let head = opening.upto(at, count_at + 8)?;
    let fields = Fields::new(&head, endian);
    let (Some(0xdead_dead), Some(size), Some(count)) = (fields.u64(0), fields.u32(12), fields.u32(count_at)) else {
        return Ok(Vec::new());
    };
    let set = names.len() * width;
    let most = (size as usize).saturating_sub(count_at + 8) / (set + further);
    let count = (count as usize).min(most).min(opening.budget.max_threads).min(4096);
    let bytes = opening.upto(at + count_at as u64 + 8, count * set)?;
    let cpu = |(index, bytes): (usize, &[u8])| {
        let fields = Fields::new(bytes, endian);
        let values: Vec<(&str, u64)> =
            names.iter().enumerate().filter_map(|(i, name)| Some((*name, fields.uint(i * width, width)?))).collect();
        Cpu { index: index as u32, pid: None, registers: named_registers(arch, &values), control: Vec::new() }
    };
    Ok(bytes.chunks_exact(set).enumerate().map(cpu).collect())
}

/// Where each page is.
struct Index {
    /// Each stretch with the place of its first head.
    pages: Stretches<u64>,
    /// Why there is no more.
    problem: Option<String>,
    missing: Absence,
}

struct LkcdMemory {
    source: SharedSource,
    endian: Endian,
    page_size: u64,
    packing: Packing,
    first_page: u64,
    /// Entries that the index may have.
    most: u64,
    index: OnceLock<Index>,
    cache: BlockCache,
}

/// The head of a page.
struct PageHead {
    address: u64,
    size: u64,
    flags: u32,
}

impl PageHead {
    const RAW: u32 = 1;
    const PACKED: u32 = 2;
    const END: u32 = 4;
}

impl LkcdMemory {
    fn head(&self, at: u64) -> Result<PageHead, Absence> {
        let mut bytes = [0; PAGE_HEAD as usize];
        match self.source.read_at(at, &mut bytes) {
            Ok(16) => {
                let fields = Fields::new(&bytes, self.endian);
                let (Some(address), Some(size), Some(flags)) = (fields.u64(0), fields.u32(8), fields.u32(12)) else {
                    return Err(Absence::Truncated);
                };
                Ok(PageHead { address, size: u64::from(size), flags })
            }
            Ok(_) => Err(Absence::Truncated),
            Err(e) => Err(Absence::Io(e.kind())),
        }
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| self.walk())
    }

    fn walk(&self) -> Index {
        let mut index = Index { pages: Stretches::new(), problem: None, missing: Absence::NotInDump };
        let mut at = self.first_page;
        // First page, how many, place of the first head.
        let mut pending: Option<(u64, u8, u64)> = None;
        loop {
            let head = match self.head(at) {
                Ok(head) => head,
                Err(why) => {
                    index.problem = Some(format!("the pages are cut off at {at:#x}, without the mark of their end"));
                    index.missing = why;
                    break;
                }
            };
            if head.flags & PageHead::END != 0 {
                break;
            }
            if head.flags & (PageHead::RAW | PageHead::PACKED) == 0 || head.size > 2 * self.page_size {
                index.problem = Some(format!("what stands at {at:#x} is no page"));
                index.missing = Absence::Corrupt;
                break;
            }
            let page = head.address / self.page_size;
            match &mut pending {
                Some((first, count, _)) if *count < STRETCH && first.checked_add(u64::from(*count)) == Some(page) => {
                    *count += 1;
                }
                _ => {
                    if let Some((first, count, place)) = pending.replace((page, 1, at)) {
                        index.pages.put(first, count, place);
                    }
                    if index.pages.len() as u64 + 3 > self.most {
                        index.problem = Some(format!("the index of pages is full at {at:#x} of the file"));
                        break;
                    }
                }
            }
            at = at.saturating_add(PAGE_HEAD + head.size);
        }
        if let Some((first, count, place)) = pending {
            index.pages.put(first, count, place);
        }
        index
    }

    fn page(&self, number: u64) -> Result<Vec<u8>, Absence> {
        let index = self.index();
        let (mut at, record) = index.pages.find(number).ok_or(index.missing)?;
        let mut head = self.head(at)?;
        for _ in 0..record {
            at = at.saturating_add(PAGE_HEAD + head.size);
            head = self.head(at)?;
        }
        let at = at.saturating_add(PAGE_HEAD);
        let bytes = read_vec(&*self.source, at, head.size as usize).map_err(|e| Absence::Io(e.kind()))?;
        if head.flags & PageHead::PACKED == 0 {
            return match bytes.len() as u64 {
                0 => Err(Absence::Truncated),
                _ if head.size == self.page_size => Ok(bytes),
                _ => Err(Absence::Corrupt),
            };
        }
        if (bytes.len() as u64) < head.size {
            return Err(Absence::Truncated);
        }
        let mut page = vec![0; self.page_size as usize];
        let done = match self.packing {
            Packing::Zlib => flate2::read::ZlibDecoder::new(&*bytes).read_exact(&mut page).ok(),
            Packing::Runs => runs(&bytes, &mut page),
            Packing::Unknown => None,
        };
        done.map(|()| page).ok_or(Absence::Corrupt)
    }
}

/// Unpacks run lengths.
///
/// Folklore: zero is the mark. Behind it stands how often the byte behind that comes, or a zero for one zero; every other
/// byte is itself. A full page must come out.
fn runs(packed: &[u8], page: &mut [u8]) -> Option<()> {
    let mut to = 0usize;
    let mut bytes = packed.iter().copied();
    while let Some(byte) = bytes.next() {
        let (count, value) = match byte {
            0 => match bytes.next()? {
                0 => (1, 0),
                count => (usize::from(count), bytes.next()?),
            },
            value => (1, value),
        };
        page.get_mut(to..to.checked_add(count)?)?.fill(value);
        to += count;
    }
    (to == page.len()).then_some(())
}

impl Memory<Phys> for LkcdMemory {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        let number = at.0 / self.page_size;
        let page = self.cache.get(number, || self.page(number)).map_err(|why| Fault { at, why })?;
        let from = page.get((at.0 % self.page_size) as usize..).unwrap_or_default();
        let len = from.len().min(buf.len());
        if len == 0 && !buf.is_empty() {
            return Err(Fault { at, why: Absence::Truncated });
        }
        if let (Some(to), Some(from)) = (buf.get_mut(..len), from.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        collect_extents(self, MOST_EXTENTS)
    }
}

impl PhysMemory for LkcdMemory {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let run = self.index().pages.run(at.0 / self.page_size)?;
        let address = |page: u64| Phys(page.saturating_mul(self.page_size));
        let extent = Extent { start: address(run.start), end: address(run.end), absent: None };
        // The very last page has no address behind it.
        (extent.end > at).then_some(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_lengths() {
        let mut page = [9u8; 8];
        runs(&[7, 0, 5, 3, 0, 0, 8], &mut page).unwrap();
        assert_eq!(page, [7, 3, 3, 3, 3, 3, 0, 8]);
        assert!(runs(&[0, 255, 1], &mut page).is_none());
        assert!(runs(&[1], &mut page).is_none());
        assert!(runs(&[0], &mut page).is_none());
    }
}
