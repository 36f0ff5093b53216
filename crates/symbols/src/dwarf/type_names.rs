//! Names of types as C writes them: the declarator stands around the name that it declares.
//!
//! Not here: what is in a type (`types`).
//!
//! Example: a pointer to a function that takes an `int` and gives a pointer to `char` is `char *(*)(int)`.
//!
//! Trap: typedefs may go in circles, and a function's parameters may have its own type; names have a longest length and a
//! most of steps.

use super::entries::{Entry, Place};
use super::scopes::ScopeTable;
use super::types::{MAX_STEPS, Types};
use super::{Value, names};
use gimli::constants as dw;
use std::rc::Rc;

/// Bytes of a name.
const LONGEST: usize = 512;
/// Parameters of a function type that are written out.
const MAX_PARAMETERS: usize = 16;
/// Functions within functions' parameters.
const MAX_NESTED: usize = 3;

impl<'a> Types<'_, '_, 'a> {
    /// The name of the type at a place.
    pub(super) fn name(&self, at: &Place<'a>) -> String {
        let mut name = self.declare(Some(at.clone()), String::new(), MAX_NESTED);
        if name.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
            name.truncate(end);
            name.push('…');
        }
        name
    }

    /// The type that an entry names, or `None` for `void`; the outer `None` where it cannot be followed.
    fn next(&self, place: &Place<'a>, entry: &Entry<'a>) -> Option<Option<Place<'a>>> {
        match entry.get(dw::DW_AT_type) {
            None => Some(None),
            Some(value) => self.entries.follow(place, value).map(Some),
        }
    }

    /// Whether the declarator of a type stands behind the name, so that a `*` before the name needs parentheses.
    fn stands_behind(&self, at: Option<&Place<'a>>) -> bool {
        let mut place = at.cloned();
        for _ in 0..MAX_STEPS {
            let Some(own) = place else { return false };
            let Some(entry) = self.entries.read(&own) else { return false };
            match entry.tag {
                dw::DW_TAG_array_type | dw::DW_TAG_subroutine_type => return true,
                dw::DW_TAG_const_type
                | dw::DW_TAG_volatile_type
                | dw::DW_TAG_restrict_type
                | dw::DW_TAG_atomic_type => {
                    place = self.next(&own, &entry).flatten();
                }
                _ => return false,
            }
        }
        false
    }

    fn declare(&self, at: Option<Place<'a>>, inner: String, nested: usize) -> String {
        let mut at = at;
        let mut inner = inner;
        let mut qualifiers = String::new();
        for _ in 0..MAX_STEPS {
            if inner.len() > LONGEST {
                break;
            }
            let Some(place) = at else { return join(&format!("{qualifiers}void"), &inner) };
            let Some(entry) = self.entries.read(&place) else { break };
            let Some(next) = self.next(&place, &entry) else { break };
            let sign = match entry.tag {
                dw::DW_TAG_pointer_type => "*",
                dw::DW_TAG_reference_type => "&",
                dw::DW_TAG_rvalue_reference_type => "&&",
                _ => "",
            };
            match entry.tag {
                dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type
                    if !self.is_named_pointer(&place, &entry) =>
                {
                    // Qualifiers of the pointer itself stand behind its sign.
                    let own = qualifiers.trim_end();
                    let gap =
                        if own.is_empty() || inner.is_empty() || inner.starts_with([')', '[', '(']) { "" } else { " " };
                    inner = format!("{sign}{own}{gap}{inner}");
                    qualifiers.clear();
                    if self.stands_behind(next.as_ref()) {
                        inner = format!("({inner})");
                    }
                    at = next;
                }
                dw::DW_TAG_const_type => (qualifiers, at) = (with(qualifiers, "const "), next),
                dw::DW_TAG_volatile_type => (qualifiers, at) = (with(qualifiers, "volatile "), next),
                dw::DW_TAG_restrict_type => (qualifiers, at) = (with(qualifiers, "restrict "), next),
                dw::DW_TAG_atomic_type => (qualifiers, at) = (with(qualifiers, "_Atomic "), next),
                dw::DW_TAG_array_type => {
                    for count in self.counts(&place) {
                        match count {
                            Some(count) => inner.push_str(&format!("[{count}]")),
                            None => inner.push_str("[]"),
                        }
                    }
                    at = next;
                }
                dw::DW_TAG_subroutine_type => {
                    inner = format!("{inner}({})", self.parameters(&place, &entry, nested));
                    at = next;
                }
                _ => return join(&format!("{qualifiers}{}", self.simple(&place, &entry)), &inner),
            }
        }
        join(&format!("{qualifiers}?"), &inner)
    }

    /// Rust's references and pointers have names of their own.
    fn is_named_pointer(&self, _place: &Place<'a>, entry: &Entry<'a>) -> bool {
        entry.get(dw::DW_AT_name).is_some()
    }

    fn parameters(&self, place: &Place<'a>, entry: &Entry<'a>, nested: usize) -> String {
        let Some(nested) = nested.checked_sub(1) else { return "…".into() };
        let (children, cut) = self.entries.children(place, MAX_PARAMETERS);
        let mut out = Vec::new();
        for (die, child) in &children {
            let own = Place { die: *die, ..place.clone() };
            match child.tag {
                dw::DW_TAG_formal_parameter => {
                    out.push(
                        self.next(&own, child).map_or("?".into(), |next| self.declare(next, String::new(), nested)),
                    );
                }
                dw::DW_TAG_unspecified_parameters => out.push("...".into()),
                _ => {}
            }
        }
        if cut {
            out.push("…".into());
        }
        if out.is_empty() && entry.flag(dw::DW_AT_prototyped) {
            out.push("void".into());
        }
        out.join(", ")
    }

    /// A name with the namespaces and classes around it.
    fn qualified(&self, place: &Place<'a>, name: &str) -> Option<String> {
        let dwarf = self.entries.dwarf(place.home)?;
        let unit = &place.unit;
        if Rc::ptr_eq(unit, &self.root.unit) {
            let scopes = self.root_scopes.get_or_init(|| ScopeTable::read(unit));
            return Some(names::qualified(unit, dwarf, scopes, place.die, name));
        }
        let (home, start, _) = place.key();
        let mut other = self.other_scopes.borrow_mut();
        let scopes = match other.known.get(&(home, start)) {
            Some(scopes) => Rc::clone(scopes),
            None => {
                other.left = other.left.checked_sub(unit.header.length_including_self())?;
                let scopes = Rc::new(ScopeTable::read(unit));
                other.known.insert((home, start), Rc::clone(&scopes));
                scopes
            }
        };
        Some(names::qualified(unit, dwarf, &scopes, place.die, name))
    }

    /// A type that has a name, or none at all.
    fn simple(&self, place: &Place<'a>, entry: &Entry<'a>) -> String {
        let keyword = match entry.tag {
            dw::DW_TAG_structure_type => "struct",
            dw::DW_TAG_class_type => "class",
            dw::DW_TAG_union_type => "union",
            dw::DW_TAG_enumeration_type => "enum",
            dw::DW_TAG_ptr_to_member_type => return "a pointer to a member".into(),
            _ => "",
        };
        let name = entry.get(dw::DW_AT_name).and_then(|name: Value<'a>| self.entries.text(place, name));
        match (name, keyword) {
            // Types of the language itself are in no namespace.
            (Some(name), "") if self.keywords || entry.tag != dw::DW_TAG_typedef => name,
            (Some(name), keyword) if self.keywords => format!("{keyword} {name}"),
            (Some(name), _) => self.qualified(place, &name).unwrap_or(name),
            (None, "") => "?".into(),
            (None, keyword) => format!("{keyword} {{...}}"),
        }
    }
}

/// Qualifiers and one more: `const` first, and each once (an array of constants may be constant itself).
fn with(qualifiers: String, one: &str) -> String {
    match one {
        _ if qualifiers.contains(one) => qualifiers,
        "const " => format!("{one}{qualifiers}"),
        _ => format!("{qualifiers}{one}"),
    }
}

/// A type's name and what stands behind it.
fn join(name: &str, inner: &str) -> String {
    if inner.is_empty() { name.to_owned() } else { format!("{name} {inner}") }
}
