//! Deaths by a UNIX signal: from the signal and its code to the right part of the analysis.

use super::fault::{self, Event};
use super::instruction::Effect;
use super::scene::{Scene, fact, statement};
use super::{Diagnosis, Evidence, abort, names};
use afterimage_dump::{Memory, SignalInfo, Virt};

const SI_USER: i32 = 0;
const SI_KERNEL: i32 = 0x80;
const SI_QUEUE: i32 = -1;
const SI_TKILL: i32 = -6;

/// Explains a signal.
pub(crate) fn explain(scene: &Scene, number: i32, code: Option<i32>, info: Option<SignalInfo>) -> Diagnosis {
    let dump = scene.target.dump();
    let (name, meaning) = names::signal(dump.os, dump.arch, number);
    let mut diagnosis =
        Diagnosis { signal: Some(format!("{name} ({meaning})")), kind: "killed", ..Diagnosis::default() };
    let evidence = event_fact(&name, code, info);
    let by_process = matches!(code, Some(SI_USER | SI_QUEUE | SI_TKILL)) && info.is_none_or(|info| info.pid.is_some());
    let own = info.and_then(|info| info.pid).is_none_or(|pid| Some(pid) == dump.process.pid);
    let clause = match name.as_str() {
        "SIGABRT" if own || !by_process => diagnosis.take_abort(abort::explain(scene)),
        _ if by_process => killed(scene, &mut diagnosis, &name, info, own, &evidence),
        "SIGSEGV" => segmentation(scene, &mut diagnosis, code, info, evidence),
        "SIGBUS" => bus(scene, &mut diagnosis, code, info, evidence),
        "SIGFPE" => arithmetic(scene, &mut diagnosis, code, evidence),
        "SIGILL" => illegal(scene, &mut diagnosis, evidence),
        "SIGTRAP" => trap(scene, &mut diagnosis, evidence),
        "SIGSYS" => bad_system_call(&mut diagnosis, info, evidence),
        "SIGXCPU" | "SIGXFSZ" => limit(&mut diagnosis, &name, evidence),
        _ => {
            let text = format!("The kernel ended the process with {name} ({meaning}).");
            diagnosis.statements.push(statement(text, vec![evidence]));
            format!("it was ended by {name}")
        }
    };
    super::finish(scene, diagnosis, &name, meaning, &clause)
}

/// The signal as evidence.
fn event_fact(name: &str, code: Option<i32>, info: Option<SignalInfo>) -> Evidence {
    let code_words = match code.map(|code| (code, names::signal_code(name, code))) {
        Some((code, Some((code_name, words)))) => format!(", code {code} ({code_name}: {words})"),
        Some((code, None)) => format!(", code {code}"),
        None => String::new(),
    };
    let address = info.and_then(|info| info.address);
    let at = address.map(|at| format!(", address {at:#x}")).unwrap_or_default();
    fact("signal", format!("{name}{code_words}{at}"), address)
}

fn killed(
    scene: &Scene,
    diagnosis: &mut Diagnosis,
    name: &str,
    info: Option<SignalInfo>,
    own: bool,
    evidence: &Evidence,
) -> String {
    diagnosis.kind = "killed";
    let process = &scene.target.dump().process;
    if own && let Some(clause) = sent_again(scene, diagnosis, name, evidence) {
        return clause;
    }
    let Some(sender) = info.and_then(|info| info.pid) else {
        let text = format!("A process sent {name} to it; the dump does not tell which one.");
        diagnosis.statements.push(statement(text, vec![evidence.clone()]));
        return format!("a process sent it {name}");
    };
    let user = info.and_then(|info| info.uid).map(|uid| format!(", of user {uid}")).unwrap_or_default();
    let (who, clause) = if own {
        ("The process itself".to_owned(), format!("it sent {name} to itself"))
    } else if Some(sender) == process.ppid {
        (format!("Its parent, process {sender}{user},"), format!("its parent (process {sender}) sent it {name}"))
    } else if sender == 0 {
        // A sender in another PID namespace, or the kernel acting for a process, shows as 0.
        (
            "A process that is not visible in its PID namespace (it shows as 0)".to_owned(),
            format!("{name} was sent to it from outside its PID namespace"),
        )
    } else {
        (format!("Process {sender}{user}"), format!("process {sender} sent it {name}"))
    };
    let mut facts = vec![evidence.clone(), fact("signal", format!("si_pid = {sender}"), None)];
    facts.extend(info.and_then(|info| info.uid).map(|uid| fact("signal", format!("si_uid = {uid}"), None)));
    diagnosis.statements.push(statement(
        format!("{who} sent the signal; what the program did at that moment did not cause it."),
        facts,
    ));
    diagnosis.blame_frame = abort::outside_libc(scene);
    clause
}

