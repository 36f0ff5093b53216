//! The dynamic loader's own list of what it loaded: `r_debug` and its chain of `link_map`s, read from the dump.
//!
//! *Trap*: glibc and musl keep the load bias in `l_addr`; FreeBSD and NetBSD keep the lowest address there. `l_ld`, the
//! run-time address of the dynamic section, means the same everywhere, so modules are matched by that.
//!
//! Folklore: MIPS programs have a read-only dynamic section, so the loader cannot write `DT_DEBUG`; it writes through
//! the pointer that `DT_MIPS_RLD_MAP` (absolute) or `DT_MIPS_RLD_MAP_REL` (relative to its own entry, for PIE) gives
//! (binutils `include/elf/mips.h`). glibc 2.35 made `r_version` 2 and added `r_next` for each `dlmopen` namespace.

use super::headers::{Headers, PT_DYNAMIC};
use afterimage_dump::{Dump, Issue, MemoryExt, Virt};
use std::collections::HashSet;

const DT_DEBUG: u64 = 21;
const DT_MIPS_RLD_MAP: u64 = 0x7000_0016;
const DT_MIPS_RLD_MAP_REL: u64 = 0x7000_0035;
/// Most entries of a dynamic section that are looked at; real ones have about 30.
const MAX_DYNAMIC: u64 = 1024;
/// Most entries of all chains together.
const MAX_ENTRIES: usize = 65_536;
/// Most namespaces: glibc allows 16.
const MAX_NAMESPACES: usize = 64;
/// The longest path that Linux knows.
const MAX_NAME: usize = 4096;
/// Most bytes of all names together.
const MAX_NAMES: usize = 8 << 20;

/// One entry of the loader's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkEntry {
    /// `l_addr`: bias, or on BSD the lowest address.
    pub(crate) address: u64,
    /// `l_name`; empty for the program itself.
    pub(crate) name: String,
    /// `l_ld`: where the dynamic section lies.
    pub(crate) dynamic: u64,
}

/// Reads pointers of the dumped process.
struct Words<'a> {
    dump: &'a Dump,
}

impl Words<'_> {
    fn size(&self) -> u64 {
        self.dump.pointer_size.clamp(4, 8) as u64
    }

    /// The `index`th pointer-sized word from `at` on.
    fn get(&self, at: u64, index: u64) -> Option<u64> {
        let at = at.checked_add(index * self.size())?;
        self.dump.memory.read_uint(Virt(at), self.size() as usize, self.dump.endian).ok()
    }
}

/// The address of `r_debug` by the dynamic section at `dynamic`, which has at most `size` bytes.
fn r_debug(words: &Words<'_>, dynamic: u64, size: u64) -> Option<u64> {
    for index in 0..(size / (2 * words.size())).min(MAX_DYNAMIC) {
        let tag = words.get(dynamic, 2 * index)?;
        let value = words.get(dynamic, 2 * index + 1)?;
        let found = match tag {
            0 => return None,
            DT_DEBUG => value,
            DT_MIPS_RLD_MAP => words.get(value, 0).unwrap_or(0),
            DT_MIPS_RLD_MAP_REL => {
                let entry = dynamic.wrapping_add(2 * index * words.size());
                let mask = if words.size() == 4 { u64::from(u32::MAX) } else { u64::MAX };
                words.get(entry.wrapping_add(value) & mask, 0).unwrap_or(0)
            }
            _ => 0,
        };
        // On MIPS a DT_DEBUG of zero stands beside the real pointer.
        if found != 0 {
            return Some(found);
        }
    }
    None
}

/// The loader's list, found from the program's headers, which were loaded with `bias`.
pub(crate) fn of_program(dump: &Dump, headers: &Headers, bias: u64, issues: &mut Vec<Issue>) -> Vec<LinkEntry> {
    let words = Words { dump };
    let Some(program) = headers.program(PT_DYNAMIC) else {
        return Vec::new();
    };
    let mask = if words.size() == 4 { u64::from(u32::MAX) } else { u64::MAX };
    let dynamic = bias.wrapping_add(program.vaddr) & mask;
    match r_debug(&words, dynamic, program.mem_size.max(program.file_size)) {
        Some(r_debug) => walk(&words, r_debug, issues),
        None => Vec::new(),
    }
}

/// The name that a library gives itself (`DT_SONAME`), as far as the dump holds its strings.
pub(crate) fn soname(dump: &Dump, headers: &Headers, bias: u64) -> Option<String> {
    const DT_STRTAB: u64 = 5;
    const DT_SONAME: u64 = 14;
    let words = Words { dump };
    let program = headers.program(PT_DYNAMIC)?;
    let dynamic = bias.wrapping_add(program.vaddr);
    let (mut strings, mut name) = (None, None);
    for index in 0..(program.mem_size / (2 * words.size())).min(MAX_DYNAMIC) {
        let value = words.get(dynamic, 2 * index + 1)?;
        match words.get(dynamic, 2 * index)? {
            0 => break,
            DT_STRTAB => strings = Some(value),
            DT_SONAME => name = Some(value),
            _ => {}
        }
    }
    let (strings, name) = (strings?, name?);
    // glibc adds the bias in place, musl and the BSDs leave the table as it is.
    let strings = if strings < bias { strings.wrapping_add(bias) } else { strings };
    let text = dump.memory.read_cstr(Virt(strings.checked_add(name)?), 256).ok()?;
    String::from_utf8(text).ok().filter(|text| !text.is_empty())
}

