//! Every process, and what is told of each: parent, user, names, program, state, start.

use super::asker::Asker;
use super::report::{Only, Report, filtered};
use super::truth::{Truth, number, text};
use anyhow::Context;
use serde_json::{Value, json};
use std::collections::HashMap;

/// What a short name may hold (`TASK_COMM_LEN` less its end).
const COMM: usize = 15;

/// The kernel's clock ticks a second, as /proc/PID/stat counts (`USER_HZ`).
const TICKS: i64 = 100;

/// Workers of the kernel come and go with their work.
pub fn is_worker(comm: &str) -> bool {
    comm.starts_with("kworker/")
}

/// Whether a short name is the one that the guest showed. /proc shows a thread of the kernel with its whole name, and a
/// worker with what it does behind a `-` or `+`; the name in memory has neither.
pub fn same_comm(ours: &str, guest: &str) -> bool {
    let short: String = guest.chars().take(COMM).collect();
    ours == short || is_worker(guest) && guest.strip_prefix(ours).is_some_and(|rest| rest.starts_with(['-', '+']))
}

/// Why a state may differ from the one that was listed a moment earlier.
pub fn state_rule(pid: u64, comm: &str, kernel_thread: bool, ours: &str, guest: &str) -> Option<&'static str> {
    let runs = |state: &str| state == "R";
    match () {
        () if pid == 1 => {
            Some("process 1 was reading /proc when it was listed, and waited or crashed the machine later")
        }
        () if is_worker(comm) && (runs(ours) || runs(guest)) => {
            Some("a worker of the kernel that worked at one of the moments")
        }
        () if kernel_thread && (runs(ours) || runs(guest)) => {
            Some("a thread of the kernel that worked at one of the moments")
        }
        () => None,
    }
}

/// The topic.
pub fn processes(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("processes")?;
    report.remarks(machine, &answer);
    let ours: HashMap<u64, &Value> = answer.rows.iter().map(|row| (number(&row["pid"]), row)).collect();
    report.same("rows with a pid of their own", &ours.len(), &answer.rows.len());
    let guest: HashMap<u64, &Value> = truth.processes().map(|process| (number(&process["pid"]), process)).collect();
    report.sets(&ours.keys().copied().collect(), &guest.keys().copied().collect(), |only, pid| match only {
        Only::Guest if is_worker(text(&guest.get(pid)?["comm"])) => Some("a worker of the kernel that ended since"),
        Only::Guest => filtered(machine, &answer),
        Only::Ours if is_worker(text(&ours.get(pid)?["comm"])) => Some("a worker of the kernel born since"),
        Only::Ours => None,
    });
    let stat = truth.file("proc/stat")?;
    let started = stat.lines().find_map(|line| line.strip_prefix("btime ")).context("the guest's btime")?.trim();
    let started: i64 = started.parse()?;
    for (pid, process) in &guest {
        if let Some(row) = ours.get(pid) {
            one(machine, row, process, started, report);
        }
    }
    Ok(())
}

fn one(machine: &Asker, row: &Value, guest: &Value, started: i64, report: &mut Report) {
    let (pid, comm) = (number(&guest["pid"]), text(&guest["comm"]));
    let what = format!("{pid} {comm}");
    let kernel_thread = guest["kernel_thread"] == true;
    report.cell(machine, &what, row, "ppid", &guest["ppid"]);
    report.cell(machine, &what, row, "uid", &guest["uid"][1]);
    report.cell(machine, &what, row, "kernel_thread", &guest["kernel_thread"]);
    if !same_comm(text(&row["comm"]), comm) {
        report.cell(machine, &what, row, "comm", &guest["comm"]);
    }
    let state = (text(&row["state"]), text(&guest["state"]));
    if state.0 != state.1 {
        match state_rule(pid, comm, kernel_thread, state.0, state.1) {
            Some(rule) if !row["state"].is_null() => report.excuse(rule),
            _ => _ = report.cell(machine, &what, row, "state", &guest["state"]),
        }
    }
    // A zombie and a thread of the kernel have neither; the guest shows nothing, and we say why there is nothing.
    let words: Vec<&str> = guest["cmdline"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let line = words.join(" ").trim_end().to_owned();
    match (row["cmdline"].as_str(), line.is_empty()) {
        (Some(own), _) => _ = report.same(&format!("{what}: cmdline"), &own.trim_end(), &line.as_str()),
        (None, true) => {
            _ = report.same(&format!("{what}: cmdline has a reason"), &row["absent"]["cmdline"].is_string(), &true)
        }
        (None, false) => _ = report.cell(machine, &what, row, "cmdline", &json!(line)),
    }
    let exe = guest["exe"].as_str().map(|path| path.trim_end_matches(" (deleted)"));
    match (row["exe"].as_str(), exe) {
        (None, None) => _ = report.same(&format!("{what}: exe has a reason"), &row["absent"]["exe"].is_string(), &true),
        (_, exe) => _ = report.cell(machine, &what, row, "exe", &json!(exe)),
    }
    let Some(ours) = super::time::seconds(text(&row["start_time"])) else {
        report.cell(machine, &what, row, "start_time", &json!("a time"));
        return;
    };
    let theirs = started + guest["starttime"].as_i64().unwrap_or(i64::MIN / 2) / TICKS;
    if (ours - theirs).abs() > 1 {
        report.wrong(format!("{what}: start_time: {ours}, and the guest has {theirs}"));
    }
}