/// A crash handler that gives the signal back its default action and sends it again: the signal comes from the process
/// itself, but the thread stands at the instruction that failed first.
fn sent_again(scene: &Scene, diagnosis: &mut Diagnosis, name: &str, evidence: &Evidence) -> Option<String> {
    if !matches!(name, "SIGSEGV" | "SIGBUS") {
        return None;
    }
    let function = scene.function(scene.stack.frames.first()?)?;
    if abort::is_machinery(&function) {
        return None;
    }
    let event = Event { reported: None, protected: None, access: None, execute: false, evidence: evidence.clone() };
    let found = fault::memory(scene, event);
    // Only a fault that the memory map confirms: the instruction alone proves nothing.
    let at = found.address?;
    let bad = at < fault::NULL_AREA || scene.region(at).is_none() || found.kind == "noncanonical";
    if !bad {
        return None;
    }
    let clause = diagnosis.take_fault(found);
    let text = format!(
        "The process sent {name} to itself, as a crash handler does that hands the signal on; the thread still stands at \
         the instruction that failed first."
    );
    diagnosis.statements.push(statement(text, vec![evidence.clone()]));
    Some(clause)
}

fn segmentation(
    scene: &Scene,
    diagnosis: &mut Diagnosis,
    code: Option<i32>,
    info: Option<SignalInfo>,
    evidence: Evidence,
) -> String {
    let protected = match code {
        Some(1) => Some(false),
        Some(2) => Some(true),
        _ => None,
    };
    // With SI_KERNEL the address field means nothing.
    let reported = info.and_then(|info| info.address).filter(|_| code != Some(SI_KERNEL));
    let event = Event { reported, protected, access: None, execute: false, evidence };
    diagnosis.take_fault(fault::memory(scene, event))
}

fn bus(
    scene: &Scene,
    diagnosis: &mut Diagnosis,
    code: Option<i32>,
    info: Option<SignalInfo>,
    evidence: Evidence,
) -> String {
    let one = scene.pc().and_then(|pc| scene.decode(pc, &scene.registers));
    // x86 reports no address for a misaligned access (`si_addr` is 0): the instruction tells it.
    let computed = one.as_ref().and_then(|one| one.accesses.first()?.place.address(&scene.registers));
    let at = info.and_then(|info| info.address).filter(|&at| at != 0).or(computed);
    diagnosis.fault_address = at;
    diagnosis.instruction = one.map(|one| one.text);
    let mapping = at.and_then(|at| {
        let mappings = &scene.target.dump().mappings;
        mappings.iter().find(|mapping| mapping.start.0 <= at && at < mapping.end.0).map(|mapping| (at, mapping))
    });
    match (code, mapping) {
        (Some(2), Some((at, mapping))) => {
            diagnosis.kind = "bus_past_end";
            let offset = mapping.offset.saturating_add(at - mapping.start.0);
            let text = format!(
                "{at:#x} lies in a mapping of {}, at byte {offset} of the file; the kernel had no page for it: the file \
                 ends before that, or was cut off after it had been mapped.",
                mapping.path
            );
            let mapped = format!(
                "{:#x}-{:#x} maps {} from byte {}",
                mapping.start.0, mapping.end.0, mapping.path, mapping.offset
            );
            diagnosis.statements.push(statement(text, vec![evidence, fact("region", mapped, Some(mapping.start.0))]));
            format!("it touched a mapped file past its end ({}, byte {offset})", mapping.path)
        }
        (Some(2), None) => {
            diagnosis.kind = "bus_past_end";
            diagnosis
                .statements
                .push(statement("The address is mapped, but the kernel could give no memory for it.", vec![evidence]));
            "it touched a mapping that has no memory behind it".to_owned()
        }
        (Some(1), _) => {
            diagnosis.kind = "bus_misaligned";
            let mut facts = vec![evidence];
            facts.extend(diagnosis.instruction.as_ref().map(|text| fact("instruction", text.clone(), scene.pc())));
            let which = at.map(|at| format!(", and {at:#x} is not")).unwrap_or_default();
            let text = format!("The processor demands an aligned address for this access{which}.");
            diagnosis.statements.push(statement(text, facts));
            "it used an address that is not aligned".to_owned()
        }
        (Some(4 | 5), _) => {
            diagnosis.kind = "hardware_memory_error";
            diagnosis.statements.push(statement(
                "The memory of the machine itself is broken there; the program is not to blame.",
                vec![evidence],
            ));
            "the machine's memory failed".to_owned()
        }
        _ => {
            let event = Event { reported: at, protected: None, access: None, execute: false, evidence };
            diagnosis.take_fault(fault::memory(scene, event))
        }
    }
}

