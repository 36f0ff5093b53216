//! Registers of every frame, held against gdb's; and signal frames of i386 and aarch64, where the way back is not in any
//! unwind table or the table is wrong.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use afterimage_dump::{Budget, CodeAddr, open};
use afterimage_target::{Options, Stack, StackEnd, Target, Trust};
use afterimage_testkit::crashers::{self, kernel_core, kernel_core_of};
use common::{have, sh};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Each frame's program counter and the registers asked for, by gdb. Made-up frames are left out.
fn gdb_registers(program: &Path, core: &Path, names: &[&str]) -> Vec<Vec<Option<u64>>> {
    let script = format!(
        "python
f = gdb.newest_frame()
n = 0
def show(f, name):
  try: return '%x' % (int(f.read_register(name)) & 0xffffffffffffffff)
  except Exception: return '-'
while f and n < 60:
  if f.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME): print('REGS', *[show(f, name) for name in {names:?}])
  f = f.older(); n += 1
"
    );
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-iex", "set auto-load off", "-ex", "set backtrace past-main on", "-ex", &script]);
    let output = command.arg(program).arg(core).env_remove("DEBUGINFOD_URLS").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let row = |line: &str| line.split(' ').map(|word| u64::from_str_radix(word, 16).ok()).collect();
    text.lines().filter_map(|line| line.strip_prefix("REGS ")).map(row).collect()
}

fn open_target(core: &Path, debug_paths: Vec<PathBuf>) -> Target {
    let dump = open(core, &Budget::default()).unwrap();
    Target::new(dump, Options { debug_paths, ..Options::default() }, Budget::default())
}

/// Compares the registers; gives how many values agreed.
fn same_registers(what: &str, stack: &Stack, gdb: &[Vec<Option<u64>>], names: &[&str], mask: u64) -> usize {
    assert!(gdb.len() >= stack.frames.len().min(60), "{what}: gdb shows {} frames", gdb.len());
    let mut agreed = 0;
    for (index, (frame, theirs)) in stack.frames.iter().zip(gdb).enumerate() {
        for (name, theirs) in names.iter().zip(theirs) {
            // gdb keeps a callee-saved register's value in frames where nothing says what became of it; so do we. It does
            // not know one that a rule calls undefined; nor do we.
            if let (Some(ours), Some(theirs)) = (frame.registers.by_name(name), *theirs) {
                assert_eq!(ours, theirs & mask, "{what}: {name} of frame {index}");
                agreed += 1;
            }
        }
    }
    agreed
}

#[test]
fn registers_of_all_frames_are_those_of_gdb() {
    if !have(&["gdb", "cc", "c++", "rustc"]) || !cfg!(target_arch = "x86_64") {
        return;
    }
    const NAMES: &[&str] = &["rip", "rsp", "rbp", "rbx", "r12", "r13", "r14", "r15"];
    let folder = tempfile::tempdir().unwrap();
    for name in ["optimised", "qsort", "in_handler", "in_handler_altstack", "cpp_runtime_error", "rust_panic"] {
        let built = crashers::build(crashers::find(name).unwrap(), &crashers::default_dir()).unwrap();
        let death = kernel_core(&built, folder.path()).unwrap();
        let target = open_target(&death.core, vec![built.dir.clone()]);
        let stack = target.stack(target.crashed_thread().unwrap());
        let gdb = gdb_registers(&built.program, &death.core, NAMES);
        let agreed = same_registers(name, stack, &gdb, NAMES, u64::MAX);
        // The outermost frame may not know its registers any more; all the others must.
        assert!(agreed >= NAMES.len() * (stack.frames.len() - 1), "{name}: only {agreed} values to compare");
    }
}

/// No C library, so that the kernel's own trampolines are used, or these of ours, which no unwind table describes.
const I386: &str = r#"
struct action { void (*handler)(int); unsigned long flags; void (*restorer)(void); unsigned long mask[2]; };
static long call(long n, long a, long b, long c, long d) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
    return result;
}
static char other[16384];
__attribute__((noinline)) void handler(int signal) { *(volatile int *)16 = signal; }
__attribute__((noinline)) int bad(int *p) { return *p + 1; }
__attribute__((noinline)) int outer(int *p) { return bad(p) + 1; }
#ifdef RESTORER
__attribute__((naked)) void restorer(void) {
    __asm__(TRAMPOLINE);
}
#endif
void _start(void) {
    struct { void *sp; int flags; unsigned long size; } stack = { other, 0, sizeof other };
    struct action action = { handler, (SIGINFO ? 4 : 0) | 0x88000000 };
#ifdef RESTORER
    action.flags |= 0x04000000;
    action.restorer = restorer;
#endif
    call(186, (long)&stack, 0, 0, 0);
    call(174, 11, (long)&action, 0, 8);
    call(1, outer((int *)8), 0, 0, 0);
}
"#;

