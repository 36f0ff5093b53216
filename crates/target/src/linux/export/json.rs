//! JSON objects written as they come, so that a file of 30 MB is never in memory.
//!
//! *Trap*: hostile types can ask for more text than any disk holds; so there is a limit.

use std::io::{self, Write};

/// Bytes at most: some twenty times what a distribution's kernel takes.
const MOST: u64 = 512 << 20;

/// A JSON object in the making.
pub(super) struct Json<'o> {
    out: &'o mut dyn Write,
    /// Nothing stands in the innermost object yet.
    fresh: bool,
    written: u64,
}

impl<'o> Json<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        Self { out, fresh: true, written: 0 }
    }

    /// Bytes so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        if self.written > MOST {
            return Err(io::Error::other("the kernel's types would take more than 512 MiB: they make no sense"));
        }
        self.out.write_all(bytes)
    }

    /// Begins an object.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.fresh = true;
        self.put(b"{")
    }

    /// Ends it.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.fresh = false;
        self.put(b"}")
    }

    /// The name of what comes next.
    pub(super) fn key(&mut self, name: &str) -> io::Result<()> {
        if !self.fresh {
            self.put(b",")?;
        }
        self.string(name)?;
        self.put(b":")
    }

    fn string(&mut self, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\' || byte == b' ') {
            self.put(b"\"")?;
            self.put(text.as_bytes())?;
            return self.put(b"\"");
        }
        self.put(&serde_json::to_vec(text).map_err(io::Error::other)?)
    }

    /// A name and a text.
    pub(super) fn text(&mut self, key: &str, text: &str) -> io::Result<()> {
        self.key(key)?;
        self.fresh = false;
        self.string(text)
    }

    /// A name and a number.
    pub(super) fn number(&mut self, key: &str, number: impl std::fmt::Display) -> io::Result<()> {
        self.key(key)?;
        self.fresh = false;
        self.put(number.to_string().as_bytes())
    }

    /// A name and an object, which the caller ends.
    pub(super) fn object(&mut self, key: &str) -> io::Result<()> {
        self.key(key)?;
        self.open()
    }

    /// A name and true or false.
    pub(super) fn truth(&mut self, key: &str, truth: bool) -> io::Result<()> {
        self.number(key, truth)
    }
}

/// Base64 (RFC 4648) with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let sextet = (bits >> (18 - 6 * digit) & 63) as usize;
            let letter = DIGITS.get(sextet).filter(|_| digit <= chunk.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

    use super::*;

    #[test]
    fn base64_as_the_rfc_has_it() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, text) in pairs {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }

    #[test]
    fn any_name_is_read_again() {
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.open().unwrap();
        json.text("a\"\\\u{1}\u{fffd}", "b\n").unwrap();
        json.object("o").unwrap();
        json.number("n", -3).unwrap();
        json.truth("t", true).unwrap();
        json.close().unwrap();
        json.number("m", u64::MAX).unwrap();
        json.close().unwrap();
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, serde_json::json!({"a\"\\\u{1}\u{fffd}": "b\n", "o": {"n": -3, "t": true}, "m": u64::MAX}));
    }
}
