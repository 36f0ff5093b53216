//! The memory of an opened dump, as a writer wants it.
//!
//! *What it is not*: it does not choose what is written; [`DumpMemory::stored`] says what there is.
//!
//! *Example*: `layout::write(&layout, &mut DumpMemory::new(&dump), &mut Pipe(out))`.
//!
//! *Trap*: memory that the dump says was zero has no bytes to store: it comes out as zeros where a layout has room for
//! it, and is best left out of the layout.

use super::layout::Content;
use crate::{Backing, Dump, Memory, MemoryExt, ProgressHook, Virt};
use std::io;
use std::ops::Range;

/// Lines about memory that cannot be read that are kept; more are counted.
const MAX_LINES: usize = 512;

/// A dump's memory on its way into another one.
pub struct DumpMemory<'a> {
    dump: &'a Dump,
    done: u64,
    total: u64,
    progress: Option<ProgressHook>,
    errors: Vec<String>,
    more_errors: u64,
}

impl<'a> DumpMemory<'a> {
    /// The memory of this dump.
    #[must_use]
    pub fn new(dump: &'a Dump) -> Self {
        Self { dump, done: 0, total: 0, progress: None, errors: Vec::new(), more_errors: 0 }
    }

    /// Tells somebody how many of `total` bytes are done.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressHook, total: u64) -> Self {
        self.progress = Some(progress);
        self.total = total;
        self
    }

    /// The ranges whose bytes the dump holds, ascending and apart; neighbours stay as the container has them.
    #[must_use]
    pub fn stored(dump: &Dump) -> Vec<Range<u64>> {
        let held = dump.memory.segments().iter().filter(|segment| matches!(segment.backing, Backing::File(_)));
        held.map(|segment| segment.start.0..segment.end.0).collect()
    }

    /// What could not be read.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let mut lines = self.errors.clone();
        if self.more_errors > 0 {
            lines.push(format!("{} more ranges of memory cannot be read", self.more_errors));
        }
        lines
    }
}

impl Content for DumpMemory<'_> {
    fn next(&mut self, at: u64, end: u64) -> Option<Range<u64>> {
        let segments = self.dump.memory.segments();
        let first = segments.partition_point(|segment| segment.end.0 <= at);
        let rest = segments.get(first..)?.iter().take_while(|segment| segment.start.0 < end);
        let held = rest.into_iter().find(|segment| matches!(segment.backing, Backing::File(_)))?;
        Some(held.start.0.max(at)..held.end.0.min(end))
    }

    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        let got = self.dump.memory.read_upto(Virt(at), buf);
        if let Some(rest) = buf.get_mut(got..).filter(|rest| !rest.is_empty()) {
            rest.fill(0);
            let from = Virt(at.saturating_add(got as u64));
            let why = self.dump.memory.read_at(from, &mut [0]).err().map(|fault| fault.why.to_string());
            let why = why.unwrap_or_else(|| "the file gave fewer bytes than it has".to_owned());
            let end = from.0.saturating_add(rest.len() as u64);
            if self.errors.len() < MAX_LINES {
                self.errors.push(format!("memory {:#x}-{end:#x} cannot be read ({why}); it is zeros here", from.0));
            } else {
                self.more_errors += 1;
            }
        }
        self.done = self.done.saturating_add(buf.len() as u64);
        if let Some(progress) = &self.progress {
            progress.call(self.done, self.total);
        }
        Ok(())
    }

    fn soft_errors(&mut self) -> Vec<String> {
        let mut lines = self.dump.soft_errors.clone();
        lines.extend(self.errors());
        lines
    }
}
