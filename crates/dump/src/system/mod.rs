//! Dumps of whole machines, one folder or file for each container.
//!
//! *What it is*: readers that make a [`crate::Machine`] of a file: which pages of physical memory lie where in it, and the
//! states of the processors.
//!
//! *Trap*: a machine has terabytes. No reader goes through all pages when it opens a file; what must be looked through is
//! looked through when a page is first asked for, and the budget counts every table.

mod cache;
mod machine_dump;
pub mod windows;

#[allow(unused_imports)]
pub(crate) use cache::BlockCache;
#[allow(unused_imports)]
pub(crate) use machine_dump::{machine_dump, named_registers};
