//! STACK CFI records: DWARF's call-frame information as text.
//!
//! Not here: STACK WIN (`win`).
//!
//! Example: `STACK CFI INIT 1130 1c .cfa: $rsp 8 + .ra: .cfa -8 + ^`, then `STACK CFI 1131 .cfa: $rsp 16 +` from there on.
//!
//! Trap: a later record replaces the rules that it names and leaves the others.

use super::index::{Index, covering};
use super::postfix::Scope;
use super::registers::Arch;
use super::{Fields, line_at};
use crate::{CfiMiss, CfiSource, Machine, Step};
use std::collections::{BTreeMap, HashMap};

/// Records that follow one INIT.
const MAX_RECORDS: usize = 100_000;

type Rules<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// Takes `reg: expr reg: expr …` into the rules.
fn take<'a>(rules: &mut Rules<'a>, text: &'a [u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut current: Option<&'a str> = None;
    for token in text.split_ascii_whitespace() {
        if let Some(name) = token.strip_suffix(':') {
            rules.insert(name, Vec::new());
            current = Some(name);
        } else if let Some(rule) = current.and_then(|name| rules.get_mut(name)) {
            rule.push(token);
        }
    }
}

/// One step by the record that covers an address.
pub(super) fn step(data: &[u8], index: &Index, arch: Arch, at: u64, machine: &dyn Machine) -> Result<Step, CfiMiss> {
    let place = covering(&index.cfi, at).next().ok_or(CfiMiss::NotCovered)?;
    let line = line_at(data, place).ok_or(CfiMiss::NotCovered)?;
    let mut fields = Fields::new(line);
    let (_, _, _) = (fields.next(), fields.next(), fields.next());
    let (start, _size) = (fields.hex(), fields.hex());
    let mut rules = Rules::new();
    take(&mut rules, fields.rest());
    let mut next = place + line.len() as u64;
    for _ in 0..MAX_RECORDS {
        while data.get(next as usize).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            next += 1;
        }
        let Some(line) = line_at(data, next) else { break };
        next += line.len() as u64;
        let Some(rest) = line.strip_prefix(b"STACK CFI ").filter(|rest| !rest.starts_with(b"INIT")) else { break };
        let mut fields = Fields::new(rest);
        match fields.hex() {
            Some(from) if from <= at => take(&mut rules, fields.rest()),
            _ => break,
        }
    }

    let mut scope = Scope { arch, machine, names: HashMap::new() };
    let missing = |what: &str| CfiMiss::Malformed(format!("the stack record has no rule for {what}"));
    let cfa_rule = rules.remove(".cfa").ok_or_else(|| missing(".cfa"))?;
    let cfa = scope.run(cfa_rule.iter().copied())?.ok_or_else(|| missing(".cfa"))?;
    scope.names.insert(".cfa".into(), cfa);
    let return_rule = rules.remove(".ra").ok_or_else(|| missing(".ra"))?;
    let outermost = return_rule.as_slice() == [".undef"];
    let mut registers = Vec::new();
    let return_register = arch.return_register();
    let value = if outermost { None } else { scope.run(return_rule.iter().copied())? };
    registers.push((return_register, value));
    for (name, rule) in rules {
        let Some(number) = arch.register(name) else { continue };
        if number == return_register {
            continue;
        }
        let value = if rule.as_slice() == [".undef"] { None } else { scope.run(rule.iter().copied()).ok().flatten() };
        registers.push((number, value));
    }
    registers.sort_unstable_by_key(|(number, _)| *number);
    registers.dedup_by_key(|(number, _)| *number);
    Ok(Step {
        cfa,
        registers,
        return_register,
        signal_frame: false,
        outermost,
        source: CfiSource::Breakpad,
        function_start: start,
        parameter_size: 0,
    })
}
