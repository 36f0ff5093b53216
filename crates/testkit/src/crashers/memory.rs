//! Programs that touch memory which they must not: null, wild, protected, executed as data, past a file's end.

use super::model::{
    BASE, BUS_ADRALN, BUS_ADRERR, Crasher, Fact, GAP, SEGV_ACCERR, SEGV_MAPERR, SI_KERNEL, UNKNOWN, at,
};

/// Where the sources put mappings whose address must be known (`FIXED_PLACE` in `chain.h`).
const FIXED: u64 = 0x100_0000_0000;

pub(super) const NULL_READ: Crasher = Crasher {
    name: "null_read",
    about: "reads the first member of a structure through a null pointer",
    source: "null_read.c",
    kind: "null_read",
    frames: &["read_field", "lookup", "handle_request", "main"],
    place: at("read_field", "null_read.c", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0)],
    ..BASE
};

pub(super) const NULL_WRITE: Crasher = Crasher {
    name: "null_write",
    about: "writes to a member of a null structure: the address is not null, its cause is",
    source: "null_write.c",
    kind: "null_write",
    frames: &["set_state", "login", "handle_request", "main"],
    place: at("set_state", "null_write.c", "CRASH"),
    facts: &[Fact::NullOffset(0x28), Fact::Address(0x28)],
    ..BASE
};

pub(super) const NULL_CALL: Crasher = Crasher {
    name: "null_call",
    about: "calls a null function pointer: the program counter is null, the caller is on the top of the stack",
    source: "jump.c",
    args: &["null"],
    kind: "null_call",
    frames: &[UNKNOWN, "call_action", "dispatch", "main"],
    place: at("call_action", "jump.c", "CALL"),
    facts: &[Fact::Address(0)],
    ..BASE
};

pub(super) const WILD_JUMP: Crasher = Crasher {
    name: "wild_jump",
    about: "calls a function pointer full of rubbish",
    args: &["wild"],
    kind: "wild_jump",
    facts: &[Fact::Address(0x1234_5678_9000)],
    ..NULL_CALL
};

pub(super) const EXECUTE_DATA: Crasher = Crasher {
    name: "execute_data",
    about: "jumps into .data: there is memory, and even a symbol, but no right to execute",
    args: &["data"],
    code: SEGV_ACCERR,
    kind: "execute_data",
    facts: &[Fact::Module("execute_data")],
    ..NULL_CALL
};

pub(super) const EXECUTE_HEAP: Crasher = Crasher {
    name: "execute_heap",
    about: "jumps into the heap, which belongs to no module",
    args: &["heap"],
    code: SEGV_ACCERR,
    kind: "execute_data",
    facts: &[],
    ..NULL_CALL
};

pub(super) const GENERATED_CODE: Crasher = Crasher {
    name: "generated_code",
    about: "reads null in code made at run time: executable, no module, no symbol, no unwind rule",
    args: &["jit"],
    kind: "null_read",
    facts: &[Fact::NullOffset(0), Fact::Address(0)],
    ..NULL_CALL
};

pub(super) const WILD_READ: Crasher = Crasher {
    name: "wild_read",
    about: "reads through a pointer to nowhere",
    source: "wild.c",
    args: &["read"],
    kind: "wild_read",
    frames: &["read_node", "walk_list", "handle_request", "main"],
    place: at("read_node", "wild.c", "CRASH:read"),
    facts: &[Fact::Address(0x1234_5678_9ab8)],
    ..BASE
};

pub(super) const WILD_WRITE: Crasher = Crasher {
    name: "wild_write",
    about: "writes through a pointer to nowhere",
    args: &["write"],
    kind: "wild_write",
    frames: &["write_node", "walk_list", "handle_request", "main"],
    place: at("write_node", "wild.c", "CRASH:write"),
    ..WILD_READ
};

pub(super) const NONCANONICAL: Crasher = Crasher {
    name: "noncanonical",
    about: "reads through a pointer of poison bytes: the kernel reports address 0, the registers know better",
    args: &["poison"],
    code: SI_KERNEL,
    kind: "noncanonical",
    facts: &[Fact::Address(0x6b6b_6b6b_6b6b_6b73)],
    ..WILD_READ
};

