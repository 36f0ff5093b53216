//! One step out of an x64 function by its unwind data: `.pdata` says which function it is, `UNWIND_INFO` how its prologue
//! moved the stack pointer and where it saved registers.
//!
//! Not here: language handlers, and functions that a program registers at run time (`RtlAddFunctionTable`).
//!
//! Example: `push rbp; sub rsp,20h` has the codes "alloc 32" and "push rbp"; undone in that order they lead to the return
//! address.
//!
//! Trap: a function without an entry is a leaf, whose return address is on top of the stack. That holds for the innermost
//! frame only: a leaf calls nobody, so a return address without an entry is generated code or no code at all.
//!
//! Facts: Microsoft's "x64 exception handling"; version 2 (epilogue codes, two slots each) as CoreCLR's and Wine's unwinders
//! read it.

use super::{DIRECTORY_EXCEPTION, PeImage, epilogue};
use crate::elf::View;
use crate::{CfiMiss, CfiSource, Machine, Step};

/// DWARF numbers of registers in the order in which the processor numbers them.
const DWARF: [u16; 16] = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
/// DWARF number of the stack pointer.
const RSP: u16 = 7;
/// DWARF number of the return address.
const RIP: u16 = 16;
/// Windows follows a chain no further than this.
const MAX_CHAIN: usize = 32;
const FLAG_CHAIN: u8 = 4;

/// One `RUNTIME_FUNCTION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) begin: u32,
    pub(super) end: u32,
    pub(super) unwind: u32,
}

fn malformed(what: &str) -> CfiMiss {
    CfiMiss::Malformed(what.to_owned())
}

/// What the module's table cannot be read for.
pub(super) fn missing(image: &PeImage, rva: u32) -> CfiMiss {
    CfiMiss::Unsupported(match image.file {
        Some(_) => format!("the file has no unwind data at {rva:#x}"),
        None => format!("the module's unwind data at {rva:#x} is not in the dump, and no file of it was found"),
    })
}

fn entry(image: &PeImage, at: u32) -> Option<Entry> {
    let bytes: [u8; 12] = image.array(at)?;
    let view = View::new(&bytes, true);
    Some(Entry { begin: view.u32(0)?, end: view.u32(4)?, unwind: view.u32(8)? })
}