fn walk(words: &Words<'_>, first: u64, issues: &mut Vec<Issue>) -> Vec<LinkEntry> {
    let mut entries = Vec::new();
    let mut seen = HashSet::new();
    let mut namespaces = HashSet::new();
    let mut next = first;
    while next != 0 && namespaces.len() < MAX_NAMESPACES && namespaces.insert(next) {
        let version = words.dump.memory.read_uint(Virt(next), 4, words.dump.endian).unwrap_or(0);
        match words.get(next, 1) {
            Some(map) => chain(words, map, &mut seen, &mut entries, issues),
            None => issues.push(Issue::remark(format!(
                "the dynamic loader's r_debug at {next:#x} cannot be read: modules are taken from the mappings only"
            ))),
        }
        // r_version, r_map, r_brk, r_state, r_ldbase, then r_next.
        next = if version >= 2 { words.get(next, 5).unwrap_or(0) } else { 0 };
    }
    entries
}

fn chain(
    words: &Words<'_>,
    first: u64,
    seen: &mut HashSet<u64>,
    entries: &mut Vec<LinkEntry>,
    issues: &mut Vec<Issue>,
) {
    let mut at = first;
    let mut names = 0;
    while at != 0 {
        if !seen.insert(at) {
            let text = format!("the dynamic loader's link_map runs in a circle after {} entries", entries.len());
            return issues.push(Issue::remark(text));
        }
        if entries.len() >= MAX_ENTRIES || names > MAX_NAMES {
            return issues.push(Issue::remark(format!(
                "the dynamic loader's link_map goes on after {} entries: the rest is not read",
                entries.len()
            )));
        }
        let (Some(address), Some(name), Some(dynamic), Some(next)) =
            (words.get(at, 0), words.get(at, 1), words.get(at, 2), words.get(at, 3))
        else {
            return issues.push(Issue::remark(format!(
                "the dynamic loader's link_map ends after {} entries: memory at {at:#x} cannot be read",
                entries.len()
            )));
        };
        let text = match name {
            0 => Vec::new(),
            name => words.dump.memory.read_cstr(Virt(name), MAX_NAME).unwrap_or_default(),
        };
        if text.len() >= MAX_NAME {
            issues.push(Issue::remark(format!("a name in the dynamic loader's link_map at {at:#x} has no end")));
        } else {
            names += text.len();
            let name = String::from_utf8_lossy(&text).into_owned();
            entries.push(LinkEntry { address, name, dynamic });
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// r_debug at 0x1000, link_maps wherever the test wants them, all in one page of memory from 0x1000 on.
    fn page(words: &[(u64, u64)]) -> Dump {
        let mut bytes = vec![0u8; 0x1000];
        for (at, value) in words {
            let at = (*at - 0x1000) as usize;
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        testing::dump(vec![(0x1000, bytes)])
    }

    fn run(dump: &Dump) -> (Vec<LinkEntry>, Vec<Issue>) {
        let mut issues = Vec::new();
        let entries = walk(&Words { dump }, 0x1000, &mut issues);
        (entries, issues)
    }

    #[test]
    fn reads_names_and_stops_at_the_end() {
        let name = u64::from_le_bytes(*b"/lib/a\0\0");
        let dump = page(&[
            (0x1008, 0x1100),
            (0x1100, 0x40_0000),
            (0x1110, 0x40_1000),
            (0x1118, 0x1200),
            (0x1200, 0x50_0000),
            (0x1208, 0x1300),
            (0x1300, name),
        ]);
        let (entries, issues) = run(&dump);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0], LinkEntry { address: 0x40_0000, name: String::new(), dynamic: 0x40_1000 });
        assert_eq!(entries[1].name, "/lib/a");
        assert!(issues.is_empty());
    }

    #[test]
    fn a_circle_ends_with_an_issue() {
        let dump = page(&[(0x1008, 0x1100), (0x1118, 0x1200), (0x1218, 0x1100)]);
        let (entries, issues) = run(&dump);
        assert_eq!(entries.len(), 2);
        assert!(issues[0].text.contains("circle after 2"), "{issues:?}");
    }

    #[test]
    fn a_circle_of_namespaces_ends() {
        let dump = page(&[(0x1000, 2), (0x1008, 0x1100), (0x1028, 0x1000)]);
        assert_eq!(run(&dump).0.len(), 1);
    }

    #[test]
    fn an_endless_name_and_a_lost_entry_are_told() {
        let mut bytes = vec![b'x'; 0x3000];
        for (at, value) in [(8usize, 0x1100u64), (0x100, 0), (0x108, 0x1200), (0x110, 0), (0x118, 0x9_0000)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes[0..4].copy_from_slice(&1u32.to_le_bytes());
        let (entries, issues) = run(&testing::dump(vec![(0x1000, bytes)]));
        assert!(entries.is_empty());
        assert!(issues[0].text.contains("no end"), "{issues:?}");
        assert!(issues[1].text.contains("ends after 0 entries: memory at 0x90000"), "{issues:?}");
    }
}
