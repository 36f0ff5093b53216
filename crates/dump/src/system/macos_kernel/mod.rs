//! The container in which macOS and iOS keep kernel cores.
//!
//! *What it is*: a list of files (the kernel's core, others), packed or not, and a log. The kernel's core is unpacked and
//! opened: memory by the kernel's virtual addresses, and the states of its threads.
//!
//! *What it is not*: a Mach-O core that stands alone is read elsewhere; encrypted files (AEA) cannot be read without their
//! key.
//!
//! *Trap*: nothing says where physical memory is: such a core has virtual addresses only, so the machine's physical memory
//! is empty and [`crate::Dump::memory`] has all.
//!
//! Folklore (xnu's mach_debug_types.h), least significant byte first. Version 1: signature "Rad Mac\0", place and bytes of
//! the log, number of files, then {place, bytes, name 16}. Version 2: "Boss Mac", version (4), flags, place and bytes (2)
//! of a key, place and bytes of the log, number of files, then {flags, place, bytes, name 16}, with the gaps that a C
//! compiler leaves; flags 1 encrypted, 0x100 zlib, 0x200 LZ4.

mod mach;

use super::opening::{Opening, field_text};
use crate::bytes::Fields;
use crate::source::{SharedSource, Window};
use crate::{Budget, Dump, Endian, Error, Format, FormatReader, Issue, NoteRecord, compressed};
use std::path::Path;
use std::sync::Arc;

/// The reader.
pub(crate) const READER: FormatReader =
    FormatReader { name: NAME, probe: |head| head.starts_with(RAD) || head.starts_with(BOSS), open };

const NAME: &str = "macOS kernel core";
const RAD: &[u8] = b"Rad Mac\0";
const BOSS: &[u8] = b"Boss Mac";
const MOST_FILES: u64 = 64;
const ENCRYPTED: u64 = 1;
/// Bytes of the log that are kept.
const LOG: usize = 64 << 10;

struct File {
    name: String,
    at: u64,
    len: u64,
    flags: u64,
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let opening = Opening { path, format: NAME, source: &source, budget };
    let head = opening.upto(0, 64 + 40 * MOST_FILES as usize)?;
    let fields = Fields::new(&head, Endian::Little);
    let cut_off = || opening.broken("the header is cut off");
    let second = head.starts_with(BOSS);
    let (log, count_at, first, each) = if second { (40, 56, 64, 40) } else { (8, 24, 32, 32) };
    let count = fields.u64(count_at).ok_or_else(cut_off)?;
    if count > MOST_FILES {
        return Err(opening.broken(format!("{count} files")));
    }
    let file = |number: usize| {
        let at = first + each * number;
        let (flags, at) = if second { (fields.u64(at)?, at + 8) } else { (0, at) };
        Some(File {
            flags,
            at: fields.u64(at)?,
            len: fields.u64(at + 8)?,
            name: field_text(fields.slice(at + 16, 16)?),
        })
    };
    let files: Vec<File> = (0..count as usize).map_while(file).collect();
    let mut issues = Vec::new();
    if (files.len() as u64) < count {
        issues.push(Issue::loss("the list of files is cut off"));
    }
    // The kernel's own core first, then the others in their order.
    let mut order: Vec<&File> = files.iter().collect();
    order.sort_by_key(|file| !file.name.contains("kernel"));
    let mut opened = None;
    for file in order {
        match open_file(&opening, file) {
            Ok(mut dump) => {
                dump.issues.splice(0..0, issues.drain(..));
                opened = Some(dump);
                break;
            }
            Err(why) => issues.push(Issue::loss(format!("the file {:?} in it: {}", file.name, words(&why)))),
        }
    }
    let Some(mut dump) = opened else {
        let what = issues.first().map_or_else(|| "it has no file".to_owned(), |issue| issue.text.clone());
        return Err(opening.broken(what));
    };
    dump.file_size = source.len();
    dump.notes = files.iter().map(note).collect();
    if let (Some(at), Some(len)) = (fields.u64(log), fields.u64(log + 8))
        && len > 0
    {
        let bytes = opening.upto(at, (len as usize).min(LOG))?;
        let text = field_text(&bytes);
        if let Some(panic) = text.lines().find(|line| line.starts_with("panic(")) {
            dump.process.facts.push(("panic".to_owned(), panic.to_owned()));
        }
        if !text.is_empty() {
            dump.process.facts.push(("log".to_owned(), text));
        }
    }
    Ok(dump)
}

fn words(error: &Error) -> String {
    match error {
        Error::Broken { what, .. } => what.clone(),
        other => other.to_string(),
    }
}

fn note(file: &File) -> NoteRecord {
    let kind = file.flags as u32;
    NoteRecord { owner: file.name.clone(), kind, name: Some("file"), tid: None, offset: file.at, size: file.len }
}

fn open_file(opening: &Opening<'_>, file: &File) -> Result<Dump, Error> {
    if file.flags & ENCRYPTED != 0 {
        return Err(opening.broken("it is encrypted"));
    }
    if file.at >= opening.source.len() {
        return Err(opening.broken("the container ends before it"));
    }
    let window: SharedSource = Arc::new(Window::new(opening.source.clone(), file.at, file.len));
    let short = window.len() < file.len;
    let mut dump = if mach::is_core(&Opening { source: &window, ..*opening }.upto(0, 32)?) {
        mach::open(&Opening { source: &window, ..*opening })?
    } else {
        let (compression, source, issues) = compressed::unpack_part(opening.path, &window, opening.budget)?
            .ok_or_else(|| opening.broken("it is neither a core nor packed in a known way"))?;
        let mut dump = mach::open(&Opening { source: &source, ..*opening })?;
        dump.compression = Some(compression);
        dump.issues.extend(issues);
        dump
    };
    if short {
        dump.issues.push(Issue::loss(format!("the container is cut off in {:?}", file.name)));
    }
    dump.format = Format::MacOsKernel;
    Ok(dump)
}
