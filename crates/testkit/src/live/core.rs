//! A small reader of ELF cores for x86-64, written from elf(5) and the kernel's `elfcore.h`, for judging dumps.
//!
//! It is strict where a reader for people is lenient: what does not fit is an error. It shares no code with
//! `crates/dump`. For example `Core::open(path)?.u64_at(address)`.
//!
//! *Trap*: a dump of a process with a large reservation is a sparse file of hundreds of gigabytes; it is read where
//! asked and never as a whole.

use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// A piece of memory in the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its address.
    pub start: u64,
    /// Bytes that the process had there.
    pub size: u64,
    /// Bytes of them that the file has.
    pub stored: u64,
    /// Where they are in the file.
    pub offset: u64,
    /// 1 executable, 2 writable, 4 readable.
    pub flags: u32,
}

/// A note.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its owner: `CORE`, `LINUX` …
    pub owner: String,
    /// Its number.
    pub kind: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A thread's registers.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    /// Its number.
    pub tid: u32,
    /// In the order of `struct user_regs_struct`: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip
    /// cs eflags rsp ss fs_base gs_base ds es fs gs.
    pub general: Vec<u64>,
    /// NT_PRFPREG: an FXSAVE area.
    pub floating: Vec<u8>,
    /// NT_X86_XSTATE: an XSAVE area.
    pub extended: Vec<u8>,
    /// Kinds of all its notes.
    pub kinds: Vec<u32>,
}

impl Thread {
    /// A register by its name.
    #[must_use]
    pub fn register(&self, name: &str) -> Option<u64> {
        let names = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base \
                     gs_base ds es fs gs";
        let index = names.split_whitespace().position(|known| known == name)?;
        self.general.get(index).copied()
    }
}

/// A core file.
#[derive(Debug)]
pub struct Core {
    file: File,
    /// Its pieces of memory in the order of the file.
    pub loads: Vec<Load>,
    /// Its notes in the order of the file.
    pub notes: Vec<Note>,
    /// Where its first notes begin in the file; there may be more behind the memory.
    pub notes_offset: u64,
}

const PRSTATUS: u32 = 1;
const FPREGSET: u32 = 2;
const XSTATE: u32 = 0x202;

