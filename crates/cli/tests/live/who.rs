//! Whom to capture, and what is said when it cannot be.

use crate::lab::{
    PATIENCE, afterimage, call, capture_by, capture_command, folder, is_root, lasting_changes, names, settled, soak,
    state, ways,
};
use afterimage_testkit::live::{Core, Live, Program, State, field, program};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const USAGE: i32 = 2;
const PERMISSION: i32 = 4;
const VANISHED: i32 = 5;

fn status(pid: u32, name: &str) -> String {
    field(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap(), name).unwrap_or_default()
}

/// A failed capture leaves no file, not even a hidden one.
#[track_caller]
fn refused(pid: u32, statuses: &[i32], words: &[&str]) {
    let place = folder();
    call(&mut capture_command(pid, &[], &place.path().join("dump"))).failed(statuses, words);
    assert!(names(place.path()).is_empty(), "{:?}", names(place.path()));
}

#[test]
fn no_such_process() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    refused(child.id(), &[VANISHED], &[&child.id().to_string()]);
}

#[test]
fn what_is_no_number_is_wrong_use() {
    let output = crate::lab::run(afterimage().args(["capture", "something"]));
    assert_eq!(output.status.code(), Some(USAGE));
    let output = crate::lab::run(afterimage().args(["capture"]));
    assert_eq!(output.status.code(), Some(USAGE));
}

#[test]
fn a_zombie() {
    let mut child = Command::new("true").spawn().unwrap();
    while !status(child.id(), "State").starts_with('Z') {
        std::thread::sleep(Duration::from_millis(1));
    }
    refused(child.id(), &[VANISHED], &["zombie"]);
    child.wait().unwrap();
}

