//! What `sample` writes: a tree of calls for each thread, with how often each was seen.
//!
//! *What it is not*: a profile. Of each tree the path that was seen most often is taken as the thread's stack.
//!
//! *Example*: `+ 2397 start  (in dyld) + 462  [0x111e8b51e]`; the column of the number is the depth.
//!
//! *Trap*: the strokes before the number (`+ ! : |`) only guide the eye; the caller stands above, so the innermost comes last.

use super::draft::{Draft, MAX_FRAMES};
use super::report::{ReportKind, ReportedFrame, ReportedThread};
use super::{line, words};
use crate::Issue;

/// Lines of one tree that are looked at: finding a path costs lines times depth.
const MAX_ENTRIES: usize = 65_536;

/// One line of a tree.
struct Entry<'a> {
    column: usize,
    count: u64,
    text: &'a str,
}

/// Reads the call graph; head and images are read as in a crash report.
pub(super) fn read(draft: &mut Draft<'_>, text: &str) {
    draft.report.kind = ReportKind::Sample;
    draft.writer = Some("sample".to_owned());
    let Some((head, rest)) = text.split_once("Call graph:") else {
        super::text::read(draft, text);
        return;
    };
    // Images and the head first: they tell the processor.
    super::text::read(draft, head);
    draft.issues.retain(|issue| !issue.text.contains("no threads"));
    if let Some(at) = rest.find("Binary Images:") {
        let threads = draft.threads.len();
        super::text::read(draft, rest.get(at..).unwrap_or(""));
        draft.threads.truncate(threads);
        draft.issues.retain(|issue| !issue.text.contains("no threads"));
    }
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut title: Option<&str> = None;
    for line in rest.lines() {
        if line.trim().is_empty() || line.starts_with("Total number") || line.starts_with("Binary Images") {
            if title.is_some() {
                break;
            }
            continue;
        }
        let column = line.find(|c: char| !matches!(c, ' ' | '+' | '!' | ':' | '|')).unwrap_or(0);
        let Some((count, text)) = line.get(column..).and_then(words::leading_number) else { continue };
        let text = text.trim();
        if text.starts_with("Thread_") || title.is_none() && text.starts_with("Thread") {
            thread(draft, title.take(), &entries);
            entries.clear();
            title = Some(text);
        } else if entries.len() < MAX_ENTRIES && draft.afford(64) {
            entries.push(Entry { column, count, text });
        }
    }
    thread(draft, title, &entries);
    if draft.threads.is_empty() {
        draft.issues.push(Issue::loss("the report holds no threads"));
    }
}

/// Takes one thread's tree.
fn thread(draft: &mut Draft<'_>, title: Option<&str>, entries: &[Entry<'_>]) {
    let Some(title) = title else { return };
    let mut frames: Vec<ReportedFrame> = Vec::new();
    let mut rest = entries;
    // Of the entries of one depth the one seen most often; what is below it ends with the next one of its depth.
    while let Some(first) = rest.first() {
        if frames.len() >= MAX_FRAMES || !draft.afford_frame() {
            break;
        }
        let column = first.column;
        let mut best: Option<(usize, u64)> = None;
        for (index, entry) in rest.iter().enumerate().filter(|(_, entry)| entry.column == column) {
            if best.is_none_or(|(_, count)| entry.count > count) {
                best = Some((index, entry.count));
            }
        }
        let Some((index, _)) = best else { break };
        let Some(entry) = rest.get(index) else { break };
        frames.extend(frame(entry.text));
        let below = rest.get(index + 1..).unwrap_or_default();
        let end = below.iter().position(|entry| entry.column <= column).unwrap_or(below.len());
        rest = below.get(..end).unwrap_or_default();
    }
    frames.reverse();
    let (id, name) = match title.split_once([' ', ':']) {
        Some((id, name)) => (id, name.trim().trim_start_matches(':').trim()),
        None => (title, ""),
    };
    let id = id.trim_start_matches("Thread_").trim_end_matches(':').parse().ok();
    let queue = name.strip_prefix("DispatchQueue_").and_then(|rest| rest.split_once(':')).map(|(_, rest)| {
        let label = rest.trim();
        label.rsplit_once("  (").map_or(label, |(label, _)| label).trim().to_owned()
    });
    let name = (queue.is_none() && !name.is_empty()).then(|| name.to_owned());
    draft.thread(id, name, ReportedThread { frames, queue, number: None, state: Vec::new() });
}

/// One line: the name, and the address in square brackets at its end.
fn frame(text: &str) -> Option<ReportedFrame> {
    let inside = text.strip_suffix(']')?;
    let (before, addresses) = inside.rsplit_once('[')?;
    let (address, _) = words::leading_number(addresses)?;
    let mut frame = ReportedFrame { address, ..ReportedFrame::default() };
    let before = before.trim();
    // `???  (in Image)  load address 0x… + 0x…`
    match before.split_once("load address ") {
        Some((name, offset)) => {
            line::place(&mut frame, name.trim());
            line::place(&mut frame, offset);
        }
        None => line::place(&mut frame, before),
    }
    Some(frame)
}
