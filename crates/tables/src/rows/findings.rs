//! What is wrong, in sentences with their evidence.

use crate::cell::Field;
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;
use afterimage_target::linux::Linux;

row! {
    /// What is wrong, one sentence a row, each with the facts that it stands on.
    FindingRow {
        /// The verdict's name, as `null_read`.
        kind: &'static str,
        /// `error` for what killed the program, `info` for what explains it.
        severity: &'static str,
        /// What it is about: the process and thread.
        subject: String,
        /// The sentence.
        summary: String,
        /// The facts behind it, joined by `; `.
        evidence: Field<String>,
    }
}

/// All findings, the verdict first.
#[must_use]
pub fn rows(target: &Target) -> Vec<FindingRow> {
    let diagnosis = target.diagnosis();
    if diagnosis.kind == "none" {
        return Vec::new();
    }
    let dump = target.dump();
    let name = dump.process.name.clone().unwrap_or_else(|| "process".to_owned());
    let pid = dump.process.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
    let tid = dump.exception.as_ref().and_then(|e| e.tid).map(|tid| format!(", thread {tid}")).unwrap_or_default();
    let machine = || {
        let name = dump.machine.as_ref()?.name.as_ref().map(|name| name.node.clone());
        Some(format!("machine {}", target.linux().ok().and_then(Linux::host).or(name).unwrap_or_default()))
    };
    let subject = match dump.process.pid {
        None => machine().map(|text| text.trim_end().to_owned()).unwrap_or_else(|| format!("{name}{tid}")),
        Some(_) => format!("{name}{pid}{tid}"),
    };
    diagnosis
        .statements
        .iter()
        .enumerate()
        .map(|(index, statement)| FindingRow {
            kind: diagnosis.kind,
            severity: if index == 0 { "error" } else { "info" },
            subject: subject.clone(),
            summary: statement.text.clone(),
            evidence: Ok(statement.evidence.iter().map(|fact| fact.text.as_str()).collect::<Vec<_>>().join("; ")),
        })
        .collect()
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let rows = rows(target);
    if rows.is_empty() {
        sink.note(match target.dump().machine {
            Some(_) => "nothing is wrong: the machine had not stopped by itself",
            None => "nothing is wrong: no signal, no exception, no message of an abort",
        });
    }
    for row in rows {
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}
