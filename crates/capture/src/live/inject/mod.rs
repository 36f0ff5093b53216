//! System calls made by a stopped thread of another process, such that the process survives our death at any instant.
//!
//! *What it is*: [`Remote`] borrows one stopped thread: its registers are set for a call, it runs through the kernel
//! from one system-call stop to the next, and at the end everything is as it was, a system call that the stop had
//! interrupted included.
//!
//! *What it is not*: it writes no code. It uses two pieces of code that are in every C library: `syscall; ret`, and
//! the few bytes that return from a signal handler.
//!
//! *Example*: `let mut remote = Remote::begin(…)?; let id = remote.call(SYS_getpid, [0; 6], remote.home())?; remote.end()?`.
//!
//! # If we die meanwhile
//! Then the kernel lets the thread go on with whatever registers it has: it finishes the call and executes `ret`. What
//! it pops there is not the program's: in pages of its stack that were never touched stand *ways home*
//! ([`ways`]), each the address of the return-from-signal code and a signal frame. The thread "returns" from signals
//! that never were, through as many calls as its way has (closing a descriptor, waiting for a child), until the last
//! frame brings back the original registers, floating point and signal mask. A child that was made returns to a way
//! that ends it.
//!
//! *Trap*: what is not touched is not free. Only a main thread's stack and stacks with a guard page below are used; other
//! memory that was never written to may be relied on to be zero.
// Elsewhere no call is ever made, and much of this has no use.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

#[cfg(target_arch = "x86_64")]
mod gadgets;
#[cfg(not(target_arch = "x86_64"))]
mod other;
#[cfg(target_arch = "x86_64")]
pub(crate) mod registers;
#[cfg(target_arch = "x86_64")]
mod remote;
pub(crate) mod seccomp;
#[cfg(target_arch = "x86_64")]
mod ways;

#[cfg(target_arch = "x86_64")]
pub(super) use gadgets::Gadgets;
#[cfg(target_arch = "x86_64")]
pub(super) use remote::{Remote, Room, WAIT_ALL};

#[cfg(not(target_arch = "x86_64"))]
pub(super) use other::{Gadgets, Remote, Room, WAIT_ALL};

/// Why no call can be made in a process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Its processor or word size.
    #[error("calls cannot be made in a process of this kind of processor")]
    Processor,
    /// No code to borrow.
    #[error("it maps no code that makes a system call and returns, and none that returns from a signal")]
    NoCode,
    /// No stack to borrow.
    #[error("none of its threads stands on a stack with room that is free for certain")]
    NoStack,
    /// Shadow stacks.
    #[error("it runs with shadow stacks, which allow no borrowed returns")]
    ShadowStack,
    /// Its seccomp filter would see the calls, and we may not suspend it.
    #[error("it has a seccomp filter, and suspending that needs CAP_SYS_ADMIN")]
    Seccomp,
    /// A call failed.
    #[error("{call} failed in it: {why}")]
    Call {
        /// Its name.
        call: &'static str,
        /// What the system said.
        why: String,
    },
    /// It runs another program now.
    #[error("it began another program meanwhile")]
    Changed,
    /// Something else about it.
    #[error("{0}")]
    Because(String),
    /// It ended, or did something unexpected.
    #[error("it went away, or did not follow")]
    Lost,
}
