//! Tasks that hang, in words: what they wait for, who holds it, and circles of those.

use super::{Story, say};
use crate::crash::{Evidence, Statement};
use crate::linux::{BlockedTask, Linux};
use std::collections::HashSet;

/// Tasks that are told one by one.
const MOST: usize = 8;
/// A sleep that is worth a sentence although no lock is known: half of what the kernel itself calls hung (120 s).
const LONG_NS: u64 = 60_000_000_000;

pub(super) fn explain(linux: &Linux, story: &mut Story) {
    let Ok((blocked, _)) = linux.blocked_tasks() else { return };
    let circles = circles(&blocked);
    if !circles.is_empty() && story.kind == "none" {
        story.kind = "deadlock";
    }
    for circle in &circles {
        let mut parts = Vec::new();
        for (task, next) in circle.iter().zip(circle.iter().cycle().skip(1)) {
            parts.push(format!("{} waits for {}, which {} holds", name(task), lock(task), name(next)));
        }
        let text = format!("A deadlock: {}. None of them can ever go on.", parts.join("; "));
        story.statements.push(Statement { text, evidence: circle.iter().map(|task| fact(task)).collect() });
    }
    let told: HashSet<u64> = circles.iter().flatten().map(|task| task.thread.task).collect();
    let mut count = 0;
    for task in blocked.iter().filter(|task| !told.contains(&task.thread.task)) {
        let long = task.since_ns.is_some_and(|since| since >= LONG_NS);
        // Who can be killed does not hang: the kernel's own detector leaves those out, too.
        if task.lock.is_none() && (!long || task.killable) {
            continue;
        }
        count += 1;
        if count > MOST {
            continue;
        }
        story.statements.push(Statement { text: sentence(task), evidence: vec![fact(task)] });
    }
    if count > MOST {
        let text = format!("{} more tasks wait like that.", count - MOST);
        story.statements.push(say(text, "memory", "blocked_tasks".to_owned(), None));
    }
    if count > 0 || !circles.is_empty() {
        let advice = "`show DUMP blocked_tasks` shows all that wait; `show DUMP kernel_frames tid=N` a task's stack";
        story.advice.push(advice.to_owned());
        if story.kind == "none" {
            story.kind = "hung_task";
        }
    }
}

/// Each circle once, begun at its longest sleeper.
fn circles(blocked: &[BlockedTask]) -> Vec<Vec<&BlockedTask>> {
    let mut seen = HashSet::new();
    let mut circles = Vec::new();
    for task in blocked {
        if seen.contains(&task.thread.task) {
            continue;
        }
        if let Some(circle) = task.deadlock(blocked) {
            seen.extend(circle.iter().map(|task| task.thread.task));
            circles.push(circle);
        }
    }
    circles
}

fn name(task: &BlockedTask) -> String {
    format!("{} ({})", task.thread.comm.as_deref().unwrap_or("a task"), task.thread.tid)
}

fn lock(task: &BlockedTask) -> String {
    let Some(lock) = &task.lock else { return "something".to_owned() };
    match &lock.name {
        Some(name) => format!("the {} {name}", lock.kind),
        None => format!("the {} at {:#x}", lock.kind, lock.at),
    }
}

fn sentence(task: &BlockedTask) -> String {
    let since = task.since_ns.map(|since| format!(" for {} seconds", since / 1_000_000_000)).unwrap_or_default();
    let place = task.place.as_ref().map(|frame| format!(" in {frame}")).unwrap_or_default();
    let Some(found) = &task.lock else {
        return format!("{} has slept{since}{place}, and no signal wakes it.", name(task));
    };
    let wants = found.wants.map(|wants| format!(" to {wants}")).unwrap_or_default();
    let holder = match &found.holder {
        Ok(holder) => {
            let own = holder.thread.tid == task.thread.tid;
            let who = holder.thread.comm.as_deref().unwrap_or("a task");
            match (own, holder.sure) {
                (true, _) => "it holds it itself".to_owned(),
                (_, true) => format!("{who} ({}) holds it", holder.thread.tid),
                (_, false) => format!("{who} ({}) was the last known to hold it", holder.thread.tid),
            }
        }
        Err(why) => (*why).to_owned(),
    };
    format!("{} has waited{since}{place}{wants} for {}: {holder}.", name(task), lock(task))
}

fn fact(task: &BlockedTask) -> Evidence {
    let text = match &task.lock {
        Some(lock) => format!("{} {:#x}, waiter of task {}", lock.kind, lock.at, task.thread.tid),
        None => format!("state of task {}", task.thread.tid),
    };
    Evidence { kind: "memory", text, address: task.lock.as_ref().map(|lock| lock.at) }
}
