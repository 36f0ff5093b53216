//! Stacks: from a thread's registers to its frames, each with how it was found and why the better rule failed.
//!
//! *What it is not*: it names no functions ([`Target::locate`] does), and it says nothing of why a program died.
//!
//! *Example*: `target.stack(0).frames` of a call through a null pointer begins with address 0 (`context`), then the
//! caller with all its registers (`call_site`), then frames by unwind tables (`cfi`).
//!
//! Rules in order of trust: saved signal context, call-frame information and Windows' unwind data (`rules`), the call that has just happened,
//! the function's own instructions (`code`, `x86`, `arm64`), frame links (`links`), the scan (`scan`). `walk` puts them
//! together. To add a processor, add a table in `abi` and its calls in `callsite`.
//!
//! The stack of a Windows kernel is looked through as a whole (`kernel`).
//!
//! *Trap*: registers of a frame are those *in that frame*: what its callee may have changed is unknown there, not zero.

mod abi;
mod arm64;
mod callsite;
mod code;
mod kernel;
mod links;
mod purse;
pub(crate) mod reported;
mod rules;
mod scan;
mod signal;
#[cfg(test)]
mod tests;
mod walk;
mod window;
mod world;
mod x86;

pub(crate) use purse::Purse;

use crate::target::Target;
use afterimage_dump::{CodeAddr, Registers, Virt};
use rayon::prelude::*;

/// How a frame was found, from the surest to the weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// A report states it; there is nothing to check it by.
    Reported,
    /// The registers of the thread itself.
    Context,
    /// Registers that the kernel saved when it delivered a signal.
    SignalFrame,
    /// Call-frame information.
    Cfi,
    /// Windows' unwind data of x64 and arm64 (`.pdata`).
    UnwindData,
    /// The return address that the processor had just pushed, or left in its link register: after a call into nowhere,
    /// or at the first instruction of a function.
    CallSite,
    /// The chain of frame pointers.
    FramePointer,
    /// A word on the stack that points behind a call instruction.
    Scan,
}

impl Trust {
    /// The word that tables print.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Context => "context",
            Self::SignalFrame => "signal_frame",
            Self::Cfi => "cfi",
            Self::UnwindData => "unwind_data",
            Self::CallSite => "call_site",
            Self::FramePointer => "frame_pointer",
            Self::Scan => "scan",
        }
    }
}

/// One physical frame. Inlined functions share it: see [`Target::locate`].
#[derive(Clone, Debug)]
pub struct Frame {
    /// The code address.
    pub address: CodeAddr,
    /// All registers as they were in this frame, as far as they are known.
    pub registers: Registers,
    /// How it was found.
    pub trust: Trust,
    /// Why a better rule failed, or what else the reader should know; empty if nothing.
    pub why: String,
    /// Whether the kernel called this frame's function as a signal handler's trampoline.
    pub signal_trampoline: bool,
    /// The frame's canonical address: the caller's stack pointer, if known.
    pub cfa: Option<Virt>,
}

/// Why a stack ends where it ends.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StackEnd {
    /// The outermost frame: unwind information says so, or the entry point of a program or thread.
    Outermost,
    /// No rule gives a caller; the text says what was tried.
    Lost(String),
    /// More frames than the budget allows.
    Limit(usize),
    /// The same stack pointer and address came twice.
    Loop,
    /// There was nothing to start with (no registers in the dump).
    #[default]
    NoRegisters,
}

/// A thread's stack, innermost frame first.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// Physical frames.
    pub frames: Vec<Frame>,
    /// Why there is no further frame.
    pub end: StackEnd,
    /// Frames in the middle that were walked over but not kept, if the stack has more than the budget allows.
    pub omitted: Option<Omitted>,
}

/// A gap in [`Stack::frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Omitted {
    /// Index of the first frame behind the gap.
    pub at: usize,
    /// Frames that are missing there.
    pub frames: u64,
}

/// The registers that a caller still has when its callee returns, by the conventions of Linux.
pub(crate) fn survivors(callee: &Registers) -> Registers {
    abi::Abi::of(callee.arch(), afterimage_dump::Os::Linux).survivors(callee)
}

/// Unwinds the thread with this index. The crashed thread starts at the exception's registers.
pub(crate) fn unwind(target: &Target, index: usize) -> Stack {
    let dump = target.dump();
    let Some(thread) = dump.threads.get(index) else {
        return Stack::default();
    };
    let exception = dump.exception.as_ref().filter(|exception| exception.tid == Some(thread.tid));
    let registers = exception.and_then(|exception| exception.registers).unwrap_or(thread.registers);
    let limits = target.purse().limits(target.budget().max_frames);
    if let Some(report) = &dump.report {
        let stack = reported::stack(report, index, dump.arch, registers, limits);
        target.purse().pay(&stack);
        return stack;
    }
    let world = world::TargetWorld::new(target);
    let mut stack = walk::walk(&world, registers, limits);
    // A Windows kernel's unwind tables lie in its drivers' images: complete and kernel dumps hold those, small ones do
    // not, and seldom anybody has the files.
    let windows = dump.machine.as_ref().is_some_and(|machine| machine.stop.is_some());
    if windows && !stack.frames.iter().any(|frame| frame.trust == Trust::UnwindData) {
        stack = kernel::scan(&world, registers, limits);
    }
    // A list that grows has room for four at first: 2 KiB for each of 65 536 threads with one frame.
    stack.frames.shrink_to_fit();
    target.purse().pay(&stack);
    stack
}

/// Unwinds all threads, several at a time; [`Target::stack`] then has their stacks at hand.
pub fn unwind_all(target: &Target) {
    (0..target.dump().threads.len()).into_par_iter().for_each(|thread| {
        target.stack(thread);
    });
}
