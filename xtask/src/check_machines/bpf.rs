//! Programs and maps of BPF, as the fdinfo of their descriptors has them. The lab's are named in its source.

use super::asker::Asker;
use super::report::{Only, Report, filtered};
use super::truth::Truth;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Kinds by their numbers (`enum bpf_prog_type` and `enum bpf_map_type`), as far as the lab uses them.
const KINDS: [(&str, &str, &str); 2] = [("prog_type", "1", "socket_filter"), ("map_type", "2", "array")];

/// `bpf_programs`.
pub fn programs(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    kept(machine, truth, report, "bpf_programs", "prog_id", |machine, what, row, facts, report| {
        report.cell(machine, what, row, "tag", &json!(facts.get("prog_tag")));
        report.cell(machine, what, row, "name", &json!("lab_prog"));
        report.cell(machine, what, row, "uid", &json!(0));
        let runs = facts.get("run_cnt").and_then(|count| count.parse::<u64>().ok());
        report.cell(machine, what, row, "runs", &json!(runs));
        // Two instructions of eight bytes.
        report.cell(machine, what, row, "xlated_bytes", &json!(16));
        if let Some(bytes) = row["jited_bytes"].as_u64() {
            let told = facts.get("prog_jited").is_some_and(|jited| jited == "1");
            report.same(&format!("{what}: has machine code"), &(bytes > 0), &told);
        }
    })
}

/// `bpf_maps`.
pub fn maps(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    kept(machine, truth, report, "bpf_maps", "map_id", |machine, what, row, facts, report| {
        for column in ["key_size", "value_size", "max_entries"] {
            let told = facts.get(column).and_then(|count| count.parse::<u64>().ok());
            report.cell(machine, what, row, column, &json!(told));
        }
        report.cell(machine, what, row, "frozen", &json!(facts.get("frozen").is_some_and(|frozen| frozen == "1")));
        report.cell(machine, what, row, "name", &json!("lab_map"));
    })
}

/// Compares one row with one fdinfo.
type Compare = fn(&Asker, &str, &Value, &HashMap<String, String>, &mut Report);

fn kept(
    machine: &Asker,
    truth: &Truth,
    report: &mut Report,
    table: &str,
    id: &str,
    compare: Compare,
) -> anyhow::Result<()> {
    let answer = machine.table(table)?;
    report.remarks(machine, &answer);
    let ours: BTreeMap<String, &Value> = answer.rows.iter().map(|row| (row["id"].to_string(), row)).collect();
    report.same("rows with a number of their own", &ours.len(), &answer.rows.len());
    let mut guest = BTreeSet::new();
    for (pid, fd, facts) in truth.fdinfo(id) {
        let Some(number) = facts.get(id) else { continue };
        guest.insert(number.clone());
        let Some(row) = ours.get(number) else { continue };
        let what = format!("{number} (descriptor {fd} of {pid})");
        for (key, number, kind) in KINDS {
            if facts.get(key).is_some_and(|told| told == number) {
                report.cell(machine, &what, row, "kind", &json!(kind));
            }
        }
        compare(machine, &what, row, &facts, report);
    }
    report.sets(&ours.into_keys().collect(), &guest, |only, _| {
        (only == Only::Guest).then(|| filtered(machine, &answer)).flatten()
    });
    Ok(())
}
