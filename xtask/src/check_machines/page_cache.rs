//! Files in memory: each file that a process has mapped, and the planted ones, byte for byte.

use super::asker::Asker;
use super::report::{Only, Report, absent, filtered};
use super::truth::{Truth, number, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Device and inode.
type Place = (String, u64);

/// The topic.
pub fn files(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("page_cache_files")?;
    report.remarks(machine, &answer);
    let mut ours: BTreeMap<Place, &Value> = BTreeMap::new();
    let mut devices = BTreeSet::new();
    for row in &answer.rows {
        if let Some(rule) = absent(machine, row, "inode").or_else(|| absent(machine, row, "device")) {
            report.excuse(rule);
            continue;
        }
        let device = text(&row["device"]).to_owned();
        devices.insert(device.clone());
        // In 5.10 all block devices have inode 0 of their common file system.
        if row["filesystem"] == "bdev" && number(&row["inode"]) == 0 {
            report.untold("a block device's own pages");
        } else if ours.insert((device, number(&row["inode"])), row).is_some() {
            report.wrong(format!("stands twice: {row}"));
        }
    }
    // A mapping names its file by device and inode, and is no file without one.
    let mut guest: BTreeMap<Place, BTreeSet<&str>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for map in truth.processes().flat_map(|process| process["maps"].as_array().into_iter().flatten()) {
        let Some(device) = plain_device(text(&map["dev"])) else { continue };
        known.insert(device.clone());
        let path = text(&map["path"]);
        // System V's shared memory has its own number where others have an inode's, and no name before 5.8.
        if path.starts_with('/') && !path.starts_with("/SYSV") {
            let place = (device, number(&map["inode"]));
            guest.entry(place).or_default().insert(path.trim_end_matches(" (deleted)"));
        }
    }
    for line in truth.file("proc/1/mountinfo")?.lines() {
        known.extend(line.split(' ').nth(2).map(str::to_owned));
    }
    for (place, paths) in &guest {
        let (Some(row), Some(first)) = (ours.get(place), paths.first()) else { continue };
        // The lab's programs are one file with many names, and each process has it by another.
        match row["path"].as_str().is_some_and(|own| paths.contains(own)) {
            true if paths.len() > 1 => {
                report.excuse("a file that processes have mapped by several names, and its row has one")
            }
            true => {}
            false => _ = report.cell(machine, first, row, "path", &json!(first)),
        }
    }
    let mapped = guest.keys().cloned().collect();
    let own: BTreeSet<Place> = ours.keys().filter(|place| guest.contains_key(*place)).cloned().collect();
    report.sets(&own, &mapped, |only, _| (only == Only::Guest).then(|| filtered(machine, &answer)).flatten());
    // What no process has mapped stands in no list of the guest; it must lie on a file system that is there.
    for (place, row) in ours.iter().filter(|(place, _)| !guest.contains_key(*place)) {
        match (known.contains(&place.0), text(&row["filesystem"])) {
            (true, _) => report.untold("a file that no process has mapped"),
            (_, "bdev") => report.untold("a block device's own pages"),
            _ => report.wrong(format!("a file of a device that the guest does not know: {row}")),
        }
    }
    planted(machine, truth, &answer.rows, report)
}

/// `08:01` of /proc/PID/maps, in hexadecimal digits, as `8:1`.
fn plain_device(device: &str) -> Option<String> {
    let (major, minor) = device.split_once(':')?;
    let number = |digits| u32::from_str_radix(digits, 16).ok();
    Some(format!("{}:{}", number(major)?, number(minor)?))
}

/// The files that the lab writes, with what it wrote.
fn planted(machine: &Asker, truth: &Truth, rows: &[Value], report: &mut Report) -> anyhow::Result<()> {
    let value = |name: &str| text(&truth.json["planted_values"][name]["text"]).to_owned();
    let tag: String = value("tmpfs_tag").chars().take(8).collect();
    // Every sixteen bytes say where they are: three pages and a bit.
    let lines: String = (0..3 * 256 + 10).map(|line| format!("{tag}{:08x}", line * 16)).collect();
    let mut sparse = vec![0; 5 << 20];
    sparse.extend(b"sparse-tail");
    for (path, deleted, bytes) in [
        ("/data/known.txt", false, truth.beside("known.txt")?.into_bytes()),
        ("/tmp/lab/pagecache.dat", false, lines.into_bytes()),
        ("/tmp/lab/deleted.txt", true, value("deleted_file").into_bytes()),
        ("/tmp/lab/sparse.dat", false, sparse),
    ] {
        report.count(1, 0);
        let Some(row) = rows.iter().find(|row| row["path"] == path) else {
            if machine.filtered {
                report.excuse("a planted file whose inode is not in the filtered dump");
            } else {
                report.wrong(format!("missing: {path}"));
            }
            continue;
        };
        let before = report.failures();
        report.cell(machine, path, row, "size", &json!(bytes.len()));
        report.cell(machine, path, row, "deleted", &json!(deleted));
        let file = format!("{}:{}", text(&row["device"]), number(&row["inode"]));
        let own = match machine.extracted(&["--file", &file]) {
            Ok((own, _)) => own,
            Err(error) if machine.filtered && format!("{error:#}").contains("nothing of ") => {
                report.same(&format!("{path}: cached_bytes"), &row["cached_bytes"], &json!(0));
                report.excuse("a planted file of which nothing is in the filtered dump, and the program says so");
                continue;
            }
            Err(error) => return Err(error),
        };
        if own == bytes {
            report.count(0, 1);
        } else if machine.filtered && number(&row["cached_bytes"]) < bytes.len() as u64 {
            report.excuse("a planted file that is not whole in the filtered dump, and whose row says so");
            continue;
        } else {
            let same = own.iter().zip(&bytes).filter(|(own, theirs)| own == theirs).count();
            report.wrong(format!("{path}: {} bytes, {same} of {} as they were written", own.len(), bytes.len()));
        }
        if report.failures() == before {
            report.found();
        }
    }
    Ok(())
}
