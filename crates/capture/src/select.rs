//! The most useful memory first: what a dump keeps when it may not keep all.
//!
//! *What it is*: a list of wishes in the order of their worth, taken until the budget of bytes is spent: the tops of
//! all stacks, the way to the modules' names, thread-local storage, what registers point at, more of the stacks, what
//! stacks point at, the program's data, then outwards along pointers, and at last whatever else there is.
//!
//! *What it is not*: the plan. Its ranges become one in [`crate::plan`].
//!
//! *Example*: 64 KiB give every thread of an ordinary program its whole backtrace.
//!
//! *Trap*: the unit is the page: debuggers expect segments of whole pages. So one pointer costs 4 KiB, and what stands
//! together is cheap.

use crate::elf;
use crate::memory::Reader;
use crate::picture::Thread;
use crate::procfs::Vma;
use crate::regs::Machine;
use crate::touched::Touched;
use afterimage_dump::write::elf_core::Class;
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes below the stack pointer that belong to the innermost function (x86-64's red zone is 128).
const RED_ZONE: u64 = 256;
/// How much of each stack is wished for, in turn.
const STACKS: [u64; 4] = [2 << 10, 8 << 10, 32 << 10, 1 << 20];
/// Bytes around what a pointer points at, and how many of them before it.
const POINTEE: u64 = 512;
const BEFORE: u64 = 128;
/// Thread-local storage and the thread's own record around the thread pointer (glibc's `struct pthread` has 2304 bytes).
const TLS_BELOW: u64 = 1 << 10;
const TLS_ABOVE: u64 = 2304;
/// Bytes of each stack in which pointers are looked for.
const SEARCHED: u64 = 16 << 10;

/// What is chosen from.
pub(crate) struct Choice<'a> {
    pub(crate) threads: &'a [Thread],
    pub(crate) machine: &'a Machine,
    pub(crate) vmas: &'a [Vma],
    pub(crate) reader: &'a Reader,
    pub(crate) auxv: &'a [u8],
    pub(crate) page: u64,
    /// Bytes that may be kept.
    pub(crate) budget: u64,
    /// Whether all else follows, as far as the budget goes: what exists is told by the page tables of this process.
    pub(crate) rest: Option<i32>,
}

/// Ranges by whole pages, apart from each other.
#[derive(Default)]
struct Pages {
    by_start: BTreeMap<u64, u64>,
    len: u64,
}

impl Pages {
    /// Adds what is not there yet of `start..end`, at most `room` bytes; gives the bytes added.
    fn add(&mut self, range: Range<u64>, room: u64) -> u64 {
        let (mut at, mut added) = (range.start, 0);
        while at < range.end && added < room {
            let before = self.by_start.range(..=at).next_back().map(|(start, end)| (*start, *end));
            if let Some((_, end)) = before.filter(|(_, end)| *end > at) {
                at = end;
                continue;
            }
            let after = self.by_start.range(at..).next().map_or(u64::MAX, |(start, _)| *start);
            let end = range.end.min(after).min(at.saturating_add(room - added));
            match before.filter(|(_, end)| *end == at) {
                Some((start, _)) => self.by_start.insert(start, end),
                None => self.by_start.insert(at, end),
            };
            added += end - at;
            at = end;
        }
        self.len += added;
        added
    }
}

struct Selection<'a> {
    of: &'a Choice<'a>,
    pages: Pages,
    /// Pages whose pointers have not been followed yet.
    queue: std::collections::VecDeque<Range<u64>>,
}

