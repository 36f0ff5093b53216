//! Stacks of programs that crash, and of the samples, held against those of gdb and eu-stack.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "stacks/variables.rs"]
mod variables;

use afterimage_dump::{Budget, Virt, open};
use afterimage_target::{Options, Stack, StackEnd, Target, Trust, stack};
use afterimage_testkit::crashers::{self, CRASHERS, kernel_core, kernel_core_of};
use common::{have, samples};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Frames that are compared; a debugger takes its time over a deep recursion.
const MOST: usize = 200;

/// Where a debugger shows another stack, and why ours is not worse.
const KNOWN: &[(&str, &str, &str)] = &[
    ("null_call", "eu-stack", "ends at the wild address"),
    ("wild_jump", "eu-stack", "ends at the wild address or follows a false frame pointer"),
    ("execute_data", "eu-stack", "follows the frame pointer past the caller"),
    ("execute_heap", "eu-stack", "follows the frame pointer past the caller"),
    ("generated_code", "eu-stack", "follows the frame pointer past the caller"),
    ("stack_smashing", "gdb", "takes the overwritten words for frames; we scan to the next real one"),
    ("smashed_return", "gdb", "takes the overwritten words for frames; we scan to the next real one"),
    ("coroutine", "eu-stack", "goes on from makecontext's start to the stack that resumed it"),
    ("coroutine", "gdb", "shows two words above makecontext's start that are no frames"),
    ("no_section_headers", "gdb", "finds no unwind tables without section headers, and guesses"),
    ("rust_stripped", "gdb", "guesses where a stripped run time has no symbols"),
    ("dwp", "gdb", "stops with an error of its own on the package of debug information"),
    ("i386", "eu-stack", "shows the argument count above _start as a frame"),
    ("no_libc", "eu-stack", "shows the argument count above _start as a frame"),
];

fn addresses(stack: &Stack) -> Vec<u64> {
    stack.frames.iter().map(|frame| frame.address.address().0).collect()
}

/// Frame addresses of one thread as eu-stack prints them.
fn of_eu_stack(text: &str, tid: u32) -> Vec<u64> {
    let heading = format!("TID {tid}:");
    let lines = text.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| {
        // The file goes on with other threads, with what the tool complained of, and with what gdb said.
        !["TID ", "-- ", "== "].iter().any(|heading| line.starts_with(heading))
    });
    let frames = lines.filter(|line| line.starts_with('#'));
    frames.filter_map(|line| hex(line.split_whitespace().nth(1)?)).collect()
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

fn eu_stack(program: &Path, core: &Path, tid: u32) -> Vec<u64> {
    let mut command = Command::new("eu-stack");
    command.args(["-n", "400", "--core"]).arg(core).arg("-e").arg(program);
    // Its exit status is not zero where it does not reach the end of every stack.
    let output = command.env_remove("DEBUGINFOD_URLS").stdin(Stdio::null()).output().unwrap();
    of_eu_stack(&String::from_utf8_lossy(&output.stdout), tid)
}

/// Frames that exist in memory, by gdb: neither inlined functions nor the tail calls that it makes up.
fn gdb(program: &Path, core: &Path) -> Vec<u64> {
    let script = "python
f = gdb.newest_frame()
n = 0
while f and n < 200:
  if f.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME): print('PC %#x' % f.pc())
  f = f.older(); n += 1
";
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-iex", "set auto-load off", "-ex", "set backtrace past-main on", "-ex", script]);
    let output = command.arg(program).arg(core).env_remove("DEBUGINFOD_URLS").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| hex(line.strip_prefix("PC ")?)).collect()
}

