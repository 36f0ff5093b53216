//! Contents of the notes that Linux writes, each from a description by name.
//!
//! ```
//! use afterimage_testkit::build_core::{SigInfo, Thread};
//! let crashed = Thread::new(4711).signal(11).register("rip", 0x40_1000).register("rsp", 0x7ffd_0000_0f00);
//! let why = SigInfo::fault(11, 1, 0x10); // SIGSEGV, SEGV_MAPERR, at 0x10
//! # let _ = (crashed, why);
//! ```
//!
//! *Trap*: `pr_cursig` has 2 bytes and stands at 12; the 4-byte `si_signo` before it is a different field, and gcore
//! leaves one of the two zero.

use super::machine::{Class, Machine};
use super::pen::Pen;

/// A thread: NT_PRSTATUS.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    tid: u32,
    ppid: u32,
    pgrp: u32,
    sid: u32,
    signal: u16,
    code: i32,
    pending: u64,
    held: u64,
    times: [(u64, u64); 4],
    registers: Vec<(String, u64)>,
    raw_registers: Option<Vec<u8>>,
}

impl Thread {
    /// A thread without a signal, all registers zero.
    #[must_use]
    pub fn new(tid: u32) -> Self {
        Self { tid, ..Self::default() }
    }

    /// `si_signo` and `pr_cursig`.
    #[must_use]
    pub fn signal(mut self, signal: u16) -> Self {
        self.signal = signal;
        self
    }

    /// `si_code`.
    #[must_use]
    pub fn code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    /// Parent process, process group, session.
    #[must_use]
    pub fn family(mut self, ppid: u32, pgrp: u32, sid: u32) -> Self {
        (self.ppid, self.pgrp, self.sid) = (ppid, pgrp, sid);
        self
    }

    /// Masks of pending and of held (blocked) signals.
    #[must_use]
    pub fn masks(mut self, pending: u64, held: u64) -> Self {
        (self.pending, self.held) = (pending, held);
        self
    }

    /// Time spent in user mode and in the kernel, each as seconds and microseconds.
    #[must_use]
    pub fn times(mut self, user: (u64, u64), system: (u64, u64)) -> Self {
        self.times = [user, system, (0, 0), (0, 0)];
        self
    }

    /// The value of a register, by the kernel's name (`rip`, `eip`, `x0` … `x30`, `sp`, `pc`).
    #[must_use]
    pub fn register(mut self, name: &str, value: u64) -> Self {
        self.registers.push((name.to_owned(), value));
        self
    }

    /// The register block as bytes, for machines without a table here or blocks of a wrong size.
    #[must_use]
    pub fn raw_registers(mut self, bytes: Vec<u8>) -> Self {
        self.raw_registers = Some(bytes);
        self
    }

    pub(super) fn encode(&self, machine: Machine, class: Class, pen: &mut Pen) {
        let word = class.word();
        pen.i32(i32::from(self.signal)).i32(self.code).i32(0);
        pen.u16(self.signal).align(word);
        pen.number(self.pending, word).number(self.held, word);
        pen.u32(self.tid).u32(self.ppid).u32(self.pgrp).u32(self.sid);
        for (seconds, micros) in self.times {
            pen.number(seconds, word).number(micros, word);
        }
        match &self.raw_registers {
            Some(bytes) => {
                pen.bytes(bytes);
            }
            None => self.encode_registers(machine, pen),
        }
        pen.i32(1).align(word.max(machine.register_width())); // pr_fpvalid
    }

    fn encode_registers(&self, machine: Machine, pen: &mut Pen) {
        for (name, _) in &self.registers {
            assert!(machine.registers().contains(&name.as_str()), "{machine:?} has no register called {name}");
        }
        for name in machine.registers() {
            let value = self.registers.iter().rev().find(|(given, _)| given == name).map_or(0, |(_, value)| *value);
            pen.number(value, machine.register_width());
        }
    }
}

/// The process: NT_PRPSINFO.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// Process number.
    pub pid: u32,
    /// Parent's process number.
    pub ppid: u32,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// One letter, as `ps` shows it.
    pub state: u8,
    /// Niceness.
    pub nice: i8,
    /// Kernel's `PF_*` flags.
    pub flags: u64,
    /// `pr_fname`: cut to 16 bytes.
    pub name: String,
    /// `pr_psargs`: cut to 80 bytes.
    pub arguments: String,
}

