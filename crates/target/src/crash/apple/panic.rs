//! Kernel panics in words: what was said, who called for it, and which extension's code stands on the stack.
//!
//! *What it is not*: a verdict on hardware; a panic's text names what the kernel noticed, not what broke.
//!
//! *Example*: `btn_rst` is no fault at all: somebody held the buttons that restart an iPhone.
//!
//! *Trap*: the extension on the backtrace is where it was noticed. One that corrupts memory is found in another's code.

use super::super::scene::{fact, statement};
use super::super::{Diagnosis, Statement};
use super::short;
use crate::target::Target;
use afterimage_dump::apple_report::{Kext, Panic, Report};
use afterimage_dump::{CodeAddr, Virt};

/// Words of well-known texts: a part of the text, the verdict, what it means.
const TEXTS: [(&str, &str, &str); 16] = [
    ("btn_rst", "forced_restart", "somebody forced a restart with the buttons; nothing was wrong with the kernel"),
    ("userspace watchdog timeout", "watchdog", "a service of the system did not answer its watchdog for too long"),
    ("no checkins from watchdogd", "watchdog", "watchdogd did not check in: the system hung"),
    ("watchdog timeout", "watchdog", "the kernel's watchdog ran out: a processor or a service hung"),
    ("initproc exited", "init_died", "launchd, the first process, ended"),
    ("initproc failed", "init_died", "launchd, the first process, could not start"),
    ("type 14=page fault", "kernel_fault", "the kernel touched memory that was not mapped"),
    ("type 13=general protection", "kernel_fault", "the kernel used an address that the processor refuses"),
    ("Kernel data abort", "kernel_fault", "the kernel touched memory that it could not"),
    ("Kernel instruction fetch abort", "kernel_fault", "the kernel jumped to where it could not run"),
    ("element modified after free", "use_after_free", "memory of the kernel was written to after it had been freed"),
    ("Double free", "double_free", "memory of the kernel was freed twice"),
    ("zalloc", "out_of_memory", "the kernel could not allocate memory"),
    ("zone_map_exhausted", "out_of_memory", "the kernel's memory for small objects was used up: something leaks"),
    ("Sleep transition timed out", "sleep", "a driver did not get to sleep, or wake, in time"),
    ("busy timeout", "driver_timeout", "a driver did not get ready in time"),
];

/// Explains a panic.
pub(super) fn explain(target: &Target, report: &Report, panic: &Panic) -> Diagnosis {
    let message = short(panic.message.lines().next().unwrap_or(""));
    let known = TEXTS.iter().find(|(part, ..)| panic.message.contains(part));
    let mut diagnosis = Diagnosis {
        kind: known.map_or("kernel_panic", |(_, kind, _)| kind),
        signal: Some("panic (the kernel stopped the machine)".to_owned()),
        message: Some(panic.message.clone()).filter(|text| !text.is_empty()),
        ..Diagnosis::default()
    };
    let said = fact("message", format!("panic: {message}"), panic.caller);
    let meaning = known.map(|(.., words)| *words);
    if let Some(words) = meaning {
        diagnosis.statements.push(statement(format!("\"{message}\" means that {words}."), vec![said.clone()]));
    } else {
        diagnosis
            .statements
            .push(statement(format!("The kernel stopped itself with the words \"{message}\"."), vec![said.clone()]));
    }
    let caller = caller(target, panic, &mut diagnosis.statements);
    let forced = diagnosis.kind == "forced_restart";
    let suspect = kexts(panic, forced, &mut diagnosis.statements);
    if let Some((pid, name)) = &panic.task {
        let thread = panic.tid.map(|tid| format!(", thread {tid}")).unwrap_or_default();
        let text =
            format!("The processor was running {name} (process {pid}{thread}) then; that need not have to do with it.");
        let evidence = fact("message", format!("panicked task: pid {pid}: {name}"), None);
        diagnosis.statements.push(statement(text, vec![evidence]));
    }
    if let Some(kext) = suspect.filter(|kext| !kext.name.starts_with("com.apple.")) {
        diagnosis.advice.push(format!(
            "{} is not Apple's. Look for a newer version of it, or see whether the panic comes without it.",
            kext.name
        ));
    }
    diagnosis.blame_frame = caller.as_ref().and_then(|_| {
        let frames = &target.stack(0).frames;
        frames.iter().position(|frame| Some(frame.address.address().0) == panic.caller)
    });
    let machine = report.hardware.as_ref().map(|model| format!(" of this {model}")).unwrap_or_default();
    let cpu = panic.cpu.map(|cpu| format!(" on processor {cpu}")).unwrap_or_default();
    let place = caller.or_else(|| suspect.map(|kext| kext.name.clone()));
    let place = place.map(|place| format!(", in {place}")).unwrap_or_default();
    let words = meaning.map(|words| format!(" ({words})")).unwrap_or_default();
    diagnosis.headline = format!("The kernel{machine} panicked{cpu}: {message}{words}{place}.");
    diagnosis
}

/// Who called for the panic, by name.
fn caller(target: &Target, panic: &Panic, statements: &mut Vec<Statement>) -> Option<String> {
    let at = panic.caller?;
    let address = CodeAddr::Return(Virt(at));
    let module = target.module_at(address.lookup())?;
    let function = target.locate(address).first().and_then(|place| place.function.clone());
    let place = format!("{}+{:#x}", module.name(), at.wrapping_sub(module.base.0));
    let place = function.map_or(place.clone(), |function| format!("{function} ({place})"));
    let evidence = fact("frame", format!("caller {at:#x} lies in {}", module.name()), Some(at));
    statements.push(statement(format!("The call to panic stands in {place}."), vec![evidence]));
    Some(place)
}

/// The extensions on the backtrace; gives the first one.
fn kexts<'a>(panic: &'a Panic, forced: bool, statements: &mut Vec<Statement>) -> Option<&'a Kext> {
    let on_stack: Vec<&Kext> = panic.kexts.iter().filter(|kext| !kext.dependency).collect();
    // One that is not Apple's is the likelier one.
    let first = on_stack.iter().find(|kext| !kext.name.starts_with("com.apple.")).or(on_stack.first()).copied()?;
    let named: Vec<String> = on_stack
        .iter()
        .take(8)
        .map(|kext| kext.version.as_ref().map_or(kext.name.clone(), |version| format!("{} {version}", kext.name)))
        .collect();
    let evidence = fact("message", "kernel extensions in backtrace".to_owned(), first.range.map(|(start, _)| start));
    let named = named.join(", ");
    let text = if forced {
        format!("Code of {named} stands on the stack.")
    } else {
        let name = &first.name;
        format!(
            "Code of {named} stands on the stack: the panic was noticed there, which makes {name} the first to suspect."
        )
    };
    statements.push(statement(text, vec![evidence]));
    Some(first)
}
