//! DWARF 2 to 5: which function, which inlined calls, which lines stand behind an address, and which variables.
//!
//! Not here: call-frame information (`crate::cfi`).
//!
//! Example: a lookup finds the unit (`units`), then the function and the calls inlined at the address (`functions`),
//! then the line (`lines`). Only that unit is read, and what was learned of it is kept.
//!
//! Trap: nothing borrowed is kept. A gimli `Dwarf` is a dozen slices, so each lookup makes its own from the bytes that
//! the file owns; the caches hold plain numbers.

mod call_sites;
mod entries;
mod evaluate;
mod functions;
mod lines;
mod names;
mod scopes;
mod split;
mod subprogram;
mod type_names;
mod types;
mod units;
mod variables;

use crate::Files;
use crate::elf::ElfObject;
use functions::FunctionTable;
use gimli::{Abbreviations, DebugInfoOffset, EndianSlice, RunTimeEndian, Section, SectionId, UnitHeader};
use lines::LineTable;
use scopes::ScopeTable;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use units::UnitIndex;

pub(crate) type Slice<'a> = EndianSlice<'a, RunTimeEndian>;
pub(crate) type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;
pub(crate) type Unit<'a> = gimli::Unit<Slice<'a>>;
pub(crate) type Value<'a> = gimli::AttributeValue<Slice<'a>>;

/// One function at an address: the real one or an inlined one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The linker's name, or the source's where there is none.
    pub(crate) raw: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
    pub(crate) inlined: bool,
    /// `raw` was put together here; a linker's name for the same function is better.
    pub(crate) pieced: bool,
    /// Of the real function: its range.
    pub(crate) range: Option<(u64, u64)>,
}

/// What has been learned of one unit.
#[derive(Default)]
struct UnitCache {
    functions: OnceLock<FunctionTable>,
    lines: OnceLock<LineTable>,
    scopes: OnceLock<ScopeTable>,
}

/// The DWARF of one file, with the files that it refers to.
pub(crate) struct DwarfFile {
    object: Arc<ElfObject>,
    files: Arc<dyn Files>,
    supplementary: OnceLock<Option<Arc<ElfObject>>>,
    package: OnceLock<Option<Arc<ElfObject>>>,
    splits: Mutex<HashMap<u64, Option<Arc<ElfObject>>>>,
    index: UnitIndex,
    caches: Mutex<HashMap<usize, Arc<UnitCache>>>,
    abbreviations: Mutex<HashMap<(usize, usize), Arc<Abbreviations>>>,
}

/// Abbreviation tables that are kept; a unit has one.
const MAX_ABBREVIATIONS: usize = 512;
/// Units of which functions and lines are kept.
const MAX_UNITS: usize = 4096;

fn endian(object: &ElfObject) -> RunTimeEndian {
    if object.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big }
}

/// Whether numbers begin with their highest byte.
fn is_big(dwarf: &Dwarf<'_>) -> bool {
    gimli::Reader::endian(dwarf.debug_abbrev.reader()) == RunTimeEndian::Big
}

/// The sections of a file that are needed here; the others stay packed and unread. `locations`: those of variables, too.
fn sections(object: &ElfObject, split: bool, locations: bool) -> Dwarf<'_> {
    let load = |id: SectionId| -> Result<Slice<'_>, std::convert::Infallible> {
        let wanted = matches!(
            id,
            SectionId::DebugAbbrev
                | SectionId::DebugAddr
                | SectionId::DebugInfo
                | SectionId::DebugLine
                | SectionId::DebugLineStr
                | SectionId::DebugRanges
                | SectionId::DebugRngLists
                | SectionId::DebugStr
                | SectionId::DebugStrOffsets
        ) || locations && matches!(id, SectionId::DebugLoc | SectionId::DebugLocLists);
        let name = if split { id.dwo_name() } else { Some(id.name()) };
        let bytes = name.filter(|_| wanted).and_then(|name| object.section_bytes(name)).unwrap_or(&[]);
        Ok(EndianSlice::new(bytes, endian(object)))
    };
    match gimli::Dwarf::load(load) {
        Ok(dwarf) => dwarf,
        Err(never) => match never {},
    }
}

impl DwarfFile {
    pub(crate) fn new(object: Arc<ElfObject>, files: Arc<dyn Files>) -> Self {
        DwarfFile {
            object,
            files,
            supplementary: OnceLock::new(),
            package: OnceLock::new(),
            splits: Mutex::default(),
            index: UnitIndex::default(),
            caches: Mutex::default(),
            abbreviations: Mutex::default(),
        }
    }

