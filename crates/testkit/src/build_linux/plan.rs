//! What the machine is said to be: the builder makes it, and tests compare with it.

/// A process.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Process id.
    pub pid: u32,
    /// Parent.
    pub ppid: u32,
    /// Effective user.
    pub uid: u32,
    /// Short name.
    pub comm: &'static str,
    /// State letter.
    pub state: char,
    /// Program; `None` of a thread of the kernel.
    pub exe: Option<&'static str>,
    /// Arguments.
    pub args: &'static [&'static str],
    /// Environment.
    pub env: &'static [(&'static str, &'static str)],
    /// Further threads: number and name.
    pub threads: &'static [(u32, &'static str)],
    /// Open files by descriptor: paths.
    pub files: &'static [&'static str],
    /// Mappings: start, end, protection, file.
    pub regions: &'static [(u64, u64, &'static str, Option<&'static str>)],
    /// Functions on its stack, innermost first.
    pub stack: &'static [&'static str],
}

/// All processes, by their numbers.
pub const PROCESSES: [Plan; 4] = [
    Plan {
        pid: 1,
        ppid: 0,
        uid: 0,
        comm: "init",
        state: 'S',
        exe: Some("/sbin/init"),
        args: &["/sbin/init", "splash"],
        env: &[("HOME", "/"), ("TERM", "linux")],
        threads: &[],
        files: &["/dev/console"],
        regions: &[
            (0x40_0000, 0x40_3000, "r-xp", Some("/sbin/init")),
            (0x60_0000, 0x60_4000, "rw-p", Some("[heap]")),
            (0x7ffd_0000_0000, 0x7ffd_0000_2000, "rw-p", Some("[stack]")),
        ],
        stack: &["__schedule", "schedule", "do_wait", "do_syscall_64", "entry_SYSCALL_64_after_hwframe"],
    },
    Plan {
        pid: 2,
        ppid: 0,
        uid: 0,
        comm: "kthreadd",
        state: 'S',
        exe: None,
        args: &[],
        env: &[],
        threads: &[],
        files: &[],
        regions: &[],
        stack: &["__schedule", "schedule", "kthread", "ret_from_fork_asm"],
    },
    Plan {
        pid: 57,
        ppid: 1,
        uid: 33,
        comm: "server",
        state: 'R',
        exe: Some("/usr/bin/server"),
        args: &["server", "--port", "8080"],
        env: &[("PATH", "/usr/bin"), ("MODE", "fast=1")],
        threads: &[(58, "worker")],
        files: &["/var/log/server.log", "socket:[9001]", "socket:[9002]", "/run/server.pid", "socket:[9003]"],
        regions: &[
            (0x40_0000, 0x40_5000, "r-xp", Some("/usr/bin/server")),
            (0x40_5000, 0x40_6000, "r--p", Some("/usr/bin/server")),
            (0x7f00_0000_0000, 0x7f00_0010_0000, "rw-p", None),
            (0x7f00_0010_0000, 0x7f00_0010_1000, "rw-s", Some("/run/shared")),
            (0x7ffd_0000_0000, 0x7ffd_0000_2000, "rw-p", Some("[stack]")),
        ],
        stack: &[],
    },
    Plan {
        pid: 80,
        ppid: 57,
        uid: 1000,
        comm: "stuck",
        state: 'D',
        exe: Some("/usr/bin/stuck"),
        args: &["stuck"],
        env: &[("A", "")],
        threads: &[],
        files: &[],
        regions: &[
            (0x40_0000, 0x40_1000, "r-xp", Some("/usr/bin/stuck")),
            (0x7ffd_0000_0000, 0x7ffd_0000_2000, "rw-p", Some("[stack]")),
        ],
        stack: &[
            "__schedule",
            "schedule",
            "__mutex_lock",
            "mutex_user",
            "do_syscall_64",
            "entry_SYSCALL_64_after_hwframe",
        ],
    },
];

/// The stack of thread 58: its third function is the module's.
pub const WORKER_STACK: [&str; 5] =
    ["__schedule", "schedule", "test_wait", "do_syscall_64", "entry_SYSCALL_64_after_hwframe"];

/// The stack of processor 0.
pub const IDLE_STACK: [&str; 3] = ["default_idle", "do_idle", "start_secondary"];

/// Sockets of process 57: family, protocol, local and remote address, state.
pub const SOCKETS: [(&str, &str, &str, &str, &str); 3] = [
    ("IPv4", "TCP", "0.0.0.0:8080", "0.0.0.0:0", "LISTEN"),
    ("IPv6", "UDP", "[::1]:53", "[::]:0", "UNCONN"),
    ("UNIX", "stream", "/run/server.sock", "", "LISTEN"),
];

/// Mounts: source, target, file system, options.
pub const MOUNTS: [(&str, &str, &str, &str); 2] =
    [("/dev/vda1", "/", "ext4", "rw,relatime"), ("tmpfs", "/run", "tmpfs", "rw,nosuid,nodev")];

/// Modules: name, start of their code, bytes, taints.
pub const MODULES: [(&str, u64, u64, u64); 2] =
    [("testmod", 0xffff_ffff_c020_0000, 0x3000, 1 << 12), ("other", 0xffff_ffff_c030_0000, 0x1000, 0)];

/// The log: nanoseconds, level, text. The fourth one does not fit behind the third and begins anew in front.
pub const LOG: [(u64, u8, &str); 5] = [
    (0, 5, "Linux version 6.66.0-built (nobody@nowhere) #1 SMP"),
    (1_500_000, 6, "Command line: root=/dev/vda1 quiet"),
    (2_000_123_000, 4, "testmod: loading out-of-tree module taints kernel."),
    (3_000_000_000, 6, "a line that is long enough to reach the end of the ring and begin in front again"),
    (100_000_000_000, 3, "INFO: task stuck:80 blocked for more than 90 seconds."),
];

/// The banner.
pub const BANNER: &str = "Linux version 6.66.0-built (nobody@nowhere) (cc 1.0) #1 SMP Thu Jan 1 00:00:00 UTC 1970\n";
/// The command line.
pub const COMMAND_LINE: &str = "root=/dev/vda1 quiet";
/// The machine's name.
pub const HOST: &str = "built";
/// Seconds since 1970 at its start, and since then.
pub const CLOCK: (u64, u64) = (1_700_000_000, 120);
