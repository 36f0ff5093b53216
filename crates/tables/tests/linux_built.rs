//! A Linux machine that was built, and whose structures no kernel ever had: every table shows exactly what was built, so
//! every offset was taken from the kernel's own types.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use afterimage_dump::{Budget, open_source};
use afterimage_tables::{Cell, Params, Rows, Value, find};
use afterimage_target::{Options, Target};
use afterimage_testkit::build_linux::{
    Age, BANNER, CLOCK, COMMAND_LINE, IDLE_STACK, LOG, MODULES, MOUNTS, Machine, PROCESSES, SOCKETS, WORKER_STACK,
};
use std::path::Path;
use std::sync::Arc;

const AGES: [Age; 3] = [Age::Old, Age::Middle, Age::New];

fn target(bytes: Vec<u8>) -> Target {
    let dump = open_source(Path::new("built"), Arc::new(bytes), &Budget::default()).unwrap();
    let options = Options { use_system_files: false, debug_dirs: Vec::new(), ..Options::default() };
    Target::new(dump, options, Budget::default())
}

fn text(cell: &Cell) -> String {
    cell.as_ref().map_or_else(
        |_| String::new(),
        |value| match value {
            Value::Address(at) => format!("{at:#x}"),
            value => value.to_string(),
        },
    )
}

struct Answer {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Answer {
    fn of(target: &Target, name: &str, key: Option<(&str, u32)>) -> Self {
        let table = find(name).unwrap();
        let mut params = Params::default();
        params.0.extend(key.map(|(key, value)| (key.to_owned(), value.to_string())));
        let mut sink = Rows::default();
        table.run(target, &params, &mut sink).unwrap();
        let rows = sink.rows.iter().map(|row| row.iter().map(text).collect()).collect();
        Self { columns: table.columns.iter().map(|column| column.name).collect(), rows, notes: sink.notes }
    }

