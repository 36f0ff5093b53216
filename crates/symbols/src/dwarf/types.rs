//! Types: what a value of one consists of.
//!
//! Not here: how a type's name is written (`type_names`).
//!
//! Example: `typedef struct { int a; } pair; const pair v[2]` is an array of two structures with one member.
//!
//! Trap: pointers are not followed, so what is read of a type has an end; a file that says that a structure contains itself
//! meets the bounds on depth and on the number of parts.

use super::entries::{Entries, Entry, Home, Place};
use super::scopes::ScopeTable;
use super::{Slice, Value};
use crate::variable::{Member, Pointee, Shape, Type, Variants};
use gimli::{Expression, constants as dw};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::OnceLock;

/// Steps through typedefs and qualifiers.
pub(super) const MAX_STEPS: usize = 64;
/// Structures and arrays within each other.
const MAX_DEPTH: usize = 5;
/// Members of one structure.
const MAX_MEMBERS: usize = 128;
/// Alternatives of one Rust enum.
const MAX_VARIANTS: usize = 256;
/// Names of one enumeration.
const MAX_NAMES: usize = 2048;
/// Dimensions of one array.
const MAX_DIMENSIONS: usize = 8;
/// Parts of one variable's type.
const MAX_PARTS: usize = 2000;

/// Reads types for one question.
pub(super) struct Types<'e, 's, 'a> {
    pub(super) entries: &'e Entries<'s, 'a>,
    /// Whether names of structures have their keyword before them, as C has it.
    pub(super) keywords: bool,
    /// Works out a bound that is not a number in the type: of an array with a variable length.
    pub(super) bound: &'e dyn Fn(&Place<'a>, Value<'a>) -> Option<u64>,
    pub(super) address_size: u64,
    /// The function's unit, and the namespaces and classes in it.
    pub(super) root: &'e Place<'a>,
    pub(super) root_scopes: &'e OnceLock<ScopeTable>,
    pub(super) other_scopes: RefCell<OtherScopes>,
}

/// Namespaces and classes of other units.
pub(super) struct OtherScopes {
    /// How many bytes of units may still be gone through.
    pub(super) left: usize,
    pub(super) known: HashMap<(Home, usize), Rc<ScopeTable>>,
}

impl Default for OtherScopes {
    fn default() -> Self {
        OtherScopes { left: MAX_SCOPES, known: HashMap::new() }
    }
}

/// Bytes of other units that one question may go through for the namespaces around names.
const MAX_SCOPES: usize = 32 << 20;

impl<'a> Types<'_, '_, 'a> {
    /// The type that an entry's DW_AT_type names; without one it is `void`.
    pub(super) fn of(&self, place: &Place<'a>, entry: &Entry<'a>) -> Type {
        let parts = Cell::new(MAX_PARTS);
        self.type_of(place, entry, 0, &parts)
    }

    fn type_of(&self, place: &Place<'a>, entry: &Entry<'a>, depth: usize, parts: &Cell<usize>) -> Type {
        match self.entries.inherited(place, entry, dw::DW_AT_type) {
            None => Type { name: "void".into(), size: None, shape: Shape::None },
            Some((from, value)) => match self.entries.follow(&from, value) {
                Some(at) => self.read(&at, depth, parts),
                None => Type { name: "?".into(), size: None, shape: Shape::Opaque },
            },
        }
    }

    fn read(&self, at: &Place<'a>, depth: usize, parts: &Cell<usize>) -> Type {
        // Names of what lies deep inside are shown nowhere.
        let name = if depth == 0 { self.name(at) } else { String::new() };
        let (size, shape) = match (parts.get().checked_sub(1), self.resolve(at)) {
            (Some(left), Some((place, entry))) => {
                parts.set(left);
                let size = self.size(&place, &entry);
                let shape = self.shape(&place, &entry, depth, parts);
                // An array's own size is rarely said.
                let counted = match &shape {
                    Shape::Array { element, count } => {
                        element.size.zip(*count).and_then(|(each, count)| each.checked_mul(count))
                    }
                    _ => None,
                };
                (size.or(counted), shape)
            }
            _ => (None, Shape::Opaque),
        };
        Type { name, size, shape }
    }

