//! The notes that afterimage itself adds to a core, owner `AFTERIMAGE`. Other readers pass over them.
//!
//! | type | content |
//! |---|---|
//! | 0x41460001 | soft errors: UTF-8 text, one a line |
//! | 0x41460002 | thread names: lines of `tid`, a tab, the name |
//! | 0x41460003 | facts of the process: repeated key, NUL, length as u64 (little-endian), that many bytes |
//! | 0x41460004 | build-ids: repeated base u64, length u16, bytes, length u16, path (all little-endian) |
//! | 0x41460005 | untouched memory: repeated start u64, end u64 (little-endian): mapped, zero, and therefore not stored |
//!
//! Facts that become parts of the model: `cmdline`, `environ`, `exe`, `time`; and of a dump that was converted from
//! another container, whose notes are Linux's only in form: `os`, `os_version`, `exception`, `fault_address`.
//!
//! The first cores had the small numbers alone, which debuggers take for registers.
//!
//! *Trap*: these are little-endian whatever the processor is, so that one writer serves all.

use super::notes::Note;
use super::reading::{OwnBuildId, Reading};
use crate::bytes::Fields;
use crate::{Endian, ExceptionKind, Os};

/// Takes a note of owner `AFTERIMAGE`.
pub(super) fn take(reading: &mut Reading<'_>, note: &Note<'_>) {
    let content = Fields::new(note.content.bytes(), Endian::Little);
    match small(note.kind) {
        1 => soft_errors(reading, content),
        2 => thread_names(reading, content),
        3 => facts(reading, content),
        4 => build_ids(reading, content),
        5 => untouched(reading, content),
        _ => {}
    }
}

/// The number of a note's type among afterimage's own.
pub(super) fn small(kind: u32) -> u32 {
    const OWN: u32 = 0x4146;
    if kind >> 16 == OWN { kind & 0xffff } else { kind }
}

fn soft_errors(reading: &mut Reading<'_>, content: Fields<'_>) {
    for line in String::from_utf8_lossy(content.bytes()).lines().map(|line| line.trim_matches('\0')) {
        if line.is_empty() {
            continue;
        }
        if !reading.room("soft errors", reading.soft_errors.len(), line.len() + 40) {
            break;
        }
        reading.soft_errors.push(line.to_owned());
    }
}

fn thread_names(reading: &mut Reading<'_>, content: Fields<'_>) {
    for line in String::from_utf8_lossy(content.bytes()).lines() {
        let Some((Ok(tid), name)) = line.split_once('\t').map(|(tid, name)| (tid.parse::<u32>(), name)) else {
            continue;
        };
        if !reading.room("thread names", reading.thread_names.len(), 2 * name.len() + 96) {
            break;
        }
        reading.thread_names.push((tid, name.trim_end_matches('\0').to_owned()));
    }
}

fn facts(reading: &mut Reading<'_>, content: Fields<'_>) {
    let mut at = 0;
    while let Some(key) = content.cstr(at, 256).filter(|key| !key.is_empty()) {
        let size_at = at + key.len() + 1;
        let size = content.u64(size_at).and_then(|size| usize::try_from(size).ok());
        let Some(value) = size.and_then(|size| content.slice(size_at + 8, size)) else {
            break;
        };
        at = size_at + 8 + value.len();
        if !reading.room("process facts", reading.process.facts.len(), key.len() + 2 * value.len() + 80) {
            break;
        }
        fact(reading, &String::from_utf8_lossy(key), value);
    }
}

/// One file of `/proc/PID` (or another fact), by its name.
fn fact(reading: &mut Reading<'_>, key: &str, value: &[u8]) {
    let words = || value.split(|&b| b == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy);
    match key {
        "cmdline" => {
            let line = words().collect::<Vec<_>>().join(" ");
            if !line.is_empty() {
                reading.process.command_line = Some(line);
            }
        }
        "environ" => {
            for word in words() {
                if !reading.room("environment variables", reading.process.environment.len(), word.len() + 64) {
                    break;
                }
                let (name, value) = word.split_once('=').unwrap_or((&word, ""));
                reading.process.environment.push((name.to_owned(), value.to_owned()));
            }
        }
        "exe" => {
            let path = String::from_utf8_lossy(value).trim_end_matches(['\0', '\n']).to_owned();
            reading.process.executable = Some(path);
        }
        "limited" => {
            let most = String::from_utf8_lossy(value);
            let text =
                format!("the dump was limited to {} bytes: other memory of the process was left out", most.trim());
            reading.issues.push(crate::Issue::loss(text));
        }
        "time" => {
            let text = String::from_utf8_lossy(value);
            reading.time = text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).parse().ok();
        }
        "os" => reading.own_os = Os::from_name(&String::from_utf8_lossy(value)),
        "exception" => reading.own_exception = exception(&String::from_utf8_lossy(value)),
        "fault_address" => {
            let text = String::from_utf8_lossy(value);
            reading.own_address = text.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        }
        "os_version" => reading.os_version = Some(String::from_utf8_lossy(value).into_owned()),
        _ => {
            let value = String::from_utf8_lossy(value).trim_end_matches(['\0', '\n']).to_owned();
            reading.process.facts.push((key.to_owned(), value));
        }
    }
}

/// `windows CODE FLAGS PARAMETERS…` or `mach EXCEPTION CODE PARAMETERS…`, in hexadecimal: of a dump that was converted.
fn exception(text: &str) -> Option<ExceptionKind> {
    let mut words = text.split_whitespace();
    let system = words.next()?;
    let mut numbers = words.map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let (first, second) = (numbers.next()?, numbers.next()?);
    let parameters: Vec<u64> = numbers.take(15).collect();
    match system {
        "windows" => Some(ExceptionKind::Windows { code: first as u32, flags: second as u32, parameters }),
        "mach" => Some(ExceptionKind::Mach { exception: first as u32, code: second, parameters }),
        _ => None,
    }
}

fn untouched(reading: &mut Reading<'_>, content: Fields<'_>) {
    for at in (0..content.bytes().len()).step_by(16) {
        let (Some(start), Some(end)) = (content.u64(at), content.u64(at + 8)) else {
            break;
        };
        // Each may become a piece of memory of its own, and cut one in two.
        let bytes = 16 + 2 * size_of::<crate::Segment<crate::Virt>>();
        if !reading.room("untouched ranges", reading.untouched.len(), bytes) {
            break;
        }
        if start < end {
            reading.untouched.push((start, end));
        }
    }
}

fn build_ids(reading: &mut Reading<'_>, content: Fields<'_>) {
    let mut at = 0;
    loop {
        let entry = || {
            let base = content.u64(at)?;
            let size = usize::from(content.u16(at + 8)?);
            let bytes = content.slice(at + 10, size)?;
            let path_at = at + 10 + size;
            let path = content.slice(path_at + 2, usize::from(content.u16(path_at)?))?;
            Some((base, bytes, path, path_at + 2 + path.len()))
        };
        let Some((base, bytes, path, next)) = entry() else {
            break;
        };
        if !reading.room("build-ids", reading.build_ids.len(), bytes.len() + path.len() + 80) {
            break;
        }
        let path = String::from_utf8_lossy(path).into_owned();
        reading.build_ids.push(OwnBuildId { base, bytes: bytes.to_vec(), path });
        at = next;
    }
}
