//! `capture`: a dump of a process that goes on running.
//!
//! *Trap*: with `-o -` standard output is the dump; all that we say goes to standard error.

use crate::args::{Capture, CaptureType, Common, Compress, Format, How, Taking};
use crate::failure::{Failure, INPUT, OUTPUT, PERMISSION, USAGE, VANISHED};
use crate::output::progress::Phases;
use crate::output::style::{DIM, HEADING, paint, prefix};
use crate::output::{clean, json_line};
use afterimage_capture::{CaptureOptions, Container, Destination, DumpType, Group, LiveDump, LiveError};
use serde_json::json;
use std::io::IsTerminal;
use std::path::Path;

pub fn capture(arguments: &Capture, common: &Common) -> Result<u8, Failure> {
    afterimage_capture::survive_file_size_limit();
    let options = options(&arguments.taking, destination(arguments)?);
    let progress = Phases::new(common.quiet);
    let group = match (arguments.tree, &arguments.cgroup) {
        (Some(root), _) => Some(Group::Tree(root)),
        (None, Some(path)) => Some(Group::Cgroup(path.clone())),
        _ => None,
    };
    if let Some(group) = group {
        return several(&group, &options, &progress, common);
    }
    let pid = match (&arguments.pid, &arguments.name) {
        (Some(pid), _) => *pid,
        (None, Some(name)) => only(name)?,
        _ => return Err(Failure::new(USAGE, "capture: name a process")),
    };
    let dump = afterimage_capture::capture(pid, &options, &progress);
    drop(progress);
    tell(&dump.map_err(|error| failure(&error))?, common);
    Ok(0)
}

/// Takes a group, and tells of each member; the first failure is the program's.
fn several(group: &Group, options: &CaptureOptions, progress: &Phases, common: &Common) -> Result<u8, Failure> {
    let results = afterimage_capture::capture_group(group, options, progress).map_err(|error| failure(&error))?;
    let mut first = None;
    for result in results {
        match result {
            Ok(dump) => tell(&dump, common),
            Err(error) => {
                let failure = failure(&error);
                if first.is_some() {
                    anstream::eprintln!("{}{failure}", prefix());
                }
                first.get_or_insert(failure);
            }
        }
    }
    first.map_or(Ok(0), Err)
}

/// Library options of the flags.
pub fn options(taking: &Taking, destination: Destination) -> CaptureOptions {
    CaptureOptions {
        dump_type: match taking.dump_type {
            CaptureType::Complete => DumpType::Complete,
            CaptureType::Active | CaptureType::Automatic => DumpType::Active,
            CaptureType::Small => DumpType::Small,
        },
        fit_disk: taking.dump_type == CaptureType::Automatic,
        container: match taking.format {
            Format::Elf => Container::Elf,
            Format::Minidump => Container::Minidump,
        },
        compress: taking.compress == Compress::Zstd,
        how: taking.how.map(|how| match how {
            How::Precopy => afterimage_capture::How::Precopy,
            How::Snapshot => afterimage_capture::How::Snapshot,
            How::Stop => afterimage_capture::How::Stop,
        }),
        max_pause: taking.max_pause,
        max_size: taking.max_size,
        destination,
    }
}

fn destination(arguments: &Capture) -> Result<Destination, Failure> {
    let path = &arguments.output;
    if path == Path::new("-") {
        if std::io::stdout().is_terminal() {
            return Err(Failure::new(USAGE, "capture: standard output is a terminal")
                .advise("send it into a file or a pipe, or name a file with -o"));
        }
        return Ok(Destination::Stdout);
    }
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(Destination::Folder(path.clone()));
    }
    Ok(Destination::File { path: path.clone(), replace: arguments.force })
}

/// The only process with this name.
fn only(name: &str) -> Result<i32, Failure> {
    let pids = afterimage_capture::processes_named(name);
    match pids.as_slice() {
        [pid] => Ok(*pid),
        [] => Err(Failure::new(VANISHED, format!("capture {name}: no process has this name"))),
        many => {
            let many: Vec<String> = many.iter().map(i32::to_string).collect();
            Err(Failure::new(
                USAGE,
                format!("capture {name}: {} processes have this name: {}", many.len(), many.join(" ")),
            )
            .advise("name one of them by its id"))
        }
    }
}

