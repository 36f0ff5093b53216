//! What kind of event a signal number stands for, on each system and processor.
//!
//! *Trap*: 10 is SIGUSR1 on most Linux machines and SIGBUS on MIPS, SPARC, Alpha, PA-RISC and every BSD.

use crate::{Arch, Os};

/// Kinds of signal, as far as they decide how a dump is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Raised by the processor for an instruction: SIGILL, SIGTRAP, SIGFPE, SIGBUS, SIGSEGV, SIGEMT.
    Fault,
    /// SIGSYS.
    BadSystemCall,
    /// SIGCHLD.
    Child,
    /// Stops the process and never dumps it: SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
    Stop,
    /// SIGINT.
    Interrupt,
    /// Dumps by default without a fault: SIGQUIT, SIGABRT, SIGXCPU, SIGXFSZ.
    Dump,
    /// Any other.
    Other,
}

/// Numbers that differ between systems.
struct Numbers {
    bus: i32,
    emt: i32,
    sys: i32,
    child: i32,
    stop: [i32; 4],
    limits: [i32; 2],
}

const LINUX: Numbers = Numbers { bus: 7, emt: -1, sys: 31, child: 17, stop: [19, 20, 21, 22], limits: [24, 25] };
const MIPS: Numbers = Numbers { bus: 10, emt: 7, sys: 12, child: 18, stop: [23, 24, 26, 27], limits: [30, 31] };
const HPPA: Numbers = Numbers { bus: 10, emt: 7, sys: 31, child: 18, stop: [24, 25, 27, 28], limits: [12, 30] };
/// The BSDs, and Linux on SPARC and Alpha, which took over their numbers.
const BSD: Numbers = Numbers { bus: 10, emt: 7, sys: 12, child: 20, stop: [17, 18, 21, 22], limits: [24, 25] };

/// The class of a signal.
pub(super) fn class(os: Os, arch: Arch, signo: i32) -> Class {
    let numbers = match (os, arch) {
        (Os::Linux | Os::Android, Arch::Mips | Arch::Mips64) => &MIPS,
        (Os::Linux, Arch::Hppa) => &HPPA,
        (Os::Linux, Arch::Sparc | Arch::Sparc64 | Arch::Alpha) => &BSD,
        (Os::FreeBsd | Os::NetBsd | Os::OpenBsd | Os::MacOs | Os::Ios, _) => &BSD,
        _ => &LINUX,
    };
    match signo {
        // The same everywhere: they are the signals of the seventh edition.
        4 | 5 | 8 | 11 => Class::Fault,
        3 | 6 => Class::Dump,
        2 => Class::Interrupt,
        n if n == numbers.bus || n == numbers.emt => Class::Fault,
        n if n == numbers.sys => Class::BadSystemCall,
        n if n == numbers.child => Class::Child,
        n if numbers.stop.contains(&n) => Class::Stop,
        n if numbers.limits.contains(&n) => Class::Dump,
        _ => Class::Other,
    }
}
