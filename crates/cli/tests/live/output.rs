//! When the dump cannot be written: one clear line, no half file, and a target that is well.

use crate::lab::{
    afterimage, call, can_use, capture_command, folder, is_root, lasting_changes, names, run, state, ways,
};
use afterimage_testkit::live::{Core, Live, Program};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// No room, or output failed.
const OUTPUT: i32 = 6;

/// A target with more memory than any of the small places here, and its state.
fn target() -> (Live, afterimage_testkit::live::State) {
    let mut busy = Live::start(Program::Busy, &["--memory", "32M", "--deadline", "600"]).unwrap();
    let before = state(&mut busy);
    (busy, before)
}

#[track_caller]
fn is_well(busy: &mut Live, before: &afterimage_testkit::live::State) {
    assert_eq!(busy.harm().unwrap(), Vec::<String>::new());
    assert_eq!(lasting_changes(busy, before), Vec::<String>::new());
}

/// A shell that does something before it becomes afterimage.
fn after(script: &str, pid: u32, way: &str, to: &Path) -> Command {
    let capture = capture_command(pid, &["--how", way, "--compress", "none"], to);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{script}; exec \"$@\"")).arg("sh").arg(capture.get_program()).args(capture.get_args());
    shell.env("NO_COLOR", "1");
    shell
}

#[test]
fn a_full_disk_leaves_no_half_file() {
    if !is_root() {
        return;
    }
    let (mut busy, before) = target();
    for way in ways() {
        let place = folder();
        let path = place.path().to_str().unwrap();
        // In a mount namespace of its own, and gone with it; what is left there is said before.
        let capture = capture_command(busy.pid(), &["--how", way, "--compress", "none"], &place.path().join("dump"));
        let mut shell = Command::new("unshare");
        let script =
            format!("mount -t tmpfs -o size=4m none {path} || exit 99; \"$@\"; code=$?; ls -A {path}; exit $code");
        shell.args(["-m", "sh", "-c", &script, "sh"]).arg(capture.get_program()).args(capture.get_args());
        let output = run(shell.env("NO_COLOR", "1"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(OUTPUT), "{way}: {error}");
        assert_eq!(error.lines().count(), 1, "{way}: {error}");
        let says = ["room", "space"].iter().any(|word| error.contains(word));
        assert!(error.starts_with("afterimage: ") && says, "{way}: {error}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{way}: files are left");
        is_well(&mut busy, &before);
    }
}

/// A quota of the file system: of btrfs, since the kernel's own needs a format that many kernels are built without.
#[test]
fn a_quota_leaves_no_half_file() {
    if !is_root() {
        return;
    }
    if !can_use("mkfs.btrfs") || !Path::new("/dev/loop-control").exists() {
        eprintln!("no btrfs or no loop devices here: not tested");
        return;
    }
    let (mut busy, before) = target();
    for way in ways() {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(128 << 20).unwrap();
        let place = folder();
        let capture = capture_command(busy.pid(), &["--how", way, "--compress", "none"], &place.path().join("dump"));
        let script = format!(
            "mkfs.btrfs -q {disk} >&2 && mount -o loop {disk} {path} && btrfs quota enable {path} \
             && btrfs qgroup limit 4M 0/5 {path} || exit 99; exec 2>&3; \"$@\"; code=$?; ls -A {path}; umount {path}; exit $code",
            disk = disk.path().display(),
            path = place.path().display()
        );
        let mut shell = Command::new("unshare");
        shell.args(["-m", "sh", "-c", &format!("exec 3>&2 2>/dev/null; {script}"), "sh"]);
        let output = run(shell.arg(capture.get_program()).args(capture.get_args()).env("NO_COLOR", "1"));
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(99) {
            eprintln!("btrfs cannot be mounted here: not tested");
            return;
        }
        assert_eq!(output.status.code(), Some(OUTPUT), "{way}: {error}");
        assert_eq!(error.lines().count(), 1, "{way}: {error}");
        assert!(error.starts_with("afterimage: ") && error.contains("room"), "{way}: {error}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{way}: files are left");
        is_well(&mut busy, &before);
    }
}

#[test]
fn a_limit_on_file_sizes_leaves_no_half_file() {
    let (mut busy, before) = target();
    for way in ways() {
        let place = folder();
        // Blocks of 512 bytes: 2 MiB.
        let failed = call(&mut after("ulimit -f 4096", busy.pid(), way, &place.path().join("dump")));
        failed.failed(&[OUTPUT], &[]);
        assert!(names(place.path()).is_empty(), "{way}: {:?}", names(place.path()));
        is_well(&mut busy, &before);
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let (mut busy, before) = target();
    let place = folder();
    let path = place.path().join("no-such-folder/dump");
    call(&mut capture_command(busy.pid(), &[], &path)).failed(&[OUTPUT], &["no-such-folder"]);
    is_well(&mut busy, &before);
}

#[test]
fn a_full_standard_output_is_an_error() {
    let (mut busy, before) = target();
    for way in ways() {
        let mut command = afterimage();
        command.args(["capture", &busy.pid().to_string(), "--how", way, "--compress", "none", "-o", "-"]);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(OUTPUT), "{way}: {error}");
        assert_eq!(error.lines().count(), 1, "{way}: {error}");
        is_well(&mut busy, &before);
    }
}

#[test]
fn a_closed_pipe_is_an_error() {
    let (mut busy, before) = target();
    for way in ways() {
        let mut command = afterimage();
        command.args(["capture", &busy.pid().to_string(), "--how", way, "--compress", "none", "-o", "-"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        let mut some = [0; 1000];
        std::io::Read::read_exact(&mut pipe, &mut some).unwrap();
        assert!(some.starts_with(b"\x7fELF"), "{way}");
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(OUTPUT), "{way}: {error}");
        assert!(error.lines().count() <= 1, "{way}: {error}");
        is_well(&mut busy, &before);
    }
}

/// A dump that goes through a pipe is whole, though nothing can be sought there.
#[test]
fn a_dump_through_a_pipe_is_whole() {
    let (mut busy, before) = target();
    let place = folder();
    let file = place.path().join("dump");
    for way in ways() {
        let mut command = afterimage();
        command.args(["capture", &busy.pid().to_string(), "--how", way, "--compress", "none", "-o", "-"]);
        let output = run(&mut command);
        assert!(output.status.success(), "{way}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&file, &output.stdout).unwrap();
        let core = Core::open(&file).unwrap();
        assert!(core.threads().len() > 10, "{way}");
        is_well(&mut busy, &before);
    }
}

/// Only its owner may read it, and nothing else is left beside it.
#[test]
fn a_dump_is_private_and_alone() {
    let (busy, _) = target();
    for way in ways() {
        let place = folder();
        let file = place.path().join("dump");
        let done = call(&mut after("umask 0", busy.pid(), way, &file)).done();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{way}");
        assert_eq!(names(place.path()), ["dump"], "{way}");
        assert_eq!(done["path"].as_str(), file.to_str(), "{way}");
    }
}

/// Without `-o` it goes into the current folder, under a name that says which process it is.
#[test]
fn a_dump_without_a_name_is_found_by_its_process() {
    let (busy, _) = target();
    let place = folder();
    let mut command = afterimage();
    command.args(["capture", &busy.pid().to_string(), "--json"]).current_dir(place.path());
    let done = call(&mut command).done();
    let names = names(place.path());
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].contains(&busy.pid().to_string()), "{names:?}");
    assert!(done["path"].as_str().unwrap().ends_with(&names[0]), "{done}");
}
