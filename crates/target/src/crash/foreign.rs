//! Exceptions of Windows and macOS, led to the same analysis of memory accesses.

use super::fault::{self, Event};
use super::instruction::AccessKind;
use super::scene::{Scene, fact, statement};
use super::{Diagnosis, abort, finish, names};

/// Explains a Windows exception.
pub(crate) fn windows(scene: &Scene, code: u32, parameters: &[u64]) -> Diagnosis {
    let (name, meaning) = match names::windows(code) {
        Some((name, meaning)) => (name.to_owned(), meaning),
        None => (format!("exception {code:#010x}"), "an exception of the program's own"),
    };
    let mut diagnosis =
        Diagnosis { signal: Some(format!("{name} ({meaning})")), kind: "exception", ..Diagnosis::default() };
    let shown: Vec<String> = parameters.iter().map(|value| format!("{value:#x}")).collect();
    let evidence = fact("signal", format!("{name}, code {code:#010x}, parameters [{}]", shown.join(", ")), None);
    let clause = match code {
        // Parameter 0 is 0 for a read, 1 for a write, 8 for an attempt to run data; parameter 1 is the address.
        0xc000_0005 | 0xc000_0006 | 0x8000_0001 => {
            let access = match parameters.first() {
                Some(0) => Some(AccessKind::Read),
                Some(1) => Some(AccessKind::Write),
                _ => None,
            };
            let reported = parameters.get(1).copied();
            // A non-canonical address is reported as all ones.
            let reported = reported.filter(|&at| at != u64::MAX);
            let execute = parameters.first() == Some(&8);
            diagnosis.take_fault(fault::memory(scene, Event { reported, protected: None, access, execute, evidence }))
        }
        0xc000_00fd => {
            diagnosis.kind = "stack_overflow";
            diagnosis.statements.push(statement(
                "Windows found the stack full: the program needed more than its thread has.",
                vec![evidence],
            ));
            diagnosis
                .advice
                .push("Look for the recursion that does not end, or for a very large local variable.".to_owned());
            "its stack is full".to_owned()
        }
        0xc000_0094 => simple(&mut diagnosis, "divide_by_zero", "it divided by zero", evidence),
        0xc000_0095 => simple(&mut diagnosis, "divide_overflow", "the result of a division does not fit", evidence),
        0xc000_001d => simple(&mut diagnosis, "illegal_instruction", "it ran an illegal instruction", evidence),
        0xc000_0096 => simple(
            &mut diagnosis,
            "illegal_instruction",
            "it ran an instruction that only the system may run",
            evidence,
        ),
        0x8000_0003 | 0x4000_001f => {
            simple(&mut diagnosis, "breakpoint", "it ran a breakpoint with no debugger there", evidence)
        }
        0xc000_0374 => simple(&mut diagnosis, "heap_corruption", "the heap is corrupted", evidence),
        0xc000_0409 => fail_fast(&mut diagnosis, parameters, evidence),
        0xe06d_7363 => simple(&mut diagnosis, "cpp_exception", "nobody caught a C++ exception", evidence),
        0xc000_0417 | 0xc000_000d => simple(
            &mut diagnosis,
            "invalid_parameter",
            "a function of the C runtime got an invalid parameter",
            evidence,
        ),
        0xc000_0420 => simple(&mut diagnosis, "assertion_failed", "an assertion failed", evidence),
        0xc000_008d..=0xc000_0093 => simple(&mut diagnosis, "floating_point", meaning, evidence),
        _ => simple(&mut diagnosis, "exception", meaning, evidence),
    };
    finish(scene, diagnosis, &name, meaning, &clause)
}

/// `__fastfail` and the stack cookie share one code; the first parameter tells them apart (`winnt.h`, `FAST_FAIL_*`).
fn fail_fast(diagnosis: &mut Diagnosis, parameters: &[u64], evidence: super::Evidence) -> String {
    let (kind, clause) = match parameters.first() {
        Some(0 | 2) | None => ("stack_smashing", "a stack cookie was overwritten"),
        Some(3) => ("heap_corruption", "a doubly linked list is corrupted"),
        Some(5) => ("invalid_parameter", "a function got an invalid parameter"),
        Some(7) => ("abort", "it ended itself (abort)"),
        Some(10) => ("wild_jump", "control-flow guard stopped an indirect call to a wrong target"),
        Some(_) => ("abort", "it ended itself by fail-fast"),
    };
    simple(diagnosis, kind, clause, evidence)
}

fn simple(diagnosis: &mut Diagnosis, kind: &'static str, clause: &str, evidence: super::Evidence) -> String {
    diagnosis.kind = kind;
    let text = evidence.text.clone();
    diagnosis.statements.push(statement(format!("The system reports: {text}."), vec![evidence]));
    clause.to_owned()
}

/// Explains a Mach exception.
pub(crate) fn mach(scene: &Scene, exception: u32, code: u64, parameters: &[u64]) -> Diagnosis {
    let (name, meaning) = match names::mach(exception) {
        Some((name, meaning)) => (name.to_owned(), meaning),
        None => (format!("Mach exception {exception}"), "an exception"),
    };
    let mut diagnosis =
        Diagnosis { signal: Some(format!("{name} ({meaning})")), kind: "exception", ..Diagnosis::default() };
    let evidence = fact("signal", format!("{name}, code {code:#x}"), None);
    let clause = match exception {
        // KERN_INVALID_ADDRESS is 1, KERN_PROTECTION_FAILURE 2; the second code is the address.
        1 => {
            let address = scene.target.dump().exception.as_ref().and_then(|exception| exception.address);
            let reported = address.map(|at| at.0).or(parameters.first().copied());
            let protected = match code {
                1 => Some(false),
                2 => Some(true),
                _ => None,
            };
            diagnosis
                .take_fault(fault::memory(scene, Event { reported, protected, access: None, execute: false, evidence }))
        }
        2 => simple(&mut diagnosis, "illegal_instruction", "it ran an illegal instruction, or a trap", evidence),
        3 => simple(&mut diagnosis, "divide_by_zero", "arithmetic failed", evidence),
        6 => simple(&mut diagnosis, "breakpoint", "it ran a breakpoint or trap", evidence),
        10 | 5 => {
            let clause = diagnosis.take_abort(abort::explain(scene));
            if diagnosis.statements.is_empty() {
                diagnosis.statements.push(statement(format!("The system reports: {}.", evidence.text), vec![evidence]));
            }
            clause
        }
        _ => simple(&mut diagnosis, "exception", meaning, evidence),
    };
    finish(scene, diagnosis, &name, meaning, &clause)
}
