//! C++ programs: exceptions that nobody catches, and what the C++ run time ends a program for.

use super::model::{BASE, Compiler, Crasher, Fact, GAP, SEGV_MAPERR, SI_TKILL, at};

pub(super) const UNCAUGHT: Crasher = Crasher {
    name: "cpp_runtime_error",
    about: "a std::runtime_error that nobody catches",
    source: "throw.cc",
    compiler: Compiler::Cxx,
    args: &["runtime"],
    signal: libc::SIGABRT,
    code: SI_TKILL,
    kind: "cpp_exception",
    frames: &[GAP, "read", "query", "main"],
    place: at("store::engine::read", "throw.cc", "CALL:runtime"),
    facts: &[
        Fact::ExceptionType("std::runtime_error"),
        Fact::ExceptionText("page 7 has a bad checksum"),
        Fact::Message("page 7 has a bad checksum"),
    ],
    ..BASE
};

pub(super) const UNCAUGHT_CUSTOM: Crasher = Crasher {
    name: "cpp_custom_exception",
    about: "an exception of the program's own type, without what()",
    args: &["custom"],
    frames: &[GAP, "read_page", "query", "main"],
    place: at("store::read_page", "throw.cc", "CALL:custom"),
    facts: &[Fact::ExceptionType("store::broken_page")],
    ..UNCAUGHT
};

pub(super) const UNCAUGHT_LIBRARY: Crasher = Crasher {
    name: "cpp_out_of_range",
    about: "vector::at throws from within libstdc++",
    args: &["at"],
    frames: &[GAP, "pick", "query", "main"],
    place: at("store::pick", "throw.cc", "CALL:at"),
    facts: &[
        Fact::ExceptionType("std::out_of_range"),
        Fact::ExceptionText("vector::_M_range_check: __n (which is 7) >= this->size() (which is 3)"),
    ],
    ..UNCAUGHT
};

pub(super) const BAD_ALLOC: Crasher = Crasher {
    name: "cpp_bad_alloc",
    about: "operator new finds no memory for an exabyte",
    args: &["bad_alloc"],
    frames: &[GAP, "allocate", "query", "main"],
    place: at("store::allocate", "throw.cc", "CALL:bad_alloc"),
    facts: &[Fact::ExceptionType("std::bad_alloc"), Fact::ExceptionText("std::bad_alloc")],
    ..UNCAUGHT
};

pub(super) const NOEXCEPT: Crasher = Crasher {
    name: "cpp_noexcept",
    about: "an exception meets a noexcept function: the thrower's frame is already unwound or not, noexcept's stays",
    args: &["noexcept"],
    frames: &[GAP, "close", "query", "main"],
    place: None,
    facts: &[Fact::ExceptionType("store::broken_page")],
    ..UNCAUGHT
};

pub(super) const TERMINATE: Crasher = Crasher {
    name: "cpp_terminate",
    about: "std::terminate without any exception",
    args: &["terminate"],
    kind: "cpp_terminate",
    frames: &[GAP, "stop", "query", "main"],
    place: at("store::stop", "throw.cc", "CALL:terminate"),
    facts: &[Fact::Message("terminate called without an active exception")],
    ..UNCAUGHT
};

pub(super) const THREAD_THROW: Crasher = Crasher {
    name: "cpp_thread_exception",
    about: "an exception leaves a second thread",
    source: "thread_throw.cc",
    args: &[],
    frames: &[GAP, "fetch", "run_job", "worker"],
    place: at("fetch", "thread_throw.cc", "CALL"),
    facts: &[Fact::ExceptionType("std::logic_error"), Fact::ExceptionText("no such job")],
    ..UNCAUGHT
};

pub(super) const PURE_VIRTUAL: Crasher = Crasher {
    name: "pure_virtual",
    about: "a base class's constructor calls the method that only the derived class has",
    source: "pure_virtual.cc",
    args: &[],
    kind: "pure_virtual_call",
    frames: &[GAP, "describe", "shape", "square", "draw", "main"],
    place: at("shape::describe", "pure_virtual.cc", "CALL"),
    facts: &[Fact::Message("pure virtual method called")],
    ..UNCAUGHT
};

pub(super) const CHECKED_INDEX: Crasher = Crasher {
    name: "cpp_checked_index",
    about: "a vector's index is out of range, found by libstdc++'s own assertions, which do not use assert()",
    source: "checked_index.cc",
    flags: &["-g", "-O1", "-D_GLIBCXX_ASSERTIONS"],
    args: &[],
    kind: "assertion_failed",
    frames: &[GAP, "pick", "sum", "main"],
    place: at("pick", "checked_index.cc", "CALL"),
    facts: &[Fact::Message("Assertion '__n < this->size()' failed.")],
    ..UNCAUGHT
};

pub(super) const VIRTUAL_CALL: Crasher = Crasher {
    name: "cpp_virtual_call",
    about: "a virtual call on a null object: the read of the vtable faults; template, operator and lambda names",
    source: "virtual_call.cc",
    args: &[],
    signal: libc::SIGSEGV,
    code: SEGV_MAPERR,
    kind: "null_read",
    frames: &["operator()", "operator()", "with_retry", "serve", "main"],
    place: at("net::router::operator()", "virtual_call.cc", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0)],
    ..UNCAUGHT
};
