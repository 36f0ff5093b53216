//! LC_THREAD: for each thread a list of states, each a flavor, a length in words of 4 bytes, and registers.
//!
//! *What it is not*: vector and debug registers are passed over.
//!
//! *Example*: flavor 4, length 42 on x86-64: `rax rbx rcx rdx rdi rsi rbp rsp r8 … r15 rip rflags cs fs gs`.
//!
//! *Trap*: flavors are numbered per processor: 6 is the exception state on x86 and the registers on arm64. On x86 a flavor
//! may be a union (7: integers, 9: exception) with flavor and length of its own inside.

use super::headers::Header;
use crate::bytes::Fields;
use crate::{Arch, Registers};

/// What one LC_THREAD says.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) registers: Registers,
    pub(super) fault: Option<Fault>,
}

/// The last reason for which the thread entered the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Mach exception that it would become, first code, and the address.
    pub(super) exception: u32,
    pub(super) code: u64,
    pub(super) address: u64,
    /// It was an access of memory.
    pub(super) memory: bool,
}

/// Names in the order of `mach/i386/_structs.h`.
const X86_64: [&str; 21] = [
    "rax", "rbx", "rcx", "rdx", "rdi", "rsi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "rip", "eflags", "cs", "fs", "gs",
];
const X86: [&str; 16] =
    ["eax", "ebx", "ecx", "edx", "edi", "esi", "ebp", "esp", "ss", "eflags", "eip", "cs", "ds", "es", "fs", "gs"];

/// Reads the states of one thread.
pub(super) fn read(header: &Header, command: Fields<'_>) -> State {
    let arch = header.arch();
    let mut state = State { registers: Registers::new(arch), fault: None };
    let mut at = 8;
    // A command of 4 GiB may have so many; a real one has five.
    for _ in 0..64 {
        let (Some(flavor), Some(words)) = (command.u32(at), command.u32(at + 4)) else { break };
        at += 8;
        let Some(len) = (words as usize).checked_mul(4) else { break };
        // What is cut off is used as far as it goes.
        let rest = command.bytes().get(at..).unwrap_or_default();
        let body = rest.get(..len.min(rest.len())).unwrap_or_default();
        one(&mut state, arch, flavor, Fields::new(body, header.endian));
        let Some(next) = at.checked_add(len) else { break };
        at = next;
    }
    state
}

fn set(state: &mut State, names: &[&str], fields: Fields<'_>, size: usize) {
    let info = state.registers.arch().info();
    for (index, name) in names.iter().enumerate() {
        if let (Some(slot), Some(value)) = (info.slot(name), fields.uint(index * size, size)) {
            state.registers.set(slot, value);
        }
    }
}

fn one(state: &mut State, arch: Arch, flavor: u32, fields: Fields<'_>) {
    match (arch, flavor) {
        (Arch::X86_64 | Arch::X86, 7 | 9) => {
            let Some(inner) = fields.u32(0).filter(|inner| !matches!(inner, 7 | 9)) else { return };
            let body = fields.bytes().get(8..).unwrap_or_default();
            let endian = crate::Endian::Little;
            one(state, arch, inner, Fields::new(body, endian));
        }
        (Arch::X86_64, 4) => set(state, &X86_64, fields, 8),
        (Arch::X86, 1) => set(state, &X86, fields, 4),
        (Arch::X86_64, 6) => state.fault = x86_fault(fields.u16(0), fields.u64(8)),
        (Arch::X86, 3) => state.fault = x86_fault(fields.u16(0), fields.u32(8).map(u64::from)),
        (Arch::Aarch64, 6) => arm64(state, fields),
        (Arch::Aarch64, 7) => state.fault = arm64_fault(fields),
        // ARM_THREAD_STATE, and ARM_THREAD_STATE32 by its newer number.
        (Arch::Arm, 1 | 9) => {
            let info = arch.info();
            for slot in 0..16 {
                if let Some(value) = fields.u32(slot * 4) {
                    state.registers.set(slot, u64::from(value));
                }
            }
            if let (Some(slot), Some(value)) = (info.slot("cpsr"), fields.u32(64)) {
                state.registers.set(slot, u64::from(value));
            }
        }
        _ => {}
    }
}

fn arm64(state: &mut State, fields: Fields<'_>) {
    let info = state.registers.arch().info();
    // x0 to x28, fp, lr, sp, pc stand in the table's order.
    for slot in 0..33 {
        if let Some(value) = fields.u64(slot * 8) {
            state.registers.set(slot, value);
        }
    }
    if let (Some(slot), Some(value)) = (info.slot("cpsr"), fields.u32(264)) {
        state.registers.set(slot, u64::from(value));
    }
}

/// `osfmk/i386/trap.h`: 0 divide, 3 breakpoint, 6 invalid opcode, 13 protection, 14 page fault.
fn x86_fault(trap: Option<u16>, address: Option<u64>) -> Option<Fault> {
    let address = address?;
    let (exception, code, memory) = match trap? {
        0 => (3, 1, false),
        3 => (6, 2, false),
        6 => (2, 1, false),
        13 => (1, 13, false),
        14 => (1, 1, true),
        _ => return None,
    };
    Some(Fault { exception, code, address, memory })
}

/// The class is in the upper six bits of `esr`: 0 unknown instruction, 0x20/21 fetch, 0x24/25 data, 0x3c breakpoint.
fn arm64_fault(fields: Fields<'_>) -> Option<Fault> {
    let (address, esr) = (fields.u64(0)?, fields.u32(8)?);
    let (exception, code, memory) = match esr >> 26 {
        0x20 | 0x21 | 0x24 | 0x25 => (1, 1, true),
        0x3c => (6, 1, false),
        _ => return None,
    };
    Some(Fault { exception, code, address, memory })
}
