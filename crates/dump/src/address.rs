//! Kinds of address as types, so that one can never be taken for another.
//!
//! *Example*: a [`Virt`] indexes a process's memory, a [`FileOffset`] a file; `Memory<Virt>` refuses a `FileOffset`.
//!
//! *Trap*: an address found on a stack points *behind* the call. [`CodeAddr::lookup`] is the one place that subtracts.

use std::fmt;

/// A place in some address space: 64 bits, ordered, with overflow-safe arithmetic.
pub trait Address: Copy + Ord + Eq + fmt::Debug + fmt::LowerHex + Send + Sync + 'static {
    /// Wraps a raw number.
    fn new(raw: u64) -> Self;
    /// The raw number.
    fn raw(self) -> u64;
    /// The address `bytes` further on, or `None` past the end of the address space.
    fn checked_add(self, bytes: u64) -> Option<Self> {
        self.raw().checked_add(bytes).map(Self::new)
    }
}

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl Address for $name {
            fn new(raw: u64) -> Self {
                Self(raw)
            }
            fn raw(self) -> u64 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// An address in the machine's physical memory.
    Phys
}
address! {
    /// An address as the process or the kernel saw it.
    Virt
}
address! {
    /// A byte position in a file.
    FileOffset
}
address! {
    /// An address as a module's own file states it (ELF `p_vaddr`, PE RVA): what symbol tables and debug information use.
    ModuleOffset
}

/// A code address, and whether it is the very instruction or the place to which a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodeAddr {
    /// The instruction that was about to run: a program counter from a register set or a signal frame.
    Exact(Virt),
    /// A return address: the instruction *after* the call, which may already belong to another line or function.
    Return(Virt),
}

impl CodeAddr {
    /// The address as it stood in the register or on the stack.
    #[must_use]
    pub fn address(self) -> Virt {
        match self {
            Self::Exact(at) | Self::Return(at) => at,
        }
    }

    /// The address to look up in symbol, line and unwind tables: one byte back inside the call for a return address.
    #[must_use]
    pub fn lookup(self) -> Virt {
        match self {
            Self::Exact(at) => at,
            Self::Return(at) => Virt(at.0.saturating_sub(1)),
        }
    }
}
