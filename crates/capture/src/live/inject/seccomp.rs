//! What a process's seccomp filters say to the calls that are made in it.
//!
//! *What it is*: while we live the filters are suspended. If we die in the middle of a call, they are asked after all: an
//! answer with an error number does no harm (the thread goes home), one that kills does. So each filter is run here
//! first, on the same numbers.
//!
//! *Trap*: a filter program is the process's own: it is run with a bound, and what it does that classic BPF for seccomp
//! may not do (Documentation/userspace-api/seccomp_filter.rst) counts as deadly.

use super::Refusal;
use crate::sys::{Tid, tracee};

/// The calls, with those of their arguments that filters look at.
const CALLS: [(u32, [u64; 2]); 9] = [
    (323, [0x8_0801, 0]),    // userfaultfd
    (3, [3, 0]),             // close
    (157, [37, 0]),          // prctl(PR_GET_CHILD_SUBREAPER)
    (56, [0x10_0700, 0]),    // clone, sharing memory
    (56, [0x600, 0]),        // clone, as fork does
    (61, [1, 0]),            // wait4
    (231, [0, 0]),           // exit_group
    (436, [0, 0xffff_ffff]), // close_range
    (15, [0, 0]),            // rt_sigreturn
];

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Instructions of one filter, by the kernel's limit; it cannot loop.
const MOST_FILTERS: u32 = 64;

/// One instruction of classic BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) value: u32,
}

/// Refuses if one of the filters of a stopped thread would do harm.
pub(super) fn check(tid: Tid) -> Result<(), Refusal> {
    for index in 0..MOST_FILTERS {
        match tracee::seccomp_filter(tid, index) {
            Ok(Some(filter)) if CALLS.iter().all(|(number, args)| harmless(run(&filter, *number, *args))) => {}
            Ok(Some(_)) => {
                let why = "its seccomp filter would kill it if this program died in the middle of a call";
                return Err(Refusal::Because(why.into()));
            }
            Ok(None) => return Ok(()),
            Err(_) => return Err(Refusal::Seccomp),
        }
    }
    Err(Refusal::Seccomp)
}

/// Whether an answer lets the thread go on: an error number, a log entry, a tracer that is not there, or leave.
fn harmless(answer: Option<u32>) -> bool {
    const ERRNO: u32 = 0x0005_0000;
    const TRACE: u32 = 0x7ff0_0000;
    const LOG: u32 = 0x7ffc_0000;
    const ALLOW: u32 = 0x7fff_0000;
    answer.is_some_and(|answer| matches!(answer & 0xffff_0000, ERRNO | TRACE | LOG | ALLOW))
}

/// Runs a filter; `None` if it does what it may not.
fn run(filter: &[Instruction], number: u32, args: [u64; 2]) -> Option<u32> {
    // struct seccomp_data: nr, arch, instruction pointer, six arguments.
    let mut data = [0u32; 16];
    let words = [number, AUDIT_ARCH_X86_64, 0, 0];
    let args = args.iter().flat_map(|arg| [*arg as u32, (*arg >> 32) as u32]);
    for (place, word) in data.iter_mut().zip(words.into_iter().chain(args)) {
        *place = word;
    }
    let load = |at: u32| at.is_multiple_of(4).then(|| data.get(at as usize / 4).copied())?;
    let (mut a, mut x, mut memory) = (0u32, 0u32, [0u32; 16]);
    let mut at = 0usize;
    loop {
        let Instruction { code, jump_true, jump_false, value } = *filter.get(at)?;
        at += 1;
        let operand = if code & 0x08 == 0 { value } else { x };
        match code & 0x07 {
            0x00 | 0x01 => {
                let loaded = match code & 0xe0 {
                    0x00 => value,
                    0x20 => load(value)?,
                    0x60 => memory.get(value as usize).copied()?,
                    0x80 => 64,
                    _ => return None,
                };
                if code & 0x07 == 0 { a = loaded } else { x = loaded }
            }
            kind @ (0x02 | 0x03) => *memory.get_mut(value as usize)? = if kind == 0x02 { a } else { x },
            0x04 => {
                a = match code & 0xf0 {
                    0x00 => a.wrapping_add(operand),
                    0x10 => a.wrapping_sub(operand),
                    0x20 => a.wrapping_mul(operand),
                    0x30 => a.checked_div(operand)?,
                    0x40 => a | operand,
                    0x50 => a & operand,
                    0x60 => a.checked_shl(operand)?,
                    0x70 => a.checked_shr(operand)?,
                    0x80 => a.wrapping_neg(),
                    0xa0 => a ^ operand,
                    _ => return None,
                };
            }
            0x05 => {
                let condition = match code & 0xf0 {
                    0x00 => {
                        at = at.checked_add(value as usize)?;
                        continue;
                    }
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    0x40 => a & operand != 0,
                    _ => return None,
                };
                at += usize::from(if condition { jump_true } else { jump_false });
            }
            0x06 => return Some(if code & 0x18 == 0x10 { a } else { value }),
            _ if code & 0x80 == 0 => x = a,
            _ => a = x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
        Instruction { code, jump_true, jump_false, value }
    }

    #[test]
    fn filters_answer_as_the_kernel_would() {
        // ld [0]; jeq #323, 0, 1; ret ERRNO(1); jeq #56, 0, 1; ret KILL; ret ALLOW
        let filter = [
            step(0x20, 0, 0, 0),
            step(0x15, 323, 0, 1),
            step(0x06, 0x0005_0001, 0, 0),
            step(0x15, 56, 0, 1),
            step(0x06, 0x8000_0000, 0, 0),
            step(0x06, 0x7fff_0000, 0, 0),
        ];
        assert_eq!(run(&filter, 323, [0, 0]), Some(0x0005_0001));
        assert!(harmless(run(&filter, 323, [0, 0])) && harmless(run(&filter, 3, [0, 0])));
        assert!(!harmless(run(&filter, 56, [0, 0])));
        // It looks at an argument: ld [16]; jset #0x100, 0, 1; ret TRAP; ret ALLOW
        let filter = [
            step(0x20, 16, 0, 0),
            step(0x45, 0x100, 0, 1),
            step(0x06, 0x0003_0000, 0, 0),
            step(0x06, 0x7fff_0000, 0, 0),
        ];
        assert!(!harmless(run(&filter, 56, [0x100, 0])) && harmless(run(&filter, 56, [0x600, 0])));
        // What may not be: a load past the data, running off the end.
        assert_eq!(run(&[step(0x20, 64, 0, 0)], 1, [0, 0]), None);
        assert_eq!(run(&[step(0x05, 7, 0, 0)], 1, [0, 0]), None);
    }
}
