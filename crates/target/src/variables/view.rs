//! A frame as location expressions see it: its registers, its address, memory, and what its callers can tell.
//!
//! *What it is not*: it finds no frames; `process` and `kernel` make the list of spots from stacks that are known.
//!
//! *Trap*: what a caller passed is in the caller's registers *as they were at the call*, and that caller may have its own
//! only from its caller. Such questions go so many frames deep and no further.

use afterimage_dump::{Endian, Memory, MemoryExt, Registers, Virt};
use afterimage_symbols::{Activation, Callee, Machine, ModuleSymbols};

/// Callers that one value may be asked from.
pub(super) const DEEPEST: usize = 6;

/// One frame.
pub(super) struct Spot<'t> {
    /// Where it goes on, if it was called from the next one; `None` where it was interrupted.
    pub(super) back: Option<u64>,
    pub(super) registers: Registers,
    /// The canonical frame address.
    pub(super) cfa: Option<u64>,
    /// Its module's symbols, and run-time addresses minus the module's own.
    pub(super) symbols: Option<(&'t ModuleSymbols, u64)>,
}

/// Memory in the order of the target.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'v> {
    pub(super) memory: &'v dyn Memory<Virt>,
    pub(super) endian: Endian,
}

impl Bytes<'_> {
    pub(super) fn number(&self, at: u64, size: usize) -> Option<u64> {
        self.memory.read_uint(Virt(at), size, self.endian).ok()
    }
}

/// A frame (the first spot) with its callers behind it.
pub(super) struct View<'v> {
    pub(super) spots: &'v [Spot<'v>],
    pub(super) bytes: Bytes<'v>,
    /// How many frames may still be asked.
    pub(super) depth: usize,
}

impl Machine for View<'_> {
    fn register(&self, dwarf: u16) -> Option<u64> {
        self.spots.first()?.registers.by_dwarf(dwarf)
    }

    fn read(&self, address: u64, size: usize) -> Option<u64> {
        self.bytes.number(address, size)
    }

    fn bias(&self) -> u64 {
        self.spots.first().and_then(|spot| spot.symbols).map_or(0, |(_, bias)| bias)
    }
}

impl Activation for View<'_> {
    fn cfa(&self) -> Option<u64> {
        self.spots.first()?.cfa
    }

    fn entry_value(&self, register: u16, callee: &Callee) -> Option<u64> {
        let callers = self.spots.get(1..)?;
        let caller = callers.first()?;
        let depth = self.depth.checked_sub(1)?;
        let ((symbols, bias), back) = (caller.symbols?, caller.back?);
        let view = View { spots: callers, bytes: self.bytes, depth };
        symbols.entry_value(back.wrapping_sub(bias), register, callee, &view)
    }
}
