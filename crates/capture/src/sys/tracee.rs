//! Ptrace calls that only a stopped tracee takes part in: registers and signal mask set, system-call stops, detaching;
//! and batches of its memory.
//!
//! *Example*: `set_registers(tid, NT_PRSTATUS, &bytes)?; step_syscall(tid)?`.
//!
//! *Trap*: see [`super`]: from the thread that seized only, and ESRCH means that the tracee has gone or runs.
// Calls are made in x86-64 processes only.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

use super::{Tid, check, ptrace_plain};
use crate::live::inject::seccomp::Instruction;
use std::io;

/// Sets a register set of a stopped tracee, by its note type.
pub(crate) fn set_registers(tid: Tid, kind: u32, bytes: &[u8]) -> io::Result<()> {
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: SETREGSET reads `iov_len` bytes at `iov_base`, which is `bytes`, and writes only the length into `iov`.
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGSET as _, tid, kind as usize, &raw mut iov) }).map(drop)
}

/// The signals that a stopped tracee blocks, a bit each.
pub(crate) fn signal_mask(tid: Tid) -> io::Result<u64> {
    let mut mask = 0u64;
    // SAFETY: GETSIGMASK writes `addr` = 8 bytes to `data`.
    check(unsafe { libc::ptrace(0x420a as _, tid, 8usize, &raw mut mask) })?;
    Ok(mask)
}

/// Sets the signals that a stopped tracee blocks.
pub(crate) fn set_signal_mask(tid: Tid, mask: u64) -> io::Result<()> {
    // SAFETY: SETSIGMASK reads `addr` = 8 bytes from `data`.
    check(unsafe { libc::ptrace(0x420b as _, tid, 8usize, &raw const mask) }).map(drop)
}

/// Lets a stopped tracee go on until it enters, or leaves, a system call.
pub(crate) fn step_syscall(tid: Tid) -> io::Result<()> {
    ptrace_plain(libc::PTRACE_SYSCALL as _, tid, 0, 0)
}

/// Lets a stopped tracee go for good.
pub(crate) fn detach(tid: Tid, signal: i32) -> io::Result<()> {
    ptrace_plain(libc::PTRACE_DETACH as _, tid, 0, signal as usize)
}

/// Copies ranges of another process's memory, one behind the other, into `buf`; short at the first page that cannot be
/// read. At most 1024 ranges.
pub(crate) fn read_batch(pid: Tid, ranges: &[(u64, usize)], buf: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let remote =
        ranges.iter().map(|&(at, len)| libc::iovec { iov_base: at as usize as *mut libc::c_void, iov_len: len });
    let remote: Vec<libc::iovec> = remote.collect();
    let count = remote.len() as libc::c_ulong;
    // SAFETY: the kernel writes at most `iov_len` bytes to the local buffer; remote addresses are never touched by us.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, remote.as_ptr(), count, 0) };
    if read < 0 { Err(io::Error::last_os_error()) } else { Ok(read as usize) }
}

/// Takes a copy of a descriptor out of another process.
pub(crate) fn take_descriptor(pidfd: impl std::os::fd::AsFd, number: i32) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::{AsRawFd, FromRawFd};
    // SAFETY: a system call on numbers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_fd().as_raw_fd(), number, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd as i32) })
}

/// Where a stopped thread has its area for restartable sequences; 0 if it has none, or the kernel does not tell.
pub(crate) fn rseq_area(tid: Tid) -> u64 {
    const PTRACE_GET_RSEQ_CONFIGURATION: libc::c_uint = 0x420f;
    // struct ptrace_rseq_configuration: pointer, size, signature, flags, padding.
    let mut configuration = [0u64; 3];
    let size = size_of_val(&configuration);
    // SAFETY: the request writes at most `addr` bytes, the size of `configuration`, to `data`.
    let result = unsafe { libc::ptrace(PTRACE_GET_RSEQ_CONFIGURATION as _, tid, size, configuration.as_mut_ptr()) };
    let [area, ..] = configuration;
    if result > 0 { area } else { 0 }
}

/// One of the seccomp filters of a stopped thread; `None` behind the last. Needs CAP_SYS_ADMIN.
pub(crate) fn seccomp_filter(tid: Tid, index: u32) -> io::Result<Option<Vec<Instruction>>> {
    const PTRACE_SECCOMP_GET_FILTER: libc::c_uint = 0x420c;
    // struct sock_filter: code u16, jt u8, jf u8, k u32; at most BPF_MAXINSNS of them.
    let mut raw = vec![[0u16; 4]; 4096];
    // SAFETY: the request writes the filter, at most 4096 instructions of 8 bytes, to `data`: `raw` is that long.
    let count = unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER as _, tid, index as usize, raw.as_mut_ptr()) };
    if count < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOENT) { Ok(None) } else { Err(error) };
    }
    let decode = |&[code, jumps, low, high]: &[u16; 4]| Instruction {
        code,
        jump_true: jumps as u8,
        jump_false: (jumps >> 8) as u8,
        value: u32::from(low) | u32::from(high) << 16,
    };
    Ok(Some(raw.iter().take(count as usize).map(decode).collect()))
}

/// Kills a process that is a tracee of ours.
pub(crate) fn kill(tid: Tid) {
    // SAFETY: a system call on numbers.
    unsafe { libc::kill(tid, libc::SIGKILL) };
}

/// Lets other threads run.
pub(crate) fn yield_now() {
    // SAFETY: a system call without arguments.
    unsafe { libc::sched_yield() };
}
