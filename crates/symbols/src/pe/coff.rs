//! The COFF symbol table of a file: what MinGW leaves in a program that was not stripped.
//!
//! Not here: names out of memory; the loader does not map this table.
//!
//! Trap: on i386 every C name has an underscore before it.

use super::{MACHINE_I386, PeImage};
use crate::elf::View;

/// Bytes of an `IMAGE_SYMBOL`.
const SYMBOL: u64 = 18;
const MAX_SYMBOLS: u32 = 1 << 20;
const CLASS_EXTERNAL: u8 = 2;
const CLASS_STATIC: u8 = 3;
/// `IMAGE_SYM_DTYPE_FUNCTION` in the high half of the type.
const TYPE_FUNCTION: u16 = 0x20;

/// Relative addresses and names of functions, sorted.
pub(super) fn read(image: &PeImage) -> Vec<(u32, String)> {
    let Some(blob) = &image.file else { return Vec::new() };
    let view = View::new((**blob).as_ref(), true);
    let (table, count) = image.headers.symbols;
    if table == 0 {
        return Vec::new();
    }
    let strings = u64::from(table) + SYMBOL * u64::from(count);
    let mut found = Vec::new();
    let mut index = 0;
    while index < count.min(MAX_SYMBOLS) {
        let at = u64::from(table) + SYMBOL * u64::from(index);
        let Some(aux) = view.u8(at + 17) else { break };
        index += 1 + u32::from(aux);
        let one = || {
            let (value, section) = (view.u32(at + 8)?, view.u16(at + 12)?);
            let (kind, class) = (view.u16(at + 14)?, view.u8(at + 16)?);
            if kind & 0xf0 != TYPE_FUNCTION || !matches!(class, CLASS_EXTERNAL | CLASS_STATIC) {
                return None;
            }
            let section = image.headers.sections.get(usize::from(section).checked_sub(1)?)?;
            let name = if view.u32(at)? == 0 {
                view.c_str(strings.checked_add(u64::from(view.u32(at + 4)?))?)?
            } else {
                let name = view.bytes(at, 8)?;
                name.get(..name.iter().position(|&byte| byte == 0).unwrap_or(8))?
            };
            let name = name.get(..name.len().min(4096))?;
            let name =
                if image.headers.machine == MACHINE_I386 { name.strip_prefix(b"_").unwrap_or(name) } else { name };
            let name = String::from_utf8_lossy(name).into_owned();
            (!name.is_empty()).then_some((section.rva.checked_add(value)?, name))
        };
        found.extend(one());
    }
    found.sort();
    found.dedup_by_key(|(at, _)| *at);
    found
}
