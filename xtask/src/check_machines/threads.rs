//! Every thread of every process, with its name and state.

use super::asker::Asker;
use super::processes::{is_worker, same_comm, state_rule};
use super::report::{Only, Report, filtered};
use super::truth::{Truth, number, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The topic.
pub fn threads(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("process_threads")?;
    report.remarks(machine, &answer);
    let mut guest: BTreeMap<(u64, u64), (&Value, bool)> = BTreeMap::new();
    for process in truth.processes() {
        for thread in process["threads"].as_array().into_iter().flatten() {
            guest.insert((number(&process["pid"]), number(&thread["tid"])), (thread, process["kernel_thread"] == true));
        }
    }
    let ours: BTreeMap<(u64, u64), &Value> =
        answer.rows.iter().map(|row| ((number(&row["pid"]), number(&row["tid"])), row)).collect();
    report.same("rows with a number of their own", &ours.len(), &answer.rows.len());
    let (own_set, guest_set): (BTreeSet<_>, BTreeSet<_>) =
        (ours.keys().copied().collect(), guest.keys().copied().collect());
    report.sets(&own_set, &guest_set, |only, place| match only {
        Only::Guest if is_worker(text(&guest.get(place)?.0["comm"])) => Some("a worker of the kernel that ended since"),
        Only::Guest => filtered(machine, &answer),
        Only::Ours if is_worker(text(&ours.get(place)?["comm"])) => Some("a worker of the kernel born since"),
        Only::Ours => None,
    });
    for (place, row) in &ours {
        let Some((thread, kernel_thread)) = guest.get(place) else { continue };
        let comm = text(&thread["comm"]);
        let what = format!("{} {comm}", place.1);
        if !same_comm(text(&row["comm"]), comm) {
            report.cell(machine, &what, row, "comm", &thread["comm"]);
        }
        let state = (text(&row["state"]), text(&thread["state"]));
        if state.0 != state.1 {
            match state_rule(place.0, comm, *kernel_thread, state.0, state.1) {
                Some(rule) if !row["state"].is_null() => report.excuse(rule),
                _ => _ = report.cell(machine, &what, row, "state", &thread["state"]),
            }
        }
    }
    Ok(())
}
