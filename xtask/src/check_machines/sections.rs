//! Sections of modules, as /sys/module/NAME/sections has them.

use super::asker::Asker;
use super::report::{Only, Report, filtered};
use super::truth::{Truth, text};
use std::collections::BTreeSet;

/// The topic.
pub fn sections(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("kernel_module_sections")?;
    report.remarks(machine, &answer);
    let mut guest = BTreeSet::new();
    for module in truth.list("modules") {
        for (name, address) in module["sections"].as_object().into_iter().flatten() {
            let address = u64::from_str_radix(text(address).trim_start_matches("0x"), 16)?;
            guest.insert((text(&module["name"]).to_owned(), name.clone(), Some(address)));
        }
    }
    let (mut ours, mut placeless) = (BTreeSet::new(), BTreeSet::new());
    for row in &answer.rows {
        let (module, name) = (text(&row["module"]).to_owned(), text(&row["name"]).to_owned());
        match row["address"].as_str().and_then(|at| u64::from_str_radix(at.trim_start_matches("0x"), 16).ok()) {
            Some(at) => _ = ours.insert((module, name, Some(at))),
            None => {
                report.cell(machine, &format!("{module} {name}"), row, "address", &"an address".into());
                placeless.insert((module, name));
            }
        }
    }
    report.sets(&ours, &guest, |only, (module, name, _)| match only {
        Only::Guest if placeless.contains(&(module.clone(), name.clone())) => {
            Some("the section is there, without its address")
        }
        Only::Guest => filtered(machine, &answer),
        Only::Ours => None,
    });
    Ok(())
}
