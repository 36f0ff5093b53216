//! The scenes: what is done in the guest, and what must be said of it then.

/// What a scene shows.
pub enum Shows {
    /// Tasks that wait for locks; the console names each lock and who has it.
    Locks,
    /// A fault of the kernel's own code in the task of this name, which ended the machine.
    Fault(&'static str),
    /// Such a fault that ended only its task.
    Survived,
    /// Memory ran out: the killed process stands on the console.
    Memory,
    /// The machine was made to panic by something that is no fault: a warning, a processor that hung.
    Panic,
}

/// One guest's life.
pub struct Scene {
    /// Name; the guest plays the script of it.
    pub name: &'static str,
    /// What its first process does, in the words of the guest's `init`.
    pub script: &'static str,
    /// Whether it ends in a panic.
    pub panics: bool,
    /// The verdict that `explain` must give.
    pub verdict: &'static str,
    /// What is compared.
    pub shows: Shows,
    /// Words that the sentences of `explain` must have.
    pub words: &'static [&'static str],
}

/// A fault that ends the machine.
const fn fault(
    name: &'static str,
    script: &'static str,
    task: &'static str,
    verdict: &'static str,
    words: &'static [&'static str],
) -> Scene {
    Scene { name, script, panics: true, verdict, shows: Shows::Fault(task), words }
}

/// All scenes.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "deadlock",
        script: "
slow lock-ab 'mutex trouble_a' 'mutex trouble_b'
slow lock-ba 'mutex trouble_b' 'mutex trouble_a'
slow ring-1 'mutex trouble_c' 'write trouble_ring'
slow ring-2 'write trouble_ring' 'mutex heap'
slow ring-3 'mutex heap' 'mutex trouble_c'
usleep 1500000
task after-ab 'mutex trouble_a'
task killable 'killable trouble_b'
task wakeable 'interruptible trouble_b'
task itself 'mutex trouble_d' 'mutex trouble_d'
task rw-holder 'write trouble_rw'
task rw-reader 'read trouble_rw'
task rw-writer 'write trouble_rw'
task rd-holder 'read trouble_shared'
task rd-writer 'write trouble_shared'
task sem-holder 'semaphore trouble_sem'
task sem-waiter 'semaphore trouble_sem'
task rt-holder 'rt_mutex trouble_rt'
task rt-waiter 'rt_mutex trouble_rt'
",
        panics: false,
        verdict: "deadlock",
        shows: Shows::Locks,
        words: &[],
    },
    Scene {
        name: "hung",
        script: "
sysctl kernel/hung_task_panic 1
sysctl kernel/hung_task_timeout_secs 3
slow lock-ab 'mutex trouble_a' 'mutex trouble_b'
slow lock-ba 'mutex trouble_b' 'mutex trouble_a'
usleep 15000000
",
        panics: true,
        verdict: "hung_task",
        shows: Shows::Locks,
        words: &["kernel.hung_task_panic"],
    },
    fault("null-read", "oops read null-read", "null-read", "null_read", &["a null pointer plus 80", "trouble_read"]),
    fault(
        "null-store",
        "oops store null-store",
        "null-store",
        "null_write",
        &["a null pointer plus 80", "trouble_store"],
    ),
    fault(
        "null-call",
        "oops call null-call",
        "null-call",
        "null_call",
        &["a null pointer", "called from trouble_call+"],
    ),
    fault("divide", "oops divide divider", "divider", "kernel_fault", &["divided by zero", "trouble_divide"]),
    fault("bug", "oops bug bugger", "bugger", "kernel_bug", &["trouble.c:", "trouble_bug"]),
    fault("list", "oops list lister", "lister", "kernel_bug", &["lib/list_debug.c:"]),
    fault("poison", "oops follow follower", "follower", "general_protection", &["LIST_POISON1", "trouble_read"]),
    fault("stack", "oops deep deeper", "deeper", "stack_overflow", &["trouble_deep", "used up its kernel stack"]),
    fault("interrupt", "oops interrupt interrupter", "", "null_write", &["inside an interrupt", "trouble_store"]),
    Scene {
        name: "survived",
        script: "
sysctl kernel/panic_on_oops 0
task survivor store
",
        panics: false,
        verdict: "kernel_fault",
        shows: Shows::Survived,
        words: &["trouble_store", "survivor"],
    },
    Scene {
        name: "warn",
        script: "
sysctl kernel/panic_on_warn 1
task warner warn
usleep 4000000
",
        panics: true,
        verdict: "warning",
        shows: Shows::Panic,
        words: &["panic_on_warn", "trouble_warn+"],
    },
    Scene {
        name: "lockup",
        script: "
sysctl kernel/watchdog_thresh 2
sysctl kernel/softlockup_panic 1
task spinner spin
usleep 15000000
",
        panics: true,
        verdict: "soft_lockup",
        shows: Shows::Panic,
        words: &["spinner"],
    },
    Scene {
        name: "oom",
        // It keeps all that it reads, and no line of that ever ends.
        script: "
tail /dev/zero &
usleep 8000000
",
        panics: false,
        verdict: "out_of_memory",
        shows: Shows::Memory,
        words: &["(tail)"],
    },
    Scene {
        name: "oom-panic",
        script: "
sysctl vm/panic_on_oom 1
tail /dev/zero &
usleep 12000000
",
        panics: true,
        verdict: "out_of_memory",
        shows: Shows::Memory,
        words: &["vm.panic_on_oom", "tail ("],
    },
];
