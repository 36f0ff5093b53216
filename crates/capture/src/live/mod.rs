//! Taking a dump of a process that runs, and goes on running.
//!
//! *What it is*: [`capture`] takes one process, [`capture_group`] several at one instant. Three ways, by how long the
//! process stands ([`How`]), each giving a picture of one instant: registers and memory agree.
//!
//! *What it is not*: it explains nothing, and decides nothing about when.
//!
//! ```no_run
//! use afterimage_capture::{CaptureOptions, capture};
//! let dump = capture(1234, &CaptureOptions::default(), &())?;
//! println!("{:?}, stood for {:?}", dump.path, dump.pause);
//! # Ok::<(), afterimage_capture::LiveError>(())
//! ```
//!
//! *Trap*: ptrace binds tracees to the thread that took them: a capture runs on one thread, its helpers only copy.
//!
//! The parts: `who` finds the process, `before` reads what need not be of the instant, `hold` stops it, `inject` makes
//! calls in it, `moment` is the instant, `clone` copies it, `track` and `precopy` follow its writes, `copy`, `kept` and
//! `store` bring memory into the file, `destination` gives that its name, `choose` picks the way.

mod before;
mod choose;
mod clone;
mod copy;
mod destination;
mod error;
mod group;
mod hold;
pub(crate) mod inject;
mod kept;
mod meter;
mod modes;
mod moment;
mod precopy;
mod restart;
mod spans;
mod store;
mod track;
mod who;

pub use destination::Destination;
pub use error::LiveError;
pub use group::{Group, capture_group};
pub use meter::Progress;

use crate::DumpType;
use crate::memory::Reader;
use crate::plan::Plan;
use afterimage_dump::write::layout::Layout;
use before::Before;
use destination::Part;
use inject::Refusal;
use meter::Meter;
use modes::{Failed, Taken};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use store::Stored;
use who::Subject;

/// A way to copy a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// Its memory is copied while it runs, again and again what it has written to meanwhile; it stands only for the rest.
    Precopy,
    /// The kernel copies it as fork does; it stands until the page tables are copied.
    Snapshot,
    /// It stands until everything is read.
    Stop,
}

impl How {
    /// The name as the command line writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Precopy => "precopy",
            Self::Snapshot => "snapshot",
            Self::Stop => "stop",
        }
    }
}

/// What the dump is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Container {
    /// An ELF core.
    #[default]
    Elf,
    /// A minidump.
    Minidump,
}

/// How a dump is to be taken.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// How much of the process it holds.
    pub dump_type: DumpType,
    /// Whether it holds less where the disk has no room for that: the most useful memory first.
    pub fit_disk: bool,
    /// What it is written as.
    pub container: Container,
    /// Whether it is packed with zstd, in frames that can be read one by one.
    pub compress: bool,
    /// The way, if only one is wanted.
    pub how: Option<How>,
    /// The longest stop that can be borne.
    pub max_pause: Option<Duration>,
    /// The longest dump in bytes, before packing: then the most useful memory comes first.
    pub max_size: Option<u64>,
    /// Where it goes.
    pub destination: Destination,
}

impl Default for CaptureOptions {
    /// An active dump as an ELF core in the current folder, by the best way.
    fn default() -> Self {
        Self {
            dump_type: DumpType::Active,
            fit_disk: false,
            container: Container::Elf,
            compress: false,
            how: None,
            max_pause: None,
            max_size: None,
            destination: Destination::Folder(".".into()),
        }
    }
}

/// A dump that was taken of a running process.
#[derive(Clone, Debug)]
pub struct LiveDump {
    /// Process id.
    pub pid: i32,
    /// Its short name.
    pub comm: String,
    /// The file; `None` for standard output.
    pub path: Option<PathBuf>,
    /// Whether it is a minidump.
    pub minidump: bool,
    /// How much of the process it holds.
    pub dump_type: DumpType,
    /// The longest size that it was allowed.
    pub max_size: Option<u64>,
    /// The way that was gone.
    pub how: How,
    /// Why better ways were not.
    pub fallback: Vec<String>,
    /// The longest time for which it stood.
    pub pause: Duration,
    /// Each time for which it stood.
    pub pauses: Vec<Duration>,
    /// How long the whole capture took.
    pub took: Duration,
    /// Threads in it.
    pub threads: usize,
    /// How often memory was gone through.
    pub passes: u32,
    /// Bytes of memory in it that are not holes.
    pub stored: u64,
    /// Length of the file in bytes, before packing, holes included.
    pub file_size: u64,
    /// Bytes that the file takes on disk; `None` for standard output.
    pub disk_size: Option<u64>,
    /// What could not be had; also in the dump itself.
    pub soft_errors: Vec<String>,
}

/// The ids of all processes with this short name, or whose program's file is called so, in ascending order.
#[must_use]
pub fn processes_named(name: &str) -> Vec<i32> {
    who::by_name(name)
}

/// One capture under way.
struct Job<'a> {
    subject: &'a Subject,
    options: &'a CaptureOptions,
    reader: Reader,
    part: Option<Part>,
    meter: Meter<'a>,
}

