//! A stack as lines of text: function, place, and how sure the frame is. Repeated frames of a recursion are folded.

use crate::args::Common;
use crate::output::style::{DIM, FUNCTION, PLACE, paint};
use crate::output::{clean, terminal_width};
use afterimage_tables::rows::FrameRow;
use afterimage_tables::rows::frames::{end_in_words, rows, rows_upto};
use afterimage_target::{Frame, Target};
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Lines of one stack that are shown without `--verbose`.
const SHOWN: usize = 48;
/// Longest repeating pattern of frames that is recognised as a recursion.
const LONGEST_CYCLE: usize = 6;
/// A recursion is folded when its pattern comes at least this often.
const FOLDED_FROM: usize = 4;

/// How far from a stack's outer end the language's runtime begins at most.
const RUNTIME_FRAMES: usize = 64;

/// One line to show, or a fold.
enum Line<'a> {
    Frame(&'a FrameRow),
    /// `frames` further rows that repeat the last `cycle` ones.
    Fold {
        frames: usize,
        cycle: usize,
    },
    /// So many frames were counted but not kept.
    Gap(usize),
}

/// Writes the stack of one thread; `locals`: with the variables of its frames.
pub fn write(target: &Target, thread: usize, locals: bool, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let mut locals = locals.then(|| super::locals::Locals::new(target, thread));
    let (rows, hidden) = if common.verbose { (rows(target, thread), 0) } else { without_runtime(target, thread) };
    let lines = folded(&rows);
    let shown = if common.verbose { lines.len() } else { SHOWN };
    let name = |row: &FrameRow| match (&row.function, &row.module) {
        // A label may lie far before the address, and be another function's.
        (Ok(function), _) if row.symbol.as_ref().is_ok_and(|symbol| symbol.starts_with("nearest")) => {
            format!("{}+{:#x}", clean(function), row.offset.as_ref().map_or(0, |offset| *offset))
        }
        (Ok(function), _) if common.verbose => clean(function),
        // Without arguments and their types: those are in the tables.
        (Ok(function), _) => clean(&afterimage_symbols::short_name(function)),
        (Err(_), Ok(module)) => match &row.module_offset {
            Ok(offset) => format!("{}+{:#x}", clean(module), offset.0),
            Err(_) => format!("{:#x} in {}", row.pc.0, clean(module)),
        },
        (Err(_), Err(_)) => format!("{:#x}", row.pc.0),
    };
    let width = lines
        .iter()
        .take(shown)
        .filter_map(|line| match line {
            Line::Frame(row) => Some(name(row).width()),
            Line::Fold { .. } | Line::Gap(_) => None,
        })
        .filter(|&width| width <= 48)
        .max()
        .unwrap_or(0);
    for line in lines.iter().take(shown) {
        match line {
            Line::Frame(row) => {
                let name = name(row);
                let pad = " ".repeat(width.saturating_sub(name.width()));
                write!(out, "  {} {}", paint(DIM, &format!("#{:<3}", row.index)), paint(FUNCTION, &name))?;
                let used = 8 + width.max(name.width()) + if row.inlined { 9 } else { 0 };
                let room = terminal_width().map_or(usize::MAX, |columns| columns.saturating_sub(used).max(24));
                if let Some(place) = place(row, room) {
                    write!(out, "{pad}  {place}")?;
                }
                if row.inlined {
                    write!(out, "  {}", paint(DIM, "inlined"))?;
                }
                // Of a stopped kernel every frame but the first is a guess, and the heading says so.
                let told = target.dump().machine.is_some() && row.trust == "scan" && !common.verbose;
                if let Some(note) = trust_note(row, common.verbose).filter(|_| !told) {
                    write!(out, "  {}", paint(DIM, &note))?;
                }
                writeln!(out)?;
                if let Some(locals) = &mut locals {
                    locals.under(row.index, common, out)?;
                }
            }
            Line::Gap(frames) => writeln!(out, "  {}", paint(DIM, &format!("⋮    {frames} frames more")))?,
            Line::Fold { frames, cycle: 1 } => {
                writeln!(out, "  {}", paint(DIM, &format!("⋮    the same again, {frames} frames")))?;
            }
            Line::Fold { frames, cycle } => {
                let text = format!("⋮    these {cycle} again and again, {frames} frames");
                writeln!(out, "  {}", paint(DIM, &text))?;
            }
        }
    }
    if lines.len() > shown {
        let rest = lines.len() - shown;
        writeln!(out, "  {}", paint(DIM, &format!("⋮    {rest} more lines (--verbose shows them)")))?;
    }
    if hidden > 0 {
        let text = format!("⋮    {hidden} frames of the runtime below it (--verbose shows them)");
        writeln!(out, "  {}", paint(DIM, &text))?;
    }
    if let Some(locals) = &locals {
        locals.end(out)?;
    }
    if let Some(words) = end_in_words(&target.stack(thread).end) {
        writeln!(out, "  {}", paint(DIM, &super::text::wrapped(&clean(&words), 2)))?;
    }
    Ok(())
}

