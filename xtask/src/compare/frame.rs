//! What is compared: the frames of one thread, as one tool shows them, and where a process has code.
//!
//! It knows no tool. For example the stack `#0 0x401126 in read_field, #1 main` is two [`Frame`]s.
//!
//! Trap: a debugger leaves the address out where an inlined call's statement begins; such a frame has no address.

use std::ops::Range;

/// Frames of a thread that are compared; debuggers take their time over a deep recursion.
pub const MOST: usize = 500;

/// One line of a stack, also of an inlined function.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Frame {
    /// The address, if it is shown.
    pub pc: Option<u64>,
    /// The function, if it is known.
    pub name: Option<String>,
    /// Whether it was found by looking through the stack for anything like a return address.
    pub guessed: bool,
    /// Whether the tool says that the frame is the kernel's, for a signal handler.
    pub signal: bool,
    /// Whether the tool says that it was found by unwind tables.
    pub by_tables: bool,
    /// Whether the tool says that it was found without: by a frame pointer, or by looking through the stack.
    pub without_tables: bool,
}

/// The stack of one thread.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// Thread id.
    pub tid: u32,
    /// Frames, innermost first.
    pub frames: Vec<Frame>,
    /// Whether the tool says that the outermost frame is the thread's first; not all tools say so.
    pub whole: bool,
}

/// Where a process has code.
#[derive(Debug, Default)]
pub struct Code {
    /// Modules: addresses, and the file that stands for them.
    pub modules: Vec<(Range<u64>, Option<String>)>,
    /// Memory that may be executed, where the dump says so of any.
    pub executable: Vec<Range<u64>>,
    /// Memory that may not be executed, or is not mapped at all: all else, if this is set.
    pub complete: bool,
}

impl Code {
    /// Whether no code can lie there: memory that is known to be no code, or no memory of any module.
    pub fn impossible(&self, at: u64) -> bool {
        // A return address may be the first byte behind a function, and so behind a mapping.
        let holds = |range: &Range<u64>| range.contains(&at) || range.contains(&at.wrapping_sub(1));
        let executable = self.executable.iter().any(holds);
        let in_module = self.modules.iter().any(|(range, _)| holds(range));
        if self.complete { !executable } else { !executable && !in_module }
    }

    /// The file of the module at an address.
    pub fn file(&self, at: u64) -> Option<&str> {
        self.modules.iter().find(|(range, _)| range.contains(&at)).and_then(|(_, file)| file.as_deref())
    }
}

/// A hexadecimal number, with or without `0x`.
pub fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}
