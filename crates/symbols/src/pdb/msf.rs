//! The container of a PDB: streams made of pages, "MSF 7.00".
//!
//! What it is not: it does not know what a stream holds.
//!
//! Trap: a stream's pages are listed in no order, and a hostile file lists one page a million times. So a stream may not be
//! longer than the file.

use crate::elf::View;
use crate::{Blob, Error};

const MAGIC: &[u8; 32] = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0";
/// Streams of one file: a few for each object file.
const MAX_STREAMS: u32 = 1 << 20;
/// The longest stream that is copied.
const MAX_STREAM: u32 = 1 << 30;

/// A PDB as numbered streams.
pub(super) struct Msf {
    blob: Blob,
    page: u32,
    /// Sizes and the place of the first page number in `directory`.
    streams: Vec<(u32, usize)>,
    directory: Vec<u8>,
}

fn malformed(cause: &str) -> Error {
    Error::Malformed { what: "pdb", cause: cause.to_owned() }
}

impl Msf {
    pub(super) fn open(blob: Blob) -> Result<Self, Error> {
        let data: &[u8] = (*blob).as_ref();
        if !data.starts_with(MAGIC) {
            return Err(Error::NotPdb);
        }
        let view = View::new(data, true);
        let (Some(page), Some(size), Some(map)) = (view.u32(32), view.u32(44), view.u32(52)) else {
            return Err(malformed("the file ends in its first page"));
        };
        if !page.is_power_of_two() || !(512..=65_536).contains(&page) {
            return Err(malformed("the size of a page is absurd"));
        }
        if u64::from(size) > data.len() as u64 || size > 256 << 20 {
            return Err(malformed("the directory is longer than the file"));
        }
        // The page numbers of the directory stand in one page, or several that follow each other.
        let directory = gather(data, page, size, |index| view.u32(u64::from(map) * u64::from(page) + 4 * index))
            .ok_or_else(|| malformed("a page of the directory is not in the file"))?;
        let fields = View::new(&directory, true);
        let count = fields.u32(0).filter(|&count| count <= MAX_STREAMS);
        let count = count.ok_or_else(|| malformed("the number of streams is absurd"))?;
        let mut streams = Vec::new();
        let mut next = 4 + 4 * u64::from(count);
        for index in 0..u64::from(count) {
            let size = fields.u32(4 + 4 * index).ok_or_else(|| malformed("the directory is cut off"))?;
            // A stream that was deleted has the largest number for its size.
            let size = if size == u32::MAX { 0 } else { size };
            streams.push((size, usize::try_from(next).unwrap_or(usize::MAX)));
            next += 4 * u64::from(size.div_ceil(page));
        }
        Ok(Self { blob, page, streams, directory })
    }

    /// The bytes of a stream; `None` if it does not exist or is not whole.
    pub(super) fn stream(&self, number: u16) -> Option<Vec<u8>> {
        let &(size, pages) = self.streams.get(usize::from(number))?;
        let data: &[u8] = (*self.blob).as_ref();
        if u64::from(size) > data.len() as u64 || size > MAX_STREAM {
            return None;
        }
        let fields = View::new(&self.directory, true);
        gather(data, self.page, size, |index| fields.u32(pages as u64 + 4 * index))
    }
}

fn gather(data: &[u8], page: u32, size: u32, number: impl Fn(u64) -> Option<u32>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for index in 0..u64::from(size.div_ceil(page)) {
        let from = usize::try_from(u64::from(number(index)?) * u64::from(page)).ok()?;
        let want = (size as usize - bytes.len()).min(page as usize);
        bytes.extend_from_slice(data.get(from..from.checked_add(want)?)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn absurd_files_are_refused() {
        let open = |bytes: Vec<u8>| Msf::open(Arc::new(bytes)).map(|_| ());
        assert_eq!(open(b"MZ".to_vec()), Err(Error::NotPdb));
        assert!(open(MAGIC.to_vec()).is_err());
        let mut bytes = MAGIC.to_vec();
        bytes.resize(4096, 0xff);
        assert!(open(bytes.clone()).is_err());
        bytes[32..36].copy_from_slice(&512u32.to_le_bytes());
        bytes[44..48].copy_from_slice(&64u32.to_le_bytes());
        bytes[52..56].copy_from_slice(&2u32.to_le_bytes());
        assert!(open(bytes).is_err(), "page numbers that lead out of the file");
    }
}
