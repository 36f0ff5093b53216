//! The kernel's log, line for line: time, level and text, as the guest's own dmesg had it.

use super::asker::Asker;
use super::report::Report;
use super::truth::{Truth, number, text};
use anyhow::Context;
use std::collections::BTreeMap;

/// Time, level, text.
type Line = (String, u64, String);

/// A line of `dmesg --raw`: `<6>[    0.000000] text`. A facility stands above the level, which has three bits.
fn line(raw: &str) -> Option<Line> {
    let (number, rest) = raw.strip_prefix('<')?.split_once('>')?;
    let (time, text) = rest.strip_prefix('[')?.split_once(']')?;
    let text = text.strip_prefix(' ').unwrap_or(text);
    Some((time.trim().to_owned(), number.parse::<u64>().ok()? & 7, text.trim_end().to_owned()))
}

/// The topic.
pub fn log(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("kernel_log")?;
    report.remarks(machine, &answer);
    // A record of several lines has its time before each when it is shown.
    let mut ours: Vec<Line> = Vec::new();
    for row in &answer.rows {
        for one in text(&row["text"]).split('\n') {
            ours.push((text(&row["time"]).to_owned(), number(&row["level"]), one.trim_end().to_owned()));
        }
    }
    let mut guest: Vec<Line> = Vec::new();
    for raw in truth.beside("dmesg.txt")?.lines() {
        guest.push(line(raw).with_context(|| format!("the guest's log has a line of another kind: {raw}"))?);
    }
    report.count(guest.len(), ours.len());
    // The same order, from the first line on; what was written since the guest's list stands behind.
    for (index, (own, guest)) in ours.iter().zip(&guest).enumerate() {
        if own == guest {
            report.found();
        } else {
            report.wrong(format!("line {index}: {own:?}, and the guest has {guest:?}"));
        }
    }
    for missing in guest.iter().skip(ours.len()) {
        report.wrong(format!("missing: {missing:?}"));
    }
    // What came later must be in the console's record, where the guest wrote everything down to its end.
    let later = ours.get(guest.len()..).unwrap_or_default();
    if later.is_empty() {
        return Ok(());
    }
    let serial = truth.beside("serial.log")?;
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for line in serial.lines() {
        let text = line.split_once("] ").map_or(line, |(_, text)| text);
        *written.entry(text.trim_end().to_owned()).or_default() += 1;
    }
    for (time, level, text) in later {
        match written.get_mut(text) {
            Some(count) if *count > 0 => {
                *count -= 1;
                report.excuse("written after the guest's list, and the same on its console");
            }
            _ => report.wrong(format!("not in the guest: {time} <{level}> {text}")),
        }
    }
    Ok(())
}
