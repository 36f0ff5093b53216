//! Whatever the file is, the program ends by itself, soon, in little memory, and with one clear word.
//!
//! A file that is no dump gives exit status 3 and one line; every other one an answer, maybe a partial one, and status 0.
//! Never a panic, never a signal, at most 256 MiB and ten seconds.

mod limits;

use crate::tool::afterimage;
use afterimage_testkit::build_core::{
    CoreBuilder, FileMap, LinkMap, Machine, ProcessInfo, Segment, SigInfo, Thread, sample_core, sample_core_builder,
};
use afterimage_testkit::build_minidump::{
    self, Context, Cpu, Exception, Handle, LinuxFile, MinidumpBuilder, MiscInfo, Module, SystemInfo,
};
use afterimage_testkit::{crashers, hostile};
use limits::{Measured, measured};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MEMORY: u64 = 256 << 20;
/// Of the processor: a test machine has other work. It is the promise for one core, and this is no release build.
const TIME: Duration = Duration::from_secs(10);
/// After this it hangs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ways to ask; all are asked of each small file, but only the first of a packed one, for which each must unpack it.
const QUESTIONS: &[&[&str]] = &[
    &["explain", "FILE"],
    &["explain", "FILE", "--json"],
    &["info", "FILE"],
    &["show", "FILE", "threads", "--csv"],
    &["show", "FILE", "frames"],
    &["show", "FILE", "modules"],
    &["show", "FILE", "regions"],
    &["show", "FILE", "notes", "--json"],
    &["convert", "FILE", "--output=-", "--format=minidump"],
    &["convert", "FILE", "--output=-", "--format=elf"],
    &["convert", "FILE", "--output=-", "--format=minidump", "--type=small", "--compress=zstd"],
];

fn ask(question: &[&str], file: &Path) -> Measured {
    let words = question.iter().map(|word| if *word == "FILE" { file.as_os_str() } else { word.as_ref() });
    measured(afterimage().args(words), PATIENCE)
}

/// What is wrong with an answer; `None` if nothing is. A table may have no rows; a report always has words.
fn wrong(run: &Measured, table: bool) -> Option<String> {
    let lines = run.stderr.lines().count();
    let fault = if run.hung {
        format!("did not end within {PATIENCE:?}")
    } else if run.work > TIME {
        format!("worked for {:?}", run.work)
    } else if run.peak > MEMORY {
        format!("needed {} MiB", run.peak >> 20)
    } else {
        match run.status.code() {
            Some(0) if run.stdout.is_empty() && !table => "succeeded and said nothing".to_owned(),
            Some(0) => return None,
            Some(3) if !run.stdout.is_empty() => "failed after it had begun to answer".to_owned(),
            Some(3) if lines == 1 => return None,
            Some(3) => format!("failed with {lines} lines"),
            _ => run.status.to_string(),
        }
    };
    Some(format!("{fault}: {}", run.stderr.chars().take(600).collect::<String>().trim_end()))
}

/// The costliest runs, for the one who reads the test's output.
#[derive(Default)]
struct Worst {
    time: (Duration, String),
    peak: (u64, String),
}

impl Worst {
    fn see(&mut self, name: &str, run: &Measured) {
        if run.work > self.time.0 {
            self.time = (run.work, name.to_owned());
        }
        if run.peak > self.peak.0 {
            self.peak = (run.peak, name.to_owned());
        }
    }
}

/// Asks all questions of all files, two at a time, and gives all that is wrong.
#[must_use]
fn faults(files: &[PathBuf], questions: &[&[&str]]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let (faults, worst) = (Mutex::new(Vec::new()), Mutex::new(Worst::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let packed = file.file_name().unwrap().as_encoded_bytes().starts_with(b"compressed--");
                    for question in questions.iter().take(if packed { 1 } else { usize::MAX }) {
                        let run = ask(question, file);
                        let name = format!("{} of {}", question.join(" "), file.file_name().unwrap().display());
                        worst.lock().unwrap().see(&name, &run);
                        let unknown = name.contains("not-a-dump--") && run.status.code() != Some(3);
                        let fault = wrong(&run, question[0] == "show")
                            .or(unknown.then(|| format!("took no dump for one: {}", run.status)));
                        if let Some(fault) = fault {
                            faults.lock().unwrap().push(format!("{name}: {fault}"));
                        }
                    }
                }
            });
        }
    });
    let (faults, worst) = (faults.into_inner().unwrap(), worst.into_inner().unwrap());
    println!("longest: {:?}, {}", worst.time.0, worst.time.1);
    println!("largest: {} MiB, {}", worst.peak.0 >> 20, worst.peak.1);
    faults
}

#[track_caller]
fn hold_to_promise(files: &[PathBuf], questions: &[&[&str]]) {
    let faults = faults(files, questions);
    assert!(faults.is_empty(), "{} of {} files:\n{}", faults.len(), files.len(), faults.join("\n"));
}

/// Has another process of this test's program write files, so that this one stays small. `which`: `small`, or a name.
fn make(folder: &Path, which: &str) -> Vec<PathBuf> {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "hostile::write_files_for_another_test"])
        .env("HOSTILE_FOLDER", folder)
        .env("HOSTILE_NAME", which)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
