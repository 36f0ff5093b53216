//! The report for people: what died and why, the stack, the registers, the other threads, and what to be careful about.

use super::{source, stack};
use crate::args::Common;
use crate::output::style::{DIM, ERROR, HEADING, PLACE, paint};
use crate::output::{clean, cut, table_width, terminal_width, wrap};
use afterimage_tables::rows::{self, thread_groups};
use afterimage_target::Target;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Groups of other threads that are shown without `--verbose`.
const GROUPS: usize = 8;
/// Functions of another group's stack that are shown without `--verbose`.
const GROUP_FRAMES: usize = 6;
/// Columns that lines of lists take at least, however narrow the terminal is.
const MIN_ROOM: usize = 40;
/// Columns that are worth to begin the end of a line in.
const MIN_END: usize = 14;

pub fn write(target: &Target, locals: bool, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    if let Some(stop) = target.dump().machine.as_ref().and_then(|machine| machine.stop.as_deref()) {
        return super::stop::write(target, stop, locals, common, out);
    }
    if let Some(machine) = target.dump().machine.as_deref() {
        return super::machine::write(target, machine, locals, common, out);
    }
    verdict(target, common, out)?;
    let shown = match target.crashed_thread() {
        Some(crashed) => Some(crashed),
        None if target.dump().threads.is_empty() => None,
        None => Some(0),
    };
    if let Some(thread) = shown {
        thread_stack(target, thread, locals, common, out)?;
        registers(target, thread, common, out)?;
    }
    other_threads(target, shown, common, out)?;
    dump_line(target, out)?;
    remarks(target, common, out)
}

/// Wraps text to the terminal, with a hanging indent.
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    wrap(text, indent, terminal_width().unwrap_or(100).clamp(60, 110))
}

/// Columns that a line of a list may take behind its indent of two: those of the terminal, unless all is asked for.
pub(super) fn room(common: &Common) -> Option<usize> {
    table_width().filter(|_| !common.verbose).map(|width| width.saturating_sub(2).max(MIN_ROOM))
}

/// A line of a list with a dim end. What there is no room for is cut, with a mark; of an end little is not worth showing.
pub(super) fn fitted(text: &str, end: &str, room: Option<usize>) -> String {
    let text = if end.is_empty() { text.trim_end() } else { text };
    let Some(room) = room else { return format!("{text}{}", paint(DIM, end)) };
    let text = cut(text, room);
    let left = room.saturating_sub(text.width());
    if end.width() > left && left < MIN_END {
        return text.trim_end().to_owned();
    }
    format!("{text}{}", paint(DIM, &cut(end, left)))
}

/// A sentence with paths as a person in the current folder would write them, and without anything that steers terminals.
pub(super) fn sentence(text: &str) -> String {
    let here = std::env::current_dir().ok().filter(|here| here.components().count() > 1);
    match here.and_then(|here| here.to_str().map(|here| format!("{here}/"))) {
        Some(here) => clean(text).replace(&here, ""),
        None => clean(text),
    }
}

pub(super) fn heading(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, "\n{}", paint(HEADING, text))
}

fn verdict(target: &Target, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let diagnosis = target.diagnosis();
    let style = if diagnosis.kind == "none" { HEADING } else { ERROR };
    writeln!(out, "{}", paint(style, &wrapped(&sentence(&diagnosis.headline), 0)))?;
    if let Some(message) = &diagnosis.message {
        heading(out, "Its last words")?;
        for line in message.lines().take(12) {
            writeln!(out, "  {}", clean(line))?;
        }
    }
    if !diagnosis.statements.is_empty() {
        heading(out, "Why")?;
    }
    for statement in &diagnosis.statements {
        writeln!(out, "  • {}", wrapped(&sentence(&statement.text), 4))?;
        if common.verbose {
            for fact in &statement.evidence {
                writeln!(out, "    {}", paint(DIM, &format!("{}: {}", fact.kind, clean(&fact.text))))?;
            }
        }
    }
    excerpt(target, out)?;
    if !diagnosis.advice.is_empty() {
        heading(out, "What to do next")?;
    }
    for advice in &diagnosis.advice {
        writeln!(out, "  • {}", wrapped(&clean(advice), 4))?;
    }
    Ok(())
}

