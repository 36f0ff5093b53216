//! What memory is used for, as /proc/meminfo and /proc/zoneinfo have it.

use super::asker::Asker;
use super::report::{Only, Report, filtered};
use super::truth::{Truth, number, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What a second changes: the guest reads all of /proc after these lists, which makes inodes and gives back pages.
const MOVES: [(&str, u64); 27] = [
    ("MemFree", 8 << 20),
    ("MemAvailable", 8 << 20),
    // What went back to the lists of each processor is free only when they are emptied; arm64 has such memory.
    ("CmaFree", 16 << 20),
    ("SReclaimable", 8 << 20),
    ("KReclaimable", 8 << 20),
    ("Slab", 8 << 20),
    ("SUnreclaim", 2 << 20),
    ("Dirty", 1 << 20),
    ("Writeback", 1 << 20),
    ("WritebackTmp", 1 << 20),
    ("Buffers", 1 << 20),
    ("Cached", 1 << 20),
    ("Active", 1 << 20),
    ("Active(anon)", 1 << 20),
    ("Active(file)", 1 << 20),
    ("Inactive", 1 << 20),
    ("Inactive(anon)", 1 << 20),
    ("Inactive(file)", 1 << 20),
    ("AnonPages", 1 << 20),
    ("Mapped", 1 << 20),
    ("KernelStack", 256 << 10),
    ("PageTables", 256 << 10),
    ("SecPageTables", 256 << 10),
    ("VmallocUsed", 256 << 10),
    ("Committed_AS", 1 << 20),
    ("Percpu", 64 << 10),
    ("SwapFree", 256 << 10),
];

/// Lines of /proc/meminfo that are constants of its writer, sizes of address space, or counted elsewhere.
const CONSTANT: [&str; 4] = ["NFS_Unstable", "VmallocTotal", "VmallocChunk", "Hugepagesize"];
/// Lines that are constants in kernels that gave up what they counted, as 7.3: where we count nothing they are 0.
const GIVEN_UP: [&str; 2] = ["Bounce", "WritebackTmp"];

/// `memory_usage`.
pub fn usage(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("memory_usage")?;
    report.remarks(machine, &answer);
    let ours: BTreeMap<&str, &Value> = answer.rows.iter().map(|row| (text(&row["name"]), row)).collect();
    let list = truth.file("proc/meminfo")?;
    let page = truth.page()?;
    let mut guest = BTreeMap::new();
    for line in list.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        let Some(value) = rest.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()) else { continue };
        guest.insert(key.to_owned(), if rest.ends_with("kB") { value * 1024 } else { value });
    }
    // Huge pages stand there by their number, and here by their bytes and size.
    let huge = guest.get("Hugepagesize").copied().unwrap_or_default();
    for part in ["Total", "Free", "Rsvd", "Surp"] {
        if let Some(count) = guest.remove(&format!("HugePages_{part}")) {
            guest.insert(format!("HugePages_{part}({}kB)", huge / 1024), count * huge);
        }
    }
    for key in CONSTANT {
        if guest.remove(key).is_some() && !ours.contains_key(key) {
            report.excuse("a constant of /proc/meminfo, which is no use of memory");
        }
    }
    for key in GIVEN_UP.into_iter().filter(|key| !ours.contains_key(key)) {
        if guest.get(key) == Some(&0) {
            guest.remove(key);
            report.excuse("a constant of /proc/meminfo, which is no use of memory");
        }
    }
    for (key, theirs) in &guest {
        let Some(row) = ours.get(key.as_str()) else { continue };
        // Of large pages a few are many bytes.
        let most = MOVES.iter().find(|(name, _)| name == key).map_or(0, |(_, most)| (*most).max(32 * (page - 4096)));
        match row["bytes"].as_u64() {
            Some(own) if own == *theirs => {}
            Some(own) if own.abs_diff(*theirs) <= most => {
                report.excuse("a count that went on after the list was written, within its bound");
            }
            _ => _ = report.cell(machine, key, row, "bytes", &json!(theirs)),
        }
    }
    let (own, told): (BTreeSet<String>, BTreeSet<String>) =
        (ours.keys().map(|key| (*key).to_owned()).collect(), guest.into_keys().collect());
    report.sets(&own, &told, |only, key| match only {
        Only::Guest => filtered(machine, &answer),
        // Other sizes of huge pages than the usual one stand in /sys, which the guest did not read.
        Only::Ours if key.starts_with("HugePages_") => Some("not told by the guest: huge pages of another size"),
        Only::Ours => None,
    });
    Ok(())
}

/// `memory_zones`.
pub fn zones(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("memory_zones")?;
    report.remarks(machine, &answer);
    let list = truth.file("proc/zoneinfo")?;
    let page = truth.page()?;
    let mut guest: BTreeMap<(u64, String), BTreeMap<&str, u64>> = BTreeMap::new();
    let mut at = None;
    for line in list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Node", node, "zone", name] => {
                at = Some((node.trim_end_matches(',').parse()?, (*name).to_owned()));
            }
            ["pages", key, value] | [key, value] => {
                // Each processor's lists have a `high`, too; the zone's own stand first.
                let (Some(at), Ok(value)) = (&at, value.parse()) else { continue };
                guest.entry(at.clone()).or_default().entry(key.trim_end_matches(':')).or_insert(value);
            }
            _ => {}
        }
    }
    // Zones without a page are in the file and have no row.
    guest.retain(|_, facts| facts.get("present").is_some_and(|pages| *pages > 0));
    let ours: BTreeMap<(u64, String), &Value> =
        answer.rows.iter().map(|row| ((number(&row["node"]), text(&row["zone"]).to_owned()), row)).collect();
    for (place, facts) in &guest {
        let Some(row) = ours.get(place) else { continue };
        let what = format!("node {} {}", place.0, place.1);
        for key in ["spanned", "present", "managed", "min", "low", "high", "boost"] {
            match facts.get(key) {
                Some(pages) => _ = report.cell(machine, &what, row, key, &json!(pages * page)),
                None => report.untold(key),
            }
        }
        if let Some(pages) = facts.get("start_pfn") {
            report.cell(machine, &what, row, "start", &json!(format!("{:#x}", pages * page)));
        }
        let free = facts.get("free").map(|pages| pages * page).unwrap_or_default();
        match row["free"].as_u64() {
            Some(own) if own == free => {}
            Some(own) if own.abs_diff(free) <= 8 << 20 => {
                report.excuse("free pages that went on after the list was written, within a bound");
            }
            _ => _ = report.cell(machine, &what, row, "free", &json!(free)),
        }
    }
    report.sets(&ours.into_keys().collect(), &guest.into_keys().collect(), |only, _| {
        (only == Only::Guest).then(|| filtered(machine, &answer)).flatten()
    });
    Ok(())
}
