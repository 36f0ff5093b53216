//! Taking one dump of a program that runs: `afterimage capture` as a child process.
//!
//! *Why a child*: taking a dump needs memory, time and luck, and the watcher is to live through all of it. A capture
//! that is killed for its memory, or that a hostile process confuses, costs one dump and not the watch.
//!
//! *Trap*: the child gets an id, and ids are used again. The library asks the pidfd right before; what remains are the
//! milliseconds until `capture` opens its own.

use crate::args::{Compress, DumpFlags, Format};
use crate::failure::{OUTPUT, PERMISSION, VANISHED};
use afterimage_capture::watch::{FailureKind, Firing, Stop, TakeFailure};
use clap::ValueEnum;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between looks at the child.
const LOOK: Duration = Duration::from_millis(20);
/// How long a capture may take to end when the watcher is told to.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of what it says so much is kept.
const LONGEST_COMPLAINT: usize = 4096;

/// Takes dumps into a folder.
pub struct Taker {
    program: PathBuf,
    folder: PathBuf,
    flags: DumpFlags,
    name: String,
    stop: Stop,
}

/// The first flag that a traced program's dump cannot honour.
pub fn not_for_traced(flags: &DumpFlags) -> Option<&'static str> {
    let asked = [
        (flags.format == Some(Format::Minidump), "--format minidump"),
        (flags.how.is_some(), "--how"),
        (flags.max_pause.is_some(), "--max-pause"),
        (flags.max_size.is_some(), "--max-size"),
        (flags.compress == Some(Compress::Zstd), "--compress"),
    ];
    asked.into_iter().find(|(asked, _)| *asked).map(|(_, flag)| flag)
}

impl Taker {
    pub fn new(folder: &Path, flags: &DumpFlags, stop: Stop) -> Self {
        // A program that has been replaced meanwhile, by an update say, is still there under this name.
        let program = std::env::current_exe().ok().filter(|path| path.exists());
        let program = program.unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        Self { program, folder: folder.to_owned(), flags: flags.clone(), name: "process".to_owned(), stop }
    }

    /// The short name of the process, for the files' names.
    pub fn set_name(&mut self, comm: &str) {
        let harmless = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let name: String = comm.chars().map(harmless).collect();
        let name = name.trim_start_matches(['.', '-']);
        if !name.is_empty() {
            name.clone_into(&mut self.name);
        }
    }

