//! Every mapping of every process, as /proc/PID/maps has it.

use super::asker::Asker;
use super::open_files::LISTER;
use super::report::{Only, Report, absent, filtered, lacking};
use super::truth::{Truth, address, number, text};
use std::collections::{BTreeMap, BTreeSet};

/// The topic.
pub fn mappings(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("process_regions")?;
    report.remarks(machine, &answer);
    let mut guest = BTreeMap::new();
    for process in truth.processes() {
        for map in process["maps"].as_array().into_iter().flatten() {
            let place = (number(&process["pid"]), address(&map["start"]), address(&map["end"]));
            guest.insert(place, (text(&map["perms"]), text(&map["path"])));
        }
    }
    let mut ours = BTreeSet::new();
    for row in &answer.rows {
        let place = (number(&row["pid"]), address(&row["start"]), address(&row["end"]));
        if !ours.insert(place) {
            report.wrong(format!("stands twice: {row}"));
        }
        let Some((perms, path)) = guest.get(&place) else { continue };
        let what = format!("{} {:#x}", place.0, place.1);
        report.cell(machine, &what, row, "perms", &(*perms).into());
        match absent(machine, row, "path") {
            // A mapping of no file has no path, and that is no lack of the dump.
            Some(rule) if !path.is_empty() => report.excuse(rule),
            _ => _ = report.same(&format!("{what}: path"), &text(&row["path"]), path),
        }
    }
    let lister = |pid: u64| (pid == 1).then_some(LISTER);
    let guest: BTreeSet<_> = guest.into_keys().collect();
    let missing = guest.difference(&ours).map(|(pid, ..)| *pid).filter(|pid| *pid != 1).collect();
    lacking(report, machine, &answer, &missing);
    report.sets(&ours, &guest, |only, (pid, ..)| match only {
        Only::Guest => lister(*pid).or_else(|| filtered(machine, &answer)),
        Only::Ours => lister(*pid),
    });
    Ok(())
}
