//! The stack of a Windows kernel without unwind tables: every word that can be a return address, in order.
//!
//! *What it is not*: an unwinder. What it lists was called at some time; a few of the entries may be left over from calls
//! that are long over.
//!
//! *Example*: of rizin's triage_x64.dmp it finds all return addresses that rizin finds with Microsoft's symbols from the
//! exception on, and others between them.
//!
//! On aarch64 Windows' kernel keeps frame records, and their chain is the stack; the scan is for stacks without one.
//!
//! *Trap*: pointers to a driver's *data* lie in its image too. Where the dump holds the image's headers, they tell code
//! from data; where it holds the code, a call must stand before the address.

use super::callsite::Call;
use super::purse::Limits;
use super::rules::Rules;
use super::world::World;
use super::{Frame, Stack, StackEnd, Trust};
use afterimage_dump::{Arch, CodeAddr, Registers, Virt};
use std::collections::HashMap;

/// Bytes of a kernel stack that are looked at: the largest that Windows has.
const MOST: u64 = 72 << 10;
/// Frames that are kept.
const MAX_FRAMES: usize = 96;
/// Words of a hole in the stack (a page that is not there) before it is taken for its end.
const HOLE: u64 = 8;

/// Looks through the stack from the stack pointer up.
pub(super) fn scan(world: &dyn World, registers: Registers, limits: Limits) -> Stack {
    let Some(pc) = registers.pc() else { return Stack::default() };
    let rules = Rules::new(world);
    let frame = |address, registers, trust, why: &str| Frame {
        address,
        registers,
        trust,
        why: why.to_owned(),
        signal_trampoline: false,
        cfa: None,
    };
    let mut frames = vec![frame(CodeAddr::Exact(pc), registers, Trust::Context, "")];
    let Some(sp) = registers.sp() else {
        return Stack { frames, end: StackEnd::Lost("the stack pointer is not known".to_owned()), omitted: None };
    };
    let word = world.arch().info().pointer_size.max(4) as u64;
    let first = sp.0 & !(word - 1);
    let most = limits.frames.clamp(1, MAX_FRAMES);
    if world.arch() == Arch::Aarch64 && links(&rules, world, registers, most, &mut frames) {
        return Stack { frames, end: StackEnd::Outermost, omitted: None };
    }
    let mut found: Vec<(u64, u64, bool)> = Vec::new();
    let mut missing = 0;
    let mut read = 0u64;
    for index in 0..MOST / word {
        let Some(at) = first.checked_add(index * word) else { break };
        let Ok(raw) = rules.memory.uint(at, word as usize) else {
            missing += 1;
            if missing > HOLE {
                break;
            }
            continue;
        };
        missing = 0;
        read += 1;
        let landing = rules.landing(raw);
        if !world.in_module(landing.wrapping_sub(1)) || !world.is_executable(landing) {
            continue;
        }
        let call = rules.call_before(raw);
        // The first page of a driver is its headers.
        if !call.possible() || !world.in_module(landing.wrapping_sub(0x1000)) {
            continue;
        }
        found.push((at, landing, call == Call::Unknown));
    }
    let mut times: HashMap<u64, usize> = HashMap::new();
    for (_, landing, _) in &found {
        *times.entry(*landing).or_default() += 1;
    }
    let pointer = |landing: u64| landing.is_multiple_of(16) && times.get(&landing).is_some_and(|times| *times >= 3);
    for (at, landing, unseen) in found {
        if unseen && pointer(landing) {
            continue;
        }
        if frames.len() >= most {
            return Stack { frames, end: StackEnd::Limit(most), omitted: None };
        }
        let why = match unseen {
            true => "a word of the stack that lies in a driver; the code before it is not in the dump",
            false => "a word of the stack behind a call instruction",
        };
        frames.push(frame(CodeAddr::Return(Virt(landing)), place(world, landing, at + word), Trust::Scan, why));
    }
    let end = match read {
        0 => StackEnd::Lost("the stack is not in the dump".to_owned()),
        _ => StackEnd::Outermost,
    };
    Stack { frames, end, omitted: None }
}

/// A frame's registers: all that is known of it is where it is.
fn place(world: &dyn World, pc: u64, sp: u64) -> Registers {
    let info = world.arch().info();
    let mut registers = Registers::new(world.arch());
    registers.set(info.pc, pc);
    registers.set(info.sp, sp);
    registers
}

/// Follows frame records `{caller's frame pointer, return address}`; `false` where there is no chain.
fn links(rules: &Rules<'_>, world: &dyn World, registers: Registers, most: usize, frames: &mut Vec<Frame>) -> bool {
    let (Some(fp), Some(sp)) = (registers.fp(), registers.sp()) else { return false };
    let (mut fp, low) = (fp.0, sp.0);
    let mut chain = Vec::new();
    while chain.len() < most && fp.is_multiple_of(8) && fp >= low && fp - low < MOST {
        let (Ok(next), Ok(raw)) = (rules.memory.uint(fp, 8), rules.memory.uint(fp.wrapping_add(8), 8)) else { break };
        let landing = rules.landing(raw);
        if !world.in_module(landing.wrapping_sub(1)) {
            break;
        }
        let mut here = place(world, landing, fp.wrapping_add(16));
        if let Some(slot) = world.arch().info().fp {
            here.set(slot, next);
        }
        chain.push(Frame {
            address: CodeAddr::Return(Virt(landing)),
            registers: here,
            trust: Trust::FramePointer,
            why: String::new(),
            signal_trampoline: false,
            cfa: Some(Virt(fp.wrapping_add(16))),
        });
        if next <= fp {
            break;
        }
        fp = next;
    }
    let good = chain.len() >= 2;
    if good {
        chain.truncate(most.saturating_sub(frames.len()));
        frames.append(&mut chain);
    }
    good
}
