//! A watched program must not notice, nor must its parent: status, streams, signals, job control, environment.

// clippy.toml's leave for tests does not reach their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;
use common::*;
use std::process::Command;
use std::time::Duration;

/// Runs a shell script under watch.
fn script(lab: &Lab, text: &str) -> Command {
    let mut command = lab.supervise("/bin/sh");
    command.arg("-c").arg(text);
    command
}

#[test]
fn exit_status_and_streams() {
    let lab = Lab::new();
    for status in [0, 3, 255] {
        let finished = run(&mut script(&lab, &format!("exit {status}")));
        assert_eq!((finished.status, finished.stderr.as_str()), (status, ""));
    }
    let finished = run_with(&mut script(&lab, "cat; echo error >&2"), b"through\0here");
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("through\0here", "error\n"));
    let finished = run(&mut lab.supervise("/no/such/program"));
    assert_eq!(finished.status, 127, "{}", finished.stderr);
    let finished = run(&mut lab.supervise("/etc/passwd"));
    assert_eq!(finished.status, 126, "{}", finished.stderr);
    let finished = run(&mut lab.supervise("/tmp"));
    assert_eq!(finished.status, 126, "{}", finished.stderr);
    // A script without an interpreter line is run by the shell, as execvp and shells do.
    let file = lab.path("bare");
    std::fs::write(&file, "exit 9\n").unwrap();
    Command::new("chmod").arg("+x").arg(&file).status().unwrap();
    assert_eq!(run(&mut lab.supervise(&file)).status, 9);
}

/// What a program is given: descriptors, signals, limits, ids of groups and sessions.
const GIVEN: &str = r#"
#include <stdio.h>
#include <signal.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/resource.h>
int main() {
    sigset_t mask; sigprocmask(SIG_BLOCK, 0, &mask);
    for (int s = 1; s < 65; s++) {
        struct sigaction a;
        if (sigaction(s, 0, &a)) continue;
        printf("%d:%d%d%d ", s, a.sa_handler == SIG_IGN, a.sa_handler == SIG_DFL, sigismember(&mask, s));
    }
    for (int fd = 0; fd < 100; fd++) if (fcntl(fd, F_GETFD) != -1) printf("fd%d ", fd);
    umask(umask(0)); printf("umask %o ", umask(0));
    for (int r = 0; r < RLIM_NLIMITS; r++) { struct rlimit l; getrlimit(r, &l); printf("%ld/%ld ", l.rlim_cur, l.rlim_max); }
    printf("nice %d pgrp-of-parent %d session %d\n", nice(0), getpgrp() == getpgid(getppid()), getsid(0) == getsid(getppid()));
    return 0;
}"#;

#[test]
fn the_program_is_given_what_we_were_given() {
    let lab = Lab::new();
    let program = lab.compile("given", GIVEN);
    // A shell sets the scene; `env` of coreutils can block and ignore signals.
    for scene in [
        "",
        "umask 027; ulimit -n 77; ulimit -c 0; exec 9</dev/null; ",
        "trap '' HUP TERM USR1 PIPE CHLD; ",
        "exec 0<&-; ",
        "set -- env --ignore-signal=TSTP --block-signal=INT,TERM,RTMIN \"$@\"; ",
    ] {
        let given = |watched: bool| {
            let prefix =
                if watched { format!("{} {} ", supervise().display(), lab.dumps().display()) } else { String::new() };
            let text = format!("set -- {prefix}{}; {scene} exec \"$@\"", program.display());
            let finished = run(Command::new("sh").args(["-c", &text]).current_dir(lab.dir.path()));
            assert_eq!(finished.status, 0, "{}", finished.stderr);
            finished.stdout
        };
        assert_eq!(given(true), given(false), "{scene}");
    }
}

#[test]
fn the_reader_of_the_output_goes_away() {
    let lab = Lab::new();
    let text = format!("{} {} yes | head -1", supervise().display(), lab.dumps().display());
    let finished = run(Command::new("sh").args(["-c", &text]));
    assert_eq!(finished.stdout, "y\n");
    assert!(finished.stderr.contains("SIGPIPE only says"), "{}", finished.stderr);
    assert!(lab.dump_files().is_empty());
}

