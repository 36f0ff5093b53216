//! Types of BTF under names that are each used once, written as ISF describes them.
//!
//! *What it is not*: all that BTF knows. ISF has no typedefs and no qualifiers; what stands behind them is written.
//!
//! *Trap*: names are not unique in a kernel: two drivers may each have a `struct entry`. The first keeps the name, as
//! readers look for the kernel's own; others get `___2` and so on.

use super::json::Json;
use afterimage_symbols::kernel::{Btf, BtfKind, Member, TypeId};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;

/// Pointers, arrays and typedefs that are followed in one description; C code has some five.
const DEPTH: u32 = 24;

/// A type: of which BTF (0 is the kernel's), and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Type {
    pub(super) layer: usize,
    pub(super) id: TypeId,
}

struct Layer<'b> {
    btf: &'b Btf,
    first: TypeId,
    names: HashMap<TypeId, String>,
}

/// All types of a kernel and its modules.
pub(super) struct Types<'b> {
    layers: Vec<Layer<'b>>,
    /// Structures, unions and enumerations under their final names.
    tags: HashMap<String, Type>,
    /// Typedefs and numbers by name; of several the first.
    others: HashMap<String, Type>,
    /// Only named, with whether each is a union.
    forwards: Vec<(String, bool)>,
    /// Variables that the kernel tells the types of: per-CPU ones, and all in kernels built so.
    variables: HashMap<&'b [u8], TypeId>,
    /// Whether enumerations say if they have a sign.
    signs: bool,
}

impl<'b> Types<'b> {
    /// Names everything in the kernel's types and in those of modules.
    pub(super) fn new(kernel: &'b Btf, modules: &'b [(String, Btf)]) -> Self {
        let mut types = Self {
            layers: Vec::new(),
            tags: HashMap::new(),
            others: HashMap::new(),
            forwards: Vec::new(),
            variables: HashMap::new(),
            signs: kernel.knows_signs(),
        };
        types.add(kernel, "");
        for (name, btf) in modules {
            types.add(btf, name);
        }
        types.add_forwards();
        for id in kernel.ids() {
            if let Some(BtfKind::Variable(of)) = kernel.kind(id) {
                types.variables.entry(kernel.name(id)).or_insert(of);
            }
        }
        types
    }

    fn add(&mut self, btf: &'b Btf, module: &str) {
        let layer = self.layers.len();
        let first = btf.ids().next().unwrap_or(TypeId::MAX);
        let mut names = HashMap::new();
        // By a name that is taken, the number that is tried next: thousands may have the same one.
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let text = |id| String::from_utf8_lossy(btf.name(id)).into_owned();
        let is_tag = |id| matches!(btf.kind(id), Some(BtfKind::Structure { .. } | BtfKind::Enum { .. }));
        for id in btf.ids().filter(|id| is_tag(*id) && !btf.name(*id).is_empty()) {
            let name = text(id);
            let number = numbers.entry(name.clone()).or_insert(1);
            let mut shown = || {
                let own = *number;
                *number += 1;
                match own {
                    1 => name.clone(),
                    _ if module.is_empty() => format!("{name}___{own}"),
                    2 => format!("{name}___{module}"),
                    _ => format!("{name}___{module}_{own}"),
                }
            };
            let mut all = std::iter::repeat_with(&mut shown).take(1 << 20);
            let Some(name) = all.find(|name| !self.tags.contains_key(name)) else { continue };
            self.tags.insert(name.clone(), Type { layer, id });
            names.insert(id, name);
        }
        for id in btf.ids() {
            match btf.kind(id) {
                Some(BtfKind::Typedef(to)) => {
                    let name = text(id);
                    // A structure without a name is known by that of its typedef (kernel_cap_t since 6.3).
                    let nameless = to >= first && is_tag(to) && !names.contains_key(&to);
                    if nameless && !self.tags.contains_key(&name) {
                        self.tags.insert(name.clone(), Type { layer, id: to });
                        names.insert(to, name.clone());
                    }
                    self.others.entry(name).or_insert(Type { layer, id });
                }
                Some(BtfKind::Int { .. } | BtfKind::Float(_)) => {
                    self.others.entry(text(id)).or_insert(Type { layer, id });
                }
                _ => {}
            }
        }
        for id in btf.ids().filter(|id| is_tag(*id)) {
            if let Entry::Vacant(place) = names.entry(id) {
                let part = if module.is_empty() { String::new() } else { format!("{module}_") };
                let name = format!("unnamed_{part}{id}");
                self.tags.insert(name.clone(), Type { layer, id });
                place.insert(name);
            }
        }
        self.layers.push(Layer { btf, first, names });
    }

