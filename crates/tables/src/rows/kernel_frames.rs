//! The kernel's stacks of a machine: one row a frame.
//!
//! *Trap*: a stack without frames has no row. Why there is none stands in a note, one for each reason.

use super::linux::files::no_process;
use super::linux::linux;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Param, Params, TableError, emit};
use afterimage_target::linux::{KernelFrame, KernelLines, KernelStack, Linux, Thread};
use afterimage_target::{Location, Target};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

row! {
    /// The kernel's stacks: of every task that slept in the kernel or was interrupted there, innermost frame first.
    KernelFrameRow {
        /// Process id.
        pid: Field<u32>,
        /// Thread id.
        tid: Field<u32>,
        /// Short name of the thread.
        comm: Field<String>,
        /// The processor that ran the thread.
        cpu: Field<u32>,
        /// Place on the stack, from 0 for the innermost. Inlined functions, which only a vmlinux tells, have rows of their
        /// own.
        index: u32,
        /// Address in the code: where the frame goes on, or where it was interrupted.
        pc: Addr,
        /// Function that holds it.
        function: Field<String>,
        /// Distance from the start of the function.
        offset: Field<u64>,
        /// Module that it is in.
        module: Field<String>,
        /// Source file; for this and what follows the kernel's vmlinux must be given with `--debug`.
        file: Field<String>,
        /// Line in the source file.
        line: Field<u32>,
        /// Whether the function was inlined into the next row's.
        inlined: Field<bool>,
        /// How it was found: `context` (where the thread slept or the processor was), `orc` (the kernel's own way),
        /// `call` (behind a call of the function before), `frame_record`, `guess`.
        trust: &'static str,
    }
}

pub(crate) const PARAMS: &[Param] = &[
    Param { name: "pid", doc: "only the threads of this process" },
    Param { name: "tid", doc: "only this thread" },
    Param { name: "cpu", doc: "only what this processor ran" },
];

/// Rows go to the sink; what has none is counted by reason.
struct Writer<'s> {
    sink: &'s mut dyn Sink,
    /// Stacks that were asked for.
    stacks: usize,
    /// Source lines, or why there are none.
    lines: Result<&'s KernelLines, Absent>,
    missing: BTreeMap<String, usize>,
    /// Ends are told when one process or processor was asked for.
    ends: bool,
}

