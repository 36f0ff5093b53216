//! Builders of images of machines, from a layout of memory whose bytes follow from their addresses.
//!
//! For example `let mut layout = Layout::new(); layout.present(0..0x3000); let file = lime::build(&layout);`.
//!
//! Trap: a page's bytes name its address, so a page in the wrong place is seen; about half of each page is the same
//! everywhere, or nothing would be packed.

pub mod avml;
pub mod kdump;
pub mod lime;
pub mod lkcd;
pub mod macos_kernel;
pub mod microvm;
pub mod numbered;
pub mod qemu;
pub mod vmcore;
pub mod vmware;

use std::ops::Range;

/// Why there are no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// It was memory, and was left out.
    LeftOut,
}

/// Memory: ascending ranges.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    ranges: Vec<(Range<u64>, Kind)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Present,
    Zeros,
    Hole,
}

/// The bytes of the page at an address.
#[must_use]
pub fn page(at: u64) -> [u8; 4096] {
    let mut bytes = [0; 4096];
    let mut state = at ^ 0x9e37_79b9_7f4a_7c15;
    for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
        let value = if index % 2 == 0 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state
        } else {
            0x6c69_6665_206f_6620
        };
        word.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

impl Layout {
    /// No memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds pages; ranges come in ascending order and end with pages.
    pub fn present(&mut self, range: Range<u64>) {
        self.ranges.push((range, Kind::Present));
    }

    /// Adds pages of zeros.
    pub fn zeros(&mut self, range: Range<u64>) {
        self.ranges.push((range, Kind::Zeros));
    }

    /// Adds memory without bytes.
    pub fn hole(&mut self, range: Range<u64>, _why: Hole) {
        self.ranges.push((range, Kind::Hole));
    }

    /// Ranges that have bytes, each with them; neighbours are one.
    #[must_use]
    pub fn pieces(&self) -> Vec<(Range<u64>, Vec<u8>)> {
        let mut pieces: Vec<(Range<u64>, Vec<u8>)> = Vec::new();
        for (range, kind) in self.ranges.iter().filter(|(_, kind)| *kind != Kind::Hole) {
            let pages = (range.start..range.end).step_by(4096);
            let bytes: Vec<u8> = pages.flat_map(|at| if *kind == Kind::Zeros { [0; 4096] } else { page(at) }).collect();
            match pieces.last_mut() {
                Some((last, all)) if last.end == range.start => {
                    last.end = range.end;
                    all.extend(bytes);
                }
                _ => pieces.push((range.clone(), bytes)),
            }
        }
        pieces
    }

    /// Ranges of memory without bytes.
    #[must_use]
    pub fn holes(&self) -> Vec<Range<u64>> {
        self.ranges.iter().filter(|(_, kind)| *kind == Kind::Hole).map(|(range, _)| range.clone()).collect()
    }

    /// All ranges of memory, and whether they have bytes; neighbours of the same kind are one.
    #[must_use]
    pub fn extents(&self) -> Vec<(Range<u64>, bool)> {
        let mut extents: Vec<(Range<u64>, bool)> = Vec::new();
        for (range, kind) in &self.ranges {
            let present = *kind != Kind::Hole;
            match extents.last_mut() {
                Some((last, same)) if last.end == range.start && *same == present => last.end = range.end,
                _ => extents.push((range.clone(), present)),
            }
        }
        extents
    }

    /// The same in a form that knows no holes.
    #[must_use]
    pub fn without_holes(&self) -> Self {
        Self { ranges: self.ranges.iter().filter(|(_, kind)| *kind != Kind::Hole).cloned().collect() }
    }
}
