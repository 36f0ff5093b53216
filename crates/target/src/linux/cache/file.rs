//! One file's bytes in the page cache: which pages are there, where they lie, and why others are not.
//!
//! *Trap*: a folio's own number in its file, not its place in the tree, says which of its pages belongs where: kernels
//! before 5.17 give each page of a huge one a place of its own that leads to the first.

use super::tree::Slot;
use crate::linux::Linux;
use afterimage_dump::{Absence, MemoryExt, Phys};

/// What has become of a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// It lies in physical memory at this address, one page after the other.
    Cached(Phys),
    /// It was not in the page cache, but a process has it mapped at this physical address, and may have changed it.
    Mapped(Phys),
    /// Nothing was ever written there, and a file system in memory has nowhere else to keep it: zeros.
    Hole,
    /// It was not in memory.
    NotCached,
    /// It was in swap.
    Swapped,
    /// It was being read in, or could not be, or only blocks beside it were asked for.
    NotUpToDate,
    /// The tree or the page's structure there is not in the dump.
    Unknown,
    /// What the tree leads to is not of this file.
    Damaged,
    /// The page was in memory, and the dump does not have it.
    NotInDump(Absence),
}

impl PageState {
    /// In words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cached(_) => "cached",
            Self::Mapped(_) => "in the memory of a process",
            Self::Hole => "a hole",
            Self::NotCached => "not cached",
            Self::Swapped => "swapped out",
            Self::NotUpToDate => "not up to date",
            Self::Unknown => "the kernel's own record of it is not in the dump",
            Self::Damaged => "the kernel's own record of it is damaged",
            Self::NotInDump(Absence::Truncated) => "lost: the dump is cut off",
            Self::NotInDump(_) => "not in the dump",
        }
    }

    /// As a failed read of memory says it.
    #[must_use]
    pub fn absence(self) -> Option<Absence> {
        match self {
            Self::Cached(_) | Self::Mapped(_) | Self::Hole => None,
            Self::Swapped => Some(Absence::Swapped),
            Self::Damaged => Some(Absence::Corrupt),
            Self::NotInDump(why) => Some(why),
            Self::NotCached | Self::NotUpToDate | Self::Unknown => Some(Absence::NotInDump),
        }
    }
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRun {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// What has become of it.
    pub state: PageState,
}

/// The pages of a file that its tree knows of, in their order; numbers of pages.
pub(in crate::linux) struct FilePages {
    runs: Vec<PageRun>,
    /// What there is of pages that are not up to date as a whole.
    parts: Vec<Part>,
    /// What a page is that the tree does not know of.
    rest: PageState,
    /// Bytes of the file.
    pub(in crate::linux) size: u64,
}

/// Bytes of a file that are up to date in a page that is not.
struct Part {
    offset: u64,
    length: u64,
    at: Phys,
}

#[derive(Clone, Copy)]
struct PageRun {
    index: u64,
    pages: u64,
    state: PageState,
}

impl FilePages {
    /// The page with this number, and how many from it on have the same state, one behind the other.
    pub(in crate::linux) fn find(&self, index: u64, page_bytes: u64) -> (PageState, u64) {
        let next = self.runs.partition_point(|run| run.index <= index);
        let run = next.checked_sub(1).and_then(|before| self.runs.get(before));
        if let Some(run) = run.filter(|run| index - run.index < run.pages) {
            let skipped = index - run.index;
            let state = match run.state {
                PageState::Cached(first) => {
                    PageState::Cached(Phys(first.0.wrapping_add(skipped.wrapping_mul(page_bytes))))
                }
                other => other,
            };
            return (state, run.pages - skipped);
        }
        (self.rest, self.runs.get(next).map_or(u64::MAX, |run| run.index) - index)
    }

    /// Adds a stretch behind the last one, and says whether it did: a tree that goes back is damaged.
    fn push(&mut self, run: PageRun, page_bytes: u64) -> bool {
        if let Some(last) = self.runs.last_mut() {
            let end = last.index + last.pages;
            if run.index < end {
                return false;
            }
            let follows = match (last.state, run.state) {
                (PageState::Cached(first), PageState::Cached(next)) => {
                    first.0.wrapping_add(last.pages.wrapping_mul(page_bytes)) == next.0
                }
                (one, other) => one == other,
            };
            if follows && end == run.index {
                last.pages += run.pages;
                return true;
            }
        }
        self.runs.push(run);
        true
    }
}