#[ignore = "a helper of the tests beside it"]
fn write_files_for_another_test() {
    let (Some(folder), Ok(which)) = (std::env::var_os("HOSTILE_FOLDER"), std::env::var("HOSTILE_NAME")) else { return };
    if which == "small" {
        hostile::write_hostile(Path::new(&folder), false).unwrap();
    } else {
        let input = hostile::all().into_iter().find(|input| input.name() == which).unwrap();
        fs::write(Path::new(&folder).join(which.replace('/', "--")), input.bytes()).unwrap();
    }
}

#[test]
fn hostile_files_get_an_answer_or_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let files = make(folder.path(), "small");
    assert!(files.len() > 300, "only {} files", files.len());
    hold_to_promise(&files, QUESTIONS);
}

#[test]
fn large_hostile_files_too() {
    let mut wrong = Vec::new();
    for input in hostile::all().iter().filter(|input| input.is_large()) {
        let folder = tempfile::tempdir().unwrap();
        wrong.extend(faults(
            &make(folder.path(), input.name()),
            &[&["explain", "FILE"], &["explain", "FILE", "--json"]],
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Exit status 3, nothing on stdout, and one line that holds these words.
#[track_caller]
fn refused(path: &Path, words: &str) {
    for question in [&["explain", "FILE"][..], &["info", "FILE"], &["show", "FILE", "threads"]] {
        let run = ask(question, path);
        assert_eq!(wrong(&run, false), None, "{question:?} {}", path.display());
        assert_eq!(run.status.code(), Some(3), "{question:?} {}: {}", path.display(), run.stderr);
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), "is a directory");
    refused(Path::new("/dev/null"), "is a special file");
    refused(Path::new("/dev/zero"), "is a special file");
    refused(&folder.path().join("nowhere"), "No such file");
    // Nobody writes into it: opening it would wait for ever.
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    refused(&fifo, "is a special file");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    refused(&link, "symbolic link");
}

#[test]
fn a_file_that_may_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (core, program) = (folder.path().join("core"), folder.path().join("afterimage"));
    fs::write(&core, sample_core()).unwrap();
    fs::set_permissions(&core, fs::Permissions::from_mode(0o0)).unwrap();
    // By another process: a test beside this one would hand the file, open for writing, to its child ("text file busy").
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_afterimage")).arg(&program).status().unwrap().success());
    let mut command = Command::new(&program);
    command.arg("explain").arg(&core).stdin(Stdio::null());
    // Root may read everything.
    if fs::File::open(&core).is_ok() {
        command.uid(65534).gid(65534).current_dir("/");
    }
    let run = measured(&mut command, PATIENCE);
    assert_eq!(run.status.code(), Some(4), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("ermission denied"), "{}", run.stderr);
}

/// A core that the kernel wrote, cut wherever a page may end: what is there is shown, and the rest is said to be missing.
#[test]
fn a_core_cut_at_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let built = crashers::build(crashers::find("null_write").unwrap(), &crashers::default_dir()).unwrap();
    let whole = fs::read(crashers::kernel_core(&built, folder.path()).unwrap().core).unwrap();
    let cuts = folder.path().join("cuts");
    fs::create_dir(&cuts).unwrap();
    let mut files = Vec::new();
    for part in hostile::prefixes(&whole, 4096).filter(|part| part.len() < whole.len()) {
        files.push(cuts.join(format!("{:09}", part.len())));
        fs::write(files.last().unwrap(), part).unwrap();
    }
    hold_to_promise(&files, &[&["explain", "FILE"], &["info", "FILE"]]);
    let (mut answers, mut told) = (0, 0);
    for file in &files {
        let run = ask(&["show", "FILE", "dump", "--json"], file);
        let text = String::from_utf8_lossy(&run.stdout);
        answers += usize::from(run.status.code() == Some(0));
        told += usize::from(text.contains("\"complete\":false"));
    }
    assert!(answers + 1 >= files.len(), "only {answers} of {} cut files were read", files.len());
    assert_eq!(told, answers, "some cut files are said to be whole");
}

const EVIL: &str = "\u{1b}[31mevil\u{1b}]0;title\u{7}\r\n\u{9b}2J\u{202e}\u{7f}";

fn evil_core() -> Vec<u8> {
    let path = format!("/tmp/{EVIL}.so");
    let map = LinkMap::new(0x7f70_0000_0000).module(0x7f60_0000_0000, 0x7f60_0000_0100, &path);
    sample_core_builder()
        .process(&ProcessInfo::new(7, EVIL, EVIL))
        .thread(Thread::new(8).register("rip", 0x7f60_0000_0010).register("rsp", 0x7f50_0000_0000))
        .files(&FileMap::new(4096).file(0x7f60_0000_0000, 0x7f60_0000_1000, 0, &path))
        .note(EVIL, 77, EVIL.as_bytes())
        .segment(map.segment())
        .segment(Segment::new(0x7f60_0000_0000, b"\x7fELF".repeat(1024)))
        .build()
}

/// A process whose start block holds the arguments and the environment, with what must not be shown as it is.
fn evil_environment() -> Vec<u8> {
    let stack = 0x7ffd_0000_0000_u64;
    let strings = format!("./{EVIL}\0NAME={EVIL}\0/bin/{EVIL}\0");
    let (name, value) = (stack + 0x100, stack + 0x100 + EVIL.len() as u64 + 3);
    let words = [1, name, 0, value, 0, 31, value, 6, 4096, 0, 0];
    let mut block: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    block.resize(0x100, 0);
    block.extend(strings.as_bytes());
    block.resize(4096, 0);
    CoreBuilder::new(Machine::X86_64)
        .thread(Thread::new(1).signal(6).register("rip", 0x10).register("rsp", stack))
        .process(&ProcessInfo::new(1, "x", "x"))
        .siginfo(&SigInfo::fault(11, 1, 0x10))
        .auxv(&[(31, value), (6, 4096)])
        .segment(Segment::new(stack, block))
        .build()
}

fn evil_minidump() -> Vec<u8> {
    let context = Context::amd64().set("rip", 0x40_0100).set("rsp", 0x9000);
    MinidumpBuilder::new()
        .system(&SystemInfo::linux(Cpu::Amd64, EVIL))
        .misc(&MiscInfo { build_string: Some(EVIL.into()), ..MiscInfo::default() })
        .thread(build_minidump::Thread::new(1).context(&context).stack(0x9000, vec![0; 64]).name(EVIL))
        .module(Module::new(0x40_0000, 0x1000, EVIL).rsds("00112233445566778899aabbccddeeff", 1, EVIL))
        .handle(Handle { type_name: Some(EVIL.into()), object_name: Some(EVIL.into()), ..Handle::default() })
        .exception(&Exception::new(1, 11, 0x18, &context))
        .comment_a(EVIL)
        .assertion(EVIL, EVIL, EVIL, 1, 1)
        .linux_file(LinuxFile::CmdLine, &format!("{EVIL}\0{EVIL}\0"))
        .linux_file(LinuxFile::Environ, &format!("A={EVIL}\0"))
        .linux_file(LinuxFile::LsbRelease, &format!("DISTRIB_DESCRIPTION={EVIL}\n"))
        .linux_file(LinuxFile::Status, &format!("Name:\t{EVIL}\nPid:\t1\n"))
        .crashpad(&[(EVIL, EVIL)], &[(0, &[(EVIL, 1, EVIL.as_bytes())])])
        .mac_crash_info(&[(EVIL, EVIL)])
        .soft_errors(EVIL)
        .build()
}

/// A dump is an attacker's text: nothing in it may move the cursor, set a colour, or turn the line round.
#[test]
fn nothing_in_a_dump_steers_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let tables = afterimage().args(["tables", "--json"]).output().unwrap();
    let tables = String::from_utf8(tables.stdout).unwrap();
    let mut names: Vec<String> = tables
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["table"].as_str().map(str::to_owned))
        .collect();
    names.dedup();
    assert!(names.len() > 10, "{names:?}");
    let mut shown = 0;
    for (name, bytes) in [("core", evil_core()), ("environment", evil_environment()), ("minidump", evil_minidump())] {
        let file = folder.path().join(format!("{name} {EVIL}"));
        fs::write(&file, bytes).unwrap();
        let mut questions = vec![vec!["explain"], vec!["explain", "-v"], vec!["info"]];
        questions.extend(names.iter().filter(|name| *name != "memory").map(|name| vec!["show", name]));
        for question in &questions {
            for shape in [&[][..], &["--csv"], &["--json"], &["--color", "always"]] {
                // Only a table can be CSV.
                if shape == ["--csv"] && question[0] != "show" {
                    continue;
                }
                let mut command = afterimage();
                command.arg(question[0]).arg(&file).args(&question[1..]).args(shape);
                // Whether output goes to a terminal must not matter for this.
                let run = measured(command.env_remove("NO_COLOR").env("TERM", "xterm"), PATIENCE);
                assert_eq!(run.status.code(), Some(0), "{question:?} {shape:?} of {name}: {}", run.stderr);
                for text in [String::from_utf8(run.stdout).unwrap(), run.stderr] {
                    shown += text.matches("evil").count();
                    // Our own colours end in `m`, and have no brackets or bells.
                    let mut rest = &*text;
                    while shape == ["--color", "always"]
                        && let Some((before, after)) = rest.split_once("\u{1b}[")
                    {
                        assert!(harmless(before), "{question:?} {shape:?} of {name}: {before:?}");
                        let (colour, after) = after.split_once('m').unwrap();
                        assert!(colour.bytes().all(|b| b.is_ascii_digit() || b == b';'), "{colour:?}");
                        assert!(!after.starts_with("evil"), "{question:?} {shape:?} of {name}: the dump's own colour");
                        rest = after;
                    }
                    assert!(harmless(rest), "{question:?} {shape:?} of {name}: {rest:?}");
                }
            }
        }
    }
    assert!(shown > 200, "the names were shown only {shown} times");
}

fn harmless(text: &str) -> bool {
    !text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c))
}
