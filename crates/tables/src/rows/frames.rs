//! The frames of the threads' stacks.

use super::threads_asked;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_dump::CodeAddr;
use afterimage_target::{Frame, Location, Module, StackEnd, Target, Trust};

row! {
    /// The frames of the threads' stacks, innermost first. Inlined functions have rows of their own.
    FrameRow {
        /// Thread id.
        tid: u32,
        /// Place on the stack, from 0 for the innermost.
        index: usize,
        /// Code address: the instruction of the innermost frame, the return address of all others.
        pc: Addr,
        /// Function, demangled.
        function: Field<String>,
        /// Bytes from the start of the function.
        offset: Field<u64>,
        /// Where the function's name comes from, as `dwarf`, `symtab`, `pdb`, `export`. One that begins with `nearest` is the
        /// last label before the address, which may be another function's.
        symbol: Field<&'static str>,
        /// File name of the module.
        module: Field<String>,
        /// Bytes from the module's base.
        module_offset: Field<Addr>,
        /// Source file.
        file: Field<String>,
        /// Line in the source file.
        line: Field<u32>,
        /// Column in the line.
        column: Field<u32>,
        /// Whether the function was inlined into the next row's.
        inlined: bool,
        /// How the frame was found: `context`, `signal_frame`, `cfi`, `unwind_data`, `call_site`,
        /// `frame_pointer`, `scan`, or `reported` where the dump is a report.
        trust: &'static str,
        /// Why a better rule failed.
        why: Field<String>,
    }
}

/// The rows of the thread with this index in the dump.
#[must_use]
pub fn rows(target: &Target, thread: usize) -> Vec<FrameRow> {
    rows_upto(target, thread, usize::MAX)
}

/// The rows of only so many frames, the innermost ones: debug information is not read for the others.
#[must_use]
pub fn rows_upto(target: &Target, thread: usize, frames: usize) -> Vec<FrameRow> {
    let Some(tid) = target.dump().threads.get(thread).map(|thread| thread.tid) else { return Vec::new() };
    let mut rows = Vec::new();
    let stack = target.stack(thread);
    let mut hidden = 0;
    for (index, frame) in stack.frames.iter().enumerate().take(frames) {
        // Frames that were left out count, so that a number is the frame's true place.
        hidden += stack.omitted.filter(|omitted| omitted.at == index).map_or(0, |omitted| omitted.frames as usize);
        let module = target.module_at(frame.address.lookup());
        let places = target.locate(frame.address);
        if places.is_empty() {
            rows.push(row(target, tid, rows.len() + hidden, frame, module, &Location::default()));
        }
        for place in places.iter() {
            rows.push(row(target, tid, rows.len() + hidden, frame, module, place));
        }
    }
    rows
}

fn row(target: &Target, tid: u32, index: usize, frame: &Frame, module: Option<&Module>, place: &Location) -> FrameRow {
    let no_module = Absent::because("the address lies in no module");
    let no_symbol = match module {
        Some(_) => Absent::because("no symbol covers the address"),
        None => no_module.clone(),
    };
    let no_line = match module {
        Some(_) => Absent::because("no debug information covers the address"),
        None => no_module.clone(),
    };
    let at = frame.address.address();
    FrameRow {
        tid,
        index,
        pc: Addr(at.0),
        function: place.function.clone().ok_or(no_symbol.clone()),
        offset: place.offset.ok_or(if place.inlined { Absent::because("inlined") } else { no_symbol.clone() }),
        symbol: place.source.ok_or(if place.inlined { Absent::because("inlined") } else { no_symbol }),
        module: module
            .map(|module| module.name())
            .or_else(|| target.reported_image(frame.address))
            .map(str::to_owned)
            .ok_or(no_module.clone()),
        module_offset: module.map(|module| Addr(at.0.wrapping_sub(module.base.0))).ok_or(no_module),
        file: place.file.clone().ok_or(no_line.clone()),
        line: place.line.ok_or(no_line.clone()),
        column: place.column.ok_or(no_line),
        inlined: place.inlined,
        trust: frame.trust.word(),
        why: match (frame.why.is_empty(), frame.trust) {
            (false, _) => Ok(frame.why.clone()),
            (true, Trust::Reported) => Err(Absent::because("the report states it")),
            (true, _) => Err(Absent::because("the best rule held")),
        },
    }
}

/// Whether the address of a frame is a return address.
#[must_use]
pub fn is_return(frame: &Frame) -> bool {
    matches!(frame.address, CodeAddr::Return(_))
}

/// Why a stack ends, in words; `None` where it ends as it should.
#[must_use]
pub fn end_in_words(end: &StackEnd) -> Option<String> {
    match end {
        StackEnd::Outermost => None,
        StackEnd::Lost(why) => Some(format!("the stack is lost here: {why}")),
        StackEnd::Limit(frames) => Some(format!("more than {frames} frames: the rest is left out")),
        StackEnd::Loop => Some("the stack goes round in a circle here".to_owned()),
        StackEnd::NoRegisters => Some("the dump holds no registers of this thread".to_owned()),
        _ => Some("the stack ends here".to_owned()),
    }
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    for thread in threads_asked(target, params)? {
        for row in rows(target, thread) {
            if emit(sink, row).is_break() {
                return Ok(());
            }
        }
        if let (Some(words), Some(thread)) =
            (end_in_words(&target.stack(thread).end), target.dump().threads.get(thread))
        {
            sink.note(&format!("thread {}: {words}", thread.tid));
        }
    }
    Ok(())
}
