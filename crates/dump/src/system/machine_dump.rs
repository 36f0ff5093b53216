//! The [`Dump`] around a [`Machine`].

use crate::registers::Registers;
use crate::source::SharedSource;
use crate::{Absence, Arch, Dump, DumpType, Endian, Format, Machine, Os, Process, SegmentMemory, Thread, Virt};
use std::sync::Arc;

/// A dump of which the machine is known and nothing else yet: processors appear as its threads, with their numbers as ids,
/// so that whatever works on threads works on them.
pub(crate) fn machine_dump(
    format: Format,
    source: &SharedSource,
    (arch, endian): (Arch, Endian),
    machine: Machine,
) -> Dump {
    let threads = machine.cpus.iter().map(|cpu| Thread {
        tid: cpu.index,
        name: Some(format!("cpu {}", cpu.index)),
        state: None,
        registers: cpu.registers,
        signal: None,
        signal_info: None,
        stack: None,
        thread_pointer: None,
        extra_notes: Vec::new(),
    });
    let memory = SegmentMemory::<Virt>::new(source.clone(), Vec::new()).with_elsewhere(Absence::NotInDump);
    Dump {
        format,
        compression: None,
        dump_type: DumpType::Complete,
        os: Os::Unknown,
        os_version: machine.name.as_ref().map(|name| name.release.clone()).filter(|release| !release.is_empty()),
        arch,
        endian,
        pointer_size: arch.info().pointer_size,
        time: None,
        writer: None,
        process: Process::default(),
        threads: threads.collect(),
        exception: None,
        modules: Vec::new(),
        unloaded_modules: Vec::new(),
        mappings: Vec::new(),
        regions: Vec::new(),
        memory: Arc::new(memory),
        auxv: Vec::new(),
        handles: Vec::new(),
        notes: Vec::new(),
        soft_errors: Vec::new(),
        issues: Vec::new(),
        missing_bytes: 0,
        file_size: source.len(),
        machine: Some(Box::new(machine)),
        report: None,
    }
}

/// Registers of a processor by the names of [`crate::arch`]'s table; names that it does not have are left out.
#[must_use]
pub(crate) fn named_registers(arch: Arch, values: &[(&str, u64)]) -> Registers {
    let mut registers = Registers::new(arch);
    for (name, value) in values {
        if let Some(slot) = arch.info().slot(name) {
            registers.set(slot, *value);
        }
    }
    registers
}
