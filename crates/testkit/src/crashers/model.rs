//! What a crashing program is, as data: how it is built, how it must die, and what must be said about its death.
//!
//! These are expectations, stated by hand and checked against gdb; nothing here looks at a program or at a dump.
//! For example `find("null_write")` says: SIGSEGV, `null_write`, null plus 0x28, in `set_state` below `login`.
//!
//! Trap: [`Crasher::frames`] names what a perfect debugger must show, not every frame. Frames of the C library and of
//! the language's run time are [`GAP`]s, because they differ from one release of the library to the next.

use std::path::{Path, PathBuf};

use super::error::{CrasherError, Result};

/// Any number of frames, also none, whose names are not part of the expectation: libraries and run times.
pub const GAP: &str = "...";
/// Exactly one frame that has no name that anybody could know: a jump to nowhere, generated code.
pub const UNKNOWN: &str = "??";
/// The frame which the kernel pushed for a signal handler.
pub const SIGNAL_FRAME: &str = "<signal>";

/// The words for verdicts. Every [`Crasher::kind`] is one of them.
pub const KINDS: &[&str] = &[
    "null_read",
    "null_write",
    "null_call",
    "wild_read",
    "wild_write",
    "wild_jump",
    "noncanonical",
    "guard_page",
    "stack_overflow",
    "write_to_readonly",
    "execute_data",
    "bus_past_end",
    "bus_misaligned",
    "divide_by_zero",
    "divide_overflow",
    "illegal_instruction",
    "trap",
    "breakpoint",
    "abort",
    "assertion_failed",
    "rust_panic",
    "cpp_exception",
    "cpp_terminate",
    "pure_virtual_call",
    "stack_smashing",
    "heap_corruption",
    "buffer_overflow",
    "killed",
    "bad_system_call",
    "floating_point",
    "none",
];

/// The compiler that builds a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compiler {
    /// `cc`, for C.
    Cc,
    /// `clang`, for C.
    Clang,
    /// `c++`.
    Cxx,
    /// `rustc`, edition 2024.
    Rustc,
}

impl Compiler {
    /// The command's name.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::Cc => "cc",
            Self::Clang => "clang",
            Self::Cxx => "c++",
            Self::Rustc => "rustc",
        }
    }

    /// The folder of `programs/` that holds the sources of its language.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Cc | Self::Clang => "c",
            Self::Cxx => "cxx",
            Self::Rustc => "rust",
        }
    }
}

/// What is done to a program after it was linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Removes all symbols and debug sections.
    Strip,
    /// Strips, and puts the function symbols back as `.gnu_debugdata`: an xz-compressed ELF file within the file.
    MiniDebugInfo,
    /// Moves debug sections to `NAME.debug` beside the program; `.gnu_debuglink` names it.
    DebugLink,
    /// Moves debug sections to `.build-id/xx/yyy.debug` below the program's folder; only the build-id leads there.
    BuildIdDir,
    /// Compresses debug sections by this algorithm of `objcopy` (`zlib`, `zlib-gnu`, `zstd`).
    Compress(&'static str),
    /// Packs the `.dwo` files into `NAME.dwp` with this tool (`dwp`, `llvm-dwp`) and deletes them.
    Dwp(&'static str),
    /// Moves what two copies of the program have in common to `NAME.dwz`; `.gnu_debugaltlink` names it.
    Dwz,
    /// Takes the section header table away, as some packers do; the loader does not need it.
    DropSectionHeaders,
}

/// A shared library that stands beside a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Library {
    /// Its source, in the folder of the program's language.
    pub source: &'static str,
    /// Its file name, `libNAME.so`.
    pub file: &'static str,
    /// Whether the program is linked with it; otherwise the program opens it with `dlopen`.
    pub linked: bool,
}

/// Where the innermost frame that has source text of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The function.
    pub function: &'static str,
    /// The source file's name.
    pub file: &'static str,
    /// The words in a comment that mark the line; [`Crasher::line`] finds its number.
    pub marker: &'static str,
}

