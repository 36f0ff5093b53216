//! Crash reports of macOS and iOS as dumps of their own kind: `.ips` (JSON), `.crash`, `.panic`, `sample`'s text.
//!
//! *What it is*: threads, images, registers of the crashed thread and the exception go into the common model; what only
//! a report has (frames with names, reasons in words, a panic's text) is [`Report`].
//!
//! *What it is not*: there is no memory in it, so nothing can be unwound: stacks are what the writer says they are.
//!
//! *Example*: a file whose first line is `{"bug_type":"309",…}` and whose second one begins another object is a crash of
//! macOS 12 or later; the first object is the envelope.
//!
//! *Trap*: the envelope stands before text reports, too (`.ips` of iOS up to 14), and people lose it, or mail it in UTF-16.

mod draft;
mod ips;
mod json;
mod line;
mod panic;
mod report;
mod sample;
mod text;
pub(crate) mod words;

pub(crate) use json::parse as parse_json;
pub use report::{
    Jetsam, JetsamProcess, Kext, ObjcException, Panic, Report, ReportKind, ReportedFrame, ReportedThread, Termination,
};

use crate::source::{SharedSource, read_vec};
use crate::{Budget, Dump, Error, FormatReader, Issue};
use draft::Draft;
use std::borrow::Cow;
use std::path::Path;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "Apple crash report", probe, open };

/// Bytes of a report that are read; the largest stackshots have some 30 MB.
const MAX_BYTES: u64 = 40 << 20;

/// 16 bytes as people write a UUID.
pub(crate) fn uuid_text(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().enumerate().fold(String::new(), |mut text, (index, byte)| {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Text of whatever encoding; `true`: some of it could not be read.
fn decode(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let wide = |bytes: &[u8], little: bool| {
        let unit = |pair: &[u8]| match pair {
            [a, b] if little => u16::from_le_bytes([*a, *b]),
            [a, b] => u16::from_be_bytes([*a, *b]),
            _ => 0xfffd,
        };
        let units: Vec<u16> = bytes.chunks_exact(2).map(unit).collect();
        let text = String::from_utf16(&units);
        let bad = text.is_err() || !bytes.len().is_multiple_of(2);
        (Cow::Owned(text.unwrap_or_else(|_| String::from_utf16_lossy(&units))), bad)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => return wide(rest, true),
        [0xfe, 0xff, rest @ ..] => return wide(rest, false),
        [b'{' | b'I' | b'P' | b'\n', 0, _, 0, ..] => return wide(bytes, true),
        _ => {}
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (String::from_utf8_lossy(bytes), true),
    }
}

/// Lines that only reports begin with.
const TITLES: [&str; 12] = [
    "Incident Identifier:",
    "Process:",
    "Analysis of sampling",
    "Sampling process",
    "panic(cpu ",
    "Anonymous UUID:",
    "CrashReporter Key:",
    "Date/Time:",
    "Command:",
    "Report Version:",
    "Thread 0 Crashed:",
    "Exception Type:",
];

fn probe(head: &[u8]) -> bool {
    let (text, _) = decode(head);
    let text = text.trim_start();
    if text.starts_with('{') {
        let names = [
            "\"bug_type\"",
            "\"incident\"",
            "\"procName\"",
            "\"panicString\"",
            "\"usedImages\"",
            "\"faultingThread\"",
            "\"crashReporterKey\"",
            "\"threadState\"",
        ];
        return names.iter().any(|name| text.contains(name));
    }
    let titles = TITLES.iter().filter(|title| text.lines().any(|line| line.trim_start().starts_with(**title))).count();
    // One alone may stand in any text, unless it is the very first thing.
    let panics = |line: &str| line.trim_start().starts_with("panic(cpu ") && line.contains(" caller 0x");
    titles >= 2 || text.lines().any(panics) || text.starts_with("Analysis of sampling")
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut draft = Draft::new(budget);
    let mut len = source.len();
    if len > MAX_BYTES || budget.take(len).is_err() {
        len = len.min(MAX_BYTES).min(budget.max_bytes / 4);
        draft.issues.push(Issue::loss(format!("only the first {len} of {} bytes are read", source.len())));
    }
    let bytes = read_vec(&*source, 0, usize::try_from(len).unwrap_or(0)).map_err(io)?;
    let (text, bad) = decode(&bytes);
    if bad {
        draft.issues.push(Issue::remark("some characters of the report cannot be read: it is damaged, or not UTF-8"));
    }
    read(&mut draft, &text);
    drop(text);
    Ok(draft.finish(source))
}

/// Reads a report of any kind.
fn read(draft: &mut Draft<'_>, text: &str) {
    let text = text.trim_start();
    if !text.starts_with('{') {
        return plain(draft, text);
    }
    let first = json::parse(text, draft.budget);
    let rest = text.get(first.used..).unwrap_or("").trim_start();
    if rest.is_empty() {
        // One object: a report that has lost its envelope, or has it inside.
        ips::header(draft, &first.value);
        complain(draft, &first);
        return objects(draft, &first.value);
    }
    ips::header(draft, &first.value);
    if !rest.starts_with('{') {
        return plain(draft, rest);
    }
    let second = json::parse(rest, draft.budget);
    complain(draft, &second);
    objects(draft, &second.value);
}

fn complain(draft: &mut Draft<'_>, parsed: &json::Parsed) {
    if parsed.cut {
        draft.issues.push(Issue::loss("the report is cut off: what stood behind is lost"));
    }
    if parsed.damaged {
        draft.issues.push(Issue::loss("parts of the report are no JSON, or too much: they are left out"));
    }
}

fn objects(draft: &mut Draft<'_>, body: &json::Value) {
    if panic::text_of(body).is_some() || body.get("processByPid").is_some() {
        panic::body(draft, body);
    } else if draft.report.bug_type.as_deref() == Some("298") || body.get("largestProcess").is_some() {
        ips::jetsam(draft, body);
    } else {
        ips::body(draft, body);
    }
}

fn plain(draft: &mut Draft<'_>, text: &str) {
    let starts = |title: &str| text.lines().take(64).any(|line| line.starts_with(title));
    if starts("Analysis of sampling") || starts("Sampling process") {
        sample::read(draft, text);
    } else if starts("panic(cpu ") {
        // The writer's own lines stand before it.
        let at = text.find("panic(cpu ").unwrap_or(0);
        text::head_only(draft, text.get(..at).unwrap_or(""));
        panic::read(draft, text.get(at..).unwrap_or(""));
    } else {
        text::read(draft, text);
    }
}
