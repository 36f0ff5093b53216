//! Each way to die: is it told rightly, and is the dump what the kernel's own core would be?

// clippy.toml's leave for tests does not reach their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;
use common::*;
use std::process::Command;

const SEGV: &str = r#"
#include <stdio.h>
int *nowhere;
__attribute__((noinline)) int inner(int a) { return *nowhere + a; }
__attribute__((noinline)) int outer(int a) { return inner(a + 1) + 1; }
int main(int argc, char **argv) { puts("before"); fflush(stdout); return outer(argc); }
"#;

#[test]
fn same_backtrace_as_the_kernel_s_core_in_three_debuggers() {
    let lab = Lab::new();
    let program = lab.compile("segv", SEGV);
    // Without address randomisation both runs lie at the same addresses.
    let mut watched = Command::new("setarch");
    watched.args(["-R"]).arg(supervise()).arg(lab.dumps()).arg(&program).current_dir(lab.dir.path());
    let finished = run(&mut watched);
    assert_eq!((finished.status, finished.stdout.as_str()), (139, "before\n"), "{}", finished.stderr);
    assert!(finished.stderr.contains("death: main") && finished.stderr.contains("comm=segv signal=11 dump="));
    assert!(finished.stderr.contains("soft=[]"), "{}", finished.stderr);
    let ours = lab.dump();
    assert_eq!(gdb_functions(&program, &ours), ["inner", "outer", "main"]);
    assert_eq!(lldb_functions(&program, &ours)[..3], ["inner", "outer", "main"]);
    let frames = eu_stack(&ours);
    assert!(frames.len() >= 6, "{frames:?}");

    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.trim() != "core" {
        eprintln!("core_pattern is {}: not compared with the kernel's own core", pattern.trim());
        return;
    }
    let crash = lab.path("kernel");
    std::fs::create_dir(&crash).unwrap();
    let script = format!("ulimit -c unlimited && exec setarch -R {}", program.display());
    run(Command::new("sh").args(["-c", &script]).current_dir(&crash));
    let cores: Vec<_> = std::fs::read_dir(&crash).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [theirs] = &cores[..] else { panic!("the kernel wrote {cores:?}") };
    assert_eq!(eu_stack(theirs), frames);
    // Registers, signal and mappings, as gdb reads them.
    for question in ["info registers", "print $_siginfo._sifields._sigfault.si_addr", "info proc mappings", "info auxv"]
    {
        let [a, b] = [&ours, theirs].map(|core| {
            let text = gdb(&program, core, &[question]);
            let lines = text.lines().skip_while(|line| !line.starts_with("#0")).skip(2);
            // Random bytes of the stack's top stand at other places in each run; see AT_RANDOM and its neighbours.
            lines
                .filter(|line| {
                    !line.contains("AT_RANDOM") && !line.contains("AT_EXECFN") && !line.contains("AT_PLATFORM")
                })
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        if question == "info registers" {
            // rsp and its kin hang on the length of the environment, which is the same here but for _ and PWD.
            let names = |lines: &[String]| {
                lines.iter().map(|line| line.split_whitespace().next().map(str::to_owned)).collect::<Vec<_>>()
            };
            assert_eq!(names(&a), names(&b));
            let pc =
                |lines: &[String]| lines.iter().find(|line| line.starts_with("rip") || line.starts_with("pc")).cloned();
            assert_eq!(pc(&a), pc(&b));
        } else {
            assert_eq!(a, b, "{question}");
        }
    }
    // The same program headers: address, sizes and protection of each.
    let headers = |core: &std::path::Path| {
        let text = run(Command::new("readelf").arg("-lW").arg(core)).stdout;
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with("LOAD"));
        lines.map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let without_kernel_s_own = |core| {
        let mut headers = headers(core);
        // vvar and vsyscall: the kernel gives them a size but no content.
        headers.retain(|line| !line.contains("0xffffffffff600000"));
        headers.iter().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(without_kernel_s_own(&ours), without_kernel_s_own(theirs));
}

#[test]
fn all_threads_are_in_the_dump() {
    let lab = Lab::new();
    let program = lab.compile(
        "threads",
        r#"
        #include <pthread.h>
        #include <unistd.h>
        #include <sys/prctl.h>
        __attribute__((noinline)) void *waiting_here(void *n) { prctl(PR_SET_NAME, "waiter"); for (;;) pause(); }
        __attribute__((noinline)) void *busy_here(void *n) { for (;;) __asm__ volatile(""); }
        __attribute__((noinline)) void *dying_here(void *n) { usleep(50000); *(volatile int *)16 = 1; return 0; }
        int main() {
            pthread_t t;
            for (int i = 0; i < 20; i++) pthread_create(&t, 0, waiting_here, 0);
            for (int i = 0; i < 3; i++) pthread_create(&t, 0, busy_here, 0);
            pthread_create(&t, 0, dying_here, 0);
            pthread_join(t, 0);
        }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!(finished.status, 139);
    assert!(finished.stderr.contains("threads=25"), "{}", finished.stderr);
    let core = lab.dump();
    let text = gdb(&program, &core, &["thread apply all bt"]);
    assert_eq!(text.matches("waiting_here").count(), 20, "{text}");
    assert_eq!(text.matches("busy_here").count(), 3, "{text}");
    assert_eq!(gdb_functions(&program, &core)[0], "dying_here");
    let names = strings(&core);
    assert_eq!(names.matches("\twaiter\n").count(), 20);
}

/// The content of afterimage's notes as text.
fn strings(core: &std::path::Path) -> String {
    let bytes = std::fs::read(core).unwrap();
    String::from_utf8_lossy(&bytes[..bytes.len().min(200_000)]).into_owned()
}

#[test]
fn the_reader_sees_what_the_writer_meant() {
    let lab = Lab::new();
    let program = lab.compile("facts", SEGV);
    let finished = run(lab.supervise(&program).env("AFTERIMAGE_TEST", "yes"));
    assert_eq!(finished.status, 139);
    let dump = afterimage_dump::open(&lab.dump(), &afterimage_dump::Budget::default()).unwrap();
    assert_eq!((dump.threads.len(), dump.threads[0].name.as_deref()), (1, Some("facts")));
    assert_eq!(dump.dump_type, afterimage_dump::DumpType::Active);
    assert_eq!(dump.writer.as_deref(), Some("afterimage"));
    assert!(dump.complete() && dump.missing_bytes == 0, "{:?}", dump.issues);
    assert_eq!(dump.process.command_line.as_deref(), Some(program.to_str().unwrap()));
    assert!(dump.time.is_some());
    assert!(dump.process.facts.iter().any(|(key, value)| key == "start_time" && value.parse::<i64>().is_ok()));
    assert!(dump.modules.iter().any(|module| module.path.contains("libc.so") && module.build_id.is_some()));
    let text = strings(&lab.dump());
    assert!(text.contains("AFTERIMAGE_TEST=yes"));
    for key in [
        "cmdline\0",
        "environ\0",
        "status\0",
        "limits\0",
        "maps\0",
        "exe\0",
        "cwd\0",
        "fd\0",
        "uname\0",
        "time\0",
        "start_time\0",
    ] {
        assert!(text.contains(key), "{key:?}");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(lab.dump()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn children_die_too() {
    let lab = Lab::new();
    let program = lab.compile(
        "family",
        r#"
        #include <unistd.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/wait.h>
        #include <signal.h>
        void die() { raise(SIGFPE); }
        int main(int argc, char **argv) {
            int status;
            if (argc > 1) abort();
            if (!fork()) die();
            wait(&status); printf("fork %d\n", WTERMSIG(status));
            if (!vfork()) { execl(argv[0], "executed", "x", (char *)0); _exit(1); }
            wait(&status); printf("vfork %d\n", WTERMSIG(status));
            if (!fork()) { if (!fork()) *(volatile int *)0 = 0; wait(&status); _exit(WTERMSIG(status)); }
            wait(&status); printf("grandchild %d\n", WEXITSTATUS(status));
            return 3;
        }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!(finished.status, 3, "{}", finished.stderr);
    assert_eq!(finished.stdout, "fork 8\nvfork 6\ngrandchild 11\n");
    assert_eq!(finished.stderr.matches("death: child").count(), 3, "{}", finished.stderr);
    assert_eq!(lab.dump_files().len(), 3);
    let forked = lab.dump_files().into_iter().find(|core| gdb(&program, core, &["bt"]).contains("die ()"));
    assert!(forked.is_some());
}

#[test]
fn a_vfork_child_dies_before_exec() {
    let lab = Lab::new();
    let program = lab.compile(
        "vforked",
        r#"
        #include <unistd.h>
        #include <sys/wait.h>
        #include <pthread.h>
        void *other(void *x) { for (;;) pause(); }
        int main() {
            pthread_t t; pthread_create(&t, 0, other, 0);
            int status;
            if (!vfork()) { *(volatile int *)0 = 0; _exit(1); }
            wait(&status);
            return WTERMSIG(status);
        }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!(finished.status, 11, "{}", finished.stderr);
    assert!(finished.stderr.contains("death: child") && finished.stderr.contains("threads=1 "), "{}", finished.stderr);
}

#[test]
fn a_thread_that_waits_for_a_vfork_child_cannot_stop_but_is_in_the_dump() {
    let lab = Lab::new();
    let program = lab.compile(
        "stuck",
        r#"
        #include <unistd.h>
        #include <pthread.h>
        void *stuck(void *x) { if (!vfork()) { sleep(1); _exit(0); } return 0; }
        int main() { pthread_t t; pthread_create(&t, 0, stuck, 0); usleep(200000); *(volatile int *)0 = 0; }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!(finished.status, 139);
    assert!(finished.stderr.contains("threads=2") && finished.stderr.contains("did not stop"), "{}", finished.stderr);
    assert!(eu_stack(&lab.dump()).iter().any(|frame| frame.contains("vfork")));
}

#[test]
fn a_thread_executes() {
    let lab = Lab::new();
    let program = lab.compile(
        "execthread",
        r#"
        #include <unistd.h>
        #include <pthread.h>
        char **args;
        void *go(void *x) { execl(args[0], args[0], "die", (char *)0); return 0; }
        void *wait_here(void *x) { for (;;) pause(); }
        int main(int argc, char **argv) {
            args = argv; pthread_t t;
            if (argc > 1) { *(volatile int *)0 = 0; }
            for (int i = 0; i < 5; i++) pthread_create(&t, 0, wait_here, 0);
            pthread_create(&t, 0, go, 0);
            for (;;) pause();
        }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!(finished.status, 139, "{}", finished.stderr);
    assert!(finished.stderr.contains("threads=1 "), "{}", finished.stderr);
}

#[test]
fn the_leader_has_gone_before() {
    let lab = Lab::new();
    let program = lab.compile(
        "leaderless",
        r#"
        #include <unistd.h>
        #include <pthread.h>
        void *late(void *x) { usleep(100000); *(volatile int *)0 = 0; return 0; }
        int main() { pthread_t t; pthread_create(&t, 0, late, 0); pthread_exit(0); }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!(finished.status, 139, "{}", finished.stderr);
    assert_eq!(gdb_functions(&program, &lab.dump())[0], "late");
}

#[test]
fn every_signal_as_it_deserves() {
    let lab = Lab::new();
    let program = lab.compile(
        "dies",
        r#"
        #include <signal.h>
        #include <stdlib.h>
        #include <unistd.h>
        #include <sys/resource.h>
        void again(int s) { signal(s, SIG_DFL); raise(s); }
        int main(int argc, char **argv) {
            switch (atoi(argv[1])) {
            case 0: kill(getpid(), SIGTERM); break;
            case 1: kill(getpid(), SIGKILL); break;
            case 2: { int p[2]; pipe(p); close(p[0]); write(p[1], "x", 1); break; }
            case 3: __asm__ volatile("int3"); break;
            case 4: signal(SIGSEGV, SIG_IGN); *(volatile int *)0 = 0; break;
            case 5: { struct sigaction a = {.sa_handler = again, .sa_flags = SA_NODEFER}; sigaction(SIGSEGV, &a, 0); } *(volatile int *)0 = 0; break;
            case 6: { struct rlimit r = {1, 1}; setrlimit(RLIMIT_CPU, &r); for (;;) ; }
            case 7: { sigset_t s; sigfillset(&s); sigprocmask(SIG_BLOCK, &s, 0); *(volatile int *)0 = 0; break; }
            case 8: alarm(1); for (;;) pause();
            case 9: raise(SIGRTMIN + 3); break;
            case 10: signal(SIGTERM, SIG_IGN); kill(getpid(), SIGTERM); return 5;
            case 11: signal(SIGUSR1, again); raise(SIGUSR1); break;
            }
            return 77;
        }"#,
    );
    let dump = "dump=";
    for (case, status, words) in [
        (0, 128 + 15, dump),
        (1, 128 + 9, "SIGKILL leaves no moment"),
        (2, 128 + 13, "SIGPIPE only says"),
        (3, 128 + 5, dump),
        (4, 128 + 11, dump),
        (5, 128 + 11, dump),
        (6, 128 + 9, "SIGKILL"), // SIGXCPU at the soft limit, SIGKILL at the hard one: which comes first is the kernel's
        (7, 128 + 11, dump),
        (8, 128 + 14, dump),
        (9, 128 + 37, dump),
        (10, 5, ""),
        (11, 128 + 10, dump),
    ] {
        let finished = run(lab.supervise(&program).arg(case.to_string()));
        if case == 6 {
            assert!(matches!(finished.status, 137 | 152), "{finished:?}");
            continue;
        }
        assert_eq!(finished.status, status, "case {case}: {}", finished.stderr);
        assert!(finished.stderr.contains(words), "case {case}: {}", finished.stderr);
        assert_eq!(finished.stderr.is_empty(), words.is_empty());
        for core in lab.dump_files() {
            let frames = gdb_functions(&program, &core);
            assert!(frames.iter().any(|name| name == "main"), "case {case}: {frames:?}");
            if case == 5 {
                assert!(
                    frames.iter().any(|name| name == "<signal") && frames.iter().any(|name| name == "again"),
                    "{frames:?}"
                );
            }
            std::fs::remove_file(core).unwrap();
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let lab = Lab::new();
    let program = lab.compile("full", SEGV);
    let script = format!(
        "ulimit -f 100; trap '' XFSZ; exec {} {} {}",
        supervise().display(),
        lab.dumps().display(),
        program.display()
    );
    let finished = run(Command::new("sh").args(["-c", &script]));
    assert_eq!(finished.status, 139);
    assert!(finished.stderr.contains("no room"), "{}", finished.stderr);
    assert!(lab.dump_files().is_empty());
    let finished = run(Command::new(supervise()).arg("/proc/no-such-place").arg(&program));
    assert_eq!(finished.status, 139);
    assert!(finished.stderr.contains("error=cannot write a dump into /proc/no-such-place"), "{}", finished.stderr);
}

#[test]
fn the_kernel_ends_the_process_itself() {
    let lab = Lab::new();
    let program = lab.compile(
        "filtered",
        r#"
        #include <sys/prctl.h>
        #include <linux/seccomp.h>
        #include <linux/filter.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        #include <stdlib.h>
        #include <pthread.h>
        #include <signal.h>
        void *wait_here(void *x) { for (;;) pause(); }
        __attribute__((noinline)) void forbidden() { syscall(SYS_sync); }
        void *end_alone(void *x) { forbidden(); return 0; }
        int main(int argc, char **argv) {
            int how = atoi(argv[1]); pthread_t t;
            struct sock_filter f[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sync, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, how == 2 ? SECCOMP_RET_KILL_THREAD : SECCOMP_RET_KILL_PROCESS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
            struct sock_fprog p = {4, f};
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); prctl(PR_SET_SECCOMP, 2, &p);
            if (how) pthread_create(&t, 0, wait_here, 0);
            if (how == 2) { pthread_create(&t, 0, end_alone, 0); usleep(100000); raise(SIGABRT); }
            forbidden();
        }"#,
    );
    for (how, status, first) in [("0", 128 + 31, "forbidden"), ("1", 128 + 31, "forbidden"), ("2", 128 + 6, "main")] {
        let finished = run(lab.supervise(&program).arg(how));
        assert_eq!(finished.status, status, "{}", finished.stderr);
        if how == "2" {
            assert!(finished.stderr.contains("threads=2 "), "{}", finished.stderr);
        }
        assert_eq!(finished.stderr.contains("the kernel ended the process itself"), how != "2", "{}", finished.stderr);
        let core = lab.dump();
        let frames = gdb_functions(&program, &core);
        assert!(frames.iter().any(|name| name == first), "{how}: {frames:?}");
        if how != "2" {
            let text = gdb(&program, &core, &["print $_siginfo._sifields._sigsys", "print (int)SYS_sync"]);
            assert!(text.contains("_syscall = 162") || !cfg!(target_arch = "x86_64"), "{text}");
        }
        std::fs::remove_file(core).unwrap();
    }
}

#[test]
fn a_stack_overflow_that_no_handler_can_catch() {
    let lab = Lab::new();
    let program = lab.compile(
        "deep",
        r#"
        #include <signal.h>
        #include <unistd.h>
        __attribute__((noinline)) int deeper(int n) { volatile char room[4096]; room[0] = n; return deeper(n + 1) + room[0]; }
        void caught(int s) { _exit(9); }
        int main() { signal(SIGSEGV, caught); return deeper(0); }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    assert_eq!(finished.status, 139);
    assert!(finished.stderr.contains("dump="), "{}", finished.stderr);
    let frames = gdb(&program, &lab.dump(), &["bt -3"]);
    assert!(frames.contains("deeper") && frames.contains("main"), "{frames}");
}
