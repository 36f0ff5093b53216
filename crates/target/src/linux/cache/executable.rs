//! The program of a process as a file: out of the page cache, and where that has not all of it, out of the process's memory.
//!
//! *Trap*: a page of memory that is not the page cache's own is one that the process has written to (relocations, data). It
//! is better than nothing, and is told apart.

use super::file::{FileRun, PageState, push};
use super::list::CachedFile;
use crate::linux::Linux;
use crate::linux::tasks::{PieceState, Process};
use afterimage_dump::Phys;
use std::collections::BTreeMap;

/// Pages that are taken from memory at most: 4 GiB.
const MOST: usize = 1 << 20;

impl Linux {
    /// The file that a process runs, and what has become of each part of it.
    ///
    /// # Errors
    /// Why it has none, or why nothing is known of it.
    pub fn executable_of(&self, process: &Process) -> Result<(CachedFile, Vec<FileRun>), String> {
        let pid = process.pid;
        let mm = self.pointer(process.task, "task_struct", "mm");
        let mm = mm.ok_or_else(|| format!("the task_struct of process {pid} is not in the dump"))?;
        if mm == 0 {
            return Err(format!("process {pid} has no program: it is a thread of the kernel, or has ended"));
        }
        let file = self.pointer(mm, "mm_struct", "exe_file").filter(|file| *file != 0);
        let inode = file.and_then(|file| self.pointer(file, "file", "f_inode")).filter(|inode| *inode != 0);
        let inode = inode.ok_or_else(|| format!("the file that process {pid} runs is not in the dump"))?;
        let mut found = self.file_of_inode(inode).ok_or("the kernel's types do not tell of files")?;
        // The process's own path is better than the inode's first name.
        if let Ok(path) = &process.exe {
            found.path = Ok(path.clone());
        }
        let runs = self.file_content(&found)?;
        let whole = runs.iter().all(|run| run.state.absence().is_none());
        Ok(if whole { (found, runs) } else { self.filled(process, found, &runs) })
    }

    /// Fills what is missing with what the process has mapped.
    fn filled(&self, process: &Process, file: CachedFile, runs: &[FileRun]) -> (CachedFile, Vec<FileRun>) {
        let Ok((memory, _)) = self.memory_of(process) else { return (file, runs.to_vec()) };
        let page_bytes = self.page_bytes();
        let missing = |offset: u64| {
            let next = runs.partition_point(|run| run.offset <= offset);
            let run = next.checked_sub(1).and_then(|index| runs.get(index));
            run.is_some_and(|run| offset - run.offset < run.length && run.state.absence().is_some())
        };
        let mut pages: BTreeMap<u64, Phys> = BTreeMap::new();
        for region in memory.regions() {
            let Some((own, offset)) = region.file.zip(region.offset).filter(|(own, _)| *own != 0) else { continue };
            if self.pointer(own, "file", "f_mapping") != Some(file.mapping) {
                continue;
            }
            for piece in memory.pieces(region).into_iter().filter(|piece| piece.state == PieceState::Present) {
                let mut at = piece.start;
                while at < piece.end && pages.len() < MOST {
                    let place = offset.wrapping_add(at - region.start);
                    if missing(place)
                        && let Some(physical) = memory.mapped(at)
                    {
                        pages.entry(place).or_insert(physical);
                    }
                    at = at.saturating_add(page_bytes);
                }
            }
        }
        let mut filled = Vec::new();
        for run in runs {
            if run.state.absence().is_none() {
                push(&mut filled, *run);
                continue;
            }
            let end = run.offset.saturating_add(run.length);
            let mut at = run.offset;
            for (&place, &physical) in pages.range(run.offset..end) {
                if place > at {
                    push(&mut filled, FileRun { offset: at, length: place - at, state: run.state });
                }
                let length = page_bytes.min(end - place);
                push(&mut filled, FileRun { offset: place, length, state: PageState::Mapped(physical) });
                at = place.saturating_add(length);
            }
            if at < end {
                push(&mut filled, FileRun { offset: at, length: end - at, state: run.state });
            }
        }
        (file, filled)
    }
}
