//! A dump in the making, as all kinds of reports fill it.
//!
//! *What it is not*: it reads nothing.
//!
//! *Trap*: a thread is known above by its id, which must be its own. Text reports have only numbers from 0, and reports
//! that people have edited have one id twice; the second one then gets one that nobody uses.

use super::report::{Report, ReportKind, ReportedFrame, ReportedThread};
use super::words;
use crate::source::SharedSource;
use crate::{
    Absence, Arch, Budget, Dump, DumpType, Endian, Exception, ExceptionKind, Format, Issue, ModuleRecord, Os, Process,
    Registers, SegmentMemory, Thread, Virt,
};
use std::collections::HashSet;
use std::sync::Arc;

/// Frames of one stack that are taken over; the system writes at most 512.
pub(super) const MAX_FRAMES: usize = 4096;
/// What a frame costs in memory at most without its texts.
const FRAME_COST: u64 = 256;

/// What is known so far.
pub(super) struct Draft<'a> {
    pub(super) budget: &'a Budget,
    pub(super) os: Os,
    pub(super) os_version: Option<String>,
    pub(super) arch: Option<Arch>,
    pub(super) time: Option<i64>,
    pub(super) writer: Option<String>,
    pub(super) process: Process,
    pub(super) threads: Vec<Thread>,
    pub(super) modules: Vec<ModuleRecord>,
    pub(super) report: Report,
    pub(super) issues: Vec<Issue>,
    /// Codes of the exception.
    pub(super) codes: Vec<u64>,
    /// Index of the thread that the report blames.
    pub(super) crashed: Option<usize>,
    tids: HashSet<u32>,
    /// The id for the next thread that has none of its own.
    spare: u32,
    full: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(budget: &'a Budget) -> Self {
        Self {
            budget,
            os: Os::Unknown,
            os_version: None,
            arch: None,
            time: None,
            writer: None,
            process: Process::default(),
            threads: Vec::new(),
            modules: Vec::new(),
            report: Report::default(),
            issues: Vec::new(),
            codes: Vec::new(),
            crashed: None,
            tids: HashSet::new(),
            spare: u32::MAX,
            full: false,
        }
    }

    pub(super) fn arch(&self) -> Arch {
        self.arch.unwrap_or(Arch::Other(0))
    }

    pub(super) fn fact(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        if !text.trim().is_empty() && self.process.facts.len() < 512 {
            self.process.facts.push((name.to_owned(), text.trim().to_owned()));
        }
    }

    /// Whether a further thing of so many bytes may be kept; says once that something is left out.
    pub(super) fn afford(&mut self, bytes: u64) -> bool {
        if !self.full && self.budget.take(bytes).is_err() {
            self.full = true;
            self.issues.push(Issue::loss("the rest of the report is not read: the budget is used up"));
        }
        !self.full
    }

    /// Whether a further frame may be kept.
    pub(super) fn afford_frame(&mut self) -> bool {
        self.afford(FRAME_COST)
    }

    /// The version of the system by its words, `macOS 12.4 (21F79)`.
    pub(super) fn system(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if self.os == Os::Unknown {
            self.os = words::os(text);
        }
        self.os_version.get_or_insert_with(|| text.trim_end_matches("()").trim().to_owned());
    }

    /// Adds a thread and gives its index.
    pub(super) fn thread(&mut self, id: Option<u64>, name: Option<String>, told: ReportedThread) -> Option<usize> {
        let index = self.threads.len();
        if index >= self.budget.max_threads {
            if index == self.budget.max_threads && !self.full {
                self.full = true;
                self.issues
                    .push(Issue::loss(format!("only the first {index} threads are read: the budget is used up")));
            }
            return None;
        }
        if !self.afford(size_of::<Thread>() as u64 + size_of::<ReportedThread>() as u64) {
            return None;
        }
        let mut tid = id.and_then(|id| u32::try_from(id).ok()).or(told.number).unwrap_or(index as u32);
        while !self.tids.insert(tid) {
            tid = self.spare;
            self.spare = self.spare.wrapping_sub(1);
        }
        let mut registers = Registers::new(self.arch());
        // A panic's first address is where a call returns to.
        let running = matches!(self.report.kind, ReportKind::Crash | ReportKind::Sample);
        if let Some(first) = told.frames.first().filter(|_| running) {
            registers.set(self.arch().info().pc, first.address);
        }
        let name = name.filter(|name| !name.trim().is_empty());
        let name = name.or_else(|| Some(format!("Dispatch queue: {}", told.queue.as_ref()?)));
        self.threads.push(Thread {
            tid,
            name,
            state: None,
            registers,
            signal: None,
            signal_info: None,
            stack: None,
            thread_pointer: None,
            extra_notes: Vec::new(),
        });
        self.report.threads.push(told);
        Some(index)
    }

    /// Sets one value of a thread's state: a register of the program, or of the exception.
    pub(super) fn state(&mut self, thread: usize, name: &str, value: u64) {
        let slot = self.arch().info().slot(words::register(name));
        match slot {
            Some(slot) => {
                if let Some(thread) = self.threads.get_mut(thread) {
                    thread.registers.set(slot, value);
                }
            }
            None => {
                if let Some(told) = self.report.threads.get_mut(thread)
                    && told.state.len() < 64
                {
                    told.state.push((name.to_owned(), value));
                }
            }
        }
    }

    /// Fills in images and offsets of frames that have only addresses.
    fn place_frames(&mut self) {
        let modules = &self.modules;
        let place = |frame: &mut ReportedFrame| {
            if frame.image.is_some() && frame.image_offset.is_some() {
                return;
            }
            let next = modules.partition_point(|module| module.base <= frame.address);
            let module = next.checked_sub(1).and_then(|i| modules.get(i)).filter(|m| frame.address < m.end);
            if let Some(module) = module {
                frame.image_offset.get_or_insert(frame.address - module.base);
                frame.image.get_or_insert_with(|| module.path.rsplit('/').next().unwrap_or(&module.path).to_owned());
            }
        };
        self.report.threads.iter_mut().flat_map(|thread| &mut thread.frames).for_each(place);
        self.report.last_exception.iter_mut().for_each(place);
        if let Some(panic) = &mut self.report.panic {
            panic.backtrace.iter_mut().for_each(place);
        }
    }

    /// The exception in its system's terms.
    fn exception(&self) -> Option<Exception> {
        let report = &self.report;
        let tid = self.crashed.and_then(|index| self.threads.get(index)).map(|thread| thread.tid);
        let registers = self.crashed.and_then(|index| self.threads.get(index)).map(|thread| thread.registers);
        if let Some(panic) = &report.panic {
            let kind = ExceptionKind::Panic { caller: panic.caller };
            return Some(Exception { tid, kind, address: None, registers });
        }
        let name = report.exception.as_deref().unwrap_or("");
        let subtype = report.subtype.as_deref().unwrap_or("");
        let kern = subtype.split_whitespace().next().and_then(words::kern_code);
        let named = subtype.split_once(" at ").and_then(|(_, at)| words::leading_number(at)).map(|(at, _)| at);
        let address = match words::exception(name) {
            Some(1) => named.or(self.codes.get(1).copied()),
            // The second code of a breakpoint is the instruction.
            Some(6) => self.codes.get(1).copied(),
            _ => named,
        };
        let kind = match (words::exception(name), report.signal.as_deref().and_then(words::signal)) {
            (Some(exception), _) => {
                let (code, parameters) = match self.codes.split_first() {
                    Some((code, rest)) => (*code, rest.to_vec()),
                    None => (kern.unwrap_or(0), named.into_iter().collect()),
                };
                ExceptionKind::Mach { exception, code, parameters }
            }
            (None, Some(signo)) => ExceptionKind::Signal { signo, code: None, info: None },
            // The system ended it without an exception of its own (a watchdog): killed.
            (None, None) if report.termination.is_some() => ExceptionKind::Signal { signo: 9, code: None, info: None },
            (None, None) => return None,
        };
        Some(Exception { tid, kind, address: address.map(Virt), registers })
    }

    /// The dump.
    pub(super) fn finish(mut self, source: SharedSource) -> Dump {
        self.modules.retain(|module| module.base < module.end);
        self.modules.sort_by_key(|module| (module.base, module.end));
        self.modules.dedup_by_key(|module| module.base);
        self.place_frames();
        let exception = self.exception();
        let arch = self.arch();
        Dump {
            format: Format::AppleReport,
            compression: None,
            dump_type: DumpType::Small,
            os: self.os,
            os_version: self.os_version,
            arch,
            endian: Endian::Little,
            pointer_size: arch.info().pointer_size,
            time: self.time,
            writer: self.writer,
            process: self.process,
            threads: self.threads,
            exception,
            modules: self.modules,
            unloaded_modules: Vec::new(),
            mappings: Vec::new(),
            regions: Vec::new(),
            file_size: source.len(),
            memory: Arc::new(SegmentMemory::new(source, Vec::new()).with_elsewhere(Absence::NotInDump)),
            auxv: Vec::new(),
            handles: Vec::new(),
            notes: Vec::new(),
            soft_errors: Vec::new(),
            issues: self.issues,
            missing_bytes: 0,
            machine: None,
            report: Some(Box::new(self.report)),
        }
    }
}