/// Tells each signal that it gets: number, whether the sender is `argv[1]`'s idea of it; ends at SIGUSR2.
const LISTENER: &str = r#"
#include <stdio.h>
#include <signal.h>
#include <unistd.h>
#include <stdlib.h>
static volatile int over;
void got(int s, siginfo_t *i, void *c) {
    char text[99];
    write(1, text, snprintf(text, sizeof text, "%d from %d value %d\n", s, i->si_pid, i->si_code == SI_QUEUE ? i->si_value.sival_int : -1));
    if (s == SIGUSR2) over = 1;
}
int main() {
    struct sigaction a = {.sa_sigaction = got, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (int s = 1; s < 65; s++) if (s != SIGSEGV && s != SIGCHLD) sigaction(s, &a, 0);
    printf("ready %d\n", getpid()); fflush(stdout);
    while (!over) pause();
    return 4;
}"#;

/// The process id after `ready `.
fn ready(child: &mut std::process::Child) -> i32 {
    read_line(child).strip_prefix("ready ").expect("the program is ready").parse().unwrap()
}

#[test]
fn signals_to_the_watcher_reach_the_program_as_if_sent_to_it() {
    let lab = Lab::new();
    let program = lab.compile("listener", LISTENER);
    let mut child = start(&mut lab.supervise(&program));
    let own = child.id() as i32;
    ready(&mut child);
    for signal in [1, 2, 3, 10, 15, 28, 18, 40] {
        kill(own, signal);
        let line = read_line(&mut child);
        // The sender is this test, not the watcher.
        let (number, sender) = line.split_once(" from ").unwrap();
        assert_eq!(number, signal.to_string());
        let sender: i32 = sender.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(sender, std::process::id() as i32, "{line}");
    }
    let text = format!("import os,signal,ctypes; ctypes.CDLL(None).sigqueue({own}, 10, ctypes.c_void_p(4711))");
    assert!(Command::new("python3").args(["-c", &text]).status().unwrap().success());
    assert!(read_line(&mut child).ends_with("value 4711"));
    kill(own, 12);
    let finished = finish(child, b"");
    assert_eq!((finished.status, finished.stderr.as_str()), (4, ""));
}

#[test]
fn a_signal_to_the_whole_group_arrives_once() {
    let lab = Lab::new();
    let program = lab.compile("listener", LISTENER);
    let mut command = lab.supervise(&program);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = start(&mut command);
    let group = child.id() as i32;
    ready(&mut child);
    for signal in [15, 10, 1] {
        kill(-group, signal);
        std::thread::sleep(Duration::from_millis(100));
    }
    kill(group, 12);
    let finished = finish(child, b"");
    let numbers: Vec<&str> = finished.stdout.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["15", "10", "1", "12"]);
}

#[test]
fn terminated_by_a_signal_to_the_watcher() {
    let lab = Lab::new();
    let mut child = start(&mut script(&lab, "echo ready $$; while :; do sleep 0.05; done"));
    let program = ready(&mut child);
    kill(child.id() as i32, 15);
    let finished = finish(child, b"");
    assert_eq!(finished.status, 128 + 15);
    let death = finished.stderr.lines().find(|line| line.contains("main")).unwrap();
    assert!(
        death.contains(&format!("pid={program} "))
            && death.contains(&format!("signal=15 sender={} ", std::process::id()))
            && death.contains("dump="),
        "{death}"
    );
}

#[test]
fn stop_and_continue_the_program_alone() {
    let lab = Lab::new();
    let mut child = start(&mut script(&lab, "echo ready $$; read line; echo got $line"));
    let watcher = child.id() as i32;
    let program = ready(&mut child);
    for _ in 0..3 {
        kill(program, 19);
        until("both stand", || state(watcher) == Some('T') && matches!(state(program), Some('t' | 'T')));
        kill(program, 18);
        until("both go on", || state(watcher) == Some('S') && state(program) == Some('S'));
    }
    // Killed while it stands: the watcher must wake up and tell.
    kill(program, 19);
    until("both stand again", || state(watcher) == Some('T'));
    kill(program, 9);
    let finished = finish(child, b"");
    assert_eq!(finished.status, 137);
    assert!(finished.stderr.contains("SIGKILL"));
}

