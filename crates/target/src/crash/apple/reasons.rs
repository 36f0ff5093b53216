//! Reasons in words: codes of terminations, traps of languages, limits, guards, and what the program itself said.
//!
//! *What it is not*: a list of all codes; one that is not known is shown as the report has it.
//!
//! *Trap*: a code means something only within its namespace: 1 is a missing library in DYLD and a hang-up in SIGNAL.

use super::super::scene::{Scene, fact, statement};
use super::super::{Diagnosis, Evidence};
use super::{in_system, short};
use crate::target::Target;
use afterimage_dump::CodeAddr;
use afterimage_dump::Virt;
use afterimage_dump::apple_report::{Report, Termination};

/// Codes that the system's watchers end processes with, as Apple's "Understanding the exception types in a crash report"
/// explains them (namespaces SPRINGBOARD, FRONTBOARD, RUNNINGBOARD and others).
fn watcher(code: u64) -> Option<(&'static str, &'static str)> {
    Some(match code & 0xffff_ffff {
        0x8bad_f00d => ("watchdog", "the watchdog ended it: it took too long to start, to end or to answer an event"),
        0xc000_10ff => ("thermal", "the system ended it because the device was too hot"),
        0xdead_10cc => ("resource_held", "it held a file lock or a database while it was being suspended"),
        0xbaad_ca11 => ("killed", "it did not report a call to CallKit after a push message"),
        0xbad2_2222 => ("killed", "it was resumed too often for internet telephony"),
        0xbad5_ea15 => ("killed", "the system ended it for its network use in the background"),
        0xc51b_ad01 => ("watchdog", "its background task on the watch used too much CPU time"),
        0xc51b_ad02 => ("watchdog", "its background task on the watch did not end in time"),
        0xc51b_ad03 => ("watchdog", "its background task on the watch did not end in time, on a busy system"),
        0xdead_fa11 => ("killed", "the user forced it to quit"),
        _ => return None,
    })
}

/// Codes of dyld (`DYLD_EXIT_REASON_*` of `sys/reason.h`).
fn dyld(code: u64) -> &'static str {
    match code {
        1 => "a library that it needs was not found",
        2 => "a library that it needs is for another processor",
        3 => "a library that it needs is too old",
        4 => "a symbol that it needs is in none of its libraries",
        _ => "the dynamic loader could not start it",
    }
}

/// The verdict and the clause of a termination; `None` if it only repeats the signal.
fn termination(reason: &Termination) -> Option<(&'static str, String)> {
    let namespace = reason.namespace.as_deref().unwrap_or("").to_ascii_uppercase();
    let code = reason.code.unwrap_or(0);
    Some(match namespace.as_str() {
        "SIGNAL" | "" => return None,
        "DYLD" => ("loader", dyld(code).to_owned()),
        "CODESIGNING" => ("code_signature", "the system found its code signature invalid".to_owned()),
        "JETSAM" | "MEMORYSTATUS" => ("out_of_memory", "the system ended it for want of memory".to_owned()),
        "TCC" => {
            ("privacy", "it used private data without saying what for (a usage description is missing)".to_owned())
        }
        "LIBXPC" => ("xpc", "libxpc ended it".to_owned()),
        "EXEC" => ("loader", "the system could not start it".to_owned()),
        "OBJC" => ("abort", "the Objective-C runtime ended it".to_owned()),
        "SWIFT" => ("abort", "the Swift runtime ended it".to_owned()),
        other => match watcher(code) {
            Some((kind, words)) => (kind, words.to_owned()),
            None => ("killed", format!("{other} ended it with code {code:#x}")),
        },
    })
}

/// Reasons of lists of processes.
pub(super) fn jetsam(reason: &str) -> String {
    match reason {
        "per-process-limit" => "it held more memory than one process may".to_owned(),
        "vm-pageshortage" => "free memory ran out".to_owned(),
        "vnode-limit" => "too many files were open in the system".to_owned(),
        "highwater" => "it held more memory than its soft limit".to_owned(),
        "fc-thrashing" => "files were read back again and again for want of memory".to_owned(),
        "vm-compressor-space-shortage" | "vm-compressor-thrashing" => {
            "the store of compressed memory was full".to_owned()
        }
        "idle-exit" | "idle" => "it was idle".to_owned(),
        other => other.to_owned(),
    }
}

