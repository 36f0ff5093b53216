//! The integer registers of a stopped x86-64 thread as numbers by name.
//!
//! *Trap*: the order is that of `user_regs_struct`, not of the processor. A 32-bit process has shorter registers and
//! gives `None`.

use crate::sys::{self, Tid, tracee};
use std::io;

const NT_PRSTATUS: u32 = 1;
const COUNT: usize = 27;

/// Places in the set.
pub(crate) mod index {
    pub(crate) const R15: usize = 0;
    pub(crate) const R14: usize = 1;
    pub(crate) const R13: usize = 2;
    pub(crate) const R12: usize = 3;
    pub(crate) const RBP: usize = 4;
    pub(crate) const RBX: usize = 5;
    pub(crate) const R11: usize = 6;
    pub(crate) const R10: usize = 7;
    pub(crate) const R9: usize = 8;
    pub(crate) const R8: usize = 9;
    pub(crate) const RAX: usize = 10;
    pub(crate) const RCX: usize = 11;
    pub(crate) const RDX: usize = 12;
    pub(crate) const RSI: usize = 13;
    pub(crate) const RDI: usize = 14;
    pub(crate) const ORIG_RAX: usize = 15;
    pub(crate) const RIP: usize = 16;
    pub(crate) const CS: usize = 17;
    pub(crate) const EFLAGS: usize = 18;
    pub(crate) const RSP: usize = 19;
    pub(crate) const SS: usize = 20;
}

/// All integer registers of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers([u64; COUNT]);

impl Registers {
    /// Reads them; `None` for a thread that does not stand, or a 32-bit one.
    pub(crate) fn of(tid: Tid) -> Option<Self> {
        let bytes = sys::registers(tid, NT_PRSTATUS).ok()?;
        if bytes.len() != COUNT * 8 {
            return None;
        }
        let mut all = [0; COUNT];
        for (to, from) in all.iter_mut().zip(bytes.chunks_exact(8)) {
            *to = u64::from_ne_bytes(from.try_into().ok()?);
        }
        Some(Self(all))
    }

    /// Gives them to the thread, all at once.
    pub(crate) fn put(&self, tid: Tid) -> io::Result<()> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|value| value.to_ne_bytes()).collect();
        tracee::set_registers(tid, NT_PRSTATUS, &bytes)
    }

    /// One of them.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// Changes one.
    pub(crate) fn set(&mut self, index: usize, value: u64) {
        if let Some(place) = self.0.get_mut(index) {
            *place = value;
        }
    }
}
