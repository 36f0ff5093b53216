//! A living program that runs: its ready line, its commands, its end.

use super::build::{Program, program};
use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// No answer takes as long, on a machine however loaded: it is a limit on hanging, not a time that is asserted.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program of `programs/live`; it is killed when this value goes.
///
/// *Trap*: it also dies when the thread that started it ends.
#[derive(Debug)]
pub struct Live {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    name: &'static str,
    mark: String,
    /// What it said when it was ready.
    pub ready: Value,
}

impl Live {
    /// Builds and starts a program and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot be built or started, or ends instead of being ready.
    pub fn start(which: Program, arguments: &[&str]) -> anyhow::Result<Self> {
        let path = program(which)?;
        let mut command = Command::new(&path);
        // Its mappings of files are of this folder; it removes them itself.
        command.args(arguments).current_dir(std::env::temp_dir());
        Self::start_as(which, command)
    }

    /// The same with a command of the caller's, for example one that starts the program under another user.
    ///
    /// # Errors
    /// As [`Live::start`].
    pub fn start_as(which: Program, mut command: Command) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        if which == Program::Still {
            // glibc from 2.35 registers "restartable sequences", where the kernel writes the processor's number: memory
            // that changes though the program stands still. Older ones know no such tunable and no such thing.
            command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
        }
        command.env("AFTERIMAGE_LIVE", &mark).stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = which.name();
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let output = child.stdout.take().context("no pipe from the program")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        let mut live = Self { child, input, lines, name, mark, ready: Value::Null };
        live.ready = live.answer("start")?;
        Ok(live)
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What its environment holds, and that of every copy of it.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Gives a command and waits for the answer.
    ///
    /// # Errors
    /// If the program has ended, or gives no answer for a minute.
    pub fn ask(&mut self, command: &str) -> anyhow::Result<Value> {
        self.tell(command)?;
        self.answer(command)
    }

    fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        let written = writeln!(input, "{command}").and_then(|()| input.flush());
        if let Err(error) = written {
            let ended = self.child.try_wait().ok().flatten().map_or("it runs".to_owned(), |status| status.to_string());
            bail!("{} takes no command {command}: {error}; {ended}", self.name);
        }
        Ok(())
    }

    fn answer(&mut self, to: &str) -> anyhow::Result<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("{}: {line}", self.name)),
            Err(_) => {
                let ended = self.child.try_wait().ok().flatten();
                let how = ended.map_or("it still runs".to_owned(), |status| format!("it has ended with {status}"));
                bail!("{} gives no answer to {to}: {how}", self.name)
            }
        }
    }

    /// The names and counts of the harm that `busy` has seen, none if it is well.
    ///
    /// # Errors
    /// If it does not answer, which is harm, too.
    pub fn harm(&mut self) -> anyhow::Result<Vec<String>> {
        let verdict = self.ask("check")?;
        let harm = verdict.get("harm").and_then(Value::as_object).context("no verdict")?;
        Ok(harm.iter().map(|(name, what)| format!("{name}: {what}")).collect())
    }

    /// Asks it to end and gives its status.
    ///
    /// # Errors
    /// If it does not end within a minute.
    pub fn quit(mut self) -> anyhow::Result<ExitStatus> {
        self.tell("quit")?;
        // Its last answer, if it has one; the channel closes when it ends.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().context("wait for the program")
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal.
    pub fn signal(&self, number: i32) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SAFETY: kill takes two numbers and touches no memory; the process is our child and not waited for.
            unsafe { libc::kill(pid, number) };
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
