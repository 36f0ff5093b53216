//! The variables of frames: one row for each parameter and local.
//!
//! *Trap*: an inlined function is a frame of its own in `frames`, and so are its variables; all of one address share the
//! registers of the one frame that exists.

use super::{kernel_frames, linux::linux, threads_asked};
use crate::cell::{Absent, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Param, Params, TableError, emit};
use afterimage_target::linux::{KernelStack, Linux};
use afterimage_target::{FrameVariables, Location, Target, Trust, VariableKind, VariableValue};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

row! {
    /// The parameters and local variables of stack frames, by DWARF: of all threads, or of the one that is asked for. Of a
    /// Linux machine they need its vmlinux (`--debug`), and are those of what its processors ran, or with `pid=` of a
    /// process's threads in the kernel.
    VariableRow {
        /// Thread id; of a machine the number of a processor, or with `pid=` the thread id.
        tid: u32,
        /// Place on the stack as in `frames`; with `pid=` as in `kernel_frames`.
        frame: usize,
        /// Function that it belongs to, demangled.
        function: Field<String>,
        /// `parameter` or `local`.
        kind: &'static str,
        /// Name.
        name: String,
        /// Type, as its language writes it.
        r#type: String,
        /// Value: numbers in decimal, pointers in hex with what they lead to, where that is a text or has a name;
        /// structures and arrays in braces, cut with `…` where they are large.
        value: Field<String>,
    }
}

pub(crate) const PARAMS: &[Param] = &[
    Param { name: "tid", doc: "only this thread; of a machine this processor, or with pid= this thread" },
    Param { name: "frame", doc: "only the frame with this index" },
    Param { name: "pid", doc: "of a machine: the threads of this process, in the kernel" },
];

/// Frames of one stack that are gone through, unless one is asked for.
const MOST_FRAMES: usize = 1000;

/// The variables of a frame that belong to one of the functions at its address.
#[must_use]
pub fn of_level(found: &[VariableValue], level: usize, levels: usize) -> Vec<&VariableValue> {
    // Two readers of the same entries: should they ever disagree, nothing is lost.
    let last = levels.saturating_sub(1);
    found.iter().filter(|variable| variable.level.min(last) == level).collect()
}

/// The word for a kind.
#[must_use]
pub fn kind(variable: &VariableValue) -> &'static str {
    match variable.kind {
        VariableKind::Parameter => "parameter",
        VariableKind::Local => "local",
    }
}

/// Where rows go, and what is to be said of those that are not there.
struct Writer<'s> {
    sink: &'s mut dyn Sink,
    /// The frame that is asked for.
    frame: Option<u64>,
    /// Frames that there are.
    frames: usize,
    /// Frames that have been looked at.
    looked: usize,
    rows: usize,
    /// Why frames have none, and how many.
    missing: BTreeMap<String, usize>,
}

