//! The checkers themselves: a true picture passes, and every kind of false one is found out.

use super::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

const SIZES: &[&str] = &["--private", "16M", "--shared", "16M", "--huge", "16M"];

/// gdb's own dump, of a process that stands still for it.
fn gcore(pid: u32, dir: &std::path::Path) -> PathBuf {
    let status = Command::new("gcore").arg("-o").arg(dir.join("core")).arg(pid.to_string()).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    dir.join(format!("core.{pid}"))
}

/// A picture in memory, that a test can falsify.
struct Copied {
    memory: BTreeMap<u64, Vec<u8>>,
    registers: Option<(u64, u64)>,
}

impl Picture for Copied {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let Some((start, bytes)) = self.memory.range(..=at).next_back() else { return false };
        let begin = usize::try_from(at - start).unwrap();
        bytes.get(begin..begin + into.len()).is_some_and(|found| {
            into.copy_from_slice(found);
            true
        })
    }

    fn registers(&self, _tid: u32) -> Option<(u64, u64)> {
        self.registers
    }
}

/// Addresses and lengths that a judgement reads, in the order in which a careless tool would.
fn ranges(ready: &serde_json::Value) -> Vec<(u64, usize)> {
    let number = |value: &serde_json::Value, name: &str| value[name].as_u64().unwrap();
    let mut ranges = vec![(number(ready, "position"), 8)];
    for region in ready["regions"].as_array().unwrap() {
        ranges.push((number(region, "start"), usize::try_from(number(region, "length")).unwrap()));
    }
    ranges.push((number(ready, "watch"), usize::try_from(number(ready, "watch_length")).unwrap()));
    ranges.push((number(ready, "local"), 8));
    ranges
}

/// Reads a process's memory as it is, running or not.
fn copy(pid: u32, ranges: &[(u64, usize)]) -> BTreeMap<u64, Vec<u8>> {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let read = |(at, length): (u64, usize)| {
        let mut bytes = vec![0; length];
        memory.read_exact_at(&mut bytes, at).unwrap();
        (at, bytes)
    };
    ranges.iter().copied().map(read).collect()
}

#[test]
fn a_dump_of_a_stopped_writer_is_of_one_instant() {
    let dir = tempfile::tempdir().unwrap();
    let program = Live::start(Program::Generation, SIZES).unwrap();
    for _ in 0..3 {
        let core = Core::open(&gcore(program.pid(), dir.path())).unwrap();
        assert_eq!(one_instant(&program.ready, &core), Vec::<String>::new());
    }
    assert!(program.quit().unwrap().success());
}

#[test]
fn a_torn_picture_is_found_out() {
    let program = Live::start(Program::Generation, SIZES).unwrap();
    let memory = copy(program.pid(), &ranges(&program.ready));
    let faults = one_instant(&program.ready, &Copied { memory, registers: Some((0, 0)) });
    assert!(faults.iter().any(|fault| fault.contains(" page ")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("r12")), "{faults:?}");
}

/// Each rule by itself: one region, one register, one word of another instant.
#[test]
fn every_rule_of_one_instant_can_fail() {
    let dir = tempfile::tempdir().unwrap();
    let program = Live::start(Program::Generation, SIZES).unwrap();
    let cores: Vec<Core> = (0..2).map(|_| Core::open(&gcore(program.pid(), dir.path())).unwrap()).collect();
    let wanted = ranges(&program.ready);
    let picture = |core: &Core| {
        let mut memory = BTreeMap::new();
        for (at, length) in &wanted {
            let mut bytes = vec![0; *length];
            assert!(core.read_at(*at, &mut bytes));
            memory.insert(*at, bytes);
        }
        let tid = u32::try_from(program.ready["writer"].as_u64().unwrap()).unwrap();
        Copied { memory, registers: core.registers(tid) }
    };
    // The first core's file is gone, its descriptor is not.
    let (early, late) = (picture(&cores[0]), picture(&cores[1]));
    assert_eq!(one_instant(&program.ready, &early), Vec::<String>::new());
    assert_eq!(one_instant(&program.ready, &late), Vec::<String>::new());
    for (index, (at, _)) in wanted.iter().enumerate() {
        let mut mixed = Copied { memory: early.memory.clone(), registers: early.registers };
        mixed.memory.insert(*at, late.memory[at].clone());
        let faults = one_instant(&program.ready, &mixed);
        assert!(!faults.is_empty(), "range {index} of the later picture was not noticed in the earlier one");
    }
    for registers in
        [late.registers, early.registers.map(|(r12, _)| (r12, 7)), early.registers.map(|(_, x)| (7, x)), None]
    {
        let mixed = Copied { memory: early.memory.clone(), registers };
        assert!(!one_instant(&program.ready, &mixed).is_empty());
    }
    // A page that was not stored, as a dump that lost one would have it.
    let (start, _) = wanted[2];
    let mut holed = Copied { memory: early.memory.clone(), registers: early.registers };
    holed.memory.get_mut(&start).unwrap()[4096 * 7..4096 * 8].fill(0);
    assert!(!one_instant(&program.ready, &holed).is_empty());
}

