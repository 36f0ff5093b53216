//! gdb on a core, and the segments of it as elfutils shows them.

use crate::tools::stdout_of;
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A thread as gdb has it.
#[derive(Debug, Default)]
pub struct Thread {
    pub pc: u64,
    pub sp: u64,
    /// Names of its functions, innermost first; `??` where gdb knows none.
    pub stack: Vec<String>,
}

/// A mapped file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapped {
    pub start: u64,
    pub end: u64,
    pub offset: u64,
    pub path: String,
}

/// What gdb says of a core.
#[derive(Debug, Default)]
pub struct Core {
    /// By thread id.
    pub threads: BTreeMap<u64, Thread>,
    pub files: BTreeSet<Mapped>,
}

/// Memory of a core.
#[derive(Debug)]
pub struct Segment {
    pub start: u64,
    pub end: u64,
    /// As `r-x`.
    pub perms: String,
}

/// Asks gdb.
pub fn read(core: &Path, program: Option<&Path>, root: &Path) -> anyhow::Result<Core> {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-ex", "set pagination off", "-ex", "set width 0"]);
    command.args(["-ex", "set debuginfod enabled off", "-ex", "set auto-load off"]);
    // What the threads' library says of a thread is its number inside its namespace.
    command.arg("-ex").arg(format!("set libthread-db-search-path {}", root.join("none").display()));
    command.arg("-ex").arg(format!("set sysroot {}", root.display()));
    if let Some(program) = program {
        command.arg("-ex").arg(format!("file {}", program.display()));
    }
    command.arg("-ex").arg(format!("core-file {}", core.display()));
    command.args(["-ex", "info proc mappings"]);
    command.args(["-ex", "thread apply all -ascending printf \"AT %#lx %#lx\\n\", $pc, $sp"]);
    command.args(["-ex", "thread apply all -ascending backtrace"]);
    let output = command.output().context("start gdb")?;
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn hex(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

fn parse(text: &str) -> Core {
    let mut core = Core::default();
    let mut at = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with("Thread ") {
            // `Thread 2 (Thread 0x7f… (LWP 203)):`, `Thread 1 (LWP 179):`.
            let lwp = line.split("LWP ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
            at = lwp.unwrap_or(0);
            core.threads.entry(at).or_default();
        } else if let (["AT", pc, sp], Some(thread)) = (words.as_slice(), core.threads.get_mut(&at)) {
            (thread.pc, thread.sp) = (hex(pc).unwrap_or(0), hex(sp).unwrap_or(0));
        } else if let (true, Some(thread)) = (line.starts_with('#'), core.threads.get_mut(&at)) {
            // `#1  0x… in main ()`, `#0  main () at …`.
            let name = if words.get(2) == Some(&"in") { words.get(3) } else { words.get(1) };
            thread.stack.extend(name.map(|name| (*name).to_owned()));
        } else if let [start, end, _, offset, path @ ..] = words.as_slice()
            && let (Some(start), Some(end), Some(offset), false) = (hex(start), hex(end), hex(offset), path.is_empty())
        {
            // From gdb 14 on permissions may stand before the path.
            let path = if path.first().is_some_and(|word| word.starts_with('/')) { path } else { &path[1..] };
            core.files.insert(Mapped { start, end, offset, path: path.join(" ") });
        }
    }
    core
}

/// The segments with memory.
pub fn segments(core: &Path) -> anyhow::Result<Vec<Segment>> {
    let text = stdout_of(Command::new("eu-readelf").arg("-l").arg(core))?;
    let text = String::from_utf8_lossy(&text);
    let one = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["LOAD", _, start, _, _, size, flags @ .., _] = words.as_slice() else { return None };
        let flags = flags.concat();
        let (start, size) = (hex(start)?, hex(size)?);
        let letter = |flag, shown| if flags.contains(flag) { shown } else { '-' };
        let perms = String::from_iter([letter('R', 'r'), letter('W', 'w'), letter('E', 'x')]);
        Some(Segment { start, end: start + size, perms })
    };
    Ok(text.lines().filter_map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gdb_is_read_as_it_prints() {
        let core = parse(
            "Mapped address spaces:\n\n   Start Addr   End Addr  Size  Offset objfile\n\
             0x400000  0x401000  0x1000  0x0 /tmp/a b (deleted)\n\
             Thread 2 (Thread 0x7fa01157f6c0 (LWP 203)):\nAT 0x47e9c6 0x7fa01157f0a0\n\
             Thread 2 (Thread 0x7fa01157f6c0 (LWP 203)):\n#0  0x000000000047e9c6 in pause ()\n#1  main () at a.c:3\n",
        );
        let thread = &core.threads[&203];
        assert_eq!((thread.pc, thread.sp), (0x47_e9c6, 0x7fa0_1157_f0a0));
        assert_eq!(thread.stack, ["pause", "main"]);
        let file = core.files.first().unwrap();
        assert_eq!((file.start, file.path.as_str()), (0x40_0000, "/tmp/a b (deleted)"));
    }
}
