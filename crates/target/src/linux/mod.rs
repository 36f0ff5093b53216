//! A Linux kernel understood from its memory alone: symbols, types, page tables, and what they lead to.
//!
//! *What it is*: [`Linux::open`] finds the kernel in a machine's memory with what it carries in itself (kallsyms, BTF);
//! the files beside this one walk its structures. No symbol file is asked for.
//!
//! *What it is not*: a guess. Every step has a proof (the tables of tokens prove each other, the page tables must lead back
//! to the kernel's own text), and what cannot be proved is missing, with its reason.
//!
//! *Trap*: structures differ from build to build. Every offset comes from the kernel's own BTF; a member that a kernel does
//! not have leads to the older or newer way round, never to a constant.

mod cache;
mod choose;
mod code;
mod entry;
mod export;
mod files;
mod find;
mod kernel;
mod lines;
mod log;
mod log_records;
mod memory;
mod modules;
mod net;
mod panicked;
mod place;
#[cfg(test)]
mod place_tests;
mod purse;
mod records;
mod rescue;
mod stack;
mod sys;
mod taint;
mod tasks;
mod trouble;
mod values;
mod walk;

pub use cache::{CachedFile, FileRun, PageState};
pub use export::{ExportError, IsfSummary, MapForm, MapSummary, ModuleBtf};
pub use files::{Mount, OpenFile};
pub use kernel::Linux;
pub use lines::KernelLines;
pub use log::LogLine;
pub use memory::{MemoryAmount, MemoryZone, SlabCache};
pub use modules::{KernelModule, ModuleSection};
pub use net::{Neighbour, NetworkInterface, Route, Socket, SocketHolder};
pub use stack::{KernelFrame, KernelStack, KernelTrust};
pub use sys::{BpfMap, BpfProgram, Interrupt, Key, Timer};
pub use taint::{taint_letters, taint_words};
pub use tasks::{
    HistoryLine, MemoryPiece, MemoryUse, NAMESPACES, PieceState, Process, ProcessCore, ProcessMemory, ProcessRegion,
    ProcessTarget, RegisterSource, Standing, Thread, TreeNode, UserRegisters, Variable,
};
pub use trouble::{BlockedTask, Holder, Lock, Oops};