fn arithmetic(scene: &Scene, diagnosis: &mut Diagnosis, code: Option<i32>, evidence: Evidence) -> String {
    let one = scene.pc().and_then(|pc| scene.decode(pc, &scene.registers));
    diagnosis.instruction = one.as_ref().map(|one| one.text.clone());
    let divide = one.as_ref().filter(|one| matches!(one.effect, Effect::Divide { .. }));
    let mut facts = vec![evidence];
    facts.extend(
        one.as_ref().map(|one| fact("instruction", format!("{:#x}: {}", one.address, one.text), Some(one.address))),
    );
    let Some(divide) = divide else {
        diagnosis.kind = if matches!(code, Some(1)) { "divide_by_zero" } else { "floating_point" };
        let words =
            code.and_then(|code| names::signal_code("SIGFPE", code)).map_or("an arithmetic error", |(_, words)| words);
        diagnosis.statements.push(statement(format!("The processor reports: {words}."), facts));
        return format!("arithmetic failed: {words}");
    };
    let divisor = match divide.effect {
        Effect::Divide { divisor: Some(value) } => Some(value),
        _ => divide
            .accesses
            .first()
            .and_then(|access| scene.uint(access.place.address(&scene.registers)?, access.size as usize)),
    };
    match divisor {
        Some(0) => {
            diagnosis.kind = "divide_by_zero";
            facts.push(fact("register", "the divisor is 0", None));
            diagnosis.statements.push(statement(format!("The instruction `{}` divides by zero.", divide.text), facts));
            "it divided by zero".to_owned()
        }
        Some(value) => {
            diagnosis.kind = "divide_overflow";
            facts.push(fact("register", format!("the divisor is {value:#x}"), None));
            let text = format!(
                "The divisor of `{}` is {value:#x}, not zero: the quotient does not fit, as when the smallest negative \
                 number is divided by \u{2212}1.",
                divide.text
            );
            diagnosis.statements.push(statement(text, facts));
            "the result of a division does not fit".to_owned()
        }
        None => {
            diagnosis.kind = "divide_by_zero";
            let text = format!(
                "The division `{}` failed: by zero, or its result does not fit; the dump does not hold the divisor.",
                divide.text
            );
            diagnosis.statements.push(statement(text, facts));
            "an integer division failed".to_owned()
        }
    }
}

fn instruction_fact(scene: &Scene, at: u64) -> Option<Evidence> {
    let one = scene.decode(at, &scene.registers)?;
    Some(fact("instruction", format!("{at:#x}: {}", one.text), Some(at)))
}

