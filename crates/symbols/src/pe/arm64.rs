//! One step out of an arm64 function by its unwind data: packed into the entry of `.pdata`, or a record in `.xdata`.
//!
//! Not here: arm64ec's own frames, and SVE's stack areas, whose size only the processor knew.
//!
//! Trap: each code stands for one instruction of four bytes. That is all there is to know how far a prologue has come, so
//! even an instruction without effect has a code (`nop`).

use super::arm64_codes::{Op, Packed, decode};
use super::x64::missing;
use super::{DIRECTORY_EXCEPTION, PeImage};
use crate::{CfiMiss, CfiSource, Machine, Step};

const FP: u16 = 29;
const LR: u16 = 30;
const SP: u16 = 31;
/// Folklore: kernel and system libraries have epilogues by the dozen, never thousands.
const MAX_EPILOGUES: u32 = 4096;

/// An entry of `.pdata`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) begin: u32,
    word: u32,
}

/// What unwind data says at one address.
struct Rule {
    begin: u32,
    ops: Vec<Op>,
}

fn entry(image: &PeImage, table: u32, index: u32) -> Result<Entry, CfiMiss> {
    let at = table.wrapping_add(8 * index);
    let begin = image.u32(at).ok_or_else(|| missing(image, at))?;
    let word = image.u32(at.wrapping_add(4)).ok_or_else(|| missing(image, at))?;
    Ok(Entry { begin, word })
}

