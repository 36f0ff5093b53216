//! What process 1 sees mounted, and one process of every other namespace, as their mountinfo has it.

use super::asker::{Answer, Asker};
use super::report::{Report, absent};
use super::truth::{Truth, number, text};
use serde_json::json;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A line of mountinfo.
struct Mount {
    source: String,
    target: String,
    fstype: String,
    options: BTreeSet<String>,
}

/// Options of a file system that are the kernel's and not its own (`proc_namespace.c`, `show_sb_opts`).
const COMMON: [&str; 5] = ["ro", "sync", "dirsync", "mand", "lazytime"];

fn mount(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let (mount, system): (Vec<&str>, Vec<&str>) = (mount.split(' ').collect(), system.split(' ').collect());
    let mut options: BTreeSet<String> = mount.get(5)?.split(',').map(str::to_owned).collect();
    let common = system.get(2)?.split(',').filter(|option| COMMON.contains(option));
    options.extend(common.map(str::to_owned));
    if options.contains("ro") {
        options.remove("rw");
    }
    let (fstype, source) = (system.first()?.to_string(), system.get(1)?.to_string());
    Some(Mount { source, target: mount.get(4)?.to_string(), fstype, options })
}

/// The topic.
pub fn mounts(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    same(machine, truth, 1, machine.table("mounts")?, report)?;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for process in truth.processes() {
        let space = text(&process["ns"]["mnt"]);
        let (pid, first) = (number(&process["pid"]), seen.is_empty());
        if !space.is_empty() && seen.insert(space) && !first && process["state"] != "Z" {
            same(machine, truth, pid, machine.table_of("mounts", &[&format!("pid={pid}")])?, report)?;
        }
    }
    Ok(())
}

fn same(machine: &Asker, truth: &Truth, pid: u64, answer: Rc<Answer>, report: &mut Report) -> anyhow::Result<()> {
    report.remarks(machine, &answer);
    let mut guest: Vec<Mount> = truth.file(&format!("proc/{pid}/mountinfo"))?.lines().filter_map(mount).collect();
    report.count(guest.len(), answer.rows.len());
    for row in &answer.rows {
        // Of a filtered dump some names may lack: the mount that fits what is there.
        let fits = |column: &str, text: &str| row[column] == text || absent(machine, row, column).is_some();
        let found = guest.iter().position(|mount| {
            fits("target", &mount.target) && fits("source", &mount.source) && fits("fstype", &mount.fstype)
        });
        let Some(found) = found else {
            report.wrong(format!("not in the guest: {row}"));
            continue;
        };
        let mount = guest.remove(found);
        let before = report.failures();
        for (column, text) in [("target", &mount.target), ("source", &mount.source), ("fstype", &mount.fstype)] {
            report.cell(machine, &mount.target, row, column, &json!(text));
        }
        match absent(machine, row, "options") {
            Some(rule) => report.excuse(rule),
            None => {
                let ours: BTreeSet<String> = text(&row["options"]).split(',').map(str::to_owned).collect();
                report.same(&format!("{}: options", mount.target), &ours, &mount.options);
            }
        }
        if report.failures() == before {
            report.found();
        }
    }
    for mount in guest {
        report.wrong(format!("missing: {} on {} ({})", mount.source, mount.target, mount.fstype));
    }
    Ok(())
}
