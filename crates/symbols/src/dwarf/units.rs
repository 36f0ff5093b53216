//! Which unit holds an address, and which one holds an entry.
//!
//! Not here: what stands in the units.
//!
//! Example: `.debug_aranges` (gcc writes it) is read once, some 1 % of the DWARF, and answers most lookups. Where it is
//! absent (clang) or knows only some units (mixed producers), the root entry of each other unit is looked at, once.
//!
//! Trap: looking at root entries touches a page of each unit, which is the very thing that a large program must avoid;
//! so it happens only for addresses that no table knows, and only when the caller asks for it.

use super::functions::Extent;
use super::{Dwarf, Slice, Unit};
use crate::elf::{ElfObject, View};
use gimli::{DebugAbbrev, DebugInfoOffset, EndianSlice, UnitHeader, constants as dw};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Start, end (of everything up to here that reaches farthest), end, unit.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u64,
    reach: u64,
    end: u64,
    unit: u64,
}

/// Ranges sorted for lookups.
#[derive(Debug, Default)]
struct Ranges {
    sorted: Vec<Range>,
    /// Places of the units in `.debug_info`, rising.
    units: Vec<u64>,
}

/// What is known of a file's units.
#[derive(Debug, Default)]
pub(super) struct UnitIndex {
    tables: OnceLock<Ranges>,
    scanned: OnceLock<Ranges>,
    /// The last unit that an entry was looked up in, and its end.
    last: Mutex<Option<(usize, usize)>>,
}

/// Ranges that are kept.
const MAX_RANGES: usize = 4_000_000;
/// Between two functions of one unit, fewer bytes than this are padding.
const PADDING: u64 = 16;
/// Units that are looked at.
const MAX_UNITS: usize = 2_000_000;

impl Ranges {
    fn new(mut sorted: Vec<Range>, mut units: Vec<u64>) -> Self {
        sorted.sort_unstable_by_key(|range| (range.start, range.end));
        let mut reach = 0;
        for range in &mut sorted {
            reach = range.end.max(reach);
            range.reach = reach;
        }
        units.sort_unstable();
        units.dedup();
        sorted.shrink_to_fit();
        Ranges { sorted, units }
    }

    /// The units whose ranges cover an address, nearest start first.
    fn find(&self, at: u64, out: &mut Vec<usize>) {
        let after = self.sorted.partition_point(|range| range.start <= at);
        for range in self.sorted.get(..after).unwrap_or(&[]).iter().rev().take(256) {
            if range.reach <= at || out.len() >= 8 {
                break;
            }
            let unit = usize::try_from(range.unit).unwrap_or(usize::MAX);
            if at < range.end && !out.contains(&unit) {
                out.push(unit);
            }
        }
    }
}

impl UnitIndex {
    /// The places of the units that cover an address.
    pub(super) fn candidates(&self, object: &ElfObject, dwarf: &Dwarf<'_>, at: u64, thorough: bool) -> Vec<usize> {
        let mut out = Vec::new();
        let tables = self.tables.get_or_init(|| read_tables(object));
        tables.find(at, &mut out);
        // Nothing but the scan can answer where there are no tables at all.
        if out.is_empty() && (thorough || tables.units.is_empty()) {
            self.scanned.get_or_init(|| scan(dwarf, &tables.units)).find(at, &mut out);
        }
        out
    }

    /// The header of the unit that holds a place of `.debug_info`.
    pub(super) fn containing<'a>(&self, dwarf: &Dwarf<'a>, place: usize) -> Option<UnitHeader<Slice<'a>>> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = match last {
            Some((start, end)) if (start..end).contains(&place) => start,
            _ => {
                // Walking from header to header begins at the nearest unit that is known already.
                let known = [self.tables.get(), self.scanned.get()].into_iter().flatten();
                let near = known.filter_map(|ranges| {
                    let after = ranges.units.partition_point(|unit| *unit <= place as u64);
                    ranges.units.get(after.checked_sub(1)?).copied()
                });
                near.max().and_then(|unit| usize::try_from(unit).ok()).unwrap_or(0)
            }
        };
        let header = walk_to(dwarf, begin, place)?;
        let start = header.debug_info_offset()?.0;
        let end = start.checked_add(header.length_including_self())?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((start, end));
        Some(header)
    }
}

