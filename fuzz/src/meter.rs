//! Counts the bytes that are allocated, because libFuzzer's own limit sees only resident memory, and only now and then.
//!
//! What it is not: exact about C libraries (zstd, lzma), which do not ask Rust's allocator.
//!
//! For example a body that asks for 300 MiB of zeros panics at its end although it never touched them.
//!
//! *Trap*: a panic inside an allocator is undefined behaviour, so the judgement waits for the end of the body.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that a body may hold at once: what the program promises for a hostile file.
pub const LIMIT: usize = 256 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Meter;

impl Meter {
    fn more(bytes: usize) {
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(held, Ordering::Relaxed);
    }

    fn less(bytes: usize) {
        HELD.fetch_sub(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator as it is; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::more(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        Self::less(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`, and `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::more(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::more(size);
        Self::less(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`, and `at` came from `System`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static METER: Meter = Meter;

/// Runs a body, and panics if it held more than [`LIMIT`].
pub(crate) fn metered(body: impl FnOnce()) {
    metered_within(LIMIT, body);
}

/// The same with another limit.
pub(crate) fn metered_within(limit: usize, body: impl FnOnce()) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    body();
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(peak <= limit, "held {peak} bytes at once");
}
