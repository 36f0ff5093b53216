//! What a crash report tells that no memory could be asked for: frames with names, reasons in words, the panic's text.
//!
//! *What it is not*: the dump's threads, modules and exception, which stand in [`crate::Dump`] as with every container.
//!
//! *Trap*: names are the reporting machine's. It had no debug information for most images, so a name may be that of the
//! last exported symbol before the address.

/// What kind of report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReportKind {
    /// A process crashed.
    #[default]
    Crash,
    /// The kernel panicked.
    Panic,
    /// `sample` looked at a process that runs.
    Sample,
    /// The system ended processes because memory ran out.
    Jetsam,
    /// The stacks of all processes at one moment, without a panic.
    Stackshot,
}

impl ReportKind {
    /// The word that tables print.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Panic => "panic",
            Self::Sample => "sample",
            Self::Jetsam => "jetsam",
            Self::Stackshot => "stackshot",
        }
    }
}

/// One line of a reported stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedFrame {
    /// The address: the program counter in the innermost frame, the return address in all others.
    pub address: u64,
    /// The image's name, where the line has one.
    pub image: Option<String>,
    /// Bytes from the image's base, where the report says them.
    pub image_offset: Option<u64>,
    /// Function as the report names it.
    pub symbol: Option<String>,
    /// Bytes from the function's start.
    pub symbol_offset: Option<u64>,
    /// Source file.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Inlined into the next frame of the list, whose address is the same.
    pub inlined: bool,
}

/// What a report tells of one thread beyond [`crate::Thread`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedThread {
    /// Its stack, innermost frame first.
    pub frames: Vec<ReportedFrame>,
    /// Label of the dispatch queue that it worked for.
    pub queue: Option<String>,
    /// The number that the report gives it, from 0; text reports have no other name for a thread.
    pub number: Option<u32>,
    /// Registers of the exception's state that are no registers of the program: `esr`, `far`, `err`, `trap`, `cr2`.
    pub state: Vec<(String, u64)>,
}

/// Why the system ended the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Termination {
    /// Who has defined the code: `SIGNAL`, `SPRINGBOARD`, `FRONTBOARD`, `DYLD`, `CODESIGNING` ….
    pub namespace: Option<String>,
    /// The code.
    pub code: Option<u64>,
    /// The code in the writer's words.
    pub indicator: Option<String>,
    /// Further lines: the library that is missing, the watchdog's account.
    pub details: Vec<String>,
    /// Who ended it.
    pub by: Option<String>,
}

/// An Objective-C exception that nobody caught.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjcException {
    /// Its name, as `NSInvalidArgumentException`.
    pub name: Option<String>,
    /// Its reason.
    pub reason: Option<String>,
}

/// A kernel extension that a panic lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kext {
    /// Bundle identifier.
    pub name: String,
    /// Version.
    pub version: Option<String>,
    /// UUID in file order.
    pub uuid: Option<Vec<u8>>,
    /// First address and last address, where listed.
    pub range: Option<(u64, u64)>,
    /// Only listed because another one needs it.
    pub dependency: bool,
}

/// A kernel panic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Panic {
    /// All of the text.
    pub text: String,
    /// Processor that panicked.
    pub cpu: Option<u32>,
    /// Address that called `panic`.
    pub caller: Option<u64>,
    /// What was said, without the frame around it.
    pub message: String,
    /// `name: value` lines of the head, in order: versions, UUIDs, slides.
    pub facts: Vec<(String, String)>,
    /// Return addresses, innermost first.
    pub backtrace: Vec<ReportedFrame>,
    /// Process that was running.
    pub task: Option<(u32, String)>,
    /// Thread that was running.
    pub tid: Option<u64>,
    /// Extensions with code on the backtrace, and what those depend on.
    pub kexts: Vec<Kext>,
    /// The extension that was started last, as the kernel writes it.
    pub last_started: Option<String>,
    /// Extensions that were loaded: name and version.
    pub loaded: Vec<(String, String)>,
}

/// A process that a report on lack of memory lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JetsamProcess {
    /// Process id.
    pub pid: Option<u32>,
    /// Name.
    pub name: String,
    /// Pages that it held.
    pub pages: Option<u64>,
    /// Why it was ended, if it was.
    pub reason: Option<String>,
}

/// Lack of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jetsam {
    /// Bytes of a page.
    pub page_size: Option<u64>,
    /// The process that held most.
    pub largest: Option<String>,
    /// All processes in the report's order.
    pub processes: Vec<JetsamProcess>,
}

/// A crash report beyond what every dump has.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What kind.
    pub kind: ReportKind,
    /// Apple's number of the kind: `309` a crash, `210` a panic, `298` lack of memory.
    pub bug_type: Option<String>,
    /// Incident's UUID.
    pub incident: Option<String>,
    /// Model of the machine.
    pub hardware: Option<String>,
    /// Threads, by the index in [`crate::Dump::threads`].
    pub threads: Vec<ReportedThread>,
    /// Exception type as written: `EXC_BAD_ACCESS`.
    pub exception: Option<String>,
    /// The UNIX signal that it was made into, by name.
    pub signal: Option<String>,
    /// Its subtype, as `KERN_INVALID_ADDRESS at 0x0`.
    pub subtype: Option<String>,
    /// A message with it (EXC_GUARD, EXC_RESOURCE).
    pub message: Option<String>,
    /// Why the system ended the process.
    pub termination: Option<Termination>,
    /// `Application Specific Information`: image (empty in text reports) and its lines.
    pub application: Vec<(String, String)>,
    /// The Objective-C exception that ended it.
    pub objc: Option<ObjcException>,
    /// Where that exception was thrown.
    pub last_exception: Vec<ReportedFrame>,
    /// Where the address lies that could not be accessed, in the writer's words.
    pub region: Option<String>,
    /// What the kernel says about failed page faults.
    pub triage: Option<String>,
    /// Remarks of the writer on its own report.
    pub notes: Vec<String>,
    /// The panic.
    pub panic: Option<Box<Panic>>,
    /// Lack of memory.
    pub jetsam: Option<Box<Jetsam>>,
}
