//! What `watch` says: calm lines on standard error, a status line on a terminal, or events as JSON lines.
//!
//! *Trap*: a launched program owns the terminal, so there is no status line then.

use crate::args::Common;
use crate::failure::Failure;
use crate::output::style::{DIM, HEADING, paint};
use crate::output::{clean, json_line};
use afterimage_capture::watch::{Ended, Firing, Outcome, Sample, Stop, Target, Watch, WatchEnd, WatchEvent};
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::SystemTime;

/// Tells what happens.
pub struct Speaker {
    json: bool,
    quiet: bool,
    status: Option<ProgressBar>,
    who: String,
    pid: Option<u32>,
    count: u32,
    dumps: u32,
    stop: Stop,
    /// Standard output failed.
    failure: Option<std::io::Error>,
}

impl Speaker {
    pub fn new(common: &Common, watch: &Watch) -> Self {
        let launched = matches!(watch.target, Target::Launch(_));
        let wanted = !common.quiet && !launched && std::io::stderr().is_terminal();
        Self {
            json: common.json,
            quiet: common.quiet,
            status: wanted.then(status_line),
            who: String::new(),
            pid: None,
            count: watch.count,
            dumps: 0,
            stop: watch.stop.clone(),
            failure: None,
        }
    }

    /// Tells one event.
    pub fn event(&mut self, event: &WatchEvent) {
        if let WatchEvent::Sampled(sample) = event {
            return self.show(sample);
        }
        if let WatchEvent::Started { pid, comm, .. } = event {
            self.pid = Some(*pid);
            self.who = format!("{} (process {pid})", clean(comm));
        }
        self.dumps += u32::from(matches!(event, WatchEvent::Dumped { .. }));
        if self.json {
            if let Some(object) = self.object(event) {
                self.print(object);
            }
        } else if let Some(line) = self.line(event) {
            self.say(&line);
        }
    }

    /// Tells how it ended.
    pub fn end(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        if let Some(status) = self.status.take() {
            status.finish_and_clear();
        }
        let reason = match outcome.end {
            WatchEnd::Count => "count",
            WatchEnd::Timeout => "timeout",
            WatchEnd::TargetEnded => "target_ended",
            WatchEnd::Stopped(_) => "stopped",
            _ => "gave_up",
        };
        if self.json {
            let mut object = self.base("end");
            object.insert("reason".into(), json!(reason));
            object.insert("dumps".into(), json!(outcome.dumps));
            self.print(object);
        } else if outcome.end == WatchEnd::Timeout && !self.quiet {
            let dumps = if outcome.dumps == 0 { "no trigger fired".to_owned() } else { dumps(outcome.dumps) };
            self.say(&format!("the time is over: {dumps}"));
        }
        self.failure.take().map_or(Ok(()), |error| Err(Failure::output(&error)))
    }

    /// A line for people; `None` for what they did not ask for.
    fn line(&self, event: &WatchEvent) -> Option<String> {
        Some(match event {
            WatchEvent::Waiting { name } if !self.quiet => format!("waiting for a process named {}", clean(name)),
            WatchEvent::Started { triggers, traced, .. } if !self.quiet => {
                let traced = if *traced { "; it is traced meanwhile" } else { "" };
                format!("watching {} for {}{traced}", self.who, clean(&triggers.join(", or ")))
            }
            WatchEvent::Fired(firing) => {
                format!("{} {}: {}", paint(HEADING, "Trigger:"), firing.trigger, clean(&firing.words))
            }
            WatchEvent::Dumped { path, .. } => {
                let path = shown(path);
                let hint = paint(DIM, &format!("(`afterimage explain {path}` reads it)"));
                format!("{} {path} {hint}", paint(HEADING, "Dump:"))
            }
            WatchEvent::Failed { failure, .. } => format!("no dump: {}", clean(&failure.message)),
            WatchEvent::Remark(text) if !self.quiet => clean(text),
            WatchEvent::TargetEnded { how, .. } if !self.quiet => format!("{} {}", self.who, ended(*how)),
            _ => return None,
        })
    }

