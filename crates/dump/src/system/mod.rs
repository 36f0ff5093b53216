//! Dumps of whole machines, one folder or file for each container.
//!
//! *What it is*: readers that make a [`crate::Machine`] of a file: which pages of physical memory lie where in it, and the
//! states of the processors.
//!
//! *Trap*: a machine has terabytes. No reader goes through all pages when it opens a file; what must be looked through is
//! looked through when a page is first asked for, and the budget counts every table.

mod cache;
pub(crate) mod freebsd;
pub(crate) mod lkcd;
mod machine_dump;
//pub(crate) mod macos_kernel;
//pub mod microvm;
pub(crate) mod opening;
pub(crate) mod qemu;
pub(crate) mod ranked;
pub(crate) mod ranks;
pub(crate) mod sadump;
pub(crate) mod stretches;
//pub mod vmware;
pub mod windows;

#[allow(unused_imports)]
pub(crate) use cache::BlockCache;
#[allow(unused_imports)]
pub(crate) use machine_dump::{machine_dump, named_registers};
