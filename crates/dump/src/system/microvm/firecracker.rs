//! Firecracker: a state file beside the memory, known by its magic number.
//!
//! Folklore (firecracker's src/vmm/src/snapshot and arch/*/layout.rs): the state begins with 0x0710_1984_8664_0000 on
//! x86-64 and 0x0710_1984_aaaa_0000 on arm64, whose two low bytes may be the version of the format. Up to 1.10 the regions
//! stand in it as {first address, bytes, place in the file} of 8 bytes each, with their number before; later versions leave
//! the place out or pack the numbers, and the rules of the layout say the same: on x86-64 memory below 0xd000_0000 and
//! then from 4 GiB on, on arm64 from 2 GiB on.

use super::{Described, Range, read_file};
use crate::Arch;
use crate::Endian;
use crate::bytes::Fields;
use std::path::Path;

/// Bytes of a state file that are read; Firecracker itself takes no more than 10 MB.
const MOST: usize = 10 << 20;
/// Files of a folder that are looked at.
const MOST_FILES: usize = 512;
const GAP: u64 = 0xd000_0000;
const ABOVE: u64 = 1 << 32;
const ARM: u64 = 0x8000_0000;

pub(super) fn describe(path: &Path, len: u64) -> Option<Described> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut states: Vec<_> = std::fs::read_dir(folder)
        .ok()?
        .take(MOST_FILES)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|other| other.file_name() != path.file_name())
        .filter_map(|other| Some((arch_of(&read_file(&other, 8)?)?, other)))
        .collect();
    states.sort_by(|a, b| a.1.cmp(&b.1));
    let mut remarks = Vec::new();
    // With several snapshots in a folder, the one of the same name is its own.
    let own = states.iter().position(|(_, other)| other.file_stem() == path.file_stem()).unwrap_or(0);
    let (arch, state_path) = states.get(own)?.clone();
    if states.len() > 1 {
        let name = state_path.file_name().unwrap_or_default().to_string_lossy();
        remarks.push(format!("{} state files lie beside this one; {name} is taken for its own", states.len()));
    }
    let state = read_file(&state_path, MOST)?;
    let ranges = stated(&state, len).unwrap_or_else(|| by_size(arch, len));
    Some(Described { program: "firecracker", arch, ranges, remarks })
}

fn arch_of(head: &[u8]) -> Option<Arch> {
    match Fields::new(head, Endian::Little).u64(0)? >> 16 {
        0x0710_1984_8664 => Some(Arch::X86_64),
        0x0710_1984_aaaa => Some(Arch::Aarch64),
        _ => None,
    }
}

/// The regions out of the state, if they stand there and fill the file.
fn stated(state: &[u8], len: u64) -> Option<Vec<Range>> {
    let fields = Fields::new(state, Endian::Little);
    (8..state.len().saturating_sub(32)).find_map(|at| {
        let count = fields.u64(at).filter(|count| (1..=64).contains(count))?;
        let mut ranges: Vec<Range> = Vec::new();
        let mut offset = 0u64;
        for i in 0..count as usize {
            let at = at + 8 + 24 * i;
            let (start, length, place) = (fields.u64(at)?, fields.u64(at + 8)?, fields.u64(at + 16)?);
            let sound = length > 0 && (start | length).is_multiple_of(4096) && place == offset;
            if !sound || ranges.last().is_some_and(|last| last.start.saturating_add(last.length) > start) {
                return None;
            }
            ranges.push(Range { start, length });
            offset = offset.checked_add(length)?;
        }
        (offset == len).then_some(ranges)
    })
}

fn by_size(arch: Arch, len: u64) -> Vec<Range> {
    if arch == Arch::Aarch64 {
        return vec![Range { start: ARM, length: len }];
    }
    let mut ranges = vec![Range { start: 0, length: len.min(GAP) }];
    if len > GAP {
        ranges.push(Range { start: ABOVE, length: len - GAP });
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_by_size() {
        assert_eq!(by_size(Arch::X86_64, 1 << 30), [Range { start: 0, length: 1 << 30 }]);
        assert_eq!(
            by_size(Arch::X86_64, 4 << 30),
            [Range { start: 0, length: 0xd000_0000 }, Range { start: 1 << 32, length: 0x3000_0000 }]
        );
        assert_eq!(by_size(Arch::Aarch64, 1 << 30), [Range { start: 0x8000_0000, length: 1 << 30 }]);
    }
}
