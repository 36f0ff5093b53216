//! Verbs, flags and their help: one declaration that also makes the manual page and the shell completions.

mod extract;
mod watch;

pub use self::extract::Extract;
pub use self::watch::{Triggers, Watch};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// The whole life of a memory dump: take it, read it, explain it.
#[derive(Parser, Debug)]
#[command(name = "afterimage", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  afterimage demo                           see a crash explained, step by step
  afterimage run -- ./server --port 80      run a program; if it dies of a signal, say why
  afterimage capture 1234                   take a dump of a running process, without stopping it
  afterimage watch 1234 --memory-above 2G   take a dump when something happens
  afterimage explain core.1234              what happened, where, and why
  afterimage show core.1234 frames --json   one table, one JSON object a line

Exit status: 0 done; 2 wrong use; 3 the input cannot be read or is no dump; 4 not permitted;
5 the target vanished; 6 no room, or output failed. `run` gives the program's own.")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Flags that every verb takes.
    #[command(flatten)]
    pub common: Common,
}

/// Flags that every verb takes.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Everywhere")]
pub struct Common {
    /// One JSON object a line.
    #[arg(long, global = true, conflicts_with = "csv")]
    pub json: bool,
    /// Comma-separated values with a line of column names.
    #[arg(long, global = true)]
    pub csv: bool,
    /// Colours: on a terminal, always, or never.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// No progress and no remarks.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: how frames were found, all registers, where files were found.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated).
    #[arg(long = "debug", global = true, value_name = "PATH")]
    pub debug: Vec<PathBuf>,
    /// Look up the dump's paths under this folder.
    #[arg(long, global = true, value_name = "DIR")]
    pub sysroot: Option<PathBuf>,
    /// Where symbols of Windows' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders,
    /// cache*FOLDER; several with ; between them.
    #[arg(long, global = true, value_name = "PATH")]
    pub symbols: Option<String>,
    /// Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say.
    #[arg(long, global = true)]
    pub no_network: bool,
}

/// When to colour.
#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Type> for afterimage_dump::DumpType {
    fn from(wanted: Type) -> Self {
        match wanted {
            Type::Complete => Self::Complete,
            Type::Active => Self::Active,
            Type::Small => Self::Small,
        }
    }
}

impl Color {
    /// Makes this the program's choice.
    pub fn apply(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// The verbs in the order of a dump's life.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Crash a built-in sample program, capture it, explain it, and show each step's command.
    Demo(Demo),
    /// Run a program; if it, a thread or a child of it dies of a signal, write a dump and say why.
    Run(Run),
    /// Take a dump of a running process, which goes on running.
    Capture(Capture),
    /// Watch a running program, and take a dump of it when something happens.
    Watch(Box<Watch>),
    /// Say what file this is: format, type, system, time, completeness.
    Info(One),
    /// Say what happened, where, and why.
    #[command(after_help = "\
Examples:
  afterimage explain core
  afterimage explain core --debug ./build        programs and debug files that are not where the dump says
  afterimage explain server.dmp --debug ./symbols   a minidump with Breakpad symbols or PDBs
  afterimage explain app.dmp --symbols 'srv*/var/symbols*https://symbols.example.org'
  afterimage explain core --locals               with the variables of the frames
  afterimage explain core --json                 the same facts, one JSON object a line")]
    Explain(Explain),
    /// Show one table.
    #[command(after_help = "\
Examples:
  afterimage show core threads
  afterimage show core frames tid=1234
  afterimage show core memory start=0x7ffd0000 length=64
  afterimage show core modules --csv
  afterimage show vmcore processes               of a machine: what ran, whom it talked to, its stacks
  afterimage show memory.lime sockets pid=1234
  afterimage show vmcore kernel_frames cpu=0
`afterimage tables` lists all tables with their columns.")]
    Show(Show),
    /// List all tables with their columns and keys.
    Tables(Tables),
    /// Write a dump in another form: an ELF core or minidump of a process; ELF, kdump, LiME, AVML, raw or Windows' form of
    /// a machine; packed or not.
    Convert(Convert),
    /// Write a process, its program, or a file that was in memory, out of the image of a Linux machine.
    Extract(Extract),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or that of a verb, or write one page a verb into a folder.
    Man {
        /// The verb, or the folder to write the pages into.
        folder: Option<PathBuf>,
    },
}

/// `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Keep the sample's dump in this folder (a new folder under the system's temporary one if not given).
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Crash here and now: what the demo's child process does.
    #[arg(long, hide = true)]
    pub crash: bool,
}

