//! Stacks that a report states: there is no memory to unwind, and nothing to judge them by.
//!
//! *What it is not*: a source of better names than debug information; where a dSYM tells a place, that is taken.
//!
//! *Example*: a line of a report that is `inline` shares its address with the next one; both are one physical frame.
//!
//! *Trap*: Apple writes the function that a trap was inlined into as a second frame with the same address, unmarked. The
//! address is then no return address, although the frame is not the innermost.

use super::purse::Limits;
use super::{Frame, Stack, StackEnd, Trust};
use crate::target::Location;
use afterimage_dump::apple_report::{Report, ReportKind, ReportedFrame};
use afterimage_dump::{Arch, CodeAddr, Registers, Virt};
use std::collections::HashMap;

/// What a report says of one code address.
pub(crate) struct Said {
    /// The image's name.
    pub(crate) image: Option<String>,
    pub(crate) locations: Vec<Location>,
}

/// What a report says of code addresses.
pub(crate) type Reported = HashMap<u64, Said>;

/// Frames in groups that share an address: the inlined ones and the one that they were inlined into.
fn physical(frames: &[ReportedFrame]) -> impl Iterator<Item = &[ReportedFrame]> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let same = |frame: &&ReportedFrame| frame.inlined && frame.address == first.address;
        let inlined = rest.iter().take_while(same).count();
        let more = rest.get(inlined).is_some_and(|frame| frame.address == first.address);
        let (group, behind) = rest.split_at_checked((inlined + usize::from(more)).max(1))?;
        rest = behind;
        Some(group)
    })
}

/// The stack of the thread with this index.
pub(super) fn stack(report: &Report, thread: usize, arch: Arch, registers: Registers, limits: Limits) -> Stack {
    let frames = report.threads.get(thread).map_or(&[][..], |thread| &thread.frames);
    let panicked = report.kind == ReportKind::Panic && thread == 0;
    let first = frames.first().map(|frame| frame.address);
    let mut exact = !panicked;
    let mut out = Vec::new();
    let mut total = 0;
    for group in physical(frames) {
        let Some(frame) = group.first() else { continue };
        total += 1;
        if out.len() >= limits.frames {
            continue;
        }
        let at = Virt(frame.address);
        exact = exact && Some(frame.address) == first;
        let own = if out.is_empty() {
            registers
        } else {
            let mut known = Registers::new(arch);
            known.set(arch.info().pc, frame.address);
            known
        };
        out.push(Frame {
            address: if exact { CodeAddr::Exact(at) } else { CodeAddr::Return(at) },
            registers: own,
            trust: Trust::Reported,
            why: String::new(),
            signal_trampoline: false,
            cfa: None,
        });
    }
    let end = match (out.is_empty(), total > out.len()) {
        (true, _) => StackEnd::Lost("the report states no stack of this thread".to_owned()),
        (false, true) => StackEnd::Limit(out.len()),
        (false, false) => StackEnd::Outermost,
    };
    Stack { frames: out, end, omitted: None }
}

/// What the report says of each address that it names.
pub(crate) fn places(report: &Report) -> Reported {
    let mut places = Reported::new();
    let threads = report.threads.iter().map(|thread| &thread.frames);
    for frames in threads.chain(std::iter::once(&report.last_exception)) {
        for group in physical(frames) {
            let Some(address) = group.first().map(|frame| frame.address) else { continue };
            if places.contains_key(&address) {
                continue;
            }
            let last = group.len() - 1;
            let known = group.iter().enumerate().filter(|(_, frame)| frame.symbol.is_some() || frame.file.is_some());
            let locations = known.map(|(index, frame)| Location {
                function: frame.symbol.as_deref().map(afterimage_symbols::demangle),
                offset: frame.symbol_offset.filter(|_| index == last),
                file: frame.file.clone(),
                line: frame.line,
                column: None,
                inlined: index < last,
                source: frame.symbol.is_some().then_some("report"),
            });
            let image = group.iter().find_map(|frame| frame.image.clone());
            places.insert(address, Said { image, locations: locations.collect() });
        }
    }
    places
}