#[test]
fn i386_signal_frames_of_either_kind() {
    if !have(&["gdb", "gcc"]) || !cfg!(target_arch = "x86_64") {
        return;
    }
    const NAMES: &[&str] = &["eip", "esp", "ebp", "ebx", "esi", "edi"];
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("handler.c"), I386).unwrap();
    for siginfo in [0, 1] {
        let trampoline = ["pop %eax; mov $119,%eax; int $0x80", "mov $173,%eax; int $0x80"][siginfo];
        for restorer in ["", "-DRESTORER"] {
            let what = format!("siginfo {siginfo} {restorer}");
            sh(
                folder.path(),
                &format!(
                    "gcc -m32 -O1 -g -static -nostdlib -fno-pic -no-pie -fno-stack-protector -Wl,--build-id \
                     -DSIGINFO={siginfo} -DTRAMPOLINE='\"{trampoline}\"' {restorer} -o handler handler.c"
                ),
            );
            let program = folder.path().join("handler");
            let death = kernel_core_of("handler", &program, &[], folder.path()).unwrap();
            let target = open_target(&death.core, vec![folder.path().to_owned()]);
            let stack = target.stack(target.crashed_thread().unwrap());
            assert_eq!(stack.end, StackEnd::Outermost, "{what}");
            let name = |frame: &afterimage_target::Frame| {
                target.locate(frame.address).last().and_then(|location| location.function.clone()).unwrap_or_default()
            };
            let names: Vec<String> = stack.frames.iter().map(name).collect();
            assert_eq!(names[names.len() - 3..], ["bad", "outer", "_start"], "{what}: {names:?}");
            let bad = &stack.frames[names.len() - 3];
            assert_eq!((bad.trust, matches!(bad.address, CodeAddr::Exact(_))), (Trust::SignalFrame, true), "{what}");
            assert!(stack.frames[names.len() - 4].signal_trampoline, "{what}");
            // The argument's register as the kernel saved it, and what gdb says of the others.
            assert!(bad.registers.by_name("eax").is_some() && bad.registers.by_name("eflags").is_some(), "{what}");
            if restorer.is_empty() {
                let gdb = gdb_registers(&program, &death.core, NAMES);
                let agreed = same_registers(&what, stack, &gdb, NAMES, 0xffff_ffff);
                assert!(agreed >= NAMES.len() * (stack.frames.len() - 1), "{what}: {agreed}");
            }
        }
    }
}

const AARCH64: &str = r#"
#include <signal.h>
__attribute__((noinline)) void handler(int signal) { *(volatile int *)16 = signal; }
__attribute__((noinline)) int bad(int *p) { return *p + 1; }
__attribute__((noinline)) int outer(int *p) { return bad(p) + 1; }
static char other[65536];
int main(void) {
    stack_t stack = { .ss_sp = other, .ss_size = sizeof other };
    sigaltstack(&stack, 0);
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESETHAND | SA_NODEFER };
    sigaction(SIGSEGV, &action, 0);
    return outer((int *)8);
}
"#;

/// QEMU's user mode builds signal frames as the kernel does, and writes cores of its own.
#[test]
fn aarch64_signal_frames_with_and_without_tables() {
    if !have(&["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objcopy", "qemu-aarch64"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("handler.c"), AARCH64).unwrap();
    sh(at, "aarch64-linux-gnu-gcc -O1 -g -static -Wl,--build-id handler.c -o whole");
    sh(at, "aarch64-linux-gnu-objcopy --remove-section .eh_frame --strip-all whole bare");
    let mut stacks = Vec::new();
    for program in ["whole", "bare"] {
        // QEMU dies of the signal itself, which is no error here.
        sh(
            at,
            &format!("ulimit -c unlimited; mkdir {program}.run; cd {program}.run; qemu-aarch64 ../{program} || true"),
        );
        let core = std::fs::read_dir(at.join(format!("{program}.run"))).unwrap().flatten().map(|entry| entry.path());
        let core = core.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "core")).unwrap();
        let target = open_target(&core, vec![at.join(program)]);
        let stack = target.stack(0);
        assert_eq!(stack.end, StackEnd::Outermost, "{program}");
        assert!(stack.frames[1].signal_trampoline, "{program}");
        assert_eq!(stack.frames[2].trust, Trust::SignalFrame, "{program}");
        assert_eq!(stack.frames[2].registers.by_name("x0"), Some(8), "{program}: the bad pointer");
        let name = |index: usize| target.locate(stack.frames[index].address).last().and_then(|at| at.function.clone());
        if program == "whole" {
            let names: Vec<_> = [0, 2, 3, 4].into_iter().filter_map(name).collect();
            assert_eq!(names, ["handler", "bad", "outer", "main"]);
        }
        stacks.push(stack.frames.iter().map(|frame| frame.address).collect::<Vec<_>>());
    }
    assert_eq!(stacks[0], stacks[1], "the same stack without unwind tables and symbols");
}
