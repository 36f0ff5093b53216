//! An ELF core of a machine as makedumpfile -E writes it: a segment for each run, whose end may be left out; a
//! VMCOREINFO note in front.

use super::Layout;

/// The text of the note.
pub const VMCOREINFO: &str = "OSRELEASE=6.6.6-test\nPAGESIZE=4096\nCRASHTIME=1700000000\n";

/// Builds a file for x86-64 as VirtualBox writes it: no version in the ELF header, notes of its own, no VMCOREINFO.
#[must_use]
pub fn virtualbox(layout: &Layout) -> Vec<u8> {
    let mut note = Vec::new();
    note.extend_from_slice(&7u32.to_le_bytes());
    note.extend_from_slice(&24u32.to_le_bytes());
    note.extend_from_slice(&0xb00u32.to_le_bytes());
    note.extend_from_slice(b"VBCORE\0\0");
    note.extend_from_slice(&0xc01a_c0deu32.to_le_bytes());
    note.extend_from_slice(&[1; 20]);
    let mut file = with_note(layout, &note);
    if let Some(version) = file.get_mut(20..24) {
        version.fill(0);
    }
    file
}

/// Builds a file for x86-64.
#[must_use]
pub fn build(layout: &Layout) -> Vec<u8> {
    let mut note = Vec::new();
    note.extend_from_slice(&11u32.to_le_bytes());
    note.extend_from_slice(&(VMCOREINFO.len() as u32).to_le_bytes());
    note.extend_from_slice(&[0; 4]);
    note.extend_from_slice(b"VMCOREINFO\0\0");
    note.extend_from_slice(VMCOREINFO.as_bytes());
    while note.len() % 4 != 0 {
        note.push(0);
    }
    with_note(layout, &note)
}

fn with_note(layout: &Layout, note: &[u8]) -> Vec<u8> {
    let extents = layout.extents();
    // A run with the hole behind it, if one follows at once.
    let mut loads: Vec<(u64, u64, u64)> = Vec::new();
    for (range, present) in &extents {
        let size = range.end - range.start;
        match loads.last_mut() {
            Some((start, _, all)) if !present && *start + *all == range.start => *all += size,
            _ => loads.push((range.start, if *present { size } else { 0 }, size)),
        }
    }
    let count = loads.len() as u64 + 1;
    let data = (64 + 56 * count + note.len() as u64).div_ceil(4096) * 4096;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0u64, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0]);
    file.extend_from_slice(&(count as u16).to_le_bytes());
    file.extend_from_slice(&[0; 6]);
    let mut header = |kind: u32, words: [u64; 6]| {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        for word in words {
            file.extend_from_slice(&word.to_le_bytes());
        }
    };
    header(4, [64 + 56 * count, 0, 0, note.len() as u64, note.len() as u64, 0]);
    let mut offset = data;
    for (start, held, all) in &loads {
        header(1, [offset, 0xffff_8880_0000_0000 + start, *start, *held, *all, 0]);
        offset += held;
    }
    file.extend_from_slice(note);
    file.resize(data as usize, 0);
    for (_, bytes) in layout.pieces() {
        file.extend_from_slice(&bytes);
    }
    file
}
