//! Calling the program and reading what it gives.

use serde_json::{Map, Value};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The program with colours and network off and nothing on its input.
pub fn afterimage() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterimage"));
    command.env_remove("DEBUGINFOD_URLS").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs a command to its end; a command that hangs is killed and fails the test.
pub fn output(command: &mut Command, limit: Duration) -> Output {
    let shown = format!("{command:?}");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (done, waiter) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if waiter.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
            return true;
        }
        false
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    assert!(!watch.join().unwrap(), "{shown} did not end within {limit:?}");
    output
}

/// Rows of a report, by table.
pub struct Report(Vec<Map<String, Value>>);

impl Report {
    /// Takes the JSON lines of a report out of other output.
    pub fn parse(text: &str) -> Self {
        let rows = text.lines().filter(|line| line.starts_with("{\"table\":"));
        Self(rows.map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// The report on a dump.
    pub fn explain(dump: &Path, debug: Option<&Path>) -> Result<Self, String> {
        let mut command = afterimage();
        command.args(["explain", "--json"]).arg(dump);
        if let Some(debug) = debug {
            command.arg("--debug").arg(debug);
        }
        let output = output(&mut command, Duration::from_secs(60));
        if !output.status.success() {
            return Err(format!("explain ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Rows of one table.
    pub fn table<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Map<String, Value>> {
        self.0.iter().filter(move |row| row["table"] == name)
    }

    /// One value of the only row of a table.
    pub fn value(&self, table: &str, column: &str) -> Value {
        self.table(table).next().map_or(Value::Null, |row| row[column].clone())
    }

    /// Rows of the frames of one thread.
    pub fn frames(&self, tid: &Value) -> Vec<&Map<String, Value>> {
        self.table("frames").filter(|row| row["tid"] == *tid).collect()
    }

    /// All sentences.
    pub fn sentences(&self) -> String {
        self.table("findings").map(|row| row["summary"].as_str().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }
}
