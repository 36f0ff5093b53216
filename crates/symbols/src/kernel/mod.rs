//! What a Linux kernel carries in itself: its symbols (kallsyms), its types (BTF), and how to unwind
//! its stacks (ORC).
//!
//! *What it is*: parsers that work on the memory of a machine, with no file and no hint but a place to look at.
//!
//! *What it is not*: it walks no page tables and knows no task; whoever calls brings bytes by physical address.
//!
//! *Trap*: a kernel's image lies in one piece of physical memory, so its tables may be read from there before any page
//! table is known. Copies of them (a boot image that was not overwritten) fail the proofs, which every step has.

mod btf;
mod exports;
mod kallsyms;
#[cfg(test)]
mod kallsyms_tests;
mod orc;

pub use btf::{Btf, BtfKind, Member, TypeId, find_btf};
pub use exports::exports;
pub use kallsyms::{DIGITS, Kallsyms, KallsymsError, KernelSymbol};
pub use orc::{KernelBytes, OrcEntry, OrcRegister, OrcState, OrcStop, OrcTable, OrcType, OrcVersion, PtRegs};

/// Bytes by physical address.
pub trait PhysBytes {
    /// Copies bytes from `at` on and gives how many lie there without a gap, at most `buf.len()`.
    fn read(&self, at: u64, buf: &mut [u8]) -> usize;
}

/// `len` bytes from `at` on, or as many as there are.
fn bytes(memory: &dyn PhysBytes, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let got = memory.read(at, &mut bytes);
    bytes.truncate(got);
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|b| u64::from_le_bytes(*b))
}
