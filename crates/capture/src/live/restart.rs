//! Keeping a stop out of sight of the few system calls that would tell of it.
//!
//! *What it is*: most calls that a stop interrupts go on by themselves afterwards. Some give EINTR instead, although
//! no signal was there (signal(7), "Interruption of system calls … by stop signals"): `epoll_wait`, `semop`,
//! `io_getevents`, `rt_sigtimedwait`. Where such a call waits without a time-out it is made to go on as well.
//!
//! *Trap*: rewinding the program counter would be wrong: a signal that arrives during the stop must still end the call
//! with EINTR after its handler, or a program that waits for just that would wait for ever. The kernel's own code
//! -ERESTARTNOHAND says exactly this: go on if no handler runs, else EINTR.

use crate::sys::Tid;

/// Makes a call that our stop alone has interrupted go on afterwards.
#[cfg(target_arch = "x86_64")]
pub(super) fn restart_quietly(tid: Tid) {
    use super::inject::registers::{Registers, index};
    const EINTR: i64 = -4;
    const ERESTARTNOHAND: i64 = -514;
    let Some(mut registers) = Registers::of(tid) else { return };
    if registers.get(index::RAX) as i64 != EINTR {
        return;
    }
    let number = registers.get(index::ORIG_RAX) as i64;
    let (third, fourth, fifth) = (registers.get(index::RDX), registers.get(index::R10), registers.get(index::R8));
    let endless = match number {
        // epoll_wait and epoll_pwait: a negative time-out in milliseconds.
        232 | 281 => (fourth as i32) < 0,
        // epoll_pwait2, semtimedop: no time-out given.
        441 | 220 => fourth == 0,
        // semop.
        65 => true,
        // io_getevents.
        208 => fifth == 0,
        // io_uring_enter without the extended argument, which alone has a time-out.
        426 => fourth & 8 == 0,
        // rt_sigtimedwait.
        128 => third == 0,
        _ => false,
    };
    if endless {
        registers.set(index::RAX, ERESTARTNOHAND as u64);
        let _ = registers.put(tid);
    }
}

/// Other processors' registers are not changed: their programs see EINTR, as after SIGSTOP and SIGCONT.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn restart_quietly(_tid: Tid) {}
