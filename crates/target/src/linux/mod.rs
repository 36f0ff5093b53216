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

mod code;
mod files;
mod find;
mod kernel;
mod log;
mod modules;
mod mounts;
mod path;
mod process;
mod regions;
mod sockets;
mod stack;
mod threads;
mod values;

pub use files::OpenFile;
pub use kernel::Linux;
pub use log::LogLine;
pub use modules::KernelModule;
pub use mounts::Mount;
pub use process::Process;
pub use regions::{ProcessRegion, Variable};
pub use sockets::Socket;
pub use stack::{KernelFrame, KernelStack, KernelTrust};
pub use threads::Thread;
