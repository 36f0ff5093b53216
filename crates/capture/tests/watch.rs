//! Every trigger fires on a real process, and watching harms none.

// clippy.toml's leave for tests does not reach their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
use afterimage_capture::watch::*;
use common::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Takes dumps that are none, and remembers all it hears.
struct Recorder {
    dir: PathBuf,
    events: Vec<String>,
    firings: Vec<Firing>,
    dumps: Vec<PathBuf>,
    at: Vec<Instant>,
    /// Called at each event's name, to drive the test.
    on: Box<dyn FnMut(&str)>,
    fail: bool,
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
fn quick(target: Target, triggers: Vec<Trigger>) -> Watch {
    Watch {
        interval: Duration::from_millis(100),
        cooldown: Duration::from_millis(200),
        timeout: Some(PATIENCE),
        ..Watch::new(target, triggers)
    }
}

fn record(lab: &Lab, watch: &Watch, on: impl FnMut(&str) + 'static) -> (Result<Outcome, WatchError>, Recorder) {
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
fn fires(lab: &Lab, pid: i32, trigger: Trigger) -> Firing {
    let (outcome, recorder) = record(lab, &quick(Target::Pid(pid), vec![trigger]), |_| {});
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.dumps), (WatchEnd::Count, 1), "{:?}", recorder.events);
    recorder.firings[0].clone()
}

/// A child that is killed at the test's end.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn shell(script: &str) -> Self {
        Self::start(Command::new("sh").args(["-c", script]))
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn status(&mut self) -> std::process::ExitStatus {
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

fn sleeper() -> Program {
    Program::start(Command::new("sleep").arg("1000"))
}

fn untraced(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("TracerPid:\t0")
}

#[test]
fn processor_time() {
    let lab = Lab::new();
    let busy = Program::shell("while :; do :; done");
    let lasting = Duration::from_millis(300);
    let firing = fires(&lab, busy.pid(), Trigger::CpuAbove { percent: 5.0, lasting });
    assert_eq!((firing.trigger, firing.threshold.as_str()), ("cpu-above", "5 %"));
    assert!(firing.words.contains("above 5 %"), "{firing:?}");
    let idle = sleeper();
    assert_eq!(fires(&lab, idle.pid(), Trigger::CpuBelow { percent: 50.0, lasting }).trigger, "cpu-below");
}

/// Grows by 8 MiB for each line that it reads.
const GROWS: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    int main() {
        puts("ready"); fflush(stdout);
        for (char line[9]; fgets(line, 9, stdin);) { memset(malloc(8 << 20), 1, 8 << 20); puts("grown"); fflush(stdout); }
    }"#;

#[test]
fn resident_memory_in_steps() {
    let lab = Lab::new();
    let mut program = Program::start(&mut Command::new(lab.compile("grows", GROWS)));
    read_line(&mut program.0);
    let mut input = program.0.stdin.take().unwrap();
    let mut watch = quick(Target::Pid(program.pid()), vec![Trigger::MemoryAbove(vec![20 << 20, 4 << 20])]);
    watch.count = 2;
    watch.cooldown = Duration::ZERO;
    let mut samples = 0;
    let (outcome, recorder) = record(&lab, &watch, move |event| {
        samples += i32::from(event == "sampled");
        if event == "sampled" && samples % 3 == 0 {
            let _ = input.write_all(b"\n");
        }
    });
    assert_eq!(outcome.unwrap().dumps, 2);
    let thresholds: Vec<_> = recorder.firings.iter().map(|firing| firing.threshold.as_str()).collect();
    assert_eq!(thresholds, ["4 MiB", "20 MiB"]);
}

#[test]
fn resident_memory_grows_or_is_small() {
    let lab = Lab::new();
    let mut program = Program::start(&mut Command::new(lab.compile("grows", GROWS)));
    read_line(&mut program.0);
    assert_eq!(fires(&lab, program.pid(), Trigger::MemoryBelow(4 << 20)).trigger, "memory-below");
    let mut input = program.0.stdin.take().unwrap();
    let mut watch = quick(Target::Pid(program.pid()), vec![Trigger::MemoryStep(6 << 20)]);
    watch.count = 2;
    let (outcome, recorder) = record(&lab, &watch, move |event| {
        if event == "sampled" {
            let _ = input.write_all(b"\n");
        }
    });
    assert_eq!(outcome.unwrap().dumps, 2, "{:?}", recorder.events);
    assert!(recorder.firings[0].words.contains("grown by"), "{:?}", recorder.firings);
}

#[test]
fn threads_and_descriptors() {
    let lab = Lab::new();
    let source = r#"
        #include <pthread.h>
        #include <unistd.h>
        #include <stdio.h>
        void *wait_(void *x) { for (;;) pause(); }
        int main() {
            pthread_t t;
            for (int i = 0; i < 5; i++) { pthread_create(&t, 0, wait_, 0); dup(0); }
            puts("ready"); fflush(stdout);
            pause();
        }"#;
    let mut program = Program::start(&mut Command::new(lab.compile("many", source)));
    read_line(&mut program.0);
    let firing = fires(&lab, program.pid(), Trigger::ThreadsAbove(5));
    assert_eq!((firing.value.as_str(), firing.threshold.as_str()), ("6", "5"));
    let firing = fires(&lab, program.pid(), Trigger::FdsAbove(7));
    assert!(firing.value.parse::<u32>().unwrap() >= 8, "three streams and five copies, and what the test was given");
    let watch = Watch {
        timeout: Some(Duration::from_millis(500)),
        ..quick(Target::Pid(program.pid()), vec![Trigger::ThreadsAbove(6)])
    };
    let (outcome, recorder) = record(&lab, &watch, |_| {});
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.dumps, recorder.firings.len()), (WatchEnd::Timeout, 0, 0));
}

