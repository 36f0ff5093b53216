//! Tasks that no signal wakes (state D), and where they sleep, as /proc/PID/task/TID/stat and wchan have it.

use super::asker::Asker;
use super::processes::is_worker;
use super::report::{Only, Report, filtered};
use super::truth::{Truth, number, text};
use serde_json::Value;
use std::collections::BTreeMap;

/// The topic.
pub fn blocked(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("blocked_tasks")?;
    report.remarks(machine, &answer);
    let ours: BTreeMap<u64, &Value> = answer.rows.iter().map(|row| (number(&row["tid"]), row)).collect();
    let mut threads: BTreeMap<u64, (&Value, bool)> = BTreeMap::new();
    for process in truth.processes() {
        for thread in process["threads"].as_array().into_iter().flatten() {
            threads.insert(number(&thread["tid"]), (thread, process["kernel_thread"] == true));
        }
    }
    let guest = threads.iter().filter(|(_, (thread, _))| thread["state"] == "D").map(|(tid, _)| *tid).collect();
    report.sets(&ours.keys().copied().collect(), &guest, |only, tid| match only {
        Only::Guest if is_worker(text(&threads.get(tid)?.0["comm"])) => Some("a worker of the kernel that woke since"),
        Only::Guest => filtered(machine, &answer),
        Only::Ours if threads.get(tid).is_some_and(|(_, kernel)| *kernel) => {
            Some("a thread of the kernel that went to sleep since")
        }
        Only::Ours => None,
    });
    for (tid, row) in &ours {
        let Some((thread, _)) = threads.get(tid).filter(|(thread, _)| thread["state"] == "D") else { continue };
        let what = format!("{tid} {}", text(&thread["comm"]));
        report.cell(machine, &what, row, "comm", &thread["comm"]);
        report.cell(machine, &what, row, "state", &thread["state"]);
        let function = text(&row["function"]);
        let function = function.split('+').next().unwrap_or(function);
        // Completions and schedulers stand before it for both; what is left is the reason.
        // 5.10 follows frame pointers there, which ORC kernels have not, and says 0.
        if thread["wchan"] == "0" {
            report.untold("where a task sleeps (wchan)");
        } else if !same_place(function, text(&thread["wchan"])) {
            report.cell(machine, &what, row, "function", &thread["wchan"]);
        }
        // Nobody holds a lock in the lab: they wait for a child that has not started its program.
        report.same(&format!("{what}: lock"), &row["lock"], &Value::Null);
        report.same(&format!("{what}: deadlock"), &row["deadlock"], &Value::Bool(false));
    }
    Ok(())
}

/// Our table shows a place without the compiler's addition to a function's name.
fn same_place(ours: &str, guest: &str) -> bool {
    ours == guest || guest.split('.').next() == Some(ours)
}