/// The source around the line to blame, if it lies here.
fn excerpt(target: &Target, out: &mut dyn Write) -> io::Result<()> {
    let place = target.diagnosis().blame_location.as_ref();
    let Some((file, line)) = place.and_then(|place| Some((place.file.as_ref()?, place.line?))) else {
        return Ok(());
    };
    let lines = source::excerpt(file, line);
    if lines.is_empty() {
        return Ok(());
    }
    heading(out, "The source")?;
    writeln!(out, "  {}", paint(PLACE, &format!("{}:{line}", sentence(file))))?;
    // A long line would wrap and break the picture.
    let room = terminal_width().unwrap_or(120).saturating_sub(14).max(40);
    for (number, text) in lines {
        let text =
            if text.chars().count() > room { text.chars().take(room - 1).chain(['…']).collect() } else { text };
        let mark = if number == line { paint(ERROR, "▶") } else { " ".to_owned() };
        writeln!(out, "  {mark} {} {}", paint(DIM, &format!("{number:>5} │")), clean(&text))?;
    }
    Ok(())
}

fn thread_stack(target: &Target, thread: usize, locals: bool, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let Some(record) = target.dump().threads.get(thread) else { return Ok(()) };
    let name = record.name.as_deref().map(|name| format!(" \"{}\"", clean(name))).unwrap_or_default();
    let crashed = match (target.crashed_thread() == Some(thread), target.diagnosis().kind) {
        (false, _) => "",
        (true, "killed") => ", which the signal ended",
        (true, _) => ", which crashed",
    };
    heading(out, &format!("Stack of thread {}{name}{crashed}", record.tid))?;
    stack::write(target, thread, locals, common, out)
}

pub(super) fn registers(target: &Target, thread: usize, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let all = rows::registers::rows(target, thread, 0);
    if all.is_empty() {
        return Ok(());
    }
    let general = |name: &str| {
        let info = target.dump().arch.info();
        info.slot(name).and_then(|slot| info.registers.get(slot)).is_some_and(|register| register.general)
    };
    let shown: Vec<_> = all.iter().filter(|row| common.verbose || general(row.name)).collect();
    let digits = shown.iter().map(|row| format!("{:x}", row.value.0).len()).max().unwrap_or(1);
    let names = shown.iter().map(|row| row.name.len()).max().unwrap_or(1);
    let per_line = (terminal_width().unwrap_or(100).clamp(40, 110) / (names + digits + 6)).clamp(1, 4);
    heading(out, "Registers")?;
    for line in shown.chunks(per_line) {
        let cells: Vec<String> = line
            .iter()
            .map(|row| {
                format!(
                    "{} {:>width$}",
                    paint(DIM, &format!("{:>names$}", row.name)),
                    format!("{:#x}", row.value.0),
                    width = digits + 2
                )
            })
            .collect();
        writeln!(out, "  {}", cells.join("  "))?;
    }
    Ok(())
}

