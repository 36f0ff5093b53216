//! Where the kernel's image is mapped, and by which page tables.
//!
//! *What it is*: from symbols (and whatever hint there is) to page tables that are proved: they lead from the kernel's text
//! to where it lies. Symbols since 7.0 are physical until they are mapped here.
//!
//! *Trap*: a root that leads to the text may be a process's own. It is as good for the kernel's half, but the kernel's
//! (`init_top_pgt`, `swapper_pg_dir`) is tried first.
//!
//! *Trap*: arm64 kernels since 5.11 may leave what lies before `_stext` out of their page tables; see [`mapped_text`].

use super::find::{self, Physical};
use afterimage_dump::paging::{Layout, PageTables, Software};
use afterimage_dump::system::vmcoreinfo::value;
use afterimage_dump::{Arch, Cpu, Machine, MemoryExt, Phys, PhysMemory, Virt};
use afterimage_symbols::kernel::{Kallsyms, PhysBytes};
use rayon::prelude::*;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// `__START_KERNEL_map` (arch/x86/include/asm/page_64_types.h).
pub(super) const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// Longest image of a kernel, and how far its symbols can lie from its text.
const IMAGE: u64 = 256 << 20;
/// What every kernel's image is aligned to in physical memory: 2 MiB on x86, 64 KiB on arm64.
const ALIGN: u64 = 64 << 10;

/// A kernel's place, proved.
pub(super) struct Place {
    pub(super) tables: PageTables,
    pub(super) layout: Layout,
    /// `physical = virtual - offset` in the image.
    pub(super) offset: u64,
    pub(super) evidence: String,
}

/// A root table: its address, or what a processor's register says of it.
#[derive(Clone, Copy)]
enum Root {
    At(u64),
    Register(u64),
}

struct Search<'s> {
    memory: Arc<dyn PhysMemory>,
    machine: &'s Machine,
    arch: Arch,
    layouts: Vec<Layout>,
    /// First address of the image, physical where the symbols are.
    text: u64,
    /// First address of it that is mapped.
    mapped: u64,
    info: Option<&'s str>,
    /// Whether every page may be a root.
    deep: bool,
}

/// Finds page tables that map the image, and makes the symbols' addresses virtual ones.
///
/// # Errors
/// What is missing.
pub(super) fn place(
    machine: &Machine,
    arch: Arch,
    symbols: &mut Kallsyms,
    info: Option<&str>,
    deep: bool,
) -> Result<Place, String> {
    let layouts = match arch {
        Arch::Aarch64 => {
            let shapes = [(12, 48), (12, 52), (12, 39), (16, 48), (16, 52), (14, 47), (14, 48), (14, 52), (16, 42)];
            shapes.into_iter().filter_map(|(page, bits)| Layout::arm64(page, bits)).collect()
        }
        _ => vec![Layout::x86_64(false), Layout::x86_64(true)],
    };
    let text = symbols.address("_text").or_else(|| symbols.address("_stext")).ok_or("kallsyms has no _text")?;
    let mapped = mapped_text(symbols, arch).unwrap_or(text);
    let search = Search { memory: machine.memory.clone(), machine, arch, layouts, text, mapped, info, deep };
    let found = if symbols.physical { search.of_physical(symbols) } else { search.of_virtual(symbols) };
    let found = found.ok_or("no page tables lead from the kernel's text to where it lies")?;
    if symbols.physical {
        symbols.shift(found.offset);
    }
    Ok(found)
}

