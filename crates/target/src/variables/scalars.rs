//! Numbers, characters and texts as they are shown.
//!
//! *What it is not*: it reads no memory, and knows no types; `text` puts these together.

use std::borrow::Cow;

/// Bytes of a text that are shown.
pub(super) const TEXT: usize = 96;

/// A number of so many bits, with its sign.
pub(super) fn signed(number: u128, bits: u32) -> i128 {
    let shift = 128u32.saturating_sub(bits.max(1));
    (number << shift) as i128 >> shift
}

pub(super) fn float(bits: u128, size: usize) -> String {
    match size {
        4 => plain(f32::from_bits(bits as u32), f64::from(f32::from_bits(bits as u32))),
        8 => plain(f64::from_bits(bits as u64), f64::from_bits(bits as u64)),
        // x87: a sign, 15 bits of exponent, 64 bits of fraction with the 1 before the point.
        10 | 12 | 16 => {
            let (fraction, top) = (bits as u64, (bits >> 64) as u16);
            let exponent = i32::from(top & 0x7fff);
            let value = fraction as f64 * 2f64.powi(exponent - 16383 - 63);
            let value = if top & 0x8000 != 0 { -value } else { value };
            plain(value, value)
        }
        _ => format!("{bits:#x}"),
    }
}

/// A number with its digits, or as a power of ten where those would be many.
fn plain(number: impl std::fmt::Display + std::fmt::LowerExp, size: f64) -> String {
    let size = size.abs();
    if size != 0.0 && size.is_finite() && !(1e-5..1e16).contains(&size) {
        format!("{number:e}")
    } else {
        number.to_string()
    }
}

/// The name of a number, or the names of the flags that it is made of.
pub(super) fn enumerated(names: &[(String, i64)], value: i64) -> Option<String> {
    if let Some((name, _)) = names.iter().find(|(_, own)| *own == value) {
        return Some(name.clone());
    }
    let mut left = value;
    let mut out: Vec<&str> = Vec::new();
    for (name, flag) in names.iter().filter(|(_, flag)| *flag > 0 && flag.count_ones() == 1) {
        if left & flag != 0 {
            left &= !flag;
            out.push(name);
        }
    }
    (left == 0 && out.len() > 1).then(|| out.join(" | "))
}

pub(super) fn character(letter: char) -> String {
    match letter {
        '\'' => "'\\''".into(),
        letter => format!("'{}'", escaped(letter)),
    }
}

fn escaped(letter: char) -> Cow<'static, str> {
    match letter {
        '\n' => "\\n".into(),
        '\t' => "\\t".into(),
        '\r' => "\\r".into(),
        '\0' => "\\0".into(),
        '\\' => "\\\\".into(),
        letter if letter.is_control() => format!("\\x{:02x}", u32::from(letter)).into(),
        letter => letter.to_string().into(),
    }
}

/// Bytes as text between quotes: without the zeros at their end; `more`: they go on.
pub(super) fn quoted(bytes: &[u8], more: bool) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let cut = end > TEXT;
    let bytes = bytes.get(..end.min(TEXT)).unwrap_or(bytes);
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' => out.push_str("\\\""),
                letter => out.push_str(&escaped(letter)),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    if more || cut {
        out.push('…');
    }
    out
}
