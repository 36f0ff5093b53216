//! A fault of the kernel's own code: its place, its registers and its callers, line for line as the console has them.

use crate::check_machines::asker::Asker;
use crate::check_machines::console::oops;
use crate::check_machines::report::Report;
use crate::check_machines::truth::text;
use anyhow::Context;
use std::collections::BTreeMap;

/// The registers that the console prints and that a fault's must equal.
const REGISTERS: [&str; 17] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rsp",
    "eflags",
];

/// Place, registers and callers of a fault that ended the machine.
pub fn fault(machine: &Asker, lines: &[&str], task: &str, report: &mut Report) -> anyhow::Result<()> {
    let guest = oops(lines).context("the console has no fault")?;
    if !task.is_empty() {
        report.same("task on the console", &guest.comm.as_str(), &task);
    }
    let told = machine.said(&["explain"])?;
    let (place, ours) = registers(&told).context("explain shows no registers of a fault")?;
    report.count(REGISTERS.len() + 1, ours.len());
    match &guest.place {
        Some((function, offset, module)) => {
            let module = module.as_ref().map(|module| format!(" [{module}]")).unwrap_or_default();
            if report.same("place of the fault", &place, &format!("{function}+{offset:#x}{module}")) {
                report.found();
            }
        }
        // It jumped to where no function is.
        None => {
            if report.same("place of the fault", &ours.get("rip"), &guest.registers.get("rip")) {
                report.found();
            }
        }
    }
    for name in REGISTERS {
        let hex = |value: Option<&u64>| value.map(|value| format!("{value:#x}"));
        if report.same(name, &hex(ours.get(name)), &hex(guest.registers.get(name))) {
            report.found();
        }
    }
    // For scripts the same stands in a table.
    let table = machine.table("kernel_fault")?;
    let row = table.rows.first().context("kernel_fault has no row")?;
    report.same("kernel_fault: cpu", &row["cpu"].as_u64(), &Some(guest.cpu));
    report.same("kernel_fault: pid", &row["pid"].as_u64(), &Some(guest.pid));
    report.same("kernel_fault: comm", &text(&row["comm"]), &guest.comm.as_str());
    let in_row: BTreeMap<&str, &str> =
        text(&row["registers"]).split(' ').filter_map(|pair| pair.split_once('=')).collect();
    for name in REGISTERS {
        let told = guest.registers.get(name).map(|value| format!("{value:#x}"));
        report.same(&format!("kernel_fault: {name}"), &in_row.get(name).copied(), &told.as_deref());
    }
    // The frame behind the exception's entry is the fault's own; what called it stands on the console.
    let answer = machine.table_of("kernel_frames", &[&format!("cpu={}", guest.cpu)])?;
    let own: Vec<_> = answer.rows.iter().map(super::frame_of).collect();
    let at = match &guest.place {
        Some(place) => own.iter().position(|frame| frame == place),
        None => answer.rows.iter().position(|row| row["function"].is_null()),
    };
    let Some(at) = at else {
        report.wrong(format!("the fault's frame is not on the processor's stack: {own:?}"));
        return Ok(());
    };
    super::same_frames("callers", own.get(at + 1..).unwrap_or_default(), &guest.trace, report);
    Ok(())
}

/// The sentence on a fault that the machine outlived: its place, its task, and what it was.
pub fn survived(machine: &Asker, lines: &[&str], report: &mut Report) -> anyhow::Result<()> {
    let guest = oops(lines).context("the console has no fault")?;
    let (function, offset, _) = guest.place.context("the fault has no place")?;
    let findings = machine.table("findings")?;
    report.count(1, findings.rows.len());
    let wanted = format!("had a fault in {function}+{offset:#x}, of {} (process {})", guest.comm, guest.pid);
    let what = lines.iter().map(|line| line.trim()).find(|line| line.starts_with("BUG: ")).unwrap_or_default();
    match findings
        .rows
        .iter()
        .map(|row| text(&row["summary"]))
        .any(|text| text.contains(&wanted) && text.contains(what))
    {
        true => report.found(),
        false => report.wrong(format!("no sentence says {wanted:?} and {what:?}")),
    }
    Ok(())
}

/// What `explain` shows of a fault: its place, and registers by their names.
fn registers(told: &str) -> Option<(String, BTreeMap<String, u64>)> {
    let mut lines = told.lines().skip_while(|line| !line.starts_with("Registers of the fault in "));
    let place = lines.next()?.strip_prefix("Registers of the fault in ")?.trim().to_owned();
    let mut all = BTreeMap::new();
    for line in lines.take_while(|line| line.starts_with("  ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.chunks(2) {
            if let [name, value] = pair {
                all.insert((*name).to_owned(), u64::from_str_radix(value.trim_start_matches("0x"), 16).ok()?);
            }
        }
    }
    Some((place, all))
}