#[test]
fn a_busy_program_left_alone_sees_no_harm() {
    for options in [&["--altstack"] as &[&str], &["--seccomp", "errno"], &["--seccomp", "kill"]] {
        let mut program = Live::start(Program::Busy, options).unwrap();
        program.ask("hold").unwrap();
        let before = State::of(program.pid(), program.mark()).unwrap();
        program.ask("go").unwrap();
        assert_eq!(program.harm().unwrap(), Vec::<String>::new(), "{options:?}");
        program.ask("hold").unwrap();
        let after = State::of(program.pid(), program.mark()).unwrap();
        assert_eq!(before.differences(&after), Vec::<String>::new(), "{options:?}");
        program.ask("go").unwrap();
        assert!(program.quit().unwrap().success());
    }
}

/// Being traced is seen while it lasts, and a stop that breaks `epoll_wait` is counted.
#[test]
fn a_busy_program_notices_a_stop_and_a_tracer() {
    let mut program = Live::start(Program::Busy, &[]).unwrap();
    program.ask("hold").unwrap();
    let before = State::of(program.pid(), program.mark()).unwrap();
    let pid = i32::try_from(program.pid()).unwrap();
    // SAFETY: ptrace with these requests takes no pointers; the process is our child, and is let go below.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) }, 0);
    let during = State::of(program.pid(), program.mark()).unwrap();
    // SAFETY: as above; a thread must stop before it can be let go.
    unsafe {
        libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0);
        libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL);
        libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0);
    }
    assert!(before.differences(&during).iter().any(|line| line.starts_with("+ TracerPid")));
    program.ask("go").unwrap();
    for _ in 0..20 {
        program.signal(libc::SIGSTOP);
        std::thread::sleep(std::time::Duration::from_millis(5));
        program.signal(libc::SIGCONT);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let harm = program.harm().unwrap();
    assert!(harm.iter().any(|harm| harm.starts_with("EPOLL_INTERRUPTED")), "{harm:?}");
    assert_eq!(harm.len(), 1, "a stop harms nothing else: {harm:?}");
}

#[test]
fn a_stray_signal_is_harm() {
    let mut program = Live::start(Program::Busy, &[]).unwrap();
    program.signal(libc::SIGUSR1);
    let harm = program.harm().unwrap();
    assert!(harm.iter().any(|harm| harm.starts_with("SIGNAL_UNEXPECTED")), "{harm:?}");
}

#[test]
fn marks_of_the_zoo_are_where_it_says() {
    let dir = tempfile::tempdir().unwrap();
    // gdb 13 writes a reservation out in full, so this one is small.
    let program = Live::start(Program::Zoo, &["--reserve", "64M"]).unwrap();
    let core = Core::open(&gcore(program.pid(), dir.path())).unwrap();
    let mut faults = zoo_faults(&program.ready, &core);
    // gdb 13 reads in large blocks and takes a block for zeros if any page of it cannot be read: it loses the page that
    // is there beside those behind a file's end.
    faults.retain(|fault| !fault.starts_with("file cut:"));
    assert_eq!(faults, Vec::<String>::new());
    // The same dump is wrong for any other zoo.
    let other = Live::start(Program::Zoo, &["--reserve", "64M"]).unwrap();
    assert!(zoo_faults(&other.ready, &core).len() > 100);
}

#[test]
fn the_pair_and_the_still_start() {
    for program in [Program::Pair, Program::Still, Program::Ticker] {
        let mut live = Live::start(program, &[]).unwrap();
        live.ask(if program == Program::Ticker { "gaps" } else { "check" }).unwrap();
        assert!(live.quit().unwrap().success());
    }
}
