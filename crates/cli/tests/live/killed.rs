//! afterimage dies of SIGKILL at any moment, and its target does not notice.

use crate::lab::{PATIENCE, capture_by, capture_command, folder, lasting_changes, names, soak, state, ways};
use afterimage_testkit::live::{Core, Live, Program};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

/// Moments, spread over a range, from a seed that is said when a test fails.
struct Moments(u64);

impl Moments {
    fn below(&mut self, range: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        range.mul_f64((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }
}

fn survives(way: &str, program: &[&str], times: usize) {
    let place = folder();
    let file = place.path().join("dump");
    // Enough memory that the copying is a good part of the whole.
    let options = [program, &["--altstack", "--memory", "32M", "--deadline", "3000"]].concat();
    let mut busy = Live::start(Program::Busy, &options).unwrap();
    let before = state(&mut busy);
    // How long one takes here and now: the middle of three.
    let mut durations: Vec<Duration> = (0..3)
        .map(|_| {
            let begin = Instant::now();
            capture_by(way, busy.pid(), &[], &file);
            begin.elapsed()
        })
        .collect();
    durations.sort();
    std::fs::remove_file(&file).unwrap();

    let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    let mut moments = Moments(seed);
    let mut killed = 0;
    for time in 1..=times {
        let moment = moments.below(durations[1].mul_f64(1.05));
        let shown = format!("{way}, seed {seed}, time {time}, killed after {moment:?} of {:?}", durations[1]);
        let mut command = capture_command(busy.pid(), &["--how", way], &file);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        killed += usize::from(!status.success());
        if file.exists() {
            // It was killed after its work was done, or had ended by itself: then the dump is whole.
            let core = Core::open(&file).unwrap_or_else(|error| panic!("{shown}: {error:#}"));
            assert!(core.threads().len() > 10, "{shown}");
            std::fs::remove_file(&file).unwrap();
        }
        let visible: Vec<String> = names(place.path()).into_iter().filter(|name| !name.starts_with('.')).collect();
        assert!(visible.is_empty(), "{shown}: {visible:?}");
        for hidden in names(place.path()) {
            std::fs::remove_file(place.path().join(hidden)).unwrap();
        }
        if let Some(status) = busy.ended() {
            panic!("{shown}: the target has died: {status}");
        }
        let changes = lasting_changes(&mut busy, &before);
        assert!(changes.is_empty(), "{shown}: {changes:#?}");
        if time % 5 == 0 || time == times {
            let mut harm = busy.harm().unwrap_or_else(|error| panic!("{shown}: {error:#}"));
            // A stop ends epoll_wait with EINTR, as signal(7) says of stops by signals. Whoever lives hides that from the
            // program; whoever is killed between the stop and that cannot.
            // And a copy's helper that the kernel ends is taken by the thread that made it, on its way home; another
            // thread that waits for children of any kind at this moment may come first.
            harm.retain(|harm| !harm.starts_with("EPOLL_INTERRUPTED") && !harm.starts_with("CHILD_UNKNOWN_ALL"));
            assert!(harm.is_empty(), "{shown}, or one of the four before: {harm:#?}");
        }
    }
    // The next one works as if nothing had been.
    capture_by(way, busy.pid(), &[], &file);
    let _ = busy.quit().unwrap();
    eprintln!("{way}: {killed} of {times} killed while at work, without harm");
    assert!(killed > 0, "{way}: none was killed in time");
}

#[test]
fn killed_while_it_stops_it() {
    survives("stop", &[], soak(30));
}

#[test]
fn killed_with_a_snapshot() {
    survives("snapshot", &[], soak(30));
}

#[test]
fn killed_while_it_copies_before() {
    survives("precopy", &[], soak(30));
}

/// The same for a program with a sandbox: its filter stands in the way of what we would call in it.
#[test]
fn killed_at_a_program_with_a_sandbox() {
    for way in ways() {
        survives(way, &["--seccomp", "errno"], soak(30) / 3);
    }
}

/// Ended by a signal that can wait: unlike SIGKILL, it comes between two steps and never into one, so not even
/// `epoll_wait` tells of it.
#[test]
fn interrupted_it_leaves_nothing() {
    let place = folder();
    let file = place.path().join("dump");
    let mut busy = Live::start(Program::Busy, &["--memory", "64M"]).unwrap();
    let before = state(&mut busy);
    for way in ways() {
        // Moments from before the stop to the middle of the copying.
        for (signal, moment) in
            (0..12).map(|time| ([libc::SIGINT, libc::SIGTERM, libc::SIGHUP][time % 3], 4 + 2 * time))
        {
            let mut command = capture_command(busy.pid(), &["--how", way], &file);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(moment as u64));
            // SAFETY: kill takes two numbers and touches no memory; the process is our child and not waited for.
            unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
            let begin = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                assert!(begin.elapsed() < PATIENCE, "{way} does not end after signal {signal}");
                std::thread::sleep(Duration::from_millis(5));
            };
            let shown = format!("{way}, signal {signal} after {moment} ms: {status}");
            assert!(file.exists() || !status.success(), "{shown}");
            if file.exists() {
                // The signal may come after the work is done: then the dump is whole.
                assert!(Core::open(&file).unwrap().threads().len() > 10, "{shown}");
                std::fs::remove_file(&file).unwrap();
            }
            let visible: Vec<String> = names(place.path()).into_iter().filter(|name| !name.starts_with('.')).collect();
            assert!(visible.is_empty(), "{shown}: {visible:?}");
            let changes = lasting_changes(&mut busy, &before);
            assert!(changes.is_empty(), "{shown}: {changes:#?}");
        }
    }
    assert_eq!(busy.harm().unwrap(), Vec::<String>::new());
}
