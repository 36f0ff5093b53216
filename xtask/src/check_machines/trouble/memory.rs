//! Memory that ran out: who was killed, and who had how much, as the console's list of tasks has it.

use crate::check_machines::asker::Asker;
use crate::check_machines::report::Report;
use crate::check_machines::truth::text;
use anyhow::Context;

/// A page, in mebibytes.
const PAGE: f64 = 4096.0 / 1_048_576.0;

/// The sentences on it.
pub fn memory(machine: &Asker, lines: &[&str], panics: bool, report: &mut Report) -> anyhow::Result<()> {
    let findings = machine.table("findings")?;
    let told: Vec<&str> = findings.rows.iter().map(|row| text(&row["summary"])).collect();
    let (pid, pages, name) = biggest(lines).context("the console has no list of tasks")?;
    report.count(1, told.len());
    if panics {
        let users = told.iter().find_map(|text| text.strip_prefix("The biggest users of memory: "));
        // The machine stopped at the list: the counts are the same, but for what each processor counted for itself.
        let first = users.and_then(|users| users.split(" MiB").next()).unwrap_or_default();
        let shown = first.strip_prefix(&format!("{name} ({pid}) ")).and_then(|number| number.parse::<f64>().ok());
        let wanted = pages as f64 * PAGE;
        match shown {
            Some(own) if (own - wanted).abs() < 1.0 => report.found(),
            _ => report
                .wrong(format!("biggest user: {users:?}, and the console has {name} ({pid}) with {wanted:.1} MiB")),
        }
    } else {
        let killed = format!("Killed process {pid} ({name})");
        match told.iter().any(|text| text.contains(&killed)) {
            true => report.found(),
            false => report.wrong(format!("no sentence says: {killed}")),
        }
    }
    Ok(())
}

/// The task with the most pages in the list that the out-of-memory killer prints; its columns differ between kernels.
fn biggest(lines: &[&str]) -> Option<(u64, u64, String)> {
    let head = lines.iter().position(|line| line.contains("[  pid  ]"))?;
    let columns: Vec<&str> = lines.get(head)?.split(']').nth(1)?.split_whitespace().collect();
    let at = columns.iter().position(|name| *name == "rss")?;
    let one = |line: &&str| {
        let (pid, rest) = line.trim().strip_prefix('[')?.split_once(']')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        Some((pid.trim().parse().ok()?, words.get(at)?.parse().ok()?, (*words.last()?).to_owned()))
    };
    let tasks = lines.iter().skip(head + 1).map_while(one);
    tasks.max_by_key(|(_, pages, _): &(u64, u64, String)| *pages)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_of_tasks_has_its_own_columns() {
        let lines = [
            " [  pid  ]   uid  tgid total_vm      rss rss_anon pgtables_bytes swapents oom_score_adj name",
            " [     41]     0    41      560        8        0    40960        0             0 sh",
            " [     70]     0    70    50560    45008        0    40960        0             0 tail",
            " oom-kill:constraint=CONSTRAINT_NONE",
        ];
        assert_eq!(super::biggest(&lines), Some((70, 45008, "tail".into())));
    }
}