/// Goes from header to header until the unit that holds `place`.
pub(super) fn walk_to<'a>(dwarf: &Dwarf<'a>, begin: usize, place: usize) -> Option<UnitHeader<Slice<'a>>> {
    let mut at = begin;
    for _ in 0..MAX_UNITS {
        let header = dwarf.unit_header(DebugInfoOffset(at)).ok()?;
        let end = at.checked_add(header.length_including_self())?;
        if place < end {
            return (place >= at).then_some(header);
        }
        at = end;
    }
    None
}

/// `.debug_aranges`, or the address table of `.gdb_index`.
fn read_tables(object: &ElfObject) -> Ranges {
    if let Some(ranges) = object.section_bytes(".gdb_index").and_then(gdb_index) {
        return ranges;
    }
    let mut ranges: Vec<Range> = Vec::new();
    let mut units = Vec::new();
    let bytes = object.section_bytes(".debug_aranges").unwrap_or(&[]);
    let section = gimli::DebugAranges::new(bytes, super::endian(object));
    let mut headers = section.headers();
    while let Ok(Some(header)) = headers.next() {
        let unit = header.debug_info_offset().0 as u64;
        let mut entries = header.entries();
        let mut any = false;
        while let Ok(Some(entry)) = entries.next() {
            let range = entry.range();
            // What the linker dropped lies at 0.
            if range.begin == 0 || range.begin >= range.end {
                continue;
            }
            any = true;
            // A unit's functions stand in a row, with padding between: a large Rust program has 800 000 functions in
            // some thousand rows, and sorting the rows costs nothing.
            match ranges.last_mut().filter(|last| last.unit == unit) {
                Some(last) if range.begin >= last.end && range.begin - last.end < PADDING => last.end = range.end,
                _ => ranges.push(Range { start: range.begin, end: range.end, reach: 0, unit }),
            }
            if ranges.len() >= MAX_RANGES {
                break;
            }
        }
        // An empty set says nothing: some producers write them for units that they do not describe.
        if any {
            units.push(unit);
        }
        if ranges.len() >= MAX_RANGES {
            break;
        }
    }
    Ranges::new(ranges, units)
}

/// `.gdb_index` (gold, lld and gdb-add-index write it): a complete list of units, and their addresses.
fn gdb_index(bytes: &[u8]) -> Option<Ranges> {
    // Little endian on every CPU that uses it; versions 4 to 9 share this part.
    let view = View::new(bytes, true);
    let version = view.u32(0)?;
    if !(4..=9).contains(&version) {
        return None;
    }
    let (list, types, area, symbols) = (view.u32(4)?, view.u32(8)?, view.u32(12)?, view.u32(16)?);
    let unit = |index: u32| -> Option<u64> {
        let at = u64::from(list) + u64::from(index) * 16;
        (at < u64::from(types)).then(|| view.u64(at)).flatten()
    };
    let count = types.checked_sub(list)? / 16;
    let units: Vec<u64> = (0..count).map_while(unit).take(MAX_UNITS).collect();
    let mut ranges = Vec::new();
    let mut at = u64::from(area);
    while at + 20 <= u64::from(symbols) && ranges.len() < MAX_RANGES {
        let (start, end, index) = (view.u64(at)?, view.u64(at + 8)?, view.u32(at + 16)?);
        if let Some(unit) = unit(index)
            && start < end
            && start != 0
        {
            ranges.push(Range { start, end, reach: 0, unit });
        }
        at += 20;
    }
    (!ranges.is_empty()).then(|| Ranges::new(ranges, units))
}

