//! Numbers out of bytes, in either byte order, that end in `None` and never in a panic.
//!
//! Not here: what the numbers mean.
//!
//! Trap: offsets come from files, so every sum is checked.

/// Bytes and their byte order.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) little: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(data: &'a [u8], little: bool) -> Self {
        View { data, little }
    }

    pub(crate) fn bytes(&self, at: u64, len: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(at).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        self.data.get(start..end)
    }

    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        self.bytes(at, N as u64)?.try_into().ok()
    }

    pub(crate) fn u8(&self, at: u64) -> Option<u8> {
        self.data.get(usize::try_from(at).ok()?).copied()
    }

    pub(crate) fn u16(&self, at: u64) -> Option<u16> {
        let raw = self.array(at)?;
        Some(if self.little { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) })
    }

    pub(crate) fn u32(&self, at: u64) -> Option<u32> {
        let raw = self.array(at)?;
        Some(if self.little { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) })
    }

    pub(crate) fn u64(&self, at: u64) -> Option<u64> {
        let raw = self.array(at)?;
        Some(if self.little { u64::from_le_bytes(raw) } else { u64::from_be_bytes(raw) })
    }

    /// A word of the file's class: 8 bytes or 4.
    pub(crate) fn word(&self, at: u64, is_64: bool) -> Option<u64> {
        if is_64 { self.u64(at) } else { self.u32(at).map(u64::from) }
    }

    /// The bytes up to the next NUL, or to the end.
    pub(crate) fn c_str(&self, at: u64) -> Option<&'a [u8]> {
        let rest = self.data.get(usize::try_from(at).ok()?..)?;
        // Names longer than this are no names: a string table without NUL must not be scanned for every symbol.
        let window = rest.get(..rest.len().min(64 * 1024))?;
        let end = window.iter().position(|&byte| byte == 0).unwrap_or(window.len());
        window.get(..end)
    }
}

/// Text that should be UTF-8 but need not be.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
