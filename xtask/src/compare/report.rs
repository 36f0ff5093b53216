//! The table of what was compared, as text and as JSON lines.
//!
//! It judges nothing. For example: `null_call/kernel  1  6  gdb  1  0  0`.
//!
//! Trap: `worse` counts threads, with or without a reason; only those without one make the command fail.

use super::frame::Stack;
use super::judge::Verdict;
use super::known::{self, KNOWN};
use serde_json::json;

/// One dump beside one peer.
#[derive(Debug, Default)]
pub struct Row {
    dump: String,
    peer: &'static str,
    threads: usize,
    frames: usize,
    agreed: usize,
    better: Vec<(u32, &'static str)>,
    worse: Vec<(u32, String)>,
    error: Option<String>,
}

impl Row {
    /// An empty row.
    pub fn new(dump: &str, peer: &'static str, ours: &[Stack]) -> Self {
        let frames = ours.iter().map(|stack| stack.frames.len()).sum();
        Self { dump: dump.to_owned(), peer, threads: ours.len(), frames, ..Self::default() }
    }

    /// A dump that could not be compared.
    pub fn failed(dump: &str, error: String) -> Self {
        Self { dump: dump.to_owned(), peer: "-", error: Some(error), ..Self::default() }
    }

    /// A dump that no peer reads.
    pub fn alone(dump: &str, ours: &[Stack]) -> Self {
        Self::new(dump, "none", ours)
    }

    /// Adds one thread.
    pub fn add(&mut self, tid: u32, verdict: Verdict) {
        match verdict {
            Verdict::Agreed => self.agreed += 1,
            Verdict::Better(why) => self.better.push((tid, why)),
            Verdict::Worse(what) => self.worse.push((tid, what)),
        }
    }

    fn reason(&self) -> Option<&'static str> {
        known::reason(&self.dump, self.peer).filter(|_| !self.worse.is_empty())
    }

    /// Whether it must not be.
    pub fn fails(&self) -> bool {
        self.error.is_some() || (!self.worse.is_empty() && self.reason().is_none())
    }

    /// What stands in the last column.
    fn words(&self) -> String {
        if let Some(error) = &self.error {
            return format!("FAILED: {error}");
        }
        if self.peer == "none" {
            return "no peer shows a stack of it".to_owned();
        }
        let mut words: Vec<&str> = Vec::new();
        match self.reason() {
            Some(reason) => words.push(reason),
            None if !self.worse.is_empty() => words.push("WORSE, see below"),
            None => {}
        }
        for (_, why) in &self.better {
            if !words.contains(why) {
                words.push(why);
            }
        }
        words.join("; ")
    }

    fn json(&self) -> serde_json::Value {
        let better: Vec<_> = self.better.iter().map(|(tid, why)| json!({ "tid": tid, "why": why })).collect();
        let worse: Vec<_> = self.worse.iter().map(|(tid, what)| json!({ "tid": tid, "what": what })).collect();
        json!({
            "dump": self.dump, "peer": self.peer, "threads": self.threads, "frames": self.frames,
            "agreed": self.agreed, "better": better, "worse": worse, "reason": self.reason(), "error": self.error,
        })
    }
}

/// Prints all rows and their sums; `all` says that no dump was left out.
pub fn print(rows: &[Row], json: bool, all: bool) {
    if json {
        for row in rows {
            println!("{}", row.json());
        }
    } else {
        table(rows);
    }
    if all {
        for (dump, peer, _) in KNOWN {
            let used = rows.iter().any(|row| {
                row.reason().is_some()
                    && row.peer == *peer
                    && (row.dump == *dump || row.dump.starts_with(&format!("{dump}/")))
            });
            if !used {
                eprintln!("compare-stacks: the known difference of {dump} from {peer} is no longer there");
            }
        }
    }
}

fn table(rows: &[Row]) {
    let width = rows.iter().map(|row| row.dump.len()).max().unwrap_or(4).max(5);
    println!(
        "{:width$}  {:>7}  {:>6}  {:>6}  {:>6}  {:>5}  {:9}  reason",
        "dump", "threads", "frames", "agreed", "better", "worse", "peer"
    );
    for row in rows {
        println!(
            "{:width$}  {:>7}  {:>6}  {:>6}  {:>6}  {:>5}  {:9}  {}",
            row.dump,
            row.threads,
            row.frames,
            row.agreed,
            row.better.len(),
            row.worse.len(),
            row.peer,
            row.words()
        );
    }
    for row in rows.iter().filter(|row| row.fails()) {
        for (tid, what) in &row.worse {
            println!("worse: {} thread {tid}, {}: {what}", row.dump, row.peer);
        }
    }
    for peer in ["gdb", "eu-stack", "stackwalk"] {
        total(peer, &rows.iter().filter(|row| row.peer == peer).collect::<Vec<_>>());
    }
    total("all", &rows.iter().filter(|row| row.peer != "none").collect::<Vec<_>>());
    println!("{} dumps without a peer", rows.iter().filter(|row| row.peer == "none").count());
}

fn total(name: &str, rows: &[&Row]) {
    let sum = |of: fn(&Row) -> usize| rows.iter().map(|row| of(row)).sum::<usize>();
    let without = rows.iter().filter(|row| row.fails()).count();
    println!(
        "total {name}: {} comparisons, {} threads: {} agreed, {} better, {} worse, of them {} in {without} comparisons without a reason",
        rows.len(),
        sum(|row| row.agreed + row.better.len() + row.worse.len()),
        sum(|row| row.agreed),
        sum(|row| row.better.len()),
        sum(|row| row.worse.len()),
        sum(|row| if row.fails() { row.worse.len() } else { 0 }),
    );
}
