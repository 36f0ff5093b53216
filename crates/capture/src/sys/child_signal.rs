//! SIGCHLD as something to poll for: a tracer that also waits for files and clocks cannot sit in `waitid`.
//!
//! *What it is not*: it tells that something may have happened to a child or tracee, not what, nor to which.
//!
//! *Example*: poll its descriptor beside all else; when it is readable, [`ChildSignal::clear`] it and then take
//! every change with `peek_event(true)`.
//!
//! *Trap*: clear first, take changes then. The other way round a change between the two would never be noticed.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Users at the same time.
const SLOTS: usize = 32;

/// Event descriptors, made when first needed and then kept for ever: the handler may use one at any moment.
static FDS: [AtomicI32; SLOTS] = [const { AtomicI32::new(-1) }; SLOTS];
static IN_USE: [AtomicBool; SLOTS] = [const { AtomicBool::new(false) }; SLOTS];

/// The host program's own handler, called after ours, and whether it wants the signal's information.
static HOST_HANDLER: AtomicUsize = AtomicUsize::new(0);
static HOST_WANTS_INFO: AtomicBool = AtomicBool::new(false);

/// How many use the handler, and what was there before.
static INSTALLED: Mutex<(usize, Option<libc::sigaction>)> = Mutex::new((0, None));

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: __errno_location gives this thread's errno, which a handler must leave as it was; write is
    // async-signal-safe, the descriptors are never closed, and the host's handler is called as the kernel would have.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        for (fd, in_use) in FDS.iter().zip(&IN_USE) {
            if in_use.load(Ordering::Relaxed) {
                let one = 1u64;
                libc::write(fd.load(Ordering::Relaxed), (&raw const one).cast(), 8);
            }
        }
        let host = HOST_HANDLER.load(Ordering::Relaxed);
        if host > libc::SIG_IGN {
            if HOST_WANTS_INFO.load(Ordering::Relaxed) {
                type Full = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                std::mem::transmute::<usize, Full>(host)(signal, info, context);
            } else {
                std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(host)(signal);
            }
        }
        *errno = saved;
    }
}

/// A share in the handler of SIGCHLD; the last one dropped puts the host program's disposition back.
pub(crate) struct ChildSignal {
    slot: usize,
}

impl ChildSignal {
    pub(crate) fn new() -> io::Result<Self> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = IN_USE.iter().position(|in_use| !in_use.load(Ordering::Relaxed));
        let slot = slot.ok_or_else(|| io::Error::other("too many watchers in one process"))?;
        let fd = FDS.get(slot).ok_or(io::ErrorKind::InvalidInput)?;
        if fd.load(Ordering::Relaxed) < 0 {
            let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
            fd.store(rustix::event::eventfd(0, flags)?.into_raw_fd(), Ordering::Relaxed);
        }
        if installed.0 == 0 {
            installed.1 = Some(install()?);
        }
        installed.0 += 1;
        if let Some(in_use) = IN_USE.get(slot) {
            in_use.store(true, Ordering::Relaxed);
        }
        Ok(Self { slot })
    }

    /// Makes the descriptor unreadable until the next signal.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(self.as_fd(), &mut [0u8; 8]);
    }
}

impl AsFd for ChildSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = FDS.get(self.slot).map_or(-1, |fd| fd.load(Ordering::Relaxed)).max(0);
        // SAFETY: `new` has filled the slot with a descriptor that is never closed.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

impl Drop for ChildSignal {
    fn drop(&mut self) {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(in_use) = IN_USE.get(self.slot) {
            in_use.store(false, Ordering::Relaxed);
        }
        self.clear();
        installed.0 = installed.0.saturating_sub(1);
        if installed.0 == 0
            && let Some(old) = installed.1.take()
        {
            // SAFETY: `old` is what sigaction gave us for this very signal.
            unsafe { libc::sigaction(libc::SIGCHLD, &raw const old, std::ptr::null_mut()) };
        }
    }
}

/// Installs our handler; gives the former disposition.
fn install() -> io::Result<libc::sigaction> {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the first call only asks; sigaction fills `old` when it returns 0, and zeros are a valid value, too. `new`
    // is a whole sigaction whose handler does only async-signal-safe work.
    unsafe {
        super::check(libc::sigaction(libc::SIGCHLD, std::ptr::null(), old.as_mut_ptr()).into())?;
        let old = old.assume_init();
        HOST_HANDLER.store(old.sa_sigaction, Ordering::Relaxed);
        HOST_WANTS_INFO.store(old.sa_flags & libc::SA_SIGINFO != 0, Ordering::Relaxed);
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler as *const () as usize;
        // Not SA_NOCLDSTOP, whatever the host has: stops are what a tracer waits for.
        new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        super::check(libc::sigaction(libc::SIGCHLD, &raw const new, std::ptr::null_mut()).into())?;
        Ok(old)
    }
}