    /// These columns of all rows.
    fn show(&self, names: &[&str]) -> Vec<Vec<String>> {
        let places: Vec<usize> =
            names.iter().map(|name| self.columns.iter().position(|own| own == name).unwrap()).collect();
        self.rows.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect()
    }
}

fn words(words: &[&dyn ToString]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

#[test]
fn every_table_shows_what_was_built() {
    for (age, seed) in AGES.into_iter().zip(1..).chain([(Age::Middle, 71), (Age::Old, 72), (Age::New, 73)]) {
        for hints in [true, false] {
            let target = target(Machine::new(age, seed).elf(hints));
            println!("{age:?} {seed} {hints}: {:?}", target.linux().map(|linux| &linux.evidence));
            check(&target, age, hints);
        }
    }
}

#[test]
fn a_machine_without_a_clock_begins_in_1970() {
    for age in AGES {
        for (since, wanted) in [(CLOCK.1, Some((0, CLOCK.1))), (CLOCK.1 + 2, None)] {
            let mut machine = Machine::new(age, 5);
            let values = [("offs_boot", 0), ("offs_real", 0), ("xtime_sec", CLOCK.1), ("ktime_sec", since)];
            for (member, value) in values {
                let place = machine.places(&format!("timekeeper.{member}"))[0];
                machine.poke(place, value);
            }
            let target = target(machine.elf(true));
            let linux = target.linux().unwrap();
            assert_eq!(linux.boot_time_ns().zip(linux.uptime()), wanted, "{age:?}");
        }
    }
}

fn check(target: &Target, age: Age, hints: bool) {
    let all = |name: &str| Answer::of(target, name, None);
    let kernel = all("kernel");
    assert_eq!(kernel.rows.len(), 1, "{:?}", kernel.notes);
    let shown = kernel.show(&["release", "banner", "uptime", "command_line", "taint"]);
    let banner = BANNER.trim_end();
    assert_eq!(shown[0], words(&[&"6.66.0-built", &banner, &CLOCK.1, &COMMAND_LINE, &(1u64 << 12)]));
    assert_eq!(target.linux().unwrap().boot_time_ns(), Some(CLOCK.0 as i64 * 1_000_000_000));

    let log: Vec<Vec<String>> = LOG
        .iter()
        .map(|(ns, level, text)| words(&[&format!("{}.{:06}", ns / 1_000_000_000, ns / 1000 % 1_000_000), level, text]))
        .collect();
    assert_eq!(all("kernel_log").show(&["time", "level", "text"]), log);

    let processes = all("processes");
    assert_eq!(processes.notes, [""; 0]);
    let wanted: Vec<Vec<String>> = PROCESSES
        .iter()
        .map(|plan| {
            let exe = plan.exe.unwrap_or_default();
            let line = plan.args.join(" ");
            words(&[&plan.pid, &plan.ppid, &plan.uid, &plan.comm, &plan.state, &exe, &line, &plan.exe.is_none()])
        })
        .collect();
    assert_eq!(processes.show(&["pid", "ppid", "uid", "comm", "state", "exe", "cmdline", "kernel_thread"]), wanted);

    let modules: Vec<Vec<String>> =
        MODULES.iter().map(|(name, base, size, taints)| words(&[name, &format!("{base:#x}"), size, taints])).collect();
    assert_eq!(all("kernel_modules").show(&["name", "base", "size", "taints"]), modules);

    let mounts: Vec<Vec<String>> = MOUNTS.iter().map(|(a, b, c, d)| words(&[a, b, c, d])).collect();
    let shown = all("mounts");
    assert_eq!((shown.show(&["source", "target", "fstype", "options"]), shown.notes), (mounts, Vec::new()));

    files(target);
    regions(target);
    stacks(target, age, hints);
}

fn files(target: &Target) {
    let shown = Answer::of(target, "open_files", None);
    let mut wanted = Vec::new();
    for plan in PROCESSES {
        for (fd, path) in plan.files.iter().enumerate() {
            let kind = match *path {
                path if path.starts_with("socket") => "socket",
                "/dev/console" => "chr",
                _ => "file",
            };
            wanted.push(words(&[&plan.pid, &fd, path, &kind, &false]));
        }
    }
    assert_eq!((shown.show(&["pid", "fd", "path", "kind", "deleted"]), shown.notes), (wanted, Vec::new()));
    let shown = Answer::of(target, "sockets", None);
    let wanted: Vec<Vec<String>> = SOCKETS.iter().map(|(a, b, c, d, e)| words(&[&57, a, b, c, d, e])).collect();
    let held: Vec<Vec<String>> = shown.show(&["pid", "family", "protocol", "local", "remote", "state"]);
    assert_eq!(held, wanted, "{:?}", shown.notes);
}

fn regions(target: &Target) {
    let shown = Answer::of(target, "process_regions", None);
    let mut wanted = Vec::new();
    let mut variables = Vec::new();
    for plan in PROCESSES {
        for (start, end, perms, path) in plan.regions {
            let path = path.unwrap_or_default();
            wanted.push(words(&[&plan.pid, &format!("{start:#x}"), &format!("{end:#x}"), perms, &path]));
        }
        variables.extend(plan.env.iter().map(|(name, value)| words(&[&plan.pid, name, value])));
    }
    assert_eq!((shown.show(&["pid", "start", "end", "perms", "path"]), shown.notes), (wanted, Vec::new()));
    assert_eq!(Answer::of(target, "environment", None).show(&["pid", "name", "value"]), variables);
}

fn stacks(target: &Target, age: Age, hints: bool) {
    let shown = |pid: u32, tid: u32| {
        let frames = Answer::of(target, "kernel_frames", Some(("pid", pid)));
        let all = frames.show(&["tid", "function", "module"]);
        let own = all.into_iter().filter(|row| row[0] == tid.to_string());
        own.map(|row| (row[1].clone(), row[2].clone())).collect::<Vec<_>>()
    };
    for plan in PROCESSES {
        let frames: Vec<String> = shown(plan.pid, plan.pid).into_iter().map(|(function, _)| function).collect();
        assert_eq!(frames, plan.stack, "{age:?} {}", plan.pid);
    }
    let worker = shown(57, 58);
    assert_eq!(worker.iter().map(|(function, _)| function.as_str()).collect::<Vec<_>>(), WORKER_STACK);
    assert_eq!(worker[2].1, "testmod");
    if hints {
        let idle: Vec<String> = shown(0, 0).into_iter().map(|(function, _)| function).collect();
        assert_eq!(idle, IDLE_STACK);
    }
    let blocked = Answer::of(target, "blocked_tasks", None);
    let columns = ["tid", "state", "seconds", "function", "lock", "lock_name", "holder_tid", "holder_comm", "deadlock"];
    let shown = blocked.show(&columns);
    assert_eq!(shown.len(), 1, "{:?}", blocked.notes);
    assert_eq!(shown[0], words(&[&80, &'D', &90, &"mutex_user+0x10", &"mutex", &"test_mutex", &57, &"server", &false]));
}