#[test]
fn hanging_but_not_working() {
    let lab = Lab::new();
    let stuck = sleeper();
    assert_eq!(fires(&lab, stuck.pid(), Trigger::Hang(Duration::from_millis(700))).trigger, "hang");
    let alive = Program::shell("while :; do sleep 0.05; done");
    let watch = Watch {
        timeout: Some(Duration::from_secs(2)),
        ..quick(Target::Pid(alive.pid()), vec![Trigger::Hang(Duration::from_millis(1500))])
    };
    assert_eq!(record(&lab, &watch, |_| {}).0.unwrap().dumps, 0);
}

/// Answers each request with the next of these; `None` keeps it waiting.
fn server(answers: Vec<Option<&'static str>>) -> (HttpUrl, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap()).parse().unwrap();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for (answer, stream) in answers.into_iter().zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).unwrap();
            let _ = sender.send(String::from_utf8_lossy(&request[..n]).into_owned());
            match answer {
                Some(answer) => drop(stream.write_all(answer.as_bytes())),
                None => kept.push(stream),
            }
        }
    });
    (url, requests)
}

fn pace(failures: u32) -> Pace {
    Pace { every: Duration::from_millis(50), timeout: Duration::from_millis(1500), failures }
}

#[test]
fn an_http_server_that_fails() {
    let lab = Lab::new();
    let idle = sleeper();
    let (bad, good) = ("HTTP/1.1 503 Busy\r\n\r\n", "HTTP/1.1 404 Not found, but alive\r\n\r\n");
    let (url, requests) = server(vec![Some(bad), Some(bad), Some(good), Some(bad), Some("SSH-2.0"), Some(bad)]);
    let firing = fires(&lab, idle.pid(), Trigger::ProbeHttp { url, pace: pace(3) });
    assert!(firing.words.contains("3 times in a row; the last: status 503"), "{firing:?}");
    let requests: Vec<String> = requests.iter().take(6).collect();
    assert_eq!(requests.len(), 6, "the good answer has started the count anew");
    assert!(requests[0].starts_with("GET /health HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", requests[0]);
    let (url, _requests) = server(vec![None, None]);
    let firing = fires(&lab, idle.pid(), Trigger::ProbeHttp { url, pace: pace(1) });
    assert!(firing.words.contains("no answer within 1.5 s"), "{firing:?}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/").parse().unwrap();
    assert!(fires(&lab, idle.pid(), Trigger::ProbeHttp { url, pace: pace(2) }).words.contains("cannot connect"));
}

#[test]
fn a_command_that_fails_or_hangs() {
    let lab = Lab::new();
    let idle = sleeper();
    let command = "exit 7".into();
    let firing = fires(&lab, idle.pid(), Trigger::ProbeCommand { command, pace: pace(2) });
    assert!(firing.words.contains("exit status 7"), "{firing:?}");
    let pids = lab.path("pids");
    let command = format!("sleep 1000 & echo $! >> {}; wait", pids.display()).into();
    let firing = fires(&lab, idle.pid(), Trigger::ProbeCommand { command, pace: pace(1) });
    assert!(firing.words.contains("no end within 1.5 s"), "{firing:?}");
    let pids = std::fs::read_to_string(pids).unwrap();
    for pid in pids.lines().map(|pid| pid.parse().unwrap()) {
        until("the command's child is gone", || state(pid).is_none_or(|state| state == 'Z'));
    }
}

#[test]
fn processor_pressure() {
    if std::fs::read_to_string("/proc/pressure/cpu").is_err() {
        eprintln!("this kernel has no pressure stall information: not tested");
        return;
    }
    let lab = Lab::new();
    let processors = std::thread::available_parallelism().unwrap().get();
    let busy: Vec<Program> = (0..processors * 2 + 1).map(|_| Program::shell("while :; do :; done")).collect();
    let trigger =
        Trigger::Pressure { resource: Resource::Cpu, stall: Stall::Some, percent: 5.0, window: Duration::from_secs(1) };
    let firing = fires(&lab, busy[0].pid(), trigger);
    assert!(firing.words.contains("cpu pressure (some)"), "{firing:?}");
}

#[test]
fn a_log_line_across_a_rotation() {
    let lab = Lab::new();
    let idle = sleeper();
    let log = lab.path("app.log");
    std::fs::write(&log, "ERROR from before\n").unwrap();
    let trigger = Trigger::Log { file: log.clone(), pattern: "ERROR [a-z]+".into() };
    let rotated = lab.path("app.log.1");
    let mut samples = 0;
    let (outcome, recorder) = record(&lab, &quick(Target::Pid(idle.pid()), vec![trigger]), move |event| {
        samples += i32::from(event == "sampled");
        if event == "sampled" && samples == 3 {
            std::fs::rename(&log, &rotated).unwrap();
            std::fs::write(&log, "INFO new file\nERROR disk\n").unwrap();
        }
    });
    assert_eq!(outcome.unwrap().dumps, 1);
    assert_eq!(recorder.firings[0].value, "ERROR disk");
}

#[test]
fn clock_count_and_cooldown() {
    let lab = Lab::new();
    let idle = sleeper();
    let mut watch = quick(Target::Pid(idle.pid()), vec![Trigger::Every(Duration::from_millis(50))]);
    watch.count = 3;
    watch.cooldown = Duration::from_millis(400);
    let (outcome, recorder) = record(&lab, &watch, |_| {});
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.dumps, recorder.dumps.len()), (WatchEnd::Count, 3, 3));
    assert!(recorder.at.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(350)), "{:?}", recorder.at);
}

