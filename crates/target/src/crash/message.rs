//! A program's last words: what it wrote before it gave up.
//!
//! Folklore: glibc keeps the text of a failed assertion, a detected heap corruption or a smashed stack in
//! `__abort_msg`, a pointer to `struct { unsigned size; char msg[]; }` (glibc `include/stdlib.h`, since 2.11), so that
//! debuggers can show it.

use super::scene::Scene;

/// Longest message that is read.
const LIMIT: usize = 4096;

/// The text that glibc keeps of the last fatal error.
pub(crate) fn glibc_abort_message(scene: &Scene) -> Option<String> {
    let variable = scene.target.symbol("__abort_msg")?;
    let pointer = scene.word(variable.0).filter(|&pointer| pointer != 0)?;
    let text = scene.text(pointer.checked_add(4)?, LIMIT)?;
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// What a message of glibc means: the verdict's name and a clause.
pub(crate) fn classify(message: &str) -> Option<(&'static str, &'static str)> {
    const HEAP: [&str; 12] = [
        "double free",
        "free():",
        "malloc():",
        "realloc():",
        "calloc():",
        "malloc_consolidate():",
        "munmap_chunk():",
        "mremap_chunk():",
        "corrupted size",
        "corrupted double-linked list",
        "corrupted unsorted chunks",
        "invalid fastbin entry",
    ];
    if message.contains("stack smashing detected") {
        Some(("stack_smashing", "a write past the end of a local variable was detected (stack smashing)"))
    } else if message.contains("buffer overflow detected") {
        Some(("buffer_overflow", "a copy into a buffer too small for it was stopped (buffer overflow)"))
    } else if HEAP.iter().any(|pattern| message.contains(pattern)) {
        Some(("heap_corruption", "the heap is corrupted"))
    } else if message.contains("Assertion ") && message.contains("failed") {
        Some(("assertion_failed", "an assertion failed"))
    } else if message.contains("*** %n in writable segment detected ***") {
        Some(("buffer_overflow", "a format string with %n in writable memory was stopped"))
    } else {
        None
    }
}

/// What a message of malloc says exactly, where it does.
pub(crate) fn heap_clause(message: &str) -> Option<&'static str> {
    if message.contains("double free") {
        Some("a block of memory was freed twice")
    } else if message.contains("invalid pointer") {
        Some("free() or realloc() was given a pointer that malloc never gave")
    } else {
        None
    }
}
