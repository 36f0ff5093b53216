//! The verdict on a stopped machine, in the same form as that on a crashed process.

use super::culprit::{Culprit, culprit};
use super::describe::{Description, describe};
use super::exception::{StopException, exception};
use crate::crash::{Diagnosis, Evidence, Statement};
use crate::target::Target;
use afterimage_dump::system::windows::Stop;

/// Works out the verdict.
pub(crate) fn diagnose(target: &Target, stop: &Stop) -> Diagnosis {
    let dump = target.dump();
    let words = describe(stop, dump);
    if stop.healthy() {
        let headline = "The machine had not stopped: this is a dump of a running system.".to_owned();
        return Diagnosis { kind: "none", headline, ..Diagnosis::default() };
    }
    let found = exception(target, stop);
    let culprit = culprit(target, stop);
    let mut diagnosis = Diagnosis {
        kind: "windows_stop",
        headline: headline(stop, &words, culprit.as_ref()),
        advice: words.advice.clone(),
        signal: Some(signal(&words)),
        fault_address: found.as_ref().and_then(|found| found.address),
        ..Diagnosis::default()
    };
    let mut say = |text: String, evidence: Vec<Evidence>| diagnosis.statements.push(Statement { text, evidence });
    let header = header_evidence(stop, &words);
    match words.meaning.is_empty() {
        false => say(words.meaning.clone(), header),
        true => say("What this bug check means is not known here; its name has to do.".to_owned(), header),
    }
    if let Some(found) = &found {
        say(exception_sentence(target, found), exception_evidence(found));
    }
    if let Some(culprit) = &culprit {
        say(culprit_sentence(culprit), culprit.evidence.clone());
    }
    if !words.causes.is_empty() {
        let evidence = vec![fact("stop", format!("bug check {:#x}, {}", words.code, words.name), None)];
        say(format!("What usually causes it: {}", lower(&words.causes)), evidence);
    }
    diagnosis
}

fn fact(kind: &'static str, text: String, address: Option<u64>) -> Evidence {
    Evidence { kind, text, address }
}

fn signal(words: &Description) -> String {
    match words.meaning.trim_end_matches('.') {
        "" => words.name.clone(),
        meaning => format!("{} ({})", words.name, lower(meaning)),
    }
}

fn headline(stop: &Stop, words: &Description, culprit: Option<&Culprit>) -> String {
    let blame = match culprit {
        Some(culprit) if !culprit.system => format!(", probably because of {}", culprit.name),
        Some(culprit) => format!(", in {}", culprit.name),
        None => String::new(),
    };
    format!("Windows stopped with {:#x} {}{blame}.", stop.code, words.name)
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let second_is_small = text.chars().nth(1).is_some_and(|letter| !letter.is_uppercase());
    match letters.next() {
        Some(first) if second_is_small && !text.starts_with("Windows") && !text.starts_with("Driver Verifier") => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

fn header_evidence(stop: &Stop, words: &Description) -> Vec<Evidence> {
    let mut evidence = vec![fact("stop", format!("bug check {:#x} in the dump's header", stop.code), None)];
    for parameter in &words.parameters {
        let role = parameter.role.as_deref().unwrap_or("not known here");
        let text = match &parameter.words {
            Some(words) => format!("parameter {} = {:#x} ({role}): {words}", parameter.index, parameter.value),
            None => format!("parameter {} = {:#x} ({role})", parameter.index, parameter.value),
        };
        evidence.push(fact("parameter", text, Some(parameter.value)));
    }
    evidence
}

fn exception_sentence(target: &Target, found: &StopException) -> String {
    let place = found.instruction.and_then(|at| super::describe::in_driver(target.dump(), at));
    let place = match (place, found.instruction) {
        (Some(place), _) => format!(" at {place}"),
        (None, Some(at)) => format!(" at {at:#x}, which is in no driver"),
        (None, None) => String::new(),
    };
    format!("The exception{place}: {}.", found.words())
}

fn exception_evidence(found: &StopException) -> Vec<Evidence> {
    match found.record {
        Some(at) => vec![fact("memory", format!("exception record at {at:#x}"), Some(at))],
        None => vec![fact("parameter", "the parameters of the bug check".to_owned(), found.instruction)],
    }
}

fn culprit_sentence(culprit: &Culprit) -> String {
    let name = &culprit.name;
    match (culprit.system, culprit.direct) {
        (false, true) => format!("The probable culprit is {name}: an instruction of its own is named."),
        (false, false) => {
            format!(
                "The probable culprit is {name}: it is the first driver on the stack that is not part of the kernel."
            )
        }
        (true, _) => format!(
            "It happened in {name}, which is part of Windows; no other driver is named, so the one that misused it is not known."
        ),
    }
}
