//! The kernel's own table of symbols, packed as scripts/kallsyms.c does it, in the three orders that kernels had.

use super::Age;

/// A symbol: address, type letter, name.
pub(super) type Symbol = (u64, char, String);

/// Parts of names that are one byte.
const TOKENS: [&str; 14] = [
    "tfill_", "init_", "_struct", "__start_", "__stop_", "kernel", "task", "lock", "mutex", "current", "linux_", "sys",
    "cpu", "_ops",
];

/// The packed table.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Where the tokens stand in it.
    pub(super) tokens: u64,
}

/// All 256 tokens: characters of names stand for themselves; other bytes are parts of names, or nothing in use.
fn tokens() -> Vec<String> {
    let mut parts = TOKENS.iter();
    let token = |byte: u8| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$') {
            return char::from(byte).to_string();
        }
        parts.next().map_or_else(|| format!("Q{byte:02x}"), |part| (*part).to_owned())
    };
    (0..=255).map(token).collect()
}

/// Packs the symbols; the table will lie at the physical address `at`, and `image_offset` leads from there to virtual ones.
pub(super) fn pack(symbols: &mut [Symbol], age: Age, at: u64, image_offset: u64) -> Packed {
    symbols.sort();
    let tokens = tokens();
    let (mut names, mut markers) = (Vec::new(), Vec::new());
    for (number, (_, kind, name)) in symbols.iter().enumerate() {
        if number % 256 == 0 {
            markers.extend_from_slice(&(names.len() as u32).to_le_bytes());
        }
        let text = format!("{kind}{name}");
        let mut rest = text.as_str();
        let mut packed = Vec::new();
        while !rest.is_empty() {
            let fits = (0..256).filter(|token| rest.starts_with(tokens[*token].as_str()));
            let best = fits.max_by_key(|token| tokens[*token].len()).expect("every character is a token");
            packed.push(best as u8);
            rest = &rest[tokens[best].len()..];
        }
        names.push(packed.len() as u8);
        names.extend(packed);
    }
    let (mut table, mut index) = (Vec::new(), Vec::new());
    for token in &tokens {
        index.extend_from_slice(&(table.len() as u16).to_le_bytes());
        table.extend_from_slice(token.as_bytes());
        table.push(0);
    }
    let base = symbols.iter().map(|(address, ..)| *address).find(|address| *address >> 63 == 1).unwrap_or(0);
    let mut out = Out { bytes: Vec::new(), align: if age == Age::New { 4 } else { 8 } };
    let relative = |out: &mut Out| {
        for (address, ..) in symbols.iter() {
            // Numbers of 0 and above are addresses themselves: the variables of each processor.
            let value = if *address >> 63 == 0 { *address as i32 } else { -1 - (address - base) as i32 };
            out.bytes.extend_from_slice(&value.to_le_bytes());
        }
        out.part(&base.to_le_bytes());
    };
    out.align();
    if age == Age::Old {
        relative(&mut out);
    }
    out.part(&(symbols.len() as u32).to_le_bytes());
    out.part(&names);
    out.part(&markers);
    if age != Age::Old {
        // An index by name, which nobody reads here.
        out.part(&vec![0x11; 3 * symbols.len()]);
    }
    out.align();
    let place = out.bytes.len() as u64;
    out.part(&table);
    out.part(&index);
    out.align();
    match age {
        Age::Old => {}
        Age::Middle => relative(&mut out),
        Age::New => {
            for (address, ..) in symbols.iter() {
                let own = at + out.bytes.len() as u64;
                let value = address.wrapping_sub(image_offset).wrapping_sub(own);
                out.bytes.extend_from_slice(&(value as u32).to_le_bytes());
            }
        }
    }
    Packed { bytes: out.bytes, tokens: place }
}

struct Out {
    bytes: Vec<u8>,
    align: usize,
}

impl Out {
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(self.align), 0);
    }

    fn part(&mut self, bytes: &[u8]) {
        self.align();
        self.bytes.extend_from_slice(bytes);
    }
}
