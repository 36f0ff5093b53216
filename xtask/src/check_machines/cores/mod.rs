//! Every process as a core, read by others: gdb's threads, registers, mappings and stacks, and elfutils' notes.
//!
//! *Trap*: what a core does not have, gdb reads from files of this machine if it finds some. It is given a root of its own,
//! with the files that were in the guest's memory.

mod gdb;

use super::asker::Asker;
use super::open_files::LISTER;
use super::report::Report;
use super::truth::{Truth, address, number, text};
use crate::tools;
use anyhow::{Context, ensure};
use gdb::Core;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each of the lab's threads waits in, by the end of its name, as its source has it.
const POOL: [(&str, &str); 8] = [
    ("futex", "pthread_cond_wait"),
    ("nanosl", "nanosleep"),
    ("poll", "poll"),
    ("epoll", "epoll_wait"),
    ("pipe", "read"),
    ("sigwait", "sigwait"),
    ("accept", "accept"),
    ("pause", "pause"),
];

/// The topic.
pub fn cores(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    for (tool, package) in [("gdb", "gdb"), ("eu-readelf", "elfutils")] {
        ensure!(tools::has(tool), "{tool} is needed: apt-get install {package}");
    }
    let place = tempfile::Builder::new().prefix("afterimage-cores").tempdir()?;
    let mut root = Root { folder: place.path().join("root"), tried: BTreeSet::new() };
    let stopped = truth.beside("registers.txt").unwrap_or_default();
    let mut cores = 0;
    for process in truth.processes() {
        let maps = process["maps"].as_array().map(Vec::as_slice).unwrap_or_default();
        if maps.is_empty() {
            continue;
        }
        let pid = number(&process["pid"]);
        let what = format!("{pid} {}", text(&process["comm"]));
        let threads = process["threads"].as_array().map(Vec::as_slice).unwrap_or_default();
        report.count(threads.len(), 0);
        let file = place.path().join("core");
        let notes = match machine.extract_to(&["--process", &pid.to_string()], &file) {
            Ok(notes) => notes,
            Err(error) if machine.filtered => {
                let reason = format!("{error:#}");
                let reason = reason.rsplit(": ").next().unwrap_or_default();
                report.excuse(format!("no core from the filtered dump: {}", reason.lines().next().unwrap_or_default()));
                continue;
            }
            Err(error) => {
                report.wrong(format!("{what}: {error:#}"));
                continue;
            }
        };
        readelf(&what, &file, report)?;
        let missing = missing(&notes);
        let paths: BTreeSet<&str> = maps.iter().map(|map| text(&map["path"])).filter(|p| p.starts_with('/')).collect();
        for path in &paths {
            root.file(machine, path);
        }
        let exe = process["exe"].as_str().unwrap_or_default().trim_end_matches(" (deleted)");
        let program = root.program(machine, exe, pid);
        let core = gdb::read(&file, program.as_deref(), &root.folder)?;
        let lacks = notes.iter().any(|note| note.contains("tree of mappings"));
        if pid == 1 {
            report.excuse(LISTER);
        } else if machine.filtered && lacks {
            report.excuse("mappings that are not in the filtered dump, and the program says so");
        } else {
            mappings(&what, &file, maps, &missing, report)?;
        }
        report.count(0, core.threads.len());
        self::threads(machine, &what, pid, threads, &core, &stopped, report);
        if machine.filtered && notes.iter().any(|note| note.contains("files whose paths are not in the dump")) {
            report.excuse("mapped files whose paths are not in the filtered dump, and the program says so");
        } else if !(machine.filtered && lacks) {
            files(&what, maps, &core, pid, report);
        }
        if pid != 1 && program.is_some() && is_lab(exe) {
            stacks(&what, threads, &core, machine.filtered && (lacks || !missing.is_empty()), report);
        }
        std::fs::remove_file(&file)?;
        cores += 1;
    }
    ensure!(cores >= if machine.filtered { 1 } else { 12 }, "only {cores} processes became a core");
    Ok(())
}

/// Whether a program is one of the lab's own, which have names of functions.
fn is_lab(exe: &str) -> bool {
    exe.rsplit(['/', ':']).next().is_some_and(|name| name.starts_with("lab"))
}

