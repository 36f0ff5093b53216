//! `watch`: a dump when something happens, and no harm to what is watched.

use crate::tool::{Report, afterimage, output};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// A child that is killed at the test's end, and the lines that it prints.
struct Guard(Child, Receiver<String>);

impl Guard {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self(child, lines)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn kill(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits for its end, but not for ever.
    fn status(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it has not ended");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reads lines from its standard output until one has this in it.
    fn read_until(&mut self, what: &str) -> String {
        loop {
            let line = self.1.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("no line with {what}"));
            if line.contains(what) {
                return line;
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell that does what it is told on its input.
fn shell() -> Guard {
    let mut command = Command::new("sh");
    let mut shell = Guard::start(command.stdin(Stdio::piped()));
    tell(&mut shell, "echo ready");
    shell.read_until("ready");
    shell
}

fn tell(shell: &mut Guard, line: &str) {
    writeln!(shell.0.stdin.as_mut().unwrap(), "{line}").unwrap();
}

/// Begins to watch, with events on standard output.
fn watch(arguments: &[&str], dir: &Path) -> Guard {
    let mut command = afterimage();
    command.args(["watch", "--json", "-o"]).arg(dir).args(arguments).stderr(Stdio::null());
    let mut watch = Guard::start(&mut command);
    watch.read_until("\"started\"");
    watch
}

fn status_of(pid: u32, key: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
}

/// Waits until nobody traces the shell, and sees that it still obeys.
fn lives_untraced(shell: &mut Guard) {
    let deadline = Instant::now() + LIMIT;
    while status_of(shell.pid(), "TracerPid:") != "0" {
        assert!(Instant::now() < deadline, "it is still traced");
        std::thread::sleep(Duration::from_millis(10));
    }
    tell(shell, "echo alive");
    shell.read_until("alive");
}

#[test]
fn a_crash_is_dumped_before_death_and_then_told() {
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said");
    let then = format!("echo \"$AFTERIMAGE_PID $AFTERIMAGE_TRIGGER $AFTERIMAGE_DUMP\" > {}", said.display());
    let mut shell = shell();
    let pid = shell.pid().to_string();
    let mut watch = watch(&[&pid, "--signal", "SEGV,ABRT", "--then", &then], dir.path());
    tell(&mut shell, "kill -SEGV $$");
    let event: Value = serde_json::from_str(&watch.read_until("\"dump\"")).unwrap();
    let path = event["path"].as_str().unwrap().to_owned();
    assert_eq!((event["trigger"].as_str(), event["value"].as_str()), (Some("signal"), Some("SIGSEGV")));
    assert_eq!(event["pid"].to_string(), pid);
    assert_eq!(watch.status().code(), Some(0));
    shell.status();
    assert_eq!(std::fs::read_to_string(said).unwrap(), format!("{pid} signal: SIGSEGV is about to kill it {path}\n"));
    let report = Report::explain(Path::new(&path), None).unwrap();
    assert_eq!(report.value("exception", "signal"), "SIGSEGV");
    assert!(report.table("frames").count() > 0);
}

#[test]
fn a_killed_watcher_leaves_the_program_alive() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell();
    let pid = shell.pid().to_string();
    let mut watch = watch(&[&pid, "--signal", "fatal", "--exit"], dir.path());
    assert_eq!(status_of(shell.pid(), "TracerPid:").parse::<u32>().unwrap().min(1), 1, "it is traced");
    watch.kill(Signal::KILL);
    watch.status();
    lives_untraced(&mut shell);
}

#[test]
fn a_watcher_that_is_told_to_end_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell();
    let pid = shell.pid().to_string();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for trigger in [&["--signal", "fatal"][..], &["--memory-above", "1T"]] {
            let mut watch = watch(&[&[pid.as_str()], trigger].concat(), dir.path());
            watch.kill(signal);
            assert_eq!(watch.status().code(), Some(status));
            lives_untraced(&mut shell);
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_process_that_ends_first_has_its_own_status() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell();
    let pid = shell.pid().to_string();
    let mut watch = watch(&[&pid, "--threads-above", "99", "--signal", "SEGV"], dir.path());
    tell(&mut shell, "exit 3");
    let event: Value = serde_json::from_str(&watch.read_until("\"exit\"")).unwrap();
    assert_eq!(event["status"], 3);
    assert_eq!(watch.status().code(), Some(5));
    let gone = output(afterimage().args(["watch", "--exit", &pid]), LIMIT);
    assert_eq!(gone.status.code(), Some(5), "{}", String::from_utf8_lossy(&gone.stderr));
}

#[test]
fn wrong_use_is_one_line_with_a_way_out() {
    for (arguments, status) in [
        (&["1"][..], 2),
        (&["--exit"], 2),
        (&["1", "--name", "x", "--exit"], 2),
        (&["1", "--exit", "--interval", "1ms"], 2),
        (&["1", "--log", "/tmp/x", "--match", "("], 2),
        (&["1", "--exit", "--format", "minidump"], 2),
        (&["--exit", "--launch", "/no/such/program"], 2),
        (&["--name", "no-such-name", "--exit"], 5),
    ] {
        let output = output(afterimage().arg("watch").args(arguments), LIMIT);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
        assert!(!error.is_empty() && !error.contains("panicked"), "{arguments:?}: {error}");
    }
}

#[test]
fn a_launched_program_gets_what_is_sent_to_the_watcher() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'echo caught; exit 7' TERM; for n in $(seq 1000); do echo running; sleep 0.05; done";
    for trigger in [&["--memory-above", "1T"][..], &["--signal", "fatal"]] {
        let mut watch = watch(&[trigger, &["--launch", "sh", "-c", script]].concat(), dir.path());
        watch.read_until("running");
        watch.kill(Signal::TERM);
        watch.read_until("caught");
        let event: Value = serde_json::from_str(&watch.read_until("\"exit\"")).unwrap();
        assert_eq!(event["status"], 7);
        assert_eq!(watch.status().code(), Some(5), "it ended, and no trigger had fired");
    }
}

#[test]
fn a_running_program_is_dumped_by_capture() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell();
    let pid = shell.pid().to_string();
    let mut watch = watch(&[&pid, "--threads-above", "0", "--count", "2", "--cooldown", "0s"], dir.path());
    assert_eq!(watch.status().code(), Some(0));
    lives_untraced(&mut shell);
    let dumps: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(dumps.len(), 2, "{dumps:?}");
    for dump in dumps {
        assert!(Report::explain(&dump, None).unwrap().table("frames").count() > 0, "{}", dump.display());
    }
}
