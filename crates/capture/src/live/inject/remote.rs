//! One stopped thread, borrowed for a few system calls.

use super::registers::{Registers, index};
use super::ways::{self, WAY};
use super::{Gadgets, Refusal};
use crate::live::hold::{EVENT_STOP, Waited, pause, wait_for_stop};
use crate::memory::Reader;
use crate::procfs::Vma;
use crate::sys::pages::{self, Scan};
use crate::sys::{self, Event, Tid, tracee};
use std::fs::File;
use std::time::{Duration, Instant};

/// Bytes of stack that must lie between what is used and the pages for the ways: a signal handler may come to stand
/// there.
const SPARE: u64 = 64 << 10;
/// Untouched bytes above the pages of an earlier capture.
const APART: u64 = 4 << 10;
/// Bytes that the ways and the floating-point state never exceed (AMX has 11 KiB).
const MOST_NEEDED: u64 = 16 << 10;
/// The same where there is no AMX, which is nearly everywhere.
const USUALLY_NEEDED: u64 = 8 << 10;
/// Floating-point state that fits the latter.
const USUAL_STATE: usize = 4 << 10;
/// How long a call may take: forking a process of a terabyte takes half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

const NT_PRFPREG: u32 = 2;
const NT_X86_XSTATE: u32 = 0x202;
const SYS_EXIT_GROUP: u64 = 231;
const SYS_WAIT4: u64 = 61;
const SYS_CLOSE: u64 = 3;
/// `__WALL`.
pub(in crate::live) const WAIT_ALL: u64 = 0x4000_0000;

/// A thread that can be borrowed, and pages for its ways home.
#[derive(Clone, Copy, Debug)]
pub(in crate::live) struct Room {
    pub(in crate::live) tid: Tid,
    registers: Registers,
    /// Pages of its stack that have never been touched.
    place: u64,
    len: u64,
}

impl Room {
    /// Looks among stopped threads, the first of which is preferred. `vmas` are the mappings as they are now.
    pub(in crate::live) fn find(
        tids: impl Iterator<Item = Tid>,
        vmas: &[Vma],
        reader: &Reader,
        gadgets: Gadgets,
    ) -> Option<Self> {
        let pagemap = File::open(format!("/proc/{}/pagemap", reader.pid())).ok()?;
        let mut second = None;
        let mut need = None;
        for tid in tids {
            let Some(registers) = Registers::of(tid) else { continue };
            let need = *need.get_or_insert_with(|| {
                let state = sys::registers(tid, NT_X86_XSTATE).map_or(0, |set| set.len());
                if state <= USUAL_STATE { USUALLY_NEEDED } else { MOST_NEEDED }
            });
            let Some((place, len)) = untouched_stack(registers.get(index::RSP), vmas, &pagemap, need, reader, gadgets)
            else {
                continue;
            };
            // A restartable sequence that we lead the thread out of would not be restarted afterwards, as it must be.
            let area = tracee::rseq_area(tid);
            if area != 0 && reader.exact::<8>(area + 8) != Some([0; 8]) {
                continue;
            }
            let room = Self { tid, registers, place, len };
            // A thread that the kernel would restart with a counted time-out gets EINTR if we die in between; another
            // one does not.
            if registers.get(index::RAX) as i64 == -516 {
                second = second.or(Some(room));
                continue;
            }
            return Some(room);
        }
        second
    }
}

