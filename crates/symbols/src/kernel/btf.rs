//! BTF: a kernel's types in a few megabytes, as Documentation/bpf/btf.rst describes them.
//!
//! *What it is*: an index over the bytes: where each type begins, and structures by name. Members are looked up through
//! anonymous structures, as C does it.
//!
//! *Trap*: a module's BTF goes on where the kernel's ends: its type ids and string offsets count from there.

mod kinds;

pub use kinds::BtfKind;

use super::{PhysBytes, bytes, u16_at, u32_at};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// `magic`, little endian, and version 1.
pub const MAGIC: [u8; 3] = [0x9f, 0xeb, 1];
/// Types at most.
const MOST: usize = 4 << 20;
/// Members that one lookup looks at; the largest structures have some hundreds, with those of their nameless parts.
const MEMBERS: u32 = 1 << 16;
/// Longest name; the kernel allows 512 bytes (`KSYM_NAME_LEN`).
const LONGEST: usize = 1024;

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// A type's number.
pub type TypeId = u32;

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Distance from the start of the structure that was asked, in bits.
    pub bit_offset: u64,
    /// Bits of a bit field; 0 for an ordinary member.
    pub bits: u32,
    /// Its type.
    pub type_id: TypeId,
}

impl Member {
    /// Distance in bytes.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.bit_offset / 8
    }
}

/// The types of a kernel, or of one of its modules.
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where each type begins; the first is number `first`.
    places: Vec<u32>,
    first: TypeId,
    base: Option<Arc<Btf>>,
    by_name: OnceLock<HashMap<Vec<u8>, TypeId>>,
}

/// Lengths of the header's parts: header, types, strings.
#[must_use]
pub fn lengths(head: &[u8]) -> Option<(usize, usize, usize)> {
    if head.get(..3)? != MAGIC {
        return None;
    }
    let header = u32_at(head, 4)? as usize;
    let (type_off, type_len) = (u32_at(head, 8)? as usize, u32_at(head, 12)? as usize);
    let (str_off, str_len) = (u32_at(head, 16)? as usize, u32_at(head, 20)? as usize);
    let sane = (24..=64).contains(&header) && type_off == 0 && str_off == type_len && str_len > 0;
    (sane && type_len < 64 << 20 && str_len < 64 << 20).then_some((header, type_len, str_len))
}

/// The largest BTF in the physical memory at `from..to`: a kernel's own, where no symbol says where it is.
#[must_use]
pub fn find_btf(memory: &dyn PhysBytes, from: u64, to: u64) -> Option<Btf> {
    /// Places that look like one, at most.
    const PLACES: usize = 256;
    let image = bytes(memory, from, to.saturating_sub(from) as usize);
    let mut found: Option<Btf> = None;
    let places = memchr::memmem::find_iter(&image, &MAGIC);
    for at in places.filter(|at| image.get(*at..).is_some_and(|head| lengths(head).is_some())).take(PLACES) {
        let larger = |btf: &Btf| found.as_ref().is_none_or(|found| found.len() < btf.len());
        if let Some(btf) = image.get(at..).and_then(Btf::parse).filter(larger) {
            found = Some(btf);
        }
    }
    // A module's goes on where the kernel's ends, and would not make sense alone.
    found.filter(|btf| btf.structure("task_struct").is_some_and(|id| btf.size(id).is_some_and(|size| size > 0)))
}

/// Bytes of the type that begins at this place.
fn length(types: &[u8], at: usize) -> Option<usize> {
    let info = u32_at(types, at + 4)?;
    let count = (info & 0xffff) as usize;
    let more = match info >> 24 & 0x1f {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
        kind::ENUM | kind::FUNC_PROTO => 8 * count,
        kind::PTR..=kind::FLOAT | kind::TYPE_TAG => 0,
        _ => return None,
    };
    Some(12 + more)
}