impl Linux {
    /// The pages of a file, by its `address_space`; `size` is the file's in bytes.
    pub(in crate::linux) fn file_pages(&self, mapping: u64, size: u64) -> Result<FilePages, String> {
        let page_bytes = self.page_bytes();
        let in_memory = self.in_memory_only(mapping);
        let rest = if in_memory { PageState::Hole } else { PageState::NotCached };
        let mut pages = FilePages { runs: Vec::new(), parts: Vec::new(), rest, size };
        let head = self.offset("address_space", "i_pages.xa_head")?;
        let Some(head) = self.word(mapping.wrapping_add(head)) else {
            pages.rest = PageState::Unknown;
            return Ok(pages);
        };
        for slot in self.page_slots(head)? {
            let Some(entry) = slot.entry else {
                pages.push(PageRun { index: slot.index, pages: slot.pages, state: PageState::Unknown }, page_bytes);
                continue;
            };
            if entry & 1 == 1 {
                // A number: of a place in swap, or a shadow of what was here once.
                let state = if in_memory { PageState::Swapped } else { PageState::NotCached };
                pages.push(PageRun { index: slot.index, pages: slot.pages, state }, page_bytes);
                continue;
            }
            let mut parts = Vec::new();
            let (state, count) = self.folio_state(mapping, slot, entry, &mut parts);
            if pages.push(PageRun { index: slot.index, pages: count, state }, page_bytes) {
                pages.parts.append(&mut parts);
            }
        }
        Ok(pages)
    }

    /// Where the pages of one entry are; what of them is up to date, if they are not as a whole, goes to `parts`.
    fn folio_state(&self, mapping: u64, slot: Slot, folio: u64, parts: &mut Vec<Part>) -> (PageState, u64) {
        let structure = if self.offset("folio", "index").is_ok() { "folio" } else { "page" };
        let own = self.pointer(folio, structure, "mapping").zip(self.pointer(folio, structure, "index"));
        let flags = self.pointer(folio, structure, "flags");
        let Some(((own, first), flags)) = own.zip(flags) else { return (PageState::Unknown, slot.pages) };
        let Some(skipped) = slot.index.checked_sub(first).filter(|_| own == mapping) else {
            return (PageState::Damaged, slot.pages);
        };
        // No folio is larger than the largest that a table of a level maps.
        const LARGEST: u64 = 1 << 18;
        if skipped >= LARGEST {
            return (PageState::Damaged, slot.pages);
        }
        let count = slot.pages.min(LARGEST - skipped);
        let page_bytes = self.page_bytes();
        let Ok(at) = self.page_address(folio) else { return (PageState::Damaged, slot.pages) };
        let cached = (PageState::Cached(Phys(at.0.wrapping_add(skipped.wrapping_mul(page_bytes)))), count);
        if self.page_flag(flags, "PG_uptodate", 2) {
            return cached;
        }
        let length = (skipped + count).saturating_mul(page_bytes);
        let Some(blocks) = self.valid_blocks(folio, structure, flags, length) else {
            // What waits to be written was written by somebody, wherever the file system keeps how much of it.
            return if self.page_flag(flags, "PG_dirty", 4) { cached } else { (PageState::NotUpToDate, slot.pages) };
        };
        let start = first.saturating_mul(page_bytes);
        // Of an entry in the middle of a folio only what is behind it; what is before has its own.
        for block in blocks.into_iter().filter(|block| block.end > skipped * page_bytes) {
            let from = block.start.max(skipped * page_bytes);
            let (offset, at) = (start.saturating_add(from), Phys(at.0.wrapping_add(from)));
            parts.push(Part { offset, length: block.end - from, at });
        }
        (PageState::NotUpToDate, slot.pages)
    }

    /// Whether a file is kept nowhere but in memory and swap.
    fn in_memory_only(&self, mapping: u64) -> bool {
        let operations = self.pointer(mapping, "address_space", "a_ops").filter(|at| *at != 0);
        let known = ["shmem_aops", "ram_aops", "ramfs_aops"];
        if known.iter().filter_map(|name| self.symbols.address(name)).any(|at| Some(at) == operations) {
            return true;
        }
        let inode = self.pointer(mapping, "address_space", "host").filter(|inode| *inode != 0);
        let block = inode.and_then(|inode| self.pointer(inode, "inode", "i_sb"));
        let name = block.and_then(|block| self.file_system_of(block));
        name.is_some_and(|name| matches!(&*name, "tmpfs" | "ramfs" | "devtmpfs" | "rootfs" | "hugetlbfs"))
    }

