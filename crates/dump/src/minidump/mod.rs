//! Minidumps of every system: Windows, Breakpad and Crashpad on Linux, Android, macOS and iOS, Wine, lldb.
//!
//! *What it is*: header and directory, then one reader a stream type (`streams.rs` lists them all) into a draft, then the
//! steps that need everything: memory, regions, the exception, WOW64, judgements.
//!
//! *Example*: `afterimage_dump::open(Path::new("crash.dmp"), &Budget::default())?.exception`.
//!
//! *Trap*: nothing in the file is required. A file without a system, threads or memory gives what it has, with issues.

mod classify;
mod codeview;
pub(crate) mod context;
mod crashpad;
mod directory;
mod draft;
mod dso;
mod exception;
mod handles;
mod input;
mod linux;
mod mac;
mod memory;
mod misc;
mod modules;
mod mozilla;
mod own;
pub(crate) mod raw;
mod regions;
mod streams;
mod system_info;
mod threads;
mod wow64;

use crate::{Budget, Dump, Error, FormatReader, source::SharedSource};
pub(crate) use codeview::bytes as codeview_bytes;
pub(crate) use codeview::rsds as codeview_rsds;
use draft::Draft;
use input::Input;
pub(crate) use own::{ELF_HEAD, INFO, UNTOUCHED, elf_head};
use std::path::Path;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "minidump", probe, open };

/// Names of a dump's streams of the types that `wanted` picks; `understood` is whether anything is read of them.
pub(crate) fn stream_names(dump: &Dump, wanted: impl Fn(u32, bool) -> bool) -> Vec<String> {
    let understood = |kind| streams::find(kind).is_some_and(|kind| kind.read.is_some());
    let streams = dump.notes.iter().filter(|note| dump.format == crate::Format::Minidump && note.owner.is_empty());
    let picked = streams.filter(|note| note.size > 0 && wanted(note.kind, understood(note.kind)));
    picked.map(|note| note.name.map_or_else(|| format!("type {:#x}", note.kind), str::to_owned)).collect()
}

fn probe(head: &[u8]) -> bool {
    input::signature(head).is_some()
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let mut head = [0; 4];
    source.read_at(0, &mut head).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let broken = |what| Error::Broken { path: path.to_owned(), format: READER.name, what };
    let endian = input::signature(&head).ok_or_else(|| broken("the signature is missing".to_owned()))?;
    let input = Input::new(&source, endian, budget);
    let mut draft = Draft::new(&source, endian);
    let header = directory::read_header(&input, &mut draft).map_err(broken)?;
    let found = directory::read_directory(&input, &header, &mut draft);

    for (kind, read) in streams::STREAMS.iter().filter_map(|kind| Some((kind, kind.read?))) {
        for stream in found.iter().filter(|stream| stream.number == kind.number) {
            read(&input, stream.place, &mut draft);
        }
    }
    finish(&input, &source, &mut draft);
    let mut dump = draft.dump;
    dump.issues = input.take_issues();
    Ok(dump)
}

/// What can be said only when every stream has been read.
fn finish(input: &Input<'_>, source: &SharedSource, draft: &mut Draft) {
    if draft.platform.is_none() {
        input.loss("there is no SystemInfoStream: processor and system are not known");
    }
    if draft.dump.threads.is_empty() {
        input.loss("there are no threads");
    }
    draft.dump.modules.sort_by_key(|module| module.base);
    draft.dump.unloaded_modules.sort_by_key(|module| module.base);
    memory::build(input, source, draft);
    regions::finish(input, draft);
    exception::finish(input, draft);
    wow64::apply(input, draft);
    classify::apply(input, draft);
    let base = draft.dump.notes.len();
    for (index, note) in draft.contexts.iter().enumerate() {
        let place = note.tid.and_then(|tid| draft.threads.get(&tid)).copied();
        if let Some(thread) = place.and_then(|place| draft.dump.threads.get_mut(place)) {
            thread.extra_notes.push(base + index);
        }
    }
    draft.dump.notes.append(&mut draft.contexts);
    own::apply(input, source, draft);
}
