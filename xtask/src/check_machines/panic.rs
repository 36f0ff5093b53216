//! What ended the machine: the reason, and the stack of the processor that panicked, as the guest's console and crash(8)
//! show them.

use super::asker::{Answer, Asker};
use super::report::Report;
use super::truth::{Truth, text};
use anyhow::Context;
use std::rc::Rc;

const REASON: &str = "Kernel panic - not syncing: ";

/// The topic.
pub fn panic(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let serial = truth.beside("serial.log")?;
    let Some(cpu) = reason(machine, &serial, report)? else { return Ok(()) };
    let answer = stack(machine, cpu, &serial, report)?;
    if let Some(peer) = truth.peer("crash") {
        crash(&peer, &frames(&answer), report);
    }
    Ok(())
}

/// The reason, as the console has it; gives the processor that panicked.
pub fn reason(machine: &Asker, serial: &str, report: &mut Report) -> anyhow::Result<Option<u32>> {
    let answer = machine.table("kernel")?;
    let row = answer.rows.first().context("no row")?;
    // A crash kernel writes to the same console, and a guest with panic=0 prints an end, too.
    let reason = serial.lines().find_map(|line| Some(format!("{REASON}{}", line.split_once(REASON)?.1.trim_end())));
    report.count(usize::from(reason.is_some()), usize::from(!row["panic"].is_null()));
    if report.same("reason", &row["panic"].as_str(), &reason.as_deref()) && reason.is_some() {
        report.found();
    }
    if reason.is_none() {
        return Ok(None);
    }
    let cpu = |line: &str| line.split_once("CPU: ")?.1.split_whitespace().next()?.parse::<u32>().ok();
    // Behind the reason; of a fault the processor was named before it.
    let behind = serial.lines().skip_while(|line| !line.contains(REASON)).skip(1).take(4).find_map(cpu);
    let before = || serial.lines().take_while(|line| !line.contains(REASON)).filter_map(cpu).last();
    behind.or_else(before).context("the console does not say which processor panicked").map(Some)
}

/// Its stack, as the console has it from `panic` on.
pub fn stack(machine: &Asker, cpu: u32, serial: &str, report: &mut Report) -> anyhow::Result<Rc<Answer>> {
    let answer = machine.table_of("kernel_frames", &[&format!("cpu={cpu}")])?;
    console(serial, &frames(&answer), report);
    Ok(answer)
}

/// Function, address, distance.
fn frames<'a>(answer: &'a Answer) -> Vec<(&'a str, String, u64)> {
    let frame = |row: &'a serde_json::Value| {
        (text(&row["function"]), text(&row["pc"]).to_owned(), super::truth::number(&row["offset"]))
    };
    answer.rows.iter().map(frame).collect()
}

/// The console's call trace from `panic` on; what it marks with `?` it only found lying on the stack.
fn console(serial: &str, ours: &[(&str, String, u64)], report: &mut Report) {
    let lines = super::console::lines(serial);
    let from = lines.iter().position(|line| line.contains(REASON)).unwrap_or(lines.len());
    let trace = super::console::trace(lines.get(from..).unwrap_or_default());
    let trace = trace.into_iter().map(|(name, offset, _)| (name, offset));
    let mut guest: Vec<(String, u64)> = trace.skip_while(|(name, _)| name != "panic" && name != "vpanic").collect();
    // Where the processor is in `vpanic` its registers say alone; without them the first place is behind it, in `panic`.
    if guest.first().is_some_and(|(name, _)| name == "vpanic")
        && ours.first().is_some_and(|(name, ..)| *name == "panic")
    {
        guest.remove(0);
        report.excuse("`vpanic` itself, whose place the registers say that are not in the dump");
    }
    let first = guest.first().map(|(name, _)| name.clone()).unwrap_or_default();
    let own: Vec<(String, u64)> = ours
        .iter()
        .skip_while(|(name, ..)| *name != first)
        .map(|(name, _, offset)| (name.to_string(), *offset))
        .collect();
    report.count(guest.len(), own.len());
    // Where panic itself stands differs: the console was written before it went on to stop the machine.
    let names = |frames: &[(String, u64)]| frames.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let same = !guest.is_empty() && report.same("stack on the console", &names(&own), &names(&guest));
    for (own, guest) in own.iter().zip(&guest).skip(1) {
        if own == guest {
            report.found();
        } else if same {
            report.wrong(format!("stack on the console: {own:?}, and the guest has {guest:?}"));
        }
    }
    if same {
        report.excuse("`panic` itself had gone on from where it wrote the console's trace");
    } else if guest.is_empty() {
        report.wrong("the console has no call trace from panic on");
    }
}

/// crash's first stack of a panicked machine, function for function and address for address, from `panic` on.
fn crash(peer: &str, ours: &[(&str, String, u64)], report: &mut Report) {
    let lines = peer.lines().skip_while(|line| !line.starts_with("PID: ")).skip(1);
    let lines = lines.take_while(|line| !line.trim().is_empty()).filter(|line| line.trim_start().starts_with('#'));
    let frame = |line: &str| {
        let words: Vec<&str> = line.split(']').nth(1)?.split_whitespace().collect();
        Some((words.first()?.to_string(), format!("0x{}", words.get(2)?)))
    };
    let guest: Vec<(String, String)> = lines.filter_map(frame).skip_while(|(name, _)| name != "panic").collect();
    let own: Vec<(String, String)> = ours
        .iter()
        .skip_while(|(name, ..)| *name != "panic")
        .map(|(name, pc, _)| (name.to_string(), pc.clone()))
        .collect();
    report.count(guest.len(), own.len());
    if report.same("crash's stack of it is there", &guest.is_empty(), &false)
        && report.same("crash's stack", &own, &guest)
    {
        guest.iter().for_each(|_| report.found());
    }
}
