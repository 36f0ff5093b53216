//! The dynamic linker's list of modules, followed through the memory of a dump.
//!
//! *What it is not*: the analysis has a walk of its own that explains what is broken; this one takes what it can get.
//!
//! *Example*: `AT_PHDR` leads to PT_DYNAMIC, that to DT_DEBUG, that to `r_debug`, that to the first `link_map`.
//!
//! *Trap*: the list in memory can be broken (the process crashed, after all): every walk has a bound.

use crate::{Dump, MemoryExt, Virt};
use std::ops::Range;

/// Modules in the list.
const MAX_MODULES: usize = 16 * 1024;
/// Most bytes of an array of program headers or of a dynamic section.
const MAX_TABLE: u64 = 64 << 10;
/// Bytes of a name that are wanted.
const NAME: u64 = 256;

const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const PT_DYNAMIC: u64 = 2;
const PT_PHDR: u64 = 6;
const DT_DEBUG: u64 = 21;

/// What was found on the way, as far as it was.
#[derive(Debug, Default)]
pub(crate) struct LinkMap {
    /// The memory that the walk needed: who has it can repeat it.
    pub(crate) ranges: Vec<Range<u64>>,
    /// `r_debug`, if the walk came so far.
    pub(crate) debug: Option<Debug>,
    /// `link_map` of each module.
    pub(crate) entries: Vec<Entry>,
}

/// `struct r_debug`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debug {
    /// `r_version`.
    pub(crate) version: u32,
    /// `r_brk`: where the linker calls when the list changes.
    pub(crate) brk: u64,
    /// `r_ldbase`: where the linker itself is.
    pub(crate) base: u64,
    /// Where the program's dynamic section is.
    pub(crate) dynamic: u64,
}

/// `struct link_map`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// `l_addr`: how far the module was moved from where it was linked.
    pub(crate) bias: u64,
    /// Where its name stands.
    pub(crate) name: u64,
    /// `l_ld`: its dynamic section.
    pub(crate) dynamic: u64,
}

/// Follows the list of a dump.
pub(crate) fn walk(dump: &Dump) -> LinkMap {
    let mut found = LinkMap::default();
    let _ = follow(dump, &mut found);
    found
}

fn follow(dump: &Dump, found: &mut LinkMap) -> Option<()> {
    let word = dump.pointer_size as u64;
    let number = |at: u64, size: usize| dump.memory.read_uint(Virt(at), size, dump.endian).ok();
    let read = |at: u64| number(at, word as usize);
    let member = |at: u64, place: u64| read(at.checked_add(place * word)?);
    let (at, entry, count) = (dump.auxv_value(AT_PHDR)?, dump.auxv_value(AT_PHENT)?, dump.auxv_value(AT_PHNUM)?);
    let table = entry.checked_mul(count).filter(|&size| entry > 0 && size <= MAX_TABLE)?;
    found.ranges.push(at..at.checked_add(table)?);
    let (mut bias, mut dynamic) = (0, None);
    let address_at = if word == 8 { 16 } else { 8 };
    for header in (at..at.checked_add(table)?).step_by(entry as usize) {
        let address = read(header.checked_add(address_at)?)?;
        match u64::from(number(header, 4)? as u32) {
            PT_PHDR => bias = at.wrapping_sub(address),
            PT_DYNAMIC => dynamic = Some(address),
            _ => {}
        }
    }
    let dynamic = bias.wrapping_add(dynamic?);
    let mut debug = None;
    let mut end = dynamic;
    while end - dynamic < MAX_TABLE {
        let (kind, value) = (read(end)?, member(end, 1)?);
        end = end.checked_add(2 * word)?;
        match kind {
            0 => break,
            DT_DEBUG => debug = Some(value),
            _ => {}
        }
    }
    found.ranges.push(dynamic..end);
    // struct r_debug: version, first link_map, breakpoint, state, linker's base.
    let debug = debug.filter(|&at| at != 0)?;
    found.ranges.push(debug..debug.checked_add(5 * word)?);
    found.debug =
        Some(Debug { version: number(debug, 4)? as u32, brk: member(debug, 2)?, base: member(debug, 4)?, dynamic });
    let mut entry = member(debug, 1)?;
    for _ in 0..MAX_MODULES {
        if entry == 0 {
            break;
        }
        // struct link_map: bias, name, dynamic section, next, previous.
        found.ranges.push(entry..entry.checked_add(5 * word)?);
        let (bias, name, dynamic) = (read(entry)?, member(entry, 1)?, member(entry, 2)?);
        found.ranges.extend((name != 0).then(|| name..name.saturating_add(NAME)));
        found.entries.push(Entry { bias, name, dynamic });
        entry = member(entry, 3)?;
    }
    Some(())
}

impl Entry {
    /// The module's path; empty for the program itself, as the linker has it.
    pub(crate) fn path(&self, dump: &Dump) -> String {
        let name = dump.memory.read_cstr(Virt(self.name), 4096).unwrap_or_default();
        String::from_utf8_lossy(&name).into_owned()
    }
}
