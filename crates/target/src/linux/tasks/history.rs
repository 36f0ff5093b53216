//! What was typed into shells: the lines that readline (bash, python, gdb …) and busybox's shell keep in memory.
//!
//! readline keeps an array of pointers to entries `{line, timestamp, data}` (`HIST_ENTRY`, history.h); the timestamp is a text
//! `#1234567890`, and it is always there, whether the shell shows it or not. So: such texts, pointers to them, and the
//! entries around those. busybox keeps `{…, int count, int current, int most, …, char *lines[]}` (`line_input_t`,
//! include/libbb.h), which is known by its shape.
//!
//! *What it is not*: the history file, and lines of shells that are gone. zsh and fish keep their lines another way.
//!
//! *Trap*: no symbol leads here, so a text that only looks like an entry could be taken for one. An entry that the array of
//! pointers does not lead to is therefore shown without an index.

use super::process::Process;
use crate::linux::Linux;
use afterimage_dump::paging::PageTables;
use afterimage_dump::{Memory, Virt};
use std::collections::{BTreeMap, HashMap};

/// Bytes of one process that are looked at.
const MOST_BYTES: u64 = 256 << 20;
/// Bytes of a line at most.
const MAX_LINE: usize = 64 << 10;
/// Lines of a history at most (busybox allows 32000).
const MOST_LINES: u64 = 32 << 10;
/// Entries of one process at most, and bytes of their lines: what leads to the same long line again and again is no history.
const MOST_ENTRIES: usize = 256 << 10;
const MOST_TEXT: usize = 64 << 20;
/// Lines that are tried for busybox's shape at most.
const MOST_TRIES: u32 = 1 << 20;
/// Programs that are asked when nobody names a process.
const SHELLS: &[&str] =
    &["bash", "rbash", "sh", "ash", "busybox", "gdb", "psql", "mysql", "sqlite3", "ftp", "lftp", "bc", "virsh", "irb"];

/// A line that was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLine {
    /// Process.
    pub pid: u32,
    /// Its short name.
    pub comm: Option<String>,
    /// What keeps it: `readline` or `busybox`.
    pub keeper: &'static str,
    /// Its place in the list, the oldest is 1; `None` if the list does not lead to it.
    pub index: Option<u32>,
    /// When it was entered, in seconds since 1970.
    pub time: Option<i64>,
    /// The line.
    pub command: String,
    /// Where the line lies in the process.
    pub at: u64,
}

/// Writable memory of a process, copied, in pieces without holes.
struct Areas {
    areas: Vec<(u64, Vec<u8>)>,
    missing: u64,
}

impl Areas {
    fn rest(&self, at: u64) -> Option<&[u8]> {
        let next = self.areas.partition_point(|(start, _)| *start <= at);
        let (start, bytes) = self.areas.get(next.checked_sub(1)?)?;
        bytes.get(usize::try_from(at - start).ok()?..).filter(|rest| !rest.is_empty())
    }

    fn word(&self, at: u64) -> Option<u64> {
        Some(u64::from_le_bytes(*self.rest(at)?.first_chunk()?))
    }

    fn int(&self, at: u64) -> Option<u32> {
        Some(u32::from_le_bytes(*self.rest(at)?.first_chunk()?))
    }

    /// A line of text; what holds control characters is none.
    fn line(&self, at: u64) -> Option<String> {
        let rest = self.rest(at)?;
        let rest = rest.get(..MAX_LINE).unwrap_or(rest);
        let text = std::str::from_utf8(rest.get(..memchr::memchr(0, rest)?)?).ok()?;
        let plain = text.chars().all(|char| !char.is_control() || matches!(char, '\n' | '\t' | '\x1b'));
        (plain && !text.is_empty()).then(|| text.to_owned())
    }

    /// All words at addresses that are multiples of 8.
    fn words(&self) -> impl Iterator<Item = (u64, u64)> {
        self.areas.iter().flat_map(|(start, bytes)| {
            let words = bytes.chunks_exact(8).filter_map(|bytes| Some(u64::from_le_bytes(*bytes.first_chunk()?)));
            (0u64..).zip(words).map(move |(index, word)| (start + 8 * index, word))
        })
    }
}

