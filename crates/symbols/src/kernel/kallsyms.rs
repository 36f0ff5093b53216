//! kallsyms: the names and addresses of everything in a kernel, packed, as `/proc/kallsyms` shows them.
//!
//! *What it is*: from the ten digits in the table of tokens, which stand in every kernel, to all names and addresses,
//! whatever the order in which the linker put the parts (scripts/kallsyms.c, kernel/kallsyms.c).
//!
//! *Trap*: which parts there are follows no version, since stable kernels carry later changes: everything is told by its
//! structure, and each step has a proof, so that a wrong guess gives an error and never a wrong name.

use super::{PhysBytes, bytes, u16_at, u32_at, u64_at};
use std::collections::HashMap;
use std::sync::OnceLock;

/// What to look for in memory: the tokens of the ten digits, one after the other. Each digit is in use in some name, and
/// so is a token of its own.
pub const DIGITS: &[u8; 20] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";

/// Bytes before the tokens that are looked at, one after the other: names of today's kernels, and of half a million symbols.
const BEFORE: [u64; 2] = [6 << 20, 16 << 20];
/// Bytes behind the tokens for each symbol: its address.
const EACH: usize = 8;
/// Bytes that stand between.
const SLACK: usize = 4096;
const TOKENS: usize = 256;
/// Names to each marker.
const GROUP: usize = 256;
/// Names at most.
const MOST: usize = 2 << 20;
/// Bytes of all names together at most: 128 for each of as many.
const MOST_TEXT: usize = MOST * 128;

/// Why there are no symbols here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KallsymsError {
    /// The digits are no table of tokens.
    #[error("no table of tokens stands at {0:#x}")]
    NoTokens(u64),
    /// Tokens without the names that are made of them.
    #[error("the tokens at {0:#x} have no names before them")]
    NoNames(u64),
    /// Names without addresses.
    #[error("the {0} names have no addresses that make sense")]
    NoAddresses(usize),
}

/// One symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSymbol<'k> {
    /// Its address.
    pub address: u64,
    /// Its type letter, as nm(1) has it.
    pub kind: char,
    /// Its name.
    pub name: &'k str,
}

/// How addresses are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    /// A base and a distance each.
    Relative(u64),
    /// The same, but numbers of 0 and above are addresses themselves (per-CPU symbols of x86).
    Percpu(u64),
    /// Distances from the place of each (7.0 and later): these are physical here.
    Place(u64),
    /// 64 bits each.
    Absolute,
}