/// A trap instruction: compilers put one where a check of the language fails.
pub(super) fn trap(diagnosis: &mut Diagnosis, scene: Option<&Scene>, name: &str, said: Evidence) -> String {
    let names: Vec<String> =
        scene.map(|scene| scene.functions(3).into_iter().map(|(_, name)| name).collect()).unwrap_or_default();
    let has = |parts: &[&str]| names.iter().find(|name| parts.iter().any(|part| name.contains(part))).cloned();
    let frame = |function: &str| fact("frame", format!("{function} is on the stack"), None);
    let swift_check =
        ["_assertionFailure", "_fatalErrorMessage", "assertionFailure(", "fatalError(", "_swift_runtime_on_report"];
    if let Some(function) = has(&swift_check) {
        diagnosis.kind = "assertion_failed";
        let text = "A check of Swift's library failed (a precondition, an unwrapped nil, an index out of range, `fatalError`) \
                    and it stopped the program with a trap.";
        diagnosis.statements.push(statement(text, vec![said, frame(&function)]));
        return "a check of Swift's library failed".to_owned();
    }
    if let Some(function) = has(&["_dispatch_assert", "DISPATCH", "BUG IN CLIENT", "_os_unfair_lock"]) {
        diagnosis.kind = "assertion_failed";
        let text = "A check of the system's library failed, and it stopped the program with a trap.";
        diagnosis.statements.push(statement(text, vec![said, frame(&function)]));
        return "a check of the system's library failed".to_owned();
    }
    if name == "EXC_BAD_INSTRUCTION" || name == "SIGILL" {
        diagnosis.kind = "illegal_instruction";
        let text = "The processor met an instruction that it does not know, or one that compilers put where the program must \
                    not get (`ud2`).";
        diagnosis.statements.push(statement(text, vec![said]));
        return "it ran an illegal instruction, or a trap of its compiler".to_owned();
    }
    diagnosis.kind = "breakpoint";
    let text = "The program ran a trap instruction, with no debugger there: Swift's compiler puts one where a check fails \
                (overflow, an unwrapped nil, a cast), C's where the program must not get.";
    diagnosis.statements.push(statement(text, vec![said]));
    "it ran a trap".to_owned()
}

/// A limit was passed.
pub(super) fn resource(diagnosis: &mut Diagnosis, report: &Report, said: Evidence) -> String {
    diagnosis.kind = "resource_limit";
    let subtype = report.subtype.as_deref().unwrap_or("");
    let what = match subtype {
        text if text.starts_with("CPU") => "CPU time",
        text if text.starts_with("WAKEUPS") => "wake-ups",
        text if text.starts_with("MEMORY") => "memory",
        text if text.starts_with("IO") => "bytes written",
        text if text.starts_with("PORTS") => "Mach ports",
        text if text.starts_with("THREADS") => "threads",
        _ => "a resource",
    };
    let text = format!("The program used more of {what} than it may: {}.", short(&said.text));
    diagnosis.statements.push(statement(text, vec![said]));
    format!("it used more of {what} than it may")
}

/// Something guarded was touched.
pub(super) fn guard(diagnosis: &mut Diagnosis, report: &Report, said: Evidence) -> String {
    diagnosis.kind = "guard_violation";
    let words =
        [&report.message, &report.subtype].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
    let what = if words.contains("MACH_PORT") {
        "a Mach port"
    } else if words.contains("FD") {
        "a file descriptor"
    } else if words.contains("VNODE") {
        "a file"
    } else if words.contains("VIRT_MEMORY") {
        "memory"
    } else {
        "a resource"
    };
    let text = format!("The program did with {what} what its owner forbids: {}.", short(&said.text));
    diagnosis.statements.push(statement(text, vec![said]));
    diagnosis.advice.push("Look for a close or a release of something that belongs to a library.".to_owned());
    format!("it misused {what} that is guarded")
}

