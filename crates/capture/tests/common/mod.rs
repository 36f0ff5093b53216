//! Compiling small C programs, running them under `examples/supervise`, and asking debuggers; all bounded in time.
#![allow(dead_code, unreachable_pub, missing_docs)]
// Helpers of tests, but not test functions: clippy.toml's leave does not reach them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No test program needs as long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    /// Exit status, or 1000 + signal.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A folder with programs and their dumps; goes away with the test.
pub struct Lab {
    pub dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dumps(&self) -> PathBuf {
        self.path("dumps")
    }

    /// Compiles a C program.
    pub fn compile(&self, name: &str, source: &str) -> PathBuf {
        let file = self.path(&format!("{name}.c"));
        std::fs::write(&file, source).unwrap();
        let program = self.path(name);
        let status = Command::new("cc")
            .args(["-g", "-O1", "-pthread", "-fno-optimize-sibling-calls", "-D_GNU_SOURCE", "-w", "-o"])
            .args([&program, &file])
            .status()
            .expect("cc is needed");
        assert!(status.success(), "cc {name}");
        program
    }

    /// The command that runs `program` under watch; its dumps go to [`Lab::dumps`].
    ///
    /// *Trap*: a watcher leaves a signal ignored that it found ignored, and `nohup` ignores SIGHUP for all that it starts,
    /// these tests too. They start with it as a terminal would give it.
    pub fn supervise(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(supervise());
        command.arg(self.dumps()).arg(program.as_ref()).current_dir(self.dir.path());
        // SAFETY: signal(2) may be called between fork and exec.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut command, || {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        command
    }

    /// All dumps, in the order of their names.
    pub fn dump_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.dumps())
            .map(|dir| dir.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        files.sort();
        files
    }

    /// The only dump.
    pub fn dump(&self) -> PathBuf {
        let files = self.dump_files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

/// The example, which cargo builds before the tests.
pub fn supervise() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/supervise");
    assert!(path.exists(), "{} is built by `cargo test` without --test", path.display());
    path
}

/// Runs to the end, with nothing on standard input.
pub fn run(command: &mut Command) -> Finished {
    run_with(command, b"")
}

/// Runs to the end, with this on standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Finished {
    finish(start(command), input)
}

/// Starts with pipes.
pub fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits, but not for ever.
pub fn finish(mut child: Child, input: &[u8]) -> Finished {
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = from.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = reader(Box::new(child.stdout.take().unwrap()));
    let stderr = reader(Box::new(child.stderr.take().unwrap()));
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            use std::os::unix::process::ExitStatusExt;
            let status = status.code().unwrap_or_else(|| 1000 + status.signal().unwrap());
            return Finished { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("still running after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `what` is true.
pub fn until(text: &str, mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < deadline, "waited in vain until {text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads one line from a child's standard output.
pub fn read_line(child: &mut Child) -> String {
    let out = child.stdout.as_mut().unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Sends a signal to a process, or to the group `-pid`.
///
/// Folklore: never by the `kill` program. That of procps 4.0.2 reads `kill -15 -1234` as `kill(-1)`, every process of
/// the machine, because it takes only the first digit of a negative id.
pub fn kill(pid: i32, signal: i32) {
    assert!(pid.unsigned_abs() > 1, "{pid} is no process of ours");
    // SAFETY: a system call on numbers; the id is that of a process or group that the test has started.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "kill {pid} {signal}");
}

/// The state letter of a process, `None` if there is none.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

/// Output of gdb's commands on a core.
pub fn gdb(program: &Path, core: &Path, commands: &[&str]) -> String {
    let mut command = Command::new("gdb");
    command.args(["-batch", "-nx", "-iex", "set debuginfod enabled off"]);
    for text in commands {
        command.args(["-ex", text]);
    }
    run(command.arg(program).arg(core)).stdout
}

/// Function names of the stack that gdb sees in the first thread.
pub fn gdb_functions(program: &Path, core: &Path) -> Vec<String> {
    let text = gdb(program, core, &["bt"]);
    let frames = text.split("\n#0 ").last().unwrap_or_default();
    format!("#0 {frames}").lines().filter(|line| line.starts_with('#')).map(function).collect()
}

/// `#1  0x… in name (…) at …` or `#1  name (…)`.
fn function(line: &str) -> String {
    let mut words = line.split_whitespace().skip(1).peekable();
    if words.peek().is_some_and(|word| word.starts_with("0x")) {
        words.next();
        if words.peek() == Some(&"in") {
            words.next();
        }
    }
    words.next().unwrap_or_default().to_owned()
}

/// Frames of all threads as eu-stack prints them: `pc name`, thread by thread.
pub fn eu_stack(core: &Path) -> Vec<String> {
    let text = run(Command::new("eu-stack").arg("--core").arg(core)).stdout;
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
        .collect()
}

/// Function names of the stack that lldb sees.
pub fn lldb_functions(program: &Path, core: &Path) -> Vec<String> {
    let mut command = Command::new("lldb");
    command.args(["--batch", "--no-lldbinit", "-o", "bt", "-c"]).arg(core).arg(program);
    let text = run(&mut command).stdout;
    let frames = text.lines().filter(|line| line.contains("frame #"));
    frames
        .map(|line| {
            let name = line.split_once('`').map_or("", |(_, rest)| rest);
            name.split(['(', ' ']).next().unwrap_or_default().to_owned()
        })
        .collect()
}