/// `run`.
#[derive(Args, Debug)]
#[command(after_help = "\
The program keeps its input, output, terminal, signals and exit status. A program that ends well prints nothing.
Exit status: the program's own, or 128 + the signal that it died of; 126 and 127 as a shell gives them.

Examples:
  afterimage run -- ./server --port 80
  afterimage run -o /var/crash -- make test")]
pub struct Run {
    /// Folder for the dumps.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// How much of the process the dump shall hold.
    #[arg(long = "type", value_name = "TYPE", default_value = "active")]
    pub dump_type: Type,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `capture`.
#[derive(Args, Debug)]
#[command(after_help = "\
The dump shows one instant; the process hardly notices. Three ways, by what it has to bear:
  precopy   memory is copied while it runs; it stands for some milliseconds at the end
  snapshot  the kernel copies it as fork does; it stands for some 20 ms a gigabyte
  stop      it stands until all is read
Without --how the one with the shortest pause is chosen; the summary says which, and why not another.

Examples:
  afterimage capture 1234                          into ./NAME.1234.core
  afterimage capture 1234 -o /var/dumps --compress zstd
  afterimage capture --name nginx --type small     registers, stacks and what they point at
  afterimage capture 1234 --max-size 50M           the most useful 50 MiB, with a full backtrace
  afterimage capture --tree 1234 -o dumps/         a process and its children, at one instant
  afterimage capture 1234 -o - | ssh host 'cat >core'")]
#[command(group = clap::ArgGroup::new("target").required(true).args(["pid", "name", "tree", "cgroup"]))]
pub struct Capture {
    /// The process, by its id or that of any of its threads.
    #[arg(value_name = "PID")]
    pub pid: Option<i32>,
    /// The process with this name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// This process and all that descend from it, at one instant.
    #[arg(long, value_name = "PID")]
    pub tree: Option<i32>,
    /// All processes of this control group, at one instant: a path below /sys/fs/cgroup, or a full one.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// How the dump is taken.
    #[command(flatten)]
    pub taking: Taking,
    /// The file, or a folder for the file, or - for standard output.
    #[arg(short, long, value_name = "FILE", default_value = ".")]
    pub output: PathBuf,
    /// Replace an existing file.
    #[arg(long)]
    pub force: bool,
}

/// How a dump is taken.
#[derive(Args, Debug, Clone)]
pub struct Taking {
    /// How much of the process the dump shall hold.
    #[arg(long = "type", value_name = "TYPE", default_value = "active")]
    pub dump_type: CaptureType,
    /// The container.
    #[arg(long, value_name = "FORMAT", default_value = "elf")]
    pub format: Format,
    /// Take this way, and no other.
    #[arg(long, value_name = "WAY")]
    pub how: Option<How>,
    /// The longest stop that the process can bear, as 20ms.
    #[arg(long, value_name = "TIME", value_parser = crate::values::duration)]
    pub max_pause: Option<std::time::Duration>,
    /// The longest dump, before packing, as 50M: the most useful memory first.
    #[arg(long, value_name = "SIZE", value_parser = crate::values::size)]
    pub max_size: Option<u64>,
    /// Pack the dump.
    #[arg(long, value_name = "METHOD", default_value = "none")]
    pub compress: Compress,
}

/// How much of a running process a dump holds.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureType {
    /// All mapped memory, files too.
    Complete,
    /// What cannot be had from files; honours coredump_filter and MADV_DONTDUMP.
    Active,
    /// Registers, stacks and what they point at.
    Small,
    /// Active, or less if the disk has no room for it.
    Automatic,
}

/// A container to write.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An ELF core, for gdb, lldb, eu-stack.
    Elf,
    /// A minidump, for minidump-stackwalk, WinDbg, lldb.
    Minidump,
}

/// A way to take a dump.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Copy while it runs.
    Precopy,
    /// Copy as fork does.
    Snapshot,
    /// Read while it stands.
    Stop,
}