impl Search<'_> {
    /// Symbols are virtual: distances are tried, and each has to be what the tables say.
    fn of_virtual(&self, symbols: &Kallsyms) -> Option<Place> {
        // Its tokens lie in its image: what another kernel's VMCOREINFO or banner says puts them elsewhere.
        let fits = |offset: &u64| in_image(symbols, self.text, symbols.tokens_at.wrapping_add(*offset));
        let told = self.info.and_then(|text| told_offset(text, self.arch)).filter(fits);
        if let Some(place) = told.and_then(|offset| self.named_root(symbols, offset)) {
            return Some(place);
        }
        // Only now: a look through all that lies around costs time.
        let mut offsets: Vec<u64> = told.into_iter().chain(self.banners(symbols)).collect();
        if self.arch == Arch::Aarch64 {
            offsets.extend(self.headers(symbols));
        }
        offsets.retain(fits);
        if let Some(place) = offsets.iter().find_map(|offset| self.named_root(symbols, *offset)) {
            return Some(place);
        }
        // No root is known by name: every page may be one.
        let end = symbols.address("_etext").map_or(self.mapped, |end| end.wrapping_sub(1));
        let tokens = symbols.tokens_at;
        self.any_root(|tables| {
            let physical = tables.translate(Virt(self.mapped)).ok()?.physical.0;
            let offset = self.mapped.wrapping_sub(physical);
            let near = offset.is_multiple_of(ALIGN) && tokens.abs_diff(physical) < IMAGE;
            let end = tables.translate(Virt(end)).ok()?.physical.0 == end.wrapping_sub(offset);
            (near && end && (offsets.is_empty() || offsets.contains(&offset))).then_some(offset)
        })
    }

    /// Page tables whose root something names, if they lead over this distance.
    fn named_root(&self, symbols: &Kallsyms, offset: u64) -> Option<Place> {
        let physical = self.mapped.wrapping_sub(offset);
        let roots = ROOTS.iter().filter_map(|name| symbols.address(name)).chain(self.told_root());
        let mut roots = roots.map(|root| Root::At(root.wrapping_sub(offset))).chain(self.registers());
        roots.find_map(|root| {
            self.layouts.iter().find_map(|layout| {
                let tables = self.tables(layout, root);
                let found = tables.translate(Virt(self.mapped)).is_ok_and(|found| found.physical.0 == physical);
                found.then(|| self.done(tables, layout, offset, "page tables lead"))
            })
        })
    }

    /// Symbols are physical: the tables tell where their places are mapped.
    fn of_physical(&self, symbols: &Kallsyms) -> Option<Place> {
        let told = self.info.and_then(|text| hex(value(text, "SYMBOL(_stext)")?));
        let told = told.zip(symbols.address("_stext")).map(|(told, own)| told.wrapping_sub(own));
        let mut roots: Vec<Root> = ROOTS.iter().filter_map(|name| symbols.address(name)).map(Root::At).collect();
        roots.extend(told.zip(self.told_root()).map(|(offset, root)| Root::At(root.wrapping_sub(offset))));
        roots.extend(self.registers());
        for root in roots {
            for layout in &self.layouts {
                let tables = self.tables(layout, root);
                if let Some(offset) = told
                    && let Ok(found) = tables.translate(Virt(self.mapped.wrapping_add(offset)))
                    && found.physical.0 == self.mapped
                {
                    return Some(self.done(tables, layout, offset, "page tables lead"));
                }
                if let Some(at) = tables.find(Phys(self.mapped), self.image_range(layout)) {
                    let offset = at.0.wrapping_sub(self.mapped);
                    return Some(self.done(tables, layout, offset, "page tables alone tell the way"));
                }
            }
        }
        self.any_root(|tables| {
            let at = tables.find(Phys(self.mapped), self.image_range(tables.layout()))?.0;
            Some(at.wrapping_sub(self.mapped))
        })
    }

    fn done(&self, tables: PageTables, layout: &Layout, offset: u64, how: &str) -> Place {
        let evidence = format!("{} {how} from _text to where it lies", layout.name());
        Place { tables, layout: layout.clone(), offset, evidence }
    }

    fn tables(&self, layout: &Layout, root: Root) -> PageTables {
        let (memory, layout) = (self.memory.clone(), layout.clone());
        match (self.arch, root) {
            (Arch::Aarch64, Root::At(root)) => PageTables::with_roots(memory, layout, None, Some(Phys(root))),
            (Arch::Aarch64, Root::Register(root)) => PageTables::with_halves(memory, layout, None, Some(root)),
            (_, Root::At(root) | Root::Register(root)) => {
                PageTables::new(memory, layout, root).with_software(Software::Linux { prot_none: 8 })
            }
        }
    }

    /// Where images are mapped: not in the map of all memory, which has the kernel's text a second time.
    ///
    /// On arm64 that map is the lower half of the kernel's addresses since 5.4; with 52 bits, what is below the upper half
    /// of 48 (47 with pages of 16 KiB) bits (`VA_BITS_MIN`).
    fn image_range(&self, layout: &Layout) -> RangeInclusive<u64> {
        let bits = match (self.arch, layout.va_bits()) {
            (Arch::Aarch64, 49..) if layout.page_bytes() == 1 << 14 => 46,
            (Arch::Aarch64, bits) => bits.min(48) - 1,
            _ => return KERNEL_MAP..=u64::MAX,
        };
        let first = u64::MAX << bits;
        first..=u64::MAX
    }

    /// The root that a VMCOREINFO names, by its virtual address.
    fn told_root(&self) -> Option<u64> {
        self.info.and_then(|text| hex(value(text, "SYMBOL(swapper_pg_dir)")?))
    }

    /// The roots that the container and its processors' registers name.
    fn registers(&self) -> impl Iterator<Item = Root> {
        let told = self.machine.page_table.map(|root| root.0);
        self.machine.cpus.iter().filter_map(root_of).chain(told).map(Root::Register)
    }

    /// Every page as a root.
    fn any_root(&self, proof: impl Fn(&PageTables) -> Option<u64> + Sync) -> Option<Place> {
        if !self.deep {
            return None;
        }
        let blocks = find::blocks(self.machine);
        let try_block = |&(from, to): &(u64, u64)| {
            self.layouts.iter().find_map(|layout| {
                let page = layout.page_bytes();
                let first = from.next_multiple_of(page);
                (first..to).step_by(page as usize).filter(|root| self.may_be_root(layout, *root)).find_map(|root| {
                    let tables = self.tables(layout, Root::At(root));
                    proof(&tables).map(|offset| {
                        let mut place =
                            self.done(tables, layout, offset, "page tables, found by trying all pages, lead");
                        place.evidence.push_str(&format!(" (root {root:#x})"));
                        place
                    })
                })
            })
        };
        blocks.par_iter().find_map_first(try_block)
    }

    /// Whether the entry through which the image has to be reached is there. Of physical symbols that is known on x86
    /// only: the last one.
    fn may_be_root(&self, layout: &Layout, root: u64) -> bool {
        let Some(top) = layout.levels().first() else { return false };
        let entry = |slot: u64| {
            let raw = self.memory.read_uint(Phys(root + 8 * slot), 8, afterimage_dump::Endian::Little).ok();
            raw.is_some_and(|raw| match self.arch {
                Arch::Aarch64 => raw & 3 == 3,
                // Present, and no large page.
                _ => raw & 0x81 == 1,
            })
        };
        let slots = 1u64 << top.bits;
        match self.arch {
            Arch::Aarch64 if self.mapped < 1 << 63 => (slots / 2..slots).any(entry),
            Arch::Aarch64 => entry(self.mapped >> top.shift & (slots - 1)),
            _ => entry(slots - 1),
        }
    }

    /// Distances by the places of the banner, of which there may be copies: the right one is a multiple of 64 KiB.
    fn banners(&self, symbols: &Kallsyms) -> Vec<u64> {
        const AROUND: u64 = 64 << 20;
        let Some(banner) = symbols.address("linux_banner") else { return Vec::new() };
        let from = symbols.tokens_at.saturating_sub(AROUND);
        let mut offsets = Vec::new();
        let mut block = vec![0; (1 << 20) + 16];
        let mut at = from;
        while at < symbols.tokens_at + AROUND {
            let got = Physical(self.machine).read(at, &mut block);
            for hit in memchr::memmem::find_iter(block.get(..got).unwrap_or_default(), b"Linux version ") {
                let offset = banner.wrapping_sub(at + hit as u64);
                if offset.is_multiple_of(ALIGN) && !offsets.contains(&offset) {
                    offsets.push(offset);
                }
            }
            at += 1 << 20;
        }
        offsets
    }

    /// Distances by the header of an arm64 image, which stays in memory at `_text` (arch/arm64/include/asm/image.h).
    fn headers(&self, symbols: &Kallsyms) -> Vec<u64> {
        const MAGIC: (u64, u64) = (56, 0x644d_5241);
        let last = symbols.tokens_at & !(ALIGN - 1);
        let places = (0..IMAGE / ALIGN).filter_map(|step| last.checked_sub(step * ALIGN));
        let read = |at: u64| self.memory.read_uint(Phys(at + MAGIC.0), 4, afterimage_dump::Endian::Little).ok();
        let text = self.text & !(ALIGN - 1);
        // Where `_text` is not named, it lies that much before `_stext` since 5.11.
        let nameless = symbols.address("_text").is_none() && self.text == text;
        let texts = [Some(text), nameless.then(|| text.wrapping_sub(ALIGN))];
        let offsets = |at: u64| texts.into_iter().flatten().map(move |text| text.wrapping_sub(at));
        places.filter(|at| read(*at) == Some(MAGIC.1)).flat_map(offsets).collect()
    }
}

