//! A file out of the page cache, and the program of a process.
//!
//! *Trap*: a hole of the new file may be a hole of the old one, or what was not in memory. The list of holes tells which.

use super::{BUFFER, Job};
use crate::commands::capture::bytes;
use crate::failure::{Failure, USAGE};
use crate::output::file::{self, NewFile};
use crate::output::{clean, json_line};
use afterimage_dump::write::layout::{Output, Pipe, Sparse};
use afterimage_target::linux::{CachedFile, FileRun, Linux, PageState, Process};
use serde_json::json;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime};

/// The longest file that goes into a pipe, where holes are written out.
const LONGEST_PIPED: u64 = 1 << 40;
/// The longest file that is written as long as its inode says: more than file systems here can hold, as a damaged one has.
const LONGEST: u64 = 1 << 44;
/// Files that are named where one has to be chosen.
const NAMED: usize = 8;

pub(super) fn executable(job: &Job<'_>, linux: &Linux, process: &Process) -> Result<(), Failure> {
    let (found, runs) = linux.executable_of(process).map_err(|why| job.lost(why))?;
    write(job, linux, &found, &runs, "executable")
}

pub(super) fn file(job: &Job<'_>, linux: &Linux, wanted: &str) -> Result<(), Failure> {
    let key = Key::of(wanted).ok_or_else(|| {
        job.wrong(format_args!("{wanted} is no file")).advise("give a whole path, an inode, or MAJOR:MINOR:INODE")
    })?;
    let (files, remarks) = linux.page_cache_files().map_err(|why| job.lost(why))?;
    let mut found: Vec<CachedFile> = files.into_iter().filter(|file| key.fits(file)).collect();
    // Of files with the same path the one that still has it is meant.
    if found.len() > 1 && found.iter().filter(|file| file.deleted == Some(false)).count() == 1 {
        found.retain(|file| file.deleted == Some(false));
    }
    match found.as_slice() {
        [one] => {
            let runs = linux.file_content(one).map_err(|why| job.lost(why))?;
            write(job, linux, one, &runs, "file")
        }
        [] => {
            let more = remarks.first().map(|remark| format!("; {remark}")).unwrap_or_default();
            Err(job
                .lost(format_args!("no file {wanted} has pages in memory{more}"))
                .advise("show page_cache_files lists those that have"))
        }
        many => {
            let names: Vec<String> = many.iter().take(NAMED).map(name).collect();
            Err(job.wrong(format_args!("{} files fit {wanted}: {}", many.len(), names.join(", "))).advise("name one"))
        }
    }
}

/// What a file is asked for by.
enum Key {
    Path(String),
    Inode(u64),
    Exact((u32, u32), u64),
}

impl Key {
    fn of(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Path(text.to_owned()));
        }
        let mut parts = text.split(':');
        match (parts.next()?, parts.next(), parts.next(), parts.next()) {
            (inode, None, None, None) => Some(Self::Inode(inode.parse().ok()?)),
            (major, Some(minor), Some(inode), None) => {
                Some(Self::Exact((major.parse().ok()?, minor.parse().ok()?), inode.parse().ok()?))
            }
            _ => None,
        }
    }

    fn fits(&self, file: &CachedFile) -> bool {
        match self {
            Self::Path(path) => file.path.as_ref().is_ok_and(|own| {
                own == path || file.deleted == Some(true) && path.strip_suffix(" (deleted)") == Some(own)
            }),
            Self::Inode(inode) => file.inode == Some(*inode),
            Self::Exact(device, inode) => file.device == Some(*device) && file.inode == Some(*inode),
        }
    }
}

/// A file by its numbers, and its path.
fn name(file: &CachedFile) -> String {
    let (major, minor) = file.device.unwrap_or_default();
    let path = file.path.as_deref().unwrap_or("no path");
    let gone = if file.deleted == Some(true) { ", deleted" } else { "" };
    format!("{major}:{minor}:{} ({path}{gone})", file.inode.unwrap_or(0))
}