    fn add_forwards(&mut self) {
        let mut seen = HashSet::new();
        for layer in &self.layers {
            for id in layer.btf.ids() {
                if let Some(BtfKind::Forward { union }) = layer.btf.kind(id) {
                    let name = String::from_utf8_lossy(layer.btf.name(id)).into_owned();
                    if !self.tags.contains_key(&name) && seen.insert(name.clone()) {
                        self.forwards.push((name, union));
                    }
                }
            }
        }
    }

    /// The BTF that a type stands in, and its name there.
    fn place(&self, of: Type) -> Option<(&'b Btf, Type)> {
        let layer = self.layers.get(of.layer)?;
        let own = if of.id < layer.first { 0 } else { of.layer };
        Some((layer.btf, Type { layer: own, id: of.id }))
    }

    fn tag(&self, of: Type) -> Option<&str> {
        let (_, of) = self.place(of)?;
        self.layers.get(of.layer)?.names.get(&of.id).map(String::as_str)
    }

    /// A structure, union or enumeration, a typedef or a number by its name.
    pub(super) fn named(&self, name: &str) -> Option<Type> {
        self.tags.get(name).or_else(|| self.others.get(name)).copied()
    }

    /// The smallest structure that has these members and no name of its own, or any name if there is none.
    pub(super) fn with_members(&self, wanted: &[&str]) -> Option<Type> {
        let kernel = self.layers.first()?.btf;
        let fits = |id: TypeId| {
            let members = kernel.members(id);
            wanted.iter().all(|name| members.iter().any(|(own, _)| *own == name.as_bytes())).then_some(members.len())
        };
        let found = kernel.ids().filter_map(|id| Some((!kernel.name(id).is_empty(), fits(id)?, id)));
        found.min().map(|(_, _, id)| Type { layer: 0, id })
    }

    /// The type that the kernel itself tells for a variable.
    pub(super) fn variable(&self, name: &str) -> Option<Type> {
        self.variables.get(name.as_bytes()).map(|id| Type { layer: 0, id: *id })
    }

    /// Bytes of a type.
    pub(super) fn size(&self, of: Type) -> Option<u64> {
        self.layers.get(of.layer)?.btf.size(of.id)
    }

    /// What a type is behind typedefs and qualifiers.
    pub(super) fn resolved(&self, of: Type) -> Option<(Type, BtfKind)> {
        let btf = self.layers.get(of.layer)?.btf;
        let id = btf.resolve(of.id);
        Some((Type { id, ..of }, btf.kind(id)?))
    }

    /// Members of a structure with their types.
    pub(super) fn members(&self, of: Type) -> Vec<(&'b [u8], Member)> {
        self.layers.get(of.layer).map(|layer| layer.btf.members(of.id)).unwrap_or_default()
    }

