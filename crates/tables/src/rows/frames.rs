//! The frames of the threads' stacks.

use super::threads_asked;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_dump::CodeAddr;
use afterimage_target::linux::Linux;
use afterimage_target::{Frame, Location, Module, StackEnd, Target, Trust};
use std::ops::ControlFlow;

row! {
    /// The frames of the threads' stacks, innermost first. Inlined functions have rows of their own.
    FrameRow {
        /// Thread id; of a machine the number of a processor.
        tid: u32,
        /// Place on the stack, from 0 for the innermost.
        index: usize,
        /// Code address: the instruction of the innermost frame, the return address of all others.
        pc: Addr,
        /// Function, demangled.
        function: Field<String>,
        /// Bytes from the start of the function.
        offset: Field<u64>,
        /// Where the function's name comes from, as `dwarf`, `symtab`, `pdb`, `export`, `kallsyms`. One that begins with `nearest` is the
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

/// The kernel's stack on a processor of a Linux machine, by the kernel's own names.
fn of_processor(target: &Target, linux: &Linux, cpu: u32, sink: &mut dyn Sink) -> ControlFlow<()> {
    let Some(stack) = linux.stack_of_cpu(cpu) else { return ControlFlow::Continue(()) };
    let lines = target.kernel_lines().map_err(|why| Absent::because(why.to_owned()));
    let unnamed = || Absent::because("no symbol of the kernel holds it");
    let no_line = || Absent::because("no line stands for the address");
    let places = stack.frames.iter().flat_map(|frame| {
        let places = super::kernel_frames::places(&lines, frame);
        places.into_iter().map(move |place| (frame, place))
    });
    for (index, (frame, place)) in places.enumerate() {
        let inlined = place.as_ref().is_ok_and(|place| place.inlined);
        let (function, source) = match &place {
            // Of the function itself the kernel's own name is the better one.
            Ok(place) if inlined => (place.function.clone(), "dwarf"),
            _ => (frame.function.clone(), "kallsyms"),
        };
        let named = function.is_some();
        let own = |value| match (inlined, named) {
            (true, _) => Err(Absent::because("inlined")),
            (false, true) => Ok(value),
            (false, false) => Err(unnamed()),
        };
        let place = place.as_ref();
        let row = FrameRow {
            tid: cpu,
            index,
            pc: Addr(frame.pc),
            function: function.ok_or_else(unnamed),
            offset: own(frame.offset),
            symbol: if named { Ok(source) } else { Err(unnamed()) },
            module: frame.module.clone().ok_or(Absent::because("it is in no module")),
            module_offset: Err(Absent::because("modules of a kernel lie in several pieces")),
            file: place.map_err(Clone::clone).and_then(|place| place.file.clone().ok_or_else(no_line)),
            line: place.map_err(Clone::clone).and_then(|place| place.line.ok_or_else(no_line)),
            column: place.map_err(Clone::clone).and_then(|place| place.column.ok_or_else(no_line)),
            inlined,
            trust: frame.trust.word(),
            why: Err(Absent::because("the best rule held")),
        };
        emit(sink, row)?;
    }
    if !stack.complete || stack.frames.is_empty() {
        sink.note(&format!("processor {cpu}: {}", stack.end));
    }
    ControlFlow::Continue(())
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    if target.dump().machine.is_some()
        && let Ok(linux) = target.linux()
    {
        let cpus: Vec<u32> = match params.number("tid")? {
            None => target.processors(),
            Some(_) => {
                threads_asked(target, params)?.filter_map(|at| Some(target.dump().threads.get(at)?.tid)).collect()
            }
        };
        sink.note(
            "these are the processors; `kernel_frames` has all tasks, `user_frames` what they did in their programs",
        );
        let _ = cpus.into_iter().try_for_each(|cpu| of_processor(target, linux, cpu, sink));
        return Ok(());
    }
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