/// The entry that covers an address; `Ok(None)` if the table has none.
pub(super) fn find(image: &PeImage, rva: u32) -> Result<Option<Entry>, CfiMiss> {
    let (table, size) = image.directory(DIRECTORY_EXCEPTION).ok_or(CfiMiss::NoTables)?;
    let (mut low, mut high) = (0, size / 12);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = table.wrapping_add(12 * middle);
        let found = entry(image, at).ok_or_else(|| missing(image, at))?;
        if rva < found.begin {
            high = middle;
        } else if rva >= found.end {
            low = middle + 1;
        } else {
            // Folklore: an odd address of unwind data is that of another entry, plus one (`RUNTIME_FUNCTION_INDIRECT`).
            if found.unwind & 1 == 1 {
                let other = entry(image, found.unwind & !1).ok_or_else(|| missing(image, found.unwind & !1))?;
                return Ok(Some(Entry { unwind: other.unwind & !1, ..found }));
            }
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The function that a piece of one belongs to, along the chain.
pub(super) fn primary(image: &PeImage, piece: Entry) -> Entry {
    let mut now = piece;
    for _ in 0..MAX_CHAIN {
        match Info::read(image, now.unwind).ok().and_then(|info| info.chain) {
            Some(next) => now = next,
            None => break,
        }
    }
    now
}

/// An `UNWIND_INFO`.
struct Info {
    prologue: u8,
    frame: Option<(u16, u64)>,
    codes: Vec<u8>,
    chain: Option<Entry>,
}

impl Info {
    fn read(image: &PeImage, at: u32) -> Result<Self, CfiMiss> {
        let head: [u8; 4] = image.array(at).ok_or_else(|| missing(image, at))?;
        let [first, prologue, count, frame] = head;
        if !matches!(first & 7, 1 | 2) {
            return Err(CfiMiss::Unsupported(format!("unwind data of version {}", first & 7)));
        }
        let mut codes = vec![0u8; usize::from(count) * 2];
        let from = at.checked_add(4).ok_or_else(|| malformed("unwind data at the end of the address space"))?;
        if image.read(from, &mut codes) < codes.len() {
            return Err(missing(image, from));
        }
        let frame = (frame & 15 != 0)
            .then(|| DWARF.get(usize::from(frame & 15)).map(|&dwarf| (dwarf, u64::from(frame >> 4) * 16)))
            .flatten();
        let chain = if first >> 3 & FLAG_CHAIN != 0 {
            let place = from.checked_add(u32::from(count).next_multiple_of(2) * 2);
            let place = place.ok_or_else(|| malformed("unwind data at the end of the address space"))?;
            Some(entry(image, place).ok_or_else(|| missing(image, place))?)
        } else {
            None
        };
        Ok(Self { prologue, frame, codes, chain })
    }
}

/// Registers while they are put back.
struct State<'a> {
    machine: &'a dyn Machine,
    sp: u64,
    restored: Vec<(u16, Option<u64>)>,
}

impl State<'_> {
    fn register(&self, dwarf: u16) -> Result<u64, CfiMiss> {
        if dwarf == RSP {
            return Ok(self.sp);
        }
        let known = self.restored.iter().rev().find(|(number, _)| *number == dwarf).map(|(_, value)| *value);
        known.unwrap_or_else(|| self.machine.register(dwarf)).ok_or(CfiMiss::UnknownRegister { dwarf })
    }

    fn load(&self, address: u64) -> Result<u64, CfiMiss> {
        self.machine.read(address, 8).ok_or(CfiMiss::Unreadable { address })
    }

    fn restore(&mut self, dwarf: u16, value: Option<u64>) {
        self.restored.retain(|(number, _)| *number != dwarf);
        self.restored.push((dwarf, value));
    }

    fn pop(&mut self) -> Result<u64, CfiMiss> {
        let value = self.load(self.sp)?;
        self.sp = self.sp.wrapping_add(8);
        Ok(value)
    }

    fn done(mut self, pc: u64, trap: bool, function: Option<u32>) -> Step {
        let sp = self.sp;
        self.restore(RSP, Some(sp));
        self.restore(RIP, Some(pc));
        self.restored.sort_unstable_by_key(|(number, _)| *number);
        Step {
            cfa: sp,
            registers: self.restored,
            return_register: RIP,
            signal_frame: trap,
            outermost: false,
            source: CfiSource::Pdata,
            function_start: function.map(u64::from),
            parameter_size: 0,
        }
    }
}

/// One step out of the function at `rva`.
pub(super) fn step(image: &PeImage, rva: u32, machine: &dyn Machine) -> Result<Step, CfiMiss> {
    let sp = machine.register(RSP).ok_or(CfiMiss::UnknownRegister { dwarf: RSP })?;
    let mut state = State { machine, sp, restored: Vec::new() };
    let Some(function) = find(image, rva)? else {
        if !machine.is_innermost() {
            return Err(CfiMiss::NotCovered);
        }
        let pc = state.pop()?;
        return Ok(state.done(pc, false, None));
    };
    let mut info = Info::read(image, function.unwind)?;
    let past = rva - function.begin;
    if machine.is_innermost() && past >= u32::from(info.prologue) {
        let frame = info.frame.map(|(dwarf, _)| dwarf);
        if let Some(end) = epilogue::find(image, rva, function, frame) {
            return run_epilogue(state, &end, function);
        }
    }
    let mut executed = Some(past);
    let mut trap = None;
    let first = Frame::of(&info, executed, &state)?;
    for _ in 0..MAX_CHAIN {
        undo(&info, executed, first, &mut state, &mut trap)?;
        let Some(chain) = info.chain else {
            let pc = match trap {
                Some(pc) => pc,
                None => state.pop()?,
            };
            return Ok(state.done(pc, trap.is_some(), Some(function.begin)));
        };
        // The prologue of the function that a chained piece belongs to has run whole.
        executed = None;
        info = Info::read(image, chain.unwind)?;
    }
    Err(malformed("chained unwind data goes on and on"))
}

/// Where registers that were saved with `mov` are counted from.
#[derive(Clone, Copy)]
struct Frame(u64);