#[test]
fn stop_and_continue_the_group() {
    let lab = Lab::new();
    let mut command = script(&lab, "echo ready $$; read line; echo got $line");
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = start(&mut command);
    let watcher = child.id() as i32;
    let program = ready(&mut child);
    for signal in [20, 19, 20] {
        kill(-watcher, signal);
        until("both stand", || state(watcher) == Some('T') && matches!(state(program), Some('t' | 'T')));
        kill(-watcher, 18);
        until("both go on", || state(watcher) == Some('S') && state(program) == Some('S'));
    }
    let finished = finish(child, b"line\n");
    assert_eq!((finished.status, finished.stdout.as_str()), (0, "got line\n"));
}

#[test]
fn a_stopped_child_of_the_program_stops_nobody_else() {
    let lab = Lab::new();
    let text =
        "sleep 30 & echo ready $!; kill -STOP $!; sleep 0.2; kill -CONT $!; sleep 0.1; kill -9 $!; wait $!; exit 6";
    let finished = run(&mut script(&lab, text));
    assert_eq!(finished.status, 6);
    assert!(finished.stderr.contains("child pid="), "{}", finished.stderr);
}

/// A terminal with a job-control shell in it; `keys` are typed as the answers appear.
fn terminal(lab: &Lab, steps: &[(&str, &str)]) -> String {
    let steps = steps.iter().map(|(wait, keys)| {
        // Python writes control characters otherwise than Rust.
        let text = format!("({wait:?}, {keys:?})");
        text.replace("\\u{3}", "\\x03").replace("\\u{4}", "\\x04").replace("\\u{1a}", "\\x1a")
    });
    let steps: Vec<String> = steps.collect();
    let python = format!(
        r#"
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.environ["PS1"] = "prompt> "
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = ""
def wait(text):
    global seen
    end = time.time() + 20
    while text not in seen:
        if time.time() > end:
            print("waited in vain for", repr(text), "after", repr(seen)); os.kill(pid, 9); sys.exit(1)
        if text == "Stopped": os.write(fd, b"\n") # a shell tells of its jobs when it prompts
        if select.select([fd], [], [], 0.2)[0]:
            seen += os.read(fd, 4096).decode(errors="replace")
    seen = seen[seen.index(text) + len(text):]
wait("prompt> ")
for text, keys in [{steps}]:
    os.write(fd, keys.encode())
    wait(text)
os.kill(pid, 9)
print("all steps done")
"#,
        steps = steps.join(", ")
    );
    let finished = run(Command::new("python3").args(["-c", &python]).current_dir(lab.dir.path()));
    assert!(finished.stdout.contains("all steps done"), "{}{}", finished.stdout, finished.stderr);
    finished.stdout
}

#[test]
fn job_control_at_a_terminal() {
    let lab = Lab::new();
    let program = lab.compile(
        "job",
        r#"
        #include <stdio.h>
        #include <signal.h>
        #include <unistd.h>
        #include <string.h>
        void say(int s) { if (s == SIGINT) write(1, "caught-int\n", 11); else if (s == SIGWINCH) write(1, "caught-winch\n", 13); }
        int main() {
            struct sigaction a = {.sa_handler = say, .sa_flags = SA_RESTART};
            sigaction(SIGINT, &a, 0); sigaction(SIGWINCH, &a, 0);
            char line[99];
            printf("job-ready %d\n", tcgetpgrp(0) == getpgrp()); fflush(stdout);
            while (fgets(line, 99, stdin)) { printf("echo-%s", line); fflush(stdout); if (!strncmp(line, "end", 3)) return 5; }
            return 6;
        }"#,
    );
    let watched = format!("{} {} {}\n", supervise().display(), lab.dumps().display(), program.display());
    let in_background = format!("{} {} {} &\n", supervise().display(), lab.dumps().display(), program.display());
    let sleeping = "sh -c 'echo sleeping-$((1+1)); exec sleep 30'";
    let sleeping = format!("{} {} {sleeping}\n", supervise().display(), lab.dumps().display());
    terminal(
        &lab,
        &[
            ("job-ready 1", &watched),
            ("echo-one", "one\n"),
            ("caught-int", "\u{3}"),
            ("echo-two", "two\n"),
            ("Stopped", "\u{1a}"),
            ("prompt> ", "\n"),
            ("supervise", "fg\n"),
            ("echo-three", "three\n"),
            ("echo-end", "end\n"),
            ("status=5", "echo status=$?\n"),
            // Ctrl-C ends a program without a handler; no dump is made of it.
            ("sleeping-2", &sleeping),
            ("SIGINT", "\u{3}"),
            ("status=130", "echo status=$?\n"),
            // In the background it must not read the terminal: it stops, and the shell says so.
            ("job-ready 0", &in_background),
            ("Stopped", "\n"),
            ("supervise", "fg\n"),
            ("echo-four", "four\n"),
            ("status=6", "\u{4}echo status=$?\n"),
        ],
    );
    assert!(lab.dump_files().is_empty(), "{:?}", lab.dump_files());
}

