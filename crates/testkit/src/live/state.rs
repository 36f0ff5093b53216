//! What can be seen of a process from outside, as lines that are compared before and after a picture was taken.
//!
//! Children, descriptors, mappings with their flags, threads with their masks, dispositions, who traces it, and any
//! process that is a copy of it. It is not its memory: the program itself watches that.
//!
//! *Example of a difference*: `+ map 7f31c8000000-7f31c8021000 rwxp 00000000 [rd wr ex mr mw me um uw]`.
//!
//! *Trap*: a program in full swing has other children and mappings every millisecond; ask it to `hold` first.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The lines that tell a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeSet<String>);

/// Fields of `/proc/PID/status` that a picture must not change.
const FIELDS: &[&str] = &["TracerPid", "Threads", "SigBlk", "SigIgn", "SigCgt", "CapEff", "Seccomp", "NoNewPrivs"];

impl State {
    /// Looks at a process; `mark` is [`Live::mark`](super::Live::mark).
    ///
    /// # Errors
    /// If it is gone.
    pub fn of(pid: u32, mark: &str) -> std::io::Result<Self> {
        let base = format!("/proc/{pid}");
        let mut lines = BTreeSet::new();
        let status = fs::read_to_string(format!("{base}/status"))?;
        lines.extend(FIELDS.iter().map(|name| format!("{name} {}", field(&status, name).unwrap_or_default())));
        lines.insert(format!("left pending {:x}", left(&status, "ShdPnd")));
        for entry in fs::read_dir(format!("{base}/task"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Ok(status) = fs::read_to_string(format!("{base}/task/{name}/status")) else { continue };
            let blocked = field(&status, "SigBlk").unwrap_or_default();
            let pending = left(&status, "SigPnd");
            let tracer = field(&status, "TracerPid").unwrap_or_default();
            lines.insert(format!("thread {name} blocks {blocked} pending {pending:x} tracer {tracer}"));
        }
        for entry in fs::read_dir(format!("{base}/fd"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let to = fs::read_link(entry.path()).unwrap_or_default();
            let info = fs::read_to_string(format!("{base}/fdinfo/{name}")).unwrap_or_default();
            lines.insert(format!("fd {name} to {} {}", to.display(), field(&info, "flags").unwrap_or_default()));
        }
        lines.extend(mappings(&fs::read_to_string(format!("{base}/smaps"))?));
        lines.extend(processes(|path| {
            let status = fs::read_to_string(path.join("status")).ok()?;
            (field(&status, "PPid")? == pid.to_string()).then(|| format!("child {}", shown(&status)))
        }));
        lines.extend(kin(pid, mark).into_iter().map(|(_, text)| format!("copy {text}")));
        Ok(Self(lines))
    }

    /// What is no more (`-`) and what is new (`+`); empty if nothing changed.
    #[must_use]
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let gone = self.0.difference(&after.0).map(|line| format!("- {line}"));
        gone.chain(after.0.difference(&self.0).map(|line| format!("+ {line}"))).collect()
    }
}

/// One field of a file like `/proc/PID/status`.
#[must_use]
pub fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Processes other than `pid` that have its mark in their environment: its children, and copies of it that somebody
/// made. Each with a word on its state.
#[must_use]
pub fn kin(pid: u32, mark: &str) -> Vec<(u32, String)> {
    let wanted = format!("AFTERIMAGE_LIVE={mark}");
    processes(|path| {
        let number: u32 = path.file_name()?.to_str()?.parse().ok()?;
        let environment = fs::read(path.join("environ")).ok()?;
        let same = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
        let status = fs::read_to_string(path.join("status")).ok()?;
        (same && number != pid).then(|| (number, shown(&status)))
    })
}

/// Of the pending signals those that only a tracer leaves behind: SIGTRAP, SIGSTOP, SIGCONT. Others come and go.
fn left(status: &str, name: &str) -> u64 {
    let mask = [libc::SIGTRAP, libc::SIGSTOP, libc::SIGCONT].iter().fold(0, |mask, signal| mask | 1u64 << (signal - 1));
    field(status, name).and_then(|text| u64::from_str_radix(&text, 16).ok()).unwrap_or(0) & mask
}

fn shown(status: &str) -> String {
    let get = |name| field(status, name).unwrap_or_default();
    format!("{} {} state {} parent {} tracer {}", get("Pid"), get("Name"), get("State"), get("PPid"), get("TracerPid"))
}

fn processes<T>(mut look: impl FnMut(&Path) -> Option<T>) -> Vec<T> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    numbers.filter_map(|entry| look(&entry.path())).collect()
}

/// One line a mapping, with the flags that `smaps` has. The main stack may have grown, and "soft-dirty" says nothing.
fn mappings(smaps: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let flags: Vec<&str> = flags.split_whitespace().filter(|flag| *flag != "sd").collect();
            lines.push(format!("map {current} [{}]", flags.join(" ")));
        } else if line.split_whitespace().next().is_some_and(|word| word.contains('-') && !word.ends_with(':')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let place = words.first().copied().unwrap_or_default();
            let stack = words.last() == Some(&"[stack]");
            let place = if stack { place.split('-').next_back().unwrap_or_default() } else { place };
            current = format!("{place} {}", words.get(1..).unwrap_or_default().join(" "));
        }
    }
    lines
}
