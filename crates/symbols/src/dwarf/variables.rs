//! Parameters and locals at an address: those of the function, and of the calls inlined there.
//!
//! Not here: their types (`types`), and where their values are (`evaluate`).
//!
//! Example: at an address inside `{ int a; { int b; } }` both are in scope, and after the inner block only `a`.
//!
//! Trap: an inlined call lists only what it has a place for; what it lost stands in the function that it was made from,
//! and is a variable all the same.

use super::entries::{Entries, Entry, Home, Place, attributes};
use super::evaluate::Evaluator;
use super::functions::Extent;
use super::scopes::ScopeTable;
use super::types::Types;
use super::{Dwarf, DwarfFile, Unit, Value, names};
use crate::variable::{Activation, Content, Missing, NoVariables, Type, Variable, VariableKind};
use gimli::{UnitOffset, constants as dw};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::OnceLock;

/// Variables of one frame.
const MAX_VARIABLES: usize = 1024;
/// Blocks and inlined calls within each other.
const MAX_SCOPES_DEEP: usize = 512;

/// A function, a block or an inlined call that holds the address.
struct Scope<'a> {
    /// Depth of its entry.
    depth: isize,
    /// How many inlined calls it is in, itself among them.
    inlined: usize,
    /// What it was made from.
    origin: Option<Place<'a>>,
    variables: Vec<(UnitOffset, Entry<'a>)>,
}

impl DwarfFile {
    /// The variables at an address of this frame, those of the innermost block of the innermost function first.
    pub(crate) fn variables(&self, at: u64, frame: &dyn Activation) -> Result<Vec<Variable>, NoVariables> {
        let answer = self.ask_subprogram(at, frame, true, |own| {
            let question =
                Question { entries: own.entries, evaluator: own.evaluator, root: own.place, root_scopes: own.scopes };
            question.answer(own.code, own.entry, at)
        });
        answer.ok_or(NoVariables::NotCovered)
    }
}

struct Question<'q, 's, 'a> {
    entries: &'q Entries<'s, 'a>,
    evaluator: &'q Evaluator<'q, 'a>,
    root: &'q Place<'a>,
    root_scopes: &'q OnceLock<ScopeTable>,
}

impl<'a> Question<'_, '_, 'a> {
    fn answer(&self, code: &Dwarf<'a>, function: &Entry<'a>, at: u64) -> Vec<Variable> {
        let mut scopes = Vec::new();
        // A break gives what stands before it.
        let _ = self.scopes(code, function, at, &mut scopes);
        let innermost = scopes.iter().map(|scope| scope.inlined).max().unwrap_or(0);
        let bound = |place: &Place<'a>, value: Value<'a>| self.bound(place, value);
        let types = Types {
            entries: self.entries,
            keywords: !names::has_namespaces(&self.root.unit),
            bound: &bound,
            address_size: u64::from(self.root.unit.encoding().address_size),
            root: self.root,
            root_scopes: self.root_scopes,
            other_scopes: RefCell::default(),
        };
        let mut out: Vec<Variable> = Vec::new();
        // A variable of a block is not lost because the block around it does not have it.
        let all = scopes.iter().flat_map(|scope| &scope.variables);
        let known =
            all.filter_map(|(die, entry)| self.entries.origin(&Place { die: *die, ..self.root.clone() }, entry));
        let known: HashSet<_> = known.map(|origin| origin.key()).collect();
        for scope in scopes.iter().rev() {
            let level = innermost - scope.inlined;
            for (place, entry) in self.with_lost(scope, &known) {
                if out.len() >= MAX_VARIABLES {
                    return out;
                }
                out.extend(self.variable(&types, &place, &entry, level));
            }
        }
        // Within a function its parameters come first, however deep the others are.
        out.sort_by_key(|variable| (variable.level, variable.kind == VariableKind::Local));
        out
    }

