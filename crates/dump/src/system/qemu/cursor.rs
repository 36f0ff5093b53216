//! Reading a stream from the front through one large buffer.

use crate::source::SharedSource;

/// Bytes read at once.
const WINDOW: usize = 256 << 10;

/// A place in a source, with the bytes around it at hand.
pub(super) struct Cursor {
    source: SharedSource,
    pub(super) at: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Cursor {
    pub(super) fn new(source: SharedSource, at: u64) -> Self {
        Self { source, at, window: Vec::new(), window_at: 0 }
    }

    /// The next `len` bytes (at most some hundred), without going on; `None` where the file ends before them.
    pub(super) fn peek(&mut self, len: usize) -> Option<&[u8]> {
        let have = |own: &Self| {
            let from = usize::try_from(own.at.checked_sub(own.window_at)?).ok()?;
            let end = from.checked_add(len)?;
            (end <= own.window.len()).then_some(from..end)
        };
        if have(self).is_none() {
            self.window.resize(WINDOW, 0);
            self.window_at = self.at;
            let got = self.source.read_at(self.at, &mut self.window).unwrap_or(0);
            self.window.truncate(got);
        }
        let range = have(self)?;
        self.window.get(range)
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let bytes = self.peek(len)?.to_vec();
        self.skip(len as u64);
        Some(bytes)
    }

    /// Goes on.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.at = self.at.saturating_add(bytes);
    }

    /// The next `size` bytes as a number, most significant byte first.
    pub(super) fn number(&mut self, size: usize) -> Option<u64> {
        let value = crate::Endian::Big.uint(self.peek(size)?);
        self.skip(size as u64);
        Some(value)
    }

    /// A string with its length in one byte before it.
    pub(super) fn name(&mut self) -> Option<Vec<u8>> {
        let len = self.number(1)? as usize;
        self.take(len)
    }
}
