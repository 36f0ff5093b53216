//! Every module: where it lies, how long it is, what it taints.

use super::asker::Asker;
use super::report::{Only, Report, filtered};
use super::truth::{Truth, number, text};
use std::collections::BTreeSet;

/// The kernel's letters of taints, from bit 0 on (`taint_flags` in kernel/panic.c).
const TAINTS: &str = "PFSRMBUDAWCIOELKXTN";

/// The topic.
pub fn modules(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("kernel_modules")?;
    report.remarks(machine, &answer);
    let mut ours = BTreeSet::new();
    for row in &answer.rows {
        let facts = (number(&row["size"]), number(&row["taints"]));
        ours.insert((text(&row["name"]).to_owned(), text(&row["base"]).to_owned(), facts));
    }
    let taints = |letters: &str| -> u64 {
        let bits = letters.chars().map(|letter| TAINTS.find(letter).map_or(1 << 63, |bit| 1 << bit));
        bits.fold(0, |all, bit| all | bit)
    };
    let mut guest = BTreeSet::new();
    for module in truth.list("modules") {
        let facts = (number(&module["size"]), taints(text(&module["taint"])));
        guest.insert((text(&module["name"]).to_owned(), text(&module["address"]).to_owned(), facts));
    }
    report.sets(&ours, &guest, |only, _| (only == Only::Guest).then(|| filtered(machine, &answer)).flatten());
    Ok(())
}