#[test]
fn failures_end_a_watch() {
    let lab = Lab::new();
    let idle = sleeper();
    let mut watch = quick(Target::Pid(idle.pid()), vec![Trigger::ThreadsAbove(0)]);
    watch.cooldown = Duration::from_millis(50);
    let mut recorder = record(&lab, &Watch { timeout: Some(Duration::ZERO), ..watch.clone() }, |_| {}).1;
    recorder.fail = true;
    let outcome = afterimage_capture::watch::watch(&watch, &mut recorder).unwrap();
    assert_eq!((outcome.end, outcome.dumps), (WatchEnd::GaveUp, 0));
    assert_eq!(outcome.failure.unwrap().kind, FailureKind::Output);
    assert_eq!(recorder.at.len(), 3);
}

#[test]
fn a_process_that_goes_away() {
    let lab = Lab::new();
    let program = Program::shell("exec sleep 0.7");
    let start = Instant::now();
    let watch = Watch {
        interval: Duration::from_secs(50),
        ..quick(Target::Pid(program.pid()), vec![Trigger::ThreadsAbove(9)])
    };
    let (outcome, recorder) = record(&lab, &watch, |_| {});
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.dumps), (WatchEnd::TargetEnded, 0), "{:?}", recorder.events);
    assert!(start.elapsed() < Duration::from_secs(20), "noticed at once, not at the next sample");
    // It is a zombie now, and then nobody.
    assert!(matches!(record(&lab, &watch, |_| {}).0, Err(WatchError::NoProcess { .. })));
    drop(program);
    assert!(matches!(record(&lab, &watch, |_| {}).0, Err(WatchError::NoProcess { .. })));
}

