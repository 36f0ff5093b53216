//! The C++ exception that nobody caught: its type, and its text.
//!
//! Folklore: every exception in flight has a header whose last part is an `_Unwind_Exception` that begins with the class
//! `GNUCC++\0` (Itanium C++ ABI, exception handling, section 2.2.1; libc++abi writes `CLNGC++\0`); the thrown object
//! follows it, and `exceptionType`, a `std::type_info *`, is the header's first field. The runtime's frames hold
//! pointers to that header, so a search of the stack for pointers to the class finds it.

use super::Evidence;
use super::scene::{Scene, fact};

const GNU_CLASS: u64 = 0x474e_5543_432b_2b00;
const CLANG_CLASS: u64 = 0x434c_4e47_432b_2b00;
/// Bytes of stack that are searched.
const SEARCH: u64 = 16 << 10;

/// An exception in flight.
pub(crate) struct CppException {
    /// Demangled type, as `std::runtime_error`.
    pub type_name: String,
    /// What `what()` would say, or the value of a thrown text or number.
    pub text: Option<String>,
    pub evidence: Vec<Evidence>,
}

/// Looks for the exception that ended the program.
pub(crate) fn find(scene: &Scene) -> Option<CppException> {
    // The layout differs for 32-bit programs; theirs is not searched.
    if scene.word_size() != 8 {
        return None;
    }
    let sp = scene.registers.sp()?.0 & !7;
    let mut seen = Vec::new();
    for offset in (0..SEARCH).step_by(8) {
        let Some(header) = scene.word(sp.wrapping_add(offset)) else { break };
        if header < super::fault::NULL_AREA || header % 8 != 0 || seen.contains(&header) {
            continue;
        }
        seen.push(header);
        // Reading every stack word as a pointer is cheap; only very few of them point to the class.
        // A dependent exception (rethrown from an `exception_ptr`) ends in 01 and points to the first one.
        if matches!(scene.uint(header, 8), Some(GNU_CLASS | CLANG_CLASS))
            && let Some(found) = describe(scene, header)
        {
            return Some(found);
        }
    }
    None
}

fn describe(scene: &Scene, header: u64) -> Option<CppException> {
    // exceptionType, dtor, unexpected, terminate, next: 5 × 8; two ints; actionRecord, lsda, catchTemp, adjustedPtr: 4 × 8.
    let type_info = scene.word(header.checked_sub(80)?)?;
    let object = header.checked_add(32)?;
    let mangled = type_name(scene, type_info)?;
    let type_name = demangled(&mangled);
    let text = thrown_text(scene, type_info, &mangled, object);
    let evidence = vec![
        fact("memory", format!("a C++ exception in flight at {object:#x}"), Some(object)),
        fact("symbol", format!("its type information at {type_info:#x} is named {mangled}"), Some(type_info)),
    ];
    Some(CppException { type_name, text, evidence })
}

/// The mangled name in a `std::type_info`: its second word.
fn type_name(scene: &Scene, type_info: u64) -> Option<String> {
    let name = scene.text(scene.word(type_info.checked_add(8)?)?, 1024)?;
    // A leading star marks names that are compared by address only.
    let name = name.trim_start_matches('*');
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())).then(|| name.to_owned())
}

fn demangled(mangled: &str) -> String {
    let symbol = format!("_ZTS{mangled}");
    let text = afterimage_symbols::demangle(&symbol);
    text.strip_prefix("typeinfo name for ").unwrap_or(mangled).to_owned()
}

fn thrown_text(scene: &Scene, type_info: u64, mangled: &str, object: u64) -> Option<String> {
    match mangled {
        "PKc" | "Pc" => return scene.text(scene.word(object)?, 1024),
        "i" => return Some((scene.uint(object, 4)? as i32).to_string()),
        "j" => return scene.uint(object, 4).map(|value| value.to_string()),
        "l" => return Some((scene.uint(object, 8)? as i64).to_string()),
        "m" => return scene.uint(object, 8).map(|value| value.to_string()),
        "b" => return Some((scene.uint(object, 1)? != 0).to_string()),
        // `std::string`: data pointer, then length.
        "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE" => return scene.text(scene.word(object)?, 1024),
        "St9bad_alloc" | "St17bad_function_call" | "St8bad_cast" | "St20bad_array_new_length" => return None,
        _ => {}
    }
    // Up the chain of single bases: `__si_class_type_info` holds its base's type information in its third word.
    let mut at = type_info;
    for _ in 0..16 {
        let name = type_name(scene, at)?;
        if matches!(name.as_str(), "St13runtime_error" | "St11logic_error") {
            // Both hold a reference-counted string: one pointer to the text.
            return scene.text(scene.word(object.checked_add(8)?)?, 1024);
        }
        at = scene.word(at.checked_add(16)?)?;
    }
    None
}
