//! What happened, by a report of Apple's systems: its exception, the reason that the system gives, the program's words.
//!
//! *What it is not*: an analysis of memory; a report has none. What it says is told as its saying.
//!
//! *Example*: EXC_CRASH with FRONTBOARD 0x8badf00d is no crash of the program's own: the watchdog ended it.
//!
//! *Trap*: `EXC_CORPSE_NOTIFY` and `KERN_INVALID_ADDRESS at 0x0` are seen in nearly every report; neither is a cause. A
//! general-protection fault of Intel has address 0 though no null pointer was there.

mod panic;
mod reasons;

use super::fault::NULL_AREA;
use super::scene::{Scene, fact, statement};
use super::{Diagnosis, Evidence, finish, names, who};
use crate::modules::apple::is_system;
use crate::stack::Frame;
use crate::target::Target;
use afterimage_dump::apple_report::{Jetsam, Report, ReportKind};
use afterimage_dump::{ExceptionKind, Virt};

/// Lines of a text that go into one sentence.
const MAX_TEXT: usize = 600;

/// Explains a report.
pub(crate) fn explain(target: &Target, report: &Report) -> Diagnosis {
    if let Some(panic) = &report.panic {
        return panic::explain(target, report, panic);
    }
    if let Some(jetsam) = &report.jetsam {
        return lack_of_memory(jetsam);
    }
    match (&target.dump().exception, report.kind) {
        (None, ReportKind::Sample) => {
            let headline = format!(
                "{} ran when this report was made: it holds, of each thread, the stack that was seen most often.",
                who(target)
            );
            Diagnosis { kind: "none", headline, ..Diagnosis::default() }
        }
        (None, _) => super::healthy(target),
        (Some(exception), _) => crash(target, report, &exception.kind),
    }
}

/// A text for a sentence: one line, not too long.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_TEXT {
        return line;
    }
    line.chars().take(MAX_TEXT).chain(['…']).collect()
}

/// How the report puts the exception.
fn evidence(report: &Report, name: &str, address: Option<u64>) -> Evidence {
    let mut text = name.to_owned();
    if let Some(signal) = report.signal.as_ref().filter(|signal| *signal != name) {
        text.push_str(&format!(" ({signal})"));
    }
    for more in [&report.subtype, &report.message].into_iter().flatten() {
        text.push_str(&format!(", {more}"));
    }
    fact("signal", text, address)
}

fn crash(target: &Target, report: &Report, kind: &ExceptionKind) -> Diagnosis {
    let dump = target.dump();
    let (name, meaning) = match kind {
        ExceptionKind::Mach { exception, .. } => match names::mach(*exception) {
            Some((name, meaning)) => (name.to_owned(), meaning),
            None => (format!("Mach exception {exception}"), "an exception"),
        },
        ExceptionKind::Signal { signo, .. } => names::signal(dump.os, dump.arch, *signo),
        _ => ("an unknown event".to_owned(), "exception"),
    };
    let address = dump.exception.as_ref().and_then(|exception| exception.address).map(|at| at.0);
    let mut diagnosis =
        Diagnosis { kind: "exception", signal: Some(format!("{name} ({meaning})")), ..Diagnosis::default() };
    let said = evidence(report, &name, address);
    let scene = Scene::new(target);
    let clause = match kind {
        ExceptionKind::Mach { exception: 1, code, .. } => access(&mut diagnosis, target, report, *code, address, said),
        ExceptionKind::Signal { signo: 10 | 11, .. } => access(&mut diagnosis, target, report, 0, address, said),
        ExceptionKind::Mach { exception: 6 | 2, .. } | ExceptionKind::Signal { signo: 4 | 5, .. } => {
            reasons::trap(&mut diagnosis, scene.as_ref(), &name, said)
        }
        ExceptionKind::Mach { exception: 3, .. } | ExceptionKind::Signal { signo: 8, .. } => {
            diagnosis.kind = "divide_by_zero";
            diagnosis.statements.push(statement(format!("The report says: {}.", said.text), vec![said]));
            "arithmetic failed".to_owned()
        }
        ExceptionKind::Mach { exception: 11, .. } => reasons::resource(&mut diagnosis, report, said),
        ExceptionKind::Mach { exception: 12, .. } => reasons::guard(&mut diagnosis, report, said),
        _ => reasons::ended(&mut diagnosis, report, scene.as_ref(), said),
    };
    reasons::add(&mut diagnosis, target, report);
    let Some(scene) = scene else {
        diagnosis.headline =
            format!("{} died of {name} ({meaning}): {clause}; the report does not tell in which thread.", who(target));
        return diagnosis;
    };
    diagnosis.blame_frame = blame(&scene);
    finish(&scene, diagnosis, &name, meaning, &clause)
}

/// Whether a frame is in the system's code, or in no image.
fn in_system(target: &Target, frame: &Frame) -> bool {
    target.module_at(frame.address.lookup()).is_none_or(|module| is_system(&module.path))
}

/// The first frame of the program's own images; else the innermost one.
fn blame(scene: &Scene) -> Option<usize> {
    let frames = &scene.stack.frames;
    // An image that the report names but does not list may be the program's.
    let own = frames.iter().position(|frame| {
        let listed = scene.target.module_at(frame.address.lookup()).is_some();
        listed && !in_system(scene.target, frame)
    });
    own.or_else(|| (!frames.is_empty()).then_some(0))
}

