//! Network interfaces, as /proc/net/dev and /proc/net/if_inet6 have them.

use super::asker::Asker;
use super::report::{Only, Report, filtered};
use super::truth::{Truth, number, text};
use anyhow::Context;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// A router is asked for three times (RFC 4861, `MAX_RTR_SOLICITATIONS`), also after the guest wrote its list.
const SOLICITATIONS: u64 = 3;

/// The topic.
pub fn interfaces(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("network_interfaces")?;
    report.remarks(machine, &answer);
    let first = truth.namespace(1, "net").context("the guest's network namespace")?;
    let mut ours: BTreeMap<&str, &Value> = BTreeMap::new();
    for row in &answer.rows {
        match row["namespace"].as_u64() {
            Some(own) if own != first => report.untold("interfaces of other network namespaces"),
            _ if ours.insert(text(&row["name"]), row).is_some() => report.wrong(format!("stands twice: {row}")),
            _ => {}
        }
    }
    let dev = truth.file("proc/net/dev")?;
    let mut guest = BTreeSet::new();
    for line in dev.lines().skip(2) {
        let (name, counts) = line.split_once(':').context("the guest's net/dev")?;
        let name = name.trim();
        guest.insert(name);
        let Some(row) = ours.get(name) else { continue };
        let counts: Vec<u64> = counts.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [rx_bytes, rx_packets, .., tx_bytes, tx_packets, _, _, _, _, _, _] = counts.as_slice() else {
            report.wrong(format!("not a line of net/dev: {line}"));
            continue;
        };
        report.cell(machine, name, row, "rx_bytes", &json!(rx_bytes));
        report.cell(machine, name, row, "rx_packets", &json!(rx_packets));
        let (bytes, packets) = (number(&row["tx_bytes"]), number(&row["tx_packets"]));
        let more = packets > *tx_packets && packets <= SOLICITATIONS.max(*tx_packets);
        // Each solicitation is as long as the other.
        if more && bytes * tx_packets == tx_bytes * packets {
            report.excuse("it asked for a router once more after the list was written");
        } else {
            report.cell(machine, name, row, "tx_bytes", &json!(tx_bytes));
            report.cell(machine, name, row, "tx_packets", &json!(tx_packets));
        }
    }
    report.sets(&ours.keys().copied().collect(), &guest, |only, _| {
        (only == Only::Guest).then(|| filtered(machine, &answer)).flatten()
    });
    addresses(machine, truth, &ours, report)
}

/// Addresses of IPv6 with their prefixes; those of IPv4 stand in no file that the guest read.
fn addresses(machine: &Asker, truth: &Truth, ours: &BTreeMap<&str, &Value>, report: &mut Report) -> anyhow::Result<()> {
    let mut guest: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut indices = BTreeMap::new();
    for line in truth.file("proc/net/if_inet6")?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, index, prefix, _, _, name] = words.as_slice() else {
            report.wrong(format!("not a line of if_inet6: {line}"));
            continue;
        };
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16)?);
        guest.entry((*name).to_owned()).or_default().insert(format!("{address}/{}", u8::from_str_radix(prefix, 16)?));
        indices.insert((*name).to_owned(), u64::from_str_radix(index, 16)?);
    }
    for (name, row) in ours {
        let theirs = guest.remove(*name).unwrap_or_default();
        if let Some(index) = indices.get(*name) {
            report.cell(machine, name, row, "index", &json!(index));
        }
        let own: BTreeSet<String> = text(&row["ipv6"]).split_whitespace().map(str::to_owned).collect();
        if row["ipv6"].is_null() && !theirs.is_empty() {
            report.cell(machine, name, row, "ipv6", &json!("addresses"));
            continue;
        }
        report.sets(&own, &theirs, |_, _| None);
        // An address that the kernel made of the hardware's (RFC 4291, EUI-64) tells that, too.
        if let Some(local) = theirs.iter().find_map(|address| hardware(address)) {
            report.cell(machine, name, row, "mac", &json!(local));
        }
        if row["ipv4"].is_string() {
            report.untold("addresses of IPv4 with their prefixes");
        }
    }
    for (name, addresses) in guest {
        report.wrong(format!("missing: {addresses:?} of {name}"));
    }
    Ok(())
}

/// The hardware address in a link-local address that was made of one.
fn hardware(address: &str) -> Option<String> {
    let address: Ipv6Addr = address.strip_suffix("/64")?.parse().ok()?;
    let [0xfe, 0x80, _, _, _, _, _, _, a, b, c, 0xff, 0xfe, d, e, f] = address.octets() else { return None };
    Some(format!("{:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}", a ^ 2))
}