impl Frame {
    fn of(info: &Info, executed: Option<u32>, state: &State<'_>) -> Result<Self, CfiMiss> {
        let Some((dwarf, offset)) = info.frame else { return Ok(Self(state.sp)) };
        let established = executed.is_none_or(|past| past >= u32::from(info.prologue))
            || info.chain.is_some()
            || slots(&info.codes).any(|code| code.op == 3 && executed.is_some_and(|past| past >= u32::from(code.at)));
        Ok(Self(if established { state.register(dwarf)?.wrapping_sub(offset) } else { state.sp }))
    }
}

struct Code {
    at: u8,
    op: u8,
    info: u8,
    /// What follows it, as a number.
    extra: u32,
}

/// The codes, each with the slots that follow it. Ends at an unknown one, which it gives with `op` 255.
fn slots(codes: &[u8]) -> impl Iterator<Item = Code> + '_ {
    let mut index = 0usize;
    std::iter::from_fn(move || {
        let slot = |n: usize| {
            let at = n.checked_mul(2)?;
            Some((codes.get(at).copied()?, codes.get(at + 1).copied()?))
        };
        let (at, word) = slot(index)?;
        let (op, info) = (word & 15, word >> 4);
        let more = match (op, info) {
            (0 | 2 | 3 | 10, _) => 0,
            (1, 0) | (4 | 6 | 8, _) => 1,
            (1, 1) | (5 | 7 | 9, _) => 2,
            _ => {
                index = usize::MAX / 4;
                return Some(Code { at, op: 255, info, extra: u32::from(word) });
            }
        };
        let number = |n: usize| slot(n).map_or(0, |(low, high)| u32::from(u16::from_le_bytes([low, high])));
        let extra = match more {
            0 => 0,
            1 => number(index + 1),
            _ => number(index + 1) | number(index + 2) << 16,
        };
        index += 1 + more;
        Some(Code { at, op, info, extra })
    })
}

fn undo(
    info: &Info,
    executed: Option<u32>,
    frame: Frame,
    state: &mut State<'_>,
    trap: &mut Option<u64>,
) -> Result<(), CfiMiss> {
    for code in slots(&info.codes) {
        let skipped = executed.is_some_and(|past| u32::from(code.at) > past);
        // An epilogue's code has another meaning of the offset.
        if code.op == 6 || (skipped && code.op != 255) {
            continue;
        }
        let dwarf = DWARF.get(usize::from(code.info)).copied().unwrap_or(RSP);
        match code.op {
            0 => {
                let value = state.pop()?;
                state.restore(dwarf, Some(value));
            }
            1 if code.info == 0 => state.sp = state.sp.wrapping_add(u64::from(code.extra) * 8),
            1 => state.sp = state.sp.wrapping_add(u64::from(code.extra)),
            2 => state.sp = state.sp.wrapping_add(u64::from(code.info) * 8 + 8),
            3 => {
                let (dwarf, offset) = info.frame.ok_or_else(|| malformed("a frame pointer that is no register"))?;
                state.sp = state.register(dwarf)?.wrapping_sub(offset);
            }
            4 | 5 => {
                let distance = if code.op == 4 { u64::from(code.extra) * 8 } else { u64::from(code.extra) };
                let value = state.machine.read(frame.0.wrapping_add(distance), 8);
                state.restore(dwarf, value);
            }
            10 => {
                // What the processor pushes at a trap: an error code or none, then rip, cs, rflags, rsp, ss.
                let at = state.sp.wrapping_add(if code.info == 0 { 0 } else { 8 });
                *trap = Some(state.load(at)?);
                state.sp = state.load(at.wrapping_add(24))?;
            }
            255 => return Err(CfiMiss::Unsupported(format!("unwind code {:#x}", code.extra))),
            // 128-bit registers, which are not followed.
            _ => {}
        }
    }
    Ok(())
}

fn run_epilogue(mut state: State<'_>, end: &epilogue::Epilogue, function: Entry) -> Result<Step, CfiMiss> {
    if let Some((base, distance)) = end.stack {
        let base = match base {
            Some(register) => state.register(DWARF.get(usize::from(register)).copied().unwrap_or(RSP))?,
            None => state.sp,
        };
        state.sp = base.wrapping_add(distance);
    }
    for &register in &end.pops {
        let value = state.pop()?;
        state.restore(DWARF.get(usize::from(register)).copied().unwrap_or(RSP), Some(value));
    }
    let pc = state.pop()?;
    Ok(state.done(pc, false, Some(function.begin)))
}