impl Btf {
    /// Reads a kernel's BTF; `None` if the bytes are none, or not whole.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::parse_on(bytes, None, false)
    }

    /// Reads what stands before the first damage of a kernel's BTF, of which pages are lost or overwritten: numbers of
    /// types count from the front, so those behind it cannot be told.
    #[must_use]
    pub fn parse_front(bytes: &[u8]) -> Option<Self> {
        Self::parse_on(bytes, None, true).filter(|btf| !btf.is_empty())
    }

    /// Reads a module's BTF on top of the kernel's.
    #[must_use]
    pub fn parse_split(bytes: &[u8], base: Arc<Btf>) -> Option<Self> {
        Self::parse_on(bytes, Some(base), false)
    }

    fn parse_on(bytes: &[u8], base: Option<Arc<Btf>>, front: bool) -> Option<Self> {
        let (header, type_len, str_len) = lengths(bytes)?;
        let types = bytes.get(header..header + type_len)?.to_vec();
        let strings = bytes.get(header + type_len..header + type_len + str_len)?.to_vec();
        if base.is_none() && strings.first() != Some(&0) {
            return None;
        }
        let first = base.as_ref().map_or(1, |base| base.first + base.places.len() as u32);
        let mut places = Vec::new();
        let mut at = 0;
        while at < types.len() {
            let next = length(&types, at).map(|len| at + len).filter(|next| *next <= types.len());
            let Some(next) = next.filter(|_| places.len() < MOST) else {
                if front {
                    break;
                }
                return None;
            };
            places.push(at as u32);
            at = next;
        }
        Some(Self { types, strings, places, first, base, by_name: OnceLock::new() })
    }

    /// Number of types.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn string(&self, offset: u32) -> &[u8] {
        let own = match &self.base {
            Some(base) if (offset as usize) < base.strings.len() => return base.string(offset),
            Some(base) => offset as usize - base.strings.len(),
            None => offset as usize,
        };
        let rest = self.strings.get(own..).unwrap_or_default();
        let rest = rest.get(..LONGEST).unwrap_or(rest);
        let end = memchr::memchr(0, rest).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// Name offset, info, size or type, and what follows.
    fn entry(&self, id: TypeId) -> Option<(u32, u32, u32, &[u8])> {
        if id < self.first {
            return self.base.as_ref()?.entry(id);
        }
        let at = *self.places.get((id - self.first) as usize)? as usize;
        let rest = self.types.get(at + 12..)?;
        Some((u32_at(&self.types, at)?, u32_at(&self.types, at + 4)?, u32_at(&self.types, at + 8)?, rest))
    }

    /// The type behind typedefs and qualifiers.
    #[must_use]
    pub fn resolve(&self, mut id: TypeId) -> TypeId {
        for _ in 0..32 {
            match self.entry(id) {
                Some((_, info, to, _))
                    if matches!(
                        info >> 24 & 0x1f,
                        kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG
                    ) =>
                {
                    id = to;
                }
                _ => return id,
            }
        }
        id
    }

    /// A structure or union by its name, or by that of its typedef.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<TypeId> {
        let index = self.by_name.get_or_init(|| {
            let mut index = HashMap::new();
            // A structure without a name of its own goes by its typedef's, as `irq_cpustat_t`.
            for wanted in [&[kind::STRUCT, kind::UNION][..], &[kind::TYPEDEF]] {
                for (number, _) in self.places.iter().enumerate() {
                    let id = self.first + number as u32;
                    if let Some((name, info, _, _)) = self.entry(id)
                        && wanted.contains(&(info >> 24 & 0x1f))
                        && name != 0
                    {
                        index.entry(self.string(name).to_vec()).or_insert(id);
                    }
                }
            }
            index
        });
        let own = index.get(name.as_bytes()).copied();
        own.or_else(|| self.base.as_ref()?.structure(name))
    }

    /// Bytes of a type.
    #[must_use]
    pub fn size(&self, id: TypeId) -> Option<u64> {
        /// Arrays in arrays; damaged types may hold themselves.
        const DEEP: u32 = 16;
        let (mut id, mut count) = (self.resolve(id), 1u64);
        for _ in 0..DEEP {
            let (_, info, size, rest) = self.entry(id)?;
            match info >> 24 & 0x1f {
                kind::PTR => return count.checked_mul(8),
                kind::ARRAY => {
                    count = count.checked_mul(u64::from(u32_at(rest, 8)?))?;
                    id = self.resolve(u32_at(rest, 0)?);
                }
                _ => return count.checked_mul(u64::from(size)),
            }
        }
        None
    }

    /// The element's type and the number of elements of an array.
    #[must_use]
    pub fn array(&self, id: TypeId) -> Option<(TypeId, u32)> {
        let (_, info, _, rest) = self.entry(self.resolve(id))?;
        (info >> 24 & 0x1f == kind::ARRAY).then(|| Some((u32_at(rest, 0)?, u32_at(rest, 8)?)))?
    }

    /// A member by a path such as `signal.thread_head` or `__sk_common.skc_family`.
    #[must_use]
    pub fn member(&self, structure: TypeId, path: &str) -> Option<Member> {
        let mut found = Member { bit_offset: 0, bits: 0, type_id: structure };
        for name in path.split('.') {
            let next = self.direct(self.resolve(found.type_id), name.as_bytes(), 0, &mut { MEMBERS })?;
            found = Member { bit_offset: found.bit_offset + next.bit_offset, ..next };
        }
        Some(found)
    }

    fn direct(&self, id: TypeId, name: &[u8], depth: u32, left: &mut u32) -> Option<Member> {
        let (_, info, ..) = self.entry(id)?;
        if !matches!(info >> 24 & 0x1f, kind::STRUCT | kind::UNION) || depth > 8 || *left == 0 {
            return None;
        }
        // What holds itself many times over would be looked through for ever.
        *left = left.saturating_sub(1 + (info & 0xffff));
        if let Some((_, member)) = self.raw_members(id).find(|(own, _)| *own != 0 && self.string(*own) == name) {
            return Some(member);
        }
        self.raw_members(id).filter(|(own, _)| *own == 0).find_map(|(_, outer)| {
            let inner = self.direct(self.resolve(outer.type_id), name, depth + 1, left)?;
            Some(Member { bit_offset: outer.bit_offset + inner.bit_offset, ..inner })
        })
    }

    /// The distance of a member from the start of a structure, in bytes, both by name.
    #[must_use]
    pub fn offset_of(&self, structure: &str, path: &str) -> Option<u64> {
        self.member(self.structure(structure)?, path).map(Member::offset)
    }

    /// Bytes of a structure by its name.
    #[must_use]
    pub fn size_of(&self, structure: &str) -> Option<u64> {
        self.size(self.structure(structure)?)
    }

    /// The type of a variable, of those that have one: each processor's own.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<TypeId> {
        (0..self.places.len()).rev().find_map(|number| {
            let (own, info, to, _) = self.entry(self.first + number as u32)?;
            (info >> 24 & 0x1f == kind::VAR && self.string(own) == name.as_bytes()).then_some(to)
        })
    }

    /// The enumerators of an enumeration with a name, in their order; none if there is no such one.
    #[must_use]
    pub fn enumerators_of(&self, name: &str) -> Vec<(String, i64)> {
        let enumeration = (0..self.places.len()).find_map(|number| {
            let (own, info, _, rest) = self.entry(self.first + number as u32)?;
            let wide = match info >> 24 & 0x1f {
                kind::ENUM => false,
                kind::ENUM64 => true,
                _ => return None,
            };
            // A declaration without a body has none.
            (info & 0xffff > 0 && self.string(own) == name.as_bytes()).then_some((info, rest, wide))
        });
        let Some((info, rest, wide)) = enumeration else { return Vec::new() };
        let each = rest.chunks_exact(if wide { 12 } else { 8 }).take((info & 0xffff) as usize);
        let pair = |bytes: &[u8]| {
            let low = u32_at(bytes, 4)?;
            let value = match wide {
                true => i64::from(low) | i64::from(u32_at(bytes, 8)?) << 32,
                false => i64::from(low as i32),
            };
            Some((String::from_utf8_lossy(self.string(u32_at(bytes, 0)?)).into_owned(), value))
        };
        each.filter_map(pair).collect()
    }

    /// The value of an enumerator.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        (0..self.places.len()).find_map(|number| {
            let (_, info, _, rest) = self.entry(self.first + number as u32)?;
            let (wide, size) = match info >> 24 & 0x1f {
                kind::ENUM => (false, 8),
                kind::ENUM64 => (true, 12),
                _ => return None,
            };
            rest.chunks_exact(size).take((info & 0xffff) as usize).find_map(|bytes| {
                if self.string(u32_at(bytes, 0)?) != name.as_bytes() {
                    return None;
                }
                let low = u32_at(bytes, 4)?;
                if !wide {
                    return Some(i64::from(low as i32));
                }
                Some(i64::from(low) | i64::from(u32_at(bytes, 8)?) << 32)
            })
        })
    }
}

