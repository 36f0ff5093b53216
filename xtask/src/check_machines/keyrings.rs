//! Keys and keyrings, as /proc/keys has them. Contents are not compared: nobody shows them.

use super::asker::Asker;
use super::report::{Only, Report, absent, filtered};
use super::truth::{Truth, number, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Letters of a kind that /proc/keys shows.
const KIND: usize = 9;
/// What it shows for nobody (`overflowuid`).
const NOBODY: &str = "65534";

/// The topic.
pub fn keyrings(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("keyrings")?;
    report.remarks(machine, &answer);
    let ours: BTreeMap<&str, &Value> = answer.rows.iter().map(|row| (text(&row["serial"]), row)).collect();
    let list = truth.file("proc/keys")?;
    let mut guest = BTreeSet::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [serial, rest @ ..] = words.as_slice() else { continue };
        guest.insert(*serial);
        if let Some(row) = ours.get(serial) {
            one(machine, &ours, row, serial, rest, report);
        }
    }
    // Process 1 may see them all: it is the user who owns them, and has every right.
    report.sets(&ours.keys().copied().collect(), &guest, |only, _| {
        (only == Only::Guest).then(|| filtered(machine, &answer)).flatten()
    });
    Ok(())
}

fn one(machine: &Asker, ours: &BTreeMap<&str, &Value>, row: &Value, serial: &str, words: &[&str], report: &mut Report) {
    let [flags, usage, expiry, permissions, uid, gid, kind, rest @ ..] = words else {
        report.wrong(format!("not a line of keys: {serial} {words:?}"));
        return;
    };
    report.cell(machine, serial, row, "flags", &json!(flags));
    report.cell(machine, serial, row, "usage", &json!(usage.parse::<u64>().ok()));
    report.cell(machine, serial, row, "permissions", &json!(permissions));
    if *expiry == "perm" {
        report.same(&format!("{serial}: expiry"), &row["expiry"], &Value::Null);
    } else {
        report.same(&format!("{serial}: has an end"), &row["expiry"].is_string(), &true);
    }
    for (column, id) in [("uid", uid), ("gid", gid)] {
        if *id == NOBODY && row[column].is_null() {
            report.excuse("an id of nobody, which /proc/keys shows as 65534");
        } else {
            report.cell(machine, serial, row, column, &json!(id.parse::<u64>().ok()));
        }
    }
    let own: String = text(&row["kind"]).chars().take(KIND).collect();
    if own != *kind {
        report.cell(machine, serial, row, "kind", &json!(kind));
    }
    let rest = rest.join(" ");
    let Some(tail) = row["description"].as_str().and_then(|own| rest.strip_prefix(own)) else {
        report.cell(machine, serial, row, "description", &json!(rest));
        return;
    };
    match text(&row["kind"]) {
        "keyring" => {
            let count = if tail == ": empty" { Some(0) } else { tail.trim_start_matches(": ").parse().ok() };
            report.cell(machine, serial, row, "keys", &json!(count));
            let held = ours.values().filter(|key| text(&key["keyrings"]).split(',').any(|ring| ring == serial));
            let held = held.count() as u64;
            if absent(machine, row, "keys").is_none() && held != number(&row["keys"]) {
                if machine.filtered {
                    report.excuse("a keyring whose keys are not all in the filtered dump");
                } else {
                    report.wrong(format!("{serial}: keys name it {held} times: {row}"));
                }
            }
        }
        "user" | "logon" => {
            report.cell(
                machine,
                serial,
                row,
                "payload_bytes",
                &json!(tail.trim_start_matches(": ").parse::<u64>().ok()),
            );
        }
        _ => report.untold("the size of a key of this kind"),
    }
}