/// The entry that begins last before an address; where it ends only its unwind data says.
fn before(image: &PeImage, rva: u32) -> Result<Option<Entry>, CfiMiss> {
    let (table, size) = image.directory(DIRECTORY_EXCEPTION).ok_or(CfiMiss::NoTables)?;
    let (mut low, mut high) = (0, size / 8);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(image, table, middle)?.begin <= rva {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low.checked_sub(1).map(|index| entry(image, table, index)).transpose()
}

/// Where the function at an address begins and ends.
pub(super) fn bounds(image: &PeImage, rva: u32) -> Result<Option<(u32, u32)>, CfiMiss> {
    let Some(entry) = before(image, rva)? else { return Ok(None) };
    let length = match entry.word & 3 {
        0 => (image.u32(entry.word).ok_or_else(|| missing(image, entry.word))? & 0x3_ffff) * 4,
        _ => Packed::new(entry.word).length(),
    };
    Ok((rva - entry.begin < length).then(|| (entry.begin, entry.begin.saturating_add(length))))
}

/// `innermost`: only there can a function be in its epilogue. A call that never returns may be its last instruction.
fn rule(image: &PeImage, rva: u32, innermost: bool) -> Result<Option<Rule>, CfiMiss> {
    let Some(entry) = before(image, rva)? else { return Ok(None) };
    let past = rva - entry.begin;
    match entry.word & 3 {
        0 => record(image, entry, past, innermost),
        1 | 2 => {
            let packed = Packed::new(entry.word);
            Ok((past < packed.length()).then(|| by_packed(packed, entry, past, innermost)))
        }
        _ => Err(CfiMiss::Unsupported("packed unwind data of kind 3".to_owned())),
    }
}

fn by_packed(packed: Packed, entry: Entry, past: u32, innermost: bool) -> Rule {
    let (ops, epilogue) = packed.ops();
    let prologue = (ops.len() - 1) as u32;
    // The epilogue ends the function, with its return.
    let left = (packed.length() - past) / 4;
    let ops = if packed.has_prologue() && past / 4 < prologue {
        rest(ops, prologue - past / 4)
    } else if innermost && left <= epilogue.len() as u32 {
        {
            let skip = epilogue.len() as u32 - left;
            rest(epilogue, skip)
        }
    } else {
        ops
    };
    Rule { begin: entry.begin, ops }
}

/// All but the first.
fn rest(mut ops: Vec<Op>, skip: u32) -> Vec<Op> {
    ops.drain(..ops.len().min(skip as usize));
    ops
}

fn record(image: &PeImage, entry: Entry, past: u32, innermost: bool) -> Result<Option<Rule>, CfiMiss> {
    let at = entry.word;
    let word = |at: u32| image.u32(at).ok_or_else(|| missing(image, at));
    let head = word(at)?;
    if past >= (head & 0x3_ffff) * 4 {
        return Ok(None);
    }
    if head >> 18 & 3 != 0 {
        return Err(CfiMiss::Unsupported(format!("arm64 unwind data of version {}", head >> 18 & 3)));
    }
    let single = head >> 21 & 1 == 1;
    let (mut epilogues, mut words) = (head >> 22 & 31, head >> 27);
    let mut next = at.wrapping_add(4);
    if epilogues == 0 && words == 0 {
        let more = word(next)?;
        (epilogues, words) = (more & 0xffff, more >> 16 & 0xff);
        next = next.wrapping_add(4);
    }
    let scopes = if single { 0 } else { epilogues };
    let codes_at = next.wrapping_add(4 * scopes);
    let mut codes = vec![0u8; words as usize * 4];
    if image.read(codes_at, &mut codes) < codes.len() {
        return Err(missing(image, codes_at));
    }
    let from = |index: u32| decode(codes.get(index as usize..).unwrap_or_default());
    let prologue = from(0);
    let instructions = |ops: &[Op]| ops.iter().take_while(|op| **op != Op::End).count() as u32;
    let in_prologue = instructions(&prologue);
    if past / 4 < in_prologue {
        return Ok(Some(Rule { begin: entry.begin, ops: rest(prologue, in_prologue - past / 4) }));
    }
    if !innermost {
        return Ok(Some(Rule { begin: entry.begin, ops: prologue }));
    }
    let within = |start: u32, index: u32| {
        let ops = from(index);
        // The return is an instruction too.
        let done = past.checked_sub(start)? / 4;
        (done <= instructions(&ops)).then(|| Rule { begin: entry.begin, ops: rest(ops, done) })
    };
    if single {
        let length = (head & 0x3_ffff) * 4;
        let start = length.saturating_sub(4 * (instructions(&from(epilogues)) + 1));
        if let Some(rule) = within(start, epilogues) {
            return Ok(Some(rule));
        }
    }
    for index in 0..scopes.min(MAX_EPILOGUES) {
        let scope = word(next.wrapping_add(4 * index))?;
        if let Some(rule) = within((scope & 0x3_ffff) * 4, scope >> 22) {
            return Ok(Some(rule));
        }
    }
    Ok(Some(Rule { begin: entry.begin, ops: prologue }))
}

/// One step out of the function at `rva`.
pub(super) fn step(image: &PeImage, rva: u32, machine: &dyn Machine) -> Result<Step, CfiMiss> {
    let known = |dwarf: u16| machine.register(dwarf).ok_or(CfiMiss::UnknownRegister { dwarf });
    let mut sp = known(SP)?;
    let Some(rule) = rule(image, rva, machine.is_innermost())? else {
        if !machine.is_innermost() {
            return Err(CfiMiss::NotCovered);
        }
        let back = machine.strip_pointer(known(LR)?);
        return Ok(done(vec![(LR, Some(back)), (SP, Some(sp))], sp, false, None));
    };
    let mut restored: Vec<(u16, Option<u64>)> = Vec::new();
    let mut trap = false;
    for (index, op) in rule.ops.iter().enumerate() {
        match *op {
            Op::Alloc(bytes) => sp = sp.wrapping_add(u64::from(bytes)),
            Op::LoadFloat { then } => sp = sp.wrapping_add(u64::from(then)),
            Op::Load { first, second, at, then } => {
                let from = sp.wrapping_add(u64::from(at));
                put(&mut restored, u16::from(first), machine.read(from, 8));
                if let Some(second) = second {
                    put(&mut restored, u16::from(second), machine.read(from.wrapping_add(8), 8));
                }
                sp = sp.wrapping_add(u64::from(then));
            }
            Op::Next => {
                // So many pairs behind the first one that has a number.
                let (mut ahead, mut pairs) = (rule.ops.get(index + 1..).unwrap_or_default().iter(), 1u32);
                let base = ahead.find(|op| {
                    pairs += u32::from(**op == Op::Next);
                    **op != Op::Next
                });
                if let Some(&Op::Load { first, at, .. }) = base {
                    let from = sp.wrapping_add(u64::from(at) + 16 * u64::from(pairs));
                    let number = u16::from(first).saturating_add(2 * pairs.min(16) as u16);
                    for (number, from) in [(number, from), (number + 1, from.wrapping_add(8))] {
                        if number <= LR {
                            put(&mut restored, number, machine.read(from, 8));
                        }
                    }
                }
            }
            Op::Frame(less) => {
                let frame = restored.iter().find(|(number, _)| *number == FP).map(|(_, value)| *value);
                let frame = frame.unwrap_or_else(|| machine.register(FP));
                sp = frame.ok_or(CfiMiss::UnknownRegister { dwarf: FP })?.wrapping_sub(u64::from(less));
            }
            Op::MachineFrame => {
                let at = |place: u64| machine.read(place, 8).ok_or(CfiMiss::Unreadable { address: place });
                let pc = at(sp.wrapping_add(8))?;
                sp = at(sp)?;
                put(&mut restored, LR, Some(pc));
                trap = true;
            }
            Op::Context => {
                // `CONTEXT` of arm64: flags and status, x0 to x28, fp, lr, sp at 0x100, pc at 0x108.
                let at = |place: u64| machine.read(place, 8).ok_or(CfiMiss::Unreadable { address: place });
                let pc = at(sp.wrapping_add(0x108))?;
                for number in 0..LR {
                    put(&mut restored, number, machine.read(sp.wrapping_add(8 + 8 * u64::from(number)), 8));
                }
                sp = at(sp.wrapping_add(0x100))?;
                put(&mut restored, LR, Some(pc));
                trap = true;
            }
            Op::Signed | Op::Nop => {}
            Op::End => break,
            Op::Unknown(code) => return Err(CfiMiss::Unsupported(format!("arm64 unwind code {code:#x}"))),
        }
    }
    let saved = restored.iter().find(|(number, _)| *number == LR).map(|(_, value)| *value);
    let back = match saved {
        Some(value) => value.ok_or(CfiMiss::Unreadable { address: sp })?,
        // A function that calls has saved it; only the innermost may still have it.
        None if machine.is_innermost() => known(LR)?,
        None => return Err(CfiMiss::Malformed("the function calls, and has not saved its return address".to_owned())),
    };
    put(&mut restored, LR, Some(machine.strip_pointer(back)));
    put(&mut restored, SP, Some(sp));
    Ok(done(restored, sp, trap, Some(rule.begin)))
}

fn put(restored: &mut Vec<(u16, Option<u64>)>, number: u16, value: Option<u64>) {
    restored.retain(|(known, _)| *known != number);
    restored.push((number, value));
}

fn done(mut registers: Vec<(u16, Option<u64>)>, cfa: u64, trap: bool, begin: Option<u32>) -> Step {
    registers.sort_unstable_by_key(|(number, _)| *number);
    Step {
        cfa,
        registers,
        return_register: LR,
        signal_frame: trap,
        outermost: false,
        source: CfiSource::Pdata,
        function_start: begin.map(u64::from),
        parameter_size: 0,
    }
}
