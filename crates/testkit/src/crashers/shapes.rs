//! One program, the null read, built in the ways in which debuggers meet programs: stripped, static, split, compressed,
//! without unwind tables, in old and new DWARF.

use super::memory::NULL_READ;
use super::model::{BASE, Compiler, Crasher, Fact, Step, UNKNOWN, at};

pub(super) const STRIPPED: Crasher = Crasher {
    name: "stripped",
    about: "no symbol is left: frames without names, found by .eh_frame",
    steps: &[Step::Strip],
    frames: &[UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN],
    place: None,
    ..NULL_READ
};

pub(super) const MINI_DEBUG_INFO: Crasher = Crasher {
    name: "mini_debug_info",
    about: "stripped, but with function names in .gnu_debugdata",
    steps: &[Step::MiniDebugInfo],
    place: None,
    ..NULL_READ
};

pub(super) const DEBUG_LINK: Crasher = Crasher {
    name: "debug_link",
    about: "debug sections in NAME.debug beside the program",
    steps: &[Step::DebugLink],
    ..NULL_READ
};

pub(super) const BUILD_ID_DIR: Crasher = Crasher {
    name: "build_id_dir",
    about: "debug sections in .build-id/xx/yyy.debug below the program's folder",
    steps: &[Step::BuildIdDir],
    ..NULL_READ
};

pub(super) const DWZ: Crasher = Crasher {
    name: "dwz",
    about: "a part of the debug sections in a supplementary file shared with a twin",
    steps: &[Step::Dwz],
    ..NULL_READ
};

pub(super) const NO_BUILD_ID: Crasher = Crasher {
    name: "no_build_id",
    about: "no build-id: nothing proves that the file on disk is the one that ran",
    flags: &["-g", "-O0", "-Wl,--build-id=none"],
    ..NULL_READ
};

pub(super) const NO_SECTION_HEADERS: Crasher = Crasher {
    name: "no_section_headers",
    about: "no section header table: names come from the dynamic symbol table, found by program headers",
    flags: &["-O0", "-rdynamic"],
    steps: &[Step::Strip, Step::DropSectionHeaders],
    place: None,
    ..NULL_READ
};

