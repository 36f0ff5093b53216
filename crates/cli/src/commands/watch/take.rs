//! Taking one dump of a program that runs: `afterimage capture` as a child process.
//!
//! *Why a child*: taking a dump needs memory, time and luck, and the watcher is to live through all of it. A capture
//! that is killed for its memory, or that a hostile process confuses, costs one dump and not the watch.
//!
//! *Trap*: the child gets an id, and ids are used again. The library asks the pidfd right before; what remains are the
//! milliseconds until `capture` opens its own.

use crate::args::{Compress, Format, Taking};
use crate::failure::{OUTPUT, PERMISSION, VANISHED};
use afterimage_capture::watch::{FailureKind, Firing, Stop, TakeFailure};
use clap::ValueEnum;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between looks at the child.
const LOOK: Duration = Duration::from_millis(20);
/// How long a capture may take to end when the watcher is told to.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of what it says so much is kept.
const LONGEST_TEXT: u64 = 1 << 20;

/// Takes dumps into a folder.
pub struct Taker {
    program: PathBuf,
    folder: PathBuf,
    flags: Taking,
    stop: Stop,
}

/// The first flag that a traced program's dump cannot honour.
pub fn not_for_traced(flags: &Taking) -> Option<&'static str> {
    let asked = [
        (flags.format == Format::Minidump, "--format minidump"),
        (flags.how.is_some(), "--how"),
        (flags.max_pause.is_some(), "--max-pause"),
        (flags.max_size.is_some(), "--max-size"),
        (flags.compress == Compress::Zstd, "--compress"),
    ];
    asked.into_iter().find(|(asked, _)| *asked).map(|(_, flag)| flag)
}

impl Taker {
    pub fn new(folder: &Path, flags: &Taking, stop: Stop) -> Self {
        // A program that has been replaced meanwhile, by an update say, is still there under this name.
        let program = std::env::current_exe().ok().filter(|path| path.exists());
        let program = program.unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        Self { program, folder: folder.to_owned(), flags: flags.clone(), stop }
    }

    /// Takes one.
    pub fn take(&self, firing: &Firing) -> Result<PathBuf, TakeFailure> {
        let output = |why: std::io::Error| TakeFailure {
            kind: FailureKind::Output,
            message: format!("cannot write dumps into {}: {why}", self.folder.display()),
        };
        std::fs::create_dir_all(&self.folder).map_err(output)?;
        let other = |message: String| TakeFailure { kind: FailureKind::Other, message };
        let mut child = Command::new(&self.program)
            .arg0("afterimage")
            .args(self.arguments(firing.pid))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| other(format!("cannot start {}: {error}", self.program.display())))?;
        let (said, complaint) = (read(child.stdout.take()), read(child.stderr.take()));
        let status = self.wait(&mut child).map_err(|error| other(format!("cannot wait for the capture: {error}")))?;
        let (said, complaint) = (text(said), text(complaint));
        if let Some(path) = path_in(&said).filter(|path| status.success() && path.exists()) {
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

    fn arguments(&self, pid: u32) -> Vec<OsString> {
        let flags = &self.flags;
        let mut out: Vec<OsString> = vec!["capture".into(), pid.to_string().into(), "--json".into()];
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                out.push(name.into());
                out.push(value.into());
            }
        };
        flag("--type", value_name(Some(flags.dump_type)));
        flag("--format", value_name(Some(flags.format)));
        flag("--how", value_name(flags.how));
        flag("--max-pause", flags.max_pause.map(|time| format!("{}us", time.as_micros())));
        flag("--max-size", flags.max_size.map(|size| size.to_string()));
        flag("--compress", value_name(Some(flags.compress)));
        // A folder: `capture` names the file, and never replaces one.
        out.extend(["-o".into(), self.folder.clone().into()]);
        out
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

/// Reads in a thread of its own, so that the child never waits for us.
fn read(from: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    let mut from = from?;
    Some(std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = from.by_ref().take(LONGEST_TEXT).read_to_end(&mut text);
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        String::from_utf8_lossy(&text).into_owned()
    }))
}

fn text(thread: Option<JoinHandle<String>>) -> String {
    thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
}

/// The dump's file, in what `capture --json` says.
fn path_in(said: &str) -> Option<PathBuf> {
    let object: serde_json::Value = serde_json::from_str(said.lines().next()?).ok()?;
    Some(PathBuf::from(object.get("path")?.as_str()?))
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
    use crate::args::CaptureType;
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
        let flags = Taking {
            dump_type: CaptureType::Small,
            format: Format::Elf,
            how: None,
            max_pause: Some(Duration::from_millis(20)),
            max_size: None,
            compress: Compress::None,
        };
        let mut taker = Taker::new(&folder.join("dumps"), &flags, Stop::default());
        taker.program = program;
        taker
    }

    fn firing() -> Firing {
        let text = String::new();
        Firing { pid: 7, trigger: "every", value: text.clone(), threshold: text.clone(), words: text }
    }

    #[test]
    fn the_child_gets_the_flags_and_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let script =
            "for last; do :; done; echo \"$@\" > \"$last/a.core\"; echo \"{\\\"path\\\": \\\"$last/a.core\\\"}\"";
        let path = taker(dir.path(), script).take(&firing()).unwrap();
        let folder = dir.path().join("dumps");
        assert_eq!(path, folder.join("a.core"));
        let expected = format!(
            "capture 7 --json --type small --format elf --max-pause 20000us --compress none -o {}",
            folder.display()
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), expected);
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
