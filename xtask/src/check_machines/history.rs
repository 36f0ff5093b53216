//! What was typed into the lab's shells, line for line and in order.

use super::asker::Asker;
use super::report::{Report, filtered};
use super::truth::{Truth, number, text};
use anyhow::{Context, ensure};
use serde_json::Value;

/// Lines that the lab types into each of its shells.
const TYPED: usize = 5;

/// The topic.
pub fn history(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("shell_history")?;
    let planted = &truth.json["planted_values"];
    let typed: Vec<&str> = (0..TYPED).map(|index| text(&planted[format!("hist{index}")]["text"])).collect();
    ensure!(typed.iter().all(|line| !line.is_empty()), "the guest does not say what was typed");
    let mut shells = Vec::new();
    for process in truth.processes() {
        let (pid, comm) = (number(&process["pid"]), text(&process["comm"]));
        // Others are called so, too: the shell that waits in a loop has no terminal.
        if process["tty_nr"].as_i64().is_some_and(|tty| tty != 0) && matches!(comm, "sh" | "bash") {
            shells.push((pid, if comm == "bash" { "readline" } else { "busybox" }));
        }
    }
    ensure!(!shells.is_empty(), "the guest has no shell on a terminal");
    report.count(shells.len() * TYPED, answer.rows.len());
    for (pid, keeper) in &shells {
        let own: Vec<&Value> = answer.rows.iter().filter(|row| row["pid"] == *pid).collect();
        let lines: Vec<&str> = own.iter().map(|row| text(&row["command"])).collect();
        let rule = filtered(machine, &answer);
        // What was typed is not printed.
        match (lines == typed, rule) {
            (true, _) => (0..TYPED).for_each(|_| report.found()),
            (false, Some(rule)) if lines.iter().all(|line| typed.contains(line)) => {
                lines.iter().for_each(|_| report.found());
                (lines.len()..TYPED).for_each(|_| report.excuse(rule));
            }
            // The program names each shell whose memory it could not search.
            _ if machine.filtered
                && lines.is_empty()
                && answer.notes.iter().any(|note| note.contains(&format!("process {pid} ("))) =>
            {
                report.excuse("a shell whose memory is not in the filtered dump, and the program says so");
            }
            _ => {
                let same = lines.iter().zip(&typed).filter(|(own, typed)| own == typed).count();
                report.wrong(format!("shell {pid}: {} lines, {same} of {TYPED} as they were typed", lines.len()));
            }
        }
        for (place, row) in own.iter().enumerate() {
            report.cell(machine, &format!("shell {pid}"), row, "keeper", &(*keeper).into());
            report.cell(machine, &format!("shell {pid}"), row, "index", &(place + 1).into());
        }
    }
    for row in &answer.rows {
        let pid = row["pid"].as_u64().context("a line without a process")?;
        if !shells.iter().any(|(shell, _)| *shell == pid) {
            report.wrong(format!(
                "process {pid} is no shell on a terminal, and has a line of {} bytes",
                text(&row["command"]).len()
            ));
        }
    }
    if !machine.filtered {
        // Programs that may keep a history and do not: each is said.
        answer.notes.iter().for_each(|_| report.excuse("a remark on a program that keeps no history in memory"));
    }
    Ok(())
}
