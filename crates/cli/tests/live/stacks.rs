//! The stacks of all threads as gdb, lldb and eu-stack tell them, in a form that compares.
//!
//! *Trap*: the tools number threads in the order of the dump; the kernel's numbers are what two dumps share.

use crate::lab::{find, run};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Frames of each thread, innermost first, without addresses.
pub type Stacks = BTreeMap<u32, Vec<String>>;

/// A way to ask for all stacks.
pub type Asker = fn(&Path, &Path) -> Stacks;

/// The tools.
pub const ASKERS: &[(&str, Asker)] = &[("gdb", gdb), ("lldb", lldb), ("eu-stack", eu_stack)];

fn text(command: &mut Command) -> String {
    String::from_utf8_lossy(&run(command.env_remove("DEBUGINFOD_URLS")).stdout).into_owned()
}

fn number_after(line: &str, word: &str) -> Option<u32> {
    let digits: String = line.split_once(word)?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// gdb's, with arguments and lines.
pub fn gdb(program: &Path, core: &Path) -> Stacks {
    let mut command = Command::new(find("gdb").unwrap());
    command.args(["-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex", "set width 0"]);
    let text = text(command.args(["-ex", "thread apply all bt"]).arg(program).arg(core));
    let (mut stacks, mut tid) = (Stacks::new(), None);
    for line in text.lines() {
        if line.starts_with("Thread ") {
            tid = number_after(line, "LWP ");
            stacks.extend(tid.map(|tid| (tid, Vec::new())));
        } else if let Some(frame) = line.strip_prefix('#') {
            let frame = frame.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
            // Before the function may stand "0x… in ".
            let frame =
                frame.strip_prefix("0x").and_then(|rest| rest.split_once(" in ")).map_or(frame, |(_, rest)| rest);
            if let Some(frames) = tid.and_then(|tid| stacks.get_mut(&tid)) {
                frames.push(frame.to_owned());
            }
        }
    }
    stacks
}

/// lldb's, with lines.
pub fn lldb(program: &Path, core: &Path) -> Stacks {
    let mut command = Command::new(find("lldb").unwrap());
    command.args(["--batch", "--no-lldbinit", "-o", "thread list", "-o", "bt all", "--core"]);
    let text = text(command.arg(core).arg(program));
    let mut tids = BTreeMap::new();
    let (mut stacks, mut tid) = (Stacks::new(), None);
    for line in text.lines() {
        let line = line.trim_start_matches(['*', ' ']);
        if line.starts_with("thread #") {
            let Some(index) = number_after(line, "thread #") else { continue };
            match number_after(line, "tid = ") {
                Some(number) => drop(tids.insert(index, number)),
                None => tid = tids.get(&index).copied(),
            }
            stacks.extend(tid.map(|tid| (tid, Vec::new())));
        } else if let Some((_, frame)) = line.strip_prefix("frame #").and_then(|rest| rest.split_once(": ")) {
            let frame = frame.split_once(' ').map_or(frame, |(_, rest)| rest);
            if let Some(frames) = tid.and_then(|tid| stacks.get_mut(&tid)) {
                frames.push(frame.to_owned());
            }
        }
    }
    stacks
}

/// eu-stack's, names only.
pub fn eu_stack(program: &Path, core: &Path) -> Stacks {
    let mut command = Command::new(find("eu-stack").unwrap());
    let text = text(command.arg("--core").arg(core).arg("-e").arg(program));
    let (mut stacks, mut tid) = (Stacks::new(), None);
    for line in text.lines() {
        if line.starts_with("TID ") {
            tid = number_after(line, "TID ");
            stacks.extend(tid.map(|tid| (tid, Vec::new())));
        } else if line.starts_with('#') {
            let name = line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
            if let Some(frames) = tid.and_then(|tid| stacks.get_mut(&tid)) {
                frames.push(name);
            }
        }
    }
    stacks
}

/// Where two answers differ, a thread a line.
pub fn differences(theirs: &Stacks, ours: &Stacks) -> Vec<String> {
    let tids: std::collections::BTreeSet<&u32> = theirs.keys().chain(ours.keys()).collect();
    let differs = tids.into_iter().filter(|tid| theirs.get(tid) != ours.get(tid));
    differs.map(|tid| format!("{tid}: {:#?}\ntheirs: {:#?}", ours.get(tid), theirs.get(tid))).collect()
}
