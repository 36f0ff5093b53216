//! The environment of every process, as /proc/PID/environ has it. Values are compared and never printed.

use super::asker::Asker;
use super::report::{Only, Report, filtered, lacking};
use super::truth::{Truth, number, text};
use std::collections::BTreeSet;
use std::fmt;

/// One variable: its value takes part in comparisons, and is not shown.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Variable {
    pid: u64,
    name: String,
    value: String,
}

impl fmt::Debug for Variable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {} ({} bytes)", self.name, self.pid, self.value.len())
    }
}

/// The topic.
pub fn environment(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("environment")?;
    let variable = |pid: u64, name: &str, value: &str| Variable { pid, name: name.into(), value: value.into() };
    let ours: BTreeSet<Variable> =
        answer.rows.iter().map(|row| variable(number(&row["pid"]), text(&row["name"]), text(&row["value"]))).collect();
    let mut guest = BTreeSet::new();
    for process in truth.processes() {
        for line in process["environ"].as_array().into_iter().flatten() {
            let (name, value) = text(line).split_once('=').unwrap_or((text(line), ""));
            guest.insert(variable(number(&process["pid"]), name, value));
        }
    }
    lacking(report, machine, &answer, &guest.difference(&ours).map(|variable| variable.pid).collect());
    report.sets(&ours, &guest, |only, _| (only == Only::Guest).then(|| filtered(machine, &answer)).flatten());
    Ok(())
}