/// Whether the access was a write, a fetch or a read, by the exception's own registers.
///
/// Folklore: Intel's page-fault error code has bit 1 for a write and bit 4 for a fetch; Arm's syndrome (`esr`) has classes
/// 0x20 and 0x21 for a fetch, 0x24 and 0x25 for data, of which bit 6 tells a write.
fn kind_of_access(report: &Report, thread: Option<usize>) -> Option<&'static str> {
    let state = &report.threads.get(thread?)?.state;
    let value = |name: &str| state.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
    if let Some(esr) = value("esr") {
        return match esr >> 26 & 0x3f {
            0x20 | 0x21 => Some("run"),
            0x24 | 0x25 => Some(if esr >> 6 & 1 == 1 { "wrote" } else { "read" }),
            _ => None,
        };
    }
    // Without the trap's number the code may be another trap's.
    match (value("trap"), value("err")?) {
        (Some(14) | None, err) if err >> 4 & 1 == 1 => Some("run"),
        (Some(14) | None, err) => Some(if err >> 1 & 1 == 1 { "wrote" } else { "read" }),
        _ => None,
    }
}

/// An access that failed.
fn access(
    diagnosis: &mut Diagnosis,
    target: &Target,
    report: &Report,
    code: u64,
    address: Option<u64>,
    said: Evidence,
) -> String {
    let crashed = target.crashed_thread();
    let pc = crashed.and_then(|index| target.dump().threads.get(index)).and_then(|thread| thread.registers.pc());
    let how = kind_of_access(report, crashed);
    let jump = how == Some("run") || address.is_some() && pc.map(|at| at.0) == address;
    diagnosis.fault_address = address;
    let Some(at) = address.filter(|_| code != 13) else {
        diagnosis.kind = "wild_read";
        let why = if code == 13 {
            "a protection fault, for which the processor names no address"
        } else {
            "no address is named"
        };
        diagnosis.statements.push(statement(format!("The report says: {} ({why}).", said.text), vec![said]));
        return "it touched memory at an address that the report does not tell".to_owned();
    };
    let null = at < NULL_AREA;
    diagnosis.kind = match (null, jump, how) {
        (true, true, _) => "null_call",
        (false, true, _) => "wild_jump",
        (true, false, Some("wrote")) => "null_write",
        (true, false, _) => "null_read",
        (false, false, Some("wrote")) => "wild_write",
        (false, false, _) => "wild_read",
    };
    let place = match at {
        0 => "address 0, a null pointer".to_owned(),
        _ if null => format!("{at:#x}, a null pointer plus {at}"),
        _ => format!("{at:#x}"),
    };
    let did = match (jump, how) {
        (true, _) => "jumped to",
        (_, Some("wrote")) => "wrote at",
        (_, Some("read")) => "read at",
        _ => "touched memory at",
    };
    let mut why = match code {
        1 => "where nothing is mapped".to_owned(),
        2 => "where memory is mapped, but not for that".to_owned(),
        9 | 10 => "whose content could not be had (its file or device failed)".to_owned(),
        50 => "in a page whose code signature does not hold".to_owned(),
        0x101 => "which is not aligned as the instruction wants it".to_owned(),
        _ => "which the system refused".to_owned(),
    };
    if let Some(module) = target.module_at(Virt(at)) {
        why.push_str(&format!(", inside {}", module.name()));
    }
    let mut facts = vec![said];
    facts.extend(report.region.as_ref().map(|region| fact("region", short(region), Some(at))));
    facts.extend(pc.map(|pc| fact("register", format!("pc = {:#x}", pc.0), Some(pc.0))));
    if how.is_none() && !jump {
        diagnosis.advice.push("The report does not tell whether it read or wrote.".to_owned());
    }
    diagnosis.statements.push(statement(format!("The program {did} {place}, {why}."), facts));
    format!("it {did} {place}")
}

/// Processes that were ended for want of memory.
fn lack_of_memory(jetsam: &Jetsam) -> Diagnosis {
    let page = jetsam.page_size.unwrap_or(16384);
    let size = |pages: u64| format!("{} MiB", pages.saturating_mul(page) >> 20);
    let mut diagnosis =
        Diagnosis { kind: "out_of_memory", signal: Some("jetsam (memory ran out)".to_owned()), ..Diagnosis::default() };
    let mut ended = Vec::new();
    for process in jetsam.processes.iter().filter(|process| process.reason.is_some()).take(32) {
        let reason = process.reason.as_deref().unwrap_or("");
        let held = process.pages.map(|pages| format!(", which held {}", size(pages))).unwrap_or_default();
        let text = format!(
            "The system ended {} (process {}){held}: {}.",
            process.name,
            process.pid.unwrap_or(0),
            reasons::jetsam(reason)
        );
        diagnosis.statements.push(statement(text, vec![fact("message", format!("reason: {reason}"), None)]));
        ended.push(process.name.clone());
    }
    let largest = jetsam.largest.as_ref().map(|name| {
        let pages = jetsam.processes.iter().find(|process| process.name == *name).and_then(|process| process.pages);
        pages.map_or(name.clone(), |pages| format!("{name} ({})", size(pages)))
    });
    if let Some(largest) = &largest {
        let evidence = fact("message", format!("largestProcess: {largest}"), None);
        diagnosis.statements.push(statement(format!("{largest} held most memory."), vec![evidence]));
    }
    let whom = if ended.is_empty() { "processes".to_owned() } else { ended.join(", ") };
    diagnosis.headline = format!("Memory ran out, and the system ended {whom}.");
    diagnosis
}
