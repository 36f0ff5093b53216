//! A whole machine whose kernel is not understood here: what the container says of it, and no more.
//!
//! *Trap*: that a machine's dump has no exception does not mean that it had not crashed; a panic is told by the kernel's
//! own memory.

use super::{Diagnosis, Evidence, Statement};
use crate::target::Target;
use afterimage_dump::{Absence, Machine, Os};

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
    let panic = dump.process.facts.iter().find(|(name, _)| name == "panic").map(|(_, text)| text.clone());
    let headline = match &panic {
        Some(_) => format!("The machine{host} with {system} panicked."),
        None => format!("This is the memory of the machine{host}, which ran {system}."),
    };
    let mut statements = Vec::new();
    let mut say = |text: String, kind, fact: String| {
        statements.push(Statement { text, evidence: vec![Evidence { kind, text: fact, address: None }] });
    };
    if let Some(text) = &panic {
        say(format!("Its last words: {text}"), "message", text.clone());
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
    if dump.os == Os::Linux {
        advice.push("`show DUMP cpus` lists the processors, `show DUMP physical_regions` the memory".to_owned());
        advice.push(
            "`convert DUMP -o vmcore --format elf` makes a file of it that crash, drgn and makedumpfile read"
                .to_owned(),
        );
    }
    let kind = if panic.is_some() { "panic" } else { "none" };
    Diagnosis { kind, headline, statements, advice, message: panic, ..Diagnosis::default() }
}