impl Writer<'_> {
    fn stack(&mut self, pid: Option<u32>, thread: Option<&Thread>, stack: KernelStack) -> ControlFlow<()> {
        self.stacks += 1;
        let not_here = || Absent::because("its task_struct is not in the dump");
        let unnamed = || Absent::because("no symbol holds it");
        if stack.frames.is_empty() {
            // The same reason with another address is the same reason.
            let reason = stack.end.split(" at 0x").next().unwrap_or_default().to_owned();
            *self.missing.entry(reason).or_default() += 1;
        } else if self.ends || !stack.complete {
            let who = thread.map_or_else(|| "a processor".to_owned(), |thread| format!("thread {}", thread.tid));
            self.sink.note(&format!("{who}: the stack ends: {}", stack.end));
        }
        let mut index = 0;
        for frame in stack.frames {
            for place in places(&self.lines, &frame) {
                let inlined = place.as_ref().is_ok_and(|place| place.inlined);
                let named = frame.function.is_some();
                let no_line = || Absent::because("no line stands for the address");
                let (function, offset) = match &place {
                    // Of the function itself the kernel's own name is the better one.
                    Ok(place) if inlined => (place.function.clone(), Err(Absent::because("inlined"))),
                    _ => (frame.function.clone(), if named { Ok(frame.offset) } else { Err(unnamed()) }),
                };
                let row = KernelFrameRow {
                    pid: pid.ok_or_else(not_here),
                    tid: thread.map(|thread| thread.tid).ok_or_else(not_here),
                    comm: thread.and_then(|thread| thread.comm.clone()).ok_or_else(not_here),
                    cpu: stack.cpu.ok_or(Absent::because("it was not running")),
                    index,
                    pc: Addr(frame.pc),
                    function: function.ok_or_else(unnamed),
                    offset,
                    module: frame.module.clone().ok_or(Absent::because("it is in no module")),
                    inlined: place.as_ref().map(|place| place.inlined).map_err(Clone::clone),
                    file: place.as_ref().map_err(Clone::clone).and_then(|place| place.file.clone().ok_or_else(no_line)),
                    line: place.and_then(|place| place.line.ok_or_else(no_line)),
                    trust: frame.trust.word(),
                };
                index += 1;
                emit(self.sink, row)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn cpu(&mut self, linux: &Linux, cpu: u32) -> ControlFlow<()> {
        let Some(stack) = linux.stack_of_cpu(cpu) else { return ControlFlow::Continue(()) };
        let running = linux.current(cpu).and_then(|task| linux.thread_of(task));
        let pid = running.as_ref().map(|(pid, _)| *pid);
        self.stack(pid, running.as_ref().map(|(_, thread)| thread), stack)
    }

    fn finish(self) {
        if self.stacks == 0 {
            self.sink.note("there is no stack: no task was found, and no processor's registers lead to one");
        }
        for (reason, count) in self.missing {
            let stacks = if count == 1 { "one stack has" } else { "stacks have" };
            let count = if count == 1 { String::new() } else { format!("{count} ") };
            self.sink.note(&format!("{count}{stacks} no frames: {reason}"));
        }
    }
}

/// What a frame is in the source: its inlined functions first, itself last.
pub(crate) fn places(lines: &Result<&KernelLines, Absent>, frame: &KernelFrame) -> Vec<Result<Location, Absent>> {
    let lines = match lines {
        Ok(lines) => lines,
        Err(why) => return vec![Err(why.clone())],
    };
    if frame.module.is_some() {
        return vec![Err(Absent::because("lines of modules are not read"))];
    }
    let mut places = lines.at(if frame.exact { frame.pc } else { frame.pc.wrapping_sub(1) });
    if places.last().is_none_or(|last| last.inlined) {
        places.push(Location::default());
    }
    places.into_iter().map(Ok).collect()
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let (pid, tid, cpu) = (params.number("pid")?, params.number("tid")?, params.number("cpu")?);
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let lines = target.kernel_lines().map_err(|why| Absent::because(why.to_owned()));
    let ends = pid.is_some() || tid.is_some() || cpu.is_some();
    let mut writer = Writer { sink, stacks: 0, lines, missing: BTreeMap::new(), ends };
    let cpus = target.processors();
    if let Some(cpu) = cpu {
        let known = cpus.into_iter().find(|own| u64::from(*own) == cpu);
        let known = known.ok_or_else(|| TableError::NoSuch(format!("the dump has no processor {cpu}")))?;
        let _ = writer.cpu(linux, known);
        writer.finish();
        return Ok(());
    }
    let (processes, remarks) = match linux.processes() {
        Ok(found) => found,
        Err(why) => {
            writer.sink.note(&why);
            return Ok(());
        }
    };
    if let Some(pid) = pid
        && pid != 0
        && !processes.iter().any(|process| u64::from(process.pid) == pid)
    {
        return Err(no_process(linux, pid));
    }
    let asked = |own: u32| pid.is_none_or(|pid| pid == u64::from(own));
    // The idle tasks are in no list of processes; those that ran are found by their processors.
    if asked(0) && tid.is_none_or(|tid| tid == 0) {
        for cpu in cpus {
            let idle = linux.current(cpu).and_then(|task| linux.thread_of(task)).is_some_and(|(pid, _)| pid == 0);
            if idle && writer.cpu(linux, cpu).is_break() {
                return Ok(());
            }
        }
    }
    for process in processes.iter().filter(|process| asked(process.pid)) {
        let (threads, remark) = linux.threads(process);
        for thread in threads.iter().filter(|thread| tid.is_none_or(|tid| tid == u64::from(thread.tid))) {
            if writer.stack(Some(process.pid), Some(thread), linux.stack(thread.task)).is_break() {
                return Ok(());
            }
        }
        if let Some(remark) = remark {
            writer.sink.note(&remark);
        }
    }
    if let Some(tid) = tid
        && writer.stacks == 0
    {
        return Err(TableError::NoSuch(format!("the machine had no thread {tid}")));
    }
    if pid.is_none() {
        for remark in remarks {
            writer.sink.note(&remark);
        }
    }
    writer.finish();
    Ok(())
}