/// The first address of a kernel's text that its page tables map.
///
/// On x86 that is `_text`. Of many arm64 kernels since 5.11 the header, which ends at `_stext`, is not mapped.
pub(super) fn mapped_text(symbols: &Kallsyms, arch: Arch) -> Option<u64> {
    let names = if arch == Arch::Aarch64 { ["_stext", "_text"] } else { ["_text", "_stext"] };
    names.into_iter().find_map(|name| symbols.address(name))
}

/// The processor of a kernel whose container does not name it: x86 maps every image above one address, arm64 below it.
pub(super) fn arch_of(arch: Arch, symbols: &Kallsyms) -> Arch {
    let text = symbols.address("_stext").filter(|_| !symbols.physical);
    match arch {
        Arch::Other(_) if text.is_some_and(|text| text >> 63 == 1 && text < KERNEL_MAP) => Arch::Aarch64,
        arch => arch,
    }
}

/// What the kernel's own root is called: `init_top_pgt` on x86 since 4.15, `init_level4_pgt` before.
const ROOTS: [&str; 3] = ["init_top_pgt", "swapper_pg_dir", "init_level4_pgt"];

/// The root of the page tables that a processor used for the kernel.
pub(super) fn root_of(cpu: &Cpu) -> Option<u64> {
    ["cr3", "ttbr1_el1", "ttbr1"].into_iter().find_map(|name| cpu.control(name)).filter(|root| *root != 0)
}

