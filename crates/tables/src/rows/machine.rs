//! A dump of a whole machine: its processors, and its physical memory range by range.

use super::said;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_dump::{Extent, Phys};
use afterimage_target::Target;

row! {
    /// The processors of a machine at the moment of the dump.
    CpuRow {
        /// Its number, from 0.
        cpu: u32,
        /// Process id of the task that ran on it.
        pid: Field<u32>,
        /// Short name of that task.
        comm: Field<String>,
        /// Program counter.
        pc: Field<Addr>,
        /// Stack pointer.
        sp: Field<Addr>,
        /// Root of its page tables, as CR3 or TTBR1_EL1 had it.
        page_table: Field<Addr>,
    }
}

row! {
    /// The physical memory of a machine: which ranges the dump holds, and why it does not hold the others.
    PhysicalRegionRow {
        /// First physical address.
        start: Addr,
        /// First physical address behind it.
        end: Addr,
        /// Its bytes.
        bytes: u64,
        /// Whether the dump holds it.
        present: bool,
        /// Why it does not.
        reason: Field<String>,
    }
}

pub(crate) fn cpus(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    const NO_REGISTERS: &str = "the dump does not have the processor's registers";
    let linux = target.linux().ok();
    let cpus = target.dump().machine.as_ref().map_or(&[][..], |machine| &machine.cpus);
    for index in target.processors() {
        let cpu = cpus.iter().find(|cpu| cpu.index == index);
        let task = linux.and_then(|linux| linux.running_on(index));
        let page_table = cpu.and_then(|cpu| cpu.control("cr3").or_else(|| cpu.control("ttbr1_el1")));
        let register = |value: Option<u64>| value.map(Addr).ok_or(Absent::because(NO_REGISTERS));
        let row = CpuRow {
            cpu: index,
            pid: said(task.as_ref().map(|(pid, _)| *pid).or_else(|| cpu?.pid)),
            comm: task.map(|(_, comm)| comm).ok_or(Absent::because("the kernel does not tell what ran there")),
            pc: register(cpu.and_then(|cpu| cpu.registers.pc()).map(|at| at.0)),
            sp: register(cpu.and_then(|cpu| cpu.registers.sp()).map(|at| at.0)),
            page_table: register(page_table),
        };
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn physical_regions(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(machine) = &target.dump().machine else { return Ok(()) };
    let mut at = Phys(0);
    let mut held: Option<Extent<Phys>> = None;
    loop {
        let next = machine.memory.next(at).filter(|extent| extent.end > at);
        at = next.map_or(at, |extent| extent.end);
        // Ranges come in pieces; neighbours of the same state are one row.
        match (&mut held, next) {
            (Some(last), Some(next)) if last.end == next.start && last.absent == next.absent => last.end = next.end,
            (_, next) => {
                if let Some(extent) = std::mem::replace(&mut held, next) {
                    let row = PhysicalRegionRow {
                        start: Addr(extent.start.0),
                        end: Addr(extent.end.0),
                        bytes: extent.end.0 - extent.start.0,
                        present: extent.absent.is_none(),
                        reason: extent.absent.map(|why| why.to_string()).ok_or(Absent::because("it is there")),
                    };
                    if emit(sink, row).is_break() {
                        break;
                    }
                }
                if held.is_none() {
                    break;
                }
            }
        }
    }
    Ok(())
}
