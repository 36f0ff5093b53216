//! Split DWARF: the part of a unit that stands in a `.dwo` file or in a `.dwp` package.
//!
//! Not here: fetching those files ([`crate::Files`] does).
//!
//! Example: with `-gsplit-dwarf` the program holds a skeleton (addresses, lines, a name and an id); functions and
//! inlined calls stand in `foo.dwo`, or all together in `prog.dwp`.
//!
//! Trap: DWARF 4 (GNU) says id and name in attributes, DWARF 5 in the header; and in version 4 ranges stay in the
//! program, offset by DW_AT_GNU_ranges_base, while in 5 they move along.

use super::{Dwarf, DwarfFile, Slice, Unit, Value, endian, sections};
use crate::elf::ElfObject;
use gimli::{DwarfPackage, EndianSlice, SectionId, constants as dw};
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError};

/// A file that holds the other part of a unit.
pub(super) struct Split {
    object: Arc<ElfObject>,
    id: gimli::DwoId,
}

/// Split files that are kept open.
const MAX_SPLITS: usize = 4096;

impl DwarfFile {
    /// Whether a lookup has found the other part of a unit.
    pub(crate) fn uses_split(&self) -> bool {
        let splits = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        self.package.get().is_some_and(Option::is_some) || splits.values().any(Option::is_some)
    }

    /// The other part of a skeleton unit, if it is one and the part is at hand.
    pub(super) fn split_unit(&self, dwarf: &Dwarf<'_>, unit: &Unit<'_>) -> Option<Split> {
        let id = unit.dwo_id?;
        let text = |value: Value<'_>| dwarf.attr_string(unit, value).ok().map(|s| s.to_string_lossy().into_owned());
        let mut raw = unit.entries_raw(None).ok()?;
        let root = raw.read_abbreviation().ok()??;
        let mut name = None;
        for spec in root.attributes() {
            let attribute = raw.read_attribute(*spec).ok()?;
            if matches!(attribute.name(), dw::DW_AT_dwo_name | dw::DW_AT_GNU_dwo_name) {
                name = text(attribute.value());
            }
        }
        let name = name?;
        let package = self.package.get_or_init(|| {
            let object = ElfObject::parse(self.files.package()?).ok()?;
            object.has_section(".debug_cu_index").then(|| Arc::new(object))
        });
        if let Some(object) = package.as_ref().filter(|object| package_has(object, id)) {
            return Some(Split { object: Arc::clone(object), id });
        }
        let mut splits = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        if splits.len() >= MAX_SPLITS {
            splits.clear();
            // Their keys are addresses of bytes that may now be freed.
            self.abbreviations.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let object = match splits.entry(id.0) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let home = unit.comp_dir.map(|dir| dir.to_string_lossy().into_owned());
                let blob = self.files.split_dwarf(home.as_deref(), &name, id.0);
                place.insert(blob.and_then(|blob| ElfObject::parse(blob).ok()).map(Arc::new)).clone()
            }
        };
        Some(Split { object: object?, id })
    }
}

fn package(object: &ElfObject) -> Option<DwarfPackage<Slice<'_>>> {
    let load = |id: SectionId| -> gimli::Result<Slice<'_>> {
        let bytes = id.dwo_name().and_then(|name| object.section_bytes(name)).unwrap_or(&[]);
        Ok(EndianSlice::new(bytes, endian(object)))
    };
    DwarfPackage::load(load, EndianSlice::new(&[], endian(object))).ok()
}

fn package_has(object: &ElfObject, id: gimli::DwoId) -> bool {
    let Some(bytes) = object.section_bytes(".debug_cu_index") else { return false };
    let index = gimli::DebugCuIndex::from(EndianSlice::new(bytes, endian(object))).index();
    index.is_ok_and(|index| index.find(id.0).is_some())
}

impl Split {
    /// The sections of the other part, and its unit.
    pub(super) fn open<'s>(
        &'s self,
        file: &DwarfFile,
        main: &Dwarf<'s>,
        skeleton: &Unit<'s>,
    ) -> Option<(Dwarf<'s>, Unit<'s>)> {
        let dwarf = if self.object.has_section(".debug_cu_index") {
            package(&self.object)?.find_cu(self.id, main).ok()??
        } else {
            let mut dwarf = sections(&self.object, true, true);
            dwarf.make_dwo(main);
            dwarf
        };
        let mut headers = dwarf.units();
        // One unit in nearly every file; with link-time optimization a few.
        for _ in 0..1024 {
            let Ok(Some(header)) = headers.next() else { break };
            let Ok(mut unit) = file.unit_of(&dwarf, header) else { continue };
            // A file left from another build has another id, and would give wrong names.
            if unit.dwo_id == Some(self.id) {
                unit.copy_relocated_attributes(skeleton);
                return Some((dwarf, unit));
            }
        }
        None
    }
}
