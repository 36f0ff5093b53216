//! Routes: the main table of IPv4 as /proc/net/route has it; those of IPv6 as they follow from the guest's addresses.

use super::asker::Asker;
use super::report::{Only, Report, absent, filtered};
use super::truth::{Truth, text};
use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Numbers of the tables (`RT_TABLE_MAIN`, `RT_TABLE_LOCAL`).
const MAIN: u64 = 254;
const LOCAL: u64 = 255;

/// Interface, destination, gateway, metric.
type Route = (String, String, Option<String>, u64);

/// The topic.
pub fn routes(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("routes")?;
    report.remarks(machine, &answer);
    let first = truth.namespace(1, "net").context("the guest's network namespace")?;
    let mut here = Vec::new();
    for row in &answer.rows {
        match row["namespace"].as_u64() {
            Some(own) if own != first => report.untold("routes of other network namespaces"),
            _ => here.push(row),
        }
    }
    let mut guest: BTreeSet<Route> = BTreeSet::new();
    for line in truth.file("proc/net/route")?.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, _, _, _, metric, mask, ..] = words.as_slice() else {
            report.wrong(format!("not a line of net/route: {line}"));
            continue;
        };
        let number = |word: &str| u32::from_str_radix(word, 16).map(u32::swap_bytes);
        let (gateway, prefix) = (Ipv4Addr::from(number(gateway)?), number(mask)?.count_ones());
        let destination = format!("{}/{prefix}", Ipv4Addr::from(number(destination)?));
        let gateway = Some(gateway).filter(|gateway| !gateway.is_unspecified()).map(|gateway| gateway.to_string());
        guest.insert(((*interface).to_owned(), destination, gateway, metric.parse()?));
    }
    let mut ours = BTreeSet::new();
    for row in here.iter().filter(|row| row["family"] == "IPv4") {
        if row["table"] != MAIN {
            // An address of the machine itself, or a broadcast; /proc/net/route is of the main table.
            report.untold("routes of IPv4 in other tables than main");
            continue;
        }
        if let Some(rule) = ["interface", "destination"].iter().find_map(|column| absent(machine, row, column)) {
            report.excuse(rule);
            continue;
        }
        let destination = text(&row["destination"]).to_owned();
        let gateway = row["gateway"].as_str().map(str::to_owned);
        let metric = row["metric"].as_u64().unwrap_or(u64::MAX);
        ours.insert((text(&row["interface"]).to_owned(), destination, gateway, metric));
    }
    report.sets(&ours, &guest, |only, _| (only == Only::Guest).then(|| filtered(machine, &answer)).flatten());
    let six: Vec<&Value> = here.into_iter().filter(|row| row["family"] == "IPv6").collect();
    version_six(machine, truth, &six, filtered(machine, &answer), report)
}

/// The guest wrote no list of these. Each address of it makes a local route and, unless it is a host's, one to its network.
fn version_six(
    machine: &Asker,
    truth: &Truth,
    ours: &[&Value],
    filtered: Option<&'static str>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut guest = BTreeSet::new();
    for line in truth.file("proc/net/if_inet6")?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, prefix, _, _, name] = words.as_slice() else { continue };
        let (bits, prefix) = (u128::from_str_radix(address, 16)?, u8::from_str_radix(prefix, 16)?);
        guest.insert((LOCAL, format!("{}/128", Ipv6Addr::from(bits)), (*name).to_owned()));
        if prefix == 128 {
            continue;
        }
        let network = bits & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        guest.insert((MAIN, format!("{}/{prefix}", Ipv6Addr::from(network)), (*name).to_owned()));
    }
    let mut own = BTreeSet::new();
    for row in ours {
        match ["table", "interface", "destination"].iter().find_map(|column| absent(machine, row, column)) {
            Some(rule) => report.excuse(rule),
            None => {
                let table = row["table"].as_u64().unwrap_or_default();
                own.insert((table, text(&row["destination"]).to_owned(), text(&row["interface"]).to_owned()));
            }
        }
    }
    report.sets(&own, &guest, |only, (_, destination, _)| match only {
        Only::Guest => filtered,
        // What belongs to every interface: multicast, and the address of all routers of a network (RFC 4291, 2.6.1).
        Only::Ours if destination == "ff00::/8" => Some("the route to IPv6's groups, which each interface has"),
        Only::Ours if guest.iter().any(|(_, known, _)| anycast(known).as_ref() == Some(destination)) => {
            Some("the anycast address of a network of IPv6")
        }
        Only::Ours => None,
    });
    if !ours.is_empty() {
        report.untold("the routes of IPv6; they were compared with its addresses");
    }
    Ok(())
}

/// The address of all routers of a network: its first.
fn anycast(network: &str) -> Option<String> {
    let (address, prefix) = network.split_once('/')?;
    (prefix != "128").then(|| format!("{address}/128"))
}
