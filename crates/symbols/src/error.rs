//! Why the symbols of a module could not be had.
//!
//! Not here: why one frame could not be unwound ([`crate::CfiMiss`]). A missing symbol is no error but `None`.
//!
//! ```
//! let bytes: afterimage_symbols::Blob = std::sync::Arc::new(b"#!/bin/sh".to_vec());
//! assert!(matches!(afterimage_symbols::ElfObject::parse(bytes), Err(afterimage_symbols::Error::NotElf)));
//! ```
//!
//! Trap: only what makes the whole file useless is an error; a broken part of it is simply not found later.

/// Why a file could not be used as a source of symbols.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin with the ELF magic number and a known class and byte order.
    #[error("parse elf: not an elf file")]
    NotElf,
    /// The file ends inside something that is needed.
    #[error("parse {what}: the file ends at {length:#x}, before byte {needed:#x}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes there are.
        length: u64,
        /// Which byte was wanted.
        needed: u64,
    },
    /// A part of the file contradicts itself.
    #[error("parse {what}: {cause}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The text is not a Breakpad symbol file (it does not begin with a MODULE record).
    #[error("parse breakpad symbols: no MODULE record")]
    NotBreakpad,
    /// The bytes are no PE image: no `MZ` and `PE` where they must be, or an unknown kind of header.
    #[error("parse pe: not a pe image")]
    NotPe,
    /// The bytes are no PDB of version 7.
    #[error("parse pdb: not a pdb file of version 7")]
    NotPdb,
}
