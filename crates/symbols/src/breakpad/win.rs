//! STACK WIN records: what a PDB says of 32-bit x86 frames.
//!
//! Not here: 64-bit Windows, whose unwind data stands in the module itself.
//!
//! Example: `STACK WIN 4 1000 20 … 1 $T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + =`.
//!
//! Trap: functions clean their own arguments off the stack (stdcall), so where this frame's locals begin depends on how
//! many bytes of arguments the function it called took: [`Machine::callee_parameter_size`].

use super::index::{Index, covering};
use super::postfix::Scope;
use super::registers::Arch;
use super::{Fields, line_at};
use crate::{CfiMiss, CfiSource, Machine, Step};
use std::collections::HashMap;

const EBX: u16 = 3;
const ESP: u16 = 4;
const EBP: u16 = 5;
const ESI: u16 = 6;
const EDI: u16 = 7;
const EIP: u16 = 8;

/// A record's numbers; in the text all are hexadecimal.
pub(crate) struct Record<'a> {
    pub(crate) frame_data: bool,
    pub(crate) start: u64,
    pub(crate) parameters: u64,
    pub(crate) saved: u64,
    pub(crate) locals: u64,
    pub(crate) has_program: bool,
    /// The program, or whether the base pointer is used for something else.
    pub(crate) rest: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = Fields::new(line);
    fields.next()?;
    fields.next()?;
    let frame_data = fields.next()? == b"4";
    let (start, _size, _prologue, _epilogue) = (fields.hex()?, fields.hex()?, fields.hex()?, fields.hex()?);
    let (parameters, saved, locals, _stack) = (fields.hex()?, fields.hex()?, fields.hex()?, fields.hex()?);
    let has_program = fields.next()? == b"1";
    Some(Record { frame_data, start, parameters, saved, locals, has_program, rest: fields.rest() })
}

/// One step by the record that covers an address; frame data (type 4) is better than FPO (type 0).
pub(super) fn step(data: &[u8], index: &Index, arch: Arch, at: u64, machine: &dyn Machine) -> Result<Step, CfiMiss> {
    if arch != Arch::X86 {
        return Err(CfiMiss::NotCovered);
    }
    let records = covering(&index.win, at).filter_map(|place| parse(line_at(data, place)?));
    // The innermost record comes first; a stable sort keeps that.
    let mut records: Vec<Record<'_>> = records.collect();
    records.sort_by_key(|record| !(record.frame_data && record.has_program));
    let record = records.first().ok_or(CfiMiss::NotCovered)?;
    run(record, machine, CfiSource::BreakpadWin)
}

/// One step by a record, wherever it came from: a PDB has the same facts.
pub(crate) fn run(record: &Record<'_>, machine: &dyn Machine, source: CfiSource) -> Result<Step, CfiMiss> {
    let arch = Arch::X86;
    let known = |dwarf: u16| machine.register(dwarf).ok_or(CfiMiss::UnknownRegister { dwarf });
    let esp = known(ESP)?;
    let callee = machine.callee_parameter_size();
    let wrap = |value: u64| value & 0xffff_ffff;
    let search = wrap(esp.wrapping_add(callee).wrapping_add(record.locals).wrapping_add(record.saved));
    let mut registers: Vec<(u16, Option<u64>)> = Vec::new();
    let cfa;
    if record.has_program {
        let mut scope = Scope { arch, machine, names: HashMap::new() };
        for (name, value) in [
            (".cbParams", record.parameters),
            (".cbCalleeParams", callee),
            (".cbSavedRegs", record.saved),
            (".cbLocals", record.locals),
            (".raSearch", search),
            (".raSearchStart", search),
        ] {
            scope.names.insert(name.into(), value);
        }
        let program = std::str::from_utf8(record.rest)
            .map_err(|_| CfiMiss::Malformed("the stack record's program is no text".into()))?;
        // Folklore: MSVC leaves the space behind a `=` out in records of functions that realign their stack.
        let program = program.replace('=', " = ");
        scope.run(program.split_ascii_whitespace())?;
        let given = |name: &str| scope.names.get(name).copied();
        let missing = |name: &str| CfiMiss::Malformed(format!("the stack record's program does not give {name}"));
        registers.push((EIP, Some(given("$eip").ok_or_else(|| missing("$eip"))?)));
        let stack = given("$esp").ok_or_else(|| missing("$esp"))?;
        registers.push((ESP, Some(stack)));
        cfa = stack;
        // Newer compilers name registers by their CodeView numbers.
        for (number, name, codeview) in
            [(EBP, "$ebp", "$22"), (EBX, "$ebx", "$20"), (ESI, "$esi", "$23"), (EDI, "$edi", "$24")]
        {
            if let Some(value) = given(name).or_else(|| given(codeview)) {
                registers.push((number, Some(value)));
            }
        }
    } else {
        let read = |address: u64| machine.read(wrap(address), 4).ok_or(CfiMiss::Unreadable { address: wrap(address) });
        let eip = read(search)?;
        cfa = wrap(search.wrapping_add(4));
        registers.push((EIP, Some(eip)));
        registers.push((ESP, Some(cfa)));
        let uses_base = !record.has_program && record.rest.starts_with(b"1");
        if uses_base {
            // Saved below the other registers: the last but one of the saved area.
            let place = esp.wrapping_add(callee).wrapping_add(record.saved).wrapping_sub(8);
            registers.push((EBP, machine.read(wrap(place), 4)));
        } else if let Some(base) = machine.register(EBP) {
            registers.push((EBP, Some(base)));
        }
    }
    registers.sort_unstable_by_key(|(number, _)| *number);
    Ok(Step {
        cfa,
        registers,
        return_register: EIP,
        signal_frame: false,
        outermost: false,
        source,
        function_start: Some(record.start),
        parameter_size: u32::try_from(record.parameters).unwrap_or(0),
    })
}
