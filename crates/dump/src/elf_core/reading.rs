//! What has been read out of a core so far; the notes of each system add to it, the end makes a [`crate::Dump`] of it.
//!
//! *Trap*: every list is booked with the [`Budget`] before it grows; a full list says so once and goes on without.

use super::headers::Header;
use super::layout::{self, Resolved};
use super::note_names;
use super::notes::Note;
use crate::budget::Budget;
use crate::bytes::Fields;
use crate::{Handle, Issue, Mapping, NoteRecord, Os, Process, Registers, SignalInfo, Thread, Virt};

/// A signal that the container states for the whole process (NetBSD, OpenBSD).
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessSignal {
    pub(super) signo: i32,
    pub(super) code: Option<i32>,
    /// The thread it was for, if it was for one.
    pub(super) tid: Option<u32>,
}

/// A build-id that afterimage's own note gives.
#[derive(Clone, Debug)]
pub(super) struct OwnBuildId {
    pub(super) base: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) path: String,
}

/// The state of reading one core.
pub(super) struct Reading<'a> {
    pub(super) header: &'a Header,
    pub(super) budget: &'a Budget,
    /// Memory lies elsewhere: that the file ends before it is no loss.
    pub(super) head_only: bool,
    pub(super) os: Os,
    /// The system that afterimage's own note names: of a dump that was converted, and whose notes are Linux's only in form.
    pub(super) own_os: Option<Os>,
    /// What happened on a system that knows no signals, as afterimage's own note says it.
    pub(super) own_exception: Option<crate::ExceptionKind>,
    /// The address that was touched, as afterimage's own note says it where there is no NT_SIGINFO.
    pub(super) own_address: Option<u64>,
    pub(super) os_version: Option<String>,
    pub(super) process: Process,
    pub(super) threads: Vec<Thread>,
    /// When the dump was made, in seconds since 1970; only afterimage's own note says it.
    pub(super) time: Option<i64>,
    /// User and system time of a thread in microseconds, by thread id: the group leader's are the process's.
    pub(super) times: Vec<(u32, u64, u64)>,
    /// State letter of the group leader.
    pub(super) leader_state: Option<char>,
    pub(super) process_signal: Option<ProcessSignal>,
    pub(super) auxv: Vec<(u64, u64)>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) handles: Vec<Handle>,
    pub(super) notes: Vec<NoteRecord>,
    pub(super) soft_errors: Vec<String>,
    pub(super) thread_names: Vec<(u32, String)>,
    pub(super) build_ids: Vec<OwnBuildId>,
    /// Memory that reads as zero although no segment has it: only afterimage's own note says so.
    pub(super) untouched: Vec<(u64, u64)>,
    pub(super) issues: Vec<Issue>,
    /// What only cores of machines have.
    pub(super) machine: super::machine::Notes,
    layout: Option<Resolved>,
    /// Threads that the container has, read or not.
    pub(super) threads_seen: usize,
    /// The last thread note was of a thread that is kept.
    pub(super) in_thread: bool,
    full: Vec<&'static str>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(header: &'a Header, budget: &'a Budget) -> Self {
        Self {
            header,
            budget,
            head_only: false,
            os: Os::Unknown,
            own_os: None,
            own_exception: None,
            own_address: None,
            os_version: None,
            process: Process::default(),
            threads: Vec::new(),
            time: None,
            times: Vec::new(),
            leader_state: None,
            process_signal: None,
            auxv: Vec::new(),
            mappings: Vec::new(),
            handles: Vec::new(),
            notes: Vec::new(),
            soft_errors: Vec::new(),
            thread_names: Vec::new(),
            build_ids: Vec::new(),
            untouched: Vec::new(),
            issues: Vec::new(),
            machine: super::machine::Notes::default(),
            layout: None,
            threads_seen: 0,
            in_thread: false,
            full: Vec::new(),
        }
    }

    /// Books room for one more entry of a list; when there is none left, one issue says so.
    pub(super) fn room(&mut self, what: &'static str, len: usize, bytes: usize) -> bool {
        let fits = len < self.budget.max_items && self.budget.take(bytes as u64).is_ok();
        if !fits && !self.full.contains(&what) {
            self.full.push(what);
            self.issues.push(Issue::loss(format!("only the first {len} {what} are read: the budget is used up")));
        }
        fits
    }

    /// Records a note; `false` when there is no room for it.
    pub(super) fn record(&mut self, note: &Note<'_>) -> bool {
        let owner = String::from_utf8_lossy(note.owner).into_owned();
        if !self.room("notes", self.notes.len(), size_of::<NoteRecord>() + owner.len() + 16) {
            return false;
        }
        let name = note_names::name(&owner, note.kind);
        self.notes.push(NoteRecord { owner, kind: note.kind, name, tid: None, offset: note.offset, size: note.size });
        true
    }

    /// Marks the note that was recorded last as belonging to the thread that was read last.
    pub(super) fn note_of_thread(&mut self) {
        let index = self.notes.len().saturating_sub(1);
        if self.in_thread
            && let (Some(thread), Some(note)) = (self.threads.last_mut(), self.notes.last_mut())
        {
            note.tid = Some(thread.tid);
            thread.extra_notes.push(index);
        }
    }

    /// Reads the registers of a thread note by the system's layout for its size.
    pub(super) fn registers(&mut self, note: Fields<'_>) -> Option<(Registers, Option<u64>, usize)> {
        let size = note.bytes().len();
        if self.layout.as_ref().is_none_or(|layout| layout.size() != size) {
            self.layout = layout::find(self.os, self.header.arch, size);
        }
        let Some(layout) = &self.layout else {
            let what = "thread layouts";
            if !self.full.contains(&what) {
                self.full.push(what);
                self.issues.push(Issue::loss(format!(
                    "registers cannot be read: no layout is known for a thread note of {size} bytes on {} {}",
                    self.os.name(),
                    self.header.arch
                )));
            }
            return None;
        };
        let (registers, thread_pointer) = layout.read(note);
        Some((registers, thread_pointer, layout.at()))
    }

    /// Starts a thread; the notes that follow belong to it.
    pub(super) fn start_thread(
        &mut self,
        tid: u32,
        registers: Registers,
        thread_pointer: Option<u64>,
        signal: Option<i32>,
    ) {
        self.threads_seen += 1;
        // A later list may name the thread too, so room for a name is booked with it.
        self.in_thread =
            self.threads.len() < self.budget.max_threads && self.budget.take(size_of::<Thread>() as u64 + 64).is_ok();
        if !self.in_thread {
            return;
        }
        self.threads.push(Thread {
            tid,
            name: None,
            state: None,
            registers,
            signal: signal.filter(|&signo| signo != 0),
            signal_info: None,
            stack: None,
            thread_pointer: thread_pointer.map(Virt),
            extra_notes: Vec::new(),
        });
        if let Some(note) = self.notes.last_mut() {
            note.tid = Some(tid);
        }
    }

    /// The thread that the notes now belong to.
    pub(super) fn thread(&mut self) -> Option<&mut Thread> {
        if self.in_thread { self.threads.last_mut() } else { None }
    }

    /// Sets the signal information of the current thread.
    pub(super) fn signal_info(&mut self, info: Option<SignalInfo>) {
        if let (Some(thread), Some(_)) = (self.thread(), info) {
            thread.signal_info = info;
        }
    }

    /// Takes an auxiliary vector: pairs of words up to `AT_NULL`.
    pub(super) fn take_auxv(&mut self, vector: Fields<'_>) {
        let word = self.header.word();
        if !self.auxv.is_empty() {
            return;
        }
        for at in (0..vector.bytes().len()).step_by(2 * word) {
            let (Some(kind), Some(value)) = (vector.uint(at, word), vector.uint(at + word, word)) else {
                break;
            };
            if kind == 0 || !self.room("auxiliary vector entries", self.auxv.len(), 16) {
                break;
            }
            self.auxv.push((kind, value));
        }
    }

    /// Adds a mapping of a file.
    pub(super) fn add_mapping(&mut self, start: u64, end: u64, offset: u64, path: &[u8]) -> bool {
        // The region that it is seen in and the module that it may begin repeat the path; a mapping that no segment shows
        // is a piece of memory too.
        let once = size_of::<Mapping>() + size_of::<crate::Region>() + size_of::<crate::ModuleRecord>();
        let bytes = once + size_of::<crate::Segment<Virt>>() + 3 * (path.len() + 16);
        if !self.room("file mappings", self.mappings.len(), bytes) {
            return false;
        }
        let path = String::from_utf8_lossy(path).into_owned();
        self.mappings.push(Mapping { start: Virt(start), end: Virt(end), offset, path });
        true
    }
}

/// Text of a fixed field, up to its NUL; `None` if it is empty.
pub(super) fn text(fields: Fields<'_>, at: usize, size: usize) -> Option<String> {
    let bytes = fields.cstr(at, size)?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}
