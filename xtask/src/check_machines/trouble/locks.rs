//! Who waits for whom: every lock that a task wanted and did not get, by the module's own words on the console.

use crate::check_machines::asker::Asker;
use crate::check_machines::console::{Step, sleeping, steps};
use crate::check_machines::report::{Only, Report};
use crate::check_machines::truth::{address, number, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Tasks that `explain` tells one by one, beside circles.
const TOLD: usize = 8;

/// Waiters by thread, and how they wait.
fn waiters(steps: &[Step]) -> BTreeMap<u64, &Step> {
    let mut all = BTreeMap::new();
    for step in steps {
        if step.has {
            all.remove(&step.pid);
        } else {
            all.insert(step.pid, step);
        }
    }
    all
}

/// The kind of a lock, by how it is taken.
fn kind(how: &str) -> &str {
    match how {
        "interruptible" | "killable" => "mutex",
        "read" | "write" => "rwsem",
        other => other,
    }
}

/// Who has a lock, and whether the lock remembers that for sure.
fn holder<'s>(steps: &'s [Step], lock: &str) -> Option<(&'s Step, bool)> {
    let holder = steps.iter().find(|step| step.has && step.lock == lock)?;
    // A semaphore has no owner; of readers, the last one is remembered.
    (holder.how != "semaphore").then_some((holder, holder.how != "read"))
}

/// The tasks of the circle that begins at a waiter, if there is one.
fn circle(steps: &[Step], waiters: &BTreeMap<u64, &Step>, from: u64) -> Option<Vec<u64>> {
    let (mut at, mut all) = (from, vec![from]);
    while all.len() <= waiters.len() {
        let (next, _) = holder(steps, &waiters.get(&at)?.lock).filter(|(_, sure)| *sure)?;
        if next.pid == from {
            return Some(all);
        }
        at = next.pid;
        all.push(at);
    }
    None
}

/// The table, both ways.
pub fn table(machine: &Asker, lines: &[&str], report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("blocked_tasks")?;
    report.remarks(machine, &answer);
    let steps = steps(lines);
    let waiters = waiters(&steps);
    anyhow::ensure!(!waiters.is_empty(), "the console names nobody who waits");
    let ours: BTreeMap<u64, &Value> = answer.rows.iter().map(|row| (number(&row["tid"]), row)).collect();
    report.sets(&ours.keys().copied().collect(), &waiters.keys().copied().collect(), |only, tid| {
        let other = ours.get(tid).is_some_and(|row| row["lock"].is_null());
        (only == Only::Ours && other).then_some("a task that sleeps for something else than a lock")
    });
    for (tid, step) in &waiters {
        let Some(row) = ours.get(tid) else { continue };
        let what = format!("{tid} {}", step.comm);
        let state = if step.how == "interruptible" { "S" } else { "D" };
        let wants = Some(step.how.as_str()).filter(|how| ["read", "write"].contains(how));
        let name = (step.lock != "heap").then(|| format!("{} [trouble]", step.lock));
        let holder = holder(&steps, &step.lock);
        for (column, told) in [
            ("comm", json!(step.comm)),
            ("state", json!(state)),
            ("lock", json!(kind(&step.how))),
            ("lock_name", json!(name)),
            ("wants", json!(wants)),
            ("holder_tid", json!(holder.map(|(holder, _)| holder.pid))),
            ("holder_comm", json!(holder.map(|(holder, _)| holder.comm.as_str()))),
            ("holder_sure", json!(holder.map(|(_, sure)| sure))),
            ("deadlock", json!(circle(&steps, &waiters, *tid).is_some())),
        ] {
            report.cell(machine, &what, row, column, &told);
        }
        let lock = row["lock_address"].as_str().map_or(0, |_| address(&row["lock_address"]));
        report.same(&format!("{what}: lock_address"), &format!("{lock:#x}"), &format!("{:#x}", step.address));
        let function = text(&row["function"]);
        // Where nothing went wrong the compiler may have moved it out of the way: `trouble_lock.cold`.
        let there = function.split(['+', '.']).next() == Some("trouble_lock") && function.ends_with("[trouble]");
        report.same(&format!("{what}: it sleeps in trouble_lock ({function})"), &there, &true);
    }
    Ok(())
}