fn write(job: &Job<'_>, linux: &Linux, file: &CachedFile, runs: &[FileRun], what: &str) -> Result<(), Failure> {
    let size = file.size.unwrap_or(0);
    let there = |run: &FileRun| run.state.absence().is_none();
    if size > 0 && !runs.iter().any(there) {
        let why = runs.first().map_or("nothing is known of it", |run| run.state.word());
        return Err(job.lost(format_args!("nothing of {} is in the dump: {why}", name(file))));
    }
    let kept = |run: &&FileRun| matches!(run.state, PageState::Cached(_) | PageState::Mapped(_));
    let last = runs.iter().rfind(kept).map_or(0, |run| run.offset.saturating_add(run.length));
    let (said, size) = (size, if size > LONGEST { last.min(LONGEST) } else { size });
    if said > size && !job.common.quiet {
        let most = bytes(LONGEST);
        anstream::eprintln!("! its inode says {said} bytes, more than {most}: it ends behind its last page in memory");
    }
    let (stored, lost) = if job.to_stdout {
        if size > LONGEST_PIPED {
            return Err(Failure::new(USAGE, format!("extract: the file has {size} bytes, too many for a pipe"))
                .advise("name a file with -o, which may have holes"));
        }
        let mut out = Pipe(BufWriter::with_capacity(BUFFER, io::stdout().lock()));
        let done = put(linux, runs, size, &mut out)?;
        out.0.flush()?;
        done
    } else {
        let failed = |error: &io::Error| file::failure("extract", &job.arguments.output, error);
        let new = NewFile::create("extract", &job.arguments.output, job.arguments.force)?;
        let mut out = Sparse::new(BufWriter::with_capacity(BUFFER, new.file()));
        let done = put(linux, runs, size, &mut out).map_err(|error| failed(&error))?;
        out.finish().map_err(|error| failed(&error))?;
        if let Some(time) = file.mtime_ns.and_then(time) {
            // A file system that cannot keep it keeps another.
            let _ = new.file().set_modified(time);
        }
        new.finish()?;
        done
    };
    let mut holes: Vec<FileRun> =
        runs.iter().filter(|run| !matches!(run.state, PageState::Cached(_))).copied().collect();
    holes.extend(lost);
    holes.sort_by_key(|run| run.offset);
    tell(job, file, &holes, stored, what)
}

fn time(nanoseconds: i128) -> Option<SystemTime> {
    const SECOND: u128 = 1_000_000_000;
    let since = |ns: u128| Some(Duration::new(u64::try_from(ns / SECOND).ok()?, (ns % SECOND) as u32));
    match u128::try_from(nanoseconds) {
        Ok(ns) => SystemTime::UNIX_EPOCH.checked_add(since(ns)?),
        Err(_) => SystemTime::UNIX_EPOCH.checked_sub(since(nanoseconds.unsigned_abs())?),
    }
}

/// Writes all runs; gives the bytes that were there, and what could not be read though the dump promised it.
fn put(linux: &Linux, runs: &[FileRun], size: u64, out: &mut dyn Output) -> io::Result<(u64, Vec<FileRun>)> {
    let (mut stored, mut lost, mut written) = (0, Vec::new(), 0);
    let mut buf = vec![0; BUFFER];
    for run in runs {
        let mut at = run.offset;
        let end = run.offset.saturating_add(run.length).min(size);
        while at < end && matches!(run.state, PageState::Cached(_) | PageState::Mapped(_)) {
            let len = (end - at).min(buf.len() as u64) as usize;
            let Some(block) = buf.get_mut(..len) else { break };
            let got = linux.read_run(run, at, block).min(len);
            out.zeros(at - written)?;
            out.bytes(block.get(..got).unwrap_or_default())?;
            stored += got as u64;
            at += got as u64;
            written = at;
            if got < len {
                let why = PageState::NotInDump(afterimage_dump::Absence::Truncated);
                lost.push(FileRun { offset: at, length: end - at, state: why });
                break;
            }
        }
    }
    out.zeros(size.saturating_sub(written))?;
    Ok((stored, lost))
}

/// The holes, and one line about the file.
fn tell(job: &Job<'_>, file: &CachedFile, holes: &[FileRun], stored: u64, what: &str) -> Result<(), Failure> {
    let missing =
        holes.iter().filter(|run| run.state.absence().is_some()).fold(0u64, |sum, run| sum.saturating_add(run.length));
    if job.common.json {
        let list =
            holes.iter().map(|run| json!({ "offset": run.offset, "length": run.length, "why": run.state.word() }));
        let line = json!({
            "output": job.arguments.output.to_string_lossy(),
            "what": what,
            "path": file.path.as_ref().ok(),
            "inode": file.inode,
            "device": file.device.map(|(major, minor)| format!("{major}:{minor}")),
            "filesystem": file.filesystem,
            "deleted": file.deleted,
            "size": file.size,
            "mtime_ns": file.mtime_ns.and_then(|time| i64::try_from(time).ok()),
            "stored_bytes": stored,
            "missing_bytes": missing,
            "complete": missing == 0,
            "holes": list.collect::<Vec<_>>(),
        });
        let mut out = io::stdout().lock();
        writeln!(out, "{}", json_line(&line))?;
        out.flush()?;
        return Ok(());
    }
    if job.common.quiet {
        return Ok(());
    }
    for run in holes {
        let line = format!("! {:#x}-{:#x}: {}", run.offset, run.offset.saturating_add(run.length), run.state.word());
        match job.to_stdout {
            true => anstream::eprintln!("{line}"),
            false => writeln!(io::stdout().lock(), "{line}")?,
        }
    }
    anstream::eprintln!(
        "{}: {}, {} of {} in memory, {} missing",
        job.output(),
        clean(&name(file)),
        bytes(stored),
        bytes(file.size.unwrap_or(0)),
        bytes(missing),
    );
    Ok(())
}
