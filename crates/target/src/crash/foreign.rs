//! Exceptions of macOS, led to the same analysis of memory accesses (Windows' are `windows`').

use super::fault::{self, Event};
use super::scene::{Scene, fact, statement};
use super::{Diagnosis, abort, finish, names};

pub(super) fn simple(diagnosis: &mut Diagnosis, kind: &'static str, clause: &str, evidence: super::Evidence) -> String {
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
