//! The tree of processes: each below its parent, once, and one step deeper.

use super::asker::Asker;
use super::processes::{is_worker, same_comm};
use super::report::{Only, Report, filtered};
use super::truth::{Truth, number, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The topic.
pub fn tree(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("process_tree")?;
    report.remarks(machine, &answer);
    let guest: BTreeMap<u64, &Value> = truth.processes().map(|process| (number(&process["pid"]), process)).collect();
    let mut ours: BTreeMap<u64, &Value> = BTreeMap::new();
    // The processes above the row at hand.
    let mut above: Vec<u64> = Vec::new();
    for row in &answer.rows {
        let (pid, depth) = (number(&row["pid"]), number(&row["depth"]) as usize);
        if ours.insert(pid, row).is_some() {
            report.wrong(format!("stands twice: {row}"));
        }
        if depth > above.len() {
            report.wrong(format!("{depth} processes stand above {pid}, and {} came before it", above.len()));
        }
        above.truncate(depth);
        if let Some(process) = guest.get(&pid) {
            place(machine, row, process, &above, &guest, report);
        }
        above.push(pid);
    }
    report.sets(
        &ours.keys().copied().collect::<BTreeSet<_>>(),
        &guest.keys().copied().collect(),
        |only, pid| match only {
            Only::Guest if is_worker(text(&guest.get(pid)?["comm"])) => Some("a worker of the kernel that ended since"),
            Only::Guest => filtered(machine, &answer),
            Only::Ours if is_worker(text(&ours.get(pid)?["comm"])) => Some("a worker of the kernel born since"),
            Only::Ours => None,
        },
    );
    Ok(())
}

fn place(
    machine: &Asker,
    row: &Value,
    process: &Value,
    above: &[u64],
    guest: &BTreeMap<u64, &Value>,
    report: &mut Report,
) {
    let (pid, ppid) = (number(&process["pid"]), number(&process["ppid"]));
    let what = format!("{pid} {}", text(&process["comm"]));
    report.cell(machine, &what, row, "ppid", &process["ppid"]);
    // The guest's own chain of parents, from the nearest.
    let mut chain = Vec::new();
    let mut at = ppid;
    while at != 0 && chain.len() <= guest.len() {
        chain.push(at);
        at = guest.get(&at).map_or(0, |parent| number(&parent["ppid"]));
    }
    chain.reverse();
    if above != chain {
        if machine.filtered && above.is_empty() {
            report.excuse("a process whose parent is not in the filtered dump stands at the top");
        } else {
            report.wrong(format!("{what}: above it stand {above:?}, and the guest has {chain:?}"));
        }
    }
    if let Some(tree) = row["tree"].as_str() {
        let name = tree.trim_start_matches(' ');
        report.same(&format!("{what}: blanks before its name"), &(tree.len() - name.len()), &(2 * above.len()));
        if !same_comm(name, text(&process["comm"])) {
            report.wrong(format!("{what}: it is called {name}"));
        }
    }
}
