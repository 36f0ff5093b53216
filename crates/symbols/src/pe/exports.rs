//! Exported functions: the names that every system library has, even without a debug file.
//!
//! Trap: what is exported is a label, not a function with a size. Private functions between two exports look like part
//! of the first; where unwind data shows another function's beginning between, [`super::symbols`] does not use the name.

use super::{DIRECTORY_EXPORT, PeImage};
use crate::elf::View;

/// Ordinals have 16 bits.
const MAX_EXPORTS: u32 = 65_536;
/// Longer names are cut out of garbage.
const MAX_NAME: usize = 512;

/// Relative addresses and names, sorted.
pub(super) fn read(image: &PeImage) -> Vec<(u32, String)> {
    exports(image).unwrap_or_default()
}

fn exports(image: &PeImage) -> Option<Vec<(u32, String)>> {
    let (rva, size) = image.directory(DIRECTORY_EXPORT)?;
    let head: [u8; 40] = image.array(rva)?;
    let view = View::new(&head, true);
    let base = view.u32(16)?;
    let functions = table(image, view.u32(28)?, view.u32(20)?, 4);
    let names = table(image, view.u32(32)?, view.u32(24)?, 4);
    let ordinals = table(image, view.u32(36)?, view.u32(24)?, 2);
    let (functions, names, ordinals) =
        (View::new(&functions, true), View::new(&names, true), View::new(&ordinals, true));
    // A forwarder's address is a text inside the export section.
    let forwards = |at: u32| at >= rva && at - rva < size;
    let mut named = vec![false; functions.data.len() / 4];
    let mut found = Vec::new();
    for index in 0..(names.data.len() as u64 / 4).min(ordinals.data.len() as u64 / 2) {
        let Some(ordinal) = ordinals.u16(2 * index) else { break };
        let Some(at) = functions.u32(4 * u64::from(ordinal)).filter(|&at| at != 0) else { continue };
        if let Some(flag) = named.get_mut(usize::from(ordinal)) {
            *flag = true;
        }
        if forwards(at) {
            continue;
        }
        if let Some(name) = names.u32(4 * index).and_then(|name| image.text(name, MAX_NAME))
            && !name.is_empty()
        {
            found.push((at, name));
        }
    }
    for (ordinal, _) in named.iter().enumerate().filter(|(_, named)| !**named) {
        let Some(at) = functions.u32(4 * ordinal as u64).filter(|&at| at != 0 && !forwards(at)) else { continue };
        found.push((at, format!("Ordinal{}", u64::from(base).wrapping_add(ordinal as u64))));
    }
    found.sort();
    // One address may have several names; the first in the alphabet stands for all.
    found.dedup_by_key(|(at, _)| *at);
    Some(found)
}

/// As much of a table as can be read.
fn table(image: &PeImage, rva: u32, count: u32, each: u32) -> Vec<u8> {
    let mut bytes = vec![0u8; (count.min(MAX_EXPORTS) * each) as usize];
    let have = image.read(rva, &mut bytes);
    bytes.truncate(have);
    bytes
}
