//! ORC: how an x86 kernel says where the caller of each of its instructions is
//! (arch/x86/include/asm/orc_types.h, arch/x86/kernel/unwind_orc.c).
//!
//! *What it is*: the lookup of an address in one table (the kernel's or a module's), and one step from a frame to its
//! caller. Memory comes through [`KernelBytes`].
//!
//! *What it is not*: a walk. Whoever calls knows the stacks, has the tables, and decides when to stop.
//!
//! *Trap*: the entry's six bytes have changed their meaning three times without a number that says so. A hash stands in
//! `__start_orc_header` since 6.4; without it the entries themselves tell. A return address belongs to the instruction
//! before it, the address in a register dump to its own: [`OrcState::lookup`] knows which one it is.

mod entry;
mod step;
mod table;
#[cfg(test)]
mod tests;

pub use entry::{OrcEntry, OrcRegister, OrcType, OrcVersion};
pub use step::{OrcState, OrcStop, PtRegs};
pub use table::OrcTable;

/// Bytes of kernel memory by virtual address.
pub trait KernelBytes {
    /// Copies bytes from `at` on and gives how many lie there without a gap, at most `buf.len()`.
    fn read(&self, at: u64, buf: &mut [u8]) -> usize;

    /// The 64-bit number at `at`.
    fn word(&self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read(at, &mut bytes) == 8).then(|| u64::from_le_bytes(bytes))
    }
}
