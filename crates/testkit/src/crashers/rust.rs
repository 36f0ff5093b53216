//! Rust programs: panics that end in abort, and the deaths that no panic announces.

use super::model::{BASE, Compiler, Crasher, Fact, GAP, SEGV_MAPERR, SI_TKILL, SIGNAL_FRAME, at};

const ABORTING: &[&str] = &["-g", "-Cpanic=abort"];
const UNWINDING: &[&str] = &["-g", "-Cpanic=unwind"];

pub(super) const PANIC: Crasher = Crasher {
    name: "rust_panic",
    about: "panic! with a formatted message, built with panic=abort",
    source: "panics.rs",
    compiler: Compiler::Rustc,
    flags: ABORTING,
    args: &["panic"],
    signal: libc::SIGABRT,
    code: SI_TKILL,
    kind: "rust_panic",
    frames: &[GAP, "read_setting", "handle_request", "serve", "main"],
    place: at("panics::read_setting", "panics.rs", "CALL:panic"),
    facts: &[Fact::Message("setting depth is not a number")],
    ..BASE
};

pub(super) const UNWRAP: Crasher = Crasher {
    name: "rust_unwrap",
    about: "unwrap of None",
    args: &["unwrap"],
    frames: &[GAP, "find_user", "handle_request", "serve", "main"],
    place: at("panics::find_user", "panics.rs", "CALL:unwrap"),
    facts: &[Fact::Message("called `Option::unwrap()` on a `None` value")],
    ..PANIC
};

pub(super) const EXPECT: Crasher = Crasher {
    name: "rust_expect",
    about: "expect of an error: the message holds the error's own text",
    args: &["expect"],
    frames: &[GAP, "open_log", "handle_request", "serve", "main"],
    place: at("panics::open_log", "panics.rs", "CALL:expect"),
    facts: &[Fact::Message("the log must be there: Os { code: 2, kind: NotFound")],
    ..PANIC
};

pub(super) const INDEX: Crasher = Crasher {
    name: "rust_index",
    about: "a slice's index is out of bounds",
    args: &["index"],
    frames: &[GAP, "pick", "handle_request", "serve", "main"],
    place: at("panics::pick", "panics.rs", "CALL:index"),
    facts: &[Fact::Message("index out of bounds: the len is 3 but the index is 7")],
    ..PANIC
};

pub(super) const ADD_OVERFLOW: Crasher = Crasher {
    name: "rust_add_overflow",
    about: "an addition overflows in a debug build",
    args: &["overflow"],
    frames: &[GAP, "add", "handle_request", "serve", "main"],
    place: at("panics::add", "panics.rs", "CALL:overflow"),
    facts: &[Fact::Message("attempt to add with overflow")],
    ..PANIC
};

pub(super) const RUST_ABORT: Crasher = Crasher {
    name: "rust_abort",
    about: "process::abort: no panic, no message",
    args: &["abort"],
    kind: "abort",
    frames: &[GAP, "stop", "handle_request", "serve", "main"],
    place: at("panics::stop", "panics.rs", "CALL:abort"),
    facts: &[],
    ..PANIC
};

pub(super) const DOUBLE_PANIC: Crasher = Crasher {
    name: "rust_double_panic",
    about: "a destructor panics while the first panic unwinds: both panics' frames are gone when std aborts",
    flags: UNWINDING,
    args: &["double"],
    frames: &[GAP, "guarded", "handle_request", "serve", "main"],
    place: None,
    facts: &[Fact::Message("panic in a destructor during cleanup")],
    ..PANIC
};

pub(super) const PANIC_IN_EXTERN_C: Crasher = Crasher {
    name: "rust_panic_extern_c",
    about: "a panic reaches an extern \"C\" function, which must not unwind",
    flags: UNWINDING,
    args: &["extern"],
    frames: &[GAP, "callback_from_c", "handle_request", "serve", "main"],
    place: None,
    facts: &[Fact::Message("panic in a function that cannot unwind")],
    ..PANIC
};

pub(super) const RUST_NULL: Crasher = Crasher {
    name: "rust_null",
    about: "unsafe code reads a member through null, in a release build with a trait, generics and a closure",
    source: "pointers.rs",
    flags: &["-g", "-O"],
    args: &["null"],
    signal: libc::SIGSEGV,
    code: SEGV_MAPERR,
    kind: "null_read",
    frames: &[GAP, "read", "lookup", "{closure#0}", "handle_request", "main"],
    place: at("<pointers::Raw as pointers::Source>::read", "pointers.rs", "CRASH:null"),
    facts: &[],
    ..PANIC
};

pub(super) const RUST_STACK_OVERFLOW: Crasher = Crasher {
    name: "rust_stack_overflow",
    about: "std's handler finds the overflow and aborts: SIGABRT above a signal frame above the recursion",
    source: "pointers.rs",
    flags: &["-g", "-O", "-Aunconditional_recursion"],
    args: &["overflow"],
    kind: "stack_overflow",
    frames: &[GAP, SIGNAL_FRAME, GAP, "descend", "descend"],
    place: None,
    facts: &[Fact::Message("has overflowed its stack")],
    ..PANIC
};

pub(super) const STRIPPED: Crasher = Crasher {
    name: "rust_stripped",
    about: "a panic in a release build without any symbol: only the unwind tables are left",
    flags: &["-O", "-Cpanic=abort", "-Cstrip=symbols"],
    args: &["unwrap"],
    frames: &[],
    place: None,
    facts: &[Fact::Message("called `Option::unwrap()` on a `None` value")],
    ..PANIC
};
