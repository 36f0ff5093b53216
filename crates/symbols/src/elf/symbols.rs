//! The symbol tables: which function covers an address, and where a name lies.
//!
//! Not here: demangling, and which of several tables is asked first (`crate::module`).
//!
//! Example: in a stripped libc `raise` and `gsignal` share an address; the one that gdb shows is chosen.
//!
//! Folklore, aliases: several names of one address are ordered neither by the linker nor by a standard. gdb 13 takes the
//! name that lies last in its memory, elfutils global over local over weak and then the first; they differ on three
//! quarters of the 363 shared addresses of a stripped glibc 2.36. Here the name with the fewest leading underscores wins
//! (the one that people call), then global over weak over local, then the first: that agrees with one of them on 337.
//! Like both, a symbol with a size names nothing behind its end, and one without a size (a label in assembly) names
//! everything up to the next symbol of its section.
//!
//! Trap: sorting by comparison was half the time of a large program's report (300 000 symbols). Addresses are spread so
//! evenly that dealing them into buckets sorts them nearly (`sorted`), for a sixth of that.

use super::*;

/// A symbol as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundSymbol<'a> {
    /// Without symbol version.
    pub(crate) name: &'a [u8],
    pub(crate) start: u64,
    pub(crate) size: u64,
    /// The address lies within the size.
    pub(crate) exact: bool,
    /// STT_FUNC and the like, not a mere label.
    pub(crate) function: bool,
}

/// Where a symbol table lies in its file, and the index that lookups have made of it.
#[derive(Debug)]
pub(crate) struct SymbolTable {
    symbols: (u64, u64),
    strings: (u64, u64),
    /// SHT_SYMTAB_SHNDX and the like are not needed: a section is only looked up by address.
    index: OnceLock<Vec<Indexed>>,
}

#[derive(Debug, Clone, Copy)]
struct Indexed {
    start: u64,
    /// The end of whichever symbol up to here reaches farthest: where to stop looking back.
    reach: u64,
    index: u32,
}

/// One symbol, its fields widened.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    name: u32,
    kind: u8,
    binding: u8,
    shndx: u16,
    value: u64,
    size: u64,
    index: u32,
}

/// By address, then by index. Dealt into buckets of equal width first, of which each is then sorted: linear where
/// addresses are spread evenly, and never worse than sorting the whole.
fn sorted(entries: Vec<Indexed>) -> Vec<Indexed> {
    let order = |entry: &Indexed| (entry.start, entry.index);
    let (least, most) =
        entries.iter().fold((u64::MAX, 0), |(least, most), entry| (entry.start.min(least), entry.start.max(most)));
    let mut shift = 0;
    while most.saturating_sub(least) >> shift > entries.len() as u64 / 2 {
        shift += 1;
    }
    let bucket = |entry: &Indexed| ((entry.start - least) >> shift) as usize;
    // Where each bucket begins, then where its next entry goes, which at the end is where the next bucket begins.
    let mut places = vec![0u32; entries.len() / 2 + 2];
    for entry in &entries {
        if let Some(count) = places.get_mut(bucket(entry) + 1) {
            *count = count.saturating_add(1);
        }
    }
    let mut total = 0;
    for place in &mut places {
        total = place.saturating_add(total);
        *place = total;
    }
    let mut out = vec![Indexed { start: 0, reach: 0, index: 0 }; entries.len()];
    for entry in &entries {
        if let Some(place) = places.get_mut(bucket(entry)) {
            if let Some(to) = out.get_mut(*place as usize) {
                *to = *entry;
            }
            *place = place.saturating_add(1);
        }
    }
    let mut begin = 0;
    for end in places {
        if let Some(bucket) = out.get_mut(begin..end as usize).filter(|bucket| bucket.len() > 1) {
            bucket.sort_unstable_by_key(order);
        }
        begin = end as usize;
    }
    out
}

impl SymbolTable {
    fn new(symbols: (u64, u64), strings: (u64, u64)) -> Self {
        SymbolTable { symbols, strings, index: OnceLock::new() }
    }

