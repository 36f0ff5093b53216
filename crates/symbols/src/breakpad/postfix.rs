//! The little stack language of STACK records: `$rsp 8 +`, `.cfa 16 - ^`.
//!
//! Not here: which rule is for which register (`cfi`, `win`).
//!
//! Example: `.cfa 8 - ^` pushes the frame address, pushes 8, subtracts, and reads memory there.
//!
//! Trap: numbers are decimal here, unlike in the rest of the file, and arithmetic wraps at the CPU's width.

use super::registers::Arch;
use crate::{CfiMiss, Machine};
use std::collections::HashMap;

/// What an expression may refer to.
pub(super) struct Scope<'a> {
    pub(super) arch: Arch,
    pub(super) machine: &'a dyn Machine,
    /// `.cfa`, `.cbParams`, `$T0` … and what a program has assigned.
    pub(super) names: HashMap<String, u64>,
}

/// Longer programs are no unwind rules.
const MAX_TOKENS: usize = 4096;

impl Scope<'_> {
    fn fit(&self, value: u64) -> u64 {
        if self.arch.word() == 4 { value & 0xffff_ffff } else { value }
    }

    fn value(&self, token: &str) -> Result<u64, CfiMiss> {
        if let Some(value) = self.names.get(token) {
            return Ok(*value);
        }
        if let Ok(number) = token.parse::<i64>() {
            return Ok(self.fit(number as u64));
        }
        if let Ok(number) = token.parse::<u64>() {
            return Ok(self.fit(number));
        }
        match self.arch.register(token) {
            Some(dwarf) => self.machine.register(dwarf).ok_or(CfiMiss::UnknownRegister { dwarf }),
            None => Err(CfiMiss::Malformed(format!("unknown name {token:?} in a stack record"))),
        }
    }

    /// Runs tokens; `=` assigns into `names`. The value left on top is the result.
    pub(super) fn run<'t>(&mut self, tokens: impl Iterator<Item = &'t str>) -> Result<Option<u64>, CfiMiss> {
        enum Item<'t> {
            Value(u64),
            Name(&'t str),
        }
        let mut stack: Vec<Item<'t>> = Vec::new();
        let short = || CfiMiss::Malformed("a stack record takes more values than it has".into());
        for token in tokens.take(MAX_TOKENS) {
            let operator = matches!(token, "+" | "-" | "*" | "/" | "%" | "@" | "^" | "=");
            if !operator {
                // A name is only looked up when its value is needed: it may be about to be assigned.
                let name = token.starts_with(['$', '.']) || token.starts_with(|c: char| c.is_ascii_alphabetic());
                stack.push(if name { Item::Name(token) } else { Item::Value(self.value(token)?) });
                continue;
            }
            let top = stack.pop().ok_or_else(short)?;
            let top = match top {
                Item::Value(value) => value,
                Item::Name(name) => self.value(name)?,
            };
            if token == "^" {
                let size = self.arch.word();
                let address = self.fit(top);
                let value = self.machine.read(address, size).ok_or(CfiMiss::Unreadable { address })?;
                stack.push(Item::Value(value));
                continue;
            }
            let below = stack.pop().ok_or_else(short)?;
            if token == "=" {
                let Item::Name(name) = below else {
                    return Err(CfiMiss::Malformed("a stack record assigns to a number".into()));
                };
                self.names.insert(name.to_owned(), top);
                continue;
            }
            let below = match below {
                Item::Value(value) => value,
                Item::Name(name) => self.value(name)?,
            };
            let by_zero = || CfiMiss::Malformed("a stack record divides by zero".into());
            let result = match token {
                "+" => below.wrapping_add(top),
                "-" => below.wrapping_sub(top),
                "*" => below.wrapping_mul(top),
                "/" => below.checked_div(top).ok_or_else(by_zero)?,
                "%" => below.checked_rem(top).ok_or_else(by_zero)?,
                // Align downwards to a power of two.
                _ if top.is_power_of_two() => below & !(top - 1),
                _ => return Err(CfiMiss::Malformed("a stack record aligns to what is no power of two".into())),
            };
            stack.push(Item::Value(self.fit(result)));
        }
        match stack.pop() {
            None => Ok(None),
            Some(Item::Value(value)) => Ok(Some(value)),
            Some(Item::Name(name)) => self.value(name).map(Some),
        }
    }
}