/// How our stack compares: `same`, `longer`, or what is wrong.
fn compare(ours: &[u64], theirs: &[u64]) -> Result<&'static str, String> {
    let ours = &ours[..ours.len().min(MOST)];
    let theirs = &theirs[..theirs.len().min(MOST)];
    if theirs.is_empty() {
        return Err("it shows nothing".to_owned());
    }
    match ours.iter().zip(theirs).position(|(a, b)| a != b) {
        Some(at) => Err(format!("frame {at} is {:#x}, theirs {:#x}", ours[at], theirs[at])),
        None if ours.len() < theirs.len() => Err(format!("{} frames, theirs {}", ours.len(), theirs.len())),
        None if ours.len() > theirs.len() => Ok("longer"),
        None => Ok("same"),
    }
}

fn open_target(path: &Path, debug_paths: Vec<PathBuf>, use_system_files: bool) -> Target {
    let dump = open(path, &Budget::default()).unwrap();
    let options = Options { debug_paths, use_system_files, ..Options::default() };
    Target::new(dump, options, Budget::default())
}

/// What holds of every stack, however it was found.
fn is_sound(name: &str, stack: &Stack) {
    for (index, frame) in stack.frames.iter().enumerate() {
        assert_eq!(index == 0, frame.trust == Trust::Context, "{name}: frame {index}");
        assert!(frame.registers.pc() == Some(frame.address.address()), "{name}: frame {index}");
        if frame.trust > Trust::CallSite {
            assert!(!frame.why.is_empty(), "{name}: frame {index} does not say why nothing better was found");
        }
    }
}

#[test]
fn crashed_programs_have_the_stacks_that_gdb_and_eu_stack_show() {
    if !have(&["gdb", "eu-stack", "cc", "c++", "clang", "rustc"]) || !cfg!(target_arch = "x86_64") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut worse = Vec::new();
    for crasher in CRASHERS {
        let name = crasher.name;
        let built = crashers::build(crasher, &crashers::default_dir()).unwrap();
        let death = kernel_core(&built, folder.path()).unwrap();
        let target = open_target(&death.core, vec![built.dir.clone()], true);
        let thread = target.crashed_thread().unwrap();
        let stack = target.stack(thread);
        is_sound(name, stack);
        let ours = addresses(stack);
        let tid = target.dump().threads[thread].tid;
        let mut verdicts = Vec::new();
        for (tool, theirs) in
            [("eu-stack", eu_stack(&built.program, &death.core, tid)), ("gdb", gdb(&built.program, &death.core))]
        {
            match compare(&ours, &theirs) {
                Ok(word) => verdicts.push(format!("{tool} {word}")),
                Err(what) => match KNOWN.iter().find(|known| (known.0, known.1) == (name, tool)) {
                    Some(known) => verdicts.push(format!("{tool} better ({})", known.2)),
                    None => worse.push(format!("{name}: {tool}: {what}\n  ours   {ours:x?}\n  theirs {theirs:x?}")),
                },
            }
        }
        println!("{name:28} {:5} frames, {}", ours.len(), verdicts.join(", "));
        if !matches!(stack.end, StackEnd::Outermost) {
            worse.push(format!("{name}: ends with {:?}", stack.end));
        }
        std::fs::remove_dir_all(&death.dir).unwrap();
    }
    assert!(worse.is_empty(), "{}", worse.join("\n"));
}

/// A call of nothing leaves all registers as they were, so the caller's frame knows what it called with.
#[test]
fn the_caller_of_null_knows_every_register() {
    if !have(&["cc"]) || !cfg!(target_arch = "x86_64") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let built = crashers::build(crashers::find("null_call").unwrap(), &crashers::default_dir()).unwrap();
    let death = kernel_core(&built, folder.path()).unwrap();
    let target = open_target(&death.core, vec![built.dir.clone()], true);
    let frames = &target.stack(target.crashed_thread().unwrap()).frames;
    assert_eq!(frames[0].address.address(), Virt(0));
    assert_eq!(frames[1].trust, Trust::CallSite);
    let (first, second) = (&frames[0].registers, &frames[1].registers);
    for name in ["rax", "rcx", "rdx", "rsi", "rdi", "r8", "rbx", "rbp"] {
        assert_eq!(first.by_name(name), second.by_name(name), "{name}");
    }
    assert_eq!(first.sp().unwrap().0 + 8, second.sp().unwrap().0);
}