/// Pages of the stack that this stack pointer is in which have never been touched: the lowest of a main thread's stack, or
/// of a mapping above a guard page. Memory that no write has ever reached holds nothing that could be lost.
///
/// Folklore: just below the stack pointer would not do. Coroutines have stacks in a buffer on another one's stack, with
/// other data below. And glibc's arenas for threads look like stacks, with the unused part of the arena before as a
/// guard; but calloc relies on their untouched memory being zero. They begin at multiples of 64 MiB.
fn untouched_stack(
    sp: u64,
    vmas: &[Vma],
    pagemap: &File,
    need: u64,
    reader: &Reader,
    gadgets: Gadgets,
) -> Option<(u64, u64)> {
    const ARENA: u64 = 64 << 20;
    let next = vmas.partition_point(|vma| vma.end <= sp);
    let vma = vmas.get(next).filter(|vma| vma.start <= sp && vma.permissions.write && !vma.shared)?;
    let before = next.checked_sub(1).and_then(|before| vmas.get(before));
    let guarded = before.is_some_and(|guard| {
        let none = !guard.permissions.read && !guard.permissions.write && !guard.permissions.execute;
        none && guard.end == vma.start
    });
    let stack = vma.path == b"[stack]" || (!vma.file && guarded && !vma.start.is_multiple_of(ARENA));
    if !stack || sp.saturating_sub(SPARE) < vma.start {
        return None;
    }
    let end = sp / sys::page_size() * sys::page_size();
    // The shared zero page, which reading makes (gcore reads everything), is no touch.
    let (_, found) = pages::scan(pagemap, &Scan::TOUCHED, vma.start, end, 2).ok()?;
    let mut touched = found.into_iter().map(|(range, _)| range).peekable();
    // The pages of an earlier capture, and nothing far above them: zeros, or the ways of one that was killed.
    let ours = |range: &std::ops::Range<u64>| {
        let bytes = reader.some(range.start, need as usize);
        let sign = bytes.first_chunk() == Some(&gadgets.sigreturn.to_ne_bytes());
        range.start == vma.start
            && range.end - range.start <= MOST_NEEDED
            && (sign || bytes.iter().all(|&byte| byte == 0))
    };
    let mut least = need;
    if touched.next_if(ours).is_some() {
        least += APART;
    }
    let end = touched.next().map_or(end, |range| range.start);
    (end - vma.start >= least).then_some((vma.start, need))
}

/// The ways home as they stand on the borrowed stack.
#[derive(Clone, Copy, Debug)]
struct Ways {
    home: u64,
    wait: u64,
    close: u64,
    exit: u64,
}

/// A borrowed thread. What is dropped without [`Remote::end`] goes home by itself.
pub(in crate::live) struct Remote {
    pub(in crate::live) tid: Tid,
    original: Registers,
    mask: u64,
    gadgets: Gadgets,
    ways: Ways,
    /// Where the ways stand, and what stood there.
    base: u64,
    saved: Vec<u8>,
    begun: bool,
    /// It stands before a fault of a borrowed call.
    faulted: bool,
    /// Children that calls have made, by their clone events.
    pub(in crate::live) children: Vec<Tid>,
}

