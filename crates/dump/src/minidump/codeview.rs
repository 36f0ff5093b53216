//! CodeView records: how a module says which debug file belongs to it.
//!
//! *Trap*: a GUID has two byte orders in one file. Windows stores its first three fields as little-endian numbers; the
//! text form turns them round, the build id of a Linux module that was squeezed into a GUID does not.

use super::input::{Input, Place};
use super::raw;
use crate::bytes::Fields;
use crate::write::pen::Pen;
use crate::{Endian, ModuleRecord, Os};

/// Bytes that are read of a record: a signature, a GUID and a path.
const MAX_RECORD: usize = 24 + (32 << 10);

/// Fills a module's `build_id`, `debug_id` and `debug_file` from its record.
pub(super) fn read(input: &Input<'_>, place: Place, os: Os, module: &mut ModuleRecord) {
    let bytes = input.read(place, MAX_RECORD);
    let fields = input.fields(&bytes);
    let name = |at| {
        let name = fields.cstr(at, MAX_RECORD)?;
        let name = String::from_utf8_lossy(name).into_owned();
        input.book(name.len()).then_some(name).filter(|name| !name.is_empty())
    };
    match fields.slice(0, 4) {
        Some(magic) if magic == raw::CV_SIGNATURE_RSDS => {
            let (Some(guid), Some(age)) = (fields.slice(4, 16), fields.u32(20)) else {
                input.loss(format!("the CodeView record at offset {:#x} is cut off", place.rva));
                return;
            };
            module.debug_file = name(24);
            // lldb and Breakpad leave zeros where they found no id.
            if guid.iter().any(|&b| b != 0) {
                module.debug_id = Some(debug_id(guid, input.endian, age));
                // The Mach-O UUID is the text form; Crashpad and Breakpad store it turned round like any GUID.
                let mach_o = matches!(os, Os::MacOs | Os::Ios);
                module.build_id = Some(if mach_o { turned(guid, input.endian) } else { guid.to_vec() });
            }
        }
        Some(magic) if magic == raw::CV_SIGNATURE_NB10 => {
            let (Some(signature), Some(age)) = (fields.u32(8), fields.u32(12)) else {
                input.loss(format!("the CodeView record at offset {:#x} is cut off", place.rva));
                return;
            };
            module.debug_file = name(16);
            module.debug_id = Some(format!("{signature:08X}{age:x}"));
        }
        Some(_) if fields.u32(0) == Some(raw::CV_SIGNATURE_ELF) => {
            let id = bytes.get(4..).unwrap_or_default();
            let id = id.get(..64).unwrap_or(id);
            if id.iter().any(|&b| b != 0) {
                module.build_id = Some(id.to_vec());
                module.debug_id = Some(elf_debug_id(id, input.endian));
            }
        }
        Some(magic) => {
            let magic: Vec<String> = magic.iter().map(|b| format!("{b:02x}")).collect();
            input.remark(format!(
                "the CodeView record of {} begins with {}, which is not known",
                module.path,
                magic.join(" ")
            ));
        }
        None => input.loss(format!("the CodeView record at offset {:#x} is cut off", place.rva)),
    }
}

/// Build id, Breakpad's identity and the debug file's name of an RSDS record, as it stands in a Windows module's memory.
pub(crate) fn rsds(record: &[u8]) -> Option<(Vec<u8>, String, Option<String>)> {
    let fields = Fields::new(record, Endian::Little);
    if fields.slice(0, 4)? != raw::CV_SIGNATURE_RSDS {
        return None;
    }
    let (guid, age) = (fields.slice(4, 16)?, fields.u32(20)?);
    let name = fields.cstr(24, MAX_RECORD).filter(|name| !name.is_empty());
    let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
    Some((guid.to_vec(), debug_id(guid, Endian::Little, age), name))
}

/// The record that [`read`] would read as this module's identity: RSDS or NB10 on Windows and macOS and for a module
/// with a debug file of its own, else an ELF's build id. Empty if the module has none.
pub(crate) fn bytes(module: &ModuleRecord, os: Os, endian: Endian) -> Vec<u8> {
    let mut pen = Pen::new(endian);
    let file = module.debug_file.as_deref().unwrap_or_default();
    let debug_id = module.debug_id.as_deref().unwrap_or_default();
    let of_elf = |id: &[u8]| debug_id.is_empty() || debug_id == elf_debug_id(id, endian);
    let elf = module.build_id.as_ref().filter(|id| of_elf(id) && module.debug_file.is_none());
    if let Some(id) = elf.filter(|_| !matches!(os, Os::Windows | Os::MacOs | Os::Ios)) {
        pen.u32(raw::CV_SIGNATURE_ELF);
        pen.bytes(id);
        return pen.done();
    }
    match module.build_id.as_ref().filter(|id| id.len() == 16) {
        Some(id) => {
            let mach_o = matches!(os, Os::MacOs | Os::Ios);
            pen.bytes(raw::CV_SIGNATURE_RSDS);
            pen.bytes(&if mach_o { turned(id, endian) } else { id.clone() });
            pen.u32(debug_id.get(32..).and_then(|age| u32::from_str_radix(age, 16).ok()).unwrap_or(0));
        }
        None => {
            let number = |range: std::ops::Range<usize>| u32::from_str_radix(debug_id.get(range)?, 16).ok();
            let (Some(signature), Some(age)) = (number(0..8), number(8..debug_id.len())) else {
                return Vec::new();
            };
            pen.bytes(raw::CV_SIGNATURE_NB10);
            pen.u32(0);
            pen.u32(signature);
            pen.u32(age);
        }
    }
    pen.bytes(file.as_bytes());
    pen.u8(0);
    pen.done()
}

/// Breakpad's text form: the GUID's fields as numbers in upper case, then the age in lower case.
fn debug_id(guid: &[u8], endian: Endian, age: u32) -> String {
    let mut text: String = turned(guid, endian).iter().map(|b| format!("{b:02X}")).collect();
    text.push_str(&format!("{age:x}"));
    text
}

/// Breakpad's rule for an ELF: the first 16 bytes of its build id, filled up with zeros, as a GUID; the age is 0.
fn elf_debug_id(id: &[u8], endian: Endian) -> String {
    let mut guid = [0; 16];
    for (to, from) in guid.iter_mut().zip(id) {
        *to = *from;
    }
    debug_id(&guid, endian, 0)
}

/// The 16 bytes of a GUID in the order in which its text form has them.
pub(super) fn turned(guid: &[u8], endian: Endian) -> Vec<u8> {
    let mut bytes = guid.to_vec();
    if endian == Endian::Little {
        for range in [0..4, 4..6, 6..8] {
            if let Some(field) = bytes.get_mut(range) {
                field.reverse();
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guid_text_forms() {
        let guid: Vec<u8> = (1..=16).collect();
        assert_eq!(debug_id(&guid, Endian::Little, 0x1a), "0403020106050807090A0B0C0D0E0F101a");
        assert_eq!(debug_id(&guid, Endian::Big, 0), "0102030405060708090A0B0C0D0E0F100");
    }
}
