//! A Rust panic: where it was raised, and its text.
//!
//! Folklore: `std` keeps no copy of the message for debuggers. While the panic hook runs, though, the frames of
//! `std::panicking` hold the payload: a `String` (capacity, pointer, length in any order that rustc chose) for formatted
//! messages, a `&'static str` (pointer, length) for plain ones; and a `&Location` (file pointer, file length, line,
//! column). What is found is checked: the text must be printable UTF-8 of exactly that length.

use super::Evidence;
use super::scene::{Scene, fact};
use afterimage_dump::{MemoryExt, Virt};

/// Longest message that is believed.
const LONGEST: u64 = 4096;
/// Bytes of stack that are searched in the panic machinery's frames.
const SEARCH: u64 = 8 << 10;

/// A panic, as far as the stack still tells.
pub(crate) struct Panic {
    pub message: Option<String>,
    /// `src/main.rs:12:5`
    pub location: Option<String>,
    pub evidence: Vec<Evidence>,
    /// Physical frame that panicked: the first outside the machinery.
    pub frame: Option<usize>,
}

/// Whether a function is part of the machinery of a Rust panic.
pub(crate) fn is_machinery(function: &str) -> bool {
    const PARTS: [&str; 11] = [
        "rust_begin_unwind",
        "rust_panic",
        "core::panicking::",
        "std::sys::backtrace::__rust_end_short_backtrace",
        "std::process::abort",
        "std::sys::pal::unix::abort_internal",
        "std::sys::abort_internal",
        "core::option::unwrap_failed",
        "core::option::expect_failed",
        "core::result::unwrap_failed",
        "__rustc::",
    ];
    PARTS.iter().any(|part| function.contains(part))
        || raises(function)
        || function.starts_with("core::slice::index::")
        || function.starts_with("core::str::slice_error_fail")
        || function.starts_with("core::cell::panic_already")
        || function.contains("panic_bounds_check")
        || function.starts_with("alloc::raw_vec::handle_error")
}

/// Whether a function raises a panic. Its namesakes that catch one (`std::panicking::try`, `catch_unwind`) stand at the
/// bottom of every Rust stack.
fn raises(function: &str) -> bool {
    const RAISING: [&str; 9] = [
        "rust_begin_unwind",
        "rust_panic",
        "begin_panic",
        "core::panicking::panic",
        "core::panicking::assert_failed",
        "panic_bounds_check",
        "panic_nounwind",
        "panic_cannot_unwind",
        "panic_in_cleanup",
    ];
    RAISING.iter().any(|name| function.contains(name))
}

/// Looks for a panic on the crashed stack.
pub(crate) fn find(scene: &Scene) -> Option<Panic> {
    let functions = scene.functions(64);
    let Some(first) = functions.iter().position(|(_, name)| raises(name)) else { return without_names(scene) };
    let last = functions.iter().rposition(|(_, name)| is_machinery(name))?;
    let frame = functions.get(last + 1..).and_then(|rest| {
        let (machine, _) = functions.get(last)?;
        rest.iter().map(|(frame, _)| *frame).find(|frame| frame > machine).or(Some(*machine))
    });
    let innermost = functions.get(first).map_or(0, |(frame, _)| *frame);
    let outermost = functions.get(last).map_or(0, |(frame, _)| *frame);
    let start = scene.stack.frames.get(innermost).and_then(|frame| frame.registers.sp())?.0;
    let end = scene.stack.frames.get(outermost).and_then(|frame| frame.cfa)?.0;
    let words = words(scene, start, end);
    let location = words.iter().rev().find_map(|&(_, word)| location(scene, word));
    let file = location.as_ref().map(|(text, _)| text.clone()).unwrap_or_default();
    let message = message(scene, &words, &file);
    let mut evidence =
        vec![fact("frame", format!("{} frames of the panic machinery are on the stack", last + 1 - first), None)];
    if let Some((text, at)) = &location {
        evidence.push(fact("memory", format!("the panic's location record at {at:#x} says {text}"), Some(*at)));
    }
    if let Some((_, at)) = &message {
        evidence.push(fact("message", format!("the panic's text lies at {at:#x}"), Some(*at)));
    }
    Some(Panic { message: message.map(|(text, _)| text), location: location.map(|(text, _)| text), evidence, frame })
}

/// A panic of a program without symbols: a location record and a message that only panics have, near the abort.
fn without_names(scene: &Scene) -> Option<Panic> {
    let abort = scene.stack.frames.iter().position(|frame| {
        let module = scene.target.module_at(frame.address.lookup());
        module.is_some_and(|module| module.kind == crate::ModuleKind::Program)
    })?;
    let frame = scene.stack.frames.get(abort)?;
    if scene.function(frame).is_some() {
        return None;
    }
    let start = frame.registers.sp()?.0;
    let words = words(scene, start, start.saturating_add(SEARCH));
    let (place, record) = words.iter().find_map(|&(_, word)| location(scene, word))?;
    let (text, at) = message(scene, &words, &place).filter(|(text, _)| score(text) == KNOWN_MESSAGE)?;
    let evidence = vec![
        fact("memory", format!("a panic's location record at {record:#x} says {place}"), Some(record)),
        fact("message", format!("the panic's text lies at {at:#x}"), Some(at)),
    ];
    Some(Panic { message: Some(text), location: Some(place), evidence, frame: None })
}

