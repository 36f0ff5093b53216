//! Programs that crash, each in a way of its own, with what must be said about it; and the means to build and run them.
//!
//! It is a manifest ([`CRASHERS`]), a compiler driver with a cache ([`build()`]) and a way to get the kernel's own core
//! ([`kernel_core`]). It is no judge: who reads dumps compares its findings with the manifest by [`frames_agree`] and
//! [`Fact`].
//!
//! ```no_run
//! use afterimage_testkit::crashers::{build, default_dir, find, kernel_core};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let crasher = find("null_write").ok_or("no such crasher")?;
//! let built = build(crasher, &default_dir())?;
//! let death = kernel_core(&built, &std::env::temp_dir())?;
//! println!("{}: {}", crasher.about, death.core.display());
//! # Ok(())
//! # }
//! ```
//!
//! Trap: the programs are for Linux on x86-64. Elsewhere a division by zero is no fault, and `hlt` no instruction.

mod aborts;
mod big;
mod build;
mod core_pattern;
mod cpu;
mod cxx;
mod error;
mod frames;
mod memory;
mod model;
mod run;
mod rust;
mod shapes;
mod stacks;
mod steps;
#[cfg(test)]
mod tests;

pub use big::{big_rust, many_threads};
pub use build::{BuiltCrasher, build, build_all, default_dir};
pub(crate) use build::{cached, compiler_version, read, run_tool};
pub use error::{CrasherError, Result};
pub use frames::{base_name, frames_agree};
pub use model::{Compiler, Crasher, Dies, Fact, GAP, KINDS, Library, Place, SIGNAL_FRAME, Step, UNKNOWN};
pub use run::{Death, kernel_core, kernel_core_of};

/// Every crashing program.
pub static CRASHERS: &[Crasher] = &[
    memory::NULL_READ,
    memory::NULL_WRITE,
    memory::NULL_CALL,
    memory::WILD_JUMP,
    memory::EXECUTE_DATA,
    memory::EXECUTE_HEAP,
    memory::GENERATED_CODE,
    memory::WILD_READ,
    memory::WILD_WRITE,
    memory::NONCANONICAL,
    memory::USE_AFTER_MUNMAP,
    memory::GUARD_PAGE,
    memory::WRITE_TO_RODATA,
    memory::WRITE_TO_READONLY,
    memory::BUS_PAST_END,
    memory::BUS_MISALIGNED,
    memory::MEMCPY,
    memory::QSORT,
    memory::VDSO,
    cpu::DIVIDE_BY_ZERO,
    cpu::DIVIDE_OVERFLOW,
    cpu::FLOATING_POINT,
    cpu::ILLEGAL_INSTRUCTION,
    cpu::TRAP,
    cpu::BREAKPOINT,
    cpu::PRIVILEGED,
    aborts::ABORT,
    aborts::ASSERT,
    aborts::RAISE_QUIT,
    aborts::KILL_SELF,
    aborts::KILLED_ABRT,
    aborts::KILLED_SEGV,
    aborts::NORETURN_TAIL,
    aborts::STACK_SMASHING,
    aborts::FORTIFY,
    aborts::SMASHED_RETURN,
    aborts::DOUBLE_FREE,
    aborts::CORRUPTED_TOP,
    aborts::CORRUPTED_SIZE,
    aborts::INVALID_FREE,
    aborts::SECCOMP,
    stacks::STACK_OVERFLOW,
    stacks::STACK_OVERFLOW_THREAD,
    stacks::DEEP_STACK,
    stacks::COROUTINE,
    stacks::IN_HANDLER,
    stacks::IN_HANDLER_ALTSTACK,
    stacks::THREADS,
    stacks::SHARED_LIBRARY,
    stacks::LIBRARY_CALLBACK,
    stacks::PLUGIN,
    stacks::FORK_CHILD,
    cxx::UNCAUGHT,
    cxx::UNCAUGHT_CUSTOM,
    cxx::UNCAUGHT_LIBRARY,
    cxx::BAD_ALLOC,
    cxx::NOEXCEPT,
    cxx::TERMINATE,
    cxx::THREAD_THROW,
    cxx::PURE_VIRTUAL,
    cxx::CHECKED_INDEX,
    cxx::VIRTUAL_CALL,
    rust::PANIC,
    rust::UNWRAP,
    rust::EXPECT,
    rust::INDEX,
    rust::ADD_OVERFLOW,
    rust::RUST_ABORT,
    rust::DOUBLE_PANIC,
    rust::PANIC_IN_EXTERN_C,
    rust::RUST_NULL,
    rust::RUST_STACK_OVERFLOW,
    rust::STRIPPED,
    shapes::STRIPPED,
    shapes::MINI_DEBUG_INFO,
    shapes::DEBUG_LINK,
    shapes::BUILD_ID_DIR,
    shapes::DWZ,
    shapes::NO_BUILD_ID,
    shapes::NO_SECTION_HEADERS,
    shapes::DEBUG_FRAME,
    shapes::NO_UNWIND_TABLES,
    shapes::FRAME_POINTERS,
    shapes::STATIC,
    shapes::STATIC_PIE,
    shapes::NO_PIE,
    shapes::ONE_SEGMENT,
    shapes::OPTIMISED,
    shapes::INLINED,
    shapes::COLD,
    shapes::DWARF_2,
    shapes::DWARF_3,
    shapes::DWARF_4,
    shapes::DWARF_64,
    shapes::CLANG,
    shapes::SPLIT_DWARF,
    shapes::SPLIT_DWARF_4,
    shapes::DWP,
    shapes::COMPRESSED_ZLIB,
    shapes::COMPRESSED_GNU,
    shapes::COMPRESSED_ZSTD,
    shapes::I386,
    shapes::NO_LIBC,
];

/// The crasher of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Crasher> {
    CRASHERS.iter().find(|crasher| crasher.name == name)
}