/// EXC_CRASH and signals: ended by itself, or by the system.
pub(super) fn ended(diagnosis: &mut Diagnosis, report: &Report, scene: Option<&Scene>, said: Evidence) -> String {
    if let Some(objc) = &report.objc {
        diagnosis.kind = "objc_exception";
        let name = objc.name.clone().unwrap_or_else(|| "an exception".to_owned());
        diagnosis.message = Some(objc.reason.as_ref().map_or(name.clone(), |reason| format!("{name}: {reason}")));
        diagnosis.statements.push(statement(format!("Nobody caught an Objective-C exception: {name}."), vec![said]));
        return format!("nobody caught {name}");
    }
    if let Some(reason) = &report.termination
        && let Some((kind, clause)) = termination(reason)
    {
        diagnosis.kind = kind;
        diagnosis.statements.push(statement(format!("The report says: {}.", said.text), vec![said]));
        return clause;
    }
    let words: String = report.application.iter().map(|(_, text)| format!("{text}\n")).collect();
    let names: Vec<String> =
        scene.map(|scene| scene.functions(16).into_iter().map(|(_, name)| name).collect()).unwrap_or_default();
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    let (kind, clause) = if words.contains("stack buffer overflow") || has("__stack_chk_fail") {
        ("stack_smashing", "a function found its stack overwritten")
    } else if words.contains("Assertion failed") || has("__assert_rtn") {
        ("assertion_failed", "an assertion failed")
    } else if words.contains("uncaught exception of type") || has("std::terminate") || has("__cxa_throw") {
        ("cpp_exception", "nobody caught a C++ exception")
    } else if words.contains("pointer being freed") || has("malloc_error_break") || has("malloc_vreport") {
        ("heap_corruption", "the allocator found its heap corrupted, or a pointer that is none of its own")
    } else if report.signal.as_deref() == Some("SIGABRT") || has("abort") {
        ("abort", "it ended itself (abort)")
    } else if report.signal.as_deref() == Some("SIGKILL") {
        ("killed", "it was killed")
    } else {
        ("exception", "the system ended it")
    };
    diagnosis.kind = kind;
    let mut facts = vec![said];
    facts.extend(names.first().map(|name| fact("frame", format!("its innermost function is {name}"), None)));
    let text = facts.first().map(|fact| format!("The report says: {}.", fact.text)).unwrap_or_default();
    diagnosis.statements.push(statement(text, facts));
    clause.to_owned()
}

/// What every kind of crash may have besides.
pub(super) fn add(diagnosis: &mut Diagnosis, target: &Target, report: &Report) {
    if let Some(reason) = &report.termination {
        let namespace = reason.namespace.as_deref().unwrap_or("an unnamed source");
        let code = reason.code.map(|code| format!(" code {code:#x}")).unwrap_or_default();
        let indicator = reason.indicator.as_ref().map(|text| format!(" ({})", short(text))).unwrap_or_default();
        let by = reason.by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        let evidence = fact("message", format!("termination: {namespace}{code}{indicator}"), None);
        if let Some((_, words)) = termination(reason) {
            let text = format!("The reason of its end is {namespace}{code}{indicator}{by}: {words}.");
            diagnosis.statements.push(statement(text, vec![evidence.clone()]));
        }
        for line in reason.details.iter().take(8) {
            diagnosis.statements.push(statement(format!("The system adds: {}", short(line)), vec![evidence.clone()]));
        }
    }
    let words: Vec<String> = report
        .application
        .iter()
        .flat_map(|(_, text)| text.trim().lines())
        // dyld says how it started every program.
        .filter(|text| !text.is_empty() && !matches!(*text, "dyld2 mode" | "dyld3 mode"))
        .map(str::to_owned)
        .collect();
    if diagnosis.message.is_none() && !words.is_empty() {
        diagnosis.message = Some(words.join("\n"));
    }
    thrown(diagnosis, target, report);
    if let Some(triage) = &report.triage {
        let evidence = fact("message", "kernel triage".to_owned(), None);
        let first = triage.lines().next().unwrap_or("");
        let count = triage.lines().count();
        let more = if count > 1 { format!(" ({count} such lines)") } else { String::new() };
        diagnosis.statements.push(statement(
            format!("The kernel adds, of page faults before the crash: {}{more}.", short(first)),
            vec![evidence],
        ));
    }
}

/// Where the exception was thrown that nobody caught.
fn thrown(diagnosis: &mut Diagnosis, target: &Target, report: &Report) {
    if report.last_exception.is_empty() {
        return;
    }
    let mut names = Vec::new();
    let mut own = None;
    for frame in report.last_exception.iter().take(64) {
        let address = CodeAddr::Return(Virt(frame.address));
        let place = target.locate(address);
        let module = target.module_at(address.lookup());
        let name = place.first().and_then(|place| place.function.clone()).or_else(|| {
            module.map(|module| format!("{}+{:#x}", module.name(), frame.address.wrapping_sub(module.base.0)))
        });
        let name = name.unwrap_or_else(|| format!("{:#x}", frame.address));
        let probe = crate::stack::Frame {
            address,
            registers: afterimage_dump::Registers::new(target.dump().arch),
            trust: crate::stack::Trust::Reported,
            why: String::new(),
            signal_trampoline: false,
            cfa: None,
        };
        if own.is_none() && !in_system(target, &probe) {
            own = Some(name.clone());
        }
        if names.len() < 8 {
            names.push(name);
        }
    }
    let first = own.map(|own| format!("; the first function of the program's own is {own}")).unwrap_or_default();
    let evidence = fact("frame", format!("last exception backtrace of {} frames", report.last_exception.len()), None);
    let text = format!("The exception was thrown at {}{first}.", names.join(" < "));
    diagnosis.statements.push(statement(text, vec![evidence]));
}