/// Takes a dump of a running process, given by the id of it or of any of its threads.
///
/// # Errors
/// When it cannot be found or looked into, ends meanwhile, or the output cannot be written; then nothing is left behind.
pub fn capture(id: i32, options: &CaptureOptions, progress: &dyn Progress) -> Result<LiveDump, LiveError> {
    let start = Instant::now();
    let subject = Subject::find(id)?;
    let fitted = choose::fit(&subject, options);
    let options = fitted.as_ref().unwrap_or(options);
    take(&subject, options, progress, start).map_err(|error| subject.at_its_end(error))
}

fn take(
    subject: &Subject,
    options: &CaptureOptions,
    progress: &dyn Progress,
    start: Instant,
) -> Result<LiveDump, LiveError> {
    let mut job = Job::new(subject, options, progress)?;
    let choice = choose::choose(subject, options)?;
    let mut fallback = choice.passed_over;
    let mut taken = None;
    for how in choice.ways {
        let before = Before::read(subject, &job.reader)?;
        job.choose_reader(&before);
        let result = match how {
            How::Precopy => job.by_precopy(before),
            How::Snapshot => job.hold().map_err(Failed::Other).and_then(|held| job.by_snapshot(before, held)),
            How::Stop => job.hold().and_then(|held| job.by_stop_alone(before, held)).map_err(Failed::Other),
        };
        match result {
            Ok(done) => {
                taken = Some((how, done));
                break;
            }
            Err(Failed::Other(error)) => return Err(error),
            Err(Failed::Refused(Refusal::Changed)) => return Err(LiveError::Changed { pid: subject.pid }),
            Err(Failed::Refused(Refusal::Lost)) if subject.ended() => {
                return Err(LiveError::Vanished { pid: subject.pid });
            }
            Err(Failed::Refused(refusal)) if options.how == Some(how) => {
                return Err(LiveError::Unavailable { pid: subject.pid, how, why: refusal.to_string() });
            }
            Err(Failed::Refused(refusal)) => {
                fallback.push(format!("no {}: {refusal}", how.name()));
                job.reopen()?;
            }
        }
    }
    let Some((how, taken)) = taken else {
        let (how, predicted) = choice.fastest;
        return Err(LiveError::TooSlow { pid: subject.pid, how, predicted });
    };
    job.finish(how, taken, fallback, start)
}

impl<'a> Job<'a> {
    fn new(subject: &'a Subject, options: &'a CaptureOptions, progress: &'a dyn Progress) -> Result<Self, LiveError> {
        let mut job =
            Self { subject, options, reader: Reader::new(subject.memory), part: None, meter: Meter::new(progress) };
        job.reopen()?;
        Ok(job)
    }

    /// Reads so that pages which the process shares with its parent or children stay shared.
    fn choose_reader(&mut self, before: &Before) {
        if before.vmas.iter().any(|vma| vma.pages_shared && !vma.shared && !vma.file) {
            self.reader = Reader::sharing(self.subject.memory);
        }
    }

    /// A new, empty output.
    fn reopen(&mut self) -> Result<(), LiveError> {
        let extension = match (self.options.container, self.options.compress) {
            (Container::Elf, false) => "core",
            (Container::Elf, true) => "core.zst",
            (Container::Minidump, false) => "dmp",
            (Container::Minidump, true) => "dmp.zst",
        };
        let Subject { pid, status, .. } = self.subject;
        self.part = Part::open(&self.options.destination, &status.name, *pid, extension)?;
        Ok(())
    }

    /// Where the output goes, for messages and temporary files.
    fn folder(&self) -> PathBuf {
        self.part.as_ref().map_or_else(std::env::temp_dir, |part| part.folder.clone())
    }

    /// The output's name in messages.
    fn place(&self) -> PathBuf {
        self.part.as_ref().map_or_else(|| "standard output".into(), |part| part.folder.clone())
    }

    /// Whether the dump is to be short.
    fn small(&self) -> bool {
        self.options.dump_type == DumpType::Small || self.options.max_size.is_some()
    }

    fn store(
        &self,
        layout: &Layout,
        plan: &Plan,
        memory: (i32, &dyn crate::memory::Bytes),
        standing: bool,
    ) -> Result<Stored, LiveError> {
        store::store(layout, plan, memory, standing, self.part.as_ref(), self.options.compress, &self.meter)
            .map_err(|error| self.failed(error))
    }

    /// Makes the dump durable and names it.
    fn finish(self, how: How, taken: Taken, fallback: Vec<String>, start: Instant) -> Result<LiveDump, LiveError> {
        use std::os::unix::fs::MetadataExt;
        self.meter.phase("waiting for the disk", 0);
        let (mut path, mut disk_size) = (None, None);
        if let Some(part) = self.part {
            let file = part.file.try_clone();
            path = Some(part.finish()?);
            disk_size = file.and_then(|file| file.metadata()).ok().map(|metadata| metadata.blocks() * 512);
        }
        Ok(LiveDump {
            pid: self.subject.pid,
            comm: self.subject.status.name.clone(),
            path,
            minidump: self.options.container == Container::Minidump,
            dump_type: self.options.dump_type,
            max_size: self.options.max_size,
            how,
            fallback,
            pause: taken.pauses.iter().copied().max().unwrap_or_default(),
            pauses: taken.pauses,
            took: start.elapsed(),
            threads: taken.threads,
            passes: taken.passes,
            stored: taken.stored.stored,
            file_size: taken.stored.file_size,
            disk_size,
            soft_errors: taken.soft_errors,
        })
    }
}
