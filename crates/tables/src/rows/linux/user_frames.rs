//! The stacks of a Linux machine's processes in user mode: one row a frame.
//!
//! *What it is not*: `frames`, which are the stacks of a dump of one process; and `kernel_frames`, which are what the same
//! threads did in the kernel.
//!
//! *Trap*: a stack without frames has no row. Why there is none stands in a note, one for each reason.

use super::files::no_process;
use super::linux;
use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::rows::frames::{self, FrameRow};
use crate::sink::Sink;
use crate::table::{Param, Params, TableError, emit};
use afterimage_target::Target;
use afterimage_target::linux::{Process, ProcessTarget};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

row! {
    /// The stacks of a Linux machine's processes in user mode, innermost frame first. Inlined functions have rows of their
    /// own. Programs and libraries are taken from the page cache, and from what `--debug` and `--sysroot` name.
    UserFrameRow {
        /// Process id.
        pid: u32,
        /// Thread id.
        tid: u32,
        /// Short name of the thread.
        comm: Field<String>,
        /// Place on the stack, from 0 for the innermost.
        index: usize,
        /// Code address: where the thread goes on in its program, the return address of all other frames.
        pc: Addr,
        /// Function, demangled.
        function: Field<String>,
        /// Bytes from the start of the function.
        offset: Field<u64>,
        /// File name of the program or library.
        module: Field<String>,
        /// Source file.
        file: Field<String>,
        /// Line in the source file.
        line: Field<u32>,
        /// Whether the function was inlined into the next row's.
        inlined: bool,
        /// How the frame was found: `context`, `signal_frame`, `cfi`, `call_site`, `frame_pointer`, `scan`.
        trust: &'static str,
        /// Why a better rule failed.
        why: Field<String>,
    }
}

pub(crate) const PARAMS: &[Param] =
    &[Param { name: "pid", doc: "only the threads of this process" }, Param { name: "tid", doc: "only this thread" }];

/// The rows of a thread of a process, by its index among those whose registers are known.
#[must_use]
pub fn rows(process: &Process, of: &ProcessTarget, thread: usize) -> Vec<UserFrameRow> {
    let Some(own) = of.target.dump().threads.get(thread) else { return Vec::new() };
    let comm = own.name.clone();
    let row = |frame: FrameRow| UserFrameRow {
        pid: process.pid,
        tid: frame.tid,
        comm: comm.clone().ok_or(Absent::because("the kernel's structure with it is not in the dump")),
        index: frame.index,
        pc: frame.pc,
        function: frame.function,
        offset: frame.offset,
        module: frame.module,
        file: frame.file,
        line: frame.line,
        inlined: frame.inlined,
        trust: frame.trust,
        why: frame.why,
    };
    frames::rows(&of.target, thread).into_iter().map(row).collect()
}

/// Rows go to the sink; what has none is counted by reason.
struct Writer<'s> {
    sink: &'s mut dyn Sink,
    missing: BTreeMap<String, usize>,
    /// Stacks that end before their outermost frame, where they are not told one by one.
    short: usize,
    tid: Option<u64>,
    /// Ends are told when one process or thread was asked for.
    ends: bool,
}

impl Writer<'_> {
    fn asked(&self, tid: u32) -> bool {
        self.tid.is_none_or(|asked| asked == u64::from(tid))
    }

    fn none(&mut self, reason: &str) {
        *self.missing.entry(reason.to_owned()).or_default() += 1;
    }

    fn process(&mut self, process: &Process, of: &ProcessTarget) -> ControlFlow<()> {
        for (index, thread) in of.target.dump().threads.iter().enumerate() {
            if !self.asked(thread.tid) {
                continue;
            }
            for row in rows(process, of, index) {
                emit(self.sink, row)?;
            }
            let end = frames::end_in_words(&of.target.stack(index).end);
            match end {
                Some(words) if self.ends => self.sink.note(&format!("thread {}: {words}", thread.tid)),
                Some(_) => self.short += 1,
                None => {}
            }
        }
        for (thread, why) in &of.without {
            if self.asked(thread.tid) {
                self.none(why);
            }
        }
        if self.ends {
            for remark in of.remarks.iter().cloned().chain(of.target.issues().into_iter().map(|issue| issue.text)) {
                self.sink.note(&remark);
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(self) {
        if self.short > 0 {
            let stacks =
                if self.short == 1 { "one stack ends".to_owned() } else { format!("{} stacks end", self.short) };
            self.sink.note(&format!("{stacks} before the outermost frame: with `pid=` or `tid=` each says why"));
        }
        for (reason, count) in self.missing {
            let stacks = if count == 1 { "one thread has".to_owned() } else { format!("{count} threads have") };
            self.sink.note(&format!("{stacks} no stack in user mode: {reason}"));
        }
    }
}

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let (pid, tid) = (params.number("pid")?, params.number("tid")?);
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let (processes, remarks) = match linux.processes() {
        Ok(found) => found,
        Err(why) => {
            sink.note(&why);
            return Ok(());
        }
    };
    let mut asked: Vec<&Process> = processes.iter().collect();
    if let Some(pid) = pid {
        asked.retain(|process| u64::from(process.pid) == pid);
        if asked.is_empty() {
            return Err(no_process(linux, pid));
        }
    }
    if let Some(tid) = tid {
        let has = |process: &&Process| {
            u64::from(process.pid) == tid || linux.threads(process).0.iter().any(|own| u64::from(own.tid) == tid)
        };
        asked.retain(has);
        if asked.is_empty() {
            return Err(TableError::NoSuch(format!("the machine had no such thread {tid}")));
        }
    }
    let mut writer = Writer { sink, missing: BTreeMap::new(), short: 0, tid, ends: pid.is_some() || tid.is_some() };
    for process in asked {
        // Said once for all of them; each would say so of itself.
        if process.kernel_thread == Some(true) {
            writer.none("a thread of the kernel");
            continue;
        }
        match target.process(process) {
            Ok(of) if writer.process(process, &of).is_break() => return Ok(()),
            Ok(_) => {}
            Err(why) => {
                // The same reason of another process is the same reason.
                let own = format!("process {} is ", process.pid);
                writer.none(why.strip_prefix(&own).map_or(&*why, |rest| rest));
            }
        }
    }
    if pid.is_none() && tid.is_none() {
        for remark in remarks {
            writer.sink.note(&remark);
        }
    }
    writer.finish();
    Ok(())
}
