//! The kernel's list of loaded drivers (`PsLoadedModuleList`), walked through virtual memory.
//!
//! *Trap*: the list is a ring of pointers in the memory of a machine that has just gone wrong. It may lead anywhere, and
//! round and round.

use super::physical::read_virtual;
use super::stop::Stop;
use super::{Draft, kdbg, pe};
use crate::bytes::Fields;
use crate::{Endian, Memory, ModuleRecord, Virt};
use std::collections::HashSet;

/// Drivers at most; real machines have 150 to 400.
const MOST: usize = 4096;

/// Where `KLDR_DATA_TABLE_ENTRY` keeps what: base, size of the image, full name, base name.
struct Layout {
    len: usize,
    base: usize,
    size: usize,
    full_name: usize,
    base_name: usize,
}

const BITS_64: Layout = Layout { len: 0x68, base: 0x30, size: 0x40, full_name: 0x48, base_name: 0x58 };
const BITS_32: Layout = Layout { len: 0x34, base: 0x18, size: 0x20, full_name: 0x24, base_name: 0x2c };

/// All loaded drivers in the order of the list; the kernel is the first.
pub(super) fn loaded(draft: &mut Draft<'_>, memory: &dyn Memory<Virt>, stop: &Stop) -> Vec<ModuleRecord> {
    let mut modules = Vec::new();
    let Some(head) = stop.loaded_modules else {
        draft.loss("the header does not say where the list of drivers is");
        return modules;
    };
    let pointer = draft.header.layout().pointer;
    let layout = if pointer == 8 { BITS_64 } else { BITS_32 };
    let mut seen = HashSet::from([head.0]);
    let mut at = next(memory, head.0, pointer);
    loop {
        let Some(entry) = at else {
            draft.loss(format!("the list of drivers breaks off behind {} of them", modules.len()));
            break;
        };
        if entry == head.0 {
            break;
        }
        if !seen.insert(entry) || modules.len() >= MOST || draft.budget.in_time().is_err() {
            draft.loss(format!("the list of drivers was left behind {} of them: it does not end", modules.len()));
            break;
        }
        let bytes = read_virtual(memory, entry, layout.len);
        let Some(module) = module(memory, &bytes, &layout, pointer) else {
            draft.loss(format!("the list of drivers breaks off behind {} of them, at {entry:#x}", modules.len()));
            break;
        };
        if draft.budget.take((size_of::<ModuleRecord>() + module.path.len() + 64) as u64).is_err() {
            draft.loss(format!("only {} drivers were kept: there is no room for more", modules.len()));
            break;
        }
        modules.push(module);
        at = Fields::new(&bytes, Endian::Little).uint(0, pointer);
    }
    modules
}

fn next(memory: &dyn Memory<Virt>, at: u64, pointer: usize) -> Option<u64> {
    Fields::new(&read_virtual(memory, at, pointer), Endian::Little).uint(0, pointer)
}

fn module(memory: &dyn Memory<Virt>, bytes: &[u8], layout: &Layout, pointer: usize) -> Option<ModuleRecord> {
    let fields = Fields::new(bytes, Endian::Little);
    let (base, size) = (fields.uint(layout.base, pointer)?, fields.u32(layout.size)?);
    let name = |at: usize| {
        let (len, place) = (fields.u16(at)?, fields.uint(at + pointer, pointer)?);
        let text = kdbg::utf16(&read_virtual(memory, place, usize::from(len).min(1024)));
        (!text.is_empty()).then_some(text)
    };
    // Names are in paged memory, and a kernel dump may lack one of them.
    let path = name(layout.full_name).or_else(|| name(layout.base_name)).unwrap_or_default();
    let mut module = ModuleRecord { base, end: base.checked_add(u64::from(size))?, path, ..ModuleRecord::default() };
    pe::identify(memory, &mut module);
    Some(module)
}
