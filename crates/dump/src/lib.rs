//! The bytes of a stopped process or machine as one memory model, whichever container they lie in.
//!
//! *What it is*: [`open`] looks at a file's content, picks the reader from [`FORMATS`], and gives a [`Dump`]:
//! memory by address, threads with registers, mapped files, the exception, and every note of the container.
//!
//! *What it is not*: it knows no symbols, no stacks and no causes; those are `afterimage-target`'s.
//!
//! ```no_run
//! use afterimage_dump::{Budget, Memory, Virt, open};
//! let dump = open(std::path::Path::new("core"), &Budget::default())?;
//! for thread in &dump.threads {
//!     println!("{} pc={:?}", thread.tid, thread.registers.pc());
//! }
//! let mut word = [0; 8];
//! let read = dump.memory.read_at(Virt(0x7fff_0000), &mut word);
//! # Ok::<(), afterimage_dump::Error>(())
//! ```
//!
//! *Trap*: memory that is missing is never zero. A read says with a [`Fault`] why a byte cannot be had; zeros come
//! only from a place that the dump itself says was zero.

mod address;
pub mod apple_report;
pub mod arch;
mod budget;
pub mod bytes;
pub mod compressed;
pub mod convert;
pub mod elf_core;
mod error;
mod formats;
mod machine;
pub mod macho;
mod memory;
pub mod minidump;
mod model;
pub mod paging;
mod registers;
mod segments;
mod signals;
pub mod source;
pub mod system;
pub mod write;

pub use address::{Address, CodeAddr, FileOffset, ModuleOffset, Phys, Virt};
pub use arch::{Arch, Endian};
pub use budget::{Budget, Exhausted, ProgressHook};
pub use error::Error;
pub use formats::{FORMATS, FormatReader, open, open_source};
pub use machine::{Cpu, Machine, PhysMemory, Sizes, SystemName};
pub use memory::{Absence, Extent, Fault, Memory, MemoryExt};
pub use model::*;
pub use registers::Registers;
pub use segments::{Backing, Segment, SegmentMemory};
pub use signals::BSD_SIGNALS;
