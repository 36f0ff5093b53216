//! Programs that the processor stops by itself: arithmetic, bad instructions, breakpoints.

use super::model::{BASE, Crasher, FPE_FLTDIV, FPE_INTDIV, ILL_ILLOPN, SI_KERNEL, at};

pub(super) const DIVIDE_BY_ZERO: Crasher = Crasher {
    name: "divide_by_zero",
    about: "divides an integer by zero",
    source: "arithmetic.c",
    args: &["zero"],
    signal: libc::SIGFPE,
    code: FPE_INTDIV,
    kind: "divide_by_zero",
    flags: &["-g", "-O0", "-lm"],
    frames: &["divide", "average", "report", "main"],
    place: at("divide", "arithmetic.c", "CRASH:int"),
    ..BASE
};

pub(super) const DIVIDE_OVERFLOW: Crasher = Crasher {
    name: "divide_overflow",
    about: "INT_MIN / -1: the kernel reports the same as for zero, only the registers tell them apart",
    args: &["overflow"],
    kind: "divide_overflow",
    ..DIVIDE_BY_ZERO
};

pub(super) const FLOATING_POINT: Crasher = Crasher {
    name: "floating_point",
    about: "divides a double by zero with that trap switched on: no integer is involved",
    args: &["float"],
    code: FPE_FLTDIV,
    kind: "floating_point",
    frames: &["divide_floats", "average", "report", "main"],
    place: at("divide_floats", "arithmetic.c", "CRASH:float"),
    ..DIVIDE_BY_ZERO
};

pub(super) const ILLEGAL_INSTRUCTION: Crasher = Crasher {
    name: "illegal_instruction",
    about: "meets a byte that is no instruction",
    source: "instruction.c",
    args: &["undefined"],
    signal: libc::SIGILL,
    code: ILL_ILLOPN,
    kind: "illegal_instruction",
    frames: &["run_undefined", "step", "interpret", "main"],
    place: at("run_undefined", "instruction.c", "CRASH:undefined"),
    ..BASE
};

pub(super) const TRAP: Crasher = Crasher {
    name: "trap",
    about: "__builtin_trap: the ud2 that compilers put where the program must not come",
    args: &["trap"],
    kind: "trap",
    frames: &["run_trap", "step", "interpret", "main"],
    place: at("run_trap", "instruction.c", "CRASH:trap"),
    ..ILLEGAL_INSTRUCTION
};

pub(super) const BREAKPOINT: Crasher = Crasher {
    name: "breakpoint",
    about: "int3 without a debugger: the program counter already stands behind the instruction",
    args: &["breakpoint"],
    signal: libc::SIGTRAP,
    code: SI_KERNEL,
    kind: "breakpoint",
    frames: &["run_breakpoint", "step", "interpret", "main"],
    place: at("run_breakpoint", "instruction.c", "CRASH:breakpoint"),
    ..ILLEGAL_INSTRUCTION
};

pub(super) const PRIVILEGED: Crasher = Crasher {
    name: "privileged_instruction",
    about: "hlt: a SIGSEGV with address 0 in which no memory is involved",
    args: &["privileged"],
    signal: libc::SIGSEGV,
    code: SI_KERNEL,
    kind: "illegal_instruction",
    frames: &["run_privileged", "step", "interpret", "main"],
    place: at("run_privileged", "instruction.c", "CRASH:privileged"),
    ..ILLEGAL_INSTRUCTION
};