/// The guest's files, as far as they were in memory.
struct Root {
    folder: PathBuf,
    tried: BTreeSet<String>,
}

impl Root {
    /// Fetches a file, once.
    fn file(&mut self, machine: &Asker, path: &str) {
        let plain = path.trim_end_matches(" (deleted)");
        let place = self.folder.join(plain.trim_start_matches('/'));
        if self.tried.insert(plain.to_owned())
            && place.parent().is_some_and(|parent| std::fs::create_dir_all(parent).is_ok())
        {
            // Where it cannot be had, gdb has no names; the topic of stacks says so then.
            let _ = machine.extract_to(&["--file", plain], &place);
        }
    }

    /// The program of a process, once for each.
    fn program(&mut self, machine: &Asker, exe: &str, pid: u64) -> Option<PathBuf> {
        let place = self.folder.join("programs").join(exe.replace(['/', ':'], "_"));
        if !exe.is_empty() && self.tried.insert(format!("program {exe}")) {
            std::fs::create_dir_all(place.parent()?).ok()?;
            machine.extract_to(&["--executable", &pid.to_string()], &place).ok()?;
        }
        place.is_file().then_some(place)
    }
}

/// Reads all notes with elfutils, which must not complain.
fn readelf(what: &str, core: &Path, report: &mut Report) -> anyhow::Result<()> {
    let output = Command::new("eu-readelf").arg("-n").arg(core).output().context("start eu-readelf")?;
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let bad = out.lines().find(|line| line.contains("invalid") || line.contains("???"));
    if !output.status.success() || !said.trim().is_empty() || bad.is_some() {
        report.wrong(format!("{what}: eu-readelf: {} {} {bad:?}", output.status, said.trim()));
    }
    Ok(())
}

/// Bytes that the program said it left out, by the mapping's start: `0x1000-0x2000 [vvar]: 4096 bytes not in this dump`.
fn missing(notes: &[String]) -> BTreeMap<u64, u64> {
    let one = |note: &String| {
        let (range, parts) = note.split_once(": ")?;
        let start = range.rsplit_once("0x").map(|_| range.split("0x").nth(1))??.split('-').next()?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let bytes = parts.split(", ").filter_map(|part| part.split_once(" bytes ")?.0.parse::<u64>().ok());
        Some((start, bytes.sum()))
    };
    notes.iter().filter_map(one).collect()
}

/// Each mapping of the guest is in the core or said to be missing, byte for byte; and nothing else is.
fn mappings(
    what: &str,
    core: &Path,
    maps: &[Value],
    missing: &BTreeMap<u64, u64>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut segments = gdb::segments(core)?;
    for map in maps {
        let (start, end, perms) = (address(&map["start"]), address(&map["end"]), text(&map["perms"]));
        let inside = |segment: &gdb::Segment| segment.start >= start && segment.end <= end;
        let own: u64 = segments.iter().filter(|one| inside(one)).map(|one| one.end - one.start).sum();
        let wrong = segments.iter().filter(|one| inside(one)).find(|one| !perms.starts_with(&one.perms));
        if let Some(wrong) = wrong {
            report.wrong(format!("{what}: {start:#x} is {perms}, and its segment {wrong:?}"));
        }
        segments.retain(|segment| !inside(segment));
        let lost = missing.get(&start).copied().unwrap_or(0);
        // The kernel's clocks, which it dumps of no process (VM_IO): what was touched of them may be there.
        if text(&map["path"]).starts_with("[vvar") {
            continue;
        }
        if own + lost != end - start {
            let bytes = end - start;
            report.wrong(format!("{what}: {start:#x}-{end:#x}: {own} bytes and {lost} missing ones, of {bytes}"));
        }
    }
    for segment in segments {
        report.wrong(format!("{what}: the guest has no mapping around {segment:?}"));
    }
    Ok(())
}