/// A process whose first thread has ended is no zombie: the others are the process.
#[test]
fn one_whose_first_thread_has_ended() {
    let place = folder();
    for way in ways() {
        let file = place.path().join(way);
        let mut still = Live::start(Program::Still, &["--threads", "4"]).unwrap();
        let pid = still.pid();
        let _ = still.ask("retire").unwrap();
        let begin = Instant::now();
        while !status(pid, "State").starts_with('Z') {
            assert!(begin.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
        let said = call(&mut capture_command(pid, &["--compress", "none"], &file)).done();
        assert_eq!(said["pid"].as_u64(), Some(u64::from(pid)), "{way}");
        assert!(said["stored_bytes"].as_u64().unwrap_or(0) > 1 << 20, "{way}: {said}");
        let core = Core::open(&file).unwrap();
        assert_eq!(core.threads().len(), 4, "{way}: {said}");
    }
}

#[test]
fn a_kernel_thread() {
    // kthreadd is 2, unless this is a process namespace of its own.
    let text = std::fs::read_to_string("/proc/2/status").unwrap_or_default();
    let kernel = field(&text, "Name").is_some_and(|name| name == "kthreadd");
    if !kernel {
        eprintln!("no kernel threads are visible here: not tested");
        return;
    }
    refused(2, &[USAGE, 3, PERMISSION, VANISHED], &["kernel"]);
}

#[test]
fn one_under_a_debugger() {
    let still = Live::start(Program::Still, &["--threads", "2"]).unwrap();
    let pid = i32::try_from(still.pid()).unwrap();
    // SAFETY: ptrace with this request takes no pointers; the process is our child.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) }, 0);
    refused(still.pid(), &[PERMISSION], &["trac"]);
    // It still is ours, and runs.
    // SAFETY: gettid takes nothing and cannot fail.
    let us = unsafe { libc::gettid() };
    assert_eq!(status(still.pid(), "TracerPid"), us.to_string());
}

/// A copy of the program that every user may run, in a folder that every user may write.
fn for_everybody(place: &Path) -> PathBuf {
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let copy = place.join("afterimage");
    std::fs::copy(env!("CARGO_BIN_EXE_afterimage"), &copy).unwrap();
    open(&copy, 0o755);
    open(place, 0o777);
    copy
}

#[test]
fn another_users_process_is_not_permitted() {
    if !is_root() || !crate::lab::can_use("setpriv") {
        return;
    }
    let place = folder();
    let ours = for_everybody(place.path());
    let mut busy = Live::start(Program::Busy, &[]).unwrap();
    let before = state(&mut busy);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(ours).args(["capture", "--json"]);
    command.arg(busy.pid().to_string()).arg("-o").arg(place.path().join("dump")).env("NO_COLOR", "1");
    let failed = call(&mut command);
    failed.failed(&[PERMISSION], &[&busy.pid().to_string()]);
    assert!(failed.error.contains("CAP_SYS_PTRACE"), "{}", failed.error);
    assert_eq!(names(place.path()), ["afterimage"]);
    assert_eq!(busy.harm().unwrap(), Vec::<String>::new());
    assert_eq!(lasting_changes(&mut busy, &before), Vec::<String>::new());
}

/// Without any privilege a process of the same user can be captured, where Yama lets it.
#[test]
fn a_user_captures_a_process_of_his_own() {
    if !is_root() || !crate::lab::can_use("setpriv") {
        return;
    }
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if !matches!(scope.trim(), "" | "0") {
        eprintln!("Yama's ptrace_scope is {}: not tested", scope.trim());
        return;
    }
    let place = folder();
    let ours = for_everybody(place.path());
    let copy = place.path().join("busy");
    std::fs::copy(program(Program::Busy).unwrap(), &copy).unwrap();
    let user = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program).env("NO_COLOR", "1");
        command.current_dir(place.path());
        command
    };
    // A set-uid exec clears the death signal and "dumpable"; setpriv execs after it has dropped, which sets both anew.
    let mut busy = Live::start_as(Program::Busy, user(&copy)).unwrap();
    let before = state(&mut busy);
    for way in ways() {
        let to = place.path().join(format!("dump-{way}"));
        let mut command = user(&ours);
        command.args(["capture", "--json", "--how", way, &busy.pid().to_string()]).arg("-o").arg(&to);
        let said = call(&mut command).done();
        let reasons = said["fallback"].as_array().map_or(0, Vec::len);
        assert!(said["how"] == way || reasons > 0, "{said}");
        assert!(to.is_file());
        assert_eq!(busy.harm().unwrap(), Vec::<String>::new(), "{way}");
        assert_eq!(lasting_changes(&mut busy, &before), Vec::<String>::new(), "{way}");
    }
}

/// It dies while it is being captured: an error or a whole dump, never half a one.
#[test]
fn one_that_exits_half_way() {
    let mut vanished = 0;
    let ways = ways();
    for round in 0..12u32 {
        let place = folder();
        let file = place.path().join("dump");
        let way = ways[round as usize % ways.len()];
        let ticker = Live::start(Program::Ticker, &["--size", "256M"]).unwrap();
        let mut command = capture_command(ticker.pid(), &["--how", way, "--compress", "none"], &file);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(round * 15)));
        ticker.signal(libc::SIGKILL);
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => assert!(Core::open(&file).is_ok(), "{way}"),
            Some(VANISHED) => {
                vanished += 1;
                assert_eq!(error.lines().count(), 1, "{way}: {error}");
                assert!(names(place.path()).is_empty(), "{way}: {:?}", names(place.path()));
            }
            other => panic!("{way}: {other:?}: {error}"),
        }
    }
    assert!(vanished > 0, "all were captured before they died: nothing was tested");
}

#[test]
fn a_threads_number_means_its_process() {
    let place = folder();
    let file = place.path().join("dump");
    let still = Live::start(Program::Still, &["--threads", "4"]).unwrap();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", still.pid())).unwrap();
    let tids: Vec<u32> = tasks.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    let tid = tids.into_iter().find(|tid| *tid != still.pid()).unwrap();
    let said = call(&mut capture_command(tid, &["--compress", "none"], &file)).done();
    assert_eq!(said["pid"].as_u64(), Some(u64::from(still.pid())));
    assert_eq!(Core::open(&file).unwrap().threads().len(), 5);
}