pub(super) const USE_AFTER_MUNMAP: Crasher = Crasher {
    name: "use_after_munmap",
    about: "reads a page that was given back: a hole between two pages that are still there",
    source: "mapping.c",
    args: &["munmap"],
    kind: "wild_read",
    frames: &["read_byte", "use_pages", "main"],
    place: at("read_byte", "mapping.c", "CRASH:read"),
    facts: &[Fact::Address(FIXED + 0x1010)],
    ..BASE
};

pub(super) const GUARD_PAGE: Crasher = Crasher {
    name: "guard_page",
    about: "reads a page without any right, between two ordinary ones",
    args: &["protnone"],
    code: SEGV_ACCERR,
    kind: "guard_page",
    facts: &[Fact::Address(FIXED + 0x1000)],
    ..USE_AFTER_MUNMAP
};

pub(super) const WRITE_TO_RODATA: Crasher = Crasher {
    name: "write_to_rodata",
    about: "writes to a string constant",
    args: &["rodata"],
    code: SEGV_ACCERR,
    kind: "write_to_readonly",
    frames: &["write_byte", "use_pages", "main"],
    place: at("write_byte", "mapping.c", "CRASH:write"),
    facts: &[],
    ..USE_AFTER_MUNMAP
};

pub(super) const WRITE_TO_READONLY: Crasher = Crasher {
    name: "write_to_readonly",
    about: "writes to an anonymous page that was made read-only",
    args: &["readonly"],
    facts: &[Fact::Address(FIXED + 0x1020)],
    ..WRITE_TO_RODATA
};

pub(super) const BUS_PAST_END: Crasher = Crasher {
    name: "bus_past_end",
    about: "reads a mapped file one page behind its end",
    source: "bus.c",
    args: &["past"],
    signal: libc::SIGBUS,
    code: BUS_ADRERR,
    kind: "bus_past_end",
    frames: &["read_record", "scan_file", "main"],
    place: at("read_record", "bus.c", "CRASH:past"),
    facts: &[Fact::Address(FIXED + 0x1030)],
    ..BASE
};

pub(super) const BUS_MISALIGNED: Crasher = Crasher {
    name: "bus_misaligned",
    about: "reads a word at an odd address with the processor's alignment check on",
    args: &["misaligned"],
    code: BUS_ADRALN,
    kind: "bus_misaligned",
    frames: &["read_word", "parse_packet", "main"],
    place: at("read_word", "bus.c", "CRASH:misaligned"),
    facts: &[Fact::Address(FIXED + 1)],
    ..BUS_PAST_END
};

pub(super) const MEMCPY: Crasher = Crasher {
    name: "memcpy",
    about: "dies inside the C library's memcpy, in hand-written assembly without a frame",
    source: "libc_frames.c",
    args: &["memcpy"],
    code: SEGV_MAPERR,
    kind: "wild_read",
    frames: &[GAP, "copy_name", "handle_request", "main"],
    place: at("copy_name", "libc_frames.c", "CALL:memcpy"),
    facts: &[Fact::Module("libc.so.6")],
    ..BASE
};

pub(super) const QSORT: Crasher = Crasher {
    name: "qsort",
    about: "dies in a comparator, with the C library's qsort between our frames",
    args: &["qsort"],
    kind: "null_read",
    frames: &["compare_rows", GAP, "sort_rows", "handle_request", "main"],
    place: at("compare_rows", "libc_frames.c", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0)],
    ..MEMCPY
};

pub(super) const VDSO: Crasher = Crasher {
    name: "vdso",
    about: "dies inside the kernel's vDSO, a module that is no file",
    args: &["vdso"],
    kind: "wild_write",
    frames: &[GAP, "read_clock", "handle_request", "main"],
    place: at("read_clock", "libc_frames.c", "CALL:vdso"),
    facts: &[Fact::Module("[vdso]")],
    ..MEMCPY
};
