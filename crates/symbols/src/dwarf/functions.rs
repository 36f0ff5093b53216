//! The functions of one unit, and the calls inlined at an address of one function.
//!
//! Not here: their names (`names`).
//!
//! Example: a unit's entries are gone through once for `(start, end, entry)` of every function with code; the entries
//! below one function are gone through at each lookup, since they are few.
//!
//! Trap: a function may lie in several pieces (DW_AT_ranges: hot and cold), and its entry may stand deep inside
//! namespaces, classes or other functions.

use super::{Dwarf, Unit, Value};
use gimli::{AttributeSpecification, EntriesRaw, UnitOffset, constants as dw};

/// Every function with code of a unit.
#[derive(Debug, Default)]
pub(super) struct FunctionTable {
    /// Start, end, entry.
    ranges: Vec<(u64, u64, usize)>,
}

/// Functions of one unit.
const MAX_FUNCTIONS: usize = 2_000_000;
/// Pieces of one function.
const MAX_PIECES: usize = 4096;
/// Calls inlined into each other.
const MAX_INLINED: usize = 512;

/// The attributes that say where code lies.
#[derive(Default, Clone, Copy)]
pub(super) struct Extent<'a> {
    low: Option<u64>,
    high: Option<u64>,
    size: Option<u64>,
    ranges: Option<Value<'a>>,
}

impl<'a> Extent<'a> {
    /// Takes in one attribute.
    pub(super) fn take(&mut self, dwarf: &Dwarf<'a>, unit: &Unit<'a>, name: gimli::DwAt, value: Value<'a>) {
        match name {
            dw::DW_AT_low_pc => self.low = dwarf.attr_address(unit, value).ok().flatten(),
            dw::DW_AT_high_pc => match value.udata_value() {
                Some(size) => self.size = Some(size),
                None => self.high = dwarf.attr_address(unit, value).ok().flatten(),
            },
            dw::DW_AT_ranges => self.ranges = Some(value),
            _ => {}
        }
    }

    /// Calls `each` with every piece, until it says stop (true).
    pub(super) fn pieces(&self, dwarf: &Dwarf<'a>, unit: &Unit<'a>, mut each: impl FnMut(u64, u64) -> bool) {
        if let Some(ranges) = self.ranges {
            let Ok(Some(mut ranges)) = dwarf.attr_ranges(unit, ranges) else { return };
            let mut count = 0;
            while let Ok(Some(range)) = ranges.next() {
                count += 1;
                if count > MAX_PIECES || (range.begin < range.end && each(range.begin, range.end)) {
                    return;
                }
            }
            return;
        }
        let Some(low) = self.low else { return };
        let end = self.high.or_else(|| self.size.and_then(|size| low.checked_add(size)));
        if let Some(end) = end.filter(|end| *end > low) {
            each(low, end);
        }
    }

    /// The piece that covers an address.
    fn covering(&self, dwarf: &Dwarf<'a>, unit: &Unit<'a>, at: u64) -> Option<(u64, u64)> {
        let mut found = None;
        self.pieces(dwarf, unit, |start, end| {
            if (start..end).contains(&at) {
                found = Some((start, end));
            }
            found.is_some()
        });
        found
    }
}

fn has_code(specs: &[AttributeSpecification]) -> bool {
    specs.iter().any(|spec| matches!(spec.name(), dw::DW_AT_low_pc | dw::DW_AT_ranges))
}

fn sibling_of(specs: &[AttributeSpecification]) -> bool {
    specs.iter().any(|spec| spec.name() == dw::DW_AT_sibling)
}