#[test]
fn a_name_is_waited_for() {
    let lab = Lab::new();
    let name = format!("w{}", std::process::id());
    let program = lab.path(&name);
    std::fs::copy("/bin/sleep", &program).unwrap();
    let by_name = |wait| quick(Target::Name { name: name.clone(), wait }, vec![Trigger::ThreadsAbove(0)]);
    assert!(matches!(record(&lab, &by_name(false), |_| {}).0, Err(WatchError::NoProcess { .. })));
    let starter = {
        let program = program.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            Program::start(Command::new(program).arg("1000"))
        })
    };
    let (outcome, recorder) = record(&lab, &by_name(true), |_| {});
    let first = starter.join().unwrap();
    assert_eq!(outcome.unwrap().dumps, 1);
    assert_eq!(recorder.firings[0].pid as i32, first.pid());
    let _second = Program::start(Command::new(&program).arg("1000"));
    until("there are two", || matches!(record(&lab, &by_name(false), |_| {}).0, Err(WatchError::Ambiguous { .. })));
}

#[test]
fn it_can_be_stopped_from_elsewhere() {
    let lab = Lab::new();
    let idle = sleeper();
    let watch = quick(Target::Pid(idle.pid()), vec![Trigger::ThreadsAbove(9), Trigger::Signal(SignalSet::Fatal)]);
    let stop = watch.stop.clone();
    let outcome = record(&lab, &watch, move |event| {
        if event == "sampled" {
            stop.stop();
        }
    });
    assert_eq!(outcome.0.unwrap().end, WatchEnd::Stopped(0));
    until("it is let go", || untraced(idle.pid()) && state(idle.pid()) == Some('S'));
}

/// Counts SIGUSR1 with a handler; a line on its input makes it die or end in the way that it names.
const DIES: &str = r#"
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    volatile int caught;
    volatile long canary = 0x1122334455667788;
    void count(int s) { caught++; }
    void *spin(void *x) { for (;;) usleep(1000); }
    int fatal_function(void) { return *(volatile int *)0x18; }
    void *crash(void *x) { fatal_function(); return 0; }
    int main() {
        pthread_t t;
        struct sigaction a = { .sa_handler = count, .sa_flags = SA_RESTART };
        sigaction(SIGUSR1, &a, 0);
        signal(SIGUSR2, SIG_IGN);
        for (int i = 0; i < 3; i++) pthread_create(&t, 0, spin, 0);
        puts("ready"); fflush(stdout);
        for (char line[99]; fgets(line, 99, stdin);) {
            if (!strncmp(line, "segv", 4)) { pthread_create(&t, 0, crash, 0); pthread_join(t, 0); }
            if (!strncmp(line, "abort", 5)) abort();
            if (!strncmp(line, "exit", 4)) exit(9);
            if (!strncmp(line, "count", 5)) { printf("%d\n", caught); fflush(stdout); }
        }
    }"#;

/// Traces the program, does something to it when watching has begun, and waits for the watch's end.
fn traced(lab: &Lab, triggers: Vec<Trigger>, act: impl FnMut(&mut Program) + 'static) -> (Outcome, Recorder, i32) {
    use std::os::unix::process::ExitStatusExt;
    let mut program = Program::start(&mut Command::new(lab.compile("dies", DIES)));
    read_line(&mut program.0);
    let watch = quick(Target::Pid(program.pid()), triggers);
    let program = std::rc::Rc::new(std::cell::RefCell::new(program));
    let (acted, mut act) = (program.clone(), act);
    let (outcome, recorder) = record(lab, &watch, move |event| {
        if event == "started" {
            act(&mut acted.borrow_mut());
        }
    });
    let status = program.borrow_mut().status();
    (outcome.unwrap(), recorder, status.code().unwrap_or_else(|| 1000 + status.signal().unwrap()))
}

