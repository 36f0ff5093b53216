//! The registers of a thread: which sets its processor has, and where the few that capture needs stand.
//!
//! *Trap*: a 32-bit process on a 64-bit kernel gives shorter sets; the length is what tells.

use crate::siginfo::SI_KERNEL;
use crate::sys::{self, RawSiginfo, Tid};
use afterimage_dump::write::elf_core::Class;

/// A processor as a core file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) class: Class,
    /// `e_machine`.
    pub(crate) number: u16,
    /// Length of the integer registers in bytes.
    pub(crate) len: usize,
    /// Index of the stack pointer among them.
    sp: usize,
    /// Index of the program counter.
    pc: usize,
    /// Index of the thread pointer.
    tp: Option<usize>,
    /// Indices of the system call's number and its arguments.
    call: [usize; 7],
    /// Owner and type of the further sets that are kept.
    pub(crate) sets: &'static [(&'static str, u32)],
}

#[cfg(target_arch = "x86_64")]
const MACHINES: [Machine; 2] = [
    Machine {
        class: Class::Bits64,
        number: 62,
        len: 27 * 8,
        sp: 19,
        pc: 16,
        tp: Some(21),
        call: [15, 14, 13, 12, 7, 9, 8],
        sets: &[("CORE", 2), ("LINUX", 0x202)],
    },
    Machine {
        class: Class::Bits32,
        number: 3,
        len: 17 * 4,
        sp: 15,
        pc: 12,
        tp: None,
        call: [11, 0, 1, 2, 3, 4, 5],
        // The i387's own set, SSE's (NT_PRXFPREG), all of it, and the thread's segments (NT_386_TLS).
        sets: &[("CORE", 2), ("LINUX", 0x46e6_2b7f), ("LINUX", 0x202), ("LINUX", 0x200)],
    },
];

#[cfg(target_arch = "aarch64")]
const MACHINES: [Machine; 2] = [
    Machine {
        class: Class::Bits64,
        number: 183,
        len: 34 * 8,
        sp: 31,
        pc: 32,
        tp: None,
        call: [8, 0, 1, 2, 3, 4, 5],
        // Then thread pointer, watched system call, SVE, pointer authentication masks, tagged addresses.
        sets: &[("CORE", 2), ("LINUX", 0x401), ("LINUX", 0x404), ("LINUX", 0x405), ("LINUX", 0x406), ("LINUX", 0x409)],
    },
    Machine {
        class: Class::Bits32,
        number: 40,
        len: 18 * 4,
        sp: 13,
        pc: 15,
        tp: None,
        call: [7, 0, 1, 2, 3, 4, 5],
        // VFP registers.
        sets: &[("LINUX", 0x400)],
    },
];

impl Machine {
    /// The machine of a thread with these integer registers.
    pub(crate) fn of(registers: &[u8]) -> Option<&'static Self> {
        MACHINES.iter().find(|machine| machine.len == registers.len())
    }

    fn word(&self) -> usize {
        if self.class == Class::Bits64 { 8 } else { 4 }
    }

    /// All integer registers as numbers.
    pub(crate) fn values<'a>(&self, registers: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
        registers
            .chunks_exact(self.word())
            .map(|bytes| bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// The program counter.
    pub(crate) fn pc(&self, registers: &[u8]) -> Option<u64> {
        self.values(registers).nth(self.pc)
    }

    /// The thread pointer, where it is among the integer registers.
    pub(crate) fn thread_pointer(&self, registers: &[u8]) -> Option<u64> {
        self.values(registers).nth(self.tp?).filter(|at| *at != 0)
    }

    /// The stack pointer.
    pub(crate) fn sp(&self, registers: &[u8]) -> Option<u64> {
        self.values(registers).nth(self.sp)
    }

    /// What /proc tells of a thread that waits in the kernel and could not be stopped, as far as it goes.
    pub(crate) fn registers_of_waiter(&self, text: &str) -> Option<Vec<u8>> {
        let number = |word: &str| match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse::<i64>().ok().map(|value| value as u64),
        };
        let words: Option<Vec<u64>> = text.split_whitespace().map(number).collect();
        let words = words?;
        let (pc, words) = words.split_last()?;
        let (sp, words) = words.split_last()?;
        let mut registers = vec![0; self.len];
        let mut set = |index: usize, value: u64| {
            let word = self.word();
            if let Some(to) = registers.get_mut(index * word..(index + 1) * word) {
                for (to, from) in to.iter_mut().zip(value.to_le_bytes()) {
                    *to = from;
                }
            }
        };
        for (&index, &value) in self.call.iter().zip(words) {
            set(index, value);
        }
        set(self.sp, *sp);
        set(self.pc, *pc);
        Some(registers)
    }
}

/// Information about a signal that the kernel did not deliver but ended the process by. For SIGSYS that is a seccomp
/// filter, and the registers still name the call; for others only the signal is known.
pub(crate) fn lost_siginfo(tid: Tid, signal: i32) -> RawSiginfo {
    const SYS_SECCOMP: i32 = 1;
    let mut info = [0; sys::SIGINFO_LEN];
    let mut set = |at: usize, bytes: &[u8]| {
        for (to, from) in info.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    };
    set(0, &signal.to_ne_bytes());
    set(8, &SI_KERNEL.to_ne_bytes());
    if signal == libc::SIGSYS
        && let Ok(registers) = integer(tid)
        && let Some(machine) = Machine::of(&registers)
        && let [number, ..] = machine.call
        && let Some(pc) = machine.values(&registers).nth(machine.pc)
        && let Some(call) = machine.values(&registers).nth(number)
    {
        // _sigsys: call address, number of the call, AUDIT_ARCH (the ELF machine with flags for 64 bits and byte order).
        let arch =
            u32::from(machine.number) | 0x4000_0000 | if machine.class == Class::Bits64 { 0x8000_0000 } else { 0 };
        set(8, &SYS_SECCOMP.to_ne_bytes());
        set(16, &pc.to_ne_bytes());
        set(24, &(call as i32).to_ne_bytes());
        set(28, &arch.to_ne_bytes());
    }
    info
}

/// Integer registers of a stopped thread.
pub(crate) fn integer(tid: Tid) -> std::io::Result<Vec<u8>> {
    sys::registers(tid, 1)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn waiting_thread() {
        let machine = &MACHINES[0];
        let text = "58 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffd00000010 0x7f0000000020\n";
        let registers = machine.registers_of_waiter(text).unwrap();
        let values: Vec<u64> = machine.values(&registers).collect();
        assert_eq!((values[15], values[14], values[8]), (58, 1, 6));
        assert_eq!((machine.sp(&registers), values[16]), (Some(0x7ffd_0000_0010), 0x7f00_0000_0020));
        assert_eq!(machine.registers_of_waiter("running\n"), None);
    }
}
