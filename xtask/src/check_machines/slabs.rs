//! Caches of small objects, as /proc/slabinfo has them: names and sizes exactly, counts as far as they stand still.

use super::asker::Asker;
use super::report::{Only, Report, absent, filtered};
use super::truth::{Truth, number, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Of a hundred caches so many must hold exactly what they held; most stand still while a guest lists itself.
const STILL: usize = 60;

/// The topic.
pub fn slabs(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("slab_caches")?;
    report.remarks(machine, &answer);
    let mut ours: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut unnamed = 0;
    for row in &answer.rows {
        if let Some(rule) = absent(machine, row, "name") {
            report.excuse(rule);
            unnamed += 1;
            continue;
        }
        if ours.insert(text(&row["name"]), row).is_some() {
            report.wrong(format!("stands twice: {row}"));
        }
    }
    let list = truth.file("proc/slabinfo")?;
    let page = truth.page()?;
    let mut guest: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for line in list.lines().skip(2) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Active objects, objects, bytes of one, objects of a slab, pages of a slab; behind tunables: active slabs, slabs.
        let numbers = [1, 2, 3, 4, 5, 14].iter().filter_map(|at| words.get(*at)?.parse().ok()).collect();
        guest.insert(words.first().copied().unwrap_or_default(), numbers);
    }
    let (mut counted, mut still) = (0, 0);
    for (name, numbers) in &guest {
        let (Some(row), [active, objects, size, per_slab, pages, slabs]) = (ours.get(name), numbers.as_slice()) else {
            continue;
        };
        report.cell(machine, name, row, "size", &json!(size));
        report.cell(machine, name, row, "per_slab", &json!(per_slab));
        if let Some(own) = row["slabs"].as_u64() {
            report.cell(machine, name, row, "bytes", &json!(own * pages * page));
        }
        let own = ["active", "objects", "slabs"].map(|column| row[column].as_u64());
        if let [Some(own_active), Some(own_objects), _] = own
            && own_active > own_objects
        {
            report.wrong(format!("{name}: {own_active} of {own_objects} objects in use"));
        }
        if number(&row["object_size"]) > *size {
            report.cell(machine, name, row, "object_size", &json!(size));
        }
        if own.iter().all(Option::is_some) {
            counted += 1;
            if own == [*active, *objects, *slabs].map(Some) {
                still += 1;
            } else {
                report.excuse("counts of a cache that went on after the list was written");
            }
        } else if !machine.filtered {
            report.wrong(format!("{name}: no counts: {row}"));
        }
    }
    if !machine.filtered && still * 100 < counted * STILL {
        report.wrong(format!("only {still} of {counted} caches hold what they held a second before"));
    }
    let lacking = guest.keys().filter(|name| !ours.contains_key(*name)).count();
    report.sets(&ours.keys().copied().collect(), &guest.keys().copied().collect(), |only, _| match only {
        Only::Guest if lacking <= unnamed => Some("the cache is there, without its name"),
        Only::Guest => filtered(machine, &answer),
        Only::Ours => None,
    });
    Ok(())
}
