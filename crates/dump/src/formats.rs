//! The list of containers, and opening one by its content.

use crate::budget::Budget;
use crate::compressed;
use crate::error::Error;
use crate::model::Dump;
use crate::source::{FileSource, SharedSource};
use crate::system;
use std::path::Path;
use std::sync::Arc;

/// A reader of one container format.
pub struct FormatReader {
    /// The container's name for messages.
    pub name: &'static str,
    /// Whether these first bytes (up to 4 KiB) are of this container.
    pub probe: fn(head: &[u8]) -> bool,
    /// Reads the container. `path` serves only messages.
    pub open: fn(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error>,
}

/// All containers that can be read, in the order they are tried.
pub static FORMATS: &[FormatReader] = &[
    crate::system::xen::READER,
    // A full FreeBSD dump is an ELF core that only this one reads.
    crate::system::freebsd::READER,
    crate::elf_core::READER,
    crate::minidump::READER,
    crate::system::windows::READER,
    crate::system::kdump::READER,
    crate::system::flattened::READER,
    crate::system::lime::READER,
    crate::system::avml::READER,
    crate::system::qemu::READER,
    crate::system::lkcd::READER,
    crate::system::sadump::READER,
    crate::system::vmware::READER,
    crate::system::macos_kernel::READER,
    crate::macho::READER,
    crate::apple_report::READER,
    // Last: it has no magic.
    crate::system::raw::READER,
];

/// Opens the dump in a file, packed or not.
///
/// # Errors
/// When the file cannot be read or is no dump; what is only partly readable is listed in [`Dump::issues`] instead.
pub fn open(path: &Path, budget: &Budget) -> Result<Dump, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "a directory" } else { "a special file" };
        return Err(Error::NotAFile { path: path.to_owned(), what });
    }
    let file = std::fs::File::open(path).map_err(io)?;
    let source = FileSource::new(file).map_err(io)?;
    open_source(path, Arc::new(source), budget)
}

/// Opens the dump in a source; `path` serves only messages.
///
/// # Errors
/// As [`open`].
pub fn open_source(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    if source.is_empty() {
        return Err(Error::Empty { path: path.to_owned() });
    }
    if let Some(mut unpacked) = compressed::unpack(path, &source, budget)? {
        let mut opened = open_plain(path, unpacked.source, budget);
        if let Err(Error::Io { source: why, .. }) = &opened
            && unpacked.in_place
            && let Some(whole) = compressed::unpack_whole(path, &source, budget)?
        {
            // A frame that cannot be done without is damaged, or the table is wrong about it. From the front, more may
            // come to light.
            let remark = compressed::table_not_used(why);
            unpacked.issues = whole.issues;
            unpacked.issues.insert(0, remark);
            opened = open_plain(path, whole.source, budget);
        }
        let mut dump = opened?;
        dump.compression = Some(unpacked.compression);
        dump.issues.splice(0..0, unpacked.issues);
        return Ok(dump);
    }
    open_plain(path, source, budget)
}

pub(crate) fn open_plain(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let mut head = vec![0; 4096];
    let got = source.read_at(0, &mut head).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    head.truncate(got);
    if let Some(format) = FORMATS.iter().find(|format| (format.probe)(&head)) {
        return (format.open)(path, source, budget);
    }
    // Memory files of virtual machines say nothing of themselves; files beside them do.
    let described = system::vmware::open_vmem(path, &source, budget);
    match described.or_else(|| system::microvm::open_sibling(path, &source, budget)) {
        Some(dump) => dump,
        None if system::raw::looks_like_memory(path, &*source, &head) => system::raw::open(path, source, budget),
        None => Err(Error::Unknown { path: path.to_owned(), looks_like: looks_like(&head) }),
    }
}

/// Says what a file seems to be, for the one who took it for a dump.
fn looks_like(head: &[u8]) -> String {
    let known: &[(&[u8], &str)] = &[
        (b"\x7fELF", "it is an ELF file of another kind than a core (a program, library or object)"),
        (b"MZ", "it is a Windows program or library"),
        (b"PAGE", "it looks like a page file of Windows, or a crash dump whose header was not finished"),
        (b"PK\x03\x04", "it is a zip archive"),
        (b"%PDF", "it is a PDF document"),
    ];
    if let Some((_, words)) = known.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*words).to_owned();
    }
    if head.iter().all(|&b| b == 0) {
        return "it begins with zeros".to_owned();
    }
    if std::str::from_utf8(head.get(..256).unwrap_or(head)).is_ok() {
        return "it is a text file".to_owned();
    }
    let start: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("it begins with {}", start.join(" "))
}