/// All symbols of a kernel, in the order of their addresses.
#[derive(Default)]
pub struct Kallsyms {
    names: Vec<u8>,
    /// Address, and where the name begins (behind its type letter).
    entries: Vec<(u64, u32)>,
    by_name: OnceLock<HashMap<u64, u32>>,
    /// Names that the table does not have, found elsewhere.
    more: HashMap<String, u64>,
    /// Physical place of the table of tokens.
    pub tokens_at: u64,
    /// Physical places of its parts by the kernel's names for them, which it leaves out of the table itself.
    pub parts: Vec<(&'static str, u64)>,
    /// Whether the addresses are physical ones, as kernels of 7.0 and later give them.
    pub physical: bool,
    /// Symbols that are left out because their names are damaged.
    pub lost: usize,
}

struct Tokens {
    at: u64,
    /// First byte behind the index of tokens.
    end: u64,
    texts: Vec<Vec<u8>>,
}

impl Kallsyms {
    /// Reads all symbols, given where the [`DIGITS`] stand in physical memory.
    ///
    /// # Errors
    /// When it is no kernel's table there.
    pub fn read(memory: &dyn PhysBytes, digits: u64) -> Result<Self, KallsymsError> {
        let tokens = tokens(memory, digits).ok_or(KallsymsError::NoTokens(digits))?;
        let mut last = KallsymsError::NoNames(tokens.at);
        for reach in BEFORE {
            match Self::around(memory, &tokens, reach) {
                Ok(kallsyms) => return Ok(kallsyms),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Reads all symbols whose names begin at most so many bytes before the tokens.
    fn around(memory: &dyn PhysBytes, tokens: &Tokens, reach: u64) -> Result<Self, KallsymsError> {
        let from = tokens.at.saturating_sub(reach);
        let mut before = bytes(memory, from, (tokens.at - from) as usize);
        if (before.len() as u64) < tokens.at - from {
            // A hole before the kernel: only what is in one piece with the tokens counts.
            before = tail(memory, from, tokens.at);
        }
        let names = names(&before, tokens).ok_or(KallsymsError::NoNames(tokens.at))?;
        // Addresses may stand in front of the names; what was cut off there must not be taken for not being there.
        if names.number_at < names.count.saturating_mul(EACH).saturating_add(SLACK)
            && BEFORE.iter().any(|more| *more > reach)
        {
            return Err(KallsymsError::NoAddresses(names.count));
        }
        let behind = bytes(memory, tokens.end, names.count.saturating_mul(EACH).saturating_add(SLACK));
        let count = names.count;
        let (offsets, how) =
            addresses(&before, &behind, tokens.end, &names).ok_or(KallsymsError::NoAddresses(count))?;
        let mut kallsyms = Self {
            names: Vec::with_capacity(count * 28),
            entries: Vec::with_capacity(count),
            by_name: OnceLock::new(),
            more: HashMap::new(),
            tokens_at: tokens.at,
            parts: parts(&before, &behind, tokens, &names, offsets, how),
            physical: matches!(how, Addresses::Place(_)),
            lost: 0,
        };
        let packed = before.get(names.start..).unwrap_or_default();
        // Where a page of names is damaged, those behind it in the same group stand at the wrong places.
        let whole = names.whole_groups(packed);
        let mut at = 0;
        for index in 0..count {
            if index % GROUP == 0 {
                at = names.markers.get(index / GROUP).map_or(at, |marker| *marker as usize);
            }
            if whole.get(index / GROUP) == Some(&false) {
                kallsyms.lost += 1;
                continue;
            }
            let Some((len, head)) = length(packed, at, names.long) else { break };
            // Of few symbols not even the longest names (`KSYM_NAME_LEN`) take more.
            if kallsyms.names.len() > MOST_TEXT.min(count.saturating_mul(512)) {
                return Err(KallsymsError::NoNames(tokens.at));
            }
            let place = kallsyms.names.len() as u32;
            for token in packed.get(at + head..at + head + len).unwrap_or_default() {
                kallsyms.names.extend_from_slice(tokens.texts.get(usize::from(*token)).map_or(&[], Vec::as_slice));
            }
            kallsyms.names.push(0);
            at += head + len;
            kallsyms.entries.push((address(offsets, index, how), place));
        }
        kallsyms.entries.sort_by_key(|(address, _)| *address);
        Ok(kallsyms)
    }

    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn text(&self, place: u32) -> &[u8] {
        let rest = self.names.get(place as usize..).unwrap_or_default();
        let end = memchr::memchr(0, rest).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn symbol(&self, entry: &(u64, u32)) -> KernelSymbol<'_> {
        let text = std::str::from_utf8(self.text(entry.1)).unwrap_or_default();
        let mut letters = text.chars();
        let kind = letters.next().unwrap_or('?');
        KernelSymbol { address: entry.0, kind, name: letters.as_str() }
    }

    /// All symbols in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = KernelSymbol<'_>> {
        self.entries.iter().map(|entry| self.symbol(entry))
    }

    /// All symbols in the order of the kernel's table, which is that of `/proc/kallsyms`: by address but for a few
    /// per-CPU ones.
    #[must_use]
    pub fn in_table_order(&self) -> Vec<KernelSymbol<'_>> {
        let mut entries: Vec<&(u64, u32)> = self.entries.iter().collect();
        // Names were unpacked one after the other.
        entries.sort_unstable_by_key(|(_, place)| *place);
        entries.into_iter().map(|entry| self.symbol(entry)).collect()
    }

    /// The first address above this one that a symbol has.
    #[must_use]
    pub fn next_above(&self, address: u64) -> Option<u64> {
        let next = self.entries.partition_point(|(own, _)| *own <= address);
        self.entries.get(next).map(|(own, _)| *own)
    }

    /// The address of a symbol; of several with the name, the lowest.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<u64> {
        self.own_address(name).or_else(|| self.more.get(name).copied())
    }

    /// Adds a name that was found elsewhere (among the kernel's exports, in a VMCOREINFO) for [`Self::address`]; what the
    /// table itself has stays as it is.
    pub fn add(&mut self, name: String, address: u64) {
        self.more.entry(name).or_insert(address);
    }

