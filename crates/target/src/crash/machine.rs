//! A whole machine that is no Windows: what the container says of it, and a Linux kernel of itself.
//!
//! *Trap*: that a machine's dump has no exception does not mean that it had not crashed; a panic is told by the kernel's
//! own memory.

use super::{Diagnosis, Evidence, Statement};
use crate::target::Target;
use afterimage_dump::{Absence, Machine, Os};

/// How the kernel begins its last words.
const PANIC: &str = "Kernel panic - not syncing:";

pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What is known of a machine without a stop.
pub(super) fn explain(target: &Target, machine: &Machine) -> Diagnosis {
    let dump = target.dump();
    // What the kernel's own memory says counts more than the container.
    let release = target.linux().ok().and_then(|linux| linux.release());
    let system = match (release, dump.os) {
        (Some(release), _) => format!("Linux {release}"),
        (None, Os::Unknown) => "an unknown system".to_owned(),
        (None, Os::Linux) => format!("Linux {}", dump.os_version.as_deref().unwrap_or("of an unknown release")),
        (None, os) => format!("{} {}", os.name(), dump.os_version.as_deref().unwrap_or_default()).trim_end().to_owned(),
    };
    let host = target.linux().ok().and_then(|linux| linux.host());
    let host = host.or_else(|| machine.name.as_ref().map(|name| name.node.clone())).filter(|node| !node.is_empty());
    let (machine_of, which) = match &host {
        Some(host) => (format!("the machine {host}, which ran"), format!("The machine {host} with")),
        None => ("a machine that ran".to_owned(), "A machine with".to_owned()),
    };
    let linux = target.linux().ok();
    let log = linux.and_then(|linux| linux.log().ok()).unwrap_or_default();
    let told = dump.process.facts.iter().find(|(name, _)| name == "panic").map(|(_, text)| text.clone());
    let logged = log.iter().rposition(|line| line.text.starts_with(PANIC));
    let panic = told.or_else(|| Some(log.get(logged?)?.text.trim_start_matches(PANIC).trim().to_owned()));
    let story = linux.map(|linux| super::linux::explain(linux, &log, panic.as_deref()));
    let clause = story.as_ref().and_then(|story| story.clause.as_ref());
    let clause = clause.map_or_else(String::new, |clause| format!("; {clause}"));
    let headline = match &panic {
        Some(text) => format!("{which} {system} panicked: {text}{clause}."),
        None => format!("This is the memory of {machine_of} {system}."),
    };
    let mut diagnosis = Diagnosis { kind: if panic.is_some() { "panic" } else { "none" }, ..Diagnosis::default() };
    if let Some(story) = story {
        diagnosis.kind = story.kind;
        diagnosis.statements = story.statements;
        diagnosis.advice = story.advice;
        diagnosis.instruction = story.instruction;
        diagnosis.fault_address = story.fault_address;
    }
    let Diagnosis { statements, advice, .. } = &mut diagnosis;
    let mut say = |text: String, kind, fact: String| {
        statements.push(Statement { text, evidence: vec![Evidence { kind, text: fact, address: None }] });
    };
    if let Some(level) = machine.dump_level.filter(|level| *level > 1) {
        let text = "Whoever took the dump left out kinds of pages; what is missing is known to have been memory.";
        say(text.to_owned(), "header", format!("dump level {level}"));
    }
    let sizes = machine.sizes();
    let lost: u64 = sizes.absent.iter().filter(|(why, _)| *why == Absence::Truncated).map(|(_, bytes)| bytes).sum();
    if lost > 0 {
        say(
            format!("Of its memory {} MiB are lost with the end of the file.", lost.div_ceil(1 << 20)),
            "region",
            "cut off".to_owned(),
        );
    }
    if let Some(others) = linux.map(|linux| &linux.others).filter(|others| !others.is_empty()) {
        let text = format!("It is not the only kernel in this memory: there is {}.", others.join(", and "));
        say(text, "memory", "`kernel` says why this one was taken".to_owned());
    }
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
    diagnosis.headline = headline;
    diagnosis.message = panic;
    diagnosis
}
