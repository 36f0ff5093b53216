//! Writing dumps: a container's layout, with the content asked for piece by piece.
//!
//! *What it is*: encoders that know file formats. *What it is not*: it knows no live process and opens no file; who
//! calls it brings the memory ([`layout::Content`]) and the place to write to.
//!
//! ```
//! use afterimage_dump::write::elf_core::{Class, Core, write};
//! use afterimage_dump::write::layout::Content;
//! struct Nothing;
//! impl Content for Nothing {
//!     fn next(&mut self, _at: u64, _end: u64) -> Option<std::ops::Range<u64>> {
//!         None
//!     }
//!     fn read(&mut self, _at: u64, _buf: &mut [u8]) -> std::io::Result<()> {
//!         Ok(())
//!     }
//! }
//! let mut file = std::io::Cursor::new(Vec::new());
//! let core = Core::new(Class::Bits64, 62, 4096);
//! write(&core, &mut file, &mut Nothing)?;
//! assert!(file.into_inner().starts_with(b"\x7fELF"));
//! # Ok::<(), afterimage_dump::write::WriteError>(())
//! ```
//!
//! *Trap*: what comes out is whole only when the writer has returned `Ok`. Write to a temporary name and rename.

mod content;
pub(crate) mod cut;
pub mod elf_core;
pub mod image;
pub mod layout;
pub(crate) mod link_map;
pub mod minidump;
pub mod notes;
pub(crate) mod pen;
pub mod seekable;
pub(crate) mod small;

pub use content::DumpMemory;

/// Why a dump could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output refused.
    #[error("cannot write {what}: {source}")]
    Output {
        /// Which part of the dump.
        what: &'static str,
        /// What the system said; `StorageFull` is a full disk.
        source: std::io::Error,
    },
    /// The memory could not be read any more at all (single unreadable pages are no error).
    #[error("cannot read memory at {at:#x}: {source}")]
    Content {
        /// First address of the piece.
        at: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// The container that is copied could not be read.
    #[error("cannot read the dump at offset {at}: {source}")]
    Input {
        /// Offset in bytes.
        at: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is to be written makes no sense.
    #[error("cannot lay the dump out: {what}")]
    Contradiction {
        /// Where it contradicts itself.
        what: String,
    },
    /// The container cannot hold it.
    #[error("cannot write {what}: too large for this container")]
    TooLarge {
        /// Which part of the dump.
        what: &'static str,
    },
}