impl Remote {
    /// Borrows a thread that stands in the stop of an interrupt. `close` is a descriptor's number that is closed on the
    /// way home, if calls are going to open it.
    pub(in crate::live) fn begin(
        room: &Room,
        reader: &Reader,
        gadgets: Gadgets,
        suspend_seccomp: bool,
        close: Option<i32>,
    ) -> Result<Self, Refusal> {
        const SUSPEND_SECCOMP: i32 = 1 << 21;
        let (tid, original) = (room.tid, room.registers);
        let lost = |_| Refusal::Lost;
        let mut options = libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACESYSGOOD;
        if suspend_seccomp {
            options |= SUSPEND_SECCOMP;
        }
        sys::set_options(tid, options).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EINVAL) if suspend_seccomp => Refusal::Seccomp,
            _ => Refusal::Lost,
        })?;
        if suspend_seccomp {
            super::seccomp::check(tid)?;
        }
        let mask = tracee::signal_mask(tid).map_err(lost)?;
        let set = sys::registers(tid, NT_X86_XSTATE).or_else(|_| sys::registers(tid, NT_PRFPREG)).map_err(lost)?;
        let floating = ways::fpstate(&set);
        let base = room.place;
        let fpstate = (base + 4 * WAY).next_multiple_of(64);
        if fpstate + floating.len() as u64 > base + room.len || !gadgets.stand(room.tid) {
            return Err(Refusal::Changed);
        }
        let ways = Ways { home: base, wait: base + WAY, close: base + 2 * WAY, exit: base + 3 * WAY };

        let all = !0u64;
        let mut call = original;
        call.set(index::RIP, gadgets.syscall);
        call.set(index::RSP, ways.home);
        let mut frame = vec![];
        frame.extend(ways::way(gadgets.sigreturn, &ways::as_resumed(&original), mask, fpstate));
        call.set(index::RAX, SYS_WAIT4);
        call.set(index::RDI, 0);
        call.set(index::RSI, 0);
        call.set(index::RDX, WAIT_ALL);
        call.set(index::R10, 0);
        frame.extend(ways::way(gadgets.sigreturn, &call, all, 0));
        call.set(index::RAX, SYS_CLOSE);
        call.set(index::RDI, close.map_or(u64::MAX, |number| number as u64));
        frame.extend(ways::way(gadgets.sigreturn, &call, all, 0));
        call.set(index::RAX, SYS_EXIT_GROUP);
        call.set(index::RDI, 0);
        frame.extend(ways::way(gadgets.sigreturn, &call, all, 0));
        frame.resize((fpstate - base) as usize, 0);
        frame.extend(floating);

        // Never touched: it is zero.
        let saved = vec![0; frame.len()];
        reader.write(base, &frame).map_err(|_| Refusal::NoStack)?;
        Ok(Self { tid, original, mask, gadgets, ways, base, saved, begun: false, faulted: false, children: Vec::new() })
    }

    /// The same for a child that has just been made on the way that ends it: it stands before its first instruction.
    pub(in crate::live) fn child(&self, tid: Tid) -> Option<Self> {
        let original = Registers::of(tid)?;
        Some(Self {
            tid,
            original,
            mask: self.mask,
            gadgets: self.gadgets,
            ways: self.ways,
            base: self.base,
            saved: Vec::new(),
            begun: false,
            faulted: false,
            children: Vec::new(),
        })
    }

    /// Where a call returns to if we die: back to where the thread was.
    pub(in crate::live) fn home(&self) -> u64 {
        self.ways.home
    }

    /// The way on which a child is waited for first; the kernel must be told to write its id to [`Remote::child_id`].
    pub(in crate::live) fn wait_way(&self) -> u64 {
        self.ways.wait
    }

    /// The way on which the descriptor is closed first.
    pub(in crate::live) fn close_way(&self) -> u64 {
        self.ways.close
    }

    /// The way that ends a process.
    pub(in crate::live) fn exit_way(&self) -> u64 {
        self.ways.exit
    }

    /// Place of the child's id on [`Remote::wait_way`].
    pub(in crate::live) fn child_id(&self) -> u64 {
        self.ways.wait + ways::RDI
    }

    /// What the borrowed stack held before: memory that a copy of the process should show there.
    pub(in crate::live) fn saved(&self) -> (u64, &[u8]) {
        (self.base, &self.saved)
    }

    /// Makes a call; its result as the kernel gives it (-errno for a failure).
    pub(in crate::live) fn call(&mut self, number: i64, args: [u64; 6], way: u64) -> Result<i64, Refusal> {
        self.aim(number, args, way)?;
        // Into the call, then out of it.
        self.run_to_syscall_stop()?;
        self.run_to_syscall_stop()?;
        let registers = Registers::of(self.tid).ok_or(Refusal::Lost)?;
        Ok(registers.get(index::RAX) as i64)
    }

    /// Makes the last call of a process: it does not come back.
    pub(in crate::live) fn exit(mut self) -> Result<(), Refusal> {
        self.aim(SYS_EXIT_GROUP as i64, [0; 6], self.ways.exit)?;
        let start = Instant::now();
        sys::cont(self.tid, 0).map_err(|_| Refusal::Lost)?;
        loop {
            match sys::take_event(self.tid) {
                Ok(Some(Event::Stopped(..))) => sys::cont(self.tid, 0).map_err(|_| Refusal::Lost)?,
                Ok(Some(_)) | Err(_) => return Ok(()),
                Ok(None) if start.elapsed() > PATIENCE => return Err(Refusal::Lost),
                Ok(None) => pause(start),
            }
        }
    }

    fn aim(&mut self, number: i64, args: [u64; 6], way: u64) -> Result<(), Refusal> {
        let lost = |_| Refusal::Lost;
        let mut registers = self.original;
        let places = [index::RDI, index::RSI, index::RDX, index::R10, index::R8, index::R9];
        for (place, value) in places.into_iter().zip(args) {
            registers.set(place, value);
        }
        registers.set(index::RAX, number as u64);
        // No system call is to be restarted here.
        registers.set(index::ORIG_RAX, u64::MAX);
        registers.set(index::RIP, self.gadgets.syscall);
        registers.set(index::RSP, way);
        registers.put(self.tid).map_err(lost)?;
        if !self.begun {
            // Only now: if we die before, its mask is its own; from here on its way restores it.
            tracee::set_signal_mask(self.tid, !0).map_err(lost)?;
            self.begun = true;
        }
        Ok(())
    }

    fn run_to_syscall_stop(&mut self) -> Result<(), Refusal> {
        const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;
        let lost = |_| Refusal::Lost;
        tracee::step_syscall(self.tid).map_err(lost)?;
        let start = Instant::now();
        loop {
            match sys::take_event(self.tid) {
                Ok(Some(Event::Stopped(SYSCALL_STOP, 0))) => return Ok(()),
                Ok(Some(Event::Stopped(_, libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK))) => {
                    if let Ok(child) = sys::event_message(self.tid) {
                        self.children.push(child as Tid);
                    }
                    tracee::step_syscall(self.tid).map_err(lost)?;
                }
                // SIGSTOP cannot be blocked; the process is to stop when it is let go.
                Ok(Some(Event::Stopped(_, EVENT_STOP))) => tracee::step_syscall(self.tid).map_err(lost)?,
                // All signals are blocked, so this is a fault of the very code that was borrowed: it is not the thread's.
                Ok(Some(Event::Stopped(_, 0))) => {
                    self.faulted = true;
                    return Err(Refusal::Changed);
                }
                Ok(Some(_)) | Err(_) => return Err(Refusal::Lost),
                Ok(None) if start.elapsed() > PATIENCE => return Err(Refusal::Lost),
                Ok(None) => pause(start),
            }
        }
    }

    /// Gives the thread back as it was: it stands in the stop of an interrupt again.
    pub(in crate::live) fn end(mut self, reader: &Reader) -> Result<(), Refusal> {
        let result = self.restore();
        if result.is_ok() {
            // Nobody may read what stands below a stack pointer; but a dump should show what was there.
            let _ = reader.write(self.base, &self.saved);
        }
        result
    }

    fn restore(&mut self) -> Result<(), Refusal> {
        let lost = |_| Refusal::Lost;
        if self.begun && self.faulted {
            // It stands in the kernel's signal code already; the fault is forgotten with the registers that made it.
            tracee::set_signal_mask(self.tid, self.mask).map_err(lost)?;
            self.original.put(self.tid).map_err(lost)?;
            self.begun = false;
            sys::interrupt(self.tid).map_err(lost)?;
            sys::cont(self.tid, 0).map_err(lost)?;
            if !matches!(wait_for_stop(self.tid, PATIENCE), Waited::Stopped { .. }) {
                return Err(Refusal::Lost);
            }
        } else if self.begun {
            // A system call that is to be restarted needs a stop inside of the kernel's signal code, not at the end of a
            // system call: only there the result -ERESTARTSYS is looked at.
            sys::interrupt(self.tid).map_err(lost)?;
            sys::cont(self.tid, 0).map_err(lost)?;
            if !matches!(wait_for_stop(self.tid, PATIENCE), Waited::Stopped { .. }) {
                return Err(Refusal::Lost);
            }
            // The mask first: if we die between the two, the way home restores the rest.
            tracee::set_signal_mask(self.tid, self.mask).map_err(lost)?;
            self.original.put(self.tid).map_err(lost)?;
            self.begun = false;
        }
        sys::set_options(self.tid, 0).map_err(lost)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if self.begun && !self.saved.is_empty() {
            let _ = self.restore();
        }
    }
}