    /// The scopes that hold the address, outermost first.
    fn scopes(&self, code: &Dwarf<'a>, function: &Entry<'a>, at: u64, scopes: &mut Vec<Scope<'a>>) -> Option<()> {
        let unit: &Unit<'a> = &self.root.unit;
        let mut raw = unit.entries_raw(Some(self.root.die)).ok()?;
        let first = raw.read_abbreviation().ok()??;
        raw.skip_attributes(first.attributes()).ok()?;
        let base = raw.next_depth();
        let origin = self.entries.origin(self.root, function);
        scopes.push(Scope { depth: base - 1, inlined: 0, origin, variables: Vec::new() });
        if !first.has_children() {
            return Some(());
        }
        // Those that are open at the entry: the last ones of the list, since a scope that was left holds the address too
        // only where ranges overlap.
        let mut open = vec![0usize];
        let mut shift = 0;
        let mut count = 0;
        while !raw.is_empty() {
            self.entries.pay()?;
            let (die, depth) = (raw.next_offset(), raw.next_depth() + shift);
            if depth < base {
                break;
            }
            let Some(abbreviation) = raw.read_abbreviation().ok()? else { continue };
            while open.len() > 1
                && open.last().and_then(|index| scopes.get(*index)).is_some_and(|scope| depth <= scope.depth)
            {
                open.pop();
            }
            let holder = open.last().copied()?;
            // What is deeper is in something that is no scope of this address.
            let direct = scopes.get(holder).is_some_and(|scope| depth == scope.depth + 1);
            if !direct {
                raw.skip_attributes(abbreviation.attributes()).ok()?;
                continue;
            }
            match abbreviation.tag() {
                dw::DW_TAG_formal_parameter | dw::DW_TAG_variable => {
                    let entry = attributes(&mut raw, abbreviation)?;
                    count += 1;
                    if let Some(scope) = scopes.get_mut(holder).filter(|_| count <= MAX_VARIABLES) {
                        scope.variables.push((die, entry));
                    }
                }
                tag @ (dw::DW_TAG_lexical_block | dw::DW_TAG_inlined_subroutine) => {
                    let entry = attributes(&mut raw, abbreviation)?;
                    let call = tag == dw::DW_TAG_inlined_subroutine;
                    // A call without variables is a function at the address all the same.
                    let counts = entry.has_children || call;
                    if counts && scopes.len() < MAX_SCOPES_DEEP && self.holds(code, &entry, call, at) {
                        let inlined = scopes.get(holder).map_or(0, |scope| scope.inlined) + usize::from(call);
                        let place = Place { die, ..self.root.clone() };
                        let origin = self.entries.origin(&place, &entry);
                        open.push(scopes.len());
                        scopes.push(Scope { depth, inlined, origin, variables: Vec::new() });
                    } else if let Some(Value::UnitRef(next)) = entry.get(dw::DW_AT_sibling)
                        && entry.has_children
                        && next.0 > raw.next_offset().0
                    {
                        raw = unit.entries_raw(Some(next)).ok()?;
                        shift = depth;
                    }
                }
                _ => raw.skip_attributes(abbreviation.attributes()).ok()?,
            }
        }
        Some(())
    }

    fn holds(&self, code: &Dwarf<'a>, entry: &Entry<'a>, call: bool, at: u64) -> bool {
        let mut extent = Extent::default();
        for (name, value) in &entry.attributes {
            extent.take(code, &self.root.unit, *name, *value);
        }
        let (mut any, mut holds) = (false, false);
        extent.pieces(code, &self.root.unit, |start, end| {
            any = true;
            holds = (start..end).contains(&at);
            holds
        });
        // A block that says nothing of its place is as large as the one around it.
        holds || !any && !call && entry.get(dw::DW_AT_ranges).is_none()
    }

    /// The variables of a scope, and those that only the function it was made from has.
    fn with_lost(&self, scope: &Scope<'a>, known: &HashSet<(Home, usize, usize)>) -> Vec<(Place<'a>, Entry<'a>)> {
        let mut out = Vec::new();
        for (die, entry) in &scope.variables {
            let place = Place { die: *die, ..self.root.clone() };
            let attributes = entry.attributes.clone();
            out.push((place, Entry { tag: entry.tag, has_children: entry.has_children, attributes }));
        }
        let Some(origin) = &scope.origin else { return out };
        let (children, _) = self.entries.children(origin, MAX_VARIABLES);
        for (die, entry) in children {
            let place = Place { die, ..origin.clone() };
            let is_variable = matches!(entry.tag, dw::DW_TAG_formal_parameter | dw::DW_TAG_variable);
            if is_variable && !known.contains(&place.key()) {
                out.push((place, entry));
            }
        }
        out
    }