    fn own_address(&self, name: &str) -> Option<u64> {
        let index = self.by_name.get_or_init(|| {
            let mut index = HashMap::with_capacity(self.entries.len());
            for (number, entry) in self.entries.iter().enumerate() {
                let name = self.text(entry.1).get(1..).unwrap_or_default();
                index.entry(hash(name)).or_insert(number as u32);
            }
            index
        });
        let entry = self.entries.get(*index.get(&hash(name.as_bytes()))? as usize)?;
        let symbol = self.symbol(entry);
        if symbol.name == name {
            return Some(symbol.address);
        }
        // Two names with the same sum: look at all.
        self.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.address)
    }

    /// The symbol that an address lies in, and the distance from its start.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<(KernelSymbol<'_>, u64)> {
        let next = self.entries.partition_point(|(own, _)| *own <= address);
        let last = self.entries.get(next.checked_sub(1)?)?;
        // Of several at one address, the first is the oldest name.
        let first = self.entries.partition_point(|(own, _)| *own < last.0);
        let symbol = self.symbol(self.entries.get(first)?);
        Some((symbol, address - symbol.address))
    }

    /// Moves all addresses: where they are physical, to virtual ones.
    pub fn shift(&mut self, by: u64) {
        for (address, _) in &mut self.entries {
            *address = address.wrapping_add(by);
        }
        self.physical = false;
    }
}

fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The part of `from..to` that reaches `to` without a gap.
fn tail(memory: &dyn PhysBytes, from: u64, to: u64) -> Vec<u8> {
    const STEP: u64 = 64 << 10;
    let mut start = to;
    let mut probe = [0];
    while start > from && memory.read(start - STEP.min(start), &mut probe) == 1 {
        let next = start - STEP.min(start);
        let whole = bytes(memory, next, (start - next) as usize);
        if (whole.len() as u64) < start - next {
            break;
        }
        start = next;
    }
    bytes(memory, start, (to - start) as usize)
}

/// The table of tokens and its index, which prove each other.
fn tokens(memory: &dyn PhysBytes, digits: u64) -> Option<Tokens> {
    const WINDOW: usize = 8 << 10;
    let behind = bytes(memory, digits, WINDOW);
    // From "0" on, tokens 0x30 to 0xff.
    let mut at = 0;
    for _ in 0x30..TOKENS {
        let len = memchr::memchr(0, behind.get(at..)?)?;
        at += len + 1;
    }
    for align in [8u64, 4, 2, 1] {
        let index_at = (digits + at as u64).next_multiple_of(align) - digits;
        let index = behind.get(index_at as usize..index_at as usize + 2 * TOKENS)?;
        let entry = |token: usize| u16_at(index, 2 * token).map(u64::from);
        let rising = (1..TOKENS).all(|token| entry(token) > entry(token - 1));
        if entry(0) != Some(0) || !rising {
            continue;
        }
        let table_at = digits.checked_sub(entry(0x30)?)?;
        let table = bytes(memory, table_at, (entry(0xff)? + 256) as usize);
        let text = |token: usize| {
            let start = entry(token)? as usize;
            let len = memchr::memchr(0, table.get(start..)?)?;
            let right = token + 1 == TOKENS || entry(token + 1)? == (start + len + 1) as u64;
            right.then(|| table.get(start..start + len).map(<[u8]>::to_vec))?
        };
        let texts: Option<Vec<Vec<u8>>> = (0..TOKENS).map(text).collect();
        if let Some(texts) = texts {
            return Some(Tokens { at: table_at, end: digits + index_at + 2 * TOKENS as u64, texts });
        }
    }
    None
}

/// Where names are, in the bytes before the tokens.
struct Names {
    start: usize,
    count: usize,
    /// Lengths of 128 and more take two bytes (6.1 and later).
    long: bool,
    /// Where the number of symbols stands.
    number_at: usize,
    /// Where the markers stand.
    markers_at: usize,
    /// Where each 256th name begins, from the first.
    markers: Vec<u32>,
}

impl Names {
    /// Of each group of 256 names, whether it ends where the next one begins.
    fn whole_groups(&self, packed: &[u8]) -> Vec<bool> {
        let ends = |(from, to): (&u32, &u32)| {
            let end = (0..GROUP).try_fold(*from as usize, |at, _| {
                let (len, head) = length(packed, at, self.long).filter(|(len, _)| *len > 0)?;
                Some(at + head + len)
            });
            end == Some(*to as usize)
        };
        // Nothing says where the last one ends.
        self.markers.iter().zip(self.markers.iter().skip(1)).map(ends).collect()
    }
}