    /// What has become of a file's bytes, from the first to its end.
    pub(in crate::linux) fn file_runs(&self, pages: &FilePages) -> Vec<FileRun> {
        let page_bytes = self.page_bytes();
        let mut runs: Vec<FileRun> = Vec::new();
        let mut at = 0;
        while at < pages.size {
            let (state, count) = pages.find(at / page_bytes, page_bytes);
            let end = at.saturating_add(count.saturating_mul(page_bytes)).min(pages.size);
            match state {
                PageState::Cached(first) => self.present_runs(first, at, end, &mut runs),
                PageState::NotUpToDate => self.part_runs(pages, at, end, &mut runs),
                state => push(&mut runs, FileRun { offset: at, length: end - at, state }),
            }
            at = end;
        }
        runs
    }

    /// Which blocks of a stretch of pages that are not up to date are so all the same.
    fn part_runs(&self, pages: &FilePages, start: u64, end: u64, runs: &mut Vec<FileRun>) {
        let missing = |from: u64, to: u64| FileRun { offset: from, length: to - from, state: PageState::NotUpToDate };
        let first = pages.parts.partition_point(|part| part.offset.saturating_add(part.length) <= start);
        let mut at = start;
        for part in pages.parts.get(first..).unwrap_or_default().iter().take_while(|part| part.offset < end) {
            let from = part.offset.max(at);
            let to = part.offset.saturating_add(part.length).min(end);
            if from > at {
                push(runs, missing(at, from));
            }
            if to > from {
                self.present_runs(Phys(part.at.0.wrapping_add(from - part.offset)), from, to, runs);
            }
            at = to.max(from);
        }
        if at < end {
            push(runs, missing(at, end));
        }
    }

    /// Which pages of a stretch the dump has.
    fn present_runs(&self, first: Phys, start: u64, end: u64, runs: &mut Vec<FileRun>) {
        let mut at = start;
        while at < end {
            let physical = first.0.wrapping_add(at - start);
            let (absent, bytes) = self.present_run(Phys(physical), end - at);
            let state = absent.map_or(PageState::Cached(Phys(physical)), PageState::NotInDump);
            push(runs, FileRun { offset: at, length: bytes, state });
            at += bytes;
        }
    }

    /// Whether the dump has physical memory from `at` on, and for how many bytes of `most` that is so; at least one.
    pub(in crate::linux) fn present_run(&self, at: Phys, most: u64) -> (Option<Absence>, u64) {
        match self.machine().next(at).filter(|extent| extent.end > at) {
            Some(extent) if extent.start <= at => (extent.absent, (extent.end.0 - at.0).min(most).max(1)),
            Some(extent) => (Some(Absence::NotInDump), (extent.start.0 - at.0).min(most).max(1)),
            None => (Some(Absence::NotInDump), most.max(1)),
        }
    }

    /// Reads a stretch of a file that is there; gives how many bytes could be read.
    #[must_use]
    pub fn read_run(&self, run: &FileRun, offset: u64, buf: &mut [u8]) -> usize {
        let Some(skipped) = offset.checked_sub(run.offset).filter(|skipped| *skipped < run.length) else { return 0 };
        let len = (run.length - skipped).min(buf.len() as u64) as usize;
        let Some(buf) = buf.get_mut(..len) else { return 0 };
        match run.state {
            PageState::Cached(first) | PageState::Mapped(first) => {
                self.machine().read_upto(Phys(first.0.wrapping_add(skipped)), buf)
            }
            PageState::Hole => {
                buf.fill(0);
                len
            }
            _ => 0,
        }
    }
}

/// Adds a stretch behind the last one, and joins the two if they are one.
pub(super) fn push(runs: &mut Vec<FileRun>, run: FileRun) {
    if let Some(last) = runs.last_mut()
        && last.offset + last.length == run.offset
    {
        let follows = match (last.state, run.state) {
            (PageState::Cached(first), PageState::Cached(next))
            | (PageState::Mapped(first), PageState::Mapped(next)) => first.0.wrapping_add(last.length) == next.0,
            (one, other) => one == other,
        };
        if follows {
            last.length += run.length;
            return;
        }
    }
    runs.push(run);
}