/// One thing that a verdict must contain, beside its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The address that could not be reached.
    Address(u64),
    /// The address that could not be reached, as a distance from null.
    NullOffset(u64),
    /// What the program printed as its last words, in part.
    Message(&'static str),
    /// The type of the exception that nobody caught.
    ExceptionType(&'static str),
    /// What the exception's `what()` returns.
    ExceptionText(&'static str),
    /// The signal was sent by the process whose pid the program prints, as `sender PID`.
    SenderIsChild,
    /// The signal was sent by the dying process itself.
    SenderIsSelf,
    /// The name of the thread that died.
    ThreadName(&'static str),
    /// The number of the forbidden system call.
    SystemCall(u32),
    /// The file name of the module in which the fault happened (`[vdso]` for the kernel's own).
    Module(&'static str),
}

/// Which process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dies {
    /// The one that was started.
    Started,
    /// Its child; the started process exits with 128 + the signal's number.
    Child,
}

/// One program that crashes, and what must be said about it.
#[derive(Clone, Copy, Debug)]
pub struct Crasher {
    /// Unique; also the name of the executable file.
    pub name: &'static str,
    /// What is special about it, in one line.
    pub about: &'static str,
    /// The source file's name, in `programs/` and there in the folder of the compiler's language.
    pub source: &'static str,
    /// Who compiles it.
    pub compiler: Compiler,
    /// The compiler's options.
    pub flags: &'static [&'static str],
    /// The shared libraries that it needs.
    pub libraries: &'static [Library],
    /// What is done after linking, in order.
    pub steps: &'static [Step],
    /// The arguments to run it with.
    pub args: &'static [&'static str],
    /// Which process dies.
    pub dies: Dies,
    /// The number of the signal that ends it.
    pub signal: i32,
    /// The signal's `si_code`.
    pub code: i32,
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// The dying thread's stack, innermost first, as function names without parameters, and [`GAP`], [`UNKNOWN`],
    /// [`SIGNAL_FRAME`]. Outer frames that are not listed are not part of the expectation.
    pub frames: &'static [&'static str],
    /// Function and line of the innermost frame with source of ours; `None` where there are no line tables.
    pub place: Option<Place>,
    /// What the verdict must contain.
    pub facts: &'static [Fact],
}

impl Crasher {
    /// The folder of its sources.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(self.compiler.folder())
    }

    /// The path of its source.
    #[must_use]
    pub fn source_path(&self) -> PathBuf {
        self.folder().join(self.source)
    }

    /// The number of the marked line of [`Crasher::place`], from 1.
    ///
    /// # Errors
    /// If the source cannot be read, or has no such line, or more than one.
    pub fn line(&self) -> Result<Option<u32>> {
        let Some(place) = self.place else { return Ok(None) };
        let path = self.folder().join(place.file);
        let text = std::fs::read_to_string(&path).map_err(|source| CrasherError::io("read", &path, source))?;
        let mut found = (1u32..).zip(text.lines()).filter(|(_, line)| is_marked(line, place.marker));
        match (found.next(), found.next()) {
            (Some((number, _)), None) => Ok(Some(number)),
            _ => Err(CrasherError::Marker { path, marker: place.marker }),
        }
    }
}

/// Whether the line carries exactly this marker (`CRASH` is not `CRASH:read`).
fn is_marked(line: &str, marker: &str) -> bool {
    line.split_whitespace().any(|word| word == marker)
}

/// What most programs have in common; the manifest states the rest.
pub(super) const BASE: Crasher = Crasher {
    name: "",
    about: "",
    source: "",
    compiler: Compiler::Cc,
    flags: &["-g", "-O0"],
    libraries: &[],
    steps: &[],
    args: &[],
    dies: Dies::Started,
    signal: libc::SIGSEGV,
    code: SEGV_MAPERR,
    kind: "",
    frames: &[],
    place: None,
    facts: &[],
};

/// Shorthand for a place.
pub(super) const fn at(function: &'static str, file: &'static str, marker: &'static str) -> Option<Place> {
    Some(Place { function, file, marker })
}

// The values of si_code that the manifest needs, from <asm-generic/siginfo.h>; the libc crate has only some.
pub(super) const SEGV_MAPERR: i32 = 1;
pub(super) const SEGV_ACCERR: i32 = 2;
pub(super) const BUS_ADRALN: i32 = 1;
pub(super) const BUS_ADRERR: i32 = 2;
pub(super) const FPE_INTDIV: i32 = 1;
pub(super) const FPE_FLTDIV: i32 = 3;
pub(super) const ILL_ILLOPN: i32 = 2;
pub(super) const SYS_SECCOMP: i32 = 1;
pub(super) const SI_USER: i32 = 0;
pub(super) const SI_TKILL: i32 = -6;
pub(super) const SI_KERNEL: i32 = 0x80;