#[test]
fn a_killed_watcher_leaves_the_program_alive() {
    let lab = Lab::new();
    let mut child =
        start(&mut script(&lab, "echo ready $$; while ! test -e stop; do sleep 0.02; done; echo done > result"));
    let program = ready(&mut child);
    kill(child.id() as i32, 9);
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(state(program).is_some_and(|state| "SRD".contains(state)), "{:?}", state(program));
    let status = std::fs::read_to_string(format!("/proc/{program}/status")).unwrap();
    assert!(status.contains("TracerPid:\t0"));
    std::fs::write(lab.path("stop"), "").unwrap();
    until("the program has gone on", || lab.path("result").exists());
}

#[test]
fn children_that_live_on_are_let_go() {
    let lab = Lab::new();
    let text =
        "(sleep 0.3; while ! test -e stop; do sleep 0.02; done; echo done > result) >/dev/null 2>&1 & echo $!; exit 2";
    let finished = run(&mut script(&lab, text));
    assert_eq!(finished.status, 2);
    let daemon: i32 = finished.stdout.trim().parse().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
    assert!(status.contains("TracerPid:\t0"), "{status}");
    std::fs::write(lab.path("stop"), "").unwrap();
    until("the daemon has gone on", || lab.path("result").exists());
}

#[test]
fn forks_and_threads_in_numbers() {
    let lab = Lab::new();
    let program = lab.compile(
        "churn",
        r#"
        #include <pthread.h>
        #include <unistd.h>
        #include <stdlib.h>
        #include <sys/wait.h>
        void *nothing(void *x) { return x; }
        int main() {
            int failures = 0;
            for (int i = 0; i < 200; i++) {
                pthread_t t[4];
                for (int k = 0; k < 4; k++) failures += pthread_create(&t[k], 0, nothing, 0) != 0;
                pid_t pids[2];
                for (int k = 0; k < 2; k++) if (!(pids[k] = fork())) {
                    pthread_t u; pthread_create(&u, 0, nothing, 0);
                    if (k) pthread_join(u, 0);
                    _exit(i % 7 + k);
                }
                for (int k = 0; k < 4; k++) pthread_join(t[k], 0);
                for (int k = 0; k < 2; k++) { int s; waitpid(pids[k], &s, 0); failures += WEXITSTATUS(s) != i % 7 + k; }
            }
            return failures ? 1 : 42;
        }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!((finished.status, finished.stderr.as_str()), (42, ""));
}

#[test]
fn many_children_die_at_once() {
    let lab = Lab::new();
    let program = lab.compile(
        "massacre",
        r#"
        #include <unistd.h>
        #include <signal.h>
        #include <pthread.h>
        #include <sys/wait.h>
        void *die(void *x) { *(volatile int *)8 = 0; return 0; }
        int main() {
            for (int i = 0; i < 20; i++) if (!fork()) {
                pthread_t t;
                for (int k = 0; k < 8; k++) pthread_create(&t, 0, die, 0);
                for (;;) pause();
            }
            int status, n = 0;
            while (wait(&status) > 0) n += WIFSIGNALED(status) && WTERMSIG(status) == 11;
            return n;
        }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!(finished.status, 20, "{}", finished.stderr);
    assert_eq!(finished.stderr.matches("death: child").count(), 20, "{}", finished.stderr);
    assert_eq!(lab.dump_files().len(), 20);
    let unnamed = std::fs::read_dir(lab.dumps())
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'));
    assert!(!unnamed);
}