    /// Number of structures, unions and enumerations.
    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }

    /// `base_types`: numbers, and the two that every ISF has.
    pub(super) fn write_base(&self, json: &mut Json) -> io::Result<()> {
        let mut base = |name: &str, size: u32, kind: &str, signed: bool| {
            json.object(name)?;
            json.number("size", size)?;
            json.truth("signed", signed)?;
            json.text("kind", kind)?;
            json.text("endian", "little")?;
            json.close()
        };
        base("void", 0, "void", false)?;
        base("pointer", 8, "int", false)?;
        let mut numbers: Vec<_> = self.others.iter().collect();
        numbers.sort_by_key(|(name, of)| (of.layer, of.id, name.as_str()));
        for (name, of) in numbers {
            match self.layers.get(of.layer).and_then(|layer| layer.btf.kind(of.id)) {
                Some(BtfKind::Int { truth: true, size, .. }) => base(name, size, "bool", false)?,
                Some(BtfKind::Int { signed, size: 1, .. }) => {
                    // BTF says a sign of `char` on no machine but where the compiler did.
                    base(name, 1, "char", signed || name == "char")?;
                }
                Some(BtfKind::Int { signed, size, .. }) => base(name, size, "int", signed)?,
                Some(BtfKind::Float(size)) => base(name, size, "float", true)?,
                _ => {}
            }
        }
        // What enumerations are made of must be there, whether the kernel uses it by itself or not.
        for (size, signed) in [1, 2, 4, 8].into_iter().flat_map(|size| [(size, false), (size, true)]) {
            let name = number_name(size, signed);
            if !self.others.contains_key(name) {
                base(name, size, if size == 1 { "char" } else { "int" }, signed)?;
            }
        }
        Ok(())
    }

    /// `user_types`: structures and unions.
    pub(super) fn write_structures(&self, json: &mut Json) -> io::Result<()> {
        for layer in 0..self.layers.len() {
            let Some(Layer { btf, names, .. }) = self.layers.get(layer) else { continue };
            for id in btf.ids() {
                let of = Type { layer, id };
                if let (Some(BtfKind::Structure { .. }), Some(name)) = (btf.kind(id), names.get(&id)) {
                    self.write_structure(json, name, of)?;
                }
                // `struct elf64_sym` is asked for as Elf64_Sym: ELF's names are those of its standard.
                if let Some(BtfKind::Typedef(to)) = btf.kind(id)
                    && btf.name(id).starts_with(b"Elf")
                {
                    let name = String::from_utf8_lossy(btf.name(id)).into_owned();
                    let behind = self.resolved(Type { layer, id: to });
                    if let Some((to, BtfKind::Structure { .. })) = behind
                        && !self.tags.contains_key(&name)
                    {
                        self.write_structure(json, &name, to)?;
                    }
                }
            }
        }
        for (name, union) in &self.forwards {
            json.object(name)?;
            json.number("size", 0)?;
            json.object("fields")?;
            json.close()?;
            json.text("kind", if *union { "union" } else { "struct" })?;
            json.close()?;
        }
        Ok(())
    }

    fn write_structure(&self, json: &mut Json, name: &str, of: Type) -> io::Result<()> {
        let Some((btf, _)) = self.place(of) else { return Ok(()) };
        let Some(BtfKind::Structure { union, size }) = btf.kind(of.id) else { return Ok(()) };
        json.object(name)?;
        json.number("size", size)?;
        json.object("fields")?;
        for (index, (name, member)) in btf.members(of.id).into_iter().enumerate() {
            let inner = Type { id: member.type_id, ..of };
            if name.is_empty() {
                json.object(&format!("unnamed_field_{index}"))?;
            } else {
                json.object(&String::from_utf8_lossy(name))?;
            }
            json.key("type")?;
            let offset = if member.bits == 0 {
                self.describe(json, inner, 0)?;
                member.offset()
            } else {
                self.write_bits(json, inner, member)?
            };
            json.number("offset", offset)?;
            if name.is_empty() {
                json.truth("anonymous", true)?;
            }
            json.close()?;
        }
        json.close()?;
        json.text("kind", if union { "union" } else { "struct" })?;
        json.close()
    }

    /// A bit field; gives the offset of the number that holds it.
    fn write_bits(&self, json: &mut Json, of: Type, member: Member) -> io::Result<u64> {
        let size = self.size(of).filter(|size| matches!(size, 1 | 2 | 4 | 8)).unwrap_or(4);
        // As compilers place it: in a number of its type at a multiple of its size, unless the structure is packed.
        let aligned = member.bit_offset / 8 / size * size;
        let fits = |start: u64| member.bit_offset - 8 * start + u64::from(member.bits) <= 8 * size;
        let start = if fits(aligned) { aligned } else { member.bit_offset / 8 };
        json.open()?;
        json.text("kind", "bitfield")?;
        json.number("bit_position", member.bit_offset - 8 * start)?;
        json.number("bit_length", member.bits)?;
        json.key("type")?;
        match self.resolved(of) {
            Some((_, BtfKind::Int { .. } | BtfKind::Enum { .. })) if fits(start) => self.describe(json, of, 0)?,
            _ => base(json, "long unsigned int")?,
        }
        json.close()?;
        Ok(start)
    }

    /// `enums`.
    pub(super) fn write_enums(&self, json: &mut Json) -> io::Result<()> {
        for layer in &self.layers {
            for id in layer.btf.ids() {
                let (Some(BtfKind::Enum { signed, size }), Some(name)) = (layer.btf.kind(id), layer.names.get(&id))
                else {
                    continue;
                };
                let signed = signed || !self.signs;
                json.object(name)?;
                json.number("size", size)?;
                json.text("base", number_name(size, signed))?;
                json.object("constants")?;
                for (name, value) in layer.btf.enumerators(id) {
                    let value = if self.signs || size != 4 { value } else { i128::from(value as u32 as i32) };
                    json.number(&String::from_utf8_lossy(name), value)?;
                }
                json.close()?;
                json.close()?;
            }
        }
        Ok(())
    }

    /// The description of a type where it is used.
    pub(super) fn describe(&self, json: &mut Json, of: Type, depth: u32) -> io::Result<()> {
        let Some((of, kind)) = self.resolved(of).filter(|_| depth < DEPTH) else { return base(json, "void") };
        match kind {
            BtfKind::Int { .. } | BtfKind::Float(_) => {
                let name = self.place(of).map(|(btf, _)| String::from_utf8_lossy(btf.name(of.id)).into_owned());
                base(json, &name.unwrap_or_default())
            }
            BtfKind::Pointer(to) => {
                json.open()?;
                json.text("kind", "pointer")?;
                json.key("subtype")?;
                self.describe(json, Type { id: to, ..of }, depth + 1)?;
                json.close()
            }
            BtfKind::Array(element, count) => {
                json.open()?;
                json.text("kind", "array")?;
                json.number("count", count)?;
                json.key("subtype")?;
                self.describe(json, Type { id: element, ..of }, depth + 1)?;
                json.close()
            }
            BtfKind::Structure { union, .. } => {
                tagged(json, if union { "union" } else { "struct" }, self.tag(of).unwrap_or_default())
            }
            BtfKind::Enum { .. } => tagged(json, "enum", self.tag(of).unwrap_or_default()),
            BtfKind::Forward { union } => {
                let name = self.place(of).map(|(btf, _)| String::from_utf8_lossy(btf.name(of.id)).into_owned());
                tagged(json, if union { "union" } else { "struct" }, &name.unwrap_or_default())
            }
            BtfKind::Function => {
                json.open()?;
                json.text("kind", "function")?;
                json.close()
            }
            _ => base(json, "void"),
        }
    }
}

/// The name of a number in C, of these bytes.
fn number_name(size: u32, signed: bool) -> &'static str {
    match (size, signed) {
        (1, true) => "signed char",
        (1, false) => "unsigned char",
        (2, true) => "short int",
        (2, false) => "short unsigned int",
        (8, true) => "long int",
        (8, false) => "long unsigned int",
        (_, true) => "int",
        (_, false) => "unsigned int",
    }
}

/// A number by its name.
pub(super) fn base(json: &mut Json, name: &str) -> io::Result<()> {
    tagged(json, "base", name)
}

fn tagged(json: &mut Json, kind: &str, name: &str) -> io::Result<()> {
    json.open()?;
    json.text("kind", kind)?;
    json.text("name", name)?;
    json.close()
}