/// Addresses and values of the words of a stretch of stack.
fn words(scene: &Scene, start: u64, end: u64) -> Vec<(u64, u64)> {
    let size = scene.word_size();
    let end = end.min(start.saturating_add(SEARCH));
    let mut words = Vec::new();
    let mut at = start & !(size - 1);
    while at < end {
        let Some(word) = scene.word(at) else { break };
        words.push((at, word));
        at += size;
    }
    words
}

/// `file:line:column`, if `at` is a `core::panic::Location`.
fn location(scene: &Scene, at: u64) -> Option<(String, u64)> {
    if at < super::fault::NULL_AREA {
        return None;
    }
    let size = scene.word_size();
    let file = scene.word(at)?;
    let length = scene.word(at.checked_add(size)?)?;
    // Since Rust 1.89 the file's name is NUL-terminated and its length counts the NUL; older ones do not have it.
    if !(4..=1024).contains(&length) || file < super::fault::NULL_AREA {
        return None;
    }
    let name = utf8(scene, file, length)?;
    let name = name.trim_end_matches('\0');
    let line = scene.uint(at.checked_add(2 * size)?, 4)?;
    let column = scene.uint(at.checked_add(2 * size + 4)?, 4)?;
    let sound = name.ends_with(".rs") && (1..1_000_000).contains(&line) && (1..10_000).contains(&column);
    sound.then(|| (format!("{name}:{line}:{column}"), at))
}

/// The most likely message: a text that pointer and length on the stack describe exactly.
fn message(scene: &Scene, words: &[(u64, u64)], location: &str) -> Option<(String, u64)> {
    let mut best: Option<(u32, String, u64)> = None;
    for pair in words.windows(2) {
        let [(_, first), (_, second)] = pair else { continue };
        for (pointer, length) in [(*first, *second), (*second, *first)] {
            // `fmt::Arguments` of a plain text keeps twice the length plus one since Rust 1.93.
            for length in [Some(length), (length & 1 == 1).then_some(length >> 1)].into_iter().flatten() {
                let Some(text) = candidate(scene, pointer, length) else { continue };
                if location.starts_with(&text) {
                    continue;
                }
                let score = score(&text);
                if score > 0 && best.as_ref().is_none_or(|(other, ..)| score > *other) {
                    best = Some((score, text, pointer));
                }
            }
        }
    }
    best.map(|(_, text, at)| (text, at))
}

fn candidate(scene: &Scene, pointer: u64, length: u64) -> Option<String> {
    if !(3..=LONGEST).contains(&length) || pointer < super::fault::NULL_AREA {
        return None;
    }
    let text = utf8(scene, pointer, length)?;
    text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t').then_some(text)
}

fn utf8(scene: &Scene, at: u64, length: u64) -> Option<String> {
    let mut bytes = vec![0; usize::try_from(length).ok().filter(|&length| length <= LONGEST as usize)?];
    scene.target.memory().read_exact(Virt(at), &mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// The score of a text that only a panic has.
const KNOWN_MESSAGE: u32 = 1000;

/// How much a text looks like a message rather than a name that happens to lie on the stack; 0: not at all.
fn score(text: &str) -> u32 {
    const KNOWN: [&str; 12] = [
        "called `Option::unwrap()` on a `None` value",
        "called `Result::unwrap()` on an `Err` value",
        "index out of bounds",
        "attempt to ",
        "assertion ",
        "explicit panic",
        "internal error: entered unreachable code",
        "not implemented",
        "not yet implemented",
        "range ",
        "already ",
        "byte index ",
    ];
    if text.ends_with(".rs") || text.starts_with("/rustc/") || text == "main" || text.contains("RUST_BACKTRACE") {
        return 0;
    }
    if text.contains("panicked at") || text.starts_with("thread '") || text.contains("stack backtrace") {
        return 0;
    }
    if KNOWN.iter().any(|known| text.starts_with(known)) {
        return KNOWN_MESSAGE;
    }
    if text.contains(' ') { 10 + text.len().min(500) as u32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machinery_is_told_from_programs() {
        assert!(is_machinery("core::panicking::panic_fmt"));
        assert!(is_machinery("std::panicking::rust_panic_with_hook"));
        assert!(!is_machinery("shop::take_order"));
        assert!(!is_machinery("std::panicking::catch_unwind::do_call"));
    }

    #[test]
    fn messages_before_names() {
        assert!(score("index out of bounds: the len is 3 but the index is 7") > score("some words of a message"));
        assert_eq!(score("main"), 0);
        assert_eq!(score("src/main.rs"), 0);
    }
}
