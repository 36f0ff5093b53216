//! The two ways that need the process to stand once: reading it while it stands, and copying it by clone.

use super::before::Before;
use super::clone::Copy;
use super::copy::CopyError;
use super::hold::Held;
use super::inject::Refusal;
use super::kept::{Aside, Kept};
use super::moment::Moment;
use super::store::{self, Stored};
use super::{Job, LiveError};
use crate::memory::Reader;
use crate::plan::{Piece, Plan, Source};
use crate::procfs::Vma;
use std::time::Duration;

/// A dump that is written but has no name yet.
pub(super) struct Taken {
    pub(super) stored: Stored,
    pub(super) pauses: Vec<Duration>,
    pub(super) threads: usize,
    pub(super) passes: u32,
    pub(super) soft_errors: Vec<String>,
}

/// A try that failed: for good, or such that another way may do.
pub(super) enum Failed {
    Other(LiveError),
    Refused(Refusal),
}

impl From<LiveError> for Failed {
    fn from(error: LiveError) -> Self {
        Self::Other(error)
    }
}

impl Job<'_> {
    /// A failure of copying, as the caller sees it.
    pub(super) fn failed(&self, error: CopyError) -> LiveError {
        match error {
            CopyError::Output(source) => LiveError::output(&self.place(), source),
            CopyError::Gone => self.gone(),
        }
    }

    /// What it means that memory cannot be read any more.
    pub(super) fn gone(&self) -> LiveError {
        let pid = self.subject.pid;
        if self.subject.ended() { LiveError::Vanished { pid } } else { LiveError::Changed { pid } }
    }

    /// Holds the process.
    pub(super) fn hold(&self) -> Result<Held, LiveError> {
        Held::new(self.subject.pid).map_err(|error| self.subject.refusal(&error))
    }

    /// Reads the process while it stands; how long that is, the caller will know.
    pub(super) fn by_stop(&self, mut before: Before, held: &Held) -> Result<Taken, LiveError> {
        let (pid, memory) = (self.subject.pid, self.subject.memory);
        let mut moment = Moment::read(held, &before)?;
        let threads = moment.threads.len();
        let mut plan = moment.plan(self.options, &mut before, &self.reader, memory)?;
        let (mut core, mut soft_errors) = moment.core(&before, &mut plan);
        plan.name_gaps(memory);
        store::complete(&mut core, &plan, self.small());
        let layout = store::lay_out(&core, self.options, pid)?;
        drop(core);
        let stored = self.store(&layout, &plan, (memory, &self.reader), true)?;
        soft_errors.extend(stored.soft_errors.iter().cloned());
        Ok(Taken { stored, pauses: Vec::new(), threads, passes: 1, soft_errors })
    }

    /// The same for one process.
    pub(super) fn by_stop_alone(&self, before: Before, held: Held) -> Result<Taken, LiveError> {
        let taken = self.by_stop(before, &held);
        let pauses = vec![held.release()];
        Ok(Taken { pauses, ..taken? })
    }

    /// Copies the process by clone, and reads the copy while the process goes on.
    pub(super) fn by_snapshot(&self, before: Before, held: Held) -> Result<Taken, Failed> {
        let snapshot = self.snap(before, &held)?;
        let pause = held.release();
        Ok(self.write_snapshot(snapshot, pause)?)
    }

    /// Copies a held process.
    pub(super) fn snap(&self, mut before: Before, held: &Held) -> Result<Snapshot, Failed> {
        let memory = self.subject.memory;
        let gadgets = before.gadgets.clone().map_err(Failed::Refused)?;
        if before.vmas.iter().any(|vma| vma.userfault) {
            let why = "a userfaultfd handles its memory's faults, and a fork might wait for that for ever".into();
            return Err(Failed::Refused(Refusal::Because(why)));
        }
        if self.subject.status.init {
            let why = "it is the first process of its container, and would get the copy as its child".into();
            return Err(Failed::Refused(Refusal::Because(why)));
        }
        super::choose::room_for_copy(self.subject).map_err(|why| Failed::Refused(Refusal::Because(why)))?;
        let mut moment = Moment::read(held, &before)?;
        let plan = moment.plan(self.options, &mut before, &self.reader, memory)?;
        // What the copy will not have, first: making the copy may fail, but then nothing is lost.
        let (aside, plan) = part(plan, &moment.vmas);
        let kept =
            Aside::put(memory, &aside.pieces, &self.folder(), &self.meter).map_err(|error| self.failed(error))?;
        let copy = Copy::make(held, &self.reader, &moment.vmas, gadgets, self.subject.status.seccomp);
        let copy = copy.map_err(Failed::Refused)?;
        Ok(Snapshot { before, moment, plan, aside, kept, copy })
    }

    /// Writes the dump of a copy.
    pub(super) fn write_snapshot(&self, snapshot: Snapshot, pause: Duration) -> Result<Taken, LiveError> {
        let Snapshot { before, moment, mut plan, aside, kept, copy } = snapshot;
        let threads = moment.threads.len();
        let reader = Reader::sharing(copy.pid);
        plan.name_gaps(copy.pid);
        let pieces = kept.pieces(aside.pieces).map_err(|error| self.failed(CopyError::Output(error)))?;
        plan.pieces.extend(pieces);
        plan.pieces.sort_by_key(|piece| piece.start);
        let (mut core, mut soft_errors) = moment.core(&before, &mut plan);
        store::complete(&mut core, &plan, self.small());
        let layout = store::lay_out(&core, self.options, self.subject.pid)?;
        drop(core);
        let bytes = Kept { under: &reader, aside: &kept, small: copy.borrowed.clone() };
        let stored = self.store(&layout, &plan, (copy.pid, &bytes), false)?;
        soft_errors.extend(kept.unreadable.lines());
        soft_errors.extend(stored.soft_errors.iter().cloned());
        Ok(Taken { stored, pauses: vec![pause], threads, passes: 1, soft_errors })
    }
}

/// A copy of a process with all that is needed to write its dump.
pub(super) struct Snapshot {
    before: Before,
    moment: Moment,
    plan: Plan,
    aside: Plan,
    kept: Aside,
    copy: Copy,
}

/// Parts a plan into what a copy does not have, and the rest.
fn part(plan: Plan, vmas: &[Vma]) -> (Plan, Plan) {
    let special = |piece: &Piece| {
        let next = vmas.partition_point(|vma| vma.end <= piece.start);
        let vma = vmas.get(next);
        vma.is_some_and(|vma| vma.shared || vma.dont_fork || vma.wipe_on_fork)
    };
    let stored = |piece: &Piece| piece.stored > 0 && !matches!(piece.source, Source::Nothing | Source::Untouched);
    let (aside, rest) = plan.pieces.into_iter().partition(|piece| stored(piece) && special(piece));
    (Plan { pieces: aside, soft_errors: Vec::new(), ..plan }, Plan { pieces: rest, ..plan })
}