/// What a dump is packed with.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    /// Zstandard, in frames that can be read one by one.
    Zstd,
    /// Nothing.
    None,
}

/// A container that `convert` writes.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertFormat {
    /// An ELF core: of a process for gdb, lldb, eu-stack; of a machine for crash, drgn, makedumpfile.
    Elf,
    /// A minidump, for minidump-stackwalk, WinDbg, lldb (of a process).
    Minidump,
    /// kdump-compressed, as makedumpfile writes it (of a machine).
    Kdump,
    /// LiME, for volatility3 (of a machine).
    Lime,
    /// AVML: LiME's ranges, packed with snappy (of a machine).
    Avml,
    /// The byte of address N at place N (of a machine).
    Raw,
    /// A complete crash dump of Windows (of a Windows machine).
    Windows,
}

/// What `convert` packs with.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertCompress {
    /// Nothing.
    None,
    /// Zstandard: the file in frames that can be read one by one, or the pages of a kdump.
    Zstd,
    /// zlib (pages of a kdump).
    Zlib,
    /// LZO (pages of a kdump).
    Lzo,
    /// snappy (pages of a kdump).
    Snappy,
}

/// How much of a process a dump holds.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// All mapped memory.
    Complete,
    /// What cannot be had from files.
    Active,
    /// Registers, stacks and little more.
    Small,
}

/// A verb that takes one dump.
#[derive(Args, Debug)]
pub struct One {
    /// The dump, packed or not.
    pub dump: PathBuf,
}

/// `explain`.
#[derive(Args, Debug)]
pub struct Explain {
    /// The dump, packed or not.
    pub dump: PathBuf,
    /// Show the variables of the frames, where debug information tells of them.
    #[arg(long)]
    pub locals: bool,
}

/// `show`.
#[derive(Args, Debug)]
pub struct Show {
    /// The dump, packed or not.
    pub dump: PathBuf,
    /// The table.
    pub table: String,
    /// Keys that narrow the table, as `tid=1234`.
    #[arg(value_name = "KEY=VALUE")]
    pub keys: Vec<String>,
}

/// `convert`.
#[derive(Args, Debug)]
#[command(after_help = "\
What the new form has no place for is said, a line each. Memory that is not in the dump is not made up: holes stay holes.
A dump of a process that keeps its format and type is copied byte by byte, and only packed or unpacked.
A new dump of a machine is read again when it is written, and compared with the old one. A Linux machine's ELF or kdump
gets the VMCOREINFO that lies in memory, without which crash, drgn and makedumpfile refuse it.

Examples:
  afterimage convert core -o crash.dmp --format minidump
  afterimage convert crash.dmp -o core --format elf        gdb and eu-stack read it
  afterimage convert core -o small.dmp --format minidump --type small
  afterimage convert core.lz4 -o core.zst --compress zstd
  afterimage convert core -o - --format minidump | ssh host 'cat > crash.dmp'
  afterimage convert memory.lime -o vmcore --format kdump --compress lzo     crash, drgn, makedumpfile read it
  afterimage convert vmcore -o memory.raw --format raw")]
pub struct Convert {
    /// The dump, packed or not.
    pub dump: PathBuf,
    /// The new file; `-` is standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The container (the dump's own if not given).
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<ConvertFormat>,
    /// How much of the process it shall hold (as much as there is if not given).
    #[arg(long = "type", value_name = "TYPE")]
    pub dump_type: Option<Type>,
    /// How to pack it (none if not given; zlib for the pages of a kdump).
    #[arg(long, value_name = "HOW")]
    pub compress: Option<ConvertCompress>,
    /// Do not read the new dump of a machine again to compare it.
    #[arg(long)]
    pub no_verify: bool,
    /// Threads that read and pack a machine's memory (as many as there are processors if not given).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Replace a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// `tables`.
#[derive(Args, Debug)]
pub struct Tables {
    /// Only this table.
    pub table: Option<String>,
    /// Print the JSON schema of all tables' rows.
    #[arg(long)]
    pub schema: bool,
    /// Print the manual of all tables as Markdown.
    #[arg(long, conflicts_with = "schema", hide = true)]
    pub markdown: bool,
}
