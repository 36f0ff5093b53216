//! A whole machine that is no Windows: what the container says of it, and a Linux kernel of itself.
//!
//! *Trap*: that a machine's dump has no exception does not mean that it had not crashed; a panic is told by the kernel's
//! own memory.

use super::{Diagnosis, Evidence, Statement};
use crate::target::Target;
use afterimage_dump::{Absence, Machine, Os};

/// How the kernel begins its last words.
const PANIC: &str = "Kernel panic - not syncing:";

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What is known of a machine without a stop.
pub(super) fn explain(target: &Target, machine: &Machine) -> Diagnosis {
    let dump = target.dump();
    let system = match dump.os {
        Os::Unknown => "an unknown system".to_owned(),
        Os::Linux => format!("Linux {}", dump.os_version.as_deref().unwrap_or("of an unknown release")),
        os => format!("{} {}", os.name(), dump.os_version.as_deref().unwrap_or_default()).trim_end().to_owned(),
    };
    let host = machine.name.as_ref().map(|name| name.node.as_str()).filter(|node| !node.is_empty());
    let host = host.map_or_else(String::new, |host| format!(" {host}"));
    let linux = target.linux().ok();
    let log = linux.and_then(|linux| linux.log().ok()).unwrap_or_default();
    let told = dump.process.facts.iter().find(|(name, _)| name == "panic").map(|(_, text)| text.clone());
    let logged = log.iter().rposition(|line| line.text.starts_with(PANIC));
    let panic = told.or_else(|| Some(log.get(logged?)?.text.trim_start_matches(PANIC).trim().to_owned()));
    let headline = match &panic {
        Some(text) => format!("The machine{host} with {system} panicked: {text}."),
        None => format!("This is the memory of the machine{host}, which ran {system}."),
    };
    let mut statements = Vec::new();
    let mut say = |text: String, kind, fact: String| {
        statements.push(Statement { text, evidence: vec![Evidence { kind, text: fact, address: None }] });
    };
    if let Some(linux) = linux {
        // Who did it: the log's own words, between the last oops or the request and the end.
        if let Some(line) = log.iter().rev().find(|line| line.text.starts_with("CPU: ")) {
            say(format!("It happened here, the log says: {}", line.text), "message", line.text.clone());
        }
        if let Some(line) =
            log.iter().rev().find(|line| line.text.starts_with("RIP: ") || line.text.starts_with("pc : "))
        {
            say(format!("The instruction, by the log: {}", line.text), "message", line.text.clone());
        }
        if let Ok((processes, remarks)) = linux.processes() {
            let kernel = processes.iter().filter(|process| process.kernel_thread == Some(true)).count();
            let text = format!("{} processes, {kernel} of them the kernel's own threads.", processes.len());
            say(text, "memory", "the ring of tasks and the tree of process numbers".to_owned());
            for remark in remarks {
                say(format!("{}.", capitalised(&remark)), "memory", remark.clone());
            }
        }
        if let Some(taint) = linux.taint().filter(|taint| *taint != 0) {
            say(format!("The kernel is tainted ({taint:#x})."), "memory", format!("tainted_mask = {taint:#x}"));
        }
    }
    if let Some(level) = machine.dump_level.filter(|level| *level > 1) {
        let text = "Whoever took the dump left out kinds of pages; what is missing is known to have been memory.";
        say(text.to_owned(), "header", format!("dump level {level}"));
    }
    let sizes = machine.sizes();
    let lost: u64 = sizes.absent.iter().filter(|(why, _)| *why == Absence::Truncated).map(|(_, bytes)| bytes).sum();
    if lost > 0 {
        say(format!("{lost} bytes of its memory are lost with the end of the file."), "region", "cut off".to_owned());
    }
    let mut advice = Vec::new();
    if linux.is_some() {
        advice.push("`show DUMP processes`, `kernel_log`, `kernel_modules`, `cpus` and `kernel` tell more".to_owned());
    } else if let (Os::Linux, Err(why)) = (dump.os, target.linux()) {
        say(format!("Its kernel is not understood: {why}."), "memory", why.to_owned());
    }
    if dump.os == Os::Linux {
        advice.push(
            "`convert DUMP -o vmcore --format elf` makes a file of it that crash, drgn and makedumpfile read"
                .to_owned(),
        );
    }
    let kind = if panic.is_some() { "panic" } else { "none" };
    Diagnosis { kind, headline, statements, advice, message: panic, ..Diagnosis::default() }
}
