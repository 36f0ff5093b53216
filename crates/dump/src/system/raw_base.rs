//! Where a raw image of an arm64 machine begins: such machines seldom have memory at physical address 0, and the file does
//! not say.
//!
//! *What it is*: the header of the kernel's image says where in the file it lies (arch/arm64/include/asm/image.h); from 5.12
//! to 6.8 its page is given back, and the banner has to do. Page tables inside of that image name physical addresses, which
//! bound where the file can begin; a beginning is believed if the tables, read from it, lead to the very place of the image.
//!
//! *What it is not*: a guess. Where no beginning is proved, byte N stays the byte of address N.

use super::raw;
use crate::paging::{Layout, PageTables};
use crate::source::{SharedSource, Source, read_vec};
use crate::{Endian, Phys, Virt};
use std::sync::Arc;

/// Kernels are placed at multiples of it, and their text begins that far behind their header.
const ALIGN: u64 = 64 << 10;
/// The part of a file in which the kernel's header is looked for.
const LOOK: u64 = 4 << 30;
/// The part in which the banner is looked for.
const LOOK_FOR_WORDS: u64 = 512 << 20;
/// How far from its banner a kernel's page tables can lie.
const AROUND: u64 = 64 << 20;
/// Images, and banners, that are looked at: loaders leave copies.
const IMAGES: usize = 8;
/// Longest image.
const LONGEST: u64 = 256 << 20;
/// Pages of which roots are longer than 4 KiB.
const LARGE: u64 = 16 << 10;
/// Pages of an image that may be roots.
const ROOTS: usize = 256;
/// Beginnings that are tried for a root.
const TRIES: u64 = 64;
/// Memory begins at a multiple of it, mostly of 1 GiB.
const STEP: u64 = 256 << 20;
/// What lies in the image is mapped in one piece at least as far behind its text.
const PIECE: u64 = 1 << 20;

/// The physical address of the file's first byte, if the kernel's page tables prove one.
pub(super) fn of(source: &SharedSource) -> Option<Phys> {
    let shapes = [(12, 48), (12, 52), (12, 39), (16, 48), (16, 52), (14, 47), (14, 48), (14, 52), (16, 42)];
    let layouts: Vec<Layout> = shapes.into_iter().filter_map(|(page, bits)| Layout::arm64(page, bits)).collect();
    let by = |image: Image| {
        let mut tried = 0;
        (image.from..image.to.min(source.len())).step_by(4096).find_map(|at| {
            let page = read_vec(&**source, at, 1 << 12).ok()?;
            // Most pages are no tables, and need not be looked at in each layout.
            let empty = page.iter().all(|byte| *byte == 0);
            if !are_entries(&page) || empty && !at.is_multiple_of(LARGE) {
                return None;
            }
            let fits = |layout: &&Layout| at.is_multiple_of(layout.page_bytes()) && !(empty && is_small(layout));
            layouts.iter().filter(fits).find_map(|layout| {
                let (low, high) = named(&**source, layout, at)?;
                tried += 1;
                let bases = bases(low, high, source.len());
                bases.filter(|_| tried <= ROOTS).find(|base| proved(source, layout, at, &image, *base)).map(Phys)
            })
        })
    };
    images(&**source).into_iter().find_map(by).or_else(|| banners(&**source).into_iter().find_map(by))
}

/// A part of the file that may be a kernel's image.
struct Image {
    /// Where its page tables are looked for.
    from: u64,
    to: u64,
    /// Places of which one must be mapped as kernels are.
    places: Vec<u64>,
}

/// Images by the headers of arm64 kernels.
fn images(source: &dyn Source) -> Vec<Image> {
    const SIZE: u64 = 16;
    const MAGIC: u64 = 56;
    let mut found = Vec::new();
    let mut at = 0;
    while at < source.len().min(LOOK) && found.len() < IMAGES {
        let head = read_vec(source, at + SIZE, (MAGIC + 4 - SIZE) as usize).unwrap_or_default();
        if head.ends_with(b"ARM\x64") && head.len() as u64 == MAGIC + 4 - SIZE {
            let size = head.get(..8).map_or(0, |size| Endian::Little.uint(size));
            if (PIECE..=LONGEST).contains(&size) {
                // The header's own page need not be mapped; the text begins behind it.
                found.push(Image { from: at, to: at.saturating_add(size), places: vec![at, at + ALIGN] });
            }
        }
        at += ALIGN;
    }
    found
}

