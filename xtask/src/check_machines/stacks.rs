//! The stack of every thread that slept, as /proc/PID/task/TID/stack showed it.

use super::asker::Asker;
use super::open_files::LISTER;
use super::processes::is_worker;
use super::report::{Only, Report, filtered};
use super::truth::{Truth, address, number, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Frames of one thread, as `function+0x12`.
type Frames = Vec<String>;

/// Ours without the scheduler's: the kernel's file leaves them out, wherever they are (`in_sched_functions`).
fn ours(rows: &[Value], scheduler: std::ops::Range<u64>) -> BTreeMap<u64, (Frames, bool)> {
    let mut all: BTreeMap<u64, (Frames, bool)> = BTreeMap::new();
    for row in rows {
        let (frames, interrupted) = all.entry(number(&row["tid"])).or_default();
        *interrupted |= !row["cpu"].is_null();
        if !scheduler.contains(&address(&row["pc"])) {
            let name = row["function"].as_str().unwrap_or("?");
            frames.push(format!("{name}+{:#x}", number(&row["offset"])));
        }
    }
    all
}

/// What another reader, which had the kernel's debug information, shows for the same dump: that thread's functions.
fn peers(truth: &Truth) -> BTreeMap<u64, BTreeSet<Vec<String>>> {
    let mut all: BTreeMap<u64, BTreeSet<Vec<String>>> = BTreeMap::new();
    let mut add = |tid: Option<&str>, names: Vec<String>| {
        if let Some(tid) = tid.and_then(|tid| tid.parse().ok()) {
            all.entry(tid).or_default().insert(names);
        }
    };
    // drgn: `#0 context_switch (kernel/sched/core.c:5313:2)`, functions written in place among them.
    for trace in truth.peer("drgn").unwrap_or_default().split("\nTRACE ").skip(1) {
        let names = trace.lines().skip(1).filter(|line| line.starts_with('#'));
        let names = names.filter_map(|line| line.split_whitespace().nth(1)).map(bare);
        add(trace.split(' ').next(), names.collect());
    }
    // crash: `PID: 9  TASK: …` and ` #1 [ffffaa] schedule at ffffffff8…`.
    for trace in truth.peer("crash").unwrap_or_default().split("PID: ").skip(1) {
        let names = trace.lines().skip(1).take_while(|line| !line.trim().is_empty());
        let names = names.filter(|line| line.trim_start().starts_with('#'));
        let names = names.filter_map(|line| line.split(']').nth(1)?.split_whitespace().next()).map(bare);
        add(trace.split_whitespace().next(), names.collect());
    }
    all
}

/// A function's name alone.
fn bare(frame: &str) -> String {
    frame.split('+').next().unwrap_or(frame).to_owned()
}

/// Ours is what the peer shows, which may have more: what was written in place, and the scheduler's.
fn shown_by(peers: Option<&BTreeSet<Vec<String>>>, own: &[String]) -> bool {
    // No frames are a part of anything.
    peers.into_iter().flatten().filter(|_| !own.is_empty()).any(|theirs| {
        let mut rest = theirs.iter();
        own.iter().all(|frame| rest.any(|name| *name == bare(frame)))
    })
}

/// The topic.
pub fn stacks(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("kernel_frames")?;
    let scheduler = truth.address("__sched_text_start")?..truth.address("__sched_text_end")?;
    let (ours, peers) = (ours(&answer.rows, scheduler), peers(truth));
    let (mut own_set, mut guest_set) = (BTreeSet::new(), BTreeSet::new());
    let mut threads = BTreeMap::new();
    for process in truth.processes() {
        for thread in process["threads"].as_array().into_iter().flatten() {
            let tid = number(&thread["tid"]);
            let frames = guest_frames(thread);
            threads.insert(tid, (number(&process["pid"]), process["kernel_thread"] == true, thread));
            if !frames.is_empty() {
                guest_set.insert((tid, frames));
            }
        }
    }
    for (tid, (frames, _)) in ours.iter().filter(|(_, (frames, _))| !frames.is_empty()) {
        own_set.insert((*tid, frames.clone()));
    }
    report.sets(&own_set, &guest_set, |only, (tid, frames)| {
        let Some((pid, kernel_thread, thread)) = threads.get(tid) else {
            // A thread that the guest did not list: `processes` and `threads` say what may be.
            return match ours.get(tid) {
                Some((_, true)) if *tid == 0 => Some("the idle task of a processor, which /proc has not"),
                _ if shown_by(peers.get(tid), frames) => Some("a thread born since; crash or drgn shows it so"),
                _ if whole(frames) => Some("a thread of the kernel born since"),
                _ => None,
            };
        };
        let own = ours.get(tid);
        let other = own.is_some_and(|(own, _)| !own.is_empty());
        // One that differs stands on both sides, and needs its rule once.
        // The same functions and another place in one of them: that is no other sleep.
        let theirs = guest_frames(thread);
        let names = |frames: &[String]| frames.iter().map(|frame| bare(frame)).collect::<Vec<_>>();
        // In 5.10 one function of RCU's thread sleeps in two places of its loop.
        let in_turn = *kernel_thread && frames.first().is_some_and(|frame| bare(frame) == "rcu_gp_kthread");
        if only == Only::Ours && !running(thread) && !in_turn && names(frames) == names(&theirs) {
            return None;
        }
        let own = match (only, own) {
            (Only::Guest, Some(_)) if other => {
                return Some("the stack that the guest had before (see the other rules)");
            }
            (_, own) => own,
        };
        match own {
            None if filtered(machine, &answer).is_some() => filtered(machine, &answer),
            None if running(thread) => Some("it ran in its program, and has no frames in the kernel"),
            None => None,
            Some((own, _)) if shown_by(peers.get(tid), own) => {
                Some("it slept elsewhere later; crash or drgn shows it so")
            }
            Some(_) if *pid == 1 => Some(LISTER),
            Some((_, true)) => Some("it was on a processor when the machine stopped"),
            Some((own, _)) if *kernel_thread && whole(own) => Some(if is_worker(text(&thread["comm"])) {
                "a worker of the kernel did other work later"
            } else {
                "a thread of the kernel slept elsewhere later"
            }),
            Some(_) => None,
        }
    });
    Ok(())
}

/// A thread's stack as the guest showed it, without the functions' lengths.
fn guest_frames(thread: &Value) -> Frames {
    let frames = thread["stack"].as_array().into_iter().flatten().map(text);
    frames.map(|frame| frame.split('/').next().unwrap_or(frame).to_owned()).collect()
}

fn running(thread: &Value) -> bool {
    thread["state"] == "R"
}

/// A stack of a thread of the kernel from its end to its start.
fn whole(frames: &[String]) -> bool {
    frames.last().is_some_and(|frame| frame.starts_with("ret_from_fork"))
}
