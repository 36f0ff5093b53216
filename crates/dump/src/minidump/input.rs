//! Bytes, strings and lists out of the file: the only place of this reader that touches the source.
//!
//! *What it is not*: it knows no stream. Every read is bounded by the file, every list by the budget, every string by
//! [`MAX_STRING`]; what had to be given up becomes an [`Issue`].
//!
//! *Trap*: a list whose count and size disagree is cut to what the size holds; writers that pad the count to 8 bytes
//! are told by the size (see [`Input::list`]).

use super::raw;
use crate::bytes::Fields;
use crate::source::{SharedSource, read_vec};
use crate::{Budget, Endian, Issue};
use std::cell::{Cell, RefCell};

/// Bytes of the longest string that is taken over: Windows' longest path, 32 767 UTF-16 units.
const MAX_STRING: u64 = 0xfffe;
/// Issues that are kept; a hostile file can be wrong in a million places.
const MAX_ISSUES: usize = 100;
/// Bytes read at a time while walking a list.
const BLOCK: usize = 64 << 10;

/// A `MINIDUMP_LOCATION_DESCRIPTOR`, or anything else with a place and a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) rva: u64,
    pub(super) size: u64,
}

impl Place {
    /// Reads a `MINIDUMP_LOCATION_DESCRIPTOR` at `at`; `None` when it is empty.
    pub(super) fn at(fields: Fields<'_>, at: usize) -> Option<Self> {
        let size = u64::from(fields.u32(at)?);
        let rva = u64::from(fields.u32(at.checked_add(4)?)?);
        (size > 0 && rva > 0).then_some(Self { rva, size })
    }
}

/// A list inside the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    /// Where the first entry lies.
    pub(super) at: u64,
    /// Entries.
    pub(super) count: u64,
    /// Bytes of an entry.
    pub(super) entry: u64,
}