impl Linux {
    /// The lines that shells and other programs with readline hold, of one process or of all that are known to hold such;
    /// and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn shell_history(&self, pid: Option<u32>) -> Result<(Vec<HistoryLine>, Vec<String>), String> {
        let (processes, mut remarks) = self.asked(pid)?;
        let mut lines = Vec::new();
        for process in processes {
            if process.kernel_thread == Some(true) || pid.is_none() && !keeps_lines(&process) {
                continue;
            }
            let shown = format!("process {} ({})", process.pid, process.comm.as_deref().unwrap_or("?"));
            let areas = match self.writable(&process) {
                Ok(areas) => areas,
                Err(why) => {
                    remarks.push(format!("{shown}: {why}"));
                    continue;
                }
            };
            let mut found = readline(&areas, &process);
            if found.is_empty() {
                found = busybox(&areas, &process);
            }
            match (found.is_empty(), areas.missing) {
                (true, 0) => remarks.push(format!("{shown}: its memory holds no history")),
                (true, missing) => remarks.push(format!(
                    "{shown}: no history was found, but {missing} pages of its memory are not in the dump or were never used"
                )),
                (false, _) => lines.extend(found),
            }
        }
        Ok((lines, remarks))
    }

    /// The memory that a process alone writes to and that is of no file.
    fn writable(&self, process: &Process) -> Result<Areas, String> {
        let mm = self.pointer(process.task, "task_struct", "mm").ok_or("its task_struct is not in the dump")?;
        if mm == 0 {
            return Err("it has no memory of its own any more".into());
        }
        let memory = self.pointer(mm, "mm_struct", "pgd").and_then(|pgd| self.process_memory(pgd));
        let memory = memory.ok_or("its page tables are not in the dump")?;
        let (regions, remarks) = self.process_regions(Some(process.pid))?;
        let own = regions.iter().filter(|region| region.perms.as_deref().is_none_or(|perms| perms.starts_with("rw-p")));
        let own = own.filter(|region| match &region.path {
            Ok(None) | Err(_) => true,
            Ok(Some(name)) => name == "[heap]" || name.starts_with("[anon:"),
        });
        let mut areas = Areas { areas: Vec::new(), missing: 0 };
        let mut left = MOST_BYTES;
        for region in own {
            let len = region.end.saturating_sub(region.start).min(left);
            left -= len;
            areas.copy(&memory, region.start, len, self.page_bytes());
        }
        if areas.areas.is_empty() {
            // What is wrong with other processes, and the way to them, is no reason.
            let own = format!("process {}: ", process.pid);
            let why = remarks.iter().find_map(|remark| remark.strip_prefix(&own));
            return Err(why.unwrap_or("it has no memory that it writes to").to_owned());
        }
        Ok(areas)
    }
}

impl Areas {
    /// Copies an area without the pages that were never there: large ones are mostly empty.
    fn copy(&mut self, memory: &PageTables, start: u64, len: u64, page: u64) {
        let mut run: Option<(u64, Vec<u8>)> = None;
        let mut at = start;
        while at < start.saturating_add(len) {
            let mut bytes = vec![0; page as usize];
            let got = memory.read_at(Virt(at), &mut bytes).unwrap_or(0);
            if got == bytes.len() {
                match &mut run {
                    Some((_, run)) => run.append(&mut bytes),
                    None => run = Some((at, bytes)),
                }
            } else {
                self.missing += 1;
                self.areas.extend(run.take());
            }
            at = at.saturating_add(page);
        }
        self.areas.extend(run);
    }
}

/// Whether a program is known to keep what is typed into it.
fn keeps_lines(process: &Process) -> bool {
    let exe = process.exe.as_deref().ok().map(|path| path.trim_end_matches(" (deleted)"));
    let file = exe.and_then(|path| path.rsplit('/').next());
    let known = |name: &str| SHELLS.contains(&name) || name.starts_with("python");
    file.is_some_and(known) || process.comm.as_deref().is_some_and(|name| known(name.trim_start_matches('-')))
}

/// Entries of readline's history.
fn readline(areas: &Areas, process: &Process) -> Vec<HistoryLine> {
    let stamps = stamps(areas);
    // Entries by their address.
    let mut entries: BTreeMap<u64, HistoryLine> = BTreeMap::new();
    let mut text = 0;
    for (at, word) in areas.words() {
        if let Some(time) = stamps.get(&word)
            && let Some(entry) = at.checked_sub(8)
            && let Some(line) = areas.word(entry)
            && let Some(command) = areas.line(line)
        {
            text += command.len();
            if text > MOST_TEXT || entries.len() >= MOST_ENTRIES {
                break;
            }
            let (pid, comm) = (process.pid, process.comm.clone());
            let time = Some(*time);
            entries.insert(entry, HistoryLine { pid, comm, keeper: "readline", index: None, time, command, at: line });
        }
    }
    // The array of pointers to them is the longest run of such pointers.
    let (mut best, mut run) = (0..0, 0..0);
    for (at, word) in areas.words() {
        if !entries.contains_key(&word) {
            continue;
        }
        run = if at == run.end { run.start..at + 8 } else { at..at + 8 };
        // An array has each entry once.
        if run.end - run.start > best.end - best.start && (run.end - run.start) / 8 <= entries.len() as u64 {
            best = run.clone();
        }
    }
    let best = best.step_by(8).filter_map(|at| areas.word(at));
    let mut lines: Vec<HistoryLine> = Vec::new();
    for (index, entry) in (1u32..).zip(best) {
        // The same entry twice would be another array.
        if let Some(line) = entries.remove(&entry) {
            lines.push(HistoryLine { index: Some(index), ..line });
        }
    }
    let mut others: Vec<HistoryLine> = entries.into_values().collect();
    others.sort_by_key(|line| line.time);
    lines.extend(others);
    lines
}

