//! Which page tables a dump's `DirectoryTableBase` is the root of.
//!
//! *Trap*: the header does not say whether a 64-bit processor walked four levels or five, and old 32-bit headers do not
//! say whether it had PAE. The right shape is the one through which the kernel's own lists can be read.

use super::header::{Header, Width};
use super::stop::Stop;
use crate::machine::PhysMemory;
use crate::paging::{Layout, PageTables, Software};
use crate::{Arch, Virt};
use std::sync::Arc;

/// The kernel's virtual memory.
///
/// # Errors
/// In words, why there is none.
pub(super) fn tables(header: &Header, memory: Arc<dyn PhysMemory>, stop: &Stop) -> Result<PageTables, String> {
    let root = header.directory_table_base().ok_or("the header has no root of page tables")?;
    let shapes = match (header.arch(), header.width(), header.pae()) {
        (Arch::X86_64, _, _) => vec![Layout::x86_64(false), Layout::x86_64(true)],
        // Windows uses 4 KiB pages, and one root page for both halves: its upper 256 entries are the kernel's.
        (Arch::Aarch64, _, _) => Layout::arm64(12, 48).into_iter().collect(),
        (Arch::X86, Width::Bits32, Some(true)) => vec![Layout::x86_pae()],
        (Arch::X86, Width::Bits32, Some(false)) => vec![Layout::x86()],
        (Arch::X86, Width::Bits32, None) => vec![Layout::x86_pae(), Layout::x86()],
        (arch, _, _) => return Err(format!("the page tables of {arch} are not known here")),
    };
    let places: Vec<Virt> = [stop.loaded_modules, stop.debugger_data, stop.active_processes]
        .into_iter()
        .flatten()
        .chain(header.registers().and_then(|registers| registers.pc()))
        .collect();
    let mut why = None;
    for shape in shapes {
        let tables = PageTables::new(memory.clone(), shape, root).with_software(Software::Windows);
        for place in &places {
            match tables.translate(*place) {
                Ok(_) => return Ok(tables),
                Err(miss) if why.is_none() => why = Some(miss.to_string()),
                Err(_) => {}
            }
        }
    }
    Err(why.unwrap_or_else(|| "the header names no address of the kernel".to_owned()))
}
