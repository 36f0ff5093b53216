//! `MD_LINUX_DSO_DEBUG`: the dynamic linker's `r_debug` and its link map, as Breakpad copied them.
//!
//! *Trap*: Breakpad's header says `#pragma pack(4)`, its files do not: in 64-bit dumps a word of padding stands before
//! `brk` and in every link-map entry (seen in all 64-bit Linux samples).

use super::draft::Draft;
use super::input::{Input, List, Place};

pub(super) fn read(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 64);
    let fields = input.fields(&bytes);
    let word = draft.dump.pointer_size;
    // version, rva of the map, number of entries; then r_brk, r_ldbase, _DYNAMIC.
    let first = if word == 8 { 16 } else { 12 };
    let header = (|| Some((fields.u32(0)?, fields.u32(4)?, fields.u32(8)?, fields.uint(first, word)?)))();
    let Some((version, map, count, brk)) = header else {
        input.loss(format!("MD_LINUX_DSO_DEBUG has {} bytes", bytes.len()));
        return;
    };
    draft.fact("r_debug.version", version.to_string());
    draft.fact("r_debug.brk", format!("{brk:#x}"));
    for (name, at) in [("r_debug.ldbase", first + word), ("r_debug.dynamic", first + 2 * word)] {
        draft.fact_if(name, fields.uint(at, word).map(|value| format!("{value:#x}")));
    }
    // MDRawLinkMap: load bias, rva of the name, address of the dynamic section.
    let (entry, ld) = if word == 8 { (24, 16) } else { (12, 8) };
    let list = List { at: u64::from(map), count: u64::from(count), entry };
    let mut facts = Vec::new();
    if map != 0 {
        input.walk("MD_LINUX_DSO_DEBUG", list, 96, |fields| {
            let (Some(bias), Some(name), Some(ld)) = (fields.uint(0, word), fields.u32(word), fields.uint(ld, word))
            else {
                return;
            };
            let name = input.utf16(u64::from(name)).unwrap_or_default();
            facts.push(("link_map".to_owned(), format!("bias {bias:#x} dynamic {ld:#x} {name}").trim_end().to_owned()));
        });
    }
    draft.dump.process.facts.append(&mut facts);
}
