//! What call-frame information is worked out against (a thread at one frame), and what comes out of one step.
//!
//! Not here: how tables are found (`cfi`, `breakpad`), or what an unwinder does when they fail.
//!
//! ```
//! use afterimage_symbols::Machine;
//! struct Nothing;
//! impl Machine for Nothing {
//!     fn register(&self, _dwarf: u16) -> Option<u64> { None }
//!     fn read(&self, _address: u64, _size: usize) -> Option<u64> { None }
//!     fn bias(&self) -> u64 { 0 }
//! }
//! assert_eq!(Nothing.strip_pointer(7), 7);
//! ```
//!
//! Trap: registers and memory are in run-time addresses, lookups in the module's own; `bias` is the difference.

use std::fmt;

/// One frame of one thread, as far as it is known: registers and memory.
pub trait Machine {
    /// The value of a register in this frame, by its DWARF number; `None` if it is not known.
    /// The number of the program counter (16 on x86-64, 8 on x86) need not be answered.
    fn register(&self, dwarf: u16) -> Option<u64>;
    /// Reads `size` bytes (1 to 8) at a run-time address as an unsigned number in the target's byte order.
    fn read(&self, address: u64, size: usize) -> Option<u64>;
    /// Run-time address minus the module's own address.
    fn bias(&self) -> u64;
    /// Takes authentication bits (aarch64 PAC) out of a code pointer.
    fn strip_pointer(&self, value: u64) -> u64 {
        value
    }
    /// Bytes of arguments that the function called from this frame takes off the stack itself (stdcall):
    /// [`Step::parameter_size`] of the step that led to this frame. Only 32-bit Windows needs it.
    fn callee_parameter_size(&self) -> u64 {
        0
    }
    /// Whether the frame's address is that of the instruction about to run, and not a return address: only such a frame
    /// can be a leaf, or in an epilogue.
    fn is_innermost(&self) -> bool {
        false
    }
}

/// Which table gave the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CfiSource {
    /// `.eh_frame` of the loaded file or of a memory image.
    EhFrame,
    /// `.debug_frame` of the loaded file or of its debug file.
    DebugFrame,
    /// `STACK CFI` records of a Breakpad symbol file.
    Breakpad,
    /// `STACK WIN` records of a Breakpad symbol file.
    BreakpadWin,
    /// Windows' unwind data: `.pdata` and what it points at.
    Pdata,
    /// Frame data of a PDB (32-bit Windows).
    Pdb,
}

impl fmt::Display for CfiSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CfiSource::EhFrame => "eh_frame",
            CfiSource::DebugFrame => "debug_frame",
            CfiSource::Breakpad => "breakpad cfi",
            CfiSource::BreakpadWin => "breakpad win",
            CfiSource::Pdata => "pdata",
            CfiSource::Pdb => "pdb frame data",
        })
    }
}

/// The caller's state, as one row of call-frame information says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Canonical frame address (run-time). It is the caller's stack pointer unless `registers` has a rule for that.
    pub cfa: u64,
    /// Every register that the row has a rule for, in rising DWARF number, with its value in the caller.
    /// `None`: the row says that it is lost, or the place where it was saved cannot be read.
    /// Registers that are not listed keep their value, as far as the ABI says so.
    pub registers: Vec<(u16, Option<u64>)>,
    /// DWARF number of the column that holds the return address.
    pub return_register: u16,
    /// The frame is a signal trampoline: the caller's program counter is exact, not a return address.
    pub signal_frame: bool,
    /// The row says that there is no caller.
    pub outermost: bool,
    /// Which table gave the rule.
    pub source: CfiSource,
    /// Where the range that the rule belongs to begins (the module's own address).
    pub function_start: Option<u64>,
    /// Bytes of arguments that this frame's function takes off the stack itself; 0 except on 32-bit Windows.
    pub parameter_size: u32,
}

impl Step {
    /// The value of a register in the caller, if the row has a rule for it and it could be worked out.
    pub fn register(&self, dwarf: u16) -> Option<u64> {
        self.registers.iter().find(|(number, _)| *number == dwarf).and_then(|(_, value)| *value)
    }

    /// Where the caller goes on (run-time), if the row has a rule for the return address.
    pub fn return_address(&self) -> Option<u64> {
        self.register(self.return_register)
    }
}

/// Why call-frame information did not give the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CfiMiss {
    /// The module has no unwind tables at hand.
    #[error("the module has no unwind tables")]
    NoTables,
    /// The tables say nothing of this address.
    #[error("the unwind tables do not cover the address")]
    NotCovered,
    /// The rule needs memory that is not in the dump.
    #[error("the unwind rule needs memory at {address:#x}, which cannot be read")]
    Unreadable {
        /// Run-time address.
        address: u64,
    },
    /// The rule needs a register whose value is not known in this frame.
    #[error("the unwind rule needs register {dwarf} (dwarf number), which is not known here")]
    UnknownRegister {
        /// DWARF number.
        dwarf: u16,
    },
    /// The tables are broken.
    #[error("the unwind tables are broken: {0}")]
    Malformed(String),
    /// The rule uses something that makes no sense for unwinding (thread-local storage, another entity's value …).
    #[error("the unwind rule cannot be worked out: {0}")]
    Unsupported(String),
}
