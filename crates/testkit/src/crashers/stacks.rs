//! Programs whose stacks are hard to walk or to choose: overflows, threads, signal frames, libraries, forks.

use super::model::{BASE, Crasher, Dies, Fact, GAP, Library, SEGV_ACCERR, SEGV_MAPERR, SIGNAL_FRAME, at};

pub(super) const STACK_OVERFLOW: Crasher = Crasher {
    name: "stack_overflow",
    about: "recurses in the main thread until the kernel no longer lets the stack grow",
    source: "stack_overflow.c",
    flags: &["-g", "-O0", "-w"],
    kind: "stack_overflow",
    frames: &["descend", "descend", "descend", GAP, "start_descent", "main"],
    ..BASE
};

pub(super) const STACK_OVERFLOW_THREAD: Crasher = Crasher {
    name: "stack_overflow_thread",
    about: "recurses in a second thread into the guard page below its stack",
    args: &["thread"],
    code: SEGV_ACCERR,
    frames: &["descend", "descend", "descend", GAP, "start_descent", "worker"],
    ..STACK_OVERFLOW
};

pub(super) const DEEP_STACK: Crasher = Crasher {
    name: "deep_stack",
    about: "20 000 live frames and no overflow",
    source: "deep_stack.c",
    kind: "null_read",
    frames: &["read_leaf", "walk_tree", "walk_tree", "walk_tree", GAP, "main"],
    place: at("read_leaf", "deep_stack.c", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0)],
    ..BASE
};

pub(super) const COROUTINE: Crasher = Crasher {
    name: "coroutine",
    about: "dies on a stack in the heap, made with makecontext, that ends without main",
    source: "coroutine.c",
    frames: &["read_message", "receive", "task"],
    place: at("read_message", "coroutine.c", "CRASH"),
    ..DEEP_STACK
};

pub(super) const IN_HANDLER: Crasher = Crasher {
    name: "in_handler",
    about: "reads null in a signal handler: a signal frame lies in the stack",
    source: "handler.c",
    args: &["plain"],
    frames: &["read_config", "on_reload", SIGNAL_FRAME, GAP, "do_work", "main"],
    place: at("read_config", "handler.c", "CRASH:plain"),
    ..DEEP_STACK
};

pub(super) const IN_HANDLER_ALTSTACK: Crasher = Crasher {
    name: "in_handler_altstack",
    about: "dies in the handler of an earlier fault, on the alternate signal stack",
    args: &["altstack"],
    code: SEGV_MAPERR,
    kind: "wild_write",
    frames: &["write_report", "on_fault", SIGNAL_FRAME, "read_table", "do_work", "main"],
    place: at("write_report", "handler.c", "CRASH:altstack"),
    facts: &[Fact::Address(0x1234_5678_9ab8)],
    ..IN_HANDLER
};

pub(super) const THREADS: Crasher = Crasher {
    name: "threads",
    about: "one of eight named threads dies, the others wait",
    source: "threads.c",
    frames: &["read_queue", "process", "worker"],
    place: at("read_queue", "threads.c", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0), Fact::ThreadName("worker-2")],
    ..DEEP_STACK
};

const PARSER: Library = Library { source: "libparser.c", file: "libparser.so", linked: true };

pub(super) const SHARED_LIBRARY: Crasher = Crasher {
    name: "shared_library",
    about: "dies in a shared library that it is linked with",
    source: "use_library.c",
    libraries: &[PARSER],
    args: &["?"],
    frames: &["parse_token", "parse_document", "load_page", "main"],
    place: at("parse_token", "libparser.c", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0), Fact::Module("libparser.so")],
    ..DEEP_STACK
};

pub(super) const LIBRARY_CALLBACK: Crasher = Crasher {
    name: "library_callback",
    about: "the library calls back into the program, which dies: the modules alternate on the stack",
    args: &["!"],
    frames: &["show_error", "parse_document", "load_page", "main"],
    place: at("show_error", "use_library.c", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0), Fact::Module("library_callback")],
    ..SHARED_LIBRARY
};

pub(super) const PLUGIN: Crasher = Crasher {
    name: "plugin",
    about: "dies in a library that it opened with dlopen",
    source: "plugin_host.c",
    libraries: &[Library { linked: false, ..PARSER }],
    args: &[],
    frames: &["parse_token", "parse_document", "run_plugin", "main"],
    ..SHARED_LIBRARY
};

pub(super) const FORK_CHILD: Crasher = Crasher {
    name: "fork_child",
    about: "the child of a fork dies, the started process lives on",
    source: "fork_child.c",
    dies: Dies::Child,
    frames: &["read_job", "run_job", "child_main", "main"],
    place: at("read_job", "fork_child.c", "CRASH"),
    facts: &[Fact::NullOffset(0x10), Fact::Address(0x10)],
    ..DEEP_STACK
};
