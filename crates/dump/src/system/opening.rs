//! What the readers of virtual machines and old kernels' dumps share while they open a file.
//!
//! *What it is*: bytes that must be there, tables that are booked, and errors that name the place.
//!
//! *Trap*: only what the reader cannot do without is an error; a page that the file does not have any more is
//! [`crate::Absence::Truncated`] when it is asked for.

use crate::source::{SharedSource, read_vec};
use crate::{Budget, Error};
use std::path::Path;

/// One file that is being opened.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) path: &'a Path,
    /// The container's name for messages.
    pub(crate) format: &'static str,
    pub(crate) source: &'a SharedSource,
    pub(crate) budget: &'a Budget,
}

impl Opening<'_> {
    /// An error about this file.
    pub(crate) fn broken(&self, what: impl Into<String>) -> Error {
        Error::Broken { path: self.path.to_owned(), format: self.format, what: what.into() }
    }

    /// `len` bytes at `at`, or as many of them as the file has.
    pub(crate) fn upto(&self, at: u64, len: usize) -> Result<Vec<u8>, Error> {
        read_vec(&**self.source, at, len).map_err(|source| Error::Io { path: self.path.to_owned(), source })
    }

    /// `len` bytes at `at`, all of them.
    pub(crate) fn exactly(&self, what: &str, at: u64, len: usize) -> Result<Vec<u8>, Error> {
        let bytes = self.upto(at, len)?;
        if bytes.len() < len {
            return Err(self.broken(format!("{what} at {at:#x} is cut off: {} of {len} bytes", bytes.len())));
        }
        Ok(bytes)
    }

    /// Books a table.
    pub(crate) fn book(&self, what: &str, bytes: u64) -> Result<(), Error> {
        self.budget.take(bytes).map_err(|why| self.broken(format!("{what} of {bytes} bytes: {why}")))
    }

    /// Books up to `wish` bytes for an index that is made later, and gives how many there were.
    pub(crate) fn book_upto(&self, wish: u64) -> u64 {
        let mut size = wish;
        while size >= 4096 {
            if self.budget.take(size).is_ok() {
                return size;
            }
            size /= 2;
        }
        0
    }
}

/// The text in a field that may or may not end with a NUL.
pub(crate) fn field_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// Seconds since 1970 of a date of the Gregorian calendar, in UTC.
pub(crate) fn seconds_of((year, month, day): (i64, i64, i64), (hour, minute, second): (i64, i64, i64)) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March put the odd day of leap years at their end.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(seconds_of((1970, 1, 1), (0, 0, 0)), Some(0));
        assert_eq!(seconds_of((2000, 2, 29), (12, 34, 56)), Some(951_827_696));
        assert_eq!(seconds_of((2026, 11, 26), (3, 39, 28)), Some(1_795_664_368));
        assert_eq!(seconds_of((2026, 13, 1), (0, 0, 0)), None);
    }
}