/// Threads, and where each is.
fn threads(machine: &Asker, what: &str, pid: u64, guest: &[Value], core: &Core, stopped: &str, report: &mut Report) {
    let ours: BTreeSet<u64> = core.threads.keys().copied().collect();
    let theirs: BTreeSet<u64> = guest.iter().map(|thread| number(&thread["tid"])).collect();
    if ours != theirs {
        if machine.filtered && ours.is_subset(&theirs) {
            report.excuse("a thread whose task_struct is not in the filtered dump");
        } else {
            report.wrong(format!("{what}: gdb has the threads {ours:?}, and the guest {theirs:?}"));
        }
    }
    for thread in guest {
        let Some((pc, sp)) = core.threads.get(&number(&thread["tid"])).map(|own| (own.pc, own.sp)) else { continue };
        let tid = number(&thread["tid"]);
        let words: Vec<&str> = text(&thread["syscall"]).split_whitespace().collect();
        let hex = |word: &&str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        match words.as_slice() {
            _ if pid == 1 => report.excuse(LISTER),
            // On a processor: the emulator's monitor showed where, after the stop.
            ["running"] => {
                let there = |name: &str, value: u64| stopped.contains(&format!("{name}={value:016x}"));
                if there("RIP", pc) && there("RSP", sp) || there("PC", pc) && there("SP", sp) {
                    report.found();
                } else if stopped.is_empty() || machine.filtered {
                    report.untold("where a thread was that ran its program");
                } else if !stopped.contains("CPL=3") && !stopped.contains("EL0t") {
                    report.excuse("a thread that ran its program, and was interrupted when the machine stopped");
                } else {
                    report.wrong(format!("{what}: thread {tid} ran, and no processor was at {pc:#x}, {sp:#x}"));
                }
            }
            [.., guest_sp, guest_pc] => {
                let guest = (hex(guest_pc), hex(guest_sp));
                if report.same(&format!("{what}: pc and sp of thread {tid}"), &(Some(pc), Some(sp)), &guest) {
                    report.found();
                }
            }
            _ => report.untold("where a thread was"),
        }
    }
}

/// Mapped files, as gdb shows them from the core's own list.
fn files(what: &str, maps: &[Value], core: &Core, pid: u64, report: &mut Report) {
    let guest: BTreeSet<gdb::Mapped> = maps
        .iter()
        .filter(|map| text(&map["path"]).starts_with('/'))
        .map(|map| gdb::Mapped {
            start: address(&map["start"]),
            end: address(&map["end"]),
            offset: number(&map["offset"]),
            path: text(&map["path"]).to_owned(),
        })
        .collect();
    if core.files != guest && pid != 1 {
        let (ours, theirs) = (core.files.difference(&guest), guest.difference(&core.files));
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), theirs.collect());
        report.wrong(format!("{what}: mapped files: only in the core {ours:?}, only in the guest {theirs:?}"));
    }
}

/// The lab's programs have names: the first thread comes from `main`, those of the pool from `worker`, each by its own way
/// to sleep.
fn stacks(what: &str, threads: &[Value], core: &Core, lacking: bool, report: &mut Report) {
    for thread in threads {
        let tid = number(&thread["tid"]);
        let Some(own) = core.threads.get(&tid) else { continue };
        let comm = text(&thread["comm"]);
        let pool = comm.strip_prefix("pool-").and_then(|rest| rest.split_once('-'));
        let waits = pool.and_then(|(_, how)| POOL.iter().find(|(name, _)| *name == how)).map(|(_, function)| *function);
        let wanted = if pool.is_some() { "worker" } else { "main" };
        // What arm64 has no call for is another one with one argument more: its epoll_wait is epoll_pwait.
        let has = |name: &str| {
            own.stack.iter().any(|frame| frame.trim_start_matches("__").replace("_pwait", "_wait").starts_with(name))
        };
        if has(wanted) && waits.is_none_or(has) {
            continue;
        }
        if lacking {
            report.excuse("a stack that ends where the filtered dump has no memory");
        } else {
            report.wrong(format!("{what}: thread {tid} {comm}: gdb has {:?}", own.stack));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_missing_is_summed_by_mapping() {
        let notes = [
            "! 0x7fa011580000-0x7fa011584000 [vvar]: 16384 bytes not in this dump".to_owned(),
            "! 0x1000-0x9000: 4096 bytes swapped out, 8192 bytes not in this dump".to_owned(),
            "core: ELF core of sh (1), 1 thread".to_owned(),
        ];
        let found = super::missing(&notes);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(0x1000, 12288), (0x7fa0_1158_0000, 16384)]);
    }
}
