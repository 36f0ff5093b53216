//! A Linux machine in sentences: why it panicked, what its kernel's fault was, who waits for whom, where memory went.
//!
//! *What it is not*: a reading of the log alone. Registers, locks and counters come out of memory; the log's words are
//! added where only it knows.

mod fault;
mod memory;
mod panics;
mod survived;
mod waits;

use super::{Evidence, Statement};
use crate::linux::{Linux, LogLine, taint_letters, taint_words};

/// What is known.
pub(super) struct Story {
    /// The verdict's name.
    pub kind: &'static str,
    /// What goes behind "panicked: …" in the headline.
    pub clause: Option<String>,
    pub statements: Vec<Statement>,
    pub advice: Vec<String>,
    pub instruction: Option<String>,
    pub fault_address: Option<u64>,
}

/// A sentence with one fact behind it.
fn say(text: String, kind: &'static str, fact: String, address: Option<u64>) -> Statement {
    Statement { text, evidence: vec![Evidence { kind, text: fact, address }] }
}

/// Tells the story of a machine; `panic` is the reason of a panic, if there was one.
pub(super) fn explain(linux: &Linux, log: &[LogLine], panic: Option<&str>) -> Story {
    let mut story = Story {
        kind: if panic.is_some() { "panic" } else { "none" },
        clause: None,
        statements: Vec::new(),
        advice: Vec::new(),
        instruction: None,
        fault_address: None,
    };
    if let Some(panic) = panic {
        panicked(linux, log, panic, &mut story);
    } else {
        survived::explain(log, &mut story);
    }
    // What the verdict is named for stands first.
    // Each is a question of its own, and what one could not read to its end is told.
    let mut spent = linux.spent();
    let mut next = || {
        spent = spent.take().or_else(|| linux.spent());
        linux.refill();
    };
    next();
    waits::explain(linux, &mut story);
    next();
    memory::explain(linux, log, &mut story);
    next();
    taints(linux, &mut story);
    population(linux, &mut story);
    next();
    if let Some(spent) = spent {
        let text = format!("{}.", super::machine::capitalised(&spent));
        story.statements.push(say(text, "memory", spent, None));
    }
    story
}

/// Why it panicked, and where.
fn panicked(linux: &Linux, log: &[LogLine], panic: &str, story: &mut Story) {
    let oops = linux.oops();
    if let Some(meaning) = panics::meaning(panic) {
        story.kind = meaning.kind;
        story.statements.push(say(meaning.text.to_owned(), "message", panic.to_owned(), None));
        story.advice.extend(meaning.advice.map(str::to_owned));
    }
    match &oops {
        Some(oops) => fault::explain(linux, log, oops, story),
        None => {
            let cpu = linux.panicked_cpu();
            if let Some((pid, comm)) = linux.running_on(cpu) {
                let text = format!("Processor {cpu} called for the panic; it was running {comm} (process {pid}).");
                story.statements.push(say(text, "memory", format!("panic_cpu and current_task of {cpu}"), None));
            } else if let Some(line) = log.iter().rev().find(|line| line.text.starts_with("CPU: ")) {
                let text = format!("It happened here, the log says: {}", line.text);
                story.statements.push(say(text, "message", line.text.clone(), None));
            }
            if let Some(frame) = linux.warned() {
                let text = format!("The warning stands in {frame}.");
                story.statements.push(say(text, "frame", format!("pc = {:#x}", frame.pc), Some(frame.pc)));
                return;
            }
            // A line of rip in the kernel's own code; 0033 is a program's.
            let place = log.iter().rev().find(|line| {
                line.text.starts_with("RIP: ") && !line.text.starts_with("RIP: 0033:") || line.text.starts_with("pc : ")
            });
            if let Some(line) = place {
                let text = format!("The instruction, by the log: {}", line.text);
                story.statements.push(say(text, "message", line.text.clone(), None));
            }
        }
    }
}

/// How many processes there were, and what was odd on the way to them.
fn population(linux: &Linux, story: &mut Story) {
    let Ok((processes, remarks)) = linux.processes() else { return };
    let kernel = processes.iter().filter(|process| process.kernel_thread == Some(true)).count();
    let unknown = processes.iter().filter(|process| process.kernel_thread.is_none()).count();
    let rest = match unknown {
        0 => String::new(),
        count => format!("; of {count} the dump does not say it"),
    };
    let text = match processes.len() {
        0 => "No process was found.".to_owned(),
        all => format!("{all} processes, {kernel} of them the kernel's own threads{rest}."),
    };
    let fact = "the ring of tasks and the tree of process numbers".to_owned();
    story.statements.push(say(text, "memory", fact, None));
    for remark in remarks {
        story.statements.push(say(
            format!("{}.", super::machine::capitalised(&remark)),
            "memory",
            remark.clone(),
            None,
        ));
    }
}

/// What taints the kernel, and which modules do.
fn taints(linux: &Linux, story: &mut Story) {
    let Some(bits) = linux.taint().filter(|bits| *bits != 0) else { return };
    let letters = taint_letters(bits);
    let mut text = format!("The kernel is tainted ({letters}): {}.", taint_words(bits).join(", "));
    let modules = linux.modules().map(|(modules, _)| modules).unwrap_or_default();
    let named: Vec<String> = modules
        .iter()
        .filter(|module| module.taints != 0)
        .map(|module| format!("{} ({})", module.name, taint_letters(module.taints)))
        .collect();
    match named.len() {
        0 => {}
        1 => text.push_str(&format!(" The module that does it: {}.", named.concat())),
        _ => text.push_str(&format!(" The modules that do it: {}.", named.join(", "))),
    }
    story.statements.push(say(text, "memory", format!("tainted_mask = {bits:#x}"), None));
}
