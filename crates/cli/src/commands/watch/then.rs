//! `--then`: the user's command after each dump.
//!
//! *Trap*: no other dump is taken until it ends, but a death is. When the watcher is told to end meanwhile, the command
//! is left to itself after a few seconds: it may be restarting the very service.

use afterimage_capture::watch::{Firing, Stop};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Between looks at the command.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may go on when the watcher is told to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command for `sh -c`.
pub struct Then {
    command: OsString,
    stop: Stop,
}

impl Then {
    pub fn new(command: &OsStr, stop: Stop) -> Self {
        Self { command: command.to_owned(), stop }
    }

    /// Runs it; says in words what went wrong.
    pub fn run(&self, firing: &Firing, path: &Path) -> Result<(), String> {
        let shown = self.command.display();
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .env("AFTERIMAGE_DUMP", std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
            .env("AFTERIMAGE_PID", firing.pid.to_string())
            .env("AFTERIMAGE_TRIGGER", format!("{}: {}", firing.trigger, firing.words))
            .stdin(Stdio::null())
            // Standard output is for events.
            .stdout(std::io::stderr())
            .spawn()
            .map_err(|error| format!("--then `{shown}` cannot be started: {error}"))?;
        let mut told: Option<Instant> = None;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("--then `{shown}` ended with {status}")),
                Ok(None) => {}
                Err(error) => return Err(format!("--then `{shown}` cannot be waited for: {error}")),
            }
            if self.stop.requested().is_some() && told.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(format!("--then `{shown}` still runs; it is left to itself"));
            }
            std::thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_the_dump_and_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("said");
        let command = format!(
            "echo \"$AFTERIMAGE_DUMP|$AFTERIMAGE_PID|$AFTERIMAGE_TRIGGER\" > {}; exit $((AFTERIMAGE_PID - 7))",
            file.display()
        );
        let then = Then::new(OsStr::new(&command), Stop::default());
        let text = String::new();
        let mut firing =
            Firing { pid: 7, trigger: "every", value: text.clone(), threshold: text, words: "5 s have passed".into() };
        assert_eq!(then.run(&firing, Path::new("/x/a.7.core")), Ok(()));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "/x/a.7.core|7|every: 5 s have passed\n");
        firing.pid = 8;
        assert!(then.run(&firing, Path::new("/x/a.7.core")).unwrap_err().contains("exit status: 1"));
    }
}