impl Core {
    /// Opens a core and checks that all that its headers name lies in the file.
    ///
    /// # Errors
    /// If it is none, or is cut off.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        Self::read(file).with_context(|| format!("read {}", path.display()))
    }

    fn read(file: File) -> anyhow::Result<Self> {
        let length = file.metadata()?.size();
        let header = bytes(&file, 0, 64)?;
        ensure!(header.starts_with(b"\x7fELF\x02\x01\x01"), "no 64-bit little-endian elf");
        ensure!(u16_in(&header, 16)? == 4 && u16_in(&header, 18)? == 62, "no core of x86-64");
        let (at, size, mut count) =
            (u64_in(&header, 32)?, u64::from(u16_in(&header, 54)?), u64::from(u16_in(&header, 56)?));
        ensure!(size == 56, "program headers of {size} bytes");
        if count == 0xffff {
            // PN_XNUM: the count stands in sh_info of section header 0.
            count = u64::from(u32_in(&bytes(&file, u64_in(&header, 40)?, 64)?, 44)?);
        }
        let mut core = Self { file, loads: Vec::new(), notes: Vec::new(), notes_offset: u64::MAX };
        let table = bytes(&core.file, at, count * 56)?;
        for entry in table.chunks_exact(56) {
            let (kind, flags) = (u32_in(entry, 0)?, u32_in(entry, 4)?);
            let (offset, start) = (u64_in(entry, 8)?, u64_in(entry, 16)?);
            let (stored, size) = (u64_in(entry, 32)?, u64_in(entry, 40)?);
            ensure!(
                offset.checked_add(stored).is_some_and(|end| end <= length),
                "the file is cut off before {offset:#x} + {stored:#x}"
            );
            match kind {
                1 => {
                    ensure!(stored <= size, "more stored than there was at {start:#x}");
                    core.loads.push(Load { start, size, stored, offset, flags });
                }
                4 => {
                    core.notes_offset = core.notes_offset.min(offset);
                    core.notes.extend(notes(&bytes(&core.file, offset, stored)?)?);
                }
                _ => {}
            }
        }
        ensure!(!core.notes.is_empty(), "no notes");
        let mut places: Vec<&Load> = core.loads.iter().collect();
        places.sort_by_key(|load| load.start);
        for pair in places.windows(2) {
            if let [a, b] = pair {
                ensure!(a.start + a.size <= b.start, "{:#x} and {:#x} overlap", a.start, b.start);
            }
        }
        Ok(core)
    }

    /// Reads memory; false if any of it is not stored.
    #[must_use]
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> bool {
        let (mut at, mut into) = (at, into);
        while !into.is_empty() {
            let Some(load) = self.loads.iter().find(|load| load.start <= at && at < load.start + load.stored) else {
                return false;
            };
            let here = (load.start + load.stored - at).min(into.len() as u64);
            let Ok(here) = usize::try_from(here) else { return false };
            let (now, rest) = std::mem::take(&mut into).split_at_mut(here);
            if self.file.read_exact_at(now, load.offset + (at - load.start)).is_err() {
                return false;
            }
            at += here as u64;
            into = rest;
        }
        true
    }

    /// A word of memory.
    #[must_use]
    pub fn u64_at(&self, at: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.read_at(at, &mut word).then(|| u64::from_le_bytes(word))
    }

    /// The threads in the order of the file.
    #[must_use]
    pub fn threads(&self) -> Vec<Thread> {
        let mut threads: Vec<Thread> = Vec::new();
        for note in &self.notes {
            if note.kind == PRSTATUS && note.owner == "CORE" {
                let tid = u32_in(&note.bytes, 32).unwrap_or(0);
                let general = (0..27).filter_map(|index| u64_in(&note.bytes, 112 + index * 8).ok()).collect();
                threads.push(Thread { tid, general, ..Thread::default() });
            }
            let Some(thread) = threads.last_mut() else { continue };
            thread.kinds.push(note.kind);
            match (note.owner.as_str(), note.kind) {
                ("CORE", FPREGSET) => thread.floating = note.bytes.clone(),
                ("LINUX", XSTATE) => thread.extended = note.bytes.clone(),
                _ => {}
            }
        }
        threads
    }

    /// Pages of 4 KiB that the file really has data for, by the file system's account: (offset, length) of data.
    ///
    /// # Errors
    /// If the file system cannot tell.
    pub fn data(&self, load: &Load) -> anyhow::Result<Vec<(u64, u64)>> {
        use std::os::fd::AsRawFd;
        let mut pieces = Vec::new();
        let (mut at, end) = (load.offset, load.offset + load.stored);
        while at < end {
            let seek = |from: u64, what| {
                // SAFETY: lseek takes numbers and touches no memory; the descriptor is open.
                let got = unsafe { libc::lseek(self.file.as_raw_fd(), i64::try_from(from).unwrap_or(i64::MAX), what) };
                u64::try_from(got).ok()
            };
            let Some(start) = seek(at, libc::SEEK_DATA).filter(|start| *start < end) else { break };
            let stop = seek(start, libc::SEEK_HOLE).unwrap_or(end).min(end);
            ensure!(stop > start, "a hole that does not end");
            pieces.push((start, stop - start));
            at = stop;
        }
        Ok(pieces)
    }
}

fn notes(bytes: &[u8]) -> anyhow::Result<Vec<Note>> {
    let mut notes = Vec::new();
    let mut at = 0;
    while at + 12 <= bytes.len() {
        let (name, size, kind) = (u32_in(bytes, at)? as usize, u32_in(bytes, at + 4)? as usize, u32_in(bytes, at + 8)?);
        let name_at = at + 12;
        let data_at = name_at + name.next_multiple_of(4);
        let end = data_at + size;
        let (Some(owner), Some(data)) = (bytes.get(name_at..name_at + name), bytes.get(data_at..end)) else {
            bail!("a note is cut off at {at:#x}");
        };
        let owner = String::from_utf8_lossy(owner).trim_end_matches('\0').to_owned();
        notes.push(Note { owner, kind, bytes: data.to_vec() });
        at = end.next_multiple_of(4);
    }
    Ok(notes)
}

fn bytes(file: &File, at: u64, size: u64) -> anyhow::Result<Vec<u8>> {
    ensure!(size <= 1 << 30, "{size} bytes of headers");
    let mut bytes = vec![0; usize::try_from(size)?];
    file.read_exact_at(&mut bytes, at).with_context(|| format!("{size} bytes at {at:#x}"))?;
    Ok(bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> anyhow::Result<[u8; N]> {
    let piece = bytes.get(at..at + N).with_context(|| format!("{N} bytes at {at}"))?;
    Ok(piece.try_into()?)
}

fn u16_in(bytes: &[u8], at: usize) -> anyhow::Result<u16> {
    Ok(u16::from_le_bytes(array(bytes, at)?))
}

fn u32_in(bytes: &[u8], at: usize) -> anyhow::Result<u32> {
    Ok(u32::from_le_bytes(array(bytes, at)?))
}

fn u64_in(bytes: &[u8], at: usize) -> anyhow::Result<u64> {
    Ok(u64::from_le_bytes(array(bytes, at)?))
}