impl Writer<'_> {
    fn wants(&self, first: usize, levels: usize) -> bool {
        self.frame.is_none_or(|frame| (first as u64..(first + levels) as u64).contains(&frame))
    }

    /// One frame that exists: `function` names each function at its address.
    fn frame(
        &mut self,
        tid: u32,
        first: usize,
        functions: &[Option<String>],
        found: FrameVariables,
    ) -> ControlFlow<()> {
        self.looked += 1;
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                *self.missing.entry(why).or_default() += 1;
                return ControlFlow::Continue(());
            }
        };
        for (level, function) in functions.iter().enumerate() {
            if !self.wants(first + level, 1) {
                continue;
            }
            for variable in of_level(&found, level, functions.len()) {
                self.rows += 1;
                let row = VariableRow {
                    tid,
                    frame: first + level,
                    function: function.clone().ok_or(Absent::because("no symbol covers the address")),
                    kind: kind(variable),
                    name: variable.name.clone(),
                    r#type: variable.type_name.clone(),
                    value: variable.value.clone().map_err(Absent::because),
                };
                emit(self.sink, row)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(self) -> Result<(), TableError> {
        if let Some(frame) = self.frame
            && self.looked == 0
        {
            let known = if self.frames == 0 { String::new() } else { format!(" (it has {})", self.frames) };
            return Err(TableError::NoSuch(format!("the stack has no frame {frame}{known}")));
        }
        let alone = self.rows == 0 && self.missing.is_empty();
        for (why, count) in self.missing {
            let frames = if count == 1 { "one frame".to_owned() } else { format!("{count} frames") };
            self.sink.note(&format!("no variables of {frames}: {why}"));
        }
        if alone {
            let why = if self.looked == 0 { "there is no frame" } else { "the functions have none" };
            self.sink.note(&format!("there are no variables: {why}"));
        }
        Ok(())
    }
}

fn process(target: &Target, thread: usize, writer: &mut Writer<'_>) -> ControlFlow<()> {
    let Some(tid) = target.dump().threads.get(thread).map(|thread| thread.tid) else {
        return ControlFlow::Continue(());
    };
    let stack = target.stack(thread);
    let mut row = 0;
    let mut guessed = false;
    for (index, frame) in stack.frames.iter().enumerate() {
        row += stack.omitted.filter(|omitted| omitted.at == index).map_or(0, |omitted| omitted.frames as usize);
        if writer.frame.is_none() && index >= MOST_FRAMES {
            let more = stack.frames.len() - index;
            writer.sink.note(&format!("thread {tid}: {more} frames more were not gone through; frame= asks for one"));
            break;
        }
        let places = target.locate(frame.address);
        let functions: Vec<Option<String>> = functions(&places);
        let first = row;
        row += functions.len();
        writer.frames = row;
        if writer.wants(first, functions.len()) {
            guessed |= frame.trust == Trust::Scan;
            writer.frame(tid, first, &functions, target.variables(thread, index))?;
            if writer.frame.is_some() {
                break;
            }
        }
    }
    if guessed {
        writer
            .sink
            .note(&format!("thread {tid}: some frames were only found by scanning, so their variables are guesses"));
    }
    ControlFlow::Continue(())
}

fn functions(places: &[Location]) -> Vec<Option<String>> {
    if places.is_empty() { vec![None] } else { places.iter().map(|place| place.function.clone()).collect() }
}

fn kernel(target: &Target, tid: u32, stack: &KernelStack, writer: &mut Writer<'_>) -> ControlFlow<()> {
    let variables = match target.kernel_variables(stack) {
        Ok(variables) => variables,
        Err(why) => {
            writer.looked += 1;
            *writer.missing.entry(why).or_default() += stack.frames.len().max(1);
            return ControlFlow::Continue(());
        }
    };
    let lines = target.kernel_lines().map_err(|why| Absent::because(why.to_owned()));
    let mut row = 0;
    for (index, frame) in stack.frames.iter().enumerate() {
        let places = kernel_frames::places(&lines, frame);
        let inlined = |place: &Location| if place.inlined { place.function.clone() } else { frame.function.clone() };
        let functions: Vec<Option<String>> =
            places.iter().map(|place| place.as_ref().map_or_else(|_| frame.function.clone(), inlined)).collect();
        let first = row;
        row += functions.len();
        writer.frames = row;
        if writer.wants(first, functions.len()) {
            writer.frame(tid, first, &functions, variables.of(index))?;
        }
    }
    if stack.frames.is_empty() {
        writer.looked += 1;
        *writer.missing.entry(stack.end.clone()).or_default() += 1;
    }
    ControlFlow::Continue(())
}

/// The threads of a process in the kernel.
fn tasks(
    target: &Target,
    linux: &Linux,
    pid: u64,
    tid: Option<u64>,
    writer: &mut Writer<'_>,
) -> Result<(), TableError> {
    let (processes, _) = linux.processes().map_err(TableError::NoSuch)?;
    let process = processes.iter().find(|process| u64::from(process.pid) == pid);
    let process = process.ok_or_else(|| TableError::NoSuch(format!("the machine had no process {pid}")))?;
    let (threads, _) = linux.threads(process);
    let mut asked = threads.iter().filter(|thread| tid.is_none_or(|tid| tid == u64::from(thread.tid))).peekable();
    if let (None, Some(tid)) = (asked.peek(), tid) {
        return Err(TableError::NoSuch(format!("process {pid} had no thread {tid}")));
    }
    let _ = asked.try_for_each(|thread| kernel(target, thread.tid, &linux.stack(thread.task), writer));
    Ok(())
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let (tid, frame, pid) = (params.number("tid")?, params.number("frame")?, params.number("pid")?);
    let machine = target.dump().machine.is_some() && (target.linux().is_ok() || pid.is_some());
    if pid.is_some() && target.dump().machine.is_none() {
        return Err(TableError::NoSuch("pid= is for dumps of machines".into()));
    }
    let linux = if machine {
        let Some(linux) = linux(target, sink) else { return Ok(()) };
        Some(linux)
    } else {
        None
    };
    let mut writer = Writer { sink, frame, frames: 0, looked: 0, rows: 0, missing: BTreeMap::new() };
    let Some(linux) = linux else {
        for thread in threads_asked(target, params)? {
            if process(target, thread, &mut writer).is_break() {
                return Ok(());
            }
        }
        return writer.finish();
    };
    if let Some(pid) = pid {
        tasks(target, linux, pid, tid, &mut writer)?;
        return writer.finish();
    }
    let cpus = target.processors();
    if let Some(tid) = tid.filter(|tid| !cpus.iter().any(|cpu| u64::from(*cpu) == *tid)) {
        return Err(TableError::NoSuch(format!("the dump has no processor {tid}; pid= asks for a process")));
    }
    for cpu in cpus.into_iter().filter(|cpu| tid.is_none_or(|tid| tid == u64::from(*cpu))) {
        match linux.stack_of_cpu(cpu) {
            Some(stack) => {
                if kernel(target, cpu, &stack, &mut writer).is_break() {
                    return Ok(());
                }
            }
            None => {
                writer.looked += 1;
                *writer.missing.entry("the dump does not have the processor's registers".into()).or_default() += 1;
            }
        }
    }
    writer.finish()
}
