//! Differences that are known and accepted, each with its reason: the only way to be worse and pass.
//!
//! It is data, looked at by hand; what a reason claims was seen in the dump, its programs, or its stored facts. For
//! example, `_start` does not call itself, so of two frames of it that a peer shows one is false.
//!
//! Trap: an entry stands for all threads of a dump and one peer. Take it out when it is no longer needed; the command
//! says so.

/// Dump (a crashing program's name stands for both its dumps), peer, reason.
pub const KNOWN: &[(&str, &str, &str)] = &[
    ("coroutine", "eu-stack", "goes on from where makecontext's stack starts into the stack that resumed it"),
    ("rust_stripped", "gdb", "takes the address of a function that lies on main's frame for main's caller"),
    ("elf-core/drgn/crashme.core.zst", "gdb", "has no file of libc, and takes the words above main for frames"),
    ("elf-core/elfutils/backtrace.aarch64.core.bz2", "eu-stack", "shows _start twice"),
    ("elf-core/elfutils/backtrace.aarch64.fp.core.bz2", "eu-stack", "shows frames found by frame pointer twice"),
    ("elf-core/elfutils/testfile-x32-core.bz2", "gdb", "takes the saved rbp in main for its caller; eu-stack does not"),
    ("elf-core/go/core.zst", "gdb", "goes on behind the mstart that Go plants as the end of a system stack"),
    ("elf-core/lldb/aarch64-mte.core", "eu-stack", STALE_LINK),
    ("elf-core/lldb/aarch64-tbi-pac.core", "eu-stack", STALE_LINK),
    ("elf-core/rizin/core-linux-arm64", "eu-stack", "shows libc's frame twice"),
    ("elf-core/rizin/core-linux-ppc64", "eu-stack", "shows libc's frame twice"),
    ("bsd/openbsd/core-openbsd-sparc64.zst", "gdb", "has no OpenBSD in this build: its pc is not the program's"),
    ("minidump-other-os/breakpad/linux_divide_by_zero.dmp", "stackwalk", PAST_CHAIN),
    ("minidump-other-os/breakpad/linux_executable_heap.dmp", "stackwalk", PAST_CHAIN),
    ("minidump-other-os/breakpad/linux_raise_sigabrt.dmp", "stackwalk", PAST_CHAIN),
    ("minidump-other-os/breakpad/linux_stack_pointer_in_module.dmp", "stackwalk", PAST_CHAIN),
    ("minidump-other-os/breakpad/linux_write_to_nonwritable_module.dmp", "stackwalk", PAST_CHAIN),
    ("minidump-other-os/breakpad/linux_inline.dmp", "stackwalk", PAST_CHAIN),
    ("minidump-other-os/breakpad/linux_stacksmash.dmp", "stackwalk", "shows one frame of a scan twice"),
    ("minidump-other-os/rust-minidump/linux-mini.dmp", "stackwalk", PAST_CODE),
    ("minidump-other-os/sentry/linux.dmp", "stackwalk", PAST_CODE),
    ("minidump-other-os/electron/linux.dmp", "stackwalk", ONLY_GUESSES),
    ("minidump-other-os/sentry/macos-no-fp.dmp", "stackwalk", "shows an address within a Mach-O header as a frame"),
    ("windows-user/radare/calc.dmp", "stackwalk", ONLY_GUESSES),
    (
        "windows-wine/crash-arm64.dmp",
        "stackwalk",
        "leaves out the callers that the facts name, level2 and level1; the program has no .pdata, behind it both guess",
    ),
    (
        "windows-user/lldb-fizzbuzz/fizzbuzz_wow64.dmp.zst",
        "stackwalk",
        "shows the 64-bit emulator below the x86 program",
    ),
    ("windows-user/breakpad/write_av_non_canonical.dmp", "stackwalk", ONLY_GUESSES),
    ("windows-wine/crash64-normal.dmp", "stackwalk", WORKERS),
    ("windows-wine/crash64-pdb-normal.dmp", "stackwalk", WORKERS),
    ("windows-wine/outside64-pdb-normal.dmp", "stackwalk", WORKERS),
    ("windows-wine/self64-normal.dmp", "stackwalk", WORKERS),
    ("windows-wine/self64-threadinfo.dmp", "stackwalk", WORKERS),
];

/// Of the crashing function itself: the link register is where its own last call has returned to.
const STALE_LINK: &str = "takes the link register for the caller, where the function's own last call returned to";
/// No file of the modules is there; the chain of frame pointers leads from main to the C library.
const PAST_CHAIN: &str = "only scans from its second frame on; we follow the frame pointers to the C library first";
/// No file of the modules is there; the function's code around the crash is in the dump.
const PAST_CODE: &str = "only scans from its second frame on; we follow the instructions to the return address first";
/// Seen by the addresses of functions in the facts beside each sample; `crates/target/tests/windows.rs` checks them.
const WORKERS: &str = "no unwind data of Wine's libraries is in the dump; from the first guess on ours are the callers that the facts name";
/// Neither symbols nor code are at hand.
const ONLY_GUESSES: &str = "goes on for many frames that are only scanned for, also the value -1; we stop after 16";

/// The reason for a difference, if it is accepted.
pub fn reason(dump: &str, peer: &str) -> Option<&'static str> {
    let program = dump.strip_suffix("/kernel").or_else(|| dump.strip_suffix("/run")).unwrap_or(dump);
    KNOWN
        .iter()
        .find(|(name, tool, _)| (*name == dump || *name == program) && *tool == peer)
        .map(|(_, _, reason)| *reason)
}
