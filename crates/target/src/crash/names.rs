//! Signals, their codes, and the exceptions of other systems, in words.
//!
//! Sources: Linux `include/uapi/asm-generic/siginfo.h` and `signal(7)`; Windows `winnt.h` and `ntstatus.h`; macOS
//! `mach/exception_types.h`.
//!
//! *Trap*: signal numbers differ between processors and systems; SIGBUS is 7 on most Linux, 10 on MIPS and BSD.

use afterimage_dump::{Arch, BSD_SIGNALS, Os};

/// A signal's name and meaning.
pub(crate) fn signal(os: Os, arch: Arch, number: i32) -> (String, &'static str) {
    let name = signal_name(os, arch, number);
    let meaning = match name {
        "SIGHUP" => "hang-up",
        "SIGINT" => "interrupt",
        "SIGQUIT" => "quit",
        "SIGILL" => "illegal instruction",
        "SIGTRAP" => "trap",
        "SIGABRT" => "abort",
        "SIGBUS" => "bus error",
        "SIGFPE" => "arithmetic error",
        "SIGKILL" => "kill",
        "SIGSEGV" => "invalid memory access",
        "SIGPIPE" => "broken pipe",
        "SIGALRM" => "alarm",
        "SIGTERM" => "termination",
        "SIGXCPU" => "CPU time limit",
        "SIGXFSZ" => "file size limit",
        "SIGSYS" => "bad system call",
        "SIGUSR1" | "SIGUSR2" => "user-defined signal",
        "SIGSTOP" | "SIGTSTP" => "stop",
        _ => "signal",
    };
    if name.is_empty() { (format!("signal {number}"), meaning) } else { (name.to_owned(), meaning) }
}

fn signal_name(os: Os, arch: Arch, number: i32) -> &'static str {
    const LINUX: [&str; 32] = [
        "",
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let bsd_numbers = matches!(os, Os::FreeBsd | Os::NetBsd | Os::OpenBsd | Os::MacOs | Os::Ios)
        || matches!(arch, Arch::Mips | Arch::Mips64 | Arch::Sparc | Arch::Sparc64 | Arch::Alpha);
    let table = if bsd_numbers { &BSD_SIGNALS } else { &LINUX };
    // On these processors Linux follows the old UNIX numbers only up to 15.
    if bsd_numbers && matches!(os, Os::Linux) && number > 15 {
        return "";
    }
    usize::try_from(number).ok().and_then(|number| table.get(number)).copied().unwrap_or_default()
}

