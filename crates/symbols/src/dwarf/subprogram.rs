//! The function that holds an address, ready to be asked: its unit (a split one where the code's own is a skeleton), its
//! entry, and what expressions in it are worked out with.
//!
//! Not here: what is asked: variables in scope (`variables`), what a caller passed (`call_sites`).

use super::entries::{Entries, Entry, Home, Place};
use super::evaluate::Evaluator;
use super::functions::FunctionTable;
use super::scopes::ScopeTable;
use super::{Dwarf, DwarfFile};
use crate::variable::{Activation, Callee};
use gimli::constants as dw;
use std::rc::Rc;
use std::sync::OnceLock;

/// A function.
pub(super) struct Subprogram<'f, 's, 'a> {
    pub(super) code: &'f Dwarf<'a>,
    pub(super) entries: &'f Entries<'s, 'a>,
    /// Where its entry is.
    pub(super) place: &'f Place<'a>,
    pub(super) entry: &'f Entry<'a>,
    pub(super) evaluator: &'f Evaluator<'f, 'a>,
    /// The scopes of its unit, read once.
    pub(super) scopes: &'f OnceLock<ScopeTable>,
}

impl DwarfFile {
    /// Asks the function at an address of this frame; `None` if no unit has one there. `scan`: units that no table of
    /// addresses names are looked through, too.
    pub(super) fn ask_subprogram<R>(
        &self,
        at: u64,
        frame: &dyn Activation,
        scan: bool,
        ask: impl FnOnce(&Subprogram<'_, '_, '_>) -> R,
    ) -> Option<R> {
        let dwarf = self.view(true);
        let relocatable = self.object.file_type() == crate::elf::ET_REL;
        for offset in self.index.candidates(&self.object, &dwarf, at, scan) {
            let Ok(unit) = self.unit(&dwarf, offset) else { continue };
            let cache = self.cache(offset);
            let split = self.split_unit(&dwarf, &unit);
            let with_split = split.as_ref().and_then(|split| split.open(self, &dwarf, &unit));
            let is_split = with_split.is_some();
            let (code, unit) = match with_split {
                Some((code, unit)) => (code, unit),
                None => (self.view(true), unit),
            };
            let functions = cache.functions.get_or_init(|| FunctionTable::read(&code, &unit, relocatable));
            let Some((start, _, die)) = functions.find(at) else { continue };
            let entries = Entries::new(self, &dwarf, &code, is_split);
            let place = Place { home: Home::Code, unit: Rc::new(unit), die };
            let Some(entry) = entries.read(&place) else { continue };
            let callee = Callee {
                name: entries.name(&place, &entry),
                start: entries.start(&place, &entry).unwrap_or(start).wrapping_add(frame.bias()),
            };
            let evaluator = Evaluator {
                dwarf: &code,
                unit: &place.unit,
                at,
                frame,
                frame_base: entry.get(dw::DW_AT_frame_base),
                callee: &callee,
            };
            return Some(ask(&Subprogram {
                code: &code,
                entries: &entries,
                place: &place,
                entry: &entry,
                evaluator: &evaluator,
                scopes: &cache.scopes,
            }));
        }
        None
    }
}
