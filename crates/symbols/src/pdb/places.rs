//! Where a section's byte lies in the image, and which object file it came from.
//!
//! Trap: with OMAP there are two address spaces. Symbols and lines count in the one before the rearranging; an address of
//! the running program is translated first, and a symbol's start is translated back.

use super::msf::Msf;
use crate::elf::View;

/// A place as symbols name it: section from 1, and bytes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub(super) section: u16,
    pub(super) offset: u32,
}

const MAX_SECTIONS: usize = 1 << 12;
/// Indices in the list of further debug streams.
const OMAP_TO: usize = 3;
const OMAP_FROM: usize = 4;
const SECTIONS: usize = 5;
const SECTIONS_BEFORE: usize = 10;
/// `DBISCImpv2`, the one with longer entries; the other version is as long as its first part.
const CONTRIBUTIONS_V2: u32 = 0xeffe_0000 + 20_140_516;

/// The sections, the object files' parts of them, and the rearranging.
pub(super) struct Places {
    /// Start and size of each section.
    sections: Vec<(u32, u32)>,
    /// Place, size and object file, sorted.
    parts: Vec<(Place, u32, u16)>,
    to_before: Vec<(u32, u32)>,
    from_before: Vec<(u32, u32)>,
}

impl Places {
    pub(super) fn read(msf: &Msf, dbi: &[u8], debug: &[u16]) -> Self {
        let stream = |index: usize| {
            let number = debug.get(index).copied().filter(|&number| number != u16::MAX)?;
            msf.stream(number).filter(|bytes| !bytes.is_empty())
        };
        let (to_before, from_before) = (map(stream(OMAP_TO)), map(stream(OMAP_FROM)));
        let before = stream(SECTIONS_BEFORE).filter(|_| !from_before.is_empty());
        let headers = before.or_else(|| stream(SECTIONS)).unwrap_or_default();
        let sections = headers.chunks_exact(40).take(MAX_SECTIONS).map(|header| {
            let view = View::new(header, true);
            (view.u32(12).unwrap_or(0), view.u32(8).unwrap_or(0).max(view.u32(16).unwrap_or(0)))
        });
        Self { sections: sections.collect(), parts: parts(dbi), to_before, from_before }
    }

    /// The address before rearranging.
    pub(super) fn original(&self, rva: u32) -> Option<u32> {
        if self.to_before.is_empty() { Some(rva) } else { translate(&self.to_before, rva) }
    }

    /// The place of an address of the image.
    pub(super) fn of(&self, rva: u32) -> Option<Place> {
        let rva = self.original(rva)?;
        let index = self.sections.iter().position(|&(start, size)| rva >= start && rva - start < size)?;
        let &(start, _) = self.sections.get(index)?;
        Some(Place { section: u16::try_from(index + 1).ok()?, offset: rva - start })
    }

    /// The image's address of a place.
    pub(super) fn rva(&self, place: Place) -> Option<u32> {
        let &(start, _) = self.sections.get(usize::from(place.section).checked_sub(1)?)?;
        let rva = start.checked_add(place.offset)?;
        if self.from_before.is_empty() { Some(rva) } else { translate(&self.from_before, rva) }
    }

    /// The object file that a place came from.
    pub(super) fn module(&self, place: Place) -> Option<u16> {
        let after = self.parts.partition_point(|(start, ..)| *start <= place);
        let &(start, size, module) = self.parts.get(after.checked_sub(1)?)?;
        (start.section == place.section && place.offset - start.offset < size).then_some(module)
    }
}

fn map(stream: Option<Vec<u8>>) -> Vec<(u32, u32)> {
    let bytes = stream.unwrap_or_default();
    let view = View::new(&bytes, true);
    (0..bytes.len() as u64 / 8).map_while(|index| Some((view.u32(8 * index)?, view.u32(8 * index + 4)?))).collect()
}

/// What begins at address 0 on the other side was taken out.
fn translate(map: &[(u32, u32)], rva: u32) -> Option<u32> {
    let after = map.partition_point(|(from, _)| *from <= rva);
    let &(from, to) = map.get(after.checked_sub(1)?)?;
    (to != 0).then(|| to.checked_add(rva - from)).flatten()
}

fn parts(dbi: &[u8]) -> Vec<(Place, u32, u16)> {
    let view = View::new(dbi, true);
    let size = |at: u64| u64::from(view.u32(at).unwrap_or(0));
    let at = 64 + size(24);
    let each = if view.u32(at) == Some(CONTRIBUTIONS_V2) { 32 } else { 28 };
    let count = size(28).min(dbi.len() as u64).saturating_sub(4) / each;
    let mut parts: Vec<_> = (0..count)
        .map_while(|index| {
            let at = at + 4 + each * index;
            let place = Place { section: view.u16(at)?, offset: view.u32(at + 4)? };
            Some((place, view.u32(at + 8)?, view.u16(at + 16)?))
        })
        .collect();
    parts.sort_unstable();
    parts
}