fn other_threads(target: &Target, shown: Option<usize>, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let total = target.dump().threads.len();
    if total < 2 {
        return Ok(());
    }
    let groups: Vec<_> = thread_groups::groups(target)
        .into_iter()
        .map(|mut group| {
            group.threads.retain(|&thread| Some(thread) != shown);
            group
        })
        .filter(|group| !group.threads.is_empty())
        .collect();
    let title = if total == 2 { "The other thread".to_owned() } else { format!("The other {} threads", total - 1) };
    heading(out, &title)?;
    let limit = if common.verbose { usize::MAX } else { GROUPS };
    for group in groups.iter().take(limit) {
        let Some(&first) = group.threads.first() else { continue };
        let tid = target.dump().threads.get(first).map_or(0, |thread| thread.tid);
        let names = thread_groups::names(target, group);
        let names = if names.is_empty() { String::new() } else { format!(" \"{}\"", clean(&names.join("\", \""))) };
        let who = match group.threads.len() {
            1 => format!("thread {tid}{names}"),
            many => format!("{many} threads with the same stack, as {tid}{names}"),
        };
        writeln!(out, "  {who}")?;
        let frames = if common.verbose { usize::MAX } else { GROUP_FRAMES };
        let functions = thread_groups::functions(target, first, frames);
        let more = if target.stack(first).frames.len() > frames { " < …" } else { "" };
        if !functions.is_empty() {
            writeln!(out, "    {}{more}", wrapped(&clean(&functions.join(" < ")), 4))?;
        }
    }
    if groups.len() > limit {
        let rest = groups.len() - limit;
        writeln!(out, "  {}", paint(DIM, &format!("⋮ {rest} more groups (--verbose shows them)")))?;
    }
    Ok(())
}

/// One line that says what file this all comes from.
pub(super) fn dump_line(target: &Target, out: &mut dyn Write) -> io::Result<()> {
    let row = rows::dump::row(target);
    let what = if row.missing_bytes == 0 { "" } else { "what is left of a " };
    let mut parts = vec![format!("{what}{} dump, {}", row.r#type, row.format)];
    parts.extend(row.compression.ok().map(|packed| format!("packed with {packed}")));
    parts.push(format!("{} {}", row.os, row.arch));
    parts.push(format!("{} of memory", bytes(row.present_bytes)));
    parts.extend(row.writer.ok().map(|writer| format!("written by {}", clean(&writer))));
    parts.extend(row.command_line.ok().map(|line| {
        let line = clean(&line);
        let short: String = line.chars().take(100).collect();
        let dots = if short.len() < line.len() { "…" } else { "" };
        format!("command: {short}{dots}")
    }));
    heading(out, "The dump")?;
    writeln!(out, "  {}", wrapped(&parts.join(", "), 2))
}

/// A number of bytes for people: binary units, three digits.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).unwrap_or(&"B");
    if unit == 0 || value >= 100.0 { format!("{value:.0} {name}") } else { format!("{value:.1} {name}") }
}

pub(super) fn remarks(target: &Target, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    if common.quiet {
        return Ok(());
    }
    let issues = rows::issues::rows(target);
    if issues.is_empty() {
        return Ok(());
    }
    heading(out, "Be careful")?;
    let limit = if common.verbose { usize::MAX } else { 12 };
    for issue in issues.iter().take(limit) {
        writeln!(out, "  • {}", wrapped(&clean(&issue.text), 4))?;
    }
    if issues.len() > limit {
        let rest = issues.len() - limit;
        writeln!(out, "  {}", paint(DIM, &format!("⋮ {rest} more (`show issues` lists them)")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::fitted;

    #[test]
    fn lines_fit_the_room() {
        let plain = |text: &str, end: &str, room| anstream::adapter::strip_str(&fitted(text, end, room)).to_string();
        assert_eq!(plain("1  init  ", "/usr/lib/systemd", None), "1  init  /usr/lib/systemd");
        assert_eq!(plain("1  init  ", "", None), "1  init");
        assert_eq!(plain("1  init  ", "/usr/lib/systemd", Some(24)), "1  init  /usr/lib/syste…");
        assert_eq!(plain("1  init  ", "/usr/lib/systemd", Some(20)), "1  init");
        assert_eq!(plain("1  init  ", "/bin", Some(13)), "1  init  /bin");
        assert_eq!(plain("1  a name that is long", "/bin", Some(10)), "1  a name…");
    }

    #[test]
    fn bytes_for_people() {
        for (count, text) in [(0, "0 B"), (999, "999 B"), (1024, "1.0 KiB"), (4_300_000_000, "4.0 GiB")] {
            assert_eq!(super::bytes(count), text);
        }
    }
}
