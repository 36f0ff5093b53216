//! Breakpad symbol files (`.sym`): the text that goes with minidumps of every system.
//!
//! Not here: converting anything into them; `.sym.gz` and symbol servers are the driver's.
//!
//! Example: `FUNC 1130 1c 0 main`, then `1130 4 3 0` (address, size, line, file): 0x1132 is line 3 of main.
//!
//! Trap: numbers are hexadecimal, except lines, file numbers and nest levels, which are decimal. Addresses count from
//! the module's base.

mod cfi;
mod index;
mod postfix;
mod registers;
pub(crate) mod win;

use crate::dwarf::Found;
use crate::{Blob, CfiMiss, Error, Machine, Step};
use index::Index;
use registers::Arch;
use std::sync::OnceLock;

/// A symbol file whose lines are found on first need and read on demand.
pub(crate) struct Breakpad {
    blob: Blob,
    arch: Arch,
    index: OnceLock<Index>,
}

/// A FUNC or PUBLIC record.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) size: Option<u64>,
    pub(crate) exact: bool,
}

/// The fields of one line.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Fields { rest: line }
    }

    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let from = self.rest.iter().position(|&byte| byte != b' ')?;
        let rest = self.rest.get(from..)?;
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (field, rest) = rest.split_at_checked(end)?;
        self.rest = rest;
        Some(field)
    }

    pub(super) fn hex(&mut self) -> Option<u64> {
        u64::from_str_radix(std::str::from_utf8(self.next()?).ok()?, 16).ok()
    }

    pub(super) fn decimal(&mut self) -> Option<u32> {
        std::str::from_utf8(self.next()?).ok()?.parse().ok()
    }

    /// What is left, without the blank before it.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest.strip_prefix(b" ").unwrap_or(self.rest)
    }

    /// The mark of a record that stands for several functions folded into one.
    pub(super) fn skip_multiple(&mut self) {
        if let Some(rest) = self.rest().strip_prefix(b"m ") {
            self.rest = rest;
        }
    }
}

