//! The stack of a Windows kernel without unwind tables: every word that can be a return address, in order.
//!
//! *What it is not*: an unwinder. What it lists was called at some time; a few of the entries may be left over from calls
//! that are long over.
//!
//! *Example*: of rizin's triage_x64.dmp it finds all return addresses that rizin finds with Microsoft's symbols from the
//! exception on, and others between them.
//!
//! *Trap*: pointers to a driver's *data* lie in its image too. Where the dump holds the image's headers, they tell code
//! from data; where it holds the code, a call must stand before the address.

use super::purse::Limits;
use super::rules::Rules;
use super::world::World;
use super::{Frame, Stack, StackEnd, Trust};
use afterimage_dump::{CodeAddr, Registers, Virt};

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
        if frames.len() >= most {
            return Stack { frames, end: StackEnd::Limit(most), omitted: None };
        }
        let why = match call {
            super::callsite::Call::Unknown => {
                "a word of the stack that lies in a driver; the code before it is not in the dump"
            }
            _ => "a word of the stack behind a call instruction",
        };
        let mut here = Registers::new(registers.arch());
        let info = world.arch().info();
        here.set(info.pc, landing);
        here.set(info.sp, at + word);
        frames.push(frame(CodeAddr::Return(Virt(landing)), here, Trust::Scan, why));
    }
    let end = match read {
        0 => StackEnd::Lost("the stack is not in the dump".to_owned()),
        _ => StackEnd::Outermost,
    };
    Stack { frames, end, omitted: None }
}