pub(super) const DEBUG_FRAME: Crasher = Crasher {
    name: "debug_frame",
    about: "no .eh_frame and no frame pointers: unwind rules stand in .debug_frame only",
    flags: &["-g", "-O2", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
    ..NULL_READ
};

pub(super) const NO_UNWIND_TABLES: Crasher = Crasher {
    name: "no_unwind_tables",
    about: "neither unwind rules nor frame pointers: the caller can only be found by looking at the stack's words",
    flags: &["-O2", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
    place: None,
    ..NULL_READ
};

pub(super) const FRAME_POINTERS: Crasher = Crasher {
    name: "frame_pointers",
    about: "no unwind rules, but frame pointers",
    flags: &["-O0", "-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
    place: None,
    ..NULL_READ
};

pub(super) const STATIC: Crasher = Crasher {
    name: "static",
    about: "statically linked at a fixed address: no loader, no link map",
    flags: &["-g", "-O0", "-static"],
    ..NULL_READ
};

pub(super) const STATIC_PIE: Crasher = Crasher {
    name: "static_pie",
    about: "statically linked and yet moved: the load address stands in no link map",
    flags: &["-g", "-O0", "-static-pie"],
    ..NULL_READ
};

pub(super) const NO_PIE: Crasher = Crasher {
    name: "no_pie",
    about: "dynamically linked at a fixed address",
    flags: &["-g", "-O0", "-no-pie"],
    ..NULL_READ
};

pub(super) const ONE_SEGMENT: Crasher = Crasher {
    name: "one_segment",
    about: "headers, constants and code share one executable segment, as linkers did before 2018",
    flags: &["-g", "-O0", "-Wl,-z,noseparate-code"],
    ..NULL_READ
};

pub(super) const OPTIMISED: Crasher = Crasher {
    name: "optimised",
    about: "-O2: no frame pointers, arguments in registers only",
    flags: &["-g", "-O2"],
    ..NULL_READ
};

pub(super) const INLINED: Crasher = Crasher {
    name: "inlined",
    about: "the faulting function and its caller are inlined: one machine frame, three names",
    source: "inlined.c",
    flags: &["-g", "-O2"],
    kind: "null_read",
    frames: &["read_field", "lookup", "handle_request", "main"],
    place: at("read_field", "inlined.c", "CRASH"),
    facts: &[Fact::NullOffset(8), Fact::Address(8)],
    ..BASE
};

pub(super) const COLD: Crasher = Crasher {
    name: "cold",
    about: "dies in the part of a function that was moved to .text.unlikely",
    source: "cold.c",
    flags: &["-g", "-O2"],
    kind: "null_write",
    frames: &["handle_request", "main"],
    place: at("handle_request", "cold.c", "CRASH"),
    facts: &[Fact::NullOffset(0), Fact::Address(0)],
    ..BASE
};

pub(super) const DWARF_2: Crasher = Crasher {
    name: "dwarf_2",
    about: "DWARF version 2, without later versions' additions",
    flags: &["-gdwarf-2", "-gstrict-dwarf", "-O0"],
    ..NULL_READ
};

pub(super) const DWARF_3: Crasher =
    Crasher { name: "dwarf_3", about: "DWARF version 3", flags: &["-gdwarf-3", "-O0"], ..NULL_READ };

pub(super) const DWARF_4: Crasher =
    Crasher { name: "dwarf_4", about: "DWARF version 4", flags: &["-gdwarf-4", "-O0"], ..NULL_READ };

pub(super) const DWARF_64: Crasher = Crasher {
    name: "dwarf_64",
    about: "the 64-bit DWARF format",
    flags: &["-gdwarf-5", "-gdwarf64", "-O0"],
    ..NULL_READ
};

pub(super) const CLANG: Crasher = Crasher {
    name: "clang",
    about: "clang's DWARF 5, with indexed addresses and strings",
    compiler: Compiler::Clang,
    flags: &["-gdwarf-5", "-O0"],
    ..NULL_READ
};

pub(super) const SPLIT_DWARF: Crasher = Crasher {
    name: "split_dwarf",
    about: "DWARF 5 in a .dwo file beside the program",
    flags: &["-g", "-gsplit-dwarf", "-O2"],
    ..INLINED
};

pub(super) const SPLIT_DWARF_4: Crasher = Crasher {
    name: "split_dwarf_4",
    about: "the GNU extension of DWARF 4 that split DWARF came from, packed into a .dwp file",
    flags: &["-gdwarf-4", "-gsplit-dwarf", "-O2"],
    steps: &[Step::Dwp("dwp")],
    ..INLINED
};

pub(super) const DWP: Crasher = Crasher {
    name: "dwp",
    about: "DWARF 5 from clang packed into a .dwp file; the .dwo file is gone",
    compiler: Compiler::Clang,
    flags: &["-gdwarf-5", "-gsplit-dwarf", "-O2"],
    steps: &[Step::Dwp("llvm-dwp")],
    ..INLINED
};

pub(super) const COMPRESSED_ZLIB: Crasher = Crasher {
    name: "compressed_zlib",
    about: "debug sections compressed with zlib (SHF_COMPRESSED)",
    flags: &["-g", "-O0", "-gz=zlib"],
    ..NULL_READ
};

pub(super) const COMPRESSED_GNU: Crasher = Crasher {
    name: "compressed_gnu",
    about: "debug sections compressed the old way, as .zdebug_*",
    steps: &[Step::Compress("zlib-gnu")],
    ..NULL_READ
};

pub(super) const COMPRESSED_ZSTD: Crasher = Crasher {
    name: "compressed_zstd",
    about: "debug sections compressed with zstd",
    steps: &[Step::Compress("zstd")],
    ..NULL_READ
};

pub(super) const I386: Crasher = Crasher {
    name: "i386",
    about: "a 32-bit program on a 64-bit kernel, without any library",
    source: "freestanding.c",
    flags: &["-m32", "-g", "-O0", "-nostdlib", "-static", "-fno-pic", "-no-pie"],
    kind: "null_read",
    frames: &["read_field", "lookup", "handle_request", "_start"],
    place: at("read_field", "freestanding.c", "CRASH"),
    facts: &[Fact::NullOffset(16), Fact::Address(16)],
    ..BASE
};

pub(super) const NO_LIBC: Crasher = Crasher {
    name: "no_libc",
    about: "no C library at all: _start is the outermost frame and nothing says so",
    flags: &["-g", "-O0", "-nostdlib", "-static"],
    ..I386
};