    fn bytes<'a>(&self, object: &'a ElfObject) -> &'a [u8] {
        let (offset, size) = self.symbols;
        let available = (object.data().len() as u64).saturating_sub(offset);
        object.view().bytes(offset, size.min(available)).unwrap_or(&[])
    }

    fn entry_size(object: &ElfObject) -> usize {
        if object.is_64 { 24 } else { 16 }
    }

    fn read(object: &ElfObject, bytes: &[u8], index: u32) -> Option<Symbol> {
        let half = |bytes: [u8; 2]| if object.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
        let word = |bytes: [u8; 4]| if object.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
        let long = |bytes: [u8; 8]| if object.little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) };
        // A slice of bytes of one length, taken apart without a check for each field: this runs for every symbol.
        let (name, rest) = bytes.split_first_chunk::<4>()?;
        let (info, shndx, value, size) = if object.is_64 {
            let (&[info, _, low, high, ..], values) = rest.split_first_chunk::<4>()?;
            let (value, size) = values.split_first_chunk::<8>()?;
            (info, [low, high], long(*value), long(*size.first_chunk()?))
        } else {
            let (value, rest) = rest.split_first_chunk::<4>()?;
            let (size, rest) = rest.split_first_chunk::<4>()?;
            let &[info, _, low, high] = rest.first_chunk::<4>()?;
            (info, [low, high], u64::from(word(*value)), u64::from(word(*size)))
        };
        let (kind, binding) = (info & 15, info >> 4);
        Some(Symbol { name: word(*name), kind, binding, shndx: half(shndx), value, size, index })
    }

    fn name<'a>(&self, object: &'a ElfObject, symbol: &Symbol) -> &'a [u8] {
        let (offset, size) = self.strings;
        if u64::from(symbol.name) >= size {
            return &[];
        }
        let name = offset.checked_add(u64::from(symbol.name)).and_then(|at| object.view().c_str(at)).unwrap_or(&[]);
        // ".symtab" of a linked file may spell the version out: "memcpy@@GLIBC_2.14".
        match name.iter().position(|&byte| byte == b'@') {
            Some(at) if at > 0 => name.get(..at).unwrap_or(name),
            _ => name,
        }
    }

    /// Every symbol that may name code, with its address corrected.
    fn functions<'a>(&'a self, object: &'a ElfObject) -> impl Iterator<Item = Symbol> + 'a {
        let thumb = object.machine == EM_ARM;
        let descriptors = object.descriptors();
        let entry = Self::entry_size(object);
        let info_at = if object.is_64 { 4 } else { 12 };
        let entries = self.bytes(object).chunks_exact(entry).enumerate();
        entries.filter_map(move |(index, bytes)| {
            let kind = bytes.get(info_at)? & 15;
            let code = matches!(kind, STT_FUNC | STT_GNU_IFUNC | STT_NOTYPE) || (thumb && kind == STT_ARM_TFUNC);
            if !code {
                return None;
            }
            let mut symbol = Self::read(object, bytes, index as u32)?;
            if symbol.shndx == 0 || (symbol.shndx >= SHN_LORESERVE && symbol.shndx != SHN_XINDEX) {
                return None;
            }
            if kind == STT_NOTYPE {
                let section = object.sections.get(usize::from(symbol.shndx));
                if section.is_some_and(|section| !section.is_code()) && object.file_type != ET_REL {
                    return None;
                }
                if object.is_mapping_symbol(self.name(object, &symbol)) {
                    return None;
                }
            } else if thumb {
                symbol.value &= !1;
            }
            if let Some(section) = descriptors.filter(|section| section.contains(symbol.value)) {
                // ppc64 ELFv1: the symbol is a descriptor in .opd whose first word is the code's address.
                let at = section.offset.checked_add(symbol.value - section.addr)?;
                symbol.value = object.view().u64(at)?;
            }
            Some(symbol)
        })
    }

    fn index(&self, object: &ElfObject) -> &[Indexed] {
        self.index.get_or_init(|| {
            let mut index: Vec<Indexed> = Vec::with_capacity(self.bytes(object).len() / Self::entry_size(object));
            index.extend(self.functions(object).map(|s| Indexed {
                start: s.value,
                reach: s.value.saturating_add(s.size),
                index: s.index,
            }));
            let mut index = sorted(index);
            let mut reach = 0;
            for entry in &mut index {
                reach = entry.reach.max(reach);
                entry.reach = reach;
            }
            index
        })
    }

    /// The symbol that covers an address.
    pub(crate) fn find<'a>(&self, object: &'a ElfObject, at: u64) -> Option<FoundSymbol<'a>> {
        let read_name = |symbol: &Symbol| self.name(object, symbol);
        let mut best = Best::new(at, &read_name);
        let index = self.index(object);
        let after = index.partition_point(|entry| entry.start <= at);
        let bytes = self.bytes(object);
        let size = Self::entry_size(object);
        let mut seen = 0;
        let turn = |entry: &Indexed, best: &mut Best<'_>| {
            let from = entry.index as usize * size;
            let Some(raw) = bytes.get(from..from + size) else { return };
            let Some(mut symbol) = Self::read(object, raw, entry.index) else { return };
            symbol.value = entry.start;
            best.offer(symbol);
        };
        for entry in index.get(..after).unwrap_or(&[]).iter().rev() {
            seen += 1;
            // Behind this one, nothing reaches the address any more, or a better one is known already.
            let settled = best.settled(entry);
            if settled || seen > 4096 {
                break;
            }
            turn(entry, &mut best);
        }
        let (symbol, exact) = best.winner()?;
        if !exact {
            // A label names what follows it only within its own section.
            let same = match (object.section_at(at), object.section_at(symbol.value)) {
                (Some(here), Some(there)) => here.addr == there.addr && here.is_code(),
                (None, None) => object.sections.is_empty(),
                _ => false,
            };
            if !same {
                return None;
            }
        }
        let name = self.name(object, &symbol);
        (!name.is_empty()).then_some(FoundSymbol {
            name,
            start: symbol.value,
            size: symbol.size,
            exact,
            function: symbol.kind != STT_NOTYPE,
        })
    }

    /// The data symbol that covers an address, and its start. Hardly anybody asks, so no index is kept.
    pub(crate) fn data_at<'a>(&self, object: &'a ElfObject, at: u64) -> Option<(&'a [u8], u64)> {
        let entries = self.bytes(object).chunks_exact(Self::entry_size(object)).zip(0..);
        entries
            .filter_map(|(bytes, index)| Self::read(object, bytes, index))
            .filter(|symbol| symbol.kind == STT_OBJECT && symbol.shndx != 0)
            .find(|symbol| at.checked_sub(symbol.value).is_some_and(|past| past < symbol.size))
            .map(|symbol| (self.name(object, &symbol), symbol.value))
            .filter(|(name, _)| !name.is_empty())
    }

    /// Address and size of a defined symbol (function or data); global ones win over local ones.
    pub(crate) fn by_name(&self, object: &ElfObject, wanted: &[u8]) -> Option<(u64, u64)> {
        let mut local = None;
        for (index, bytes) in self.bytes(object).chunks_exact(Self::entry_size(object)).enumerate() {
            let Some(symbol) = Self::read(object, bytes, index as u32) else { break };
            if symbol.shndx == 0 || matches!(symbol.kind, STT_SECTION | STT_FILE) {
                continue;
            }
            // The first byte decides nearly always, without looking for the end of the name.
            let first = self.strings.0.checked_add(u64::from(symbol.name)).and_then(|at| object.view().u8(at));
            if first != wanted.first().copied() || self.name(object, &symbol) != wanted {
                continue;
            }
            let mut value = symbol.value;
            if object.machine == EM_ARM && symbol.kind == STT_FUNC {
                value &= !1;
            }
            if let Some(section) = object.descriptors().filter(|section| section.contains(value)) {
                let at = section.offset.checked_add(value - section.addr);
                value = at.and_then(|at| object.view().u64(at)).unwrap_or(value);
            }
            match symbol.binding {
                STB_GLOBAL | STB_WEAK | STB_GNU_UNIQUE => return Some((value, symbol.size)),
                STB_LOCAL => local = local.or(Some((value, symbol.size))),
                _ => {}
            }
        }
        local
    }

    /// The name of the symbol with an index (for relocations).
    pub(crate) fn name_of<'a>(&self, object: &'a ElfObject, index: u32) -> Option<&'a [u8]> {
        let size = Self::entry_size(object);
        let from = (index as usize).checked_mul(size)?;
        let symbol = Self::read(object, self.bytes(object).get(from..from.checked_add(size)?)?, index)?;
        Some(self.name(object, &symbol)).filter(|name| !name.is_empty())
    }
}