    fn variable(
        &self,
        types: &Types<'_, '_, 'a>,
        place: &Place<'a>,
        entry: &Entry<'a>,
        level: usize,
    ) -> Option<Variable> {
        // `extern int x;` inside a function is another unit's.
        if entry.flag(dw::DW_AT_declaration) {
            return None;
        }
        let name = self.entries.name(place, entry)?;
        let declared = types.of(place, entry);
        let kind = match entry.tag {
            dw::DW_TAG_formal_parameter => VariableKind::Parameter,
            _ => VariableKind::Local,
        };
        let content = self.content(place, entry, &declared);
        Some(Variable { name, kind, level, declared, content })
    }

    fn content(&self, place: &Place<'a>, entry: &Entry<'a>, declared: &Type) -> Result<Content, Missing> {
        if let Some(value) = entry.get(dw::DW_AT_location) {
            return self.evaluator.content(value, declared.size);
        }
        if let Some((at, value)) = self.entries.inherited(place, entry, dw::DW_AT_const_value) {
            return self.constant(&at, value, declared);
        }
        // A static variable of an inlined function stands with its place where the function was written.
        match self.entries.inherited(place, entry, dw::DW_AT_location) {
            Some((at, value)) if at.home == self.root.home && Rc::ptr_eq(&at.unit, &self.root.unit) => {
                self.evaluator.content(value, declared.size)
            }
            _ => Err(Missing::OptimizedOut),
        }
    }

    /// A value that stands in the debug information itself.
    fn constant(&self, at: &Place<'a>, value: Value<'a>, declared: &Type) -> Result<Content, Missing> {
        const LONGEST: u64 = 4096;
        let size = declared.size.unwrap_or(8).min(LONGEST) as usize;
        let mut fill = 0;
        let mut bytes = match value {
            Value::Block(block) => block.slice().iter().copied().take(size).collect(),
            Value::String(_) | Value::DebugStrRef(_) | Value::DebugStrOffsetsIndex(_) | Value::DebugLineStrRef(_) => {
                self.entries.text(at, value).unwrap_or_default().into_bytes()
            }
            value => {
                // A form of fixed length has no sign: gcc writes 154 as one byte, and -1 in the form with a sign.
                let number = match value {
                    Value::Sdata(number) => {
                        fill = if number < 0 { 0xff } else { 0 };
                        Some(number as u64)
                    }
                    value => value.udata_value(),
                };
                let number = number.ok_or_else(|| Missing::Unsupported("a form of constant".into()))?;
                self.evaluator.low_bytes(number, size)
            }
        };
        bytes.resize(size, fill);
        Ok(Content::Bytes(crate::variable::Pieces { bytes, gaps: Vec::new() }))
    }

    /// A bound that stands in a variable of its own, or is an expression.
    fn bound(&self, place: &Place<'a>, value: Value<'a>) -> Option<u64> {
        // Expressions count in their own unit.
        let here = |place: &Place<'a>| place.home == self.root.home && Rc::ptr_eq(&place.unit, &self.root.unit);
        if let Value::Exprloc(_) = value {
            return self.evaluator.number(value).ok().filter(|_| here(place));
        }
        let place = self.entries.follow(place, value).filter(here)?;
        let entry = self.entries.read(&place)?;
        match self.evaluator.content(entry.get(dw::DW_AT_location)?, Some(8)).ok()? {
            Content::Memory(address) => self.evaluator.frame.read(address, 8),
            Content::Bytes(pieces) if pieces.gaps.is_empty() => {
                Some(pieces.bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
            }
            _ => None,
        }
    }
}