/// What lies around banners.
fn banners(source: &dyn Source) -> Vec<Image> {
    const BLOCK: u64 = 1 << 20;
    const WORDS: &[u8] = b"Linux version ";
    let mut found = Vec::new();
    let mut at = 0;
    while at < source.len().min(LOOK_FOR_WORDS) && found.len() < IMAGES {
        let block = read_vec(source, at, BLOCK as usize + WORDS.len() + 1).unwrap_or_default();
        let starts = memchr::memmem::find_iter(&block, WORDS)
            .filter(|start| *start < BLOCK as usize && block.get(start + WORDS.len()).is_some_and(u8::is_ascii_digit));
        found.extend(starts.map(|start| at + start as u64).map(|place| Image {
            from: place.saturating_sub(AROUND).next_multiple_of(ALIGN),
            to: place.saturating_add(AROUND),
            places: vec![place],
        }));
        at += BLOCK;
    }
    found.truncate(IMAGES);
    found
}

/// Whether this may be of a table: nothing but descriptors and empty places.
fn are_entries(page: &[u8]) -> bool {
    let mut entries = page.as_chunks::<8>().0.iter().map(|raw| Endian::Little.uint(raw));
    entries.all(|raw| raw == 0 || (raw & 3 == 3 && raw >> 50 & 0x1ff == 0))
}

/// Whether a root takes no more than the part that is looked at first. The front of a longer one may be empty: that of
/// 52 bits is where a processor has 48.
fn is_small(layout: &Layout) -> bool {
    layout.levels().first().is_none_or(|top| top.bits <= 9)
}

/// The lowest and the highest table that a root's upper half names; `None` if it is no root in this layout.
fn named(source: &dyn Source, layout: &Layout, root: u64) -> Option<(u64, u64)> {
    let top = layout.levels().first()?;
    let bytes = read_vec(source, root, 8usize << top.bits).ok()?;
    let entries = bytes.as_chunks::<8>().0.iter().map(|raw| Endian::Little.uint(raw));
    // Kernels are mapped in the upper half of what it is the root of.
    if entries.clone().skip(1 << (top.bits - 1)).all(|raw| raw == 0) {
        return None;
    }
    let entries = entries.filter(|raw| *raw != 0);
    // Bits 48 and up are not looked at: memory lies below.
    let tables: Vec<u64> = entries.map(|raw| raw & 0xffff_ffff_f000 & !(layout.page_bytes() - 1)).collect();
    Some((*tables.iter().min()?, *tables.iter().max()?))
}

/// Beginnings from which a file of this length has both addresses: 0, those at multiples of 1 GiB, and the others.
fn bases(low: u64, high: u64, len: u64) -> impl Iterator<Item = u64> {
    const GIB: u64 = 1 << 30;
    let first = high.saturating_sub(len) / STEP;
    let fits = move |base: &u64| *base <= low && high < base.saturating_add(len);
    let all = (first..).take(TRIES as usize).map(|step| step * STEP);
    let whole = all.clone().filter(|base| base % GIB == 0);
    let others = all.filter(|base| base % GIB != 0);
    std::iter::once(0).chain(whole).chain(others).filter(fits)
}