/// The best symbols so far for an address.
struct Best<'n> {
    at: u64,
    /// Reads the name of a symbol.
    name: &'n dyn Fn(&Symbol) -> &'n [u8],
    covering: Option<Symbol>,
    /// The nearest one without a size.
    label: Option<Symbol>,
    /// Where the last symbol with a size ends, of those that end before the address: no label reaches over it.
    floor: u64,
}

impl<'n> Best<'n> {
    fn new(at: u64, name: &'n dyn Fn(&Symbol) -> &'n [u8]) -> Self {
        Best { at, name, covering: None, label: None, floor: 0 }
    }

    fn offer(&mut self, symbol: Symbol) {
        if symbol.value > self.at {
            return;
        }
        if symbol.size == 0 {
            if self.beats(&symbol, self.label.as_ref()) {
                self.label = Some(symbol);
            }
        } else if self.at - symbol.value < symbol.size {
            if self.beats(&symbol, self.covering.as_ref()) {
                self.covering = Some(symbol);
            }
        } else {
            self.floor = self.floor.max(symbol.value.saturating_add(symbol.size));
        }
    }

    /// Whether a symbol is better than the best one so far.
    fn beats(&self, symbol: &Symbol, known: Option<&Symbol>) -> bool {
        let Some(known) = known else { return true };
        if symbol.value != known.value {
            return symbol.value > known.value;
        }
        let rank = |symbol: &Symbol| {
            let name = (self.name)(symbol);
            let underscores = name.iter().take_while(|byte| **byte == b'_').count();
            let binding = match symbol.binding {
                STB_GLOBAL | STB_GNU_UNIQUE => 2,
                STB_WEAK => 1,
                _ => 0,
            };
            let mangled = name.starts_with(b"_Z") || name.starts_with(b"_R");
            // Functions before labels; a name before none.
            (symbol.kind != STT_NOTYPE, !name.is_empty(), if mangled { 0 } else { -(underscores as i64) }, binding)
        };
        match rank(symbol).cmp(&rank(known)) {
            std::cmp::Ordering::Equal => symbol.index < known.index,
            order => order.is_gt(),
        }
    }

