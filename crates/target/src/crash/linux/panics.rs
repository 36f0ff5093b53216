//! Well-known words of `panic()`: a verdict's name, and what they mean.
//!
//! Source: the calls of `panic()` in kernel/, mm/, init/, arch/x86 and arch/arm64.

/// What a panic's words mean.
pub(super) struct Meaning {
    pub kind: &'static str,
    pub text: &'static str,
    pub advice: Option<&'static str>,
}

const fn one(kind: &'static str, text: &'static str, advice: Option<&'static str>) -> Meaning {
    Meaning { kind, text, advice }
}

/// Part of the words, in small letters, and the meaning. The first that fits counts.
const KNOWN: [(&str, Meaning); 24] = [
    (
        "sysrq triggered crash",
        one("forced_panic", "Somebody asked for the crash (SysRq c); the kernel had no fault of its own.", None),
    ),
    (
        "hung_task: blocked tasks",
        one(
            "hung_task",
            "Tasks slept longer than kernel.hung_task_timeout_secs, and kernel.hung_task_panic is set.",
            Some("`show DUMP blocked_tasks` shows who waits for what, and who holds it"),
        ),
    ),
    (
        "softlockup",
        one(
            "soft_lockup",
            "A processor stayed in the kernel for longer than twice kernel.watchdog_thresh without letting others run.",
            Some("`show DUMP kernel_frames` shows what each processor was doing"),
        ),
    ),
    (
        "hard lockup",
        one(
            "hard_lockup",
            "A processor did not even take interrupts for longer than kernel.watchdog_thresh.",
            Some("`show DUMP kernel_frames` shows what each processor was doing"),
        ),
    ),
    ("rcu stall", one("rcu_stall", "A processor or task did not pass a quiescent state for too long (RCU).", None)),
    ("panic_on_oom", one("out_of_memory", "Memory ran out, and vm.panic_on_oom says to panic then.", None)),
    (
        "system is deadlocked on memory",
        one("out_of_memory", "Memory ran out, and there was no process left to kill.", None),
    ),
    ("out of memory", one("out_of_memory", "Memory ran out.", None)),
    (
        "attempted to kill init",
        one(
            "init_died",
            "The first process ended; without it no Linux goes on.",
            Some("look for the signal or exit status of process 1 in the log"),
        ),
    ),
    ("attempted to kill the idle task", one("idle_died", "The idle task had a fault.", None)),
    (
        "unable to mount root fs",
        one(
            "no_root",
            "The root file system could not be mounted: a missing driver or initramfs, or a wrong root=.",
            None,
        ),
    ),
    ("no working init found", one("no_init", "No program could be started as the first process.", None)),
    ("requested init", one("no_init", "The program that init= names could not be started.", None)),
    (
        "stack-protector",
        one(
            "stack_smashed",
            "A function of the kernel found its stack's guard overwritten: a buffer on the stack overflowed.",
            None,
        ),
    ),
    ("corrupted stack end", one("stack_overflow", "A task ran out of its kernel stack.", None)),
    ("kernel stack overflow", one("stack_overflow", "A task ran out of its kernel stack.", None)),
    (
        "machine check",
        one(
            "machine_check",
            "The processor reported a fault of the hardware.",
            Some("look at the machine check's lines in the log, and at the machine's memory and processor"),
        ),
    ),
    ("fatal hardware error", one("machine_check", "The firmware reported a fault of the hardware.", None)),
    ("panic_on_warn", one("warning", "The kernel warned, and kernel.panic_on_warn says to panic then.", None)),
    ("nmi", one("nmi", "A non-maskable interrupt was taken for a reason to panic.", None)),
    (
        "fatal exception in interrupt",
        one("kernel_fault", "The kernel's own code had a fault inside an interrupt.", None),
    ),
    ("fatal exception", one("kernel_fault", "The kernel's own code had a fault.", None)),
    ("oops", one("kernel_fault", "The kernel's own code had a fault.", None)),
    (
        "panic forced after error",
        one("file_system", "A file system found an error, and its option errors=panic says to panic then.", None),
    ),
];

/// The meaning of a panic's words, if they are known.
pub(super) fn meaning(panic: &str) -> Option<&'static Meaning> {
    static TABLE: &[(&str, Meaning)] = &KNOWN;
    let small = panic.to_ascii_lowercase();
    TABLE.iter().find(|(part, _)| small.contains(part)).map(|(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

    use super::*;

    #[test]
    fn words_lead_to_verdicts() {
        for (words, kind) in [
            ("Fatal exception in interrupt", "kernel_fault"),
            ("Out of memory: compulsory panic_on_oom is enabled", "out_of_memory"),
            ("Attempted to kill init! exitcode=0x0000000b", "init_died"),
            ("Watchdog detected hard LOCKUP on cpu 3", "hard_lockup"),
            ("sysrq triggered crash", "forced_panic"),
        ] {
            assert_eq!(meaning(words).unwrap().kind, kind, "{words}");
        }
        assert!(meaning("something nobody knows").is_none());
    }
}
