//! Dumps of whole machines, one folder or file for each container.
//!
//! *What it is*: readers that make a [`crate::Machine`] of a file: which pages of physical memory lie where in it, and the
//! states of the processors.
//!
//! *Trap*: a machine has terabytes. No reader goes through all pages when it opens a file; what must be looked through is
//! looked through when a page is first asked for, and the budget counts every table.

pub(crate) mod avml;
mod cache;
pub(crate) mod flattened;
pub(crate) mod freebsd;
pub mod kdump;
pub(crate) mod lime;
mod linux;
pub(crate) mod lkcd;
mod machine_dump;
mod machine_name;
pub(crate) mod macos_kernel;
pub mod microvm;
pub(crate) mod opening;
pub(crate) mod qemu;
pub(crate) mod ranked;
pub(crate) mod ranks;
pub(crate) mod raw;
mod raw_base;
pub(crate) mod sadump;
pub(crate) mod signs;
pub(crate) mod stretches;
pub mod vmcoreinfo;
pub mod vmware;
pub mod windows;
pub(crate) mod xen;

pub(crate) use cache::BlockCache;
pub(crate) use linux::{linux_facts, system_name};
pub(crate) use machine_dump::{machine_dump, named_registers};
pub(crate) use signs::look_into;

/// Opens a source as a raw image, whatever it looks like: its byte N is the byte of physical address N.
#[must_use]
pub fn open_raw(source: crate::source::SharedSource) -> crate::Dump {
    raw::image(source)
}
