//! What happened, where, and why: sentences, each with the evidence that carries it.

mod abort;
mod apple;
mod cpp;
mod fault;
mod foreign;
mod instruction;
mod linux;
mod machine;
mod message;
mod names;
mod origin;
mod rust;
mod scene;
mod signal;
mod thrown;
mod windows;
mod windows_names;

use crate::target::{Location, Target};
use afterimage_dump::{ExceptionKind, SignalInfo};
use scene::{Scene, fact, statement};

/// A fact of the dump that a sentence stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What kind of fact: `signal`, `register`, `instruction`, `memory`, `region`, `symbol`, `frame`, `message`, `auxv`.
    pub kind: &'static str,
    /// The fact in words, as `rax = 0x0` or `region 0x7f…-0x7f… r-- libc.so.6`.
    pub text: String,
    /// The address it is about.
    pub address: Option<u64>,
}

/// One sentence and what it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// A full sentence.
    pub text: String,
    /// The facts behind it; never empty.
    pub evidence: Vec<Evidence>,
}

/// The verdict on a dump.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// The verdict's name, as `null_read` or `stack_overflow`; `none` for a healthy process.
    pub kind: &'static str,
    /// One sentence: what died, of what, where.
    pub headline: String,
    /// How it came about, in order.
    pub statements: Vec<Statement>,
    /// What to look at or try next.
    pub advice: Vec<String>,
    /// The program's own last words: an abort, assert or panic message.
    pub message: Option<String>,
    /// The faulting instruction as text, if it could be decoded.
    pub instruction: Option<String>,
    /// The address whose access failed.
    pub fault_address: Option<u64>,
    /// Index into the crashed thread's frames of the first frame that is the program's own to blame (not libc's abort
    /// machinery or a panic runtime).
    pub blame_frame: Option<usize>,
    /// The place in that frame, in the program's own text rather than in a language's library inlined there.
    pub blame_location: Option<Location>,
    /// The signal's (or exception's) name and meaning, as `SIGSEGV (invalid memory access)`.
    pub signal: Option<String>,
}

/// The name of a Linux signal on the commonest processors, as `SIGSEGV`.
#[must_use]
pub fn signal_name(number: i32) -> String {
    names::signal(afterimage_dump::Os::Linux, afterimage_dump::Arch::X86_64, number).0
}

impl Diagnosis {
    /// Takes over what the analysis of a fault found, and gives its clause for the headline.
    fn take_fault(&mut self, found: fault::Fault) -> String {
        self.kind = found.kind;
        self.statements = found.statements;
        self.advice.extend(found.advice);
        self.fault_address = found.address;
        self.instruction = found.instruction;
        found.clause
    }

    /// Takes over what the analysis of an abort found, and gives its clause for the headline.
    fn take_abort(&mut self, found: abort::Abort) -> String {
        self.kind = found.kind;
        self.message = found.message;
        self.statements = found.statements;
        self.advice = found.advice;
        self.blame_frame = found.frame;
        found.clause
    }
}

/// Works out the verdict.
pub(crate) fn diagnose(target: &Target) -> Diagnosis {
    if let Some(report) = &target.dump().report {
        return apple::explain(target, report);
    }
    if let Some(stop) = target.dump().machine.as_ref().and_then(|machine| machine.stop.as_deref()) {
        return crate::stop::diagnose(target, stop);
    }
    if let Some(machine) = &target.dump().machine {
        return machine::explain(target, machine);
    }
    let Some(exception) = &target.dump().exception else { return healthy(target) };
    let Some(scene) = Scene::new(target) else { return without_thread(target) };
    match &exception.kind {
        ExceptionKind::Signal { signo, code, info } => {
            let info = info.or_else(|| {
                let address = exception.address.map(|at| at.0);
                Some(SignalInfo {
                    signo: *signo,
                    errno: 0,
                    code: (*code)?,
                    address,
                    pid: None,
                    uid: None,
                    syscall: None,
                })
            });
            signal::explain(&scene, *signo, *code, info)
        }
        ExceptionKind::Windows { code, parameters, .. } => windows::explain(&scene, *code, parameters),
        ExceptionKind::Mach { exception, code, parameters } => foreign::mach(&scene, *exception, *code, parameters),
        _ => without_thread(target),
    }
}