/// Whether tables that are read from this beginning lead to the image.
fn proved(source: &SharedSource, layout: &Layout, root: u64, image: &Image, base: u64) -> bool {
    let memory = Arc::new(raw::memory(source, base));
    let tables = PageTables::with_roots(memory, layout.clone(), None, Some(Phys(base + root)));
    // The kernel is mapped in the upper half of its half of the addresses; with 52 bits, in that of 48.
    let bits = match layout.va_bits() {
        49.. if layout.page_bytes() == 1 << 14 => 46,
        bits => bits.min(48) - 1,
    };
    image.places.iter().map(|place| base.saturating_add(*place)).any(|at| {
        let Some(found) = tables.find(Phys(at), u64::MAX << bits..=u64::MAX) else { return false };
        let same = |distance: u64| {
            tables.translate(Virt(found.0.wrapping_add(distance))).is_ok_and(|there| there.physical.0 == at + distance)
        };
        (found.0.wrapping_sub(at)).is_multiple_of(ALIGN) && same(PIECE / 2) && same(PIECE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x4000_0000;
    const IMAGE: u64 = 0x20_0000;

    fn put(bytes: &mut [u8], at: u64, word: u64) {
        bytes[at as usize..at as usize + 8].copy_from_slice(&word.to_le_bytes());
    }

    /// A file with a kernel's header, and three levels of tables in its image that map `text` where kernels lie.
    fn file(base: u64, text: u64) -> SharedSource {
        let mut bytes = vec![0; 16 << 20];
        put(&mut bytes, IMAGE + 16, 4 << 20);
        bytes[IMAGE as usize + 56..][..4].copy_from_slice(b"ARM\x64");
        let [root, middle, last] = [0x1_0000, 0x1_1000, 0x1_2000].map(|distance| IMAGE + distance);
        // 0xffff_8000_8000_0000.
        put(&mut bytes, root + 8 * 256, (base + middle) | 3);
        put(&mut bytes, middle + 8 * 2, (base + last) | 3);
        for block in 0..2 {
            put(&mut bytes, last + 8 * block, (text + (block << 21)) | 0x401);
        }
        Arc::new(bytes)
    }

    #[test]
    fn tables_that_lead_to_the_image_prove_where_the_file_begins() {
        assert_eq!(of(&file(BASE, BASE + IMAGE)), Some(Phys(BASE)));
        assert_eq!(of(&file(0x8000_0000, 0x8000_0000 + IMAGE)), Some(Phys(0x8000_0000)));
        // No multiple of 1 GiB.
        assert_eq!(of(&file(0x5000_0000, 0x5000_0000 + IMAGE)), Some(Phys(0x5000_0000)));
        assert_eq!(of(&file(0, IMAGE)), Some(Phys(0)));
    }

    #[test]
    fn a_root_of_large_pages_may_be_empty_in_front() {
        let mut bytes = vec![0; 16 << 20];
        put(&mut bytes, IMAGE + 16, 4 << 20);
        bytes[IMAGE as usize + 56..][..4].copy_from_slice(b"ARM\x64");
        let [root, middle, last] = [0x20_0000, 0x21_0000, 0x22_0000].map(|distance| IMAGE + distance);
        // 0xffff_c005_4640_0000 with pages of 64 KiB and 52 bits.
        put(&mut bytes, root + 8 * 0x3f0, (BASE + middle) | 3);
        put(&mut bytes, middle + 8 * 0x2a, (BASE + last) | 3);
        for page in 1..20 {
            put(&mut bytes, last + 8 * (0x640 + page), (BASE + IMAGE + (page << 16)) | 0x783);
        }
        assert_eq!(of(&(Arc::new(bytes) as SharedSource)), Some(Phys(BASE)));
    }

    #[test]
    fn the_banner_does_where_the_header_was_given_back() {
        let with_banner = |place: usize| {
            let mut bytes = bytes_of(&file(BASE, BASE + IMAGE));
            bytes[IMAGE as usize..][..0x1000].fill(0);
            bytes[place..][..22].copy_from_slice(b"Linux version 6.1.0-56");
            Arc::new(bytes) as SharedSource
        };
        assert_eq!(of(&with_banner(IMAGE as usize + 0x2_0010)), Some(Phys(BASE)));
        // A file's copy in the page cache is not mapped where kernels are.
        assert_eq!(of(&with_banner(12 << 20)), None);
    }

    fn bytes_of(source: &SharedSource) -> Vec<u8> {
        read_vec(&**source, 0, source.len() as usize).unwrap()
    }

    #[test]
    fn nothing_is_believed_that_leads_elsewhere() {
        // To another place, to tables behind the end, and to no kernel.
        assert_eq!(of(&file(BASE, BASE + (8 << 20))), None);
        assert_eq!(of(&file(BASE + (64 << 20), BASE + IMAGE)), None);
        let mut bytes = vec![0; 4 << 20];
        assert_eq!(of(&(Arc::new(bytes.clone()) as SharedSource)), None);
        // A header that says no length, or an endless one.
        bytes[IMAGE as usize + 56..][..4].copy_from_slice(b"ARM\x64");
        assert_eq!(of(&(Arc::new(bytes.clone()) as SharedSource)), None);
        put(&mut bytes, IMAGE + 16, u64::MAX);
        assert_eq!(of(&(Arc::new(bytes) as SharedSource)), None);
    }
}
