//! Where the processors of a machine would have entered their kernel: physical addresses in its code.
//!
//! *What it is*: on x86 a processor's own page tables lead from its table of interrupts to the code that it enters at a page
//! fault, in a program as well: also page table isolation has to map both.
//!
//! *What it is not*: a proof. It is a place to look near before all of memory is looked through.

use super::place::root_of;
use afterimage_dump::paging::{Layout, PageTables};
use afterimage_dump::{Arch, Machine, MemoryExt, Phys, PhysMemory, Virt};
use std::sync::Arc;

/// Number of the page fault's gate.
const PAGE_FAULT: u64 = 14;
/// Bytes of a gate.
const GATE: u64 = 16;
/// Processors that are asked: all enter at the same places.
const MOST: usize = 4;

/// Physical addresses in the code of kernels, without repetition; none where the container has no such registers.
pub(super) fn places(machine: &Machine, arch: Arch) -> Vec<u64> {
    let mut places: Vec<u64> = Vec::new();
    if arch != Arch::X86_64 {
        return places;
    }
    for cpu in machine.cpus.iter().take(MOST) {
        let Some(root) = root_of(cpu) else { continue };
        let gate = cpu.control("idt_base").filter(|base| *base != 0).map(|base| base.wrapping_add(PAGE_FAULT * GATE));
        let pc = cpu.registers.pc().map(|pc| pc.0).filter(|pc| pc >> 63 == 1);
        let found = [false, true].into_iter().find_map(|five| {
            let memory: Arc<dyn PhysMemory> = machine.memory.clone();
            let tables = PageTables::new(memory, Layout::x86_64(five), root);
            let entered = gate.and_then(|gate| handler(&tables, gate));
            entered.into_iter().chain(pc).find_map(|at| Some(tables.translate(Virt(at)).ok()?.physical))
        });
        if let Some(Phys(place)) = found
            && !places.iter().any(|own| own.abs_diff(place) < 1 << 20)
        {
            places.push(place);
        }
    }
    places
}

/// The address in a gate (Intel SDM volume 3, figure 6-8).
fn handler(tables: &PageTables, gate: u64) -> Option<u64> {
    let mut bytes = [0; GATE as usize];
    tables.read_exact(Virt(gate), &mut bytes).ok()?;
    let part = |at: usize| Some(u64::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)));
    let high = u64::from(u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?));
    let present = bytes.get(5).is_some_and(|kind| kind & 0x80 != 0);
    present.then_some(part(0)? | part(6)? << 16 | high << 32)
}
