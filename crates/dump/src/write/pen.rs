//! Fields into a growing file, in one byte order; places that are not known yet are filled in later.
//!
//! *What it is not*: it knows no structure. *Example*: `let at = pen.blank_u32(); … pen.fill_u32(at, pen.rva());`.
//!
//! *Trap*: positions in a minidump have 32 bits. [`Pen::rva`] saturates; whoever lays out checks the end once.

use crate::Endian;

/// The file so far.
pub(crate) struct Pen {
    out: Vec<u8>,
    endian: Endian,
}

impl Pen {
    /// Nothing written yet.
    pub(crate) fn new(endian: Endian) -> Self {
        Self { out: Vec::new(), endian }
    }

    /// Makes room for so many bytes more, and not twice as many as there are.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.out.reserve_exact(more + 64);
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.out.len() as u64
    }

    /// The position as a 32-bit place.
    pub(crate) fn rva(&self) -> u32 {
        u32::try_from(self.out.len()).unwrap_or(u32::MAX)
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// That many zeros.
    pub(crate) fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }

    /// Zeros up to the next multiple.
    pub(crate) fn align(&mut self, to: usize) {
        self.out.resize(self.out.len().next_multiple_of(to), 0);
    }

    /// A number of up to 8 bytes.
    pub(crate) fn uint(&mut self, value: u64, size: usize) {
        let all = value.to_le_bytes();
        let bytes = all.get(..size).unwrap_or(&all);
        match self.endian {
            Endian::Little => self.out.extend_from_slice(bytes),
            Endian::Big => self.out.extend(bytes.iter().rev()),
        }
    }

    /// One byte.
    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Two bytes.
    pub(crate) fn u16(&mut self, value: u16) {
        self.uint(u64::from(value), 2);
    }

    /// Four bytes.
    pub(crate) fn u32(&mut self, value: u32) {
        self.uint(u64::from(value), 4);
    }

    /// Eight bytes.
    pub(crate) fn u64(&mut self, value: u64) {
        self.uint(value, 8);
    }

    /// Writes a number over what stands at `at`.
    pub(crate) fn fill(&mut self, at: usize, value: u64, size: usize) {
        let mut number = Self::new(self.endian);
        number.uint(value, size);
        self.overwrite(at, &number.out);
    }

    /// Writes bytes over what stands at `at`.
    pub(crate) fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// A `MINIDUMP_STRING`: the length in bytes, UTF-16, a null; gives its place.
    pub(crate) fn utf16(&mut self, text: &str) -> u32 {
        self.align(4);
        let at = self.out.len();
        self.u32(0);
        for unit in text.encode_utf16() {
            self.u16(unit);
        }
        let len = self.out.len() - at - 4;
        self.fill(at, len as u64, 4);
        self.u16(0);
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// All of it.
    pub(crate) fn done(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders() {
        let mut pen = Pen::new(Endian::Big);
        pen.u16(0x0102);
        pen.u32(0);
        pen.fill(2, 0x0304_0506, 4);
        assert_eq!(pen.done(), [1, 2, 3, 4, 5, 6]);
        let mut pen = Pen::new(Endian::Little);
        pen.u8(9);
        assert_eq!(pen.utf16("Aé"), 4);
        assert_eq!(pen.done()[4..], [4, 0, 0, 0, b'A', 0, 0xe9, 0, 0, 0]);
    }
}