/// A recursion deeper than the budget keeps both ends, and counts what lies between.
#[test]
fn a_deep_stack_keeps_both_ends() {
    if !have(&["cc"]) || !cfg!(target_arch = "x86_64") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let built = crashers::build(crashers::find("deep_stack").unwrap(), &crashers::default_dir()).unwrap();
    let death = kernel_core(&built, folder.path()).unwrap();
    let whole = open_target(&death.core, vec![built.dir.clone()], true);
    let dump = open(&death.core, &Budget::default()).unwrap();
    let mut budget = Budget::default();
    budget.max_frames = 100;
    let short = Target::new(dump, Options { debug_paths: vec![built.dir.clone()], ..Options::default() }, budget);
    let thread = whole.crashed_thread().unwrap();
    let (whole, short) = (whole.stack(thread), short.stack(thread));
    let count = |stack: &Stack| stack.frames.len() as u64 + stack.omitted.map_or(0, |omitted| omitted.frames);
    assert_eq!((count(whole), &short.end), (count(short), &StackEnd::Outermost));
    assert!(count(whole) > 10_000 && whole.omitted.is_some(), "{} frames", count(whole));
    let (whole, short) = (addresses(whole), addresses(short));
    assert_eq!(short.len(), 100);
    assert_eq!(short[..68], whole[..68]);
    assert_eq!(short[68..], whole[whole.len() - 32..]);
}

#[test]
fn a_thousand_threads_are_quick() {
    if !have(&["cc"]) || !cfg!(target_arch = "x86_64") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let built = crashers::many_threads(&crashers::default_dir(), 1000).unwrap();
    let death = kernel_core_of("many_threads", &built.program, &built.args, folder.path()).unwrap();
    let target = open_target(&death.core, vec![built.dir.clone()], true);
    let started = std::time::Instant::now();
    stack::unwind_all(&target);
    let elapsed = started.elapsed();
    let threads = target.dump().threads.len();
    let frames: usize = (0..threads).map(|thread| target.stack(thread).frames.len()).sum();
    println!("{threads} threads, {frames} frames in {elapsed:?}");
    assert!(threads >= 1000 && frames >= 3 * threads);
    for thread in 0..threads {
        assert_eq!(target.stack(thread).end, StackEnd::Outermost, "thread {thread}");
    }
    // An unoptimised build on a busy machine; optimised it is a hundredth of this.
    assert!(elapsed.as_secs() < 5, "{elapsed:?}");
}