/// The line that begins at a place, without its end.
pub(super) fn line_at(data: &[u8], at: u64) -> Option<&[u8]> {
    let rest = data.get(usize::try_from(at).ok()?..)?;
    let end = index::newline(rest).unwrap_or(rest.len());
    let line = rest.get(..end)?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Lines of one function that are looked at.
const MAX_LINES: usize = 2_000_000;

impl Breakpad {
    pub(crate) fn parse(blob: Blob) -> Result<Self, Error> {
        let data: &[u8] = (*blob).as_ref();
        let line = data.get(..data.len().min(4096)).and_then(|head| line_at(head, 0)).ok_or(Error::NotBreakpad)?;
        let mut fields = Fields::new(line);
        if fields.next() != Some(b"MODULE") {
            return Err(Error::NotBreakpad);
        }
        let (_os, arch) = (fields.next(), fields.next().ok_or(Error::NotBreakpad)?);
        let arch = Arch::by_name(arch);
        Ok(Breakpad { blob, arch, index: OnceLock::new() })
    }

    fn data(&self) -> &[u8] {
        (*self.blob).as_ref()
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::build(self.data()))
    }

    /// The FUNC record that covers an address: start, size, name, and where its line begins.
    fn func(&self, at: u64) -> Option<(u64, u64, &[u8], u64)> {
        let funcs = &self.index().functions;
        let after = funcs.partition_point(|(start, _)| *start <= at);
        // Records of equal address (folded functions): the first one that covers.
        funcs.get(..after)?.iter().rev().take(8).find_map(|(start, place)| {
            let mut fields = Fields::new(line_at(self.data(), *place)?);
            fields.next()?;
            fields.skip_multiple();
            fields.hex()?;
            let size = fields.hex()?;
            fields.hex()?;
            (at - start < size).then(|| (*start, size, fields.rest(), *place))
        })
    }

    /// The function that covers an address, or the last public symbol before it.
    pub(crate) fn function(&self, at: u64) -> Option<Named> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        if let Some((start, size, name, _)) = self.func(at) {
            return Some(Named { name: text(name), start, size: Some(size), exact: true });
        }
        let index = self.index();
        let after = index.publics.partition_point(|(start, _)| *start <= at);
        let (start, place) = *index.publics.get(after.checked_sub(1)?)?;
        // A function that begins behind the public symbol ends its reach.
        let before = index.functions.partition_point(|(start, _)| *start <= at);
        let function = before.checked_sub(1).and_then(|last| index.functions.get(last));
        if function.is_some_and(|(function, _)| *function > start) {
            return None;
        }
        let mut fields = Fields::new(line_at(self.data(), place)?);
        fields.next()?;
        fields.skip_multiple();
        fields.hex()?;
        fields.hex()?;
        Some(Named { name: text(fields.rest()), start, size: None, exact: false })
    }

    fn file(&self, number: u32) -> Option<String> {
        self.numbered(*self.index().files.get(&number)?)
    }

    /// The text behind the number of a FILE or INLINE_ORIGIN record.
    fn numbered(&self, place: u64) -> Option<String> {
        let mut fields = Fields::new(line_at(self.data(), place)?);
        fields.next()?;
        fields.next()?;
        Some(String::from_utf8_lossy(fields.rest()).into_owned())
    }

    /// Innermost first: inlined functions at an address, then the real one.
    pub(crate) fn locate(&self, at: u64) -> Vec<Found> {
        let Some((start, size, name, place)) = self.func(at) else { return Vec::new() };
        let mut line = None;
        // Level, line and file of the call, origin.
        let mut inlined: Vec<(u32, u32, u32, u32)> = Vec::new();
        let mut next = place + line_at(self.data(), place).map_or(0, |line| line.len() as u64);
        for _ in 0..MAX_LINES {
            while self.data().get(next as usize).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
                next += 1;
            }
            let Some(record) = line_at(self.data(), next).filter(|record| !record.is_empty()) else { break };
            next += record.len() as u64;
            let mut fields = Fields::new(record);
            if record.starts_with(b"INLINE ") {
                fields.next();
                let numbers = (fields.decimal(), fields.decimal(), fields.decimal(), fields.decimal());
                let (Some(level), Some(call_line), Some(file), Some(origin)) = numbers else { continue };
                while let (Some(from), Some(length)) = (fields.hex(), fields.hex()) {
                    if at >= from && at - from < length && inlined.len() < 512 {
                        inlined.push((level, call_line, file, origin));
                        break;
                    }
                }
                continue;
            }
            if !record.first().is_some_and(u8::is_ascii_hexdigit)
                || record.starts_with(b"FUNC")
                || record.starts_with(b"FILE")
            {
                break;
            }
            let (Some(from), Some(length), Some(number), Some(file)) =
                (fields.hex(), fields.hex(), fields.decimal(), fields.decimal())
            else {
                continue;
            };
            if at >= from && at - from < length {
                line = Some((file, number));
            }
        }
        inlined.sort_unstable_by_key(|(level, ..)| std::cmp::Reverse(*level));
        let mut out = Vec::new();
        let mut position = line;
        for (_, call_line, call_file, origin) in inlined {
            let raw = self.index().origins.get(&origin).and_then(|place| self.numbered(*place));
            out.push(self.found(raw, position, true, None));
            position = Some((call_file, call_line));
        }
        let raw = String::from_utf8_lossy(name).into_owned();
        out.push(self.found(Some(raw), position, false, Some((start, start.saturating_add(size)))));
        out
    }

    fn found(&self, raw: Option<String>, at: Option<(u32, u32)>, inlined: bool, range: Option<(u64, u64)>) -> Found {
        Found {
            raw,
            file: at.and_then(|(file, _)| self.file(file)),
            line: at.map(|(_, line)| line).filter(|line| *line != 0),
            column: None,
            inlined,
            pieced: false,
            range,
        }
    }

    /// One step by STACK CFI or STACK WIN records.
    pub(crate) fn unwind(&self, at: u64, machine: &dyn Machine) -> Result<Step, CfiMiss> {
        let index = self.index();
        if index.cfi.is_empty() && index.win.is_empty() {
            return Err(CfiMiss::NoTables);
        }
        match win::step(self.data(), index, self.arch, at, machine) {
            Err(CfiMiss::NotCovered) => cfi::step(self.data(), index, self.arch, at, machine),
            result => result,
        }
    }

    pub(crate) fn address_of(&self, name: &str) -> Option<(u64, u64)> {
        let index = self.index();
        index.functions.iter().chain(&index.publics).find_map(|(start, place)| {
            let mut fields = Fields::new(line_at(self.data(), *place)?);
            let public = fields.next()? == b"PUBLIC";
            fields.skip_multiple();
            fields.hex()?;
            let size = if public { 0 } else { fields.hex()? };
            fields.hex()?;
            (fields.rest() == name.as_bytes()).then_some((*start, size))
        })
    }
}
