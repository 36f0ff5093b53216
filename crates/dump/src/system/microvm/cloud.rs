//! cloud-hypervisor: a folder with `memory-ranges`, `state.json` and `config.json`.
//!
//! Folklore (cloud-hypervisor's vmm/src/memory_manager.rs, vm-migration/src/protocol.rs): `memory-ranges` holds the ranges
//! one behind the other in the order of the table `memory_ranges` of the memory manager's state, objects of `gpa` and
//! `length`. That state is JSON in a string inside `state.json`, or, in old versions, in a list of its bytes. Without it:
//! on x86-64 memory below 3 GiB and then from 4 GiB on (`MEM_32BIT_RESERVED_START`).
//!
//! *Trap*: the table of mappings in the same state has a `gpa` too, with a `size` behind it.

use super::{Described, Range, read_file};
use crate::Arch;
use std::path::Path;

const MOST: usize = 64 << 20;
const MOST_RANGES: usize = 1 << 16;
const GAP: u64 = 3 << 30;
const ABOVE: u64 = 1 << 32;

pub(super) fn describe(path: &Path, len: u64) -> Option<Described> {
    if path.file_name()? != "memory-ranges" {
        return None;
    }
    let state = read_file(&path.with_file_name("state.json"), MOST);
    let config = read_file(&path.with_file_name("config.json"), 1 << 20);
    if state.is_none() && config.is_none() {
        return None;
    }
    let text = state.unwrap_or_default();
    let mut ranges = table(&text);
    if ranges.is_empty() {
        ranges = table(&bytes_in_lists(&text));
    }
    let mut remarks = Vec::new();
    if ranges.is_empty() {
        remarks.push("no table of ranges was found in state.json; memory is placed by its size".to_owned());
        ranges.push(Range { start: 0, length: len.min(GAP) });
        if len > GAP {
            ranges.push(Range { start: ABOVE, length: len - GAP });
        }
    }
    // An arm64 guest has no memory below 1 GiB.
    let lowest = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let arch = if lowest >= 1 << 30 { Arch::Aarch64 } else { Arch::X86_64 };
    Some(Described { program: "cloud-hypervisor", arch, ranges, remarks })
}

/// Objects of `gpa` and then `length`, whatever stands around them.
fn table(text: &[u8]) -> Vec<Range> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(found) = position(text.get(at..).unwrap_or_default(), b"gpa") {
        at += found + 3;
        let Some((start, behind)) = number(text, at) else { continue };
        let Some(rest) = text.get(behind..) else { break };
        // Quotes, escapes, a comma and blanks, and then the other name.
        let name = rest.iter().position(u8::is_ascii_alphabetic).unwrap_or(rest.len());
        if name > 16 || !rest.get(name..).is_some_and(|rest| rest.starts_with(b"length")) {
            continue;
        }
        if let Some((length, behind)) = number(text, behind + name + 6) {
            if ranges.len() < MOST_RANGES {
                ranges.push(Range { start, length });
            }
            at = behind;
        }
    }
    ranges
}

fn position(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

/// The number behind a name: quotes, escapes, a colon and blanks may stand before it.
fn number(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let rest = text.get(at..)?;
    let skip = rest.iter().take(16).position(u8::is_ascii_digit)?;
    if !rest.get(..skip)?.iter().all(|b| b"\\\": \n\r\t".contains(b)) {
        return None;
    }
    let digits = rest.get(skip..)?;
    let len = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let value = std::str::from_utf8(digits.get(..len)?).ok()?.parse().ok()?;
    Some((value, at + skip + len))
}

/// What lists of numbers below 256 spell.
fn bytes_in_lists(text: &[u8]) -> Vec<u8> {
    let lists = text.split(|&b| b == b'[').filter_map(|part| part.split(|&b| b == b']').next());
    let byte = |word: &[u8]| std::str::from_utf8(word).ok()?.trim().parse::<u8>().ok();
    lists
        .filter_map(|list| list.split(|&b| b == b',').map(byte).collect::<Option<Vec<u8>>>())
        .filter(|list| list.len() > 16)
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: [Range; 2] = [Range { start: 0, length: 4096 }, Range { start: 1 << 32, length: 8192 }];

    #[test]
    fn tables_in_every_wrapping() {
        let plain = br#"{"memory_ranges":{"data":[{"gpa":0,"length":4096},{"gpa": 4294967296, "length": 8192}]},
            "guest_ram_mappings":[{"slot":0,"gpa":0,"size":4096}]}"#;
        assert_eq!(table(plain), TRUTH);
        let escaped = String::from_utf8_lossy(plain).replace('"', "\\\"");
        assert_eq!(table(escaped.as_bytes()), TRUTH);
        let listed: Vec<String> = plain.iter().map(u8::to_string).collect();
        let listed = format!("{{\"state\":[{}]}}", listed.join(","));
        assert!(table(listed.as_bytes()).is_empty());
        assert_eq!(table(&bytes_in_lists(listed.as_bytes())), TRUTH);
    }
}
