//! Programs that end themselves or are ended: abort and assert, what the C library's checks find, signals sent.

use super::model::{BASE, Crasher, Fact, GAP, SI_KERNEL, SI_TKILL, SI_USER, SYS_SECCOMP, at};

pub(super) const ABORT: Crasher = Crasher {
    name: "abort",
    about: "abort() without a word",
    source: "give_up.c",
    args: &["abort"],
    signal: libc::SIGABRT,
    code: SI_TKILL,
    kind: "abort",
    frames: &[GAP, "give_up", "check_limits", "main"],
    place: at("give_up", "give_up.c", "CALL:abort"),
    ..BASE
};

pub(super) const ASSERT: Crasher = Crasher {
    name: "assert",
    about: "a failed assert, whose text the C library keeps in __abort_msg",
    args: &["assert"],
    kind: "assertion_failed",
    frames: &[GAP, "check_count", "check_limits", "main"],
    place: at("check_count", "give_up.c", "CALL:assert"),
    facts: &[Fact::Message("check_count: Assertion `count > 100 && \"too few\"' failed.")],
    ..ABORT
};

pub(super) const RAISE_QUIT: Crasher = Crasher {
    name: "raise_quit",
    about: "raise(SIGQUIT): a signal that dumps core and is nobody's fault",
    args: &["quit"],
    signal: libc::SIGQUIT,
    kind: "killed",
    frames: &[GAP, "raise_quit", "check_limits", "main"],
    place: at("raise_quit", "give_up.c", "CALL:quit"),
    facts: &[Fact::SenderIsSelf],
    ..ABORT
};

pub(super) const KILL_SELF: Crasher = Crasher {
    name: "kill_self",
    about: "kill(getpid(), SIGSEGV): a SIGSEGV without any bad access",
    args: &["kill"],
    signal: libc::SIGSEGV,
    code: SI_USER,
    kind: "killed",
    frames: &[GAP, "kill_self", "check_limits", "main"],
    place: at("kill_self", "give_up.c", "CALL:kill"),
    facts: &[Fact::SenderIsSelf],
    ..ABORT
};

pub(super) const KILLED_ABRT: Crasher = Crasher {
    name: "killed_abrt",
    about: "waits and is sent SIGABRT by its child: not an abort of its own",
    source: "killed.c",
    args: &["abrt"],
    signal: libc::SIGABRT,
    code: SI_USER,
    kind: "killed",
    frames: &[GAP, "wait_for_work", "serve", "main"],
    place: at("wait_for_work", "killed.c", "CALL"),
    facts: &[Fact::SenderIsChild],
    ..BASE
};

pub(super) const KILLED_SEGV: Crasher = Crasher {
    name: "killed_segv",
    about: "waits and is sent SIGSEGV by its child: the sender's pid lies where a fault address would",
    args: &["segv"],
    signal: libc::SIGSEGV,
    ..KILLED_ABRT
};

pub(super) const NORETURN_TAIL: Crasher = Crasher {
    name: "noreturn_tail",
    about: "the call of abort ends its function: the return address is the first byte of the next one",
    source: "noreturn_tail.c",
    args: &[],
    flags: &["-g", "-O1", "-falign-functions=1", "-fno-toplevel-reorder"],
    frames: &[GAP, "give_up", "check_limits", "main"],
    place: at("give_up", "noreturn_tail.c", "CALL"),
    ..ABORT
};

pub(super) const STACK_SMASHING: Crasher = Crasher {
    name: "stack_smashing",
    about: "overwrites the stack protector's canary, and with it the callers' return addresses",
    source: "buffer.c",
    args: &[],
    flags: &["-g", "-O0", "-fstack-protector-all", "-U_FORTIFY_SOURCE"],
    kind: "stack_smashing",
    frames: &[GAP, "parse_line"],
    place: at("parse_line", "buffer.c", "RETURN"),
    facts: &[Fact::Message("*** stack smashing detected ***: terminated")],
    ..ABORT
};

pub(super) const FORTIFY: Crasher = Crasher {
    name: "fortify",
    about: "strcpy into too small a buffer, found by _FORTIFY_SOURCE before anything is overwritten",
    flags: &["-g", "-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-fno-stack-protector"],
    kind: "buffer_overflow",
    frames: &[GAP, "parse_line", "parse_file", "handle_request", "main"],
    place: at("parse_line", "buffer.c", "CALL"),
    facts: &[Fact::Message("*** buffer overflow detected ***: terminated")],
    ..STACK_SMASHING
};

pub(super) const SMASHED_RETURN: Crasher = Crasher {
    name: "smashed_return",
    about: "overwrites its return address unnoticed: the ret faults, and the callers are gone",
    flags: &["-g", "-O0", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-DUNCHECKED"],
    signal: libc::SIGSEGV,
    code: SI_KERNEL,
    kind: "noncanonical",
    frames: &["parse_line"],
    place: at("parse_line", "buffer.c", "RETURN"),
    facts: &[Fact::Address(0x4141_4141_4141_4141)],
    ..STACK_SMASHING
};

pub(super) const DOUBLE_FREE: Crasher = Crasher {
    name: "double_free",
    about: "frees a chunk twice",
    source: "heap.c",
    args: &["double"],
    flags: &["-g", "-O0", "-w"],
    kind: "heap_corruption",
    frames: &[GAP, "free_twice", "churn", "handle_request", "main"],
    place: at("free_twice", "heap.c", "CALL:double"),
    facts: &[Fact::Message("free(): double free detected in tcache 2")],
    ..ABORT
};

pub(super) const CORRUPTED_TOP: Crasher = Crasher {
    name: "corrupted_top",
    about: "writes over the size of the heap's last chunk; found by the next malloc, not by the culprit",
    args: &["top"],
    frames: &[GAP, "break_top", "churn", "handle_request", "main"],
    place: at("break_top", "heap.c", "CALL:top"),
    facts: &[Fact::Message("malloc(): corrupted top size")],
    ..DOUBLE_FREE
};

pub(super) const CORRUPTED_SIZE: Crasher = Crasher {
    name: "corrupted_size",
    about: "writes over the size of the neighbouring chunk, which is then freed",
    args: &["next"],
    frames: &[GAP, "break_next", "churn", "handle_request", "main"],
    place: at("break_next", "heap.c", "CALL:next"),
    facts: &[Fact::Message("double free or corruption (out)")],
    ..DOUBLE_FREE
};

pub(super) const INVALID_FREE: Crasher = Crasher {
    name: "invalid_free",
    about: "frees a pointer into the middle of a chunk",
    args: &["invalid"],
    frames: &[GAP, "free_middle", "churn", "handle_request", "main"],
    place: at("free_middle", "heap.c", "CALL:invalid"),
    facts: &[Fact::Message("free(): invalid pointer")],
    ..DOUBLE_FREE
};

pub(super) const SECCOMP: Crasher = Crasher {
    name: "seccomp",
    about: "makes a system call that its own seccomp filter forbids",
    source: "seccomp.c",
    signal: libc::SIGSYS,
    code: SYS_SECCOMP,
    kind: "bad_system_call",
    frames: &[GAP, "make_folder", "save", "main"],
    place: at("make_folder", "seccomp.c", "CALL"),
    facts: &[Fact::SystemCall(83)],
    ..BASE
};