impl ProcessInfo {
    /// A running process of root.
    #[must_use]
    pub fn new(pid: u32, name: &str, arguments: &str) -> Self {
        Self {
            pid,
            ppid: 1,
            uid: 0,
            gid: 0,
            state: b'R',
            nice: 0,
            flags: 0x40_0600,
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    pub(super) fn encode(&self, machine: Machine, class: Class, pen: &mut Pen) {
        pen.u8(0).u8(self.state).u8(0).u8(self.nice as u8).align(class.word());
        pen.number(self.flags, class.word());
        // i386 kept the 16-bit owner of its first kernels (`__kernel_uid_t`).
        let owner = if machine == Machine::I386 { 2 } else { 4 };
        pen.number(u64::from(self.uid), owner).number(u64::from(self.gid), owner);
        pen.u32(self.pid).u32(self.ppid).u32(self.pid).u32(self.pid);
        pen.field(self.name.as_bytes(), 16).field(self.arguments.as_bytes(), 80);
    }
}

/// Why the signal came: NT_SIGINFO, 128 bytes.
#[derive(Clone, Debug)]
pub struct SigInfo {
    signal: i32,
    code: i32,
    errno: i32,
    rest: SigRest,
}

#[derive(Clone, Debug)]
enum SigRest {
    Fault(u64),
    Sender { pid: u32, uid: u32, value: u64 },
}

impl SigInfo {
    /// SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP: with the address.
    #[must_use]
    pub fn fault(signal: i32, code: i32, address: u64) -> Self {
        Self { signal, code, errno: 0, rest: SigRest::Fault(address) }
    }

    /// Sent by a process: `code` 0 is `kill`, −6 `tgkill` (which `abort` uses), −1 `sigqueue`.
    #[must_use]
    pub fn sent(signal: i32, code: i32, pid: u32, uid: u32) -> Self {
        Self { signal, code, errno: 0, rest: SigRest::Sender { pid, uid, value: 0 } }
    }

    /// `si_errno`.
    #[must_use]
    pub fn errno(mut self, errno: i32) -> Self {
        self.errno = errno;
        self
    }

    pub(super) fn encode(&self, class: Class, pen: &mut Pen) {
        let start = pen.position() as usize;
        // The union is aligned to a pointer: 16 on 64-bit machines, 12 on 32-bit ones.
        pen.i32(self.signal).i32(self.errno).i32(self.code).align(class.word());
        match self.rest {
            SigRest::Fault(address) => pen.number(address, class.word()),
            SigRest::Sender { pid, uid, value } => pen.u32(pid).u32(uid).number(value, class.word()),
        };
        pen.up_to(start.saturating_add(128));
    }
}

/// Files mapped into the process: NT_FILE.
#[derive(Clone, Debug)]
pub struct FileMap {
    page_size: u64,
    count: Option<u64>,
    entries: Vec<(u64, u64, u64, String)>,
}

impl FileMap {
    /// An empty list; the kernel's page size is 4096, gdb's gcore writes 1.
    #[must_use]
    pub fn new(page_size: u64) -> Self {
        Self { page_size, count: None, entries: Vec::new() }
    }

    /// Adds a mapping from `start` up to but without `end`; `offset` is in units of the page size.
    #[must_use]
    pub fn file(mut self, start: u64, end: u64, offset: u64, path: &str) -> Self {
        self.entries.push((start, end, offset, path.to_owned()));
        self
    }

    /// Says another number of entries than there are.
    #[must_use]
    pub fn claim_count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    pub(super) fn encode(&self, class: Class, pen: &mut Pen) {
        let word = class.word();
        pen.number(self.count.unwrap_or(self.entries.len() as u64), word).number(self.page_size, word);
        for (start, end, offset, _) in &self.entries {
            pen.number(*start, word).number(*end, word).number(*offset, word);
        }
        for (.., path) in &self.entries {
            pen.bytes(path.as_bytes()).u8(0);
        }
    }
}
