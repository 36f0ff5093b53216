//! Fields out of untrusted bytes: every getter checks, none can panic.
//!
//! *Example*: `Fields::new(&note, Endian::Little).u32(12)` is `None` when the note is shorter than 16 bytes.

use crate::Endian;

/// A slice and its byte order.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl<'a> Fields<'a> {
    /// Looks at `bytes` in the given byte order.
    #[must_use]
    pub fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Self { bytes, endian }
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// `len` bytes at `at`.
    #[must_use]
    pub fn slice(self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// The unsigned number of `size` (1 to 8) bytes at `at`.
    #[must_use]
    pub fn uint(self, at: usize, size: usize) -> Option<u64> {
        self.slice(at, size).map(|bytes| self.endian.uint(bytes))
    }

    /// One byte.
    #[must_use]
    pub fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Two bytes.
    #[must_use]
    pub fn u16(self, at: usize) -> Option<u16> {
        self.uint(at, 2).map(|value| value as u16)
    }

    /// Four bytes.
    #[must_use]
    pub fn u32(self, at: usize) -> Option<u32> {
        self.uint(at, 4).map(|value| value as u32)
    }

    /// Four bytes, signed.
    #[must_use]
    pub fn i32(self, at: usize) -> Option<i32> {
        self.u32(at).map(|value| value as i32)
    }

    /// Eight bytes.
    #[must_use]
    pub fn u64(self, at: usize) -> Option<u64> {
        self.uint(at, 8)
    }

    /// The bytes at `at` up to a NUL, or up to `limit` of them.
    #[must_use]
    pub fn cstr(self, at: usize, limit: usize) -> Option<&'a [u8]> {
        let rest = self.bytes.get(at..)?;
        let rest = rest.get(..limit.min(rest.len()))?;
        let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
        rest.get(..end)
    }
}
