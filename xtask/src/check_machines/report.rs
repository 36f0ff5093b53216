//! What came of one topic on one dump: counts, what was excused by which rule, and what is wrong.

use super::asker::{Answer, Asker};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Lines of what is wrong that are shown.
const SHOWN: usize = 12;

/// Where a row stands that the other side lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// The guest listed it, and we do not.
    Guest,
    /// We list it, and the guest did not.
    Ours,
}

/// The outcome of a topic.
#[derive(Default)]
pub struct Report {
    guest: usize,
    ours: usize,
    found: usize,
    excused: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Report {
    /// The guest listed so many, and we so many.
    pub fn count(&mut self, guest: usize, ours: usize) {
        self.guest += guest;
        self.ours += ours;
    }

    /// One more of what the guest listed is there, and the same.
    pub fn found(&mut self) {
        self.found += 1;
    }

    /// A difference with a reason.
    pub fn excuse(&mut self, rule: impl Into<String>) {
        *self.excused.entry(rule.into()).or_default() += 1;
    }

    /// Something that we show and that this guest wrote no list of.
    pub fn untold(&mut self, what: &str) {
        self.excuse(format!("not told by the guest: {what}"));
    }

    /// A difference without one.
    pub fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// How many differences have no reason.
    pub fn failures(&self) -> usize {
        self.wrong.len()
    }

    /// Whether all holds.
    pub fn holds(&self) -> bool {
        self.wrong.is_empty()
    }

    /// A fact that must be so.
    pub fn same<T: PartialEq + Debug>(&mut self, what: &str, ours: &T, guest: &T) -> bool {
        let same = ours == guest;
        if !same {
            self.wrong(format!("{what}: {ours:?}, and the guest has {guest:?}"));
        }
        same
    }

    /// One cell. In a filtered dump it may lack, with its reason; that is counted.
    pub fn cell(&mut self, machine: &Asker, what: &str, row: &Value, column: &str, guest: &Value) -> bool {
        if let Some(rule) = absent(machine, row, column) {
            self.excuse(rule);
            return true;
        }
        self.same(&format!("{what}: {column}"), &row[column], guest)
    }

    /// The same things, each way. What stands on one side only needs a rule that excuses it.
    pub fn sets<T: Ord + Debug>(
        &mut self,
        ours: &BTreeSet<T>,
        guest: &BTreeSet<T>,
        excuse: impl Fn(Only, &T) -> Option<&'static str>,
    ) {
        self.count(guest.len(), ours.len());
        self.found += guest.intersection(ours).count();
        let missing = guest.difference(ours).map(|one| (Only::Guest, one));
        let invented = ours.difference(guest).map(|one| (Only::Ours, one));
        for (only, one) in missing.chain(invented) {
            match (excuse(only, one), only) {
                (Some(rule), _) => self.excuse(rule),
                (None, Only::Guest) => self.wrong(format!("missing: {one:?}")),
                (None, Only::Ours) => self.wrong(format!("not in the guest: {one:?}")),
            }
        }
    }

    /// What the program remarked beside the rows: nothing of a whole dump, and something of a filtered one that lacks rows.
    pub fn remarks(&mut self, machine: &Asker, answer: &Answer) {
        for note in &answer.notes {
            if machine.filtered {
                self.excuse("a remark of the program on the filtered dump");
            } else {
                self.wrong(format!("a whole dump, and the program says: {note}"));
            }
        }
    }

    /// Prints it: one aligned line, then the rules and what is wrong.
    pub fn print(&self, topic: &str) {
        let excused: usize = self.excused.values().sum();
        let end = if self.holds() { String::new() } else { format!("  {} WRONG", self.wrong.len()) };
        println!("  {topic:20} {:>7} {:>7} {:>7} {excused:>8}{end}", self.guest, self.ours, self.found);
        for (rule, count) in &self.excused {
            println!("  {:20} {count:>5} × {rule}", "");
        }
        for wrong in self.wrong.iter().take(SHOWN) {
            println!("    WRONG {wrong}");
        }
        if self.wrong.len() > SHOWN {
            println!("    … and {} more", self.wrong.len() - SHOWN);
        }
    }
}

/// The heads of the columns that `print` prints.
pub fn head() {
    println!("  {:20} {:>7} {:>7} {:>7} {:>8}", "topic", "guest", "ours", "found", "excused");
}

/// Why a cell of a filtered dump has no value; `None` if it has one, or the dump is whole, or no reason is given.
pub fn absent(machine: &Asker, row: &Value, column: &str) -> Option<String> {
    let why = row["absent"][column].as_str()?;
    (machine.filtered && row[column].is_null()).then(|| format!("no {column}: {why}"))
}

/// The rule for a row that a filtered dump lacks, if the program said that some may be missing. That the ring of tasks
/// breaks is no such word: processes are found by their numbers, too.
pub fn filtered(machine: &Asker, answer: &Answer) -> Option<&'static str> {
    let said = answer.notes.iter().any(|note| !note.contains("ring of tasks breaks"));
    (machine.filtered && said).then_some(FILTERED)
}

const FILTERED: &str = "not in the filtered dump, and the program says so";

/// Rows of these processes are missing: the program must have named as many processes, or more. Of several alike it names
/// one and counts the others: `process 1: … ; 34 more like it`.
pub fn lacking(report: &mut Report, machine: &Asker, answer: &Answer, processes: &BTreeSet<u64>) {
    let of_processes = answer.notes.iter().filter(|note| note.contains("process "));
    let more = |note: &String| {
        let count = note.rsplit_once("; ")?.1.strip_suffix(" more like it")?;
        count.parse::<usize>().ok()
    };
    let named: usize = of_processes.map(|note| 1 + more(note).unwrap_or(0)).sum();
    if machine.filtered && named < processes.len() {
        report.wrong(format!("rows of {} processes are missing, and the program speaks of {named}", processes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::{Only, Report};
    use std::collections::BTreeSet;

    #[test]
    fn what_stands_on_one_side_needs_a_rule() {
        let (ours, guest) = (BTreeSet::from([1, 2, 4]), BTreeSet::from([1, 2, 3]));
        let mut strict = Report::default();
        strict.sets(&ours, &guest, |_, _| None);
        assert_eq!((strict.found, strict.failures()), (2, 2));
        let mut mild = Report::default();
        mild.sets(&ours, &guest, |only, _| (only == Only::Ours).then_some("came later"));
        assert_eq!((mild.failures(), mild.excused.len()), (1, 1));
    }

    #[test]
    fn facts_differ_or_not() {
        let mut report = Report::default();
        assert!(report.same("a", &1, &1) && report.holds());
        assert!(!report.same("a", &1, &2) && !report.holds());
    }
}
