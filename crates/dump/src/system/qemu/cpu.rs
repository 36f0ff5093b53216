//! States of the processors: the `cpu` sections behind the RAM.
//!
//! *Trap*: no section says how long it is, and only QEMU itself knows what its devices write. So the sections of the
//! processors are looked for by their head, which has the device's name, number and version, and read no further than the
//! fields whose places have not changed in ten years.
//!
//! Folklore (`vmstate_x86_cpu` in target/i386/machine.c, version 12 since 2010, fields up to `kernelgsbase` unchanged in
//! 7.2 to 10.0, x86_64 targets): all numbers most significant byte first. 16 registers in the order of their encodings
//! (rax rcx rdx rbx rsp rbp rsi rdi r8…r15), rip, rflags, hflags (4), x87 control, status, tags and format (2 each), 8
//! registers of 10 bytes, then segments of 20 bytes {selector 4, base 8, limit 4, flags 4}: es cs ss ds fs gs ldt tr gdt
//! idt; sysenter (4 + 8 + 8), cr0 cr2 cr3 cr4, 8 debug registers, A20 (4), mxcsr (4), 16 vector registers, efer.

use crate::bytes::Fields;
use crate::source::{SharedSource, read_vec};
use crate::system::named_registers;
use crate::{Arch, Cpu, Endian};

/// Bytes behind the RAM that are looked through.
const TAIL: u64 = 16 << 20;
/// Up to `kernelgsbase`.
const FIELDS: usize = 864;
const ORDER: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

/// The processors whose sections lie at or behind `from`, and what is wrong with those that could not be read.
pub(super) fn read_cpus(source: &SharedSource, from: u64, most: usize) -> (Vec<Cpu>, Vec<String>) {
    let start = from.max(source.len().saturating_sub(TAIL));
    let len = source.len().saturating_sub(start).min(TAIL) as usize;
    let tail = read_vec(&**source, start, len).unwrap_or_default();
    let mut cpus: Vec<Cpu> = Vec::new();
    let mut problems = Vec::new();
    let mut at = 0;
    // Head: 4, section (4), 3, "cpu", instance (4), version (4).
    while let Some(found) = tail.get(at..).and_then(|rest| find(rest, b"\x03cpu\0\0")) {
        let name = at + found;
        at = name + 1;
        let fields = Fields::new(&tail, Endian::Big);
        let head = name.checked_sub(5).and_then(|head| fields.u8(head));
        let (Some(4), Some(number), Some(version)) = (head, fields.u32(name + 4), fields.u32(name + 8)) else {
            continue;
        };
        if number > 0xffff || version > 64 {
            continue;
        }
        if cpus.len() >= most || cpus.iter().any(|cpu| cpu.index == number) {
            continue;
        }
        if !(11..=12).contains(&version) {
            problems.push(format!("the state of processor {number} has the unknown version {version}"));
            continue;
        }
        match fields.slice(name + 12, FIELDS).and_then(x86_64) {
            Some((registers, control)) => cpus.push(Cpu { index: number, pid: None, registers, control }),
            None => problems.push(format!("the state of processor {number} is not that of an x86_64 processor")),
        }
    }
    cpus.sort_by_key(|cpu| cpu.index);
    (cpus, problems)
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn x86_64(bytes: &[u8]) -> Option<(crate::Registers, Vec<(&'static str, u64)>)> {
    let fields = Fields::new(bytes, Endian::Big);
    let mut values: Vec<(&str, u64)> = Vec::new();
    for (i, name) in ORDER.into_iter().enumerate() {
        values.push((name, fields.u64(8 * i)?));
    }
    values.push(("rip", fields.u64(128)?));
    values.push(("eflags", fields.u64(136)?));
    const SEGMENTS: usize = 144 + 4 + 8 + 80;
    for (i, name) in ["es", "cs", "ss", "ds", "fs", "gs"].into_iter().enumerate() {
        values.push((name, fields.u32(SEGMENTS + 20 * i).map(u64::from)?));
    }
    let base = |i: usize| fields.u64(SEGMENTS + 20 * i + 4);
    let limit = |i: usize| fields.u32(SEGMENTS + 20 * i + 12).map(u64::from);
    values.push(("fs_base", base(4)?));
    values.push(("gs_base", base(5)?));
    let system = SEGMENTS + 200;
    let control_at = system + 20;
    let cr0 = fields.u64(control_at)?;
    // On a 32-bit target every field is half as wide, and nothing here would be true.
    if cr0 >> 32 != 0 {
        return None;
    }
    let efer_at = control_at + 32 + 64 + 8 + 256;
    let control = vec![
        ("cr0", cr0),
        ("cr2", fields.u64(control_at + 8)?),
        ("cr3", fields.u64(control_at + 16)?),
        ("cr4", fields.u64(control_at + 24)?),
        ("efer", fields.u64(efer_at)?),
        ("gdt_base", base(8)?),
        ("gdt_limit", limit(8)?),
        ("idt_base", base(9)?),
        ("idt_limit", limit(9)?),
        ("ldt_base", base(6)?),
        ("tr_base", base(7)?),
        ("kernel_gs_base", fields.u64(efer_at + 40)?),
    ];
    Some((named_registers(Arch::X86_64, &values), control))
}
