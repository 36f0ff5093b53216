//! Every descriptor of every process, as /proc/PID/fd shows it.

use super::asker::Asker;
use super::report::{Only, Report, filtered, lacking};
use super::truth::{Truth, number, text};
use std::collections::BTreeSet;

/// Process 1 makes the guest's lists: it has files of /proc open while it reads them, and a file it writes to later.
pub const LISTER: &str = "process 1 was reading /proc when it was listed, and did something else later";

/// The topic.
pub fn open_files(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("open_files")?;
    report.remarks(machine, &answer);
    let mut guest = BTreeSet::new();
    for process in truth.processes() {
        for file in process["fds"].as_array().into_iter().flatten() {
            guest.insert((number(&process["pid"]), number(&file["fd"]), text(&file["target"]).to_owned()));
        }
    }
    let (mut ours, mut unnamed) = (BTreeSet::new(), BTreeSet::new());
    for row in &answer.rows {
        let place = (number(&row["pid"]), number(&row["fd"]));
        let deleted = if row["deleted"] == true { " (deleted)" } else { "" };
        match row["path"].as_str() {
            Some(path) => _ = ours.insert((place.0, place.1, format!("{path}{deleted}"))),
            None => {
                report.cell(machine, &format!("{place:?}"), row, "path", &"a path".into());
                unnamed.insert(place);
            }
        }
        kind(machine, row, report);
        if let Some(comm) = truth.comm(place.0) {
            report.cell(machine, &format!("{place:?}"), row, "comm", &comm.into());
        }
    }
    let missing = guest.difference(&ours).map(|(pid, fd, _)| (*pid, *fd)).filter(|(pid, _)| *pid != 1);
    let missing = missing.filter(|place| !unnamed.contains(place)).map(|(pid, _)| pid).collect();
    lacking(report, machine, &answer, &missing);
    let lister = |pid: u64| (pid == 1).then_some(LISTER);
    report.sets(&ours, &guest, |only, (pid, fd, _)| match only {
        Only::Guest if unnamed.contains(&(*pid, *fd)) => Some("the descriptor is there, without its path"),
        Only::Guest => lister(*pid).or_else(|| filtered(machine, &answer)),
        Only::Ours => lister(*pid),
    });
    Ok(())
}

/// The kind that a path of the lab's guests tells.
fn kind(machine: &Asker, row: &serde_json::Value, report: &mut Report) {
    let Some(path) = row["path"].as_str() else { return };
    let kind = match path {
        _ if path.starts_with("pipe:[") => "pipe",
        _ if path.starts_with("socket:[") => "socket",
        _ if path.starts_with("anon_inode:") => "anon_inode",
        _ if path.starts_with("/memfd:") => "memfd",
        _ if path.starts_with("/dev/shm/") => "file",
        _ if path.starts_with("/dev/") => "chr",
        _ if path == "/proc" || path == "/run/lab/planted" || path.ends_with("/fd") => "dir",
        _ => "file",
    };
    report.cell(machine, path, row, "kind", &kind.into());
}