/// Chooses; ranges ascend.
pub(crate) fn select(choice: &Choice<'_>) -> Vec<Range<u64>> {
    let mut selection = Selection { of: choice, pages: Pages::default(), queue: std::collections::VecDeque::new() };
    selection.run();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (start, end) in selection.pages.by_start {
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

impl Selection<'_> {
    fn run(&mut self) {
        let Choice { threads, machine, vmas, reader, auxv, .. } = *self.of;
        let [first, second, third, last] = STACKS;
        self.stacks(first);
        for range in elf::link_map_ranges(reader, auxv, machine.class == Class::Bits64) {
            self.wish(range);
        }
        for thread in threads {
            if let Some(at) = machine.thread_pointer(&thread.registers) {
                self.wish(at.saturating_sub(TLS_BELOW)..at.saturating_add(TLS_ABOVE));
            }
        }
        self.stacks(second);
        self.stacks(third);
        // The kernel's own code, and the first pages of what stands on the stacks: there the build-ids are.
        for vma in vmas.iter().filter(|vma| vma.vdso()) {
            self.wish(vma.start..vma.end);
        }
        let bases = self.modules_on_stacks();
        for base in bases {
            self.wish(base..base + 1);
        }
        for thread in threads {
            for value in machine.values(&thread.registers) {
                self.pointee(value);
            }
        }
        self.stacks(last);
        for stack in self.stack_ranges(SEARCHED) {
            for value in self.words(&stack) {
                self.pointee(value);
            }
        }
        let Some(pid) = self.of.rest else { return };
        let data = |vma: &&Vma| vma.file && vma.own_pages && vma.permissions.write && storable(vma);
        for vma in vmas.iter().filter(data) {
            self.wish(vma.start..vma.end);
            self.queue.push_back(vma.start..vma.end);
        }
        self.follow();
        if let Ok(mut touched) = Touched::of(pid) {
            for vma in vmas.iter().filter(|vma| !vma.file && !vma.shared && storable(vma)) {
                let mut at = vma.start;
                while self.room() > 0
                    && let Some(range) = touched.next(at, vma.end)
                {
                    at = range.end;
                    self.wish(range);
                }
            }
        }
    }

    fn room(&self) -> u64 {
        self.of.budget.saturating_sub(self.pages.len)
    }

    /// Adds the pages of a range, as far as it is mapped and the budget goes.
    fn wish(&mut self, range: Range<u64>) -> u64 {
        let Choice { vmas, page, .. } = *self.of;
        let start = range.start / page * page;
        let end = range.end.checked_next_multiple_of(page).unwrap_or(range.end);
        let first = vmas.partition_point(|vma| vma.end <= start);
        let mut added = 0;
        for vma in vmas.iter().skip(first).take_while(|vma| vma.start < end).filter(|vma| storable(vma)) {
            let room = self.room() / page * page;
            added += self.pages.add(start.max(vma.start)..end.min(vma.end), room);
        }
        added
    }

    /// What a pointer points at, if it is one into memory that may be changed.
    fn pointee(&mut self, value: u64) {
        let vmas = self.of.vmas;
        let vma = vmas.get(vmas.partition_point(|vma| vma.end <= value));
        if vma.is_some_and(|vma| vma.start <= value && vma.permissions.write && storable(vma)) {
            let start = value.saturating_sub(BEFORE);
            let range = start..start.saturating_add(POINTEE);
            if self.wish(range.clone()) > 0 && self.of.rest.is_some() {
                self.queue.push_back(range);
            }
        }
    }

    /// Follows pointers breadth first.
    fn follow(&mut self) {
        while self.room() > 0
            && let Some(range) = self.queue.pop_front()
        {
            for value in self.words(&range) {
                self.pointee(value);
            }
        }
    }

    fn words(&self, range: &Range<u64>) -> Vec<u64> {
        const MOST: u64 = 4 << 20;
        let word = if self.of.machine.class == Class::Bits64 { 8 } else { 4 };
        let start = range.start / word * word;
        let bytes = self.of.reader.some(start, (range.end - start).min(MOST) as usize);
        let value = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        bytes.chunks_exact(word as usize).map(value).filter(|value| *value >= 0x1000).collect()
    }

    fn stacks(&mut self, most: u64) {
        for range in self.stack_ranges(most) {
            self.wish(range);
        }
    }

    /// The used parts of all stacks, at most so much of each. After an overflow the stack pointer is in the guard below.
    fn stack_ranges(&self, most: u64) -> Vec<Range<u64>> {
        let Choice { threads, machine, vmas, .. } = *self.of;
        let range = |thread: &Thread| {
            let sp = machine.sp(&thread.registers)?;
            let next = vmas.partition_point(|vma| vma.end <= sp);
            let usable = |vma: &&Vma| vma.permissions.read && vma.start <= sp.saturating_add(1 << 20);
            let vma = vmas.iter().skip(next).take(2).find(usable)?;
            let start = sp.saturating_sub(RED_ZONE).max(vma.start);
            Some(start..vma.end.min(start.saturating_add(most)))
        };
        threads.iter().filter_map(range).collect()
    }

    /// Where the modules begin into whose code the stacks point.
    fn modules_on_stacks(&self) -> Vec<u64> {
        let vmas = self.of.vmas;
        let mut bases = Vec::new();
        let mut add = |value: u64| {
            let index = vmas.partition_point(|vma| vma.end <= value);
            let Some(vma) = vmas.get(index).filter(|vma| vma.start <= value && vma.permissions.execute && vma.file)
            else {
                return;
            };
            // The file's first page is mapped below its code.
            let first = vmas.iter().take(index + 1).rev().take_while(|other| other.path == vma.path || !other.file);
            if let Some(base) = first.filter(|other| other.path == vma.path && other.offset == 0).last()
                && !bases.contains(&base.start)
            {
                bases.push(base.start);
            }
        };
        for thread in self.of.threads {
            self.of.machine.pc(&thread.registers).into_iter().for_each(&mut add);
        }
        for stack in self.stack_ranges(SEARCHED) {
            self.words(&stack).into_iter().for_each(&mut add);
        }
        bases
    }
}

/// Memory that a dump may hold, and that can be read.
fn storable(vma: &Vma) -> bool {
    let of_the_kernel = vma.path.starts_with(b"[v") && !vma.vdso();
    !vma.io && !vma.dont_dump && !vma.secret() && !of_the_kernel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_once() {
        let mut pages = Pages::default();
        assert_eq!(pages.add(0x3000..0x5000, u64::MAX), 0x2000);
        assert_eq!(pages.add(0x2000..0x6000, u64::MAX), 0x2000);
        assert_eq!(pages.add(0x2000..0x6000, u64::MAX), 0);
        assert_eq!(pages.add(0x1000..0x9000, 0x2000), 0x2000);
        assert_eq!(pages.len, 0x6000);
        assert_eq!(pages.add(0..u64::MAX, 0), 0);
    }
}
