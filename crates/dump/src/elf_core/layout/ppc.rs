//! PowerPC of both sizes and byte orders. Source: Linux `asm/ptrace.h` (`pt_regs`, 48 words).

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

/// Softe, trap, dar, dsisr, result and spare words follow.
const REGISTERS: &str = "r0..31 pc msr orig_r3 ctr lr xer cr - - - - - - - - -";

pub(super) static LAYOUTS: &[Layout] = &[
    Layout {
        os: Os::Linux,
        arch: Arch::Ppc64,
        size: 504,
        at: 112,
        word: 8,
        registers: REGISTERS,
        thread_pointer: ThreadPointer::Register("r13"),
    },
    Layout {
        os: Os::Linux,
        arch: Arch::Ppc,
        size: 268,
        at: 72,
        word: 4,
        registers: REGISTERS,
        thread_pointer: ThreadPointer::Register("r2"),
    },
];