/// `name (pid 12)`, as far as the dump tells.
fn who(target: &Target) -> String {
    let process = &target.dump().process;
    let name = process.name.clone().or_else(|| {
        let path = process.executable.clone()?;
        path.rsplit(['/', '\\']).next().map(str::to_owned)
    });
    match (name, process.pid) {
        (Some(name), Some(pid)) => format!("{name} (process {pid})"),
        (Some(name), None) => name,
        (None, Some(pid)) => format!("process {pid}"),
        (None, None) => "the process".to_owned(),
    }
}

fn healthy(target: &Target) -> Diagnosis {
    let dump = target.dump();
    let headline = match (dump.threads.is_empty(), dump.complete()) {
        (true, false) => format!("This dump lost what would tell what happened to {}: see below.", who(target)),
        (true, true) => format!("This dump holds no thread of {}, and no signal or exception.", who(target)),
        (false, _) => {
            format!("{} had not crashed when this dump was taken: it holds no signal and no exception.", who(target))
        }
    };
    Diagnosis { kind: "none", headline, ..Diagnosis::default() }
}

/// Something happened, but the dump does not hold the thread that it happened in.
fn without_thread(target: &Target) -> Diagnosis {
    let dump = target.dump();
    let signal = match dump.exception.as_ref().map(|exception| &exception.kind) {
        Some(ExceptionKind::Signal { signo, .. }) => {
            let (name, meaning) = names::signal(dump.os, dump.arch, *signo);
            format!("{name} ({meaning})")
        }
        Some(ExceptionKind::Windows { code, .. }) => match windows_names::exception(*code) {
            Some((name, meaning)) => format!("{name} ({meaning})"),
            None => format!("exception {code:#010x}"),
        },
        Some(ExceptionKind::Mach { exception, .. }) => match names::mach(*exception) {
            Some((name, meaning)) => format!("{name} ({meaning})"),
            None => format!("Mach exception {exception}"),
        },
        _ => "an unknown event".to_owned(),
    };
    let headline = format!("{} died of {signal}; the dump does not hold the thread that it happened in.", who(target));
    Diagnosis { kind: "unknown", headline, signal: Some(signal), ..Diagnosis::default() }
}

/// Puts the headline together and finds the frame to blame.
pub(crate) fn finish(scene: &Scene, mut diagnosis: Diagnosis, name: &str, meaning: &str, clause: &str) -> Diagnosis {
    let frames = &scene.stack.frames;
    if diagnosis.blame_frame.is_none() {
        // A fault inside libc is nearly always its caller's doing; a jump into nowhere is the jumper's.
        let runtime = frames.first().is_some_and(|frame| {
            scene.target.module_at(frame.address.lookup()).is_none_or(|module| abort::is_runtime(module.name()))
                || scene.is_library(frame)
                || scene.function(frame).is_some_and(|name| abort::is_libc_text(&name))
        });
        diagnosis.blame_frame = if runtime { abort::outside_libc(scene) } else { Some(0) };
    }
    let blame = diagnosis.blame_frame.and_then(|index| frames.get(index).map(|frame| (index, frame)));
    let mut place = String::new();
    if let Some((index, frame)) = blame {
        if diagnosis.kind != "killed" {
            place = format!(", in {}", scene.place(frame));
        }
        diagnosis.blame_location = scene.own_location(frame);
        let inside = frames.first().filter(|_| index > 0).and_then(|frame| scene.function(frame));
        if let Some(inside) = inside
            && !abort::is_machinery(&inside)
            && diagnosis.kind != "killed"
        {
            let text = format!("It happened inside {inside}, which {} had called.", scene.place(frame));
            let evidence = fact(
                "frame",
                format!("frame {index} is the first outside the system's libraries"),
                Some(frame.address.address().0),
            );
            diagnosis.statements.push(statement(text, vec![evidence]));
        }
    }
    diagnosis.headline = format!("{} died of {name} ({meaning}): {clause}{place}.", who(scene.target));
    diagnosis
}