/// Source file and line, else the module.
fn place(row: &FrameRow, room: usize) -> Option<String> {
    match (&row.file, &row.line, &row.module) {
        (Ok(file), Ok(line), _) => Some(paint(PLACE, &fitting(format!("{}:{line}", shortened(&clean(file))), room))),
        (Ok(file), Err(_), _) => Some(paint(PLACE, &fitting(shortened(&clean(file)), room))),
        (Err(_), _, Ok(module)) if row.function.is_ok() => Some(paint(DIM, &clean(module))),
        _ => None,
    }
}

/// The end of a path that is too long for the line: the file and line are at its end.
fn fitting(place: String, room: usize) -> String {
    let length = place.chars().count();
    if length <= room {
        place
    } else {
        place.chars().skip(length - room + 1).fold("…".to_owned(), |mut text, c| {
            text.push(c);
            text
        })
    }
}

/// A path as a person at this place would write it: relative to the current folder; Rust's own library without the hash
/// of its compiler's commit.
fn shortened(file: &str) -> String {
    if let Some((_, rest)) = file.strip_prefix("/rustc/").and_then(|rest| rest.split_once('/')) {
        return rest.to_owned();
    }
    let here = std::env::current_dir().ok().and_then(|here| here.to_str().map(str::to_owned));
    let inside = here.and_then(|here| file.strip_prefix(&here)?.strip_prefix('/').map(str::to_owned));
    inside.unwrap_or_else(|| file.to_owned())
}

/// The rows without the frames that every program of its language has below its own, and how many those are: at least
/// three must go, or it is not worth a line.
///
/// The frames to go are told by symbol tables alone: reading the C library's debug information for lines that nobody
/// sees would be nine tenths of the time of a small program's report.
fn without_runtime(target: &Target, thread: usize) -> (Vec<FrameRow>, usize) {
    const RUNTIME: [&str; 3] = ["__rust_begin_short_backtrace", "__libc_start_call_main", "__libc_start_main"];
    let frames = &target.stack(thread).frames;
    let is_runtime = |frame: &Frame| {
        target.function_name(frame.address).is_some_and(|name| RUNTIME.iter().any(|runtime| name.contains(runtime)))
    };
    // What nearly all stacks end with stands at their outer end, and recursions have a hundred thousand frames before.
    let near = frames.len().saturating_sub(RUNTIME_FRAMES);
    let first = frames.iter().skip(near).position(is_runtime).map(|index| near + index);
    let Some(first) = first.filter(|&first| first > 0) else { return (rows(target, thread), 0) };
    let mut shown = rows_upto(target, thread, first);
    let mut hidden = frames.len() - first;
    // The calls through `FnOnce` that Rust puts between are runtime, too.
    while shown.len() > 1
        && shown.last().is_some_and(|row| row.file.as_ref().is_ok_and(|file| file.starts_with("/rustc/")))
    {
        shown.pop();
        hidden += 1;
    }
    if hidden >= 3 { (shown, hidden) } else { (rows(target, thread), 0) }
}

/// Says how a frame was found where that is not call-frame information.
fn trust_note(row: &FrameRow, verbose: bool) -> Option<String> {
    let why = row.why.as_ref().ok().filter(|_| verbose).map(|why| format!(": {}", clean(why))).unwrap_or_default();
    match row.trust {
        "context" | "cfi" | "reported" if why.is_empty() => None,
        "context" | "cfi" => Some(format!("[{}{why}]", row.trust)),
        "signal_frame" => Some(format!("[interrupted by the signal{why}]")),
        "call_site" => Some(format!("[from the call just made{why}]")),
        "frame_pointer" => Some(format!("[by frame pointer{why}]")),
        "scan" => Some(format!("[a guess: found by scanning{why}]")),
        other => Some(format!("[{other}{why}]")),
    }
}

/// Folds repeated frames.
fn folded(rows: &[FrameRow]) -> Vec<Line<'_>> {
    // Behind a gap of left-out frames the numbers jump.
    let jump = |a: &FrameRow, b: &FrameRow| b.index.saturating_sub(a.index).saturating_sub(1);
    let same = |a: Option<&FrameRow>, b: Option<&FrameRow>| match (a, b) {
        (Some(a), Some(b)) => a.pc == b.pc && a.function == b.function,
        _ => false,
    };
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(row) = rows.get(at) {
        let repeats = |cycle: usize| (at..).take_while(|&i| same(rows.get(i), rows.get(i + cycle))).count();
        let fold =
            (1..=LONGEST_CYCLE).map(|cycle| (cycle, repeats(cycle))).find(|&(cycle, n)| n >= cycle * FOLDED_FROM);
        match fold {
            Some((cycle, repeated)) => {
                lines.extend(rows.iter().skip(at).take(cycle).map(Line::Frame));
                let hidden: usize = rows
                    .get(at..at + cycle + repeated)
                    .unwrap_or_default()
                    .windows(2)
                    .map(|pair| match pair {
                        [a, b] => jump(a, b),
                        _ => 0,
                    })
                    .sum();
                lines.push(Line::Fold { frames: repeated + hidden, cycle });
                at += cycle + repeated;
            }
            None => {
                if let Some(hidden) =
                    at.checked_sub(1).and_then(|i| rows.get(i)).map(|before| jump(before, row)).filter(|&n| n > 0)
                {
                    lines.push(Line::Gap(hidden));
                }
                lines.push(Line::Frame(row));
                at += 1;
            }
        }
    }
    lines
}