/// One line for each failure, and what to do.
pub fn failure(error: &LiveError) -> Failure {
    let (status, advice) = match error {
        LiveError::NoProcess { .. } | LiveError::Vanished { .. } | LiveError::Zombie { .. } => (VANISHED, None),
        LiveError::NoGroup { .. } => (VANISHED, None),
        LiveError::NeedsFolder => (USAGE, Some("name an existing folder with -o, or one that ends with /")),
        LiveError::Own | LiveError::KernelThread { .. } => (USAGE, None),
        LiveError::Traced { .. } => (PERMISSION, Some("let the debugger take the dump, or detach it first")),
        LiveError::NotPermitted { .. } => (PERMISSION, None),
        LiveError::Unavailable { .. } => (PERMISSION, Some("without --how another way is taken")),
        LiveError::TooSlow { .. } => (PERMISSION, Some("allow more with --max-pause, or take less with --type small")),
        LiveError::Exists { .. } => (USAGE, Some("name another file, or give --force")),
        LiveError::NotAFile { .. } => (USAGE, Some("-o - writes to standard output")),
        LiveError::Changed { .. } => (VANISHED, Some("try again")),
        LiveError::TooSmall { .. } => (USAGE, Some("give a larger --max-size")),
        LiveError::NoRoom { .. } => (OUTPUT, Some("use another folder, --max-size, --compress zstd or --type small")),
        LiveError::Output { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => (PERMISSION, None),
        LiveError::Output { .. } => (OUTPUT, None),
        _ => (INPUT, None),
    };
    let failure = Failure::new(status, format!("capture: {error}"));
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

/// The summary.
pub fn tell(dump: &LiveDump, common: &Common) {
    if common.json && dump.path.is_some() {
        println!("{}", json_line(&object(dump)));
        return;
    }
    if common.quiet {
        return;
    }
    for reason in &dump.fallback {
        anstream::eprintln!("{}", paint(DIM, &clean(reason)));
    }
    let place = dump.path.as_ref().map_or_else(|| "standard output".into(), |path| path.display().to_string());
    let name = format!("{} ({})", clean(&dump.comm), dump.pid);
    anstream::eprintln!("{}: {}", paint(HEADING, &name), clean(&place));
    anstream::eprintln!(
        "  stood for {}, {} in all; {} pages ({}), {} in the file; {}, {} thread{}",
        time(dump.pause),
        time(dump.took),
        dump.stored / 4096,
        bytes(dump.stored),
        bytes(dump.disk_size.unwrap_or(dump.file_size)),
        dump.how.name(),
        dump.threads,
        if dump.threads == 1 { "" } else { "s" },
    );
    if common.verbose {
        for error in &dump.soft_errors {
            anstream::eprintln!("{}", paint(DIM, &clean(error)));
        }
    } else if !dump.soft_errors.is_empty() {
        let count = dump.soft_errors.len();
        let words = if count == 1 { "remark is" } else { "remarks are" };
        anstream::eprintln!("{}", paint(DIM, &format!("  {count} {words} in the dump (-v shows them)")));
    }
}

fn object(dump: &LiveDump) -> serde_json::Value {
    let millis = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let size = dump.disk_size.unwrap_or(dump.file_size);
    json!({
        "pid": dump.pid,
        "name": dump.comm,
        "path": dump.path.as_ref().map(|path| path.to_string_lossy()),
        "format": if dump.minidump { "minidump" } else { "elf" },
        "type": dump.dump_type.name(),
        "how": dump.how.name(),
        "pause_ms": millis(dump.pause),
        "pauses_ms": dump.pauses.iter().copied().map(millis).collect::<Vec<f64>>(),
        "total_ms": millis(dump.took),
        "pages": dump.stored / 4096,
        "stored_bytes": dump.stored,
        "file_size": dump.file_size,
        "disk_size": dump.disk_size,
        "ratio": if size == 0 { 0.0 } else { dump.stored as f64 / size as f64 },
        "passes": dump.passes,
        "threads": dump.threads,
        "fallback": dump.fallback,
        "soft_errors": dump.soft_errors,
    })
}

/// A time for people.
pub fn time(time: std::time::Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    match millis {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// A size for people, in 1024s.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    if value >= 100.0 || unit == "B" { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}