    /// Takes one.
    pub fn take(&self, firing: &Firing) -> Result<PathBuf, TakeFailure> {
        let output = |why: std::io::Error| TakeFailure {
            kind: FailureKind::Output,
            message: format!("cannot write dumps into {}: {why}", self.folder.display()),
        };
        std::fs::create_dir_all(&self.folder).map_err(output)?;
        let path = self.free_path(firing.pid);
        let other = |message: String| TakeFailure { kind: FailureKind::Other, message };
        let mut child = Command::new(&self.program)
            .arg0("afterimage")
            .args(self.arguments(firing.pid, &path))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| other(format!("cannot start {}: {error}", self.program.display())))?;
        // Read in a thread of its own, so that it never waits for us.
        let complaint = child.stderr.take().map(|mut from| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = from.by_ref().take(LONGEST_COMPLAINT as u64).read_to_end(&mut text);
                let _ = std::io::copy(&mut from, &mut std::io::sink());
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let status = self.wait(&mut child).map_err(|error| other(format!("cannot wait for the capture: {error}")))?;
        let complaint = complaint.and_then(|thread| thread.join().ok()).unwrap_or_default();
        if status.success() && path.exists() {
            return Ok(path);
        }
        let kind = match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(PERMISSION) => FailureKind::NotPermitted,
            Some(VANISHED) => FailureKind::Vanished,
            Some(OUTPUT) => FailureKind::Output,
            _ => FailureKind::Other,
        };
        let message = cause(&complaint).map_or_else(|| format!("the capture ended with {status}"), str::to_owned);
        Err(TakeFailure { kind, message })
    }

    fn arguments(&self, pid: u32, path: &Path) -> Vec<OsString> {
        let flags = &self.flags;
        let mut out: Vec<OsString> = vec!["capture".into(), pid.to_string().into(), "--quiet".into()];
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                out.push(name.into());
                out.push(value.into());
            }
        };
        flag("--type", value_name(Some(flags.dump_type)));
        flag("--format", value_name(flags.format));
        flag("--how", value_name(flags.how));
        flag("--max-pause", flags.max_pause.clone());
        flag("--max-size", flags.max_size.clone());
        flag("--compress", value_name(flags.compress));
        out.extend(["-o".into(), path.into()]);
        out
    }

    /// `<comm>.<pid>.core`, with a number if that exists.
    fn free_path(&self, pid: u32) -> PathBuf {
        let extension = match (self.flags.format, self.flags.compress) {
            (Some(Format::Minidump), Some(Compress::Zstd)) => "dmp.zst",
            (Some(Format::Minidump), _) => "dmp",
            (_, Some(Compress::Zstd)) => "core.zst",
            _ => "core",
        };
        let stem = format!("{}.{pid}", self.name);
        let mut path = self.folder.join(format!("{stem}.{extension}"));
        for n in 1u32..10_000 {
            if !path.exists() {
                break;
            }
            path = self.folder.join(format!("{stem}.{n}.{extension}"));
        }
        path
    }

    /// Waits for its end; tells it to end when the watch shall.
    fn wait(&self, child: &mut Child) -> std::io::Result<ExitStatus> {
        let mut told: Option<Instant> = None;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if self.stop.requested().is_some() {
                match told {
                    None => {
                        told = Some(Instant::now());
                        // Not reaped yet, so the id is still its own. It tidies up on this signal.
                        if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
                            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                        }
                    }
                    Some(at) if at.elapsed() > PATIENCE => child.kill()?,
                    Some(_) => {}
                }
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// The line that says what went wrong: the last of ours, or the first of all.
fn cause(complaint: &str) -> Option<&str> {
    let mut lines = complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    let ours = lines.clone().filter_map(|line| line.strip_prefix("afterimage: ")).next_back();
    ours.or_else(|| lines.next())
}

fn value_name<T: ValueEnum>(value: Option<T>) -> Option<String> {
    value.and_then(|value| value.to_possible_value()).map(|value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Type;
    use std::os::unix::fs::PermissionsExt;

    /// A taker that calls this script instead of the real program.
    fn taker(folder: &Path, script: &str) -> Taker {
        let program = folder.join("capture.sh");
        // Written by another process: a thread of ours that forks meanwhile would keep it open and so busy.
        let text = format!("#!/bin/sh\n{script}\n");
        let written =
            Command::new("sh").args(["-c", "printf '%s' \"$1\" > \"$2\"", "sh", &text]).arg(&program).status();
        assert!(written.unwrap().success());
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let flags = DumpFlags {
            dump_type: Type::Small,
            format: None,
            how: None,
            max_pause: Some("20ms".into()),
            max_size: None,
            compress: None,
        };
        let mut taker = Taker::new(&folder.join("dumps"), &flags, Stop::default());
        taker.program = program;
        taker.set_name("../a b");
        taker
    }

    fn firing() -> Firing {
        let text = String::new();
        Firing { pid: 7, trigger: "every", value: text.clone(), threshold: text.clone(), words: text }
    }

    #[test]
    fn the_child_gets_the_flags_and_a_free_name() {
        let dir = tempfile::tempdir().unwrap();
        let taker = taker(dir.path(), "for last; do :; done; echo \"$@\" > \"$last\"");
        let first = taker.take(&firing()).unwrap();
        assert_eq!(first, dir.path().join("dumps/_a_b.7.core"));
        let words = std::fs::read_to_string(&first).unwrap();
        let expected = format!("capture 7 --quiet --type small --max-pause 20ms -o {}", first.display());
        assert_eq!(words.trim(), expected);
        assert_eq!(taker.take(&firing()).unwrap(), dir.path().join("dumps/_a_b.7.1.core"));
    }

    #[test]
    fn its_failure_is_told_in_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        for (status, kind) in [(4, FailureKind::NotPermitted), (5, FailureKind::Vanished), (6, FailureKind::Output)] {
            let script = format!("echo working >&2; echo 'afterimage: capture 7: no luck' >&2; exit {status}");
            let failure = taker(dir.path(), &script).take(&firing()).unwrap_err();
            assert_eq!(failure, TakeFailure { kind, message: "capture 7: no luck".into() });
        }
        let failure = taker(dir.path(), "exit 0").take(&firing()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Other, "it said that all was well, but there is no dump");
    }

    #[test]
    fn it_ends_with_the_watch() {
        let dir = tempfile::tempdir().unwrap();
        let taker = taker(dir.path(), "trap 'exit 1' TERM; while :; do sleep 0.05; done");
        let stop = taker.stop.clone();
        let thread = std::thread::spawn(move || taker.take(&firing()).unwrap_err());
        std::thread::sleep(Duration::from_millis(200));
        stop.stop();
        let start = Instant::now();
        thread.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