    /// A type without the typedefs and qualifiers around it.
    pub(super) fn resolve(&self, at: &Place<'a>) -> Option<(Place<'a>, Entry<'a>)> {
        let mut place = at.clone();
        for _ in 0..MAX_STEPS {
            let entry = self.entries.read(&place)?;
            match entry.tag {
                dw::DW_TAG_typedef
                | dw::DW_TAG_const_type
                | dw::DW_TAG_volatile_type
                | dw::DW_TAG_restrict_type
                | dw::DW_TAG_atomic_type
                | dw::DW_TAG_immutable_type
                | dw::DW_TAG_packed_type
                | dw::DW_TAG_shared_type => {
                    // `const void`: there is nothing behind it.
                    place = self.entries.follow(&place, entry.get(dw::DW_AT_type)?)?;
                }
                _ => return Some((place, entry)),
            }
        }
        None
    }

    fn size(&self, place: &Place<'a>, entry: &Entry<'a>) -> Option<u64> {
        if let Some(size) = entry.number(dw::DW_AT_byte_size) {
            return Some(size);
        }
        match entry.tag {
            dw::DW_TAG_pointer_type
            | dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type
            | dw::DW_TAG_unspecified_type => Some(self.address_size),
            dw::DW_TAG_ptr_to_member_type => Some(self.address_size),
            dw::DW_TAG_enumeration_type => {
                let base = self.entries.follow(place, entry.get(dw::DW_AT_type)?)?;
                self.resolve(&base)?.1.number(dw::DW_AT_byte_size)
            }
            _ => None,
        }
    }

