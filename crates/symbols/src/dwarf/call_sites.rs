//! What a caller passed: places of calls tell it, where the called function has lost its own copy.
//!
//! Not here: working expressions out (`evaluate`).
//!
//! Example: `DW_TAG_call_site` at the return address has `DW_OP_reg5` (rdi) with `DW_OP_breg3 8`: at the call rdi was
//! rbx + 8, and rbx is one of the registers that the called function gave back.
//!
//! Trap: a tail call leaves no frame. Where the place of call names another function than the one that was entered, its
//! values were passed to that one.

use super::entries::{Entries, Entry, Place, attributes};
use super::evaluate::Evaluator;
use super::{DwarfFile, Value};
use crate::variable::{Activation, Callee};
use gimli::{Expression, Operation, constants as dw};

impl DwarfFile {
    /// The value that `register` had at the call that returns to `back` (the module's own address), if it was one of
    /// `callee`. `frame` is the caller's.
    pub(crate) fn entry_value(&self, back: u64, register: u16, callee: &Callee, frame: &dyn Activation) -> Option<u64> {
        let at = back.checked_sub(1)?;
        self.ask_subprogram(at, frame, false, |own| {
            let site = find(own.entries, own.place, back)?;
            value(own.entries, own.place, &site, register, callee, own.evaluator)
        })?
    }
}

/// The place of call in a function that returns to an address: the attributes that matter, and the parameters.
struct Site<'a> {
    entry: Entry<'a>,
    parameters: Vec<Entry<'a>>,
}

fn find<'a>(entries: &Entries<'_, 'a>, root: &Place<'a>, back: u64) -> Option<Site<'a>> {
    let dwarf = entries.dwarf(root.home)?;
    let mut raw = root.unit.entries_raw(Some(root.die)).ok()?;
    let first = raw.read_abbreviation().ok()??;
    raw.skip_attributes(first.attributes()).ok()?;
    let base = raw.next_depth();
    let mut found: Option<(isize, Site<'a>)> = None;
    while first.has_children() && !raw.is_empty() {
        entries.pay()?;
        let depth = raw.next_depth();
        if depth < base || found.as_ref().is_some_and(|(own, _)| depth <= *own) {
            break;
        }
        let Some(abbreviation) = raw.read_abbreviation().ok()? else { continue };
        let parameter =
            matches!(abbreviation.tag(), dw::DW_TAG_call_site_parameter | dw::DW_TAG_GNU_call_site_parameter);
        match abbreviation.tag() {
            _ if parameter && found.is_some() => {
                let entry = attributes(&mut raw, abbreviation)?;
                if let Some((_, site)) = &mut found {
                    site.parameters.push(entry);
                }
            }
            dw::DW_TAG_call_site | dw::DW_TAG_GNU_call_site => {
                let entry = attributes(&mut raw, abbreviation)?;
                let returns = entry.get(dw::DW_AT_call_return_pc).or_else(|| entry.get(dw::DW_AT_low_pc));
                let returns = returns.and_then(|value| dwarf.attr_address(&root.unit, value).ok().flatten());
                // A tail call returns elsewhere.
                let tail = entry.flag(dw::DW_AT_call_tail_call) || entry.flag(dw::DW_AT_GNU_tail_call);
                if returns == Some(back) && !tail {
                    if !entry.has_children {
                        return Some(Site { entry, parameters: Vec::new() });
                    }
                    found = Some((depth, Site { entry, parameters: Vec::new() }));
                }
            }
            _ => raw.skip_attributes(abbreviation.attributes()).ok()?,
        }
    }
    found.map(|(_, site)| site)
}

fn value<'a>(
    entries: &Entries<'_, 'a>,
    root: &Place<'a>,
    site: &Site<'a>,
    register: u16,
    callee: &Callee,
    evaluator: &Evaluator<'_, 'a>,
) -> Option<u64> {
    let origin = site.entry.get(dw::DW_AT_call_origin).or_else(|| site.entry.get(dw::DW_AT_abstract_origin));
    let target = site.entry.get(dw::DW_AT_call_target).or_else(|| site.entry.get(dw::DW_AT_GNU_call_site_target));
    let same = match (origin, target) {
        (Some(origin), _) => {
            let place = entries.follow(root, origin)?;
            let entry = entries.read(&place)?;
            callee.name.is_some() && entries.name(&place, &entry) == callee.name
        }
        (None, Some(target)) => evaluator.number(target).ok() == Some(callee.start),
        (None, None) => false,
    };
    if !same {
        return None;
    }
    let is_asked = |entry: &&Entry<'a>| match entry.get(dw::DW_AT_location) {
        Some(Value::Exprloc(expression)) => only_register(expression, root) == Some(register),
        _ => false,
    };
    let parameter = site.parameters.iter().find(is_asked)?;
    let passed = parameter.get(dw::DW_AT_call_value).or_else(|| parameter.get(dw::DW_AT_GNU_call_site_value))?;
    evaluator.number(passed).ok()
}

fn only_register(expression: Expression<super::Slice<'_>>, root: &Place<'_>) -> Option<u16> {
    let mut operations = expression.operations(root.unit.encoding());
    match (operations.next(), operations.next()) {
        (Ok(Some(Operation::Register { register })), Ok(None)) => Some(register.0),
        _ => None,
    }
}
