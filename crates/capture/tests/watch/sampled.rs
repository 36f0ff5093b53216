//! Triggers that only look: usage, hangs, probes, pressure, logs, the clock; and how a watch ends.

use crate::common::*;
use crate::tool::*;
use afterimage_capture::watch::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

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