fn say(program: &mut Program, text: &str) {
    program.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_deadly_signal_is_dumped_before_death() {
    let lab = Lab::new();
    let (outcome, recorder, status) = traced(&lab, vec![Trigger::Signal(SignalSet::Fatal)], |program| {
        // None of these kills it.
        for _ in 0..20 {
            kill(program.pid(), libc::SIGUSR1);
            say(program, "count\n");
            read_line(&mut program.0);
        }
        kill(program.pid(), libc::SIGUSR2);
        kill(program.pid(), libc::SIGWINCH);
        say(program, "count\n");
        assert!(read_line(&mut program.0).parse::<i32>().unwrap() >= 20, "handlers have run");
        say(program, "segv\n");
    });
    assert_eq!((outcome.dumps, status), (1, 1011), "{:?}", recorder.events);
    assert_eq!(recorder.firings.len(), 1);
    assert_eq!(recorder.firings[0].words, "SIGSEGV is about to kill it");
    let dump = lab.dump();
    assert_eq!(recorder.dumps, std::slice::from_ref(&dump));
    if Path::new("/usr/bin/gdb").exists() {
        let program = lab.path("dies");
        let text = gdb(&program, &dump, &["p/x canary", "p $_siginfo.si_signo", "info threads"]);
        assert!(text.contains("0x1122334455667788") && text.contains("= 11"), "{text}");
        assert_eq!(text.matches("LWP").count().min(5), 5, "{text}");
        assert_eq!(gdb_functions(&program, &dump)[0], "fatal_function");
    }
}

#[test]
fn only_the_signals_that_were_named() {
    let lab = Lab::new();
    let only = "BUS,ABRT".parse().unwrap();
    let (outcome, recorder, status) = traced(&lab, vec![Trigger::Signal(only)], |program| {
        kill(program.pid(), libc::SIGTERM);
    });
    assert_eq!((outcome.end, outcome.dumps, status), (WatchEnd::TargetEnded, 0, 1015), "{:?}", recorder.events);
    assert!(recorder.events.last().unwrap().contains("Signaled(15)"), "{:?}", recorder.events);
    let only = "BUS,ABRT".parse().unwrap();
    let (outcome, recorder, status) = traced(&lab, vec![Trigger::Signal(only)], |program| say(program, "abort\n"));
    assert_eq!((outcome.dumps, status), (1, 1006), "{:?}", recorder.events);
}

#[test]
fn the_end_of_a_process() {
    for (text, signal, status, words) in
        [("exit\n", 0, 9, "status 9"), ("", libc::SIGTERM, 1015, "SIGTERM"), ("segv\n", 0, 1011, "SIGSEGV")]
    {
        let lab = Lab::new();
        let (outcome, recorder, ended) = traced(&lab, vec![Trigger::Exit], move |program| {
            say(program, text);
            if signal != 0 {
                kill(program.pid(), signal);
            }
        });
        assert_eq!((outcome.dumps, ended), (1, status), "{:?}", recorder.events);
        assert!(recorder.firings[0].words.contains(words), "{:?}", recorder.firings);
        if Path::new("/usr/bin/gdb").exists() {
            let text = gdb(&lab.path("dies"), &lab.dump(), &["p/x canary"]);
            assert!(text.contains("0x1122334455667788"), "memory was whole: {text}");
        }
    }
}

#[test]
fn a_death_is_dumped_once_and_in_spite_of_the_cooldown() {
    let lab = Lab::new();
    let mut program = Program::start(&mut Command::new(lab.compile("dies", DIES)));
    read_line(&mut program.0);
    let triggers = vec![Trigger::ThreadsAbove(3), Trigger::Signal(SignalSet::Fatal), Trigger::Exit];
    let watch = Watch { count: 5, cooldown: Duration::from_secs(1000), ..quick(Target::Pid(program.pid()), triggers) };
    let mut input = program.0.stdin.take().unwrap();
    let mut dumps = 0;
    let (outcome, recorder) = record(&lab, &watch, move |event| {
        dumps += i32::from(event == "dumped");
        if event == "dumped" && dumps == 1 {
            input.write_all(b"segv\n").unwrap();
        }
    });
    let outcome = outcome.unwrap();
    assert_eq!((outcome.end, outcome.dumps), (WatchEnd::TargetEnded, 2), "{:?}", recorder.events);
    let triggers: Vec<_> = recorder.firings.iter().map(|firing| firing.trigger).collect();
    assert_eq!(triggers, ["threads-above", "signal"]);
    assert_eq!(lab.dump_files().len(), 2, "the tracer writes both");
}

#[test]
fn threads_come_and_go_while_traced() {
    let lab = Lab::new();
    let source = r#"
        #include <pthread.h>
        #include <unistd.h>
        #include <stdio.h>
        #include <sys/wait.h>
        void *nothing(void *x) { return x; }
        int main() {
            puts("ready"); fflush(stdout);
            getchar();
            int failures = 0;
            for (int i = 0; i < 300; i++) {
                pthread_t t[4];
                for (int k = 0; k < 4; k++) failures += pthread_create(&t[k], 0, nothing, 0) != 0;
                for (int k = 0; k < 4; k++) pthread_join(t[k], 0);
                int s;
                if (!fork()) _exit(i % 7);
                wait(&s);
                failures += WEXITSTATUS(s) != i % 7;
            }
            return failures ? 1 : 42;
        }"#;
    let mut program = Program::start(&mut Command::new(lab.compile("churn", source)));
    read_line(&mut program.0);
    let mut input = program.0.stdin.take().unwrap();
    let watch = quick(Target::Pid(program.pid()), vec![Trigger::Signal(SignalSet::Fatal), Trigger::Exit]);
    let (outcome, recorder) = record(&lab, &watch, move |event| {
        if event == "started" {
            input.write_all(b"\n").unwrap();
        }
    });
    assert_eq!(outcome.unwrap().dumps, 1, "{:?}", recorder.events);
    assert!(recorder.firings[0].words.contains("status 42"), "{:?}", recorder.firings);
    assert_eq!(program.status().code(), Some(42));
}

#[test]
fn a_program_is_launched_and_waited_for() {
    let lab = Lab::new();
    let command = |script: &str| Target::Launch(vec!["sh".into(), "-c".into(), script.into()]);
    // All dumps are taken long before it ends.
    let mark = lab.path("mark");
    let script = format!("sleep 1; echo done > {}", mark.display());
    let (outcome, recorder) = record(&lab, &quick(command(&script), vec![Trigger::ThreadsAbove(0)]), |_| {});
    assert_eq!((outcome.unwrap().end, recorder.dumps.len()), (WatchEnd::Count, 1));
    assert!(mark.exists() && recorder.events.last().unwrap().contains("Exited(0)"), "{:?}", recorder.events);
    // It dies at once.
    let watch = quick(command("kill -SEGV $$"), vec![Trigger::Signal(SignalSet::Fatal)]);
    let (outcome, recorder) = record(&lab, &watch, |_| {});
    assert_eq!(outcome.unwrap().dumps, 1, "{:?}", recorder.events);
    assert_eq!(lab.dump_files().len(), 1);
    for triggers in [vec![Trigger::Exit], vec![Trigger::ThreadsAbove(0)]] {
        let watch = quick(Target::Launch(vec!["/no/such/program".into()]), triggers);
        let error = record(&lab, &watch, |_| {}).0.unwrap_err();
        assert_eq!(error.to_string(), "cannot run /no/such/program: not found");
    }
}

#[test]
fn a_process_that_somebody_traces_already() {
    let lab = Lab::new();
    let idle = sleeper();
    let watch = quick(Target::Pid(idle.pid()), vec![Trigger::Exit]);
    let other = watch.clone();
    let (outcome, _) = record(&lab, &watch, move |event| {
        if event == "started" {
            let lab = Lab::new();
            let error = record(&lab, &Watch { stop: Stop::default(), ..other.clone() }, |_| {}).0.unwrap_err();
            assert!(error.to_string().contains("traces it already"), "{error}");
            other.stop.stop();
        }
    });
    assert_eq!(outcome.unwrap().end, WatchEnd::Stopped(0));
}
