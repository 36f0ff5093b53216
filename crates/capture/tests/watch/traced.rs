//! Triggers that trace: signals and ends; and programs that are launched.

use crate::common::*;
use crate::tool::*;
use afterimage_capture::watch::*;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
