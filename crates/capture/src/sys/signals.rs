//! Handlers that write each signal's `siginfo_t` into a pipe, and sending signals.

use super::{RawSiginfo, Tid};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Bytes of a `siginfo_t` on every Linux.
pub(crate) const SIGINFO_LEN: usize = 128;

/// Where handlers write; -1 while none is installed.
static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn handler(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let fd = PIPE.load(Ordering::Relaxed);
    if fd < 0 {
        return;
    }
    // SAFETY: __errno_location gives this thread's errno, which a handler must leave as it was; `info` points to a
    // whole siginfo_t for the time of the call (SA_SIGINFO); write is async-signal-safe, and the pipe does not block.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::write(fd, info.cast(), SIGINFO_LEN);
        *errno = saved;
    }
}

/// Installed handlers; dropping them restores what was there.
pub(crate) struct Handlers {
    previous: Vec<(i32, libc::sigaction)>,
}

impl Handlers {
    /// Installs the handler for each signal that is not ignored: what was ignored stays so, also for children.
    pub(crate) fn install(signals: &[i32], pipe: BorrowedFd<'_>) -> Self {
        PIPE.store(pipe.as_raw_fd(), Ordering::Relaxed);
        let mut previous = Vec::new();
        for &signal in signals {
            let mut old = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: asks for the disposition only; sigaction fills `old` when it returns 0, and zeros are valid too.
            let old = unsafe {
                if libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) != 0 {
                    continue;
                }
                old.assume_init()
            };
            if old.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            // SAFETY: all zeros is a valid sigaction (SIG_DFL, no flags, empty mask).
            let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
            new.sa_sigaction = handler as *const () as usize;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            // SAFETY: `new` is a whole sigaction whose handler does only async-signal-safe work.
            if unsafe { libc::sigaction(signal, &raw const new, std::ptr::null_mut()) } == 0 {
                previous.push((signal, old));
            }
        }
        Self { previous }
    }

    /// The signals that have our handler.
    pub(crate) fn signals(&self) -> Vec<i32> {
        self.previous.iter().map(|(signal, _)| *signal).collect()
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        for (signal, old) in &self.previous {
            // SAFETY: `old` is what sigaction gave us for this very signal.
            unsafe { libc::sigaction(*signal, &raw const *old, std::ptr::null_mut()) };
        }
        PIPE.store(-1, Ordering::Relaxed);
    }
}

/// Real-time signals that programs may use.
pub(crate) fn realtime_range() -> std::ops::RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// Sends a signal to the process behind a pidfd, with the given information or as our own.
pub(crate) fn send_to_pidfd(pidfd: impl AsFd, signal: i32, info: Option<&RawSiginfo>) -> io::Result<()> {
    let pointer = info.map_or(std::ptr::null(), |info| info.as_ptr());
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the kernel reads one siginfo_t (128 bytes, by copy, any alignment) or nothing for null.
    super::check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, pointer, 0) }).map(drop)
}

/// Whether the calling process leads its session.
///
/// Folklore: in a PID namespace whose session began outside (`docker exec`, `unshare --pid`) the session's id is 0,
/// which rustix 1.1 asserts never to see.
pub(crate) fn leads_session() -> bool {
    // SAFETY: a system call without pointers.
    unsafe { libc::getsid(0) == own_pid() }
}

/// Makes a write past the limit of file sizes (RLIMIT_FSIZE) an error of that write instead of this process's death.
pub(crate) fn ignore_file_size_signal() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Stops this whole process, this thread before it does anything else. A SIGSTOP by `kill` to our own process could
/// be taken by another thread, and this one would run on for a while.
pub(crate) fn stop_self() {
    // SAFETY: raise sends to the calling thread; SIGSTOP runs no code of ours.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// All signals blocked for this thread until dropped: no handler may run in a child between fork and exec, and Ctrl-C
/// may not end us between two steps that belong together.
pub(crate) struct AllBlocked {
    previous: libc::sigset_t,
    /// The mask is the thread's.
    _here: PhantomData<*const ()>,
}

impl AllBlocked {
    pub(crate) fn new() -> Self {
        // SAFETY: sigset_t is plain data; sigfillset and pthread_sigmask only write the sets that are passed.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut previous = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut previous);
            Self { previous, _here: PhantomData }
        }
    }

    /// Puts the mask back; also allowed in a forked child.
    pub(super) fn restore(&self) {
        // SAFETY: `previous` was filled by pthread_sigmask; the call is async-signal-safe.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.previous, std::ptr::null_mut()) };
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        self.restore();
    }
}

/// What the process was given before Rust's runtime changed it (it ignores SIGPIPE and fills closed streams).
pub(super) mod at_start {
    use super::{AtomicI32, MaybeUninit, Ordering};

    static SIGPIPE_IGNORED: AtomicI32 = AtomicI32::new(0);
    static CLOSED_STREAMS: AtomicI32 = AtomicI32::new(0);

    extern "C" fn record() {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: asks for the disposition only, and for the flags of three descriptors; both are allowed this early.
        unsafe {
            if libc::sigaction(libc::SIGPIPE, std::ptr::null(), old.as_mut_ptr()) == 0 {
                let ignored = old.assume_init().sa_sigaction == libc::SIG_IGN;
                SIGPIPE_IGNORED.store(i32::from(ignored), Ordering::Relaxed);
            }
            for fd in 0..3 {
                if libc::fcntl(fd, libc::F_GETFD) == -1 {
                    CLOSED_STREAMS.fetch_or(1 << fd, Ordering::Relaxed);
                }
            }
        }
    }

    // SAFETY: an entry of .init_array is a function without arguments that needs nothing from Rust's runtime: `record`
    // only makes system calls and stores into atomics.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static RECORD: extern "C" fn() = record;

    pub(crate) fn sigpipe_ignored() -> bool {
        SIGPIPE_IGNORED.load(Ordering::Relaxed) != 0
    }

    /// Whether standard stream `fd` was closed.
    pub(crate) fn closed(fd: i32) -> bool {
        CLOSED_STREAMS.load(Ordering::Relaxed) & (1 << fd) != 0
    }
}

/// Default disposition for these signals; only for a forked child.
///
/// # Safety
/// Changes the dispositions of the calling process.
pub(super) unsafe fn set_default(signals: &[i32]) {
    for &signal in signals {
        // SAFETY: all zeros is SIG_DFL; async-signal-safe.
        unsafe {
            let new: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, &raw const new, std::ptr::null_mut());
        }
    }
}

/// The calling process's id, as `kill` and `si_pid` have it.
pub(crate) fn own_pid() -> Tid {
    rustix::process::getpid().as_raw_nonzero().get()
}