/// Whether a virtual address lies in the image whose text begins at `text`, as far as its end is known.
fn in_image(symbols: &Kallsyms, text: u64, at: u64) -> bool {
    let end = symbols.address("_end").filter(|end| *end > text).unwrap_or(text.saturating_add(IMAGE));
    (text..end).contains(&at)
}

/// Whether a VMCOREINFO is of the kernel with these symbols, as they were read: since 6.0 it says where their tokens are,
/// before it names some of them.
pub(super) fn is_of(text: &str, symbols: &Kallsyms, arch: Arch) -> bool {
    if let Some(at) = tokens_place(text, arch) {
        return at == symbols.tokens_at;
    }
    let own = |name: &str| symbols.address(name);
    let told = |name: &str| hex(value(text, &format!("SYMBOL({name})"))?);
    let other = |name: &str| own(name).zip(told(name)).is_some_and(|(own, told)| own != told);
    own("_stext").is_some()
        && own("_stext") == told("_stext")
        && !["swapper_pg_dir", "init_uts_ns"].into_iter().any(other)
}

pub(super) fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// Distance of the kernel's virtual addresses from physical ones, by a VMCOREINFO.
pub(super) fn told_offset(text: &str, arch: Arch) -> Option<u64> {
    match arch {
        Arch::Aarch64 => {
            let offset = value(text, "NUMBER(kimage_voffset)")?;
            hex(offset).or_else(|| offset.parse().ok())
        }
        _ => Some(KERNEL_MAP.wrapping_sub(value(text, "NUMBER(phys_base)")?.parse::<i64>().ok()? as u64)),
    }
}

/// Physical place of the table of tokens by a VMCOREINFO.
pub(super) fn tokens_place(text: &str, arch: Arch) -> Option<u64> {
    let table = hex(value(text, "SYMBOL(kallsyms_token_table)")?)?;
    Some(table.wrapping_sub(told_offset(text, arch)?))
}