/// Length of a packed name in tokens, and the bytes that say it.
fn length(packed: &[u8], at: usize, long: bool) -> Option<(usize, usize)> {
    let first = usize::from(*packed.get(at)?);
    if long && first & 0x80 != 0 {
        let second = usize::from(*packed.get(at + 1)?);
        return Some((first & 0x7f | second << 7, 2));
    }
    Some((first, 1))
}

fn names(before: &[u8], tokens: &Tokens) -> Option<Names> {
    let (markers, at) = markers(before)?;
    for long in [true, false] {
        if let Some(names) = names_before(before, &markers, at, long, tokens) {
            return Some(names);
        }
    }
    None
}

/// The longest run of rising numbers that begins with 0: the place of each 256th name.
fn markers(before: &[u8]) -> Option<(Vec<u32>, usize)> {
    const STEP: std::ops::RangeInclusive<u32> = 0x200..=0x8000;
    const LEAST: usize = 16;
    let (words, _) = before.as_chunks::<4>();
    // The bytes before the tokens end at the tokens, which are aligned; so counting is from the end.
    let skip = before.len() % 4;
    let words = if skip == 0 { words } else { before.get(skip..)?.as_chunks::<4>().0 };
    let word = |index: usize| words.get(index).map(|bytes| u32::from_le_bytes(*bytes));
    let mut best: Option<(usize, usize)> = None;
    let mut index = 0;
    while index < words.len() {
        if word(index) != Some(0) {
            index += 1;
            continue;
        }
        let mut end = index + 1;
        let mut last = 0u32;
        while let Some(next) = word(end)
            && next.checked_sub(last).is_some_and(|step| STEP.contains(&step))
        {
            last = next;
            end += 1;
        }
        if end - index >= LEAST && best.is_none_or(|(_, len)| end - index > len) {
            best = Some((index, end - index));
        }
        index = end;
    }
    let (start, len) = best?;
    Some(((start..start + len).filter_map(word).collect(), skip + 4 * start))
}

fn names_before(before: &[u8], markers: &[u32], at: usize, long: bool, tokens: &Tokens) -> Option<Names> {
    let last = *markers.last()? as usize;
    let groups = markers.len();
    // The last group has 1 to 256 names of at most 512 tokens each, as a rule some 16.
    let from = at.checked_sub(last)?.saturating_sub(256 * 96);
    let to = at - last;
    let mut start = from.next_multiple_of(4);
    while start < to {
        if lands(before, start, markers, long) {
            // The number of symbols stands just before, with padding.
            let least = (groups - 1) * 256;
            let found = [4usize, 8, 16].into_iter().find_map(|back| {
                let place = start.checked_sub(back)?;
                let number = u32_at(before, place)? as usize;
                (number > least && number <= groups * 256 && number <= MOST).then_some((number, place))
            });
            if let Some((count, number_at)) = found
                && first_name(before, start, long, tokens)
            {
                return Some(Names { start, count, long, number_at, markers_at: at, markers: markers.to_vec() });
            }
        }
        start += 4;
    }
    None
}

/// Whether 256, 512 and 768 names from `start` on end where the markers say.
fn lands(before: &[u8], start: usize, markers: &[u32], long: bool) -> bool {
    let mut at = start;
    for marker in markers.iter().skip(1).take(3) {
        for _ in 0..256 {
            match length(before, at, long) {
                Some((len, head)) if len > 0 => at += head + len,
                _ => return false,
            }
        }
        if at != start + *marker as usize {
            return false;
        }
    }
    true
}

/// Whether the first name begins with a type letter.
fn first_name(before: &[u8], start: usize, long: bool, tokens: &Tokens) -> bool {
    let letter = || {
        let (len, head) = length(before, start, long)?;
        let token = *before.get(start + head..start + head + len)?.first()?;
        tokens.texts.get(usize::from(token))?.first().copied()
    };
    letter().is_some_and(|letter| b"AaBbDdRrTtVvWwNn?".contains(&letter))
}