/// Starts a copy of `still` that has a name like no other process's.
fn named(place: &Path, name: &str) -> Live {
    let copy = place.join(name);
    if !copy.exists() {
        std::fs::copy(program(Program::Still).unwrap(), &copy).unwrap();
    }
    let mut command = Command::new(copy);
    command.args(["--threads", "1"]);
    Live::start_as(Program::Still, command).unwrap()
}

#[test]
fn by_name() {
    let place = folder();
    let file = place.path().join("dump");
    // Names of processes have 15 characters at most.
    let name = format!("s{:x}", std::process::id());
    let by_name = || {
        let mut command = afterimage();
        command.args(["capture", "--json", "--name", &name]).arg("-o").arg(&file);
        call(&mut command)
    };
    by_name().failed(&[VANISHED], &[&name]);
    let first = named(place.path(), &name);
    assert_eq!(by_name().done()["pid"].as_u64(), Some(u64::from(first.pid())));
    std::fs::remove_file(&file).unwrap();
    let second = named(place.path(), &name);
    // Both are named, so that one can be chosen.
    by_name().failed(&[USAGE], &[&first.pid().to_string(), &second.pid().to_string()]);
    assert!(!file.exists());
}

#[test]
fn a_stopped_process_stays_stopped() {
    let place = folder();
    let file = place.path().join("dump");
    let mut busy = Live::start(Program::Busy, &["--stopped", "--altstack"]).unwrap();
    let stopped = |pid| status(pid, "State").starts_with('T');
    while !stopped(busy.pid()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // A child that it had may still run, and end.
    let before = settled(&busy);
    for way in ways() {
        capture_by(way, busy.pid(), &["--compress", "none"], &file);
        assert!(Core::open(&file).unwrap().threads().len() > 10, "{way}");
        std::thread::sleep(Duration::from_millis(50));
        assert!(stopped(busy.pid()), "{way}: it is {}", status(busy.pid(), "State"));
        let changes = before.differences(&State::of(busy.pid(), busy.mark()).unwrap());
        assert!(changes.is_empty(), "{way}: {changes:#?}");
    }
    busy.signal(libc::SIGCONT);
    // The stop of a shell is what makes epoll_wait fail, not the capture.
    let harm = busy.harm().unwrap();
    assert!(harm.iter().all(|harm| harm.starts_with("EPOLL_INTERRUPTED")), "{harm:#?}");
}

/// The dumps of a parent and its child that `pair` says are of one instant.
fn one_instant_of_both(shown: &str, pair: &Live, parent: &Path, child: &Path) {
    let (parent, child) = (Core::open(parent).unwrap(), Core::open(child).unwrap());
    let at = |name: &str| pair.ready[name].as_u64().unwrap();
    let shared = |core: &Core| (core.u64_at(at("shared")).unwrap(), core.u64_at(at("shared") + 8).unwrap());
    assert_eq!(shared(&parent), shared(&child), "{shown}: the page that they share differs");
    let (counted, _) = shared(&parent);
    let seen = child.u64_at(at("seen")).unwrap();
    let answered = parent.u64_at(at("answered")).unwrap();
    assert!(seen <= counted, "{shown}: the child has seen {seen}, and the parent has counted to {counted}");
    assert!(answered <= seen, "{shown}: the parent has the answer {answered}, and the child has seen {seen}");
}

#[test]
fn a_tree_at_one_instant() {
    let pair = Live::start(Program::Pair, &[]).unwrap();
    for way in ways() {
        for _ in 0..soak(5) {
            let place = folder();
            let mut command = afterimage();
            command.args(["capture", "--json", "--how", way, "--compress", "none", "--tree", &pair.pid().to_string()]);
            let done = call(command.arg("-o").arg(place.path()));
            assert_eq!(done.status, Some(0), "{way}: {}", done.error);
            let path = |pid: u64| {
                let line = done.lines.iter().find(|line| line["pid"].as_u64() == Some(pid));
                PathBuf::from(line.unwrap_or_else(|| panic!("{way}: no line of {pid}"))["path"].as_str().unwrap())
            };
            one_instant_of_both(way, &pair, &path(pair.pid().into()), &path(pair.ready["child"].as_u64().unwrap()));
        }
    }
    assert!(pair.quit().unwrap().success());
}

/// A control group of its own below the unified hierarchy, gone with this value.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let root = roots.iter().map(Path::new).find(|root| root.join("cgroup.controllers").exists())?;
        let group = root.join(format!("afterimage-test-{}", std::process::id()));
        std::fs::create_dir(&group).ok()?;
        Some(Self(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_control_group_at_one_instant() {
    let Some(group) = is_root().then(Group::new).flatten() else {
        eprintln!("no control group can be made here: not tested");
        return;
    };
    let mut pair = Live::start(Program::Pair, &[]).unwrap();
    let child = pair.ready["child"].as_u64().unwrap();
    for pid in [u64::from(pair.pid()), child] {
        std::fs::write(group.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    for way in ways() {
        let place = folder();
        let mut command = afterimage();
        command.args(["capture", "--json", "--how", way, "--compress", "none", "--cgroup"]).arg(&group.0);
        let done = call(command.arg("-o").arg(place.path()));
        assert_eq!(done.status, Some(0), "{way}: {}", done.error);
        let path = |pid: u64| {
            let line = done.lines.iter().find(|line| line["pid"].as_u64() == Some(pid));
            PathBuf::from(line.unwrap_or_else(|| panic!("{way}: no line of {pid}"))["path"].as_str().unwrap())
        };
        one_instant_of_both(way, &pair, &path(pair.pid().into()), &path(child));
        let frozen = std::fs::read_to_string(group.0.join("cgroup.freeze")).unwrap_or_default();
        assert_eq!(frozen.trim(), "0", "{way}: it stays frozen");
    }
    assert_eq!(pair.ask("check").unwrap()["child_lives"], true);
    assert!(pair.quit().unwrap().success());
}

/// Seen from the host: other process numbers, another root with files that the host has not.
#[test]
fn a_process_in_a_container() {
    if !is_root() {
        return;
    }
    let place = folder();
    let root = place.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let still = program(Program::Still).unwrap();
    // A root in a file system that only the container has mounted, with the program under another name.
    let script = format!(
        "mount -t tmpfs none {root} && mkdir {root}/tmp && cp {still} {root}/inside \
         && ldd {still} | grep -o '/[^ ]*' | sort -u | while read -r file; do mkdir -p {root}/${{file%/*}} && cp $file {root}/$file; done \
         && exec chroot {root} /inside --threads 3",
        root = root.display(),
        still = still.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "sh", "-c", &script]);
    let mut live = Live::start_as(Program::Still, command).unwrap();
    assert_eq!(live.ready["pid"].as_u64(), Some(1), "its number in its own namespace");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", live.pid())).unwrap();
    let pid: u32 = children.trim().parse().unwrap();
    assert!(!root.join("inside").exists(), "the host sees into the container's root");
    for way in ways() {
        let file = place.path().join(way);
        // The first process of a container would get a copy as its child: then another way is taken.
        let said = call(&mut capture_command(pid, &["--compress", "none"], &file)).done();
        assert_eq!(said["pid"].as_u64(), Some(u64::from(pid)));
        assert_eq!(Core::open(&file).unwrap().threads().len(), 4);
        let modules = call(afterimage().args(["show", "--json", "--no-network"]).arg(&file).arg("modules")).lines;
        let of = |name: &str| {
            let found = modules.iter().find(|row| row["path"].as_str().is_some_and(|path| path.ends_with(name)));
            found.unwrap_or_else(|| panic!("{name} is not in {modules:?}"))["build_id"].clone()
        };
        assert!(of("/inside").is_string() && of("/libc.so.6").is_string(), "{modules:?}");
    }
    let _ = live.ask("quit");
}