/// Kept for readers of the header.
#[allow(dead_code)]
fn flags(head: &[u8]) -> Option<u16> {
    u16_at(head, 2)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

    use super::*;

    /// BTF of these words of types and these strings (include/uapi/linux/btf.h).
    fn btf(types: &[u32], strings: &[u8]) -> Btf {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let type_len = 4 * types.len() as u32;
        for word in [24, 0, type_len, type_len, strings.len() as u32].iter().chain(types) {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(strings);
        Btf::parse(&bytes).unwrap()
    }

    const STRUCT: u32 = 4 << 24;

    /// A lookup that follows all of them goes 65535 ways, eight times over.
    #[test]
    fn a_structure_of_nothing_but_itself_ends() {
        let mut types = vec![1, STRUCT | 0xffff, 8];
        types.extend([0u32, 1, 0].repeat(0xffff));
        let bomb = btf(&types, b"\0bomb\0");
        let structure = bomb.structure("bomb").unwrap();
        assert_eq!(bomb.member(structure, "none"), None);
    }

    #[test]
    fn a_nameless_part_is_looked_into() {
        let types = [1, STRUCT | 1, 8, 0, 2, 32, 0, STRUCT | 1, 4, 7, 2, 0];
        let btf = btf(&types, b"\0outer\0inner\0");
        assert_eq!(btf.offset_of("outer", "inner"), Some(4));
    }

    #[test]
    fn a_name_without_an_end_is_cut() {
        let strings = [b"\0".as_slice(), &vec![b'x'; 1 << 20]].concat();
        let btf = btf(&[1, STRUCT, 8], &strings);
        assert_eq!(btf.structure(&"x".repeat(LONGEST)), Some(1));
        assert_eq!(btf.structure(&"x".repeat(1 << 20)), None);
    }
}