/// Where the parts are in physical memory. `offsets` is a piece of what stands before the tokens or behind them.
fn parts(
    before: &[u8],
    behind: &[u8],
    tokens: &Tokens,
    names: &Names,
    offsets: &[u8],
    how: Addresses,
) -> Vec<(&'static str, u64)> {
    let from = tokens.at - before.len() as u64;
    let (piece, piece_at) =
        if before.as_ptr_range().contains(&offsets.as_ptr()) { (before, from) } else { (behind, tokens.end) };
    let offsets_at = piece_at + (offsets.as_ptr() as usize).wrapping_sub(piece.as_ptr() as usize) as u64;
    let mut parts = vec![
        ("kallsyms_num_syms", from + names.number_at as u64),
        ("kallsyms_names", from + names.start as u64),
        ("kallsyms_markers", from + names.markers_at as u64),
        ("kallsyms_token_table", tokens.at),
        ("kallsyms_token_index", tokens.end - 2 * TOKENS as u64),
    ];
    match how {
        Addresses::Absolute => parts.push(("kallsyms_addresses", offsets_at)),
        Addresses::Place(_) => parts.push(("kallsyms_offsets", offsets_at)),
        Addresses::Relative(_) | Addresses::Percpu(_) => {
            parts.push(("kallsyms_offsets", offsets_at));
            let base_at = (offsets_at + 4 * names.count as u64).next_multiple_of(8);
            parts.push(("kallsyms_relative_base", base_at));
        }
    }
    parts
}

/// One stored address.
fn address(offsets: &[u8], index: usize, how: Addresses) -> u64 {
    let value = || u32_at(offsets, 4 * index).unwrap_or(0);
    match how {
        Addresses::Relative(base) => base.wrapping_add(u64::from(value())),
        Addresses::Percpu(base) => match value() as i32 {
            value @ 0.. => value as u64,
            value => base.wrapping_sub(1).wrapping_sub(i64::from(value) as u64),
        },
        Addresses::Place(at) => at.wrapping_add(4 * index as u64).wrapping_add(i64::from(value() as i32) as u64),
        Addresses::Absolute => u64_at(offsets, 8 * index).unwrap_or(0),
    }
}

/// The addresses: in one of the places where kernels have them, in one of the forms, such that they rise.
fn addresses<'b>(before: &'b [u8], behind: &'b [u8], behind_at: u64, names: &Names) -> Option<(&'b [u8], Addresses)> {
    let n = names.count;
    let sane = |offsets: &[u8], how| {
        let step = (n / 4096).max(1);
        let mut last = 0;
        let (mut wrong, mut high, mut seen) = (0, 0, 0);
        for index in (0..n).step_by(step) {
            let own = address(offsets, index, how);
            wrong += usize::from(own < last);
            high += usize::from(own >= 1 << 63);
            seen += 1;
            last = own;
        }
        let physical = matches!(how, Addresses::Place(_));
        // Nearly all are the kernel's own; of physical ones, none is beyond 2^52.
        wrong * 1000 <= seen && if physical { high == 0 && last > 0 && last < 1 << 52 } else { high * 10 > seen * 9 }
    };
    let mut found = None;
    let mut offer = |offsets: Option<&'b [u8]>, how: Addresses| {
        if let Some(offsets) = offsets
            && found.is_none()
            && sane(offsets, how)
        {
            found = Some((offsets, how));
        }
    };
    // Before the names (up to 6.3): offsets, base, number.
    for back in [8usize, 16] {
        let Some(base_at) = names.number_at.checked_sub(back) else { continue };
        let base = u64_at(before, base_at).unwrap_or(0);
        // The array begins at a multiple of 8, and the base follows at the next one: one entry beside it looks as sane.
        let size = (4 * n).next_multiple_of(8);
        let offsets = base_at.checked_sub(size).and_then(|start| before.get(start..start + 4 * n));
        offer(offsets, Addresses::Percpu(base));
        offer(offsets, Addresses::Relative(base));
    }
    let whole = names.number_at.checked_sub(8 * n).and_then(|start| before.get(start..start + 8 * n));
    offer(whole, Addresses::Absolute);
    // Behind the tokens (6.4 and later), aligned to 8; since 7.0, where no number has more than 32 bits any more, to 4.
    // The wrong one of the two looks as sane: every name then has its neighbour's address.
    let start = (behind_at.next_multiple_of(8) - behind_at) as usize;
    let offsets = behind.get(start..start + 4 * n);
    let base_at = (behind_at + (start + 4 * n) as u64).next_multiple_of(8) - behind_at;
    let base = u64_at(behind, base_at as usize).unwrap_or(0);
    offer(offsets, Addresses::Percpu(base));
    offer(offsets, Addresses::Relative(base));
    offer(behind.get(start..start + 8 * n), Addresses::Absolute);
    let start = (behind_at.next_multiple_of(4) - behind_at) as usize;
    offer(behind.get(start..start + 4 * n), Addresses::Place(behind_at + start as u64));
    found
}