/// The file under the eyes of all stream readers.
pub(super) struct Input<'a> {
    source: &'a SharedSource,
    len: u64,
    pub(super) endian: Endian,
    pub(super) budget: &'a Budget,
    issues: RefCell<Vec<Issue>>,
    unsaid: Cell<usize>,
    full: Cell<bool>,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: &'a SharedSource, endian: Endian, budget: &'a Budget) -> Self {
        let (issues, unsaid, full) = Default::default();
        Self { source, len: source.len(), endian, budget, issues, unsaid, full }
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Notes something odd that loses nothing.
    pub(super) fn remark(&self, text: impl Into<String>) {
        self.issue(Issue::remark(text));
    }

    /// Notes something that is missing.
    pub(super) fn loss(&self, text: impl Into<String>) {
        self.issue(Issue::loss(text));
    }

    fn issue(&self, issue: Issue) {
        let mut issues = self.issues.borrow_mut();
        if issues.len() < MAX_ISSUES {
            issues.push(issue);
        } else {
            self.unsaid.set(self.unsaid.get().saturating_add(1));
        }
    }

    /// All issues so far.
    pub(super) fn take_issues(&self) -> Vec<Issue> {
        let mut issues = self.issues.take();
        match self.unsaid.take() {
            0 => {}
            more => issues.push(Issue::loss(format!("{more} more things are wrong with this file"))),
        }
        issues
    }

    /// Books table memory; `false`, and one issue, when there is no more to be had.
    pub(super) fn book(&self, bytes: usize) -> bool {
        match self.budget.take(bytes as u64) {
            Ok(()) => true,
            Err(why) => {
                if !self.full.replace(true) {
                    self.loss(format!("the tables of this file are too large: {why}; the rest was left out"));
                }
                false
            }
        }
    }

    /// The first `limit` bytes of a place, or as many as the file has.
    pub(super) fn read(&self, place: Place, limit: usize) -> Vec<u8> {
        let want = place.size.min(limit as u64) as usize;
        match read_vec(self.source.as_ref(), place.rva, want) {
            Ok(bytes) => bytes,
            Err(e) => {
                self.loss(format!("cannot read {want} bytes at offset {:#x}: {e}", place.rva));
                Vec::new()
            }
        }
    }

    /// Looks at bytes in the file's byte order.
    pub(super) fn fields<'b>(&self, bytes: &'b [u8]) -> Fields<'b> {
        Fields::new(bytes, self.endian)
    }

    /// A whole stream of text, cut at `limit` bytes with an issue.
    pub(super) fn text(&self, name: &str, place: Place, limit: usize) -> String {
        if place.size > limit as u64 {
            self.loss(format!("{name} is cut to its first {limit} of {} bytes", place.size));
        }
        let bytes = self.read(place, limit);
        if !self.book(bytes.len()) {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A `MINIDUMP_STRING`: the length in bytes, then UTF-16.
    pub(super) fn utf16(&self, rva: u64) -> Option<String> {
        let bytes = self.counted(rva, 1)?;
        Some(utf16(&bytes, self.endian))
    }

    /// Crashpad's `MinidumpUTF8String`: the length in bytes, then UTF-8.
    pub(super) fn utf8(&self, rva: u64) -> Option<String> {
        Some(String::from_utf8_lossy(&self.counted(rva, 0)?).into_owned())
    }

    /// Bytes behind a 32-bit length. `None` at RVA 0, which all writers use for "no string".
    pub(super) fn counted(&self, rva: u64, odd: u64) -> Option<Vec<u8>> {
        if rva == 0 {
            return None;
        }
        let head = self.read(Place { rva, size: 4 }, 4);
        let Some(len) = self.fields(&head).u32(0) else {
            self.loss(format!("a string at offset {rva:#x} lies past the end of the file"));
            return None;
        };
        let len = u64::from(len);
        if len > MAX_STRING {
            self.remark(format!("a string at offset {rva:#x} claims {len} bytes; {MAX_STRING} are taken"));
        }
        let want = len.min(MAX_STRING) & !odd;
        let bytes = self.read(Place { rva: rva.saturating_add(4), size: want }, MAX_STRING as usize);
        if (bytes.len() as u64) < want {
            self.loss(format!("a string at offset {rva:#x} is cut off by the end of the file"));
        }
        self.book(bytes.len()).then_some(bytes)
    }

    /// A stream that is a 32-bit count and entries of `entry` bytes.
    ///
    /// Folklore: some compilers align the array of 8-byte fields, so that 4 bytes of padding follow the count
    /// (Breakpad issue 2, seen from its macOS and Solaris writers). Only the stream's size tells.
    pub(super) fn list(&self, name: &str, place: Place, entry: u64) -> Option<List> {
        let head = self.read(place, 4);
        let Some(count) = self.fields(&head).u32(0) else {
            self.loss(format!("{name} at offset {:#x} has no count: {} bytes", place.rva, head.len()));
            return None;
        };
        let bytes = u64::from(count).saturating_mul(entry);
        let skip = if place.size == bytes.saturating_add(8) { 8 } else { 4 };
        Some(self.bounded(name, place, skip, u64::from(count), entry))
    }

    /// A stream that begins with the sizes of its header and of its entries, and a count of `wide` bytes.
    pub(super) fn sized_list(&self, name: &str, place: Place, wide: usize, least: u64) -> Option<List> {
        let head = self.read(place, 16);
        let fields = self.fields(&head);
        let header = (|| Some((fields.u32(0)?, fields.u32(4)?, fields.uint(8, wide)?)))();
        let Some((header, entry, count)) = header else {
            self.loss(format!("{name} at offset {:#x} has no header: {} bytes", place.rva, head.len()));
            return None;
        };
        let (header, entry) = (u64::from(header), u64::from(entry));
        if entry < least || entry > BLOCK as u64 || header < 8 + wide as u64 {
            self.loss(format!("{name} has entries of {entry} bytes behind a header of {header}; it was not read"));
            return None;
        }
        Some(self.bounded(name, place, header, count, entry))
    }

    /// Cuts a count to what the stream's size holds.
    pub(super) fn bounded(&self, name: &str, place: Place, skip: u64, count: u64, entry: u64) -> List {
        let holds = place.size.saturating_sub(skip) / entry.max(1);
        if count > holds {
            self.loss(format!("{name} claims {count} entries, but its {} bytes hold {holds}", place.size));
        }
        List { at: place.rva.saturating_add(skip), count: count.min(holds), entry }
    }

    /// Walks a list: `each` gets every entry's bytes. `cost` bytes are booked for each entry.
    pub(super) fn walk(&self, name: &str, list: List, cost: usize, mut each: impl FnMut(Fields<'_>)) {
        let entry = list.entry.clamp(1, BLOCK as u64);
        let in_file = self.len.saturating_sub(list.at) / entry;
        let mut count = list.count;
        if count > in_file {
            self.loss(format!("{name}: {} of {count} entries lie past the end of the file", count - in_file));
            count = in_file;
        }
        if count > self.budget.max_items as u64 {
            self.loss(format!("{name} has {count} entries; the first {} were read", self.budget.max_items));
            count = self.budget.max_items as u64;
        }
        let per_block = BLOCK as u64 / entry;
        let mut done = 0;
        while done < count {
            if let Err(why) = self.budget.in_time() {
                self.loss(format!("{name}: {} of {count} entries were not read: {why}", count - done));
                return;
            }
            let n = per_block.min(count - done);
            let block = self.read(Place { rva: list.at.saturating_add(done * entry), size: n * entry }, BLOCK);
            for bytes in block.chunks_exact(entry as usize) {
                if !self.book(cost) {
                    return;
                }
                each(self.fields(bytes));
            }
            if (block.len() as u64) < n * entry {
                return;
            }
            done += n;
        }
    }
}

/// UTF-16 bytes as text; what is no valid UTF-16 becomes U+FFFD.
pub(super) fn utf16(bytes: &[u8], endian: Endian) -> String {
    let units = bytes.chunks_exact(2).map(|unit| endian.uint(unit) as u16);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// UTF-16 in a field of fixed length, up to its NUL.
pub(super) fn utf16_field(fields: Fields<'_>, at: usize, len: usize, endian: Endian) -> Option<String> {
    let text = utf16(fields.slice(at, len)?, endian);
    let text = text.split('\0').next().unwrap_or_default();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Tells a minidump by its first bytes, and its byte order.
pub(super) fn signature(head: &[u8]) -> Option<Endian> {
    match head.get(..4)? {
        magic if magic == raw::MINIDUMP_SIGNATURE => Some(Endian::Little),
        magic if magic == raw::MINIDUMP_SIGNATURE_SWAPPED => Some(Endian::Big),
        _ => None,
    }
}
