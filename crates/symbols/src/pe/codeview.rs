//! The identity of the debug file: the CodeView record that the debug directory points at.
//!
//! Trap: a GUID's first three fields are little-endian numbers, so its text form is not its bytes in order.

use super::{DIRECTORY_DEBUG, PeImage};
use crate::elf::View;

/// The debug file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeView {
    /// GUID as it stands in the file.
    pub guid: [u8; 16],
    /// How often the debug file was written anew.
    pub age: u32,
    /// Its path as the linker knew it.
    pub path: String,
}

impl CodeView {
    /// The GUID's digits in upper case and the age, as symbol stores name folders.
    pub fn debug_id(&self) -> String {
        debug_id(&self.guid, self.age)
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit(['/', '\\']).next().unwrap_or(&self.path)
    }
}

/// A GUID and an age as symbol stores write them.
pub(crate) fn debug_id(guid: &[u8; 16], age: u32) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(40);
    for index in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15] {
        let _ = write!(text, "{:02X}", guid.get(index).copied().unwrap_or(0));
    }
    let _ = write!(text, "{age:x}");
    text
}

/// Entries of a debug directory that are looked at.
const MAX_ENTRIES: u32 = 64;
const TYPE_CODEVIEW: u32 = 2;

pub(super) fn find(image: &PeImage) -> Option<CodeView> {
    let (rva, size) = image.directory(DIRECTORY_DEBUG)?;
    (0..(size / 28).min(MAX_ENTRIES)).find_map(|index| {
        let entry: [u8; 28] = image.array(rva.checked_add(28 * index)?)?;
        let view = View::new(&entry, true);
        if view.u32(12)? != TYPE_CODEVIEW {
            return None;
        }
        let (size, at) = (view.u32(16)?, view.u32(20)?);
        let mut record = vec![0u8; (size as usize).clamp(24, 24 + 1024)];
        let have = image.read(at, &mut record);
        let record = record.get(..have)?;
        if !record.starts_with(b"RSDS") {
            return None;
        }
        let path = record.get(24..)?;
        let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
        Some(CodeView {
            guid: record.get(4..20)?.try_into().ok()?,
            age: View::new(record, true).u32(20)?,
            path: String::from_utf8_lossy(path.get(..end)?).into_owned(),
        })
    })
}
