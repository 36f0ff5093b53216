//! Forking: the watched program, held before its exec, and the helper that wakes a stopped watcher.
//!
//! *Trap*: after fork in a process with threads only async-signal-safe functions are allowed in the child: no
//! allocation, no locks. Everything that the children need is made before.

use super::Tid;
use super::signals::{AllBlocked, at_start, set_default};
use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// A child that waits to be let into its program.
pub(crate) struct Held {
    /// Its process id.
    pub(crate) pid: Tid,
    go: std::fs::File,
    error: std::fs::File,
}

impl Held {
    /// Lets it execute its program.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        self.go.write_all(&[1])
    }

    /// Why the program could not be executed; asked when the child has ended without executing anything.
    pub(crate) fn exec_error(&mut self) -> Option<io::Error> {
        let mut code = [0; 4];
        self.error.read_exact(&mut code).ok()?;
        Some(io::Error::from_raw_os_error(i32::from_ne_bytes(code)))
    }
}

/// Forks a child that waits, then executes `program` with `arguments` exactly as this process was itself started:
/// `handled` are the signals that have our handlers, which must not outlive the fork.
pub(crate) fn spawn_held(program: &CString, arguments: &[CString], handled: &[i32]) -> io::Result<Held> {
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let (go_read, go) = pipe()?;
    let (error, error_write) = pipe()?;
    let blocked = AllBlocked::new();
    // SAFETY: the child calls async-signal-safe functions only and never returns; see `child`.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let pipes = (go_read.as_raw_fd(), go.as_raw_fd(), error_write.as_raw_fd());
            // SAFETY: we are the forked child; `pointers` is NULL-terminated and points into `arguments`.
            unsafe { child(program, &pointers, handled, &blocked, pipes) }
        }
        pid => Ok(Held { pid, go: go.into(), error: error.into() }),
    }
}

/// The child's side.
///
/// # Safety
/// Only in a forked child; `arguments` must end with a null pointer.
unsafe fn child(
    program: &CString,
    arguments: &[*const libc::c_char],
    handled: &[i32],
    blocked: &AllBlocked,
    (go, go_write, error): (i32, i32, i32),
) -> ! {
    // SAFETY: every function called is async-signal-safe (execvp is in glibc and musl: both search PATH on the stack);
    // pointers are valid for the calls as the parent's memory was copied.
    unsafe {
        set_default(handled);
        if !at_start::sigpipe_ignored() {
            set_default(&[libc::SIGPIPE]);
        }
        // Only the parent may hold the writing end, or its death would never be seen here.
        libc::close(go_write);
        let mut byte = 0u8;
        loop {
            match libc::read(go, (&raw mut byte).cast(), 1) {
                1 => break,
                -1 if *libc::__errno_location() == libc::EINTR => {}
                _ => libc::_exit(125),
            }
        }
        for fd in 0..3 {
            if at_start::closed(fd) {
                libc::close(fd);
            }
        }
        blocked.restore();
        libc::execvp(program.as_ptr(), arguments.as_ptr());
        let code = (*libc::__errno_location()).to_ne_bytes();
        libc::write(error, code.as_ptr().cast(), code.len());
        libc::_exit(127)
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Forks a helper that sends SIGCONT to us, `watcher`, as soon as `stopped` has been continued or has ended.
///
/// While the watcher itself is stopped (so that the shell sees a stopped job) it could not notice that somebody
/// continued just the program. The helper lasts until the watcher kills it, or has gone.
pub(crate) fn fork_waker(stopped: Tid, watcher: Tid) -> io::Result<Tid> {
    let path = |name| CString::new(format!("/proc/{stopped}/{name}")).map_err(io::Error::other);
    let (status, stat) = (path("status")?, path("stat")?);
    let _blocked = AllBlocked::new();
    // SAFETY: the child calls async-signal-safe functions only and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let mut buf = [0u8; 4096];
            loop {
                // SAFETY: plain system calls on a stack buffer and C strings made before the fork.
                unsafe {
                    if libc::getppid() != watcher {
                        libc::_exit(0);
                    }
                    let wake = continued_or_gone(read_file(&status, &mut buf)) || killed(read_file(&stat, &mut buf));
                    if wake {
                        // Again and again: it may not have stopped yet. It ends this helper when it goes on.
                        libc::kill(watcher, libc::SIGCONT);
                    }
                    let pause = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                    libc::nanosleep(&raw const pause, std::ptr::null_mut());
                }
            }
        }
        pid => Ok(pid),
    }
}

/// The beginning of a file; empty if it cannot be read. Allocates nothing.
fn read_file<'a>(path: &CString, buf: &'a mut [u8; 4096]) -> &'a [u8] {
    // SAFETY: the path is a C string, and the kernel writes at most the length of `buf` to it.
    let len = unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let len = if fd < 0 { -1 } else { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) };
        libc::close(fd);
        len
    };
    buf.get(..len.max(0) as usize).unwrap_or_default()
}

/// Whether a stat file tells of a process that a signal has killed (PF_SIGNALED) although it still stands, before its
/// exit event, because its tracer does not move. Allocates nothing.
fn killed(stat: &[u8]) -> bool {
    const PF_SIGNALED: u32 = 0x400;
    let after = stat.iter().rposition(|&byte| byte == b')').map_or(0, |at| at + 2);
    let flags = stat.get(after..).unwrap_or_default().split(|&byte| byte == b' ').nth(6).unwrap_or_default();
    let flags = flags
        .iter()
        .fold(0u32, |flags, digit| flags.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0'))));
    flags & PF_SIGNALED != 0
}

/// Whether a status file tells of a pending SIGCONT, or of a process that has ended. Allocates nothing.
fn continued_or_gone(status: &[u8]) -> bool {
    if status.is_empty() {
        return true;
    }
    for line in status.split(|&byte| byte == b'\n') {
        if let Some(state) = line.strip_prefix(b"State:\t") {
            if matches!(state.first(), Some(b'Z' | b'X')) {
                return true;
            }
        } else if let Some(mask) = line.strip_prefix(b"ShdPnd:\t") {
            let mask = mask
                .iter()
                .fold(0u64, |mask, &digit| mask << 4 | u64::from(char::from(digit).to_digit(16).unwrap_or(0)));
            return mask & (1 << (libc::SIGCONT - 1)) != 0;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{continued_or_gone, killed};

    #[test]
    fn waker_reads_status() {
        assert!(continued_or_gone(b""));
        assert!(
            killed(b"7 (a) b) t 1 7 9 0 -1 4195332 0 0")
                && !killed(b"7 (a) b) t 1 7 9 0 -1 4194304 0 0")
                && !killed(b"")
        );
        assert!(continued_or_gone(b"Name:\tx\nState:\tZ (zombie)\n"));
        assert!(!continued_or_gone(b"Name:\tx\nState:\tt (tracing stop)\nShdPnd:\t0000000000000000\n"));
        assert!(continued_or_gone(b"State:\tt (tracing stop)\nShdPnd:\t0000000000020000\nSigBlk:\t0\n"));
    }
}