    /// Whether no entry from this one downwards can win any more.
    fn settled(&mut self, entry: &Indexed) -> bool {
        match (self.covering, self.label) {
            (Some(known), _) => entry.start < known.value,
            (None, Some(known)) if entry.start < known.value && entry.reach <= self.at => {
                // Nothing down there covers the address, but something may end behind the label.
                self.floor = self.floor.max(entry.reach);
                true
            }
            (None, None) => entry.reach <= self.at && entry.start < self.floor,
            _ => false,
        }
    }

    fn winner(&self) -> Option<(Symbol, bool)> {
        match (self.covering, self.label) {
            (Some(symbol), _) => Some((symbol, true)),
            (None, Some(label)) if label.value >= self.floor => Some((label, false)),
            _ => None,
        }
    }
}

impl ElfObject {
    /// `.opd` of a ppc64 file with ABI 1 (or unmarked).
    fn descriptors(&self) -> Option<&Section> {
        if self.machine != EM_PPC64 || self.flags & 3 > 1 {
            return None;
        }
        self.section_named(".opd").filter(|section| section.kind != SHT_NOBITS)
    }

    /// `$x`, `$d`, `$a`, `$t` and `$x.foo` mark code and data on arm, aarch64 and riscv; they name nothing.
    fn is_mapping_symbol(&self, name: &[u8]) -> bool {
        match name {
            [] => true,
            [b'$', b'a' | b'd' | b't' | b'x', rest @ ..] => {
                rest.is_empty() || rest.starts_with(b".") || rest.starts_with(b"rv")
            }
            // Local labels of the assembler that were kept by accident.
            [b'.', b'L', ..] => true,
            _ => false,
        }
    }

    fn table_of_kind(&self, kind: u32) -> Option<SymbolTable> {
        let section = self.sections.iter().find(|section| section.kind == kind)?;
        let strings = self.sections.get(section.link as usize)?;
        (section.size >= Self::min_symbols_size(self.is_64))
            .then(|| SymbolTable::new((section.offset, section.size), (strings.offset, strings.size)))
    }

    /// The null symbol and one more.
    fn min_symbols_size(is_64: bool) -> u64 {
        if is_64 { 48 } else { 32 }
    }

    /// `.symtab`.
    pub(crate) fn symtab(&self) -> Option<&SymbolTable> {
        self.symtab.get_or_init(|| self.table_of_kind(SHT_SYMTAB)).as_ref()
    }

    /// `.dynsym`, or what the dynamic section says where there are no section headers.
    pub(crate) fn dynsym(&self) -> Option<&SymbolTable> {
        let table = self.dynsym.get_or_init(|| {
            let by_section = if self.image.is_none() { self.table_of_kind(SHT_DYNSYM) } else { None };
            by_section.or_else(|| {
                // A debug file has a PT_DYNAMIC that points at nothing of its own.
                if self.section_named(".dynamic").is_some_and(|section| section.kind == SHT_NOBITS) {
                    return None;
                }
                self.dynamic_symbols().map(|(symbols, strings)| SymbolTable::new(symbols, strings))
            })
        });
        table.as_ref()
    }

    /// Whether there is a `.symtab` with symbols in it.
    pub fn has_symtab(&self) -> bool {
        self.symtab().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_sort_as_a_sort_does() {
        let even: Vec<u64> = (0..5000u64).map(|i| 0x1000 + i.wrapping_mul(0x9e37_79b9) % 5000 * 16).collect();
        let ends = vec![u64::MAX, 0, u64::MAX, 5, 0, u64::MAX - 1, 7];
        let crowd: Vec<u64> = (0..1000u64).map(|i| if i == 500 { u64::MAX } else { 4000 - i * 4 }).collect();
        for starts in [vec![], vec![3], vec![9, 9], even, ends, crowd, vec![1; 100]] {
            let entry = |(index, &start): (usize, &u64)| Indexed { start, reach: start, index: index as u32 };
            let entries: Vec<Indexed> = starts.iter().enumerate().map(entry).collect();
            let mut expected: Vec<(u64, u32)> = entries.iter().map(|entry| (entry.start, entry.index)).collect();
            expected.sort_unstable();
            let got: Vec<(u64, u32)> = sorted(entries).iter().map(|entry| (entry.start, entry.index)).collect();
            assert_eq!(got, expected);
        }
    }
}
