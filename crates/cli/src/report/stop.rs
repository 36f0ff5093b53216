//! The report on a machine that Windows stopped: what the stop means, its parameters, who probably did it, the stack.
//!
//! *Trap*: the stack of a kernel is found by looking through it; the heading says so, once.

use super::stack;
use super::text::{dump_line, heading, registers, remarks, sentence, wrapped};
use crate::args::Common;
use crate::output::clean;
use crate::output::style::{DIM, ERROR, FUNCTION, HEADING, paint};
use afterimage_dump::system::windows::Stop;
use afterimage_tables::Value;
use afterimage_target::{Target, Trust, stop};
use std::io::{self, Write};

/// Names of unloaded drivers that are shown without `--verbose`.
const UNLOADED: usize = 8;

pub fn write(target: &Target, stop: &Stop, locals: bool, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let diagnosis = target.diagnosis();
    let style = if diagnosis.kind == "none" { HEADING } else { ERROR };
    writeln!(out, "{}", paint(style, &wrapped(&sentence(&diagnosis.headline), 0)))?;
    if !diagnosis.statements.is_empty() {
        heading(out, "Why")?;
    }
    for statement in &diagnosis.statements {
        writeln!(out, "  • {}", wrapped(&sentence(&statement.text), 4))?;
    }
    if !stop.healthy() {
        parameters(target, stop, out)?;
        culprit(target, stop, out)?;
    }
    let shown = target.crashed_thread().or((!target.dump().threads.is_empty()).then_some(0));
    if let Some(thread) = shown {
        let number = stop.processor.map_or_else(String::new, |number| format!(" {number}"));
        heading(out, &format!("Stack of processor{number}"))?;
        stack::write(target, thread, locals, common, out)?;
        if target.stack(thread).frames.iter().any(|frame| frame.trust == Trust::Scan) {
            let note = "Found by looking through the stack for addresses in drivers: some may be left over from earlier calls.";
            writeln!(out, "  {}", paint(DIM, &wrapped(note, 2)))?;
        }
        registers(target, thread, common, out)?;
    }
    machine(target, stop, common, out)?;
    if !diagnosis.advice.is_empty() {
        heading(out, "What to do next")?;
    }
    for advice in &diagnosis.advice {
        writeln!(out, "  • {}", wrapped(&clean(advice), 4))?;
    }
    dump_line(target, out)?;
    remarks(target, common, out)
}

fn parameters(target: &Target, stop: &Stop, out: &mut dyn Write) -> io::Result<()> {
    let words = stop::describe(stop, target.dump());
    heading(out, "The four parameters")?;
    let width = words.parameters.iter().map(|parameter| format!("{:#x}", parameter.value).len()).max().unwrap_or(1);
    for parameter in &words.parameters {
        let mut text = parameter.role.clone().unwrap_or_default();
        if let Some(words) = &parameter.words {
            text = if text.is_empty() { words.clone() } else { format!("{text}: {words}") };
        }
        let value = format!("{:#x}", parameter.value);
        let indent = width + 7;
        writeln!(
            out,
            "  {} {value:>width$}  {}",
            paint(DIM, &parameter.index.to_string()),
            wrapped(&clean(&text), indent)
        )?;
    }
    Ok(())
}

fn culprit(target: &Target, stop: &Stop, out: &mut dyn Write) -> io::Result<()> {
    let Some(culprit) = stop::culprit(target, stop) else { return Ok(()) };
    heading(out, if culprit.system { "Where it happened" } else { "Probable culprit" })?;
    let record = target.dump().modules.iter().find(|module| module.base == culprit.base);
    let mut line = paint(FUNCTION, &clean(&culprit.name));
    if let Some(record) = record {
        let mut facts = vec![format!("{:#x}-{:#x}", record.base, record.end)];
        facts.extend(record.version.as_ref().map(|version| format!("version {version}")));
        facts.extend(record.timestamp.map(|time| format!("link time {time:#010x}")));
        facts.extend(record.debug_file.as_ref().map(|file| format!("symbols {}", clean(file))));
        line.push_str(&format!("  {}", paint(DIM, &facts.join(", "))));
    }
    writeln!(out, "  {line}")?;
    for fact in &culprit.evidence {
        writeln!(out, "  • {}", wrapped(&clean(&fact.text), 4))?;
    }
    Ok(())
}

/// What machine it was, when it stopped, what ran, and how many drivers it had.
fn machine(target: &Target, stop: &Stop, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let dump = target.dump();
    heading(out, "The machine")?;
    let mut system = format!("Windows {}", dump.os_version.as_deref().unwrap_or("of an unknown build"));
    if let Some(lab) = &stop.build_lab {
        system.push_str(&format!(" ({})", clean(lab)));
    }
    let product = match stop.product_type {
        Some(1) => Some("workstation"),
        Some(2) => Some("domain controller"),
        Some(3) => Some("server"),
        _ => None,
    };
    let mut parts = vec![system];
    parts.extend(product.map(str::to_owned));
    parts.extend(
        stop.processors.map(|count| format!("{count} {} processor{}", dump.arch, if count == 1 { "" } else { "s" })),
    );
    if let Some((vendor, mhz)) = &stop.processor_name {
        parts.push(if *mhz == 0 { clean(vendor) } else { format!("{} at {mhz} MHz", clean(vendor)) });
    }
    writeln!(out, "  {}", wrapped(&parts.join(", "), 2))?;
    let mut when = Vec::new();
    when.extend(
        stop.system_time
            .map(|time| format!("{} {}", if stop.healthy() { "taken" } else { "stopped" }, Value::Time(time))),
    );
    when.extend(stop.up_time.map(|seconds| format!("{} after it had started", duration(seconds))));
    when.extend(stop.processor.map(|number| format!("on processor {number}")));
    let process = stop.process.as_ref().map(|(pid, name)| format!("{} (process {pid})", clean(name)));
    when.extend(match (stop.thread_id, process) {
        (Some(tid), Some(process)) => Some(format!("in thread {tid} of {process}")),
        (Some(tid), None) => Some(format!("in thread {tid}")),
        (None, process) => process.map(|process| format!("in {process}")),
    });
    if !when.is_empty() {
        writeln!(out, "  {}", wrapped(&when.join(", "), 2))?;
    }
    let mut drivers = format!("{} drivers (`show DUMP modules`)", dump.modules.len());
    if !stop.unloaded.is_empty() {
        let most = if common.verbose { usize::MAX } else { UNLOADED };
        let names: Vec<String> = stop.unloaded.iter().take(most).map(|driver| clean(&driver.name)).collect();
        let more = if stop.unloaded.len() > most { ", …" } else { "" };
        drivers.push_str(&format!(", {} unloaded before: {}{more}", stop.unloaded.len(), names.join(", ")));
    }
    writeln!(out, "  {}", wrapped(&drivers, 2))?;
    if let Some(comment) = &stop.comment {
        writeln!(out, "  {}", wrapped(&format!("comment: {}", clean(comment)), 2))?;
    }
    Ok(())
}

/// `3.7 s`, `12 min 5 s`, `3 h 4 min`, `5 d 2 h`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        // A kernel's clock that counts whole seconds has no tenths to show.
        0..60 if seconds.fract() == 0.0 => format!("{whole} s"),
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_for_people() {
        for (seconds, text) in
            [(3.747, "3.7 s"), (13.0, "13 s"), (725.0, "12 min 5 s"), (11_050.0, "3 h 4 min"), (439_300.0, "5 d 2 h")]
        {
            assert_eq!(super::duration(seconds), text);
        }
    }
}