/// What `explain` says of them: each circle with all its tasks and locks, and the others.
pub fn sentences(machine: &Asker, lines: &[&str], report: &mut Report) -> anyhow::Result<()> {
    let findings = machine.table("findings")?;
    let told: Vec<&str> = findings.rows.iter().map(|row| text(&row["summary"])).collect();
    let steps = steps(lines);
    let waiters = waiters(&steps);
    let mut circles = BTreeSet::new();
    for tid in waiters.keys() {
        if let Some(mut circle) = circle(&steps, &waiters, *tid) {
            circle.sort_unstable();
            circles.insert(circle);
        }
    }
    let deadlocks: Vec<&&str> = told.iter().filter(|text| text.starts_with("A deadlock: ")).collect();
    report.count(circles.len(), deadlocks.len());
    report.same("circles", &deadlocks.len(), &circles.len());
    for circle in &circles {
        let parts = circle.iter().filter_map(|tid| waiters.get(tid)).map(|step| {
            let lock = if step.lock == "heap" { format!("{:#x}", step.address) } else { step.lock.clone() };
            (format!("{} ({})", step.comm, step.pid), lock)
        });
        let parts: Vec<(String, String)> = parts.collect();
        let said =
            deadlocks.iter().any(|text| parts.iter().all(|(who, lock)| text.contains(who) && text.contains(lock)));
        if said {
            report.found();
        } else {
            report.wrong(format!("no sentence on a deadlock has all of {parts:?}"));
        }
    }
    let others = waiters.iter().filter(|(tid, _)| !circles.iter().any(|circle| circle.contains(tid)));
    let others: Vec<&Step> = others.map(|(_, step)| *step).collect();
    report.count(others.len().min(TOLD), 0);
    let mut missing = 0;
    for step in &others {
        let start = format!("{} ({}) has waited", step.comm, step.pid);
        match told.iter().find(|text| text.starts_with(&start)) {
            None => missing += 1,
            Some(text) => {
                let holder = holder(&steps, &step.lock);
                let named =
                    holder.is_none_or(|(holder, _)| text.contains(&format!("{} ({})", holder.comm, holder.pid)));
                if named && (step.lock == "heap" || text.contains(&step.lock)) {
                    report.found();
                } else {
                    report.wrong(format!("not all is said: {text}"));
                }
            }
        }
    }
    report.same("waiters without a sentence", &missing, &others.len().saturating_sub(TOLD));
    Ok(())
}

/// The stacks of those that no signal wakes, frame for frame as SysRq w printed them.
pub fn stacks(machine: &Asker, lines: &[&str], report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("kernel_frames")?;
    let guest = sleeping(lines);
    anyhow::ensure!(!guest.is_empty(), "the console has no stack of a task that sleeps");
    for (tid, theirs) in &guest {
        let own = answer.rows.iter().filter(|row| number(&row["tid"]) == *tid);
        let own: Vec<_> = own.map(super::frame_of).collect();
        super::same_frames(&format!("thread {tid}"), &own, theirs, report);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_machines::console;

    #[test]
    fn a_circle_needs_all_its_tasks() {
        let text = "\
trouble: 1 ab has mutex a 10
trouble: 2 ba has mutex b 20
trouble: 1 ab wants mutex b 20
trouble: 2 ba wants mutex a 10
trouble: 3 late wants mutex a 10
trouble: 4 down has semaphore s 30
trouble: 5 down wants semaphore s 30
";
        let steps = console::steps(&console::lines(text));
        let waiters = waiters(&steps);
        assert_eq!(waiters.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 5]);
        assert_eq!(circle(&steps, &waiters, 1), Some(vec![1, 2]));
        assert_eq!(circle(&steps, &waiters, 3), None);
        assert!(holder(&steps, "s").is_none());
    }
}