/// A signal's code in its name and in words; `None` if it is not a code of that signal.
pub(crate) fn signal_code(signal: &str, code: i32) -> Option<(&'static str, &'static str)> {
    Some(match (signal, code) {
        (_, 0) => ("SI_USER", "sent by a process with kill"),
        (_, 0x80) => ("SI_KERNEL", "sent by the kernel"),
        (_, -1) => ("SI_QUEUE", "sent by a process with sigqueue"),
        (_, -2) => ("SI_TIMER", "a timer ran out"),
        (_, -3) => ("SI_MESGQ", "a message queue changed"),
        (_, -4) => ("SI_ASYNCIO", "asynchronous I/O ended"),
        (_, -6) => ("SI_TKILL", "sent by a process to one thread"),
        ("SIGSEGV", 1) => ("SEGV_MAPERR", "nothing is mapped at the address"),
        ("SIGSEGV", 2) => ("SEGV_ACCERR", "the memory there does not allow this access"),
        ("SIGSEGV", 3) => ("SEGV_BNDERR", "a bounds check failed"),
        ("SIGSEGV", 4) => ("SEGV_PKUERR", "a protection key forbids the access"),
        ("SIGSEGV", 8) => ("SEGV_MTEAERR", "a memory tag did not match (reported late)"),
        ("SIGSEGV", 9) => ("SEGV_MTESERR", "a memory tag did not match"),
        ("SIGSEGV", 10) => ("SEGV_CPERR", "a return address did not match the shadow stack"),
        ("SIGBUS", 1) => ("BUS_ADRALN", "the address is not aligned"),
        ("SIGBUS", 2) => ("BUS_ADRERR", "there is no memory behind the mapping"),
        ("SIGBUS", 3) => ("BUS_OBJERR", "the hardware reports an error of the object"),
        ("SIGBUS", 4) => ("BUS_MCEERR_AR", "the memory itself is broken (a hardware error, consumed)"),
        ("SIGBUS", 5) => ("BUS_MCEERR_AO", "the memory itself is broken (a hardware error, found)"),
        ("SIGFPE", 1) => ("FPE_INTDIV", "integer division by zero, or its result does not fit"),
        ("SIGFPE", 2) => ("FPE_INTOVF", "integer overflow"),
        ("SIGFPE", 3) => ("FPE_FLTDIV", "floating-point division by zero"),
        ("SIGFPE", 4) => ("FPE_FLTOVF", "floating-point overflow"),
        ("SIGFPE", 5) => ("FPE_FLTUND", "floating-point underflow"),
        ("SIGFPE", 6) => ("FPE_FLTRES", "floating-point result is inexact"),
        ("SIGFPE", 7) => ("FPE_FLTINV", "invalid floating-point operation"),
        ("SIGILL", 1) => ("ILL_ILLOPC", "no such instruction"),
        ("SIGILL", 2) => ("ILL_ILLOPN", "no such operand"),
        ("SIGILL", 3) => ("ILL_ILLADR", "no such addressing mode"),
        ("SIGILL", 4) => ("ILL_ILLTRP", "illegal trap"),
        ("SIGILL", 5) => ("ILL_PRVOPC", "privileged instruction"),
        ("SIGILL", 8) => ("ILL_BADSTK", "bad stack"),
        ("SIGTRAP", 1) => ("TRAP_BRKPT", "breakpoint"),
        ("SIGTRAP", 2) => ("TRAP_TRACE", "single step"),
        ("SIGTRAP", 4) => ("TRAP_HWBKPT", "hardware breakpoint or watchpoint"),
        ("SIGSYS", 1) => ("SYS_SECCOMP", "a seccomp filter forbids the system call"),
        _ => return None,
    })
}

/// A Mach exception type: name and words.
pub(crate) fn mach(exception: u32) -> Option<(&'static str, &'static str)> {
    Some(match exception {
        1 => ("EXC_BAD_ACCESS", "invalid memory access"),
        2 => ("EXC_BAD_INSTRUCTION", "illegal instruction"),
        3 => ("EXC_ARITHMETIC", "arithmetic error"),
        4 => ("EXC_EMULATION", "emulation"),
        5 => ("EXC_SOFTWARE", "raised by software"),
        6 => ("EXC_BREAKPOINT", "breakpoint or trap"),
        7 => ("EXC_SYSCALL", "system call"),
        8 => ("EXC_MACH_SYSCALL", "Mach system call"),
        9 => ("EXC_RPC_ALERT", "remote call alert"),
        10 => ("EXC_CRASH", "the process ended abnormally"),
        11 => ("EXC_RESOURCE", "a resource limit was hit"),
        12 => ("EXC_GUARD", "a guarded resource was violated"),
        13 => ("EXC_CORPSE_NOTIFY", "corpse"),
        // Crashpad's `kMachExceptionFromNSException` (`CPnx`).
        0x4350_6e78 => ("NSException", "an uncaught Objective-C exception"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_between_systems() {
        assert_eq!(signal(Os::Linux, Arch::X86_64, 7).0, "SIGBUS");
        assert_eq!(signal(Os::FreeBsd, Arch::X86_64, 10).0, "SIGBUS");
        assert_eq!(signal(Os::Linux, Arch::Mips, 10).0, "SIGBUS");
        assert_eq!(signal(Os::Linux, Arch::X86_64, 31).0, "SIGSYS");
        assert_eq!(signal(Os::Linux, Arch::X86_64, 64).0, "signal 64");
        assert_eq!(signal(Os::Linux, Arch::X86_64, -5).0, "signal -5");
    }
}
