//! Base relocations: which words of the file the loader has changed, for an image that did not get its own address.
//!
//! Not here: imports. Only code is ever taken from a file, and no import lies there.
//!
//! Trap: a word may begin on one page and end on the next, so the page before a range counts too.

use super::{DIRECTORY_RELOCATION, PeImage};
use crate::elf::View;
use std::collections::HashMap;

/// The largest table that is read; a page of 32-bit code has some 200 entries of 2 bytes.
const MAX_TABLE: u32 = 32 << 20;
const PAGE: u32 = 0x1000;
const HIGHLOW: u16 = 3;
const DIR64: u16 = 10;

/// Where the entries of each page stand.
#[derive(Default)]
pub(super) struct Relocations {
    pages: HashMap<u32, (u32, u32)>,
}

impl Relocations {
    pub(super) fn read(image: &PeImage) -> Self {
        let mut pages = HashMap::new();
        let Some((rva, size)) = image.directory(DIRECTORY_RELOCATION) else { return Self { pages } };
        let end = rva.saturating_add(size.min(MAX_TABLE));
        let mut at = rva;
        while at < end {
            let Some(head) = image.array::<8>(at) else { break };
            let view = View::new(&head, true);
            let (Some(page), Some(size)) = (view.u32(0), view.u32(4).filter(|&size| size >= 8)) else { break };
            pages.entry(page).or_insert((at.saturating_add(8), (size - 8).min(PAGE * 4)));
            let Some(next) = at.checked_add(size) else { break };
            at = next;
        }
        Self { pages }
    }

    /// Adds `delta` to the words of `buf`, which was read at `rva`.
    pub(super) fn apply(&self, image: &PeImage, rva: u32, buf: &mut [u8], delta: u64) {
        let end = u64::from(rva) + buf.len() as u64;
        let mut page = (rva & !(PAGE - 1)).saturating_sub(PAGE);
        while u64::from(page) < end {
            if let Some(&(at, size)) = self.pages.get(&page) {
                let mut entries = vec![0u8; size as usize];
                let have = image.read(at, &mut entries);
                for entry in entries.get(..have).unwrap_or_default().chunks_exact(2) {
                    let entry =
                        u16::from_le_bytes([entry.first().copied().unwrap_or(0), entry.get(1).copied().unwrap_or(0)]);
                    let width = match entry >> 12 {
                        HIGHLOW => 4,
                        DIR64 => 8,
                        _ => continue,
                    };
                    change(image, page.wrapping_add(u32::from(entry & 0xfff)), width, rva, buf, delta);
                }
            }
            let Some(next) = page.checked_add(PAGE) else { break };
            page = next;
        }
    }
}

fn change(image: &PeImage, at: u32, width: usize, rva: u32, buf: &mut [u8], delta: u64) {
    let mut word = [0u8; 8];
    let Some(bytes) = word.get_mut(..width) else { return };
    if image.read(at, bytes) < width {
        return;
    }
    let value = u64::from_le_bytes(word).wrapping_add(delta).to_le_bytes();
    for (place, byte) in (u64::from(at)..).zip(value.iter().take(width)) {
        let index = place.checked_sub(u64::from(rva)).and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| buf.get_mut(index)) {
            *slot = *byte;
        }
    }
}
