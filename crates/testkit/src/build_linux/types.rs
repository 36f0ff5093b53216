//! Structures whose layout is invented: order and gaps follow from a seed. The kernel's BTF tells them, and nothing else.
//!
//! A line of the text is a structure: `name = …` stands as it is written, `name ? …` is laid out at random, `name ! …` too,
//! but for its first member, which stays in front (`struct unix_sock` begins with its `struct sock`). Members are
//! `name type` or `name type[count]`; a member called `_` has no name, and its own members are looked up through it.

use std::collections::BTreeMap;

/// A member.
struct Member {
    name: String,
    offset: u64,
    kind: Kind,
    count: Option<u64>,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Unsigned, with so many bytes.
    Int(u64),
    Pointer,
    Struct(usize),
}

struct Structure {
    name: String,
    size: u64,
    members: Vec<Member>,
}

/// All structures.
pub(super) struct Types {
    structures: Vec<Structure>,
    by_name: BTreeMap<String, usize>,
}

/// Numbers without an end, the same for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

impl Types {
    pub(super) fn invent(text: &str, seed: u64) -> Self {
        let mut types = Self { structures: Vec::new(), by_name: BTreeMap::new() };
        let mut dice = Dice(seed);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let at = line.find(['=', '?', '!']).expect("a structure has a sign");
            let (name, sign) = (line[..at].trim().to_owned(), &line[at..=at]);
            let mut members: Vec<Member> =
                line[at + 1..].split(',').map(|member| types.member(member.trim())).collect();
            if sign != "=" {
                let first = usize::from(sign == "!");
                for index in (first + 1..members.len()).rev() {
                    members.swap(index, first + dice.below((index - first + 1) as u64) as usize);
                }
            }
            let mut size = 0;
            for (index, member) in members.iter_mut().enumerate() {
                let align = types.align(member.kind);
                if sign == "?" || sign == "!" && index > 0 {
                    size += align * dice.below(4);
                }
                member.offset = u64::next_multiple_of(size, align);
                size = member.offset + types.bytes(member.kind) * member.count.unwrap_or(1);
            }
            let align = members.iter().map(|member| types.align(member.kind)).max().unwrap_or(1);
            types.by_name.insert(name.clone(), types.structures.len());
            types.structures.push(Structure { name, size: size.next_multiple_of(align), members });
        }
        types
    }

    fn member(&self, text: &str) -> Member {
        let (name, kind) = text.split_once(' ').unwrap_or_else(|| panic!("member {text}"));
        let (kind, count) = match kind.split_once('[') {
            Some((kind, count)) => (kind, count.trim_end_matches(']').parse().ok()),
            None => (kind, None),
        };
        let kind = match kind {
            "u8" => Kind::Int(1),
            "u16" => Kind::Int(2),
            "u32" => Kind::Int(4),
            "u64" => Kind::Int(8),
            "ptr" => Kind::Pointer,
            other => Kind::Struct(*self.by_name.get(other).unwrap_or_else(|| panic!("no struct {other} yet"))),
        };
        Member { name: name.to_owned(), offset: 0, kind, count }
    }

    fn bytes(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Int(bytes) => bytes,
            Kind::Pointer => 8,
            Kind::Struct(index) => self.structures[index].size,
        }
    }

    fn align(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Int(bytes) => bytes,
            Kind::Pointer | Kind::Struct(_) => 8,
        }
    }

    pub(super) fn size(&self, structure: &str) -> u64 {
        self.structures[*self.by_name.get(structure).unwrap_or_else(|| panic!("no struct {structure}"))].size
    }

    /// Distance and bytes of one element of a member; `path` may have indices: `mem.2.base`.
    pub(super) fn place(&self, structure: &str, path: &str) -> (u64, u64) {
        let mut index = *self.by_name.get(structure).unwrap_or_else(|| panic!("no struct {structure}"));
        let (mut offset, mut size) = (0, self.structures[index].size);
        for name in path.split('.') {
            if let Ok(number) = name.parse::<u64>() {
                offset += number * size;
                continue;
            }
            let (distance, kind) = self.find(index, name).unwrap_or_else(|| panic!("no {structure}.{path}"));
            offset += distance;
            size = self.bytes(kind);
            if let Kind::Struct(inner) = kind {
                index = inner;
            }
        }
        (offset, size)
    }

    fn find(&self, index: usize, name: &str) -> Option<(u64, Kind)> {
        let members = &self.structures[index].members;
        if let Some(member) = members.iter().find(|member| member.name == name) {
            return Some((member.offset, member.kind));
        }
        members.iter().filter(|member| member.name == "_").find_map(|member| match member.kind {
            Kind::Struct(inner) => self.find(inner, name).map(|(offset, kind)| (member.offset + offset, kind)),
            _ => None,
        })
    }

    /// The BTF of all of them, as Documentation/bpf/btf.rst describes it, with one enumeration.
    pub(super) fn btf(&self, enumerators: &[(&str, u32)]) -> Vec<u8> {
        let mut blob = Blob { types: Vec::new(), strings: vec![0], count: 0 };
        for (name, bytes) in [("unsigned char", 1u32), ("unsigned short", 2), ("unsigned int", 4), ("unsigned long", 8)]
        {
            let name = blob.string(name);
            blob.entry(name, 1 << 24, bytes, &[bytes * 8]);
        }
        const POINTER: u32 = 5;
        blob.entry(0, 2 << 24, 0, &[]);
        let mut ids: Vec<u32> = Vec::new();
        for structure in &self.structures {
            let mut words = Vec::new();
            for member in &structure.members {
                let mut id = match member.kind {
                    Kind::Int(bytes) => bytes.trailing_zeros() + 1,
                    Kind::Pointer => POINTER,
                    Kind::Struct(index) => ids[index],
                };
                if let Some(count) = member.count {
                    id = blob.entry(0, 3 << 24, 0, &[id, 3, count as u32]);
                }
                let name = if member.name == "_" { 0 } else { blob.string(&member.name) };
                words.extend([name, id, member.offset as u32 * 8]);
            }
            let name = if structure.name.starts_with('_') { 0 } else { blob.string(&structure.name) };
            let info = 4 << 24 | structure.members.len() as u32;
            ids.push(blob.entry(name, info, structure.size as u32, &words));
        }
        let values: Vec<u32> = enumerators.iter().flat_map(|(name, value)| [blob.string(name), *value]).collect();
        blob.entry(0, 6 << 24 | enumerators.len() as u32, 4, &values);
        blob.finish()
    }
}

struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Blob {
    fn string(&mut self, text: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn entry(&mut self, name: u32, info: u32, size: u32, more: &[u32]) -> u32 {
        for word in [name, info, size].iter().chain(more) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    fn finish(self) -> Vec<u8> {
        let types = self.types.len() as u32;
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, self.strings.len() as u32] {
            bytes.extend_from_slice(&u32::to_le_bytes(word));
        }
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}
