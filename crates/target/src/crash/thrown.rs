//! The C++ exception that a Windows program threw and nobody caught: its type, its bases, and its text.
//!
//! What it is not: GCC's exceptions on Windows, which have another code and the layout of `cpp`.
//!
//! Facts: the record's parameters are a magic number, the object, its `ThrowInfo` and, on 64 bits, the base of the image
//! that the rest counts from (`ehdata.h` of Visual C++). `ThrowInfo` leads to an array of catchable types, the thrown one
//! first; each has a `TypeDescriptor`, whose name begins with a dot.
//!
//! Trap: these tables lie in read-only data, which small dumps leave out. They are the same in the module's file.

use super::Evidence;
use super::scene::{Scene, fact};
use afterimage_dump::{MemoryExt, Virt};
use afterimage_symbols::msvc_type_name;

/// The exception code of Visual C++: `msc` after a byte 0xe0.
pub(crate) const CODE: u32 = 0xe06d_7363;
/// Versions of the magic number differ in the last digit; managed code has another one.
const MAGIC: std::ops::RangeInclusive<u64> = 0x1993_0520..=0x1993_0523;
/// Catchable types that are looked at.
const MAX_TYPES: u32 = 16;

/// What was thrown.
pub(crate) struct Thrown {
    /// The type, as `std::runtime_error`; the decorated name if it is not understood.
    pub type_name: String,
    /// The text of `what()`, a thrown text or number.
    pub text: Option<String>,
    pub evidence: Vec<Evidence>,
}

struct Reader<'a> {
    scene: &'a Scene<'a>,
    base: u64,
}

impl Reader<'_> {
    /// Bytes of memory, or of the module's file where the dump has left them out.
    fn bytes(&self, at: u64, buf: &mut [u8]) -> usize {
        let have = self.scene.target.memory().read_upto(Virt(at), buf);
        if have > 0 {
            return have;
        }
        let Some(module) = self.scene.target.module_at(Virt(at)) else { return 0 };
        let rva = u32::try_from(at.wrapping_sub(module.base.0)).unwrap_or(u32::MAX);
        module.pe_file().map_or(0, |image| image.read_relocated(rva, buf, module.base.0))
    }

    fn u32(&self, at: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        (self.bytes(at, &mut bytes) == 4).then(|| u32::from_le_bytes(bytes))
    }

    /// An address that is written in 32 bits: relative to the image, or plain in a 32-bit program.
    fn pointer(&self, at: u64) -> Option<u64> {
        let value = u64::from(self.u32(at)?);
        (value != 0).then(|| self.base.wrapping_add(value))
    }

    fn text(&self, at: u64) -> Option<String> {
        let mut bytes = [0u8; 1024];
        let have = self.bytes(at, &mut bytes);
        let bytes = bytes.get(..have)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        Some(std::str::from_utf8(bytes.get(..end)?).ok()?.to_owned())
    }
}

/// Decodes the parameters of the exception; `None` if they are not those of a throw, or the dump lacks the tables.
pub(crate) fn find(scene: &Scene, parameters: &[u64]) -> Option<Thrown> {
    let wide = scene.word_size() == 8;
    let (&magic, &object, &info) = (parameters.first()?, parameters.get(1)?, parameters.get(2)?);
    if !MAGIC.contains(&magic) || info == 0 {
        return None;
    }
    let base = if wide { *parameters.get(3)? } else { 0 };
    let reader = Reader { scene, base };
    let array = reader.pointer(info.checked_add(12)?)?;
    let count = reader.u32(array)?.min(MAX_TYPES);
    let mut names = Vec::new();
    // Where the part of the object lies that is a `std::exception`.
    let mut exception = None;
    let mut first_descriptor = None;
    for index in 0..u64::from(count) {
        let Some(kind) = array.checked_add(4 + 4 * index).and_then(|at| reader.pointer(at)) else { break };
        let Some(descriptor) = reader.pointer(kind.wrapping_add(4)) else { break };
        let name = descriptor.wrapping_add(2 * scene.word_size());
        let Some(raw) = reader.text(name).filter(|raw| raw.starts_with('.')) else { break };
        first_descriptor.get_or_insert((descriptor, raw.clone()));
        if raw == ".?AVexception@std@@" {
            exception = reader.u32(kind.wrapping_add(8)).map(|offset| object.wrapping_add(u64::from(offset)));
        }
        names.push(msvc_type_name(&raw).unwrap_or(raw));
    }
    let (descriptor, raw) = first_descriptor?;
    let type_name = names.first()?.clone();
    let mut evidence = vec![
        fact("memory", format!("the thrown object at {object:#x}"), Some(object)),
        fact("symbol", format!("its type descriptor at {descriptor:#x} is named {raw}"), Some(descriptor)),
    ];
    if names.len() > 1 {
        let bases = names.get(1..).unwrap_or_default().join(", ");
        evidence.push(fact("symbol", format!("it can be caught as {bases} too"), Some(array)));
    }
    // `std::exception`: a table of virtual functions, then the text.
    let what = exception.and_then(|at| scene.word(at.wrapping_add(scene.word_size())));
    let text = match raw.as_str() {
        ".PEBD" | ".PEAD" | ".PBD" | ".PAD" => scene.word(object).and_then(|at| reader.text(at)),
        ".H" | ".J" => scene.uint(object, 4).map(|value| (value as i32).to_string()),
        ".I" | ".K" => scene.uint(object, 4).map(|value| value.to_string()),
        _ => what.filter(|&at| at != 0).and_then(|at| reader.text(at)),
    };
    Some(Thrown { type_name, text: text.filter(|text| !text.is_empty()), evidence })
}
