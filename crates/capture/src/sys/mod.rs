//! System calls that rustix does not cover: ptrace, waiting by thread, raw signals, memory of another process, fork.
//!
//! *What it is*: the only module of this crate with `unsafe`; each block says why it is sound.
//! *What it is not*: it decides nothing and knows no process's story.
//!
//! *Example*: `sys::cont(tid, 0)?` lets a stopped tracee go on.
//!
//! *Trap*: every ptrace call but [`seize`] must come from the thread that seized the tracee, and the tracee must be in
//! a stop; else the kernel says ESRCH, the same as for a tracee that was killed meanwhile.
#![allow(unsafe_code)]

mod child_signal;
mod clock;
pub(crate) mod pages;
mod signals;
mod spawn;
pub(crate) mod tracee;
mod wait;

pub(crate) use child_signal::ChildSignal;
pub(crate) use clock::next_local;
pub(crate) use signals::{
    AllBlocked, Handlers, SIGINFO_LEN, ignore_file_size_signal, leads_session, own_pid, realtime_range, send_to_pidfd,
    stop_self,
};
pub(crate) use spawn::{Held, fork_waker, spawn_held};
pub(crate) use wait::{Event, peek_event, take_event, take_stop};

use std::io;

/// Thread or process id as the kernel has it.
pub(crate) type Tid = i32;

/// A `siginfo_t` in its own bytes.
pub(crate) type RawSiginfo = [u8; SIGINFO_LEN];

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A ptrace request whose `addr` and `data` are plain numbers.
fn ptrace_plain(request: libc::c_uint, tid: Tid, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: the requests passed here (SEIZE, SETOPTIONS, CONT, LISTEN, INTERRUPT, DETACH) take numbers, not pointers into our
    // memory.
    check(unsafe { libc::ptrace(request as _, tid, addr, data) }).map(drop)
}

/// Takes a thread under watch without stopping it.
pub(crate) fn seize(tid: Tid, options: libc::c_int) -> io::Result<()> {
    ptrace_plain(libc::PTRACE_SEIZE as _, tid, 0, options as usize)
}

/// Changes the options of a stopped tracee.
pub(crate) fn set_options(tid: Tid, options: libc::c_int) -> io::Result<()> {
    ptrace_plain(libc::PTRACE_SETOPTIONS as _, tid, 0, options as usize)
}

/// Whether this is a process's first thread: far cheaper than reading /proc.
pub(crate) fn is_leader(tid: Tid) -> bool {
    // SAFETY: a system call on numbers; signal 0 only asks whether thread `tid` belongs to process `tid`.
    unsafe { libc::syscall(libc::SYS_tgkill, tid, tid, 0) == 0 }
}

/// Lets a stopped tracee go on, delivering `signal` unless it is 0.
pub(crate) fn cont(tid: Tid, signal: i32) -> io::Result<()> {
    ptrace_plain(libc::PTRACE_CONT as _, tid, 0, signal as usize)
}

/// Leaves a tracee in its job-control stop, but listens for its end.
pub(crate) fn listen(tid: Tid) -> io::Result<()> {
    ptrace_plain(libc::PTRACE_LISTEN as _, tid, 0, 0)
}

/// Asks a running tracee to stop.
pub(crate) fn interrupt(tid: Tid) -> io::Result<()> {
    ptrace_plain(libc::PTRACE_INTERRUPT as _, tid, 0, 0)
}

/// The signal that a tracee has been stopped by.
pub(crate) fn siginfo(tid: Tid) -> io::Result<RawSiginfo> {
    let mut info = [0u64; SIGINFO_LEN / 8];
    // SAFETY: GETSIGINFO writes one siginfo_t, 128 bytes on every Linux, to `data`: `info` is that long and aligned.
    check(unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, 0usize, info.as_mut_ptr()) })?;
    let mut bytes = [0; SIGINFO_LEN];
    for (to, from) in bytes.chunks_exact_mut(8).zip(info) {
        to.copy_from_slice(&from.to_ne_bytes());
    }
    Ok(bytes)
}

/// Changes the signal that a tracee is about to be given.
pub(crate) fn set_siginfo(tid: Tid, info: &RawSiginfo) -> io::Result<()> {
    let mut aligned = [0u64; SIGINFO_LEN / 8];
    for (to, from) in aligned.iter_mut().zip(info.chunks_exact(8)) {
        *to = u64::from_ne_bytes(from.try_into().unwrap_or_default());
    }
    // SAFETY: SETSIGINFO reads one siginfo_t, 128 bytes, from `data`: `aligned` is that long and aligned.
    check(unsafe { libc::ptrace(libc::PTRACE_SETSIGINFO, tid, 0usize, aligned.as_ptr()) }).map(drop)
}

/// A register set of a stopped tracee, by its note type.
pub(crate) fn registers(tid: Tid, kind: u32) -> io::Result<Vec<u8>> {
    // The largest sets are x86's with AMX (11 KiB) and arm's SVE (9 KiB).
    let mut buf = vec![0u8; 16 * 1024];
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: GETREGSET writes at most `iov_len` bytes to `iov_base`, which is `buf`, and the length into `iov`.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGSET as _, tid, kind as usize, &raw mut iov) })?;
    buf.truncate(iov.iov_len);
    // Thousands of threads have three sets each.
    buf.shrink_to_fit();
    Ok(buf)
}

/// The number that comes with a ptrace event.
pub(crate) fn event_message(tid: Tid) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: GETEVENTMSG writes one unsigned long to `data`.
    check(unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG as _, tid, 0usize, &raw mut message) })?;
    Ok(message)
}

/// Copies memory of another process; short at the first page that cannot be read.
pub(crate) fn read_memory(pid: Tid, at: u64, buf: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let remote = libc::iovec { iov_base: at as usize as *mut libc::c_void, iov_len: buf.len() };
    // SAFETY: the kernel writes at most `iov_len` bytes to the local buffer; the remote address is never touched by us.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    if read < 0 { Err(io::Error::last_os_error()) } else { Ok(read as usize) }
}

/// Lets others go first, on the processors and at the disk; for the calling thread only, which may already be nicer.
pub(crate) fn be_nice(nice: libc::c_int) {
    // SAFETY: system calls on numbers. On Linux 0 means the calling thread, not the process.
    unsafe {
        if libc::getpriority(libc::PRIO_PROCESS, 0) < nice {
            libc::setpriority(libc::PRIO_PROCESS, 0, nice);
        }
    }
}

/// Bytes of a memory page.
pub(crate) fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// Reserves memory that is never given back.
#[cfg(test)]
pub(crate) fn reserve(len: usize) -> *mut u8 {
    // SAFETY: a fresh private mapping at an address of the kernel's choice.
    let memory = unsafe {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let memory = libc::mmap(std::ptr::null_mut(), len, protection, flags | libc::MAP_NORESERVE, -1, 0);
        // Or one touch would make 512 pages.
        libc::madvise(memory, len, libc::MADV_NOHUGEPAGE);
        memory
    };
    assert_ne!(memory, libc::MAP_FAILED);
    memory.cast()
}

/// Writes one byte.
#[cfg(test)]
pub(crate) fn touch(memory: *mut u8, at: usize) {
    // SAFETY: tests pass a place inside of what `reserve` gave.
    unsafe { memory.add(at).write_volatile(1) };
}
