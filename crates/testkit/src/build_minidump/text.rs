//! Strings and identifiers as minidumps write them.
//!
//! ```
//! use afterimage_testkit::build_minidump::guid;
//! assert_eq!(guid("00112233445566778899aabbccddeeff")[..4], [0x33, 0x22, 0x11, 0x00]);
//! ```
//!
//! *Trap*: MINIDUMP_STRING counts bytes, not characters, and the closing NUL is not in the count.

use crate::build_core::pen::Pen;

/// UTF-16 without length or end.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Writes a MINIDUMP_STRING (UTF-16) and gives its RVA.
pub(super) fn wide_string(pen: &mut Pen, text: &str) -> u32 {
    let units = utf16(text);
    let place = pen.align(4).rva();
    pen.u32(units.len() as u32).bytes(&units).u16(0);
    place
}

/// Writes a MinidumpUTF8String (Crashpad) and gives its RVA.
pub(super) fn narrow_string(pen: &mut Pen, text: &str) -> u32 {
    let place = pen.align(4).rva();
    pen.u32(text.len() as u32).bytes(text.as_bytes()).u8(0);
    place
}

/// A GUID from 32 hexadecimal digits, in the mixed byte order in which Windows stores it: the first three fields are
/// little-endian, the last eight bytes stand as they are.
///
/// # Panics
/// If these are not 32 hexadecimal digits.
#[must_use]
pub fn guid(digits: &str) -> [u8; 16] {
    let number = u128::from_str_radix(digits, 16);
    assert!(number.is_ok() && digits.len() == 32, "not a GUID: {digits}");
    let [a, b, c, d, e, f, g, h, rest @ ..] = number.unwrap_or(0).to_be_bytes();
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}