    fn shape(&self, place: &Place<'a>, entry: &Entry<'a>, depth: usize, parts: &Cell<usize>) -> Shape {
        match entry.tag {
            dw::DW_TAG_base_type => base(entry),
            dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                Shape::Pointer(self.pointee(place, entry).unwrap_or(Pointee::Data))
            }
            dw::DW_TAG_enumeration_type => self.enumeration(place, entry),
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
                if entry.flag(dw::DW_AT_declaration) {
                    Shape::None
                } else if depth >= MAX_DEPTH {
                    Shape::Opaque
                } else {
                    self.structure(place, depth, parts)
                }
            }
            dw::DW_TAG_array_type if depth < MAX_DEPTH => self.array(place, entry, depth, parts),
            dw::DW_TAG_subroutine_type => Shape::None,
            // `std::nullptr_t`; anything else without a description has no size either.
            dw::DW_TAG_unspecified_type => Shape::Pointer(Pointee::Data),
            _ => Shape::Opaque,
        }
    }

    fn pointee(&self, place: &Place<'a>, entry: &Entry<'a>) -> Option<Pointee> {
        let to = self.entries.follow(place, entry.get(dw::DW_AT_type)?)?;
        let (at, entry) = self.resolve(&to)?;
        let text = matches!(entry.tag, dw::DW_TAG_base_type)
            && entry.number(dw::DW_AT_byte_size) == Some(1)
            && self.entries.name(&at, &entry).as_deref() == Some("char");
        Some(match entry.tag {
            dw::DW_TAG_subroutine_type => Pointee::Code,
            _ if text => Pointee::Text,
            _ => Pointee::Data,
        })
    }

    fn enumeration(&self, place: &Place<'a>, entry: &Entry<'a>) -> Shape {
        let base = entry.get(dw::DW_AT_type).and_then(|base| self.resolve(&self.entries.follow(place, base)?));
        let unsigned = base.is_some_and(|(_, base)| matches!(self::base(&base), Shape::Integer { signed: false }));
        let (children, _) = self.entries.children(place, MAX_NAMES);
        let names = children.into_iter().filter(|(_, child)| child.tag == dw::DW_TAG_enumerator);
        let names = names.filter_map(|(_, child)| {
            let value = child.get(dw::DW_AT_const_value)?;
            // What is one byte long and above 127 is not negative: those have a form with a sign.
            let number = value.udata_value().map(|number| number as i64).or_else(|| value.sdata_value())?;
            Some((self.entries.text(place, child.get(dw::DW_AT_name)?)?, number))
        });
        Shape::Enumeration { signed: !unsigned, names: names.collect() }
    }

    fn structure(&self, place: &Place<'a>, depth: usize, parts: &Cell<usize>) -> Shape {
        let (children, mut cut) = self.entries.children(place, MAX_MEMBERS);
        let mut members = Vec::new();
        let mut variants = None;
        for (die, child) in children {
            if child.tag == dw::DW_TAG_variant_part {
                variants = self.variants(&Place { die, ..place.clone() }, &child, depth, parts);
            }
            let base = child.tag == dw::DW_TAG_inheritance;
            // A static member of DWARF 4 is a member, too; it lies elsewhere.
            let apart = child.flag(dw::DW_AT_external) || child.flag(dw::DW_AT_declaration);
            if !(base || child.tag == dw::DW_TAG_member) || apart {
                continue;
            }
            if parts.get() == 0 {
                cut = true;
                break;
            }
            members.push(self.member(Place { die, ..place.clone() }, &child, depth, parts));
        }
        Shape::Structure { members, cut, variants }
    }

    fn member(&self, own: Place<'a>, child: &Entry<'a>, depth: usize, parts: &Cell<usize>) -> Member {
        let base = child.tag == dw::DW_TAG_inheritance;
        let declared = self.type_of(&own, child, depth + 1, parts);
        let mut name = child.get(dw::DW_AT_name).and_then(|name| self.entries.text(&own, name));
        if base {
            let class = child.get(dw::DW_AT_type).and_then(|class| self.entries.follow(&own, class));
            name = class.map(|class| self.name(&class));
        }
        let offset = match child.get(dw::DW_AT_data_member_location) {
            None => Some(0),
            Some(Value::Exprloc(Expression(expression)) | Value::Block(expression)) => constant(expression, &own),
            Some(value) => value.udata_value(),
        };
        let bits = self.bits(child, offset, declared.size, &own);
        Member { name, offset, bits, base, declared }
    }

    /// The alternatives of a Rust enum.
    fn variants(&self, part: &Place<'a>, entry: &Entry<'a>, depth: usize, parts: &Cell<usize>) -> Option<Variants> {
        let (children, _) = self.entries.children(part, MAX_VARIANTS);
        let told = entry.get(dw::DW_AT_discr).and_then(|discriminant| self.entries.follow(part, discriminant));
        let discriminant = told.and_then(|place| {
            let entry = self.entries.read(&place)?;
            Some(Box::new(self.member(place, &entry, depth, parts)))
        });
        let mut arms = Vec::new();
        for (die, child) in children.iter().filter(|(_, child)| child.tag == dw::DW_TAG_variant) {
            let place = Place { die: *die, ..part.clone() };
            let (inside, _) = self.entries.children(&place, MAX_DIMENSIONS);
            let Some((die, member)) = inside.into_iter().find(|(_, own)| own.tag == dw::DW_TAG_member) else {
                continue;
            };
            if parts.get() == 0 {
                return None;
            }
            let value = child.get(dw::DW_AT_discr_value);
            let value =
                value.and_then(|value| value.udata_value().or_else(|| value.sdata_value().map(|own| own as u64)));
            arms.push((value, self.member(Place { die, ..part.clone() }, &member, depth, parts)));
        }
        Some(Variants { discriminant, arms })
    }

    /// Where a bit field lies.
    fn bits(&self, entry: &Entry<'a>, offset: Option<u64>, size: Option<u64>, place: &Place<'a>) -> Option<(u64, u64)> {
        let width = entry.number(dw::DW_AT_bit_size).filter(|width| (1..=64).contains(width))?;
        if let Some(first) = entry.number(dw::DW_AT_data_bit_offset) {
            return Some((first, width));
        }
        // Before DWARF 4 they were counted from the highest bit of the storage, whose size is the type's.
        let storage = entry.number(dw::DW_AT_byte_size).or(size)?.checked_mul(8)?;
        let from_top = entry.number(dw::DW_AT_bit_offset)?;
        let start = offset?.checked_mul(8)?;
        let big = super::is_big(self.entries.dwarf(place.home)?);
        let within = if big { from_top } else { storage.checked_sub(from_top.checked_add(width)?)? };
        Some((start.checked_add(within)?, width))
    }

    fn array(&self, place: &Place<'a>, entry: &Entry<'a>, depth: usize, parts: &Cell<usize>) -> Shape {
        // Elements of vectors (`__m128`) are arrays, too.
        let mut inner = self.type_of(place, entry, depth + 1, parts);
        let mut counts = self.counts(place);
        let last = if counts.is_empty() { None } else { counts.remove(0) };
        for count in counts.into_iter().rev() {
            let size = inner.size.zip(count).and_then(|(each, count)| each.checked_mul(count));
            inner = Type { name: String::new(), size, shape: Shape::Array { element: Box::new(inner), count } };
        }
        Shape::Array { element: Box::new(inner), count: last }
    }

    /// How many elements each dimension of an array has.
    pub(super) fn counts(&self, place: &Place<'a>) -> Vec<Option<u64>> {
        let (children, _) = self.entries.children(place, MAX_DIMENSIONS);
        let dimensions = children.into_iter().filter(|(_, child)| child.tag == dw::DW_TAG_subrange_type);
        let counted = dimensions.map(|(die, child)| {
            let own = Place { die, ..place.clone() };
            let value = |name| {
                let value = child.get(name)?;
                match value {
                    Value::Exprloc(_) | Value::UnitRef(_) | Value::DebugInfoRef(_) => (self.bound)(&own, value),
                    // gcc says -1 for `[0]`, in a form without a sign too.
                    value => value.udata_value().or_else(|| value.sdata_value().map(|number| number as u64)),
                }
            };
            if let Some(count) = value(dw::DW_AT_count) {
                return Some(count);
            }
            let low = value(dw::DW_AT_lower_bound).unwrap_or(0);
            let high = value(dw::DW_AT_upper_bound)?;
            // Bounds of 32 bits are as negative as those of 64.
            if high == u64::MAX || high == u64::from(u32::MAX) {
                Some(0)
            } else {
                (high.checked_sub(low)?).checked_add(1)
            }
        });
        counted.collect()
    }
}