fn illegal(scene: &Scene, diagnosis: &mut Diagnosis, evidence: Evidence) -> String {
    let Some(pc) = scene.pc() else { return "it ran an illegal instruction".to_owned() };
    let one = scene.decode(pc, &scene.registers);
    diagnosis.instruction = one.as_ref().map(|one| one.text.clone());
    diagnosis.kind = "illegal_instruction";
    let mut facts = vec![evidence];
    facts.extend(instruction_fact(scene, pc));
    match one {
        Some(one) if one.effect == Effect::Trap => {
            diagnosis.kind = "trap";
            let text = format!(
                "`{}` is put into programs on purpose, to stop them: by __builtin_trap, after code that the compiler \
                 holds for unreachable, or by a sanitizer.",
                one.text
            );
            diagnosis.statements.push(statement(text, facts));
            "it ran into a trap that the compiler had put there".to_owned()
        }
        Some(one) => {
            let text = format!(
                "The processor refused `{}`: it does not have this instruction, or a program may not use it.",
                one.text
            );
            diagnosis.statements.push(statement(text, facts));
            diagnosis.advice.push("A program built for a newer processor fails like this: compare its build flags (-march) with the machine.".to_owned());
            "it ran an instruction that this processor refuses".to_owned()
        }
        None => {
            let mut bytes = [0; 8];
            let got = scene.target.memory().read_at(Virt(pc), &mut bytes).unwrap_or(0);
            let hex: Vec<String> = bytes.iter().take(got).map(|byte| format!("{byte:02x}")).collect();
            let text = if got == 0 {
                "The processor refused the instruction; the dump does not hold it.".to_owned()
            } else {
                facts.push(fact("memory", format!("the bytes at {pc:#x} are {}", hex.join(" ")), Some(pc)));
                "The bytes at the program counter are no instruction at all.".to_owned()
            };
            diagnosis.statements.push(statement(text, facts));
            "it ran bytes that are no instruction".to_owned()
        }
    }
}

fn trap(scene: &Scene, diagnosis: &mut Diagnosis, evidence: Evidence) -> String {
    diagnosis.kind = "breakpoint";
    let mut facts = vec![evidence];
    // After int3 the program counter stands behind it; brk leaves it on the instruction.
    let pc = scene.pc().unwrap_or_default();
    let here = scene.decode(pc, &scene.registers).filter(|one| one.effect == Effect::Breakpoint);
    let before = || {
        scene
            .decode(pc.checked_sub(1)?, &scene.registers)
            .filter(|one| one.effect == Effect::Breakpoint && one.length == 1)
    };
    match here.or_else(before) {
        Some(one) => {
            facts.push(fact("instruction", format!("{:#x}: {}", one.address, one.text), Some(one.address)));
            diagnosis.instruction = Some(one.text.clone());
            // gcc and clang make __builtin_trap a `brk #1000` or `brk #1` on Arm.
            let text = format!(
                "The program ran the breakpoint instruction `{}`, and no debugger was there to take it.",
                one.text
            );
            diagnosis.statements.push(statement(text, facts));
            "it ran a breakpoint with no debugger there".to_owned()
        }
        None => {
            diagnosis
                .statements
                .push(statement("A trap reached the program, and no debugger was there to take it.", facts));
            "a trap reached it with no debugger there".to_owned()
        }
    }
}

fn bad_system_call(diagnosis: &mut Diagnosis, info: Option<SignalInfo>, evidence: Evidence) -> String {
    diagnosis.kind = "bad_system_call";
    let number = info.and_then(|info| info.syscall);
    let which = number.map(|number| format!(" number {number}")).unwrap_or_default();
    let mut facts = vec![evidence];
    facts.extend(number.map(|number| fact("signal", format!("si_syscall = {number}"), None)));
    let text = format!("The program made the system call{which}, which its seccomp filter forbids.");
    diagnosis.statements.push(statement(text, facts));
    diagnosis.advice.push(
        "See the sandbox's filter (container runtime, systemd's SystemCallFilter=, the program's own seccomp rules)."
            .to_owned(),
    );
    format!("a seccomp filter forbids the system call{which} that it made")
}

fn limit(diagnosis: &mut Diagnosis, name: &str, evidence: Evidence) -> String {
    let (kind, what) = if name == "SIGXCPU" {
        ("cpu_limit", "CPU time (RLIMIT_CPU)")
    } else {
        ("file_size_limit", "file size (RLIMIT_FSIZE)")
    };
    diagnosis.kind = kind;
    diagnosis.statements.push(statement(format!("The process passed its limit of {what}."), vec![evidence]));
    format!("it passed its limit of {what}")
}
