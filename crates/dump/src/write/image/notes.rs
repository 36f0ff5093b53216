//! The notes of a machine's dump: those it has, or new ones of what is known of its processors.
//!
//! *What it is*: ELF notes as /proc/vmcore, makedumpfile and QEMU write them: a status for each processor, QEMU's own note
//! with control registers, VMCOREINFO.
//!
//! *Trap*: crash, drgn and makedumpfile refuse a Linux dump without VMCOREINFO. It lies in memory all the same, and who
//! finds it there puts it in here.

use crate::elf_core::layout;
use crate::source::read_vec;
use crate::write::pen::Pen;
use crate::{Arch, Cpu, Dump, Endian, Format};

/// Longest notes that are copied in all.
const MOST: u64 = 64 << 20;

/// Encodes all notes. `found` is a VMCOREINFO that the container itself does not have.
pub(super) fn encode(dump: &Dump, found: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let has_own = matches!(dump.format, Format::ElfCore | Format::Kdump) && !dump.notes.is_empty();
    if has_own {
        let source = dump.memory.source();
        let mut left = MOST;
        for note in &dump.notes {
            let Some(rest) = left.checked_sub(note.size) else { break };
            left = rest;
            let content = read_vec(&**source, note.offset, note.size as usize).unwrap_or_default();
            if content.len() as u64 == note.size {
                put(&mut out, dump.endian, &note.owner, note.kind, &content);
            }
        }
    } else if let Some(machine) = &dump.machine {
        for cpu in &machine.cpus {
            let ids = [cpu.pid.unwrap_or(0), 0, 0, 0];
            let status = layout::Status { ids, signal: 0, has_fp: false };
            if let Some(content) = layout::encode(&cpu.registers, dump.pointer_size, dump.endian, &status) {
                put(&mut out, dump.endian, "CORE", 1, &content);
            }
        }
        for content in machine.cpus.iter().filter_map(|cpu| qemu(cpu, dump.arch)) {
            put(&mut out, dump.endian, "QEMU", 0, &content);
        }
    }
    let owned = dump.machine.as_ref().and_then(|machine| machine.vmcoreinfo.as_deref());
    if let Some(text) = found.or(owned)
        && !dump.notes.iter().any(|note| has_own && note.owner == "VMCOREINFO")
    {
        put(&mut out, dump.endian, "VMCOREINFO", 0, text.as_bytes());
    }
    out
}

fn put(out: &mut Vec<u8>, endian: Endian, owner: &str, kind: u32, content: &[u8]) {
    let mut pen = Pen::new(endian);
    pen.u32(owner.len() as u32 + 1);
    pen.u32(content.len() as u32);
    pen.u32(kind);
    pen.bytes(owner.as_bytes());
    pen.u8(0);
    pen.align(4);
    pen.bytes(content);
    pen.align(4);
    out.extend(pen.done());
}

/// QEMU's note of a processor (`QEMUCPUState`, version 1), where control registers are known: page tables hang on CR3.
fn qemu(cpu: &Cpu, arch: Arch) -> Option<Vec<u8>> {
    const SIZE: u32 = 440;
    if arch != Arch::X86_64 {
        return None;
    }
    cpu.control("cr3")?;
    let register = |name| cpu.registers.by_name(name).unwrap_or(0);
    let control = |name| cpu.control(name).unwrap_or(0);
    let mut pen = Pen::new(Endian::Little);
    pen.u32(1);
    pen.u32(SIZE);
    for name in ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp"] {
        pen.u64(register(name));
    }
    for name in ["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"] {
        pen.u64(register(name));
    }
    pen.u64(cpu.registers.by_name("rflags").or_else(|| cpu.registers.by_name("eflags")).unwrap_or(0));
    let segments = [
        (register("cs"), 0),
        (register("ds"), 0),
        (register("es"), 0),
        (register("fs"), register("fs_base")),
        (register("gs"), register("gs_base")),
        (register("ss"), 0),
        (0, 0),
        (0, control("tr_base")),
        (0, control("gdt_base")),
        (0, control("idt_base")),
    ];
    for (selector, base) in segments {
        pen.u32(selector as u32);
        pen.u32(0);
        pen.u32(0);
        pen.u32(0);
        pen.u64(base);
    }
    for name in ["cr0", "cr1", "cr2", "cr3", "cr4", "kernel_gs_base"] {
        pen.u64(control(name));
    }
    Some(pen.done())
}
