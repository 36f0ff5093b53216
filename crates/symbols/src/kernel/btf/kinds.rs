//! Each type of a BTF as it stands there, for whoever writes all of them in another form.
//!
//! *What it is not*: resolved. Typedefs and qualifiers are given as such, since their names matter to some.
//!
//! *Trap*: until 2022 (pahole 1.24) no enumeration said whether its values have a sign.

use super::{Btf, Member, TypeId, kind, u32_at};

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BtfKind {
    /// Nothing: type 0.
    Void,
    /// A whole number.
    Int {
        /// Whether it has a sign.
        signed: bool,
        /// Whether it is a truth value.
        truth: bool,
        /// Bytes.
        size: u32,
    },
    /// A number with a fraction, of so many bytes.
    Float(u32),
    /// A pointer to a type.
    Pointer(TypeId),
    /// Elements of a type, and how many.
    Array(TypeId, u32),
    /// A structure, or a union, with its bytes.
    Structure {
        /// Whether it is a union.
        union: bool,
        /// Bytes.
        size: u32,
    },
    /// An enumeration.
    Enum {
        /// Whether its values have a sign.
        signed: bool,
        /// Bytes of a value.
        size: u32,
    },
    /// A structure (or union) that is only named.
    Forward {
        /// Whether it is a union.
        union: bool,
    },
    /// Another name for a type.
    Typedef(TypeId),
    /// A type with `const`, `volatile`, `restrict` or a tag.
    Qualified(TypeId),
    /// A function, or what one takes and gives.
    Function,
    /// A variable of a type.
    Variable(TypeId),
    /// Anything that is no type of a value: sections, tags of declarations.
    Other,
}

impl Btf {
    /// Numbers of all types of its own; those of a module begin behind the kernel's.
    pub fn ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        self.first..self.first + self.places.len() as TypeId
    }

    /// The kernel's types, below a module's.
    #[must_use]
    pub fn base(&self) -> Option<&Btf> {
        self.base.as_deref()
    }

    /// The whole again, with the shortest header: the same bytes that were read from a kernel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = super::MAGIC.to_vec();
        bytes.push(0);
        for word in [24, 0, types, types, strings] {
            bytes.extend_from_slice(&u32::to_le_bytes(word));
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }

    /// The name of a type, empty if it has none.
    #[must_use]
    pub fn name(&self, id: TypeId) -> &[u8] {
        self.entry(id).map_or(&[], |(name, ..)| self.string(name))
    }

    /// What a type is; `None` if there is no such type.
    #[must_use]
    pub fn kind(&self, id: TypeId) -> Option<BtfKind> {
        if id == 0 {
            return Some(BtfKind::Void);
        }
        let (_, info, size, rest) = self.entry(id)?;
        let flag = info >> 31 == 1;
        Some(match info >> 24 & 0x1f {
            kind::INT => {
                let encoding = u32_at(rest, 0)? >> 24;
                BtfKind::Int { signed: encoding & 1 != 0, truth: encoding & 4 != 0, size }
            }
            kind::FLOAT => BtfKind::Float(size),
            kind::PTR => BtfKind::Pointer(size),
            kind::ARRAY => BtfKind::Array(u32_at(rest, 0)?, u32_at(rest, 8)?),
            kind::STRUCT => BtfKind::Structure { union: false, size },
            kind::UNION => BtfKind::Structure { union: true, size },
            kind::ENUM | kind::ENUM64 => BtfKind::Enum { signed: flag, size },
            kind::FWD => BtfKind::Forward { union: flag },
            kind::TYPEDEF => BtfKind::Typedef(size),
            kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => BtfKind::Qualified(size),
            kind::FUNC | kind::FUNC_PROTO => BtfKind::Function,
            kind::VAR => BtfKind::Variable(size),
            _ => BtfKind::Other,
        })
    }

    /// Variables of a section with their distances from its start, as those of `.data..percpu`; empty if there is none.
    #[must_use]
    pub fn section(&self, name: &[u8]) -> Vec<(&[u8], u64)> {
        const EACH: usize = 12;
        let sections = self.ids().filter_map(|id| self.entry(id));
        let found = sections.filter(|(own, info, ..)| info >> 24 & 0x1f == kind::DATASEC && self.string(*own) == name);
        let variables = found.flat_map(|(_, info, _, rest)| {
            let count = (info & 0xffff) as usize;
            rest.chunks_exact(EACH).take(count).filter_map(|raw| {
                let (variable, distance) = (u32_at(raw, 0)?, u32_at(raw, 4)?);
                Some((self.name(variable), u64::from(distance)))
            })
        });
        variables.collect()
    }

    /// Members of a structure or union in their order, with their names; empty for what is none.
    #[must_use]
    pub fn members(&self, id: TypeId) -> Vec<(&[u8], Member)> {
        self.raw_members(id).map(|(name, member)| (self.string(name), member)).collect()
    }

    /// Name offsets and members of a structure or union.
    pub(super) fn raw_members(&self, id: TypeId) -> impl Iterator<Item = (u32, Member)> {
        let entry = self.entry(id).filter(|(_, info, ..)| matches!(info >> 24 & 0x1f, kind::STRUCT | kind::UNION));
        let (info, rest) = entry.map_or((0, &[][..]), |(_, info, _, rest)| (info, rest));
        let fields = info >> 31 == 1;
        rest.chunks_exact(12).take((info & 0xffff) as usize).filter_map(move |bytes| {
            let offset = u32_at(bytes, 8)?;
            let (bits, offset) = if fields { (offset >> 24, offset & 0xff_ffff) } else { (0, offset) };
            Some((u32_at(bytes, 0)?, Member { bit_offset: u64::from(offset), bits, type_id: u32_at(bytes, 4)? }))
        })
    }

    /// Names and values of an enumeration; a value has its sign only where the enumeration says so.
    #[must_use]
    pub fn enumerators(&self, id: TypeId) -> Vec<(&[u8], i128)> {
        let Some((_, info, _, rest)) = self.entry(id) else { return Vec::new() };
        let (wide, signed) = (info >> 24 & 0x1f == kind::ENUM64, info >> 31 == 1);
        let size = match info >> 24 & 0x1f {
            kind::ENUM => 8,
            kind::ENUM64 => 12,
            _ => return Vec::new(),
        };
        let read = |bytes: &[u8]| {
            let low = u32_at(bytes, 4)?;
            let value = match (wide, signed) {
                (false, true) => i128::from(low as i32),
                (false, false) => i128::from(low),
                (true, signed) => {
                    let value = u64::from(low) | u64::from(u32_at(bytes, 8)?) << 32;
                    if signed { i128::from(value as i64) } else { i128::from(value) }
                }
            };
            Some((self.string(u32_at(bytes, 0)?), value))
        };
        rest.chunks_exact(size).take((info & 0xffff) as usize).filter_map(read).collect()
    }

    /// Whether any enumeration says that its values have a sign: older ones never do.
    #[must_use]
    pub fn knows_signs(&self) -> bool {
        self.ids().any(|id| matches!(self.kind(id), Some(BtfKind::Enum { signed: true, .. })))
    }
}
