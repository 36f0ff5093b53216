//! Where the records of a symbol file begin, found in one pass.
//!
//! Not here: reading a record.
//!
//! Example: a file of 1 GB has some 40 million lines, of which 2 million are FUNC records: those are kept, 16 bytes each.
//!
//! Trap: line records (nine of ten lines) begin with a digit or `a` to `f`; `FUNC`, `FILE` and the like in capitals.

use super::Fields;
use std::collections::HashMap;

/// Places of records in the file.
#[derive(Default)]
pub(super) struct Index {
    /// Address and place of FUNC records, by address.
    pub(super) functions: Vec<(u64, u64)>,
    /// Address and place of PUBLIC records, by address.
    pub(super) publics: Vec<(u64, u64)>,
    /// Start, size and place of STACK CFI INIT records, by start.
    pub(super) cfi: Vec<(u64, u64, u64)>,
    /// Start, size and place of STACK WIN records, by start.
    pub(super) win: Vec<(u64, u64, u64)>,
    pub(super) files: HashMap<u32, u64>,
    pub(super) origins: HashMap<u32, u64>,
}

/// Records of one kind.
const MAX_RECORDS: usize = 8_000_000;

/// The next end of line, eight bytes at a time.
pub(super) fn newline(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8])) ^ (LOW * b'\n' as u64);
        // The lowest set bit marks the first zero byte, which is the first newline.
        let zero = word.wrapping_sub(LOW) & !word & (LOW << 7);
        if zero != 0 {
            return Some(at + zero.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    chunks.remainder().iter().position(|&byte| byte == b'\n').map(|found| at + found)
}

impl Index {
    pub(super) fn build(data: &[u8]) -> Index {
        let mut index = Index::default();
        let mut at = 0usize;
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let end = newline(rest).unwrap_or(rest.len());
            if rest.first().is_some_and(|first| matches!(first, b'F' | b'I' | b'P' | b'S'))
                && let Some(line) = rest.get(..end)
            {
                index.take(line, at as u64);
            }
            at += end + 1;
        }
        index.functions.sort_unstable();
        index.publics.sort_unstable();
        index.cfi.sort_unstable();
        index.win.sort_unstable();
        index
    }

    fn take(&mut self, line: &[u8], place: u64) -> Option<()> {
        let mut fields = Fields::new(line);
        let room = |count: usize| count < MAX_RECORDS;
        match fields.next()? {
            b"FUNC" if room(self.functions.len()) => {
                fields.skip_multiple();
                self.functions.push((fields.hex()?, place));
            }
            b"PUBLIC" if room(self.publics.len()) => {
                fields.skip_multiple();
                self.publics.push((fields.hex()?, place));
            }
            b"FILE" if room(self.files.len()) => {
                self.files.insert(fields.decimal()?, place);
            }
            b"INLINE_ORIGIN" if room(self.origins.len()) => {
                self.origins.insert(fields.decimal()?, place);
            }
            b"STACK" => match (fields.next()?, fields.next()?) {
                (b"CFI", b"INIT") if room(self.cfi.len()) => self.cfi.push((fields.hex()?, fields.hex()?, place)),
                (b"WIN", b"4" | b"0") if room(self.win.len()) => self.win.push((fields.hex()?, fields.hex()?, place)),
                _ => {}
            },
            _ => {}
        }
        Some(())
    }
}

/// The last record of a sorted list that covers an address.
pub(super) fn covering(records: &[(u64, u64, u64)], at: u64) -> impl Iterator<Item = u64> {
    let after = records.partition_point(|(start, ..)| *start <= at);
    let before = records.get(..after).unwrap_or(&[]).iter().rev().take(16);
    before.filter(move |(start, size, _)| at - start < *size).map(|(.., place)| *place)
}
