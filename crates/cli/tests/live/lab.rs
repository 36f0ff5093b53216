//! Calling `capture`, and a folder for what it writes.

use afterimage_testkit::live::{Live, State};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The ways to copy that are tested: all three, or those that `AFTERIMAGE_WAYS` names, as `stop,snapshot`, where the
/// kernel has no more.
pub fn ways() -> Vec<&'static str> {
    const WAYS: [&str; 3] = ["stop", "snapshot", "precopy"];
    let wanted = std::env::var("AFTERIMAGE_WAYS").unwrap_or_else(|_| WAYS.join(","));
    WAYS.into_iter().filter(|way| wanted.split(',').any(|wanted| wanted == *way)).collect()
}
/// Ends what hangs; nothing takes nearly as long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How many captures a soak test makes: few in a usual run, as many as `AFTERIMAGE_SOAK` says otherwise.
pub fn soak(usual: usize) -> usize {
    std::env::var("AFTERIMAGE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The program with colours and network off and nothing on its input.
pub fn afterimage() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterimage"));
    command.env_remove("DEBUGINFOD_URLS").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A new folder for dumps: in memory where there is such a place, so that it is no disk that is tested.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let builder = || tempfile::Builder::new().prefix("afterimage-test").to_owned();
    builder().tempdir_in(memory).or_else(|_| builder().tempdir()).unwrap()
}

/// What a call of `capture` gave.
pub struct Call {
    pub status: Option<i32>,
    /// Its one object on standard output, or null.
    pub said: Value,
    /// All of its lines on standard output.
    pub lines: Vec<Value>,
    pub error: String,
}

/// Runs a command to its end; one that hangs is killed and fails the test.
pub fn run(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let (done, waiter) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let hangs = waiter.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if hangs {
            // SAFETY: kill takes two numbers and touches no memory; the process is our child and not waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        hangs
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    assert!(!watch.join().unwrap(), "{shown} did not end within {PATIENCE:?}");
    output
}

/// Runs any prepared call with `--json`.
pub fn call(command: &mut Command) -> Call {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Call {
        status: output.status.code(),
        said: lines.first().cloned().unwrap_or_default(),
        lines,
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Call {
    /// Asserts that it ended well and gives what it said.
    #[track_caller]
    pub fn done(self) -> Value {
        assert_eq!(self.status, Some(0), "{}", self.error);
        assert!(self.said.is_object(), "nothing on standard output; {}", self.error);
        self.said
    }

    /// Asserts that it failed with one of these statuses and one line that holds all the words.
    #[track_caller]
    pub fn failed(&self, statuses: &[i32], words: &[&str]) {
        assert!(self.status.is_some_and(|status| statuses.contains(&status)), "{:?}: {}", self.status, self.error);
        assert_eq!(self.error.lines().count(), 1, "{}", self.error);
        assert!(self.error.starts_with("afterimage: "), "{}", self.error);
        for word in words {
            assert!(self.error.to_lowercase().contains(word), "no word of {word}: {}", self.error);
        }
    }
}

/// The command that captures a process into a file.
pub fn capture_command(pid: u32, options: &[&str], to: &Path) -> Command {
    let mut command = afterimage();
    command.args(["capture", &pid.to_string(), "--json"]).args(options).arg("-o").arg(to);
    command
}

/// Captures a process that lets itself be captured.
#[track_caller]
pub fn capture(pid: u32, options: &[&str], to: &Path) -> Value {
    let _ = fs::remove_file(to);
    let said = call(&mut capture_command(pid, options, to)).done();
    assert!(to.is_file(), "{} is not there: {said}", to.display());
    said
}

/// The same in one of the ways, which must be the one that was taken.
#[track_caller]
pub fn capture_by(way: &str, pid: u32, options: &[&str], to: &Path) -> Value {
    let options: Vec<&str> = ["--how", way].iter().chain(options).copied().collect();
    let said = capture(pid, &options, to);
    assert_eq!(said["how"], way, "fallback: {}", said["fallback"]);
    said
}

/// The same of so little memory that there may be nothing to copy before a stop: then that is said, and there is no dump.
#[track_caller]
pub fn capture_little_by(way: &str, pid: u32, options: &[&str], to: &Path) -> Option<Value> {
    let _ = fs::remove_file(to);
    let options: Vec<&str> = ["--how", way].iter().chain(options).copied().collect();
    let done = call(&mut capture_command(pid, &options, to));
    if way == "precopy" && done.status == Some(4) {
        done.failed(&[4], &["little memory"]);
        assert!(!to.exists());
        return None;
    }
    let said = done.done();
    assert_eq!(said["how"], way, "fallback: {}", said["fallback"]);
    Some(said)
}

/// What can be seen of the program while it rests.
#[track_caller]
pub fn state(program: &mut Live) -> State {
    program.ask("hold").unwrap();
    let state = settled(program);
    program.ask("go").unwrap();
    state
}

/// What can be seen of a program that has just been told to rest: some thread may still be on its way into its wait.
#[track_caller]
pub fn settled(program: &Live) -> State {
    loop {
        let state = State::of(program.pid(), program.mark()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        if state.differences(&State::of(program.pid(), program.mark()).unwrap()).is_empty() {
            break state;
        }
    }
}

/// What stays changed after some seconds of grace, in which the kernel ends what a killed process had under way.
#[track_caller]
pub fn lasting_changes(program: &mut Live, before: &State) -> Vec<String> {
    program.ask("hold").unwrap();
    let begin = Instant::now();
    let differences = loop {
        let differences = before.differences(&State::of(program.pid(), program.mark()).unwrap());
        if differences.is_empty() || begin.elapsed() > Duration::from_secs(2) {
            break differences;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    program.ask("go").unwrap();
    differences
}

/// Names in a folder, those of hidden files, too.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Whether a test that needs a tool can run. On the machine that checks all (`CI` is set) it must.
pub fn can_use(tool: &str) -> bool {
    if find(tool).is_some() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{tool} is missing, and with CI set no test may be skipped");
    eprintln!("{tool} is not installed: not tested");
    false
}

/// Where a tool is: installed for the tests in `target/tools`, or for all.
pub fn find(tool: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_afterimage")).ancestors().nth(2).unwrap();
    let own = ["tools/bin", "tools/python/bin"].map(|folder| target.join(folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    own.into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join(tool)).find(|path| path.is_file())
}

/// Whether this process may do what only root may. On the machine that checks all it must.
pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("not run as root: not tested");
    }
    root
}