    /// The views that one lookup works with; `locations`: one for variables.
    fn view(&self, locations: bool) -> Dwarf<'_> {
        let mut dwarf = sections(&self.object, false, locations);
        let supplementary = self.supplementary.get_or_init(|| {
            let (name, id) = self.object.alt_debuglink()?;
            let object = ElfObject::parse(self.files.supplementary(&name, &id)?).ok()?;
            // A supplementary file of another build would give wrong names, silently.
            (object.build_id().is_none_or(|own| id.is_empty() || own == id)).then(|| Arc::new(object))
        });
        if let Some(object) = supplementary {
            dwarf.set_sup(sections(object, false, false));
        }
        dwarf
    }

    fn cache(&self, unit: usize) -> Arc<UnitCache> {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        if caches.len() >= MAX_UNITS {
            caches.clear();
        }
        Arc::clone(caches.entry(unit).or_default())
    }

    /// A unit by its place in `.debug_info`, with its abbreviations kept for the next time.
    fn unit<'a>(&self, dwarf: &Dwarf<'a>, offset: usize) -> gimli::Result<Unit<'a>> {
        let header = dwarf.unit_header(DebugInfoOffset(offset))?;
        self.unit_of(dwarf, header)
    }

    fn unit_of<'a>(&self, dwarf: &Dwarf<'a>, header: UnitHeader<Slice<'a>>) -> gimli::Result<Unit<'a>> {
        let abbreviations = self.abbreviations_of(dwarf, &header)?;
        gimli::Unit::new_with_abbreviations(dwarf, header, abbreviations)
    }

    fn abbreviations_of(&self, dwarf: &Dwarf<'_>, header: &UnitHeader<Slice<'_>>) -> gimli::Result<Arc<Abbreviations>> {
        // The bytes' own place tells the files apart (main, supplementary, each .dwo).
        let section = dwarf.debug_abbrev.reader().slice().as_ptr() as usize;
        let key = (section, header.debug_abbrev_offset().0);
        let kept = self.abbreviations.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let new = dwarf.abbreviations(header)?;
        let mut all = self.abbreviations.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_ABBREVIATIONS {
            all.clear();
        }
        all.insert(key, Arc::clone(&new));
        Ok(new)
    }

    /// Innermost first: the functions inlined at an address, then the real one.
    ///
    /// `thorough`: also go through units that no address table knows; it costs a look at every unit, once.
    pub(crate) fn locate(&self, at: u64, thorough: bool) -> Vec<Found> {
        let dwarf = self.view(false);
        let relocatable = self.object.file_type() == crate::elf::ET_REL;
        let mut only_line = Vec::new();
        for offset in self.index.candidates(&self.object, &dwarf, at, thorough) {
            let Ok(unit) = self.unit(&dwarf, offset) else { continue };
            let cache = self.cache(offset);
            let split = self.split_unit(&dwarf, &unit);
            let with_split = split.as_ref().and_then(|split| split.open(self, &dwarf, &unit));
            let (code_dwarf, code_unit) = match &with_split {
                Some((dwarf, unit)) => (dwarf, unit),
                None => (&dwarf, &unit),
            };
            let functions = cache.functions.get_or_init(|| FunctionTable::read(code_dwarf, code_unit, relocatable));
            let lines = cache.lines.get_or_init(|| LineTable::read(&unit));
            let row = lines.find(at);
            let position = |file: Option<u64>, line: Option<u32>, column: Option<u32>, found: &mut Found| {
                found.file = file.and_then(|file| lines::path(&dwarf, &unit, file));
                found.line = line.filter(|line| *line != 0);
                found.column = column.filter(|column| *column != 0);
            };
            let mut next = row.map(|row| (Some(u64::from(row.file)), Some(row.line), Some(u32::from(row.column))));
            let Some((start, end, die)) = functions.find(at) else {
                if let (Some((file, line, column)), true) = (next, only_line.is_empty()) {
                    let mut found = Found::default();
                    position(file, line, column, &mut found);
                    only_line.push(found);
                }
                continue;
            };
            let mut out = Vec::new();
            let names = names::Names { file: self, main: &dwarf, dwarf: code_dwarf, unit: code_unit };
            let calls = functions::inlined_at(code_dwarf, code_unit, die, at);
            for call in calls.iter().rev() {
                let mut found = Found { raw: names.of(call.die), inlined: true, ..Found::default() };
                if let Some((file, line, column)) = next {
                    position(file, line, column, &mut found);
                }
                next = Some((call.file, call.line, call.column));
                out.push(found);
            }
            let (raw, pieced) = names.of_function(die).map_or((None, false), |(raw, pieced)| (Some(raw), pieced));
            let mut found = Found { raw, pieced, range: Some((start, end)), ..Found::default() };
            if let Some((file, line, column)) = next {
                position(file, line, column, &mut found);
            }
            out.push(found);
            return out;
        }
        only_line
    }
}