/// What a base type is.
fn base(entry: &Entry<'_>) -> Shape {
    let Some(Value::Encoding(encoding)) = entry.get(dw::DW_AT_encoding) else { return Shape::Opaque };
    match encoding {
        dw::DW_ATE_boolean => Shape::Boolean,
        dw::DW_ATE_signed => Shape::Integer { signed: true },
        dw::DW_ATE_unsigned | dw::DW_ATE_address => Shape::Integer { signed: false },
        dw::DW_ATE_signed_char => Shape::Character { signed: true },
        dw::DW_ATE_unsigned_char | dw::DW_ATE_UTF | dw::DW_ATE_UCS | dw::DW_ATE_ASCII => {
            Shape::Character { signed: false }
        }
        dw::DW_ATE_float => Shape::Float,
        _ => Shape::Opaque,
    }
}

/// The place of a member that DWARF 2 wrote as `DW_OP_plus_uconst N`; of a virtual base class there is none.
fn constant(expression: Slice<'_>, place: &Place<'_>) -> Option<u64> {
    let mut operations = Expression(expression).operations(place.unit.encoding());
    match (operations.next(), operations.next()) {
        (Ok(Some(gimli::Operation::PlusConstant { value })), Ok(None)) => Some(value),
        _ => None,
    }
}
