//! The header and the stream directory.
//!
//! *Trap*: writers reserve more entries than they fill; an entry of type 0 and size 0 is a free place, not a stream.

use super::draft::Draft;
use super::input::{Input, List, Place};
use super::{raw, streams};
use crate::NoteRecord;
use std::collections::BTreeMap;

/// One stream that is to be read.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub(super) number: u32,
    pub(super) place: Place,
}

/// `MINIDUMP_HEADER`.
pub(super) struct Header {
    streams: u64,
    directory: u64,
}

/// Reads the header into the draft. `Err` says what is wrong when there is nothing to go on with.
pub(super) fn read_header(input: &Input<'_>, draft: &mut Draft) -> Result<Header, String> {
    let bytes = input.read(Place { rva: 0, size: raw::HEADER_SIZE }, raw::HEADER_SIZE as usize);
    let fields = input.fields(&bytes);
    let parse = || {
        let version = fields.u32(4)?;
        let (streams, directory) = (u64::from(fields.u32(8)?), u64::from(fields.u32(12)?));
        Some((version, Header { streams, directory }, fields.u32(20)?, fields.u64(24)?))
    };
    let (version, header, time, flags) =
        parse().ok_or_else(|| format!("the header is cut off: {} of {} bytes", bytes.len(), raw::HEADER_SIZE))?;
    if version as u16 != raw::MINIDUMP_VERSION {
        input.remark(format!("the header's version is {version:#x}, not the one that is known (0x....a793)"));
    }
    draft.version = version;
    draft.flags = flags;
    draft.dump.time = (time != 0).then_some(i64::from(time));
    draft.fact("minidump_flags", format!("{flags:#x}"));
    Ok(header)
}

/// Reads the directory: every stream into [`crate::Dump::notes`], the first of each type into the result.
pub(super) fn read_directory(input: &Input<'_>, header: &Header, draft: &mut Draft) -> Vec<Stream> {
    let list = List { at: header.directory, count: header.streams, entry: raw::DIRECTORY_SIZE as u64 };
    if header.directory >= input.len() && header.streams > 0 {
        input.loss(format!("the stream directory at offset {:#x} lies past the end of the file", header.directory));
        return Vec::new();
    }
    let mut seen = BTreeMap::<u32, usize>::new();
    let mut found = Vec::new();
    let mut past_end = Vec::new();
    let cost = size_of::<NoteRecord>() + 3 * size_of::<Stream>() + 16;
    input.walk("the stream directory", list, cost, |fields| {
        let (Some(number), Some(size), Some(rva)) = (fields.u32(0), fields.u32(4), fields.u32(8)) else {
            return;
        };
        if number == raw::UNUSED_STREAM && size == 0 {
            return;
        }
        let name = streams::find(number).map(|kind| kind.name);
        let place = Place { rva: u64::from(rva), size: u64::from(size) };
        draft.dump.notes.push(NoteRecord {
            owner: String::new(),
            kind: number,
            name,
            tid: None,
            offset: place.rva,
            size: place.size,
        });
        if place.rva.saturating_add(place.size) > input.len() {
            past_end.push((number, name, place));
        }
        // Every exception of a file counts: lldb writes one stream for each stopped thread.
        let times = seen.entry(number).or_default();
        *times += 1;
        if *times == 1 || number == raw::EXCEPTION_STREAM {
            found.push(Stream { number, place });
        }
    });
    let again =
        |(number, times): &(u32, usize)| *times > 1 && ![raw::EXCEPTION_STREAM, raw::UNUSED_STREAM].contains(number);
    for (number, times) in seen.into_iter().filter(again) {
        let name = label(number, streams::find(number).map(|kind| kind.name));
        input.remark(format!("{name} stands {times} times in the directory; the first is taken"));
    }
    for (number, name, place) in past_end {
        let have = input.len().saturating_sub(place.rva).min(place.size);
        input.loss(format!(
            "{} at offset {:#x} is cut off: {have} of {} bytes are in the file",
            label(number, name),
            place.rva,
            place.size
        ));
    }
    found
}

fn label(number: u32, name: Option<&str>) -> String {
    name.map_or_else(|| format!("a stream of type {number:#x}"), str::to_owned)
}
