//! Comparing two dumps of a process that stood still: threads, registers, and memory by its bytes.

use afterimage_testkit::live::{Core, Load};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// gdb's own dump of a process, in a new folder below `place`.
pub fn gcore(pid: u32, place: &Path) -> PathBuf {
    let output = crate::lab::run(Command::new("gcore").arg("-o").arg(place.join("gcore")).arg(pid.to_string()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    place.join(format!("gcore.{pid}"))
}

/// Registers of which no two dumps must agree: the kernel changes both when a stopped call is taken up again.
const RESTART: &[&str] = &["rax", "orig_rax"];
const NAMES: &str = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base \
                     gs_base ds es fs gs";

/// What differs in the threads and their registers.
pub fn thread_differences(theirs: &Core, ours: &Core) -> Vec<String> {
    let by_tid =
        |core: &Core| -> BTreeMap<u32, _> { core.threads().into_iter().map(|thread| (thread.tid, thread)).collect() };
    let (theirs, ours) = (by_tid(theirs), by_tid(ours));
    let (their_tids, our_tids): (BTreeSet<u32>, BTreeSet<u32>) =
        (theirs.keys().copied().collect(), ours.keys().copied().collect());
    let mut differences = Vec::new();
    if their_tids != our_tids {
        differences.push(format!("threads {our_tids:?}, theirs {their_tids:?}"));
    }
    for (tid, their) in &theirs {
        let Some(our) = ours.get(tid) else { continue };
        for name in NAMES.split_whitespace().filter(|name| !RESTART.contains(name)) {
            if their.register(name) != our.register(name) {
                differences.push(format!(
                    "{tid} {name}: {:x?}, theirs {:x?}",
                    our.register(name),
                    their.register(name)
                ));
            }
        }
        // The x87 and xmm registers of the FXSAVE area; behind them is what the kernel keeps for itself. Of those before,
        // gdb makes MXCSR_MASK (28) zero, which the kernel fills.
        if their.floating.get(..28) != our.floating.get(..28)
            || their.floating.get(32..416) != our.floating.get(32..416)
        {
            differences.push(format!("{tid}: other floating-point registers"));
        }
        if their.extended.is_empty() != our.extended.is_empty() {
            differences.push(format!(
                "{tid}: NT_X86_XSTATE of {} and {} bytes",
                our.extended.len(),
                their.extended.len()
            ));
        }
    }
    differences
}

/// Ranges of a process's mappings that change by themselves.
pub fn restless(pid: u32) -> Vec<(u64, u64)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let lines = maps.lines().filter(|line| line.contains("[vvar"));
    let range = |line: &str| {
        let (start, rest) = line.split_once('-')?;
        let end = rest.split_whitespace().next()?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    };
    lines.filter_map(range).collect()
}

/// Pieces of memory that a dump stores.
fn stored(core: &Core) -> Vec<(u64, u64)> {
    let mut pieces: Vec<(u64, u64)> =
        core.loads.iter().filter(|load| load.stored > 0).map(|load| (load.start, load.start + load.stored)).collect();
    pieces.sort_unstable();
    pieces
}

/// Compares the bytes of all that both store: how many were compared, and where they differ.
pub fn memory_differences(theirs: &Core, ours: &Core, restless: &[(u64, u64)]) -> (u64, Vec<String>) {
    const BLOCK: u64 = 1 << 16;
    let (mut compared, mut differences) = (0, Vec::new());
    for (start, end) in stored(ours) {
        for (other_start, other_end) in stored(theirs) {
            let (mut at, end) = (start.max(other_start), end.min(other_end));
            while at < end {
                let here = BLOCK.min(end - at);
                let (mut a, mut b) = (vec![0; here as usize], vec![0; here as usize]);
                assert!(ours.read_at(at, &mut a) && theirs.read_at(at, &mut b));
                compared += here;
                let changes = restless.iter().any(|(start, end)| at < *end && *start < at + here);
                if let Some(offset) = a.iter().zip(&b).position(|(a, b)| a != b).filter(|_| !changes) {
                    let wrong = a.iter().zip(&b).filter(|(a, b)| a != b).count();
                    differences.push(format!("{:#x}: {wrong} of {here} bytes differ", at + offset as u64));
                }
                at += here;
            }
        }
    }
    (compared, differences)
}

/// What they store of writable memory and we do not.
pub fn missing(theirs: &Core, ours: &Core) -> Vec<String> {
    let have = stored(ours);
    let mut missing = Vec::new();
    for Load { start, stored, .. } in theirs.loads.iter().filter(|load| load.stored > 0 && load.flags & 2 != 0) {
        let (mut at, end) = (*start, start + stored);
        while at < end {
            match have.iter().find(|(start, end)| *start <= at && at < *end) {
                Some((_, stop)) => at = *stop,
                None => {
                    let next = have.iter().map(|(start, _)| *start).find(|start| *start > at).unwrap_or(end).min(end);
                    missing.push(format!("{at:#x}-{next:#x}"));
                    at = next;
                }
            }
        }
    }
    missing
}
