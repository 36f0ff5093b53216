//! The seek table: lengths of all frames, at the end of the file, in a frame that decoders skip.
//!
//! *What it is not*: the reader. That one is `compressed/seek_table.rs`, and shares no line with this.
//!
//! ```text
//! u32 0x184d2a5e   u32 length of what follows
//! u32 compressed   u32 uncompressed             for each frame (a third word, a checksum, is possible; we write none:
//!                                               our frames carry their own)
//! u32 frames       u8 descriptor (bit 7: the third word)       u32 0x8f92eab1
//! ```
//!
//! *Trap*: all numbers are little-endian and of 32 bits. Source: `zstd_seekable_compression_format.md`, version 0.1.0.

use std::io::{self, Write};

const SKIPPABLE: u32 = 0x184d_2a5e;
const MAGIC: u32 = 0x8f92_eab1;
/// Count, descriptor, magic number.
const FOOTER: u32 = 9;
const ENTRY: u32 = 8;
/// Most frames of a file (`ZSTD_SEEKABLE_MAXFRAMES`).
const MAX_FRAMES: usize = 1 << 27;
/// Entries encoded at once.
const STEP: usize = 8192;

/// The growing table.
pub(super) struct Table {
    frames: Vec<(u32, u32)>,
    most: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { frames: Vec::new(), most: MAX_FRAMES }
    }

    /// Refuses so many frames more if the format does.
    pub(super) fn has_room(&self, more: u64) -> io::Result<()> {
        if more > (self.most - self.frames.len()) as u64 {
            let what = format!("a packed file cannot have more than {} frames: larger ones are needed", self.most);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        Ok(())
    }

    /// Adds a frame's lengths.
    pub(super) fn push(&mut self, packed: usize, raw: usize) -> io::Result<()> {
        self.has_room(1)?;
        let (Ok(packed), Ok(raw)) = (u32::try_from(packed), u32::try_from(raw)) else {
            let what = format!("a frame of {raw} bytes, {packed} compressed, does not fit into a seek table");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        };
        self.frames.push((packed, raw));
        Ok(())
    }

    /// Writes the table, and gives its length.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<u64> {
        // Below 2^31, as `push` has seen to it.
        let count = self.frames.len() as u32;
        let length = count * ENTRY + FOOTER;
        out.write_all(&[SKIPPABLE.to_le_bytes(), length.to_le_bytes()].concat())?;
        let mut bytes = Vec::new();
        for frames in self.frames.chunks(STEP) {
            bytes.clear();
            for (packed, raw) in frames {
                bytes.extend(packed.to_le_bytes());
                bytes.extend(raw.to_le_bytes());
            }
            out.write_all(&bytes)?;
        }
        bytes.clear();
        bytes.extend(count.to_le_bytes());
        bytes.push(0);
        bytes.extend(MAGIC.to_le_bytes());
        out.write_all(&bytes)?;
        Ok(8 + u64::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_table_cannot_hold_is_refused() {
        let mut table = Table { most: 2, ..Table::new() };
        table.push(10, 20).unwrap();
        assert_eq!(table.push(1 << 32, 20).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(table.push(10, 1 << 32).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        table.push(u32::MAX as usize, u32::MAX as usize).unwrap();
        let error = table.push(10, 20).unwrap_err();
        assert!(error.to_string().contains("more than 2 frames"), "{error}");
        let mut bytes = Vec::new();
        assert_eq!(table.write(&mut bytes).unwrap(), 8 + 2 * 8 + 9);
        assert_eq!(bytes.len(), 8 + 2 * 8 + 9);
    }
}
