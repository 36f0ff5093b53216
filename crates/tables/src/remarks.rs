//! The remarks of one table: as many as somebody reads, and none that is not true.

use crate::cell::Cell;
use crate::rows::linux::files::NONE;
use crate::sink::Sink;
use afterimage_target::Target;
use std::ops::ControlFlow;

/// Lets the first remarks through and counts the others: a damaged machine has one for each of a million lists.
pub(crate) struct FewNotes<'a> {
    inner: &'a mut dyn Sink,
    target: &'a Target,
    seen: usize,
}

impl<'a> FewNotes<'a> {
    /// Remarks of one table that are told.
    const MOST: usize = 100;

    pub(crate) fn new(inner: &'a mut dyn Sink, target: &'a Target) -> Self {
        Self { inner, target, seen: 0 }
    }

    /// Tells how many were left out.
    pub(crate) fn finish(self) {
        if let Some(more) = self.seen.checked_sub(Self::MOST).filter(|more| *more > 0) {
            self.inner.note(&format!("{more} more remarks like these"));
        }
    }
}

impl Sink for FewNotes<'_> {
    fn row(&mut self, cells: Vec<Cell>) -> ControlFlow<()> {
        self.inner.row(cells)
    }

    fn note(&mut self, note: &str) {
        // What was not read to its end may be somewhere: that is told instead.
        if note == NONE && self.target.linux_spent().is_some() {
            return;
        }
        self.seen += 1;
        if self.seen <= Self::MOST {
            self.inner.note(note);
        }
    }
}