/// Looks at the root entry of every unit that the tables do not know.
fn scan(dwarf: &Dwarf<'_>, known: &[u64]) -> Ranges {
    let mut ranges = Vec::new();
    let mut units = Vec::new();
    let known: BTreeSet<u64> = known.iter().copied().collect();
    let mut headers = dwarf.units();
    let mut abbreviations = OneAbbreviation::default();
    while let Ok(Some(header)) = headers.next() {
        let Some(place) = header.debug_info_offset() else { continue };
        let unit = place.0 as u64;
        units.push(unit);
        if units.len() >= MAX_UNITS || ranges.len() >= MAX_RANGES {
            break;
        }
        if known.contains(&unit) {
            continue;
        }
        let mut add = |start: u64, end: u64| {
            if start != 0 && !header.is_tombstone_address(start) {
                ranges.push(Range { start, end, reach: 0, unit });
            }
            false
        };
        let _ = abbreviations.root_pieces(dwarf, header, &mut add);
    }
    Ranges::new(ranges, units)
}

/// Abbreviations of root entries: a unit's table has hundreds, and its root entry needs one of them.
#[derive(Default)]
struct OneAbbreviation {
    bytes: Vec<u8>,
    /// The whole table that was read last, and where it stands.
    last: Option<(usize, Arc<gimli::Abbreviations>)>,
    /// Bytes of tables that were read whole.
    read: usize,
}

/// Bytes of whole tables that are read while units are looked through. Few units need theirs then; a file with a large table
/// that each of ten thousand units makes another one of would be read for minutes.
const MOST_READ: usize = 1 << 30;

impl OneAbbreviation {
    fn root_pieces(
        &mut self,
        dwarf: &Dwarf<'_>,
        header: UnitHeader<Slice<'_>>,
        add: &mut dyn FnMut(u64, u64) -> bool,
    ) -> gimli::Result<()> {
        let abbreviations = match self.first(dwarf, &header) {
            Some(first) => Arc::new(first),
            None => self.whole(dwarf, &header)?,
        };
        // The line program is not wanted, and may be long: the unit is made without it.
        let mut unit = bare_unit(dwarf, header, abbreviations);
        let mut extent = Extent::default();
        let abbreviations = Arc::clone(&unit.abbreviations);
        // Bases first: an address may be an index into what a later attribute says.
        for turn in 0..2 {
            let mut raw = unit.header.entries_raw(&abbreviations, None)?;
            let Some(root) = raw.read_abbreviation()? else { return Ok(()) };
            // Partial units and type units hold no code of their own.
            if !matches!(root.tag(), dw::DW_TAG_compile_unit | dw::DW_TAG_skeleton_unit) {
                return Ok(());
            }
            for spec in root.attributes() {
                let attribute = raw.read_attribute(*spec)?;
                let (name, value) = (attribute.name(), attribute.value());
                if turn == 0 {
                    set_base(&mut unit, name, value);
                } else {
                    extent.take(dwarf, &unit, name, value);
                }
            }
            if turn == 0
                && let Some(low) = low_pc(dwarf, &unit)?
            {
                unit.low_pc = low;
            }
        }
        extent.pieces(dwarf, &unit, add);
        Ok(())
    }

    fn whole(&mut self, dwarf: &Dwarf<'_>, header: &UnitHeader<Slice<'_>>) -> gimli::Result<Arc<gimli::Abbreviations>> {
        use gimli::{Reader, Section};
        let place = header.debug_abbrev_offset().0;
        if let Some((at, kept)) = &self.last
            && *at == place
        {
            return Ok(kept.clone());
        }
        // Where it ends is not known before it is read.
        self.read = self.read.saturating_add(dwarf.debug_abbrev.reader().len().saturating_sub(place));
        if self.read > MOST_READ {
            return Err(gimli::Error::MissingUnitDie);
        }
        let table = dwarf.abbreviations(header)?;
        self.last = Some((place, table.clone()));
        Ok(table)
    }

