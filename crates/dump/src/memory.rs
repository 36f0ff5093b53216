//! The one byte interface: a file, a live process, a page-table walk, a scrubbed view are all a [`Memory`].
//!
//! *Trap*: a short read is not an error. `read_at` may stop at the end of a segment; [`MemoryExt::read_exact`] goes on.

use crate::address::Address;
use std::fmt;

/// Why a byte of memory cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Absence {
    /// The address space had nothing there.
    NotMapped,
    /// It was mapped, but whoever wrote the dump left it out (a filter, a size limit).
    NotInDump,
    /// The dump says that it holds these bytes, but the file ends before them.
    Truncated,
    /// The page had been swapped out and was not read back.
    Swapped,
    /// The bytes were removed on purpose, to make the dump safe to share.
    Scrubbed,
    /// The container contradicts itself here.
    Corrupt,
    /// The operating system failed to read the file.
    Io(std::io::ErrorKind),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMapped => f.write_str("not mapped"),
            Self::NotInDump => f.write_str("not in this dump"),
            Self::Truncated => f.write_str("lost: the file is cut off"),
            Self::Swapped => f.write_str("swapped out"),
            Self::Scrubbed => f.write_str("scrubbed"),
            Self::Corrupt => f.write_str("corrupt"),
            Self::Io(kind) => write!(f, "read failed: {kind}"),
        }
    }
}

/// So that a [`crate::source::Source`] that is itself a memory can say why it has no byte: `io::Error::other(absence)`.
impl std::error::Error for Absence {}

/// A read that failed: the first address that could not be read, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<A: Address> {
    /// The first address that could not be read.
    pub at: A,
    /// Why not.
    pub why: Absence,
}

impl<A: Address> fmt::Display for Fault<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory at {:#x} is {}", self.at, self.why)
    }
}

impl<A: Address> std::error::Error for Fault<A> {}

/// A range of addresses `start..end`, and whether its bytes can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent<A: Address> {
    /// First address.
    pub start: A,
    /// First address behind it.
    pub end: A,
    /// `None` where the bytes are present, else why they are not.
    pub absent: Option<Absence>,
}

/// Bytes by address. Object-safe, shared, copying; short reads are allowed.
pub trait Memory<A: Address>: Send + Sync {
    /// Copies bytes from `at` into `buf` and gives how many: at least one unless `buf` is empty, at most `buf.len()`.
    ///
    /// # Errors
    /// A [`Fault`] when not even the first byte can be read.
    fn read_at(&self, at: A, buf: &mut [u8]) -> Result<usize, Fault<A>>;

    /// The known ranges in ascending order, without overlap; what lies between them is not mapped or not known.
    fn extents(&self) -> Vec<Extent<A>>;
}

/// Reads built on [`Memory::read_at`].
pub trait MemoryExt<A: Address>: Memory<A> {
    /// Fills `buf` whole.
    ///
    /// # Errors
    /// The [`Fault`] of the first byte that cannot be read; `buf` is then filled up to it.
    fn read_exact(&self, at: A, buf: &mut [u8]) -> Result<(), Fault<A>> {
        let mut done = 0usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let next = at.checked_add(done as u64).ok_or(Fault { at, why: Absence::NotMapped })?;
            done += self.read_at(next, rest)?.max(1);
        }
        Ok(())
    }

    /// Reads as many of the bytes of `buf` as lie there without a gap, and gives how many.
    fn read_upto(&self, at: A, buf: &mut [u8]) -> usize {
        match self.read_exact(at, buf) {
            Ok(()) => buf.len(),
            Err(fault) => fault.at.raw().saturating_sub(at.raw()).min(buf.len() as u64) as usize,
        }
    }

    /// Reads a little-endian or big-endian unsigned number of 1, 2, 4 or 8 bytes.
    ///
    /// # Errors
    /// The [`Fault`] of the first byte that cannot be read.
    fn read_uint(&self, at: A, size: usize, endian: crate::Endian) -> Result<u64, Fault<A>> {
        let mut bytes = [0u8; 8];
        let size = size.min(8);
        let Some(buf) = bytes.get_mut(..size) else {
            return Err(Fault { at, why: Absence::Corrupt });
        };
        self.read_exact(at, buf)?;
        Ok(endian.uint(buf))
    }

    /// Reads bytes up to (not including) a NUL, at most `limit` of them.
    ///
    /// # Errors
    /// The [`Fault`] when memory ends before a NUL and before `limit`.
    fn read_cstr(&self, at: A, limit: usize) -> Result<Vec<u8>, Fault<A>> {
        let mut out = Vec::new();
        let mut block = [0u8; 256];
        while out.len() < limit {
            let next = at.checked_add(out.len() as u64).ok_or(Fault { at, why: Absence::NotMapped })?;
            let want = block.len().min(limit - out.len());
            let Some(buf) = block.get_mut(..want) else {
                break;
            };
            let got = self.read_at(next, buf)?;
            let got = buf.get(..got).unwrap_or_default();
            if let Some(end) = got.iter().position(|&b| b == 0) {
                out.extend_from_slice(got.get(..end).unwrap_or_default());
                return Ok(out);
            }
            out.extend_from_slice(got);
        }
        Ok(out)
    }
}

impl<A: Address, M: Memory<A> + ?Sized> MemoryExt<A> for M {}