/// Texts `#1234567890` by their addresses.
fn stamps(areas: &Areas) -> HashMap<u64, i64> {
    const DIGITS: std::ops::RangeInclusive<usize> = 1..=11;
    /// More are no history: an entry of each takes room, too.
    const MOST_STAMPS: usize = 1 << 20;
    let mut stamps = HashMap::new();
    for (start, bytes) in &areas.areas {
        for place in memchr::memchr_iter(b'#', bytes) {
            let rest = bytes.get(place + 1..).unwrap_or_default();
            let count = rest.iter().take(12).take_while(|byte| byte.is_ascii_digit()).count();
            let digits = rest.get(..count).and_then(|digits| std::str::from_utf8(digits).ok());
            if rest.get(count) == Some(&0)
                && DIGITS.contains(&count)
                && let Some(time) = digits.and_then(|digits| digits.parse().ok())
            {
                stamps.insert(start + place as u64, time);
                if stamps.len() >= MOST_STAMPS {
                    return stamps;
                }
            }
        }
    }
    stamps
}

/// Whether in front of the counts stands how such a structure begins: `int flags, timeout`, a pointer to where programs are
/// looked for and, in newer ones, one or two of functions. Without `TMOUT` the timeout is -1, else milliseconds.
fn begins(areas: &Areas, counts: u64) -> bool {
    const MOST_FLAGS: u32 = 1 << 16;
    [16u64, 24, 32].into_iter().any(|before| {
        let Some(word) = counts.checked_sub(before).and_then(|at| areas.word(at)) else { return false };
        let (flags, timeout) = (word as u32, (word >> 32) as u32);
        (1..MOST_FLAGS).contains(&flags) && (timeout == u32::MAX || timeout > 0 && timeout % 1000 == 0)
    })
}

/// Lines of busybox's editor: `int count, current, most`, and 16 or (where it writes a file) 24 bytes behind the first the
/// pointers to them.
fn busybox(areas: &Areas, process: &Process) -> Vec<HistoryLine> {
    /// What a build or `HISTSIZE` allows at least; below it the shape would prove too little.
    const LEAST: u32 = 15;
    let mut best: Vec<(u64, String)> = Vec::new();
    let mut tries = MOST_TRIES;
    for (at, word) in areas.words() {
        let (count, current) = (word as u32, (word >> 32) as u32);
        let Some(most) = areas.int(at.wrapping_add(8)) else { continue };
        let sound = count > 0 && current <= count && count <= most && most >= LEAST && u64::from(most) <= MOST_LINES;
        if !sound || count as usize <= best.len() || !begins(areas, at) {
            continue;
        }
        for behind in [16, 24] {
            let first = at.wrapping_add(behind);
            let lines: Option<Vec<(u64, String)>> = (0..u64::from(count))
                .map(|index| {
                    tries = tries.checked_sub(1)?;
                    let line = areas.word(first.wrapping_add(8 * index))?;
                    Some((line, areas.line(line)?))
                })
                .collect();
            // Behind the last there is nothing, or the line that is being typed; and the places behind were never used.
            let end = areas.word(first.wrapping_add(8 * u64::from(count)));
            let ends = end.is_none_or(|end| end == 0 || count == most || areas.rest(end).is_some());
            let mut unused = (count + 1..most).map(|index| areas.word(first.wrapping_add(8 * u64::from(index))));
            let ends = ends && unused.all(|word| word.is_none_or(|word| word == 0));
            if let Some(lines) = lines.filter(|_| ends) {
                best = lines;
                break;
            }
        }
    }
    let line = |(index, (at, command)): (u32, (u64, String))| HistoryLine {
        pid: process.pid,
        comm: process.comm.clone(),
        keeper: "busybox",
        index: Some(index),
        time: None,
        command,
        at,
    };
    (1u32..).zip(best).map(line).collect()
}