    /// The same for programs.
    fn object(&self, event: &WatchEvent) -> Option<Map<String, Value>> {
        let mut object;
        let mut set: Vec<(&str, Value)> = Vec::new();
        match event {
            WatchEvent::Waiting { name } => {
                object = self.base("waiting");
                set.push(("name", json!(name)));
            }
            WatchEvent::Started { comm, triggers, traced, .. } => {
                object = self.base("started");
                set.extend([("name", json!(comm)), ("triggers", json!(triggers)), ("traced", json!(traced))]);
            }
            WatchEvent::Fired(firing) => {
                object = self.base("trigger");
                set.extend(fields(firing));
            }
            WatchEvent::Dumped { firing, path } => {
                object = self.base("dump");
                set.extend(fields(firing));
                set.push(("path", json!(path.to_string_lossy())));
            }
            WatchEvent::Failed { firing, failure } => {
                object = self.base("failed");
                set.extend(fields(firing));
                set.push(("error", json!(failure.message)));
            }
            WatchEvent::Remark(text) => {
                object = self.base("remark");
                set.push(("text", json!(text)));
            }
            WatchEvent::TargetEnded { how, .. } => {
                object = self.base("exit");
                let (status, signal) = match how {
                    Some(Ended::Exited(status)) => (json!(status), Value::Null),
                    Some(Ended::Signaled(signal)) => (Value::Null, json!(signal)),
                    None => (Value::Null, Value::Null),
                };
                set.extend([("status", status), ("signal", signal)]);
                if how.is_none() {
                    let why = "only the parent of a process learns how it ended";
                    set.push(("absent", json!({ "status": why, "signal": why })));
                }
            }
            _ => return None,
        }
        object.extend(set.into_iter().map(|(key, value)| (key.to_owned(), value)));
        Some(object)
    }

    fn base(&self, event: &str) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("event".into(), json!(event));
        object.insert("time".into(), json!(now()));
        object.insert("pid".into(), json!(self.pid));
        if self.pid.is_none() {
            object.insert("absent".into(), json!({ "pid": "there is no process yet" }));
        }
        object
    }

    fn print(&mut self, object: Map<String, Value>) {
        let line = json_line(&Value::from(object));
        let mut out = std::io::stdout().lock();
        // Whoever reads events wants each when it happens.
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            self.failure.get_or_insert(error);
            // Nobody listens any more.
            self.stop.stop();
        }
    }

    fn say(&self, line: &str) {
        match &self.status {
            Some(status) => status.suspend(|| anstream::eprintln!("{line}")),
            None => anstream::eprintln!("{line}"),
        }
    }

    /// The status line.
    fn show(&self, sample: &Sample) {
        let Some(status) = &self.status else { return };
        let cpu = sample.cpu_percent.map_or("…".to_owned(), |percent| format!("{percent:.0} %"));
        let fds = sample.fds.map_or("?".to_owned(), |fds| fds.to_string());
        status.set_message(format!(
            "{}  CPU {cpu}  memory {}  threads {}  files {fds}  dumps {} of {}",
            self.who,
            BinaryBytes(sample.resident),
            sample.threads,
            self.dumps,
            self.count
        ));
        status.tick();
    }
}

fn status_line() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
    if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
        bar.set_style(style);
    }
    bar
}

fn fields(firing: &Firing) -> [(&'static str, Value); 4] {
    [
        ("trigger", json!(firing.trigger)),
        ("value", json!(firing.value)),
        ("threshold", json!(firing.threshold)),
        ("summary", json!(firing.words)),
    ]
}

fn ended(how: Option<Ended>) -> String {
    match how {
        Some(Ended::Exited(status)) => format!("has ended with status {status}"),
        Some(Ended::Signaled(signal)) => format!("has died of {}", afterimage_target::signal_name(signal)),
        None => "has ended".to_owned(),
    }
}

fn dumps(number: u32) -> String {
    if number == 1 { "one dump was taken".to_owned() } else { format!("{number} dumps were taken") }
}

fn shown(path: &Path) -> String {
    clean(&path.display().to_string())
}

/// The time as other tables have it.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    afterimage_tables::Value::Time(seconds as _).to_string()
}