impl FunctionTable {
    /// Goes through all entries of a unit.
    pub(super) fn read<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>, relocatable: bool) -> FunctionTable {
        let mut table = FunctionTable::default();
        let Ok(mut raw) = unit.entries_raw(None) else { return table };
        // A break gives what stands before it.
        let _ = table.fill(dwarf, unit, &mut raw, relocatable);
        table.ranges.sort_unstable();
        table.ranges.shrink_to_fit();
        table
    }

    fn fill<'a, 'u>(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &'u Unit<'a>,
        raw: &mut EntriesRaw<'u, super::Slice<'a>>,
        relocatable: bool,
    ) -> gimli::Result<()> {
        // Each reader counts its depth from 0; this is what the present one began at.
        let mut shift = 0;
        // The depth of the function that the entries now stand in.
        let mut inside: Option<isize> = None;
        while !raw.is_empty() && self.ranges.len() < MAX_FUNCTIONS {
            let (die, depth) = (raw.next_offset(), raw.next_depth() + shift);
            inside = inside.filter(|function| depth > *function);
            let Some(abbreviation) = raw.read_abbreviation()? else { continue };
            let specs = abbreviation.attributes();
            if abbreviation.tag() == dw::DW_TAG_subprogram && abbreviation.has_children() {
                inside = inside.or(Some(depth));
            }
            match abbreviation.tag() {
                dw::DW_TAG_subprogram if has_code(specs) => {
                    let mut extent = Extent::default();
                    for spec in specs {
                        let attribute = raw.read_attribute(*spec)?;
                        extent.take(dwarf, unit, attribute.name(), attribute.value());
                    }
                    extent.pieces(dwarf, unit, |start, end| {
                        // What the linker dropped stays behind at 0, or at the tombstone -1.
                        if (start != 0 || relocatable) && !unit.header.is_tombstone_address(start) {
                            self.ranges.push((start, end, die.0));
                        }
                        false
                    });
                }
                // Types hold no code, except those inside functions (gcc puts the methods of local classes there);
                // where the producer says how to step over one, it is stepped over.
                dw::DW_TAG_structure_type
                | dw::DW_TAG_class_type
                | dw::DW_TAG_union_type
                | dw::DW_TAG_enumeration_type
                    if inside.is_none() && abbreviation.has_children() && sibling_of(specs) =>
                {
                    let mut next = None;
                    for spec in specs {
                        let attribute = raw.read_attribute(*spec)?;
                        if let (dw::DW_AT_sibling, Value::UnitRef(offset)) = (attribute.name(), attribute.value()) {
                            next = Some(offset);
                        }
                    }
                    if let Some(offset) = next.filter(|offset| offset.0 > raw.next_offset().0) {
                        *raw = unit.entries_raw(Some(offset))?;
                        shift = depth;
                    }
                }
                _ => raw.skip_attributes(specs)?,
            }
        }
        Ok(())
    }

    /// The function that covers an address: start and end of its piece, and its entry.
    pub(super) fn find(&self, at: u64) -> Option<(u64, u64, UnitOffset)> {
        let after = self.ranges.partition_point(|(start, ..)| *start <= at);
        let nearest = self.ranges.get(..after)?.iter().rev().take(16);
        let mut nearest = nearest.filter(|(_, end, _)| at < *end);
        nearest.next().map(|(start, end, die)| (*start, *end, UnitOffset(*die)))
    }
}

/// One inlined call.
#[derive(Debug, Clone, Copy)]
pub(super) struct InlinedCall {
    pub(super) die: UnitOffset,
    /// Where the call stood.
    pub(super) file: Option<u64>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
    depth: isize,
}

/// The calls inlined at an address of a function, outermost first.
pub(super) fn inlined_at<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>, function: UnitOffset, at: u64) -> Vec<InlinedCall> {
    let mut chain: Vec<InlinedCall> = Vec::new();
    let _ = walk(dwarf, unit, function, at, &mut chain);
    chain
}

fn walk<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    function: UnitOffset,
    at: u64,
    chain: &mut Vec<InlinedCall>,
) -> gimli::Result<()> {
    let mut raw = unit.entries_raw(Some(function))?;
    let Some(root) = raw.read_abbreviation()? else { return Ok(()) };
    raw.skip_attributes(root.attributes())?;
    if !root.has_children() {
        return Ok(());
    }
    let base = raw.next_depth();
    // Each reader counts its depth from 0; this is what the present one began at.
    let mut shift = 0;
    while !raw.is_empty() {
        let (die, depth) = (raw.next_offset(), raw.next_depth() + shift);
        // Behind the function, or behind the innermost call that was found: nothing more can be inside.
        if depth < base || chain.last().is_some_and(|last| depth <= last.depth) {
            break;
        }
        let Some(abbreviation) = raw.read_abbreviation()? else { continue };
        let specs = abbreviation.attributes();
        let with_sibling = abbreviation.has_children() && sibling_of(specs);
        if abbreviation.tag() != dw::DW_TAG_inlined_subroutine {
            raw.skip_attributes(specs)?;
            continue;
        }
        let mut extent = Extent::default();
        let mut call = InlinedCall { die, file: None, line: None, column: None, depth };
        let mut sibling = None;
        for spec in specs {
            let attribute = raw.read_attribute(*spec)?;
            let value = attribute.value();
            let number = |value: Value<'a>| value.udata_value().and_then(|number| u32::try_from(number).ok());
            match attribute.name() {
                dw::DW_AT_call_file => {
                    call.file = match value {
                        Value::FileIndex(index) => Some(index),
                        other => other.udata_value(),
                    }
                }
                dw::DW_AT_call_line => call.line = number(value),
                dw::DW_AT_call_column => call.column = number(value),
                dw::DW_AT_sibling => {
                    if let Value::UnitRef(offset) = value {
                        sibling = Some(offset);
                    }
                }
                name => extent.take(dwarf, unit, name, value),
            }
        }
        if extent.covering(dwarf, unit, at).is_some() {
            chain.push(call);
            if chain.len() >= MAX_INLINED || !abbreviation.has_children() {
                break;
            }
        } else if let Some(offset) = sibling.filter(|offset| with_sibling && offset.0 > raw.next_offset().0) {
            raw = unit.entries_raw(Some(offset))?;
            shift = depth;
        }
    }
    Ok(())
}
