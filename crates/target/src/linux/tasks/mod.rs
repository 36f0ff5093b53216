//! Processes and threads: who they are, and what their memory holds.

mod calls;
mod core;
mod core_notes;
mod history;
mod memory;
mod process;
mod regions;
mod registers;
mod standing;
mod target;
mod threads;
mod tree;
mod usage;

pub use core::ProcessCore;
pub use history::HistoryLine;
pub use memory::{MemoryPiece, PieceState, ProcessMemory};
pub use process::Process;
pub use regions::{ProcessRegion, Variable};
pub use registers::{RegisterSource, UserRegisters};
pub use standing::{NAMESPACES, Standing};
pub use target::ProcessTarget;
pub use threads::Thread;
pub use tree::TreeNode;
pub use usage::MemoryUse;
