//! `.eh_frame_hdr`: where `.eh_frame` lies, and the sorted table of its entries.
//!
//! Not here: the entries themselves.
//!
//! Example: the usual header is `01 1b 03 3b`: eh_frame pointer pc-relative, count plain, table relative to the header.
//!
//! Folklore: read by hand because the search must not trust the count, and because bfd writes a header without a table
//! (encodings 0xff) when it could not parse some `.eh_frame` input.

use crate::elf::View;

/// DW_EH_PE_omit.
const OMIT: u8 = 0xff;

/// A parsed header.
#[derive(Debug, Clone, Copy)]
pub(super) struct EhFrameHdr<'a> {
    /// Address of `.eh_frame`.
    pub(super) eh_frame: u64,
    table: Option<&'a [u8]>,
    address: u64,
    little: bool,
}

/// One encoded pointer: its value and the bytes that it took.
fn pointer(view: &View<'_>, at: u64, encoding: u8, address: u64, is_64: bool) -> Option<(u64, u64)> {
    let (value, size) = match encoding & 0x0f {
        0x00 => (view.word(at, is_64)?, if is_64 { 8 } else { 4 }),
        0x02 => (u64::from(view.u16(at)?), 2),
        0x03 => (u64::from(view.u32(at)?), 4),
        0x04 | 0x0c => (view.u64(at)?, 8),
        0x0a => (view.u16(at)? as i16 as i64 as u64, 2),
        0x0b => (view.u32(at)? as i32 as i64 as u64, 4),
        _ => return None,
    };
    let base = match encoding & 0x70 {
        0x00 => 0,
        0x10 => address.wrapping_add(at),
        0x30 => address,
        _ => return None,
    };
    let value = value.wrapping_add(base);
    Some((if is_64 { value } else { value & 0xffff_ffff }, size))
}

impl<'a> EhFrameHdr<'a> {
    /// Reads the header at the front of `bytes`, which lie at `address`.
    pub(super) fn parse(bytes: &'a [u8], address: u64, is_64: bool, little: bool) -> Option<Self> {
        let view = View::new(bytes, little);
        if view.u8(0)? != 1 {
            return None;
        }
        let (frame_encoding, count_encoding, table_encoding) = (view.u8(1)?, view.u8(2)?, view.u8(3)?);
        let (eh_frame, size) = pointer(&view, 4, frame_encoding, address, is_64)?;
        let count = match count_encoding {
            OMIT => None,
            encoding => pointer(&view, 4 + size, encoding, address, is_64),
        };
        let table = match count {
            // Every linker writes the table as 4-byte offsets from the header; anything else is indexed afresh.
            Some((count, count_size)) if table_encoding == 0x3b && count != 0 => {
                let from = usize::try_from(4 + size + count_size).ok()?;
                let rest = bytes.get(from..)?;
                let wanted = usize::try_from(count).ok().and_then(|count| count.checked_mul(8)).unwrap_or(rest.len());
                rest.get(..wanted.min(rest.len()) / 8 * 8)
            }
            _ => None,
        };
        Some(EhFrameHdr { eh_frame, table, address, little })
    }

    pub(super) fn has_table(&self) -> bool {
        self.table.is_some_and(|table| !table.is_empty())
    }

    fn entry(&self, table: &[u8], index: usize) -> Option<(u64, u64)> {
        let view = View::new(table, self.little);
        let value = |at: u64| Some(self.address.wrapping_add_signed(i64::from(view.u32(at)? as i32)));
        let at = index as u64 * 8;
        Some((value(at)?, value(at + 4)?))
    }

    /// Address of the entry whose range begins last before `at`; whether it covers `at`, the entry itself must say.
    pub(super) fn lookup(&self, at: u64) -> Option<u64> {
        let table = self.table?;
        let (mut low, mut high) = (0usize, table.len() / 8);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(table, middle)?.0 <= at { low = middle + 1 } else { high = middle }
        }
        Some(self.entry(table, low.checked_sub(1)?)?.1)
    }
}
