//! Starting programs, and a responder that takes no real dumps.

use crate::common::*;
use afterimage_capture::watch::*;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Takes dumps that are none, and remembers all it hears.
pub struct Recorder {
    pub dir: PathBuf,
    pub events: Vec<String>,
    pub firings: Vec<Firing>,
    pub dumps: Vec<PathBuf>,
    pub at: Vec<Instant>,
    /// Called at each event's name, to drive the test.
    pub on: Box<dyn FnMut(&str)>,
    pub fail: bool,
}

impl Responder for Recorder {
    fn take(&mut self, firing: &Firing) -> Result<PathBuf, TakeFailure> {
        self.at.push(Instant::now());
        if self.fail {
            return Err(TakeFailure { kind: FailureKind::Output, message: "no room".into() });
        }
        assert!(state(firing.pid as i32).is_some(), "the process is there when its dump is taken");
        Ok(self.dir.join("fake"))
    }

    fn event(&mut self, event: &WatchEvent) {
        let name = match event {
            WatchEvent::Started { .. } => "started",
            WatchEvent::Sampled(_) => "sampled",
            WatchEvent::Fired(firing) => {
                self.firings.push(firing.clone());
                "fired"
            }
            WatchEvent::Dumped { path, .. } => {
                self.dumps.push(path.clone());
                "dumped"
            }
            WatchEvent::TargetEnded { .. } => "ended",
            WatchEvent::Failed { .. } => "failed",
            _ => "other",
        };
        if name != "sampled" {
            self.events.push(format!("{event:?}"));
        }
        (self.on)(name);
    }
}

/// A watch that hurries, and gives up when a test would.
pub fn quick(target: Target, triggers: Vec<Trigger>) -> Watch {
    Watch {
        interval: Duration::from_millis(100),
        cooldown: Duration::from_millis(200),
        timeout: Some(PATIENCE),
        ..Watch::new(target, triggers)
    }
}

pub fn record(lab: &Lab, watch: &Watch, on: impl FnMut(&str) + 'static) -> (Result<Outcome, WatchError>, Recorder) {
    let mut recorder = Recorder {
        dir: lab.dir.path().into(),
        events: Vec::new(),
        firings: Vec::new(),
        dumps: Vec::new(),
        at: Vec::new(),
        on: Box::new(on),
        fail: false,
    };
    let watch = Watch { output_dir: lab.dumps(), ..watch.clone() };
    let outcome = afterimage_capture::watch::watch(&watch, &mut recorder);
    (outcome, recorder)
}

/// Watches until the trigger has fired once; gives what it said.
pub fn fires(lab: &Lab, pid: i32, trigger: Trigger) -> Firing {
    let (outcome, recorder) = record(lab, &quick(Target::Pid(pid), vec![trigger]), |_| {});
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.dumps), (WatchEnd::Count, 1), "{:?}", recorder.events);
    recorder.firings[0].clone()
}

/// A child that is killed at the test's end.
pub struct Program(pub Child);

impl Program {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    pub fn shell(script: &str) -> Self {
        Self::start(Command::new("sh").args(["-c", script]))
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    pub fn status(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the program has not ended");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn sleeper() -> Program {
    Program::start(Command::new("sleep").arg("1000"))
}

pub fn untraced(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("TracerPid:\t0")
}
