//! Memory that ran out, in words: what the killer said, and who had the most.

use super::{Story, say};
use crate::linux::{Linux, LogLine};

/// Users of memory that are named.
const MOST: usize = 5;

pub(super) fn explain(linux: &Linux, log: &[LogLine], story: &mut Story) {
    let out = |text: &str| text.contains("Out of memory") || text.contains("out of memory");
    let killed = log.iter().rev().find(|line| out(&line.text) && line.text.contains("Killed process"));
    if killed.is_none() && story.kind != "out_of_memory" {
        return;
    }
    if story.kind == "none" {
        story.kind = "out_of_memory";
    }
    if let Some(line) = log.iter().rev().find(|line| line.text.contains("invoked oom-killer")) {
        let who = line.text.split(" invoked").next().unwrap_or("a task");
        let seconds = line.time_ns / 1_000_000_000;
        let text = format!("Memory ran out {seconds} seconds after the start, when {who} asked for some.");
        story.statements.push(say(text, "message", line.text.clone(), None));
    }
    if let Some(line) = killed {
        let text = format!("The kernel's out-of-memory killer: {}.", line.text.trim_end_matches('.'));
        story.statements.push(say(text, "message", line.text.clone(), None));
    }
    let Ok((processes, _)) = linux.processes() else { return };
    let mut users: Vec<_> =
        processes.iter().filter_map(|process| Some((linux.memory_use(process)?, process))).collect();
    users.sort_by_key(|(used, _)| std::cmp::Reverse(used.resident().saturating_add(used.swap)));
    let named: Vec<String> = users
        .iter()
        .take(MOST)
        .filter(|(used, _)| used.resident() + used.swap > 0)
        .map(|(used, process)| {
            let swap = if used.swap > 0 { format!(" and {} in swap", mebibytes(used.swap)) } else { String::new() };
            let name = process.comm.as_deref().unwrap_or("a process");
            format!("{name} ({}) {}{swap}", process.pid, mebibytes(used.resident()))
        })
        .collect();
    if !named.is_empty() {
        let text = format!("The biggest users of memory: {}.", named.join(", "));
        story.statements.push(say(text, "memory", "rss_stat of each mm_struct".to_owned(), None));
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