    /// The abbreviation that the root entry uses, if it is the first of its table, as it nearly always is.
    fn first(&mut self, dwarf: &Dwarf<'_>, header: &UnitHeader<Slice<'_>>) -> Option<gimli::Abbreviations> {
        use gimli::{Reader, Section};
        let mut table = *dwarf.debug_abbrev.reader();
        table.skip(header.debug_abbrev_offset().0).ok()?;
        let before = table;
        let mut entry = header.range_from(header.root_offset()..).ok()?;
        let code = entry.read_uleb128().ok()?;
        if code == 0 || table.read_uleb128().ok()? != code {
            return None;
        }
        table.read_uleb128().ok()?;
        table.read_u8().ok()?;
        loop {
            let (name, form) = (table.read_uleb128().ok()?, table.read_uleb128().ok()?);
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                table.read_sleb128().ok()?;
            }
            if name == 0 && form == 0 {
                break;
            }
        }
        let length = before.len().checked_sub(table.len())?;
        self.bytes.clear();
        self.bytes.extend_from_slice(before.slice().get(..length)?);
        self.bytes.push(0);
        DebugAbbrev::from(EndianSlice::new(&self.bytes, before.endian()))
            .abbreviations(gimli::DebugAbbrevOffset(0))
            .ok()
    }
}

fn low_pc(dwarf: &Dwarf<'_>, unit: &Unit<'_>) -> gimli::Result<Option<u64>> {
    let mut raw = unit.header.entries_raw(&unit.abbreviations, None)?;
    let Some(root) = raw.read_abbreviation()? else { return Ok(None) };
    for spec in root.attributes() {
        let attribute = raw.read_attribute(*spec)?;
        if attribute.name() == dw::DW_AT_low_pc {
            return dwarf.attr_address(unit, attribute.value());
        }
    }
    Ok(None)
}

/// A unit with default bases, whose root entry has not been read.
fn bare_unit<'a>(dwarf: &Dwarf<'a>, header: UnitHeader<Slice<'a>>, all: Arc<gimli::Abbreviations>) -> Unit<'a> {
    let encoding = header.encoding();
    gimli::Unit {
        abbreviations: all,
        name: None,
        comp_dir: None,
        low_pc: 0,
        str_offsets_base: gimli::DebugStrOffsetsBase::default_for_encoding_and_file(encoding, dwarf.file_type),
        addr_base: gimli::DebugAddrBase(0),
        loclists_base: gimli::DebugLocListsBase::default_for_encoding_and_file(encoding, dwarf.file_type),
        rnglists_base: gimli::DebugRngListsBase::default_for_encoding_and_file(encoding, dwarf.file_type),
        line_program: None,
        dwo_id: None,
        header,
    }
}

fn set_base<'a>(unit: &mut Unit<'a>, name: gimli::DwAt, value: super::Value<'a>) {
    use super::Value;
    match (name, value) {
        (dw::DW_AT_addr_base | dw::DW_AT_GNU_addr_base, Value::DebugAddrBase(base)) => unit.addr_base = base,
        (dw::DW_AT_rnglists_base | dw::DW_AT_GNU_ranges_base, Value::DebugRngListsBase(base)) => {
            unit.rnglists_base = base;
        }
        (dw::DW_AT_str_offsets_base, Value::DebugStrOffsetsBase(base)) => unit.str_offsets_base = base,
        _ => {}
    }
}

/// A unit for reading names only: its bases are set, its line program is left alone.
pub(super) fn light_unit<'a>(
    dwarf: &Dwarf<'a>,
    header: UnitHeader<Slice<'a>>,
    abbreviations: Arc<gimli::Abbreviations>,
) -> gimli::Result<Unit<'a>> {
    let mut unit = bare_unit(dwarf, header, abbreviations);
    let abbreviations = Arc::clone(&unit.abbreviations);
    let mut raw = unit.header.entries_raw(&abbreviations, None)?;
    if let Some(root) = raw.read_abbreviation()? {
        for spec in root.attributes() {
            let attribute = raw.read_attribute(*spec)?;
            set_base(&mut unit, attribute.name(), attribute.value());
        }
    }
    Ok(unit)
}
