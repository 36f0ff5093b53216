//! The namespaces and classes around an entry.
//!
//! Not here: how names are put together (`names`).
//!
//! Example: `struct entry` at 0x80, inside `class table` from 0x40 to 0xc0, inside `namespace net` from 0x20 on, is
//! `net::table::entry`.
//!
//! Trap: entries do not say what they stand in. Finding out means going through all that stand before; so it is done once
//! a unit, for all of them.

use super::Unit;
use gimli::constants as dw;

/// Scopes of one unit.
const MAX_SCOPES: usize = 1 << 20;
/// Scopes within each other.
const MAX_DEPTH: usize = 256;
/// The index of a parent that there is not.
const NONE: u32 = u32::MAX;

/// One scope: from its entry to the end of its children, and the scope around it.
#[derive(Debug, Clone, Copy)]
struct Scope {
    start: usize,
    end: usize,
    parent: u32,
}

/// All scopes of a unit, by their places.
#[derive(Debug, Default)]
pub(super) struct ScopeTable {
    scopes: Vec<Scope>,
}

/// Whether names inside such an entry begin with its name.
pub(super) fn is_scope(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_namespace
            | dw::DW_TAG_module
            | dw::DW_TAG_class_type
            | dw::DW_TAG_structure_type
            | dw::DW_TAG_union_type
            | dw::DW_TAG_enumeration_type
            | dw::DW_TAG_interface_type
    )
}

impl ScopeTable {
    /// Goes through a unit. A break gives what stands before it.
    pub(super) fn read(unit: &Unit<'_>) -> Self {
        let mut table = Self::default();
        let _ = table.fill(unit);
        table.scopes.shrink_to_fit();
        table
    }

    fn fill(&mut self, unit: &Unit<'_>) -> gimli::Result<()> {
        let mut raw = unit.entries_raw(None)?;
        // Scopes that are open, with the depth of their entries.
        let mut open: Vec<(isize, u32)> = Vec::new();
        while !raw.is_empty() && self.scopes.len() < MAX_SCOPES {
            let (place, depth) = (raw.next_offset().0, raw.next_depth());
            while let Some((_, index)) = open.last().copied().filter(|(own, _)| depth <= *own) {
                if let Some(scope) = self.scopes.get_mut(index as usize) {
                    scope.end = place;
                }
                open.pop();
            }
            let Some(abbreviation) = raw.read_abbreviation()? else { continue };
            raw.skip_attributes(abbreviation.attributes())?;
            if abbreviation.has_children() && is_scope(abbreviation.tag()) && open.len() < MAX_DEPTH {
                let parent = open.last().map_or(NONE, |(_, index)| *index);
                open.push((depth, self.scopes.len() as u32));
                self.scopes.push(Scope { start: place, end: usize::MAX, parent });
            }
        }
        Ok(())
    }

    /// The scopes around an entry, outermost first, as places of their entries.
    pub(super) fn around(&self, die: usize) -> Vec<usize> {
        let after = self.scopes.partition_point(|scope| scope.start < die);
        let mut index = after.checked_sub(1);
        let mut out = Vec::new();
        // A parent stands before its children, so this has an end.
        while let Some(scope) = index.and_then(|index| self.scopes.get(index)) {
            if die < scope.end {
                out.push(scope.start);
            }
            index = (scope.parent != NONE).then_some(scope.parent as usize);
        }
        out.reverse();
        out
    }
}
