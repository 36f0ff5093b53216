//! Interrupts, as /proc/interrupts has them. What each processor counted only grows.

use super::asker::Asker;
use super::report::{Only, Report, filtered};
use super::truth::{Truth, number, text};
use anyhow::Context;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Nobody presses a key, and nothing goes wrong: what these counted stands.
const STILL: [&str; 8] = ["1", "8", "9", "12", "NMI", "MCE", "ERR", "MIS"];

/// The topic.
pub fn interrupts(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("interrupts")?;
    report.remarks(machine, &answer);
    let ours: BTreeMap<&str, &Value> = answer.rows.iter().map(|row| (text(&row["irq"]), row)).collect();
    let panicked = machine.table("kernel")?.rows.first().is_some_and(|row| row["panic"].is_string());
    let list = truth.file("proc/interrupts")?;
    let mut lines = list.lines();
    let cpus = lines.next().context("the guest's interrupts")?.split_whitespace().count();
    let mut guest = BTreeSet::new();
    for line in lines {
        let Some((irq, rest)) = line.trim().split_once(':') else { continue };
        guest.insert(irq);
        let Some(row) = ours.get(irq) else { continue };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let counts: Vec<u64> = words.iter().map_while(|word| word.parse().ok()).take(cpus).collect();
        counts_of(irq, row, &counts, panicked, report);
        let words = words.get(counts.len()..).unwrap_or_default();
        if irq.bytes().all(|byte| byte.is_ascii_digit()) {
            let (chip, how, handlers) = match words {
                // arm64 writes the flow as a word of its own (CONFIG_GENERIC_IRQ_SHOW_LEVEL).
                [chip, number, flow @ ("Level" | "Edge"), handlers @ ..] => {
                    (chip, format!("{number}-{flow}"), handlers)
                }
                [chip, how, handlers @ ..] => (chip, (*how).to_owned(), handlers),
                _ => {
                    report.wrong(format!("not a line of interrupts: {line}"));
                    continue;
                }
            };
            report.cell(machine, irq, row, "chip", &json!(chip));
            let flow = format!("{}-{}", number(&row["hwirq"]), text(&row["flow"]));
            if row["hwirq"].is_null() || row["flow"].is_null() {
                report.cell(machine, irq, row, "hwirq", &json!(how));
            } else {
                report.same(&format!("{irq}: hwirq and flow"), &flow, &how);
            }
            if !handlers.is_empty() {
                let handlers = handlers.join(" ").replace(", ", ",");
                report.cell(machine, irq, row, "handlers", &json!(handlers));
            }
        } else if !words.is_empty() {
            report.cell(machine, irq, row, "handlers", &json!(words.join(" ")));
        }
    }
    report.sets(&ours.keys().copied().collect(), &guest, |only, irq| match only {
        Only::Guest => filtered(machine, &answer),
        Only::Ours if ours.get(irq).is_some_and(|row| row["total"] == 0) => {
            Some("an interrupt that nobody handles and that was never taken; /proc leaves it out")
        }
        Only::Ours => None,
    });
    Ok(())
}

fn counts_of(irq: &str, row: &Value, counts: &[u64], panicked: bool, report: &mut Report) {
    let own: Vec<Option<u64>> = text(&row["counts"]).split_whitespace().map(|word| word.parse().ok()).collect();
    if !report.same(&format!("{irq}: processors"), &own.len(), &counts.len()) {
        return;
    }
    let known: Option<Vec<u64>> = own.iter().copied().collect();
    let Some(known) = known else {
        report.excuse("a count that is not in the filtered dump");
        return;
    };
    report.same(&format!("{irq}: total"), &number(&row["total"]), &known.iter().sum());
    if known == counts {
        return;
    }
    if irq == "NMI" && panicked && known.iter().zip(counts).all(|(own, theirs)| own.saturating_sub(*theirs) <= 1) {
        report.excuse("the interrupt by which a processor that panics stops the others");
        return;
    }
    if known.iter().zip(counts).all(|(own, theirs)| own >= theirs) && !STILL.contains(&irq) {
        report.excuse("an interrupt that was taken again after the list was written");
    } else {
        report.wrong(format!("{irq}: {known:?}, and the guest has {counts:?}"));
    }
}
