//! Public symbols: the linker's names, decorated.
//!
//! Trap: they are labels without a size, and folded functions have several at one address.

use super::places::{Place, Places};
use crate::elf::View;

const S_PUB32: u16 = 0x110e;
const MAX_PUBLICS: usize = 8 << 20;

/// Names by address.
pub(super) struct Publics {
    records: Vec<u8>,
    /// Address, and where the name stands; sorted.
    index: Vec<(u32, u32)>,
}

/// Walks records of `u16 length, u16 kind, data`; gives the kind, the data and where the data begins.
pub(super) fn records(bytes: &[u8], from: usize) -> impl Iterator<Item = (u16, &[u8], usize)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let view = View::new(bytes, true);
        let length = usize::from(view.u16(at as u64)?);
        let kind = view.u16(at as u64 + 2)?;
        let data = bytes.get(at + 4..(at + 2).checked_add(length)?)?;
        let place = at + 4;
        at += 2 + length;
        Some((kind, data, place))
    })
}

impl Publics {
    pub(super) fn read(records_of: Vec<u8>, places: &Places) -> Self {
        let mut index: Vec<(u32, u32)> = records(&records_of, 0)
            .filter(|(kind, ..)| *kind == S_PUB32)
            .filter_map(|(_, data, at)| {
                let view = View::new(data, true);
                let place = Place { section: view.u16(8)?, offset: view.u32(4)? };
                Some((places.rva(place)?, u32::try_from(at + 10).ok()?))
            })
            .take(MAX_PUBLICS)
            .collect();
        index.sort_unstable();
        Self { records: records_of, index }
    }

    fn name(&self, at: u32) -> Option<&[u8]> {
        View::new(&self.records, true).c_str(u64::from(at)).filter(|name| !name.is_empty())
    }

    pub(super) fn find(&self, rva: u32) -> Option<(u32, String)> {
        let after = self.index.partition_point(|(start, _)| *start <= rva);
        let &(start, _) = self.index.get(after.checked_sub(1)?)?;
        let first = self.index.partition_point(|(other, _)| *other < start);
        let &(_, name) = self.index.get(first)?;
        Some((start, String::from_utf8_lossy(self.name(name)?).into_owned()))
    }

    pub(super) fn address_of(&self, wanted: &str) -> Option<u32> {
        self.index.iter().find(|(_, name)| self.name(*name) == Some(wanted.as_bytes())).map(|(rva, _)| *rva)
    }
}