/// Cores of other machines, with what eu-stack said of them. In the third place stands a reason where ours differs.
const SAMPLES: &[(&str, &[&str], &str)] = &[
    ("elfutils/backtrace.x86_64.core.bz2", &["elfutils/backtrace.x86_64.exec.bz2"], ""),
    ("elfutils/backtrace.i386.core.bz2", &["elfutils/backtrace.i386.exec.bz2"], ""),
    ("elfutils/backtrace.s390x.core.bz2", &["elfutils/backtrace.s390x.exec.bz2"], ""),
    ("elfutils/backtrace.sparc.core.bz2", &["elfutils/backtrace.sparc.exec.bz2"], ""),
    ("elfutils/backtrace.aarch64.core.bz2", &["elfutils/backtrace.aarch64.exec.bz2"], "eu-stack shows _start twice"),
    ("elfutils/backtrace.x86_64.fp.core.bz2", &["elfutils/backtrace.x86_64.fp.exec.bz2"], ""),
    ("elfutils/backtrace.i386.fp.core.bz2", &["elfutils/backtrace.i386.fp.exec.bz2"], ""),
    (
        "elfutils/backtrace.aarch64.fp.core.bz2",
        &["elfutils/backtrace.aarch64.fp.exec.bz2"],
        "eu-stack shows sigusr2, main and others twice",
    ),
    ("elfutils/testfiledwarfinlines.core.bz2", &["elfutils/testfiledwarfinlines.bz2"], ""),
    ("elfutils/test-core.core.bz2", &["elfutils/test-core.exec.bz2"], ""),
    ("elfutils/linkmap-cut.core.bz2", &[], ""),
    ("elfutils/testfile-x32-core.bz2", &[], ""),
    ("elfutils/testfile_i686_core.bz2", &[], ""),
    ("elfutils/testfile-riscv64-core.bz2", &[], ""),
    ("drgn/crashme_static.core.zst", &["drgn/crashme_static.zst"], ""),
    ("lldb/linux-aarch64.core", &["lldb/linux-aarch64.out"], ""),
    ("lldb/linux-s390x.core", &["lldb/linux-s390x.out"], ""),
    ("lldb/linux-i386.core", &["lldb/linux-i386.out"], "eu-stack shows the argument count above _start as a frame"),
    ("lldb/linux-x86_64.core", &["lldb/linux-x86_64.out"], "eu-stack shows the argument count above _start as a frame"),
    ("lldb/linux-riscv64.gpr_fpr.core", &["lldb/linux-riscv64.gpr_fpr.out"], ""),
    ("lldb/linux-aarch64-neon.core", &[], ""),
    ("lldb/linux-aarch64-sve-full.core", &[], ""),
    ("rizin/core-linux-arm32", &["rizin/crash-linux-arm32"], ""),
    ("rizin/core-linux-arm64", &["rizin/crash-linux-arm64"], "eu-stack shows a frame of libc twice"),
    ("rizin/core-linux-riscv64", &["rizin/crash-linux-riscv64"], ""),
    ("rizin/core-linux-ppc64", &["rizin/crash-linux-ppc64"], "eu-stack shows a frame of libc twice"),
    ("rizin/core-linux-x86_64", &["rizin/crash-linux-x86_64"], ""),
    ("go/core.zst", &["go/test.zst"], ""),
];

#[test]
fn sample_cores_have_the_stacks_that_eu_stack_showed() {
    let Some(root) = samples().map(|root| root.join("elf-core")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut worse = Vec::new();
    for (core, files, reason) in SAMPLES {
        let plain = core.trim_end_matches(".bz2").trim_end_matches(".zst");
        let text = std::fs::read_to_string(root.join(format!("{plain}.tool-stack.txt"))).unwrap();
        // Files are looked for by name, and some dumps call them otherwise; the build-id decides.
        let files = files.iter().map(|file| unpacked(&root.join(file), folder.path())).collect();
        let target = open_target(&root.join(core), files, false);
        let mut words = Vec::new();
        for (index, thread) in target.dump().threads.iter().enumerate() {
            let stack = target.stack(index);
            is_sound(core, stack);
            let mut theirs = of_eu_stack(&text, thread.tid);
            let ours = addresses(stack);
            if !reason.is_empty() {
                theirs.dedup();
            }
            match compare(&ours, &theirs) {
                Ok(word) => words.push(word),
                Err(_) if reason.contains("argument count") && theirs.last() == Some(&1) => words.push("better"),
                Err(what) => {
                    worse.push(format!("{core} {}: {what}\n  ours   {ours:x?}\n  theirs {theirs:x?}", thread.tid))
                }
            }
        }
        println!("{plain:45} {} {reason}", words.join(" "));
    }
    assert!(worse.is_empty(), "{}", worse.join("\n"));
}

/// A file without its packing, as symbols are read from plain files only.
fn unpacked(path: &Path, folder: &Path) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    let (plain, tool) = match (name.strip_suffix(".bz2"), name.strip_suffix(".zst")) {
        (Some(plain), _) => (plain, "bzip2"),
        (_, Some(plain)) => (plain, "zstd"),
        _ => return path.to_owned(),
    };
    let to = folder.join(plain);
    let output = Command::new(tool).arg("-dc").arg(path).stdin(Stdio::null()).output().unwrap();
    std::fs::write(&to, output.stdout).unwrap();
    to
}
