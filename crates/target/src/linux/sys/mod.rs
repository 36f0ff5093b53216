//! What the kernel itself keeps and does: interrupts, timers, programs of BPF, keys.

mod bpf;
mod interrupts;
mod keys;
mod timers;

pub use bpf::{BpfMap, BpfProgram};
pub use interrupts::Interrupt;
pub use keys::Key;
pub use timers::Timer;
