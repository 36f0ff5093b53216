//! Neighbours, as /proc/net/arp has them.

use super::asker::Asker;
use super::report::{Only, Report, absent, filtered};
use super::truth::{Truth, text};
use anyhow::Context;
use std::collections::BTreeSet;

/// Flags of an entry (`ATF_COM`, `ATF_PERM`), as `proc` shows them.
const PERMANENT: u32 = 4;

/// The topic.
pub fn neighbours(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("neighbours")?;
    report.remarks(machine, &answer);
    let first = truth.namespace(1, "net").context("the guest's network namespace")?;
    let mut guest = BTreeSet::new();
    for line in truth.file("proc/net/arp")?.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, flags, mac, _, interface] = words.as_slice() else {
            report.wrong(format!("not a line of net/arp: {line}"));
            continue;
        };
        let permanent = u32::from_str_radix(flags.trim_start_matches("0x"), 16)? & PERMANENT != 0;
        guest.insert(((*address).to_owned(), (*mac).to_owned(), (*interface).to_owned(), permanent));
    }
    let mut ours = BTreeSet::new();
    for row in &answer.rows {
        let rule = ["namespace", "address", "mac", "interface", "state"].iter().find_map(|c| absent(machine, row, c));
        match (row["namespace"].as_u64(), text(&row["family"]), text(&row["state"])) {
            _ if rule.is_some() => rule.into_iter().for_each(|rule| report.excuse(rule)),
            (Some(own), ..) if own != first => report.untold("neighbours of other network namespaces"),
            (_, "IPv6", _) => report.untold("neighbours of IPv6"),
            // /proc/net/arp leaves them out: they are not asked for.
            (_, _, "NOARP") => report.untold("neighbours that need no ARP"),
            (_, _, state) => {
                let (address, mac) = (text(&row["address"]).to_owned(), text(&row["mac"]).to_owned());
                ours.insert((address, mac, text(&row["interface"]).to_owned(), state == "PERMANENT"));
            }
        }
    }
    report.sets(&ours, &guest, |only, _| (only == Only::Guest).then(|| filtered(machine, &answer)).flatten());
    Ok(())
}
