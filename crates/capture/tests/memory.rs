//! What lies in a dump: the pages that count, none that do not, and a word about those that could not be read.

// clippy.toml's leave for tests does not reach their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;
use common::*;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Many kinds of memory, each with a mark; prints their addresses, then crashes.
const MEMORY: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/mman.h>
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)
char initialised[] = "in-the-data-segment";
const char constant[] = "in-the-read-only-segment";
void *map(const char *name, size_t len, int prot, int flags, int fd) {
    char *at = mmap(0, len, prot, flags, fd, 0);
    printf("%s %p\n", name, at);
    return at;
}
int main(int argc, char **argv) {
    printf("initialised %p\nconstant %p\n", initialised, constant);
    char *huge = map("reservation", 256ul << 30, RW, ANON | MAP_NORESERVE, -1);
    strcpy(huge + (100ul << 30), "far-in-the-reservation");
    char *secret = map("dontdump", 1 << 16, RW, ANON, -1);
    madvise(secret, 1 << 16, MADV_DONTDUMP); strcpy(secret, "never-dump-me");
    char *shared = map("shared", 1 << 20, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
    strcpy(shared + 8192, "in-shared-memory");
    char *none = map("protnone", 1 << 16, RW, ANON, -1);
    strcpy(none, "behind-prot-none"); mprotect(none, 1 << 16, PROT_NONE);
    int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    ftruncate(fd, 5000); write(fd, "in-a-file", 9);
    map("file", 1 << 16, PROT_READ, MAP_PRIVATE, fd);
    char *changed = map("changed", 1 << 16, RW, MAP_PRIVATE, fd);
    strcpy(changed + 4096, "changed-a-private-file");
    char *heap = malloc(100); strcpy(heap, "on-the-heap"); printf("heap %p\n", heap);
    char stack[100]; strcpy(stack, "on-the-stack"); printf("stack %p\n", stack);
    register char *pointee __asm__("r15") = huge + (100ul << 30);
    fflush(stdout);
    __asm__ volatile("movl $0, 0" :: "r"(pointee), "r"(stack) : "memory");
}
"#;

struct Marks {
    lab: Lab,
    core: std::path::PathBuf,
    program: std::path::PathBuf,
    addresses: Vec<(String, u64)>,
    stderr: String,
}

impl Marks {
    fn new(dump_type: &[&str]) -> Self {
        let lab = Lab::new();
        let program = lab.compile("memory", MEMORY);
        let mut command = Command::new(supervise());
        command.args(dump_type).arg(lab.dumps()).arg(&program).arg(lab.path("file")).current_dir(lab.dir.path());
        let finished = run(&mut command);
        assert_eq!(finished.status, 139, "{}", finished.stderr);
        let addresses = finished.stdout.lines().map(|line| {
            let (name, address) = line.split_once(" 0x").unwrap();
            (name.to_owned(), u64::from_str_radix(address, 16).unwrap())
        });
        let addresses = addresses.collect();
        let core = lab.dump();
        Self { lab, core, program, addresses, stderr: finished.stderr }
    }

    fn address(&self, name: &str) -> u64 {
        self.addresses.iter().find(|(other, _)| other == name).unwrap().1
    }

    /// What gdb reads at a mark.
    fn text(&self, name: &str, offset: u64) -> String {
        let at = self.address(name) + offset;
        // Without the program's file: only what the dump holds.
        let mut command = Command::new("gdb");
        command.args(["-batch", "-nx", "-ex"]).arg(format!("core-file {}", self.core.display()));
        let finished = run(command.args(["-ex", &format!("x/s {at:#x}")]));
        let line =
            finished.stdout.lines().rfind(|line| line.starts_with(&format!("{at:#x}"))).unwrap_or_default().to_owned();
        line.split_once(":\t").map_or(format!("{line}{}", finished.stderr), |(_, text)| text.to_owned())
    }
}

#[test]
fn active_holds_what_files_cannot_give() {
    let marks = Marks::new(&[]);
    let _ = &marks.lab;
    assert_eq!(marks.text("initialised", 0), "\"in-the-data-segment\"");
    assert_eq!(marks.text("reservation", 100 << 30), "\"far-in-the-reservation\"");
    assert_eq!(marks.text("reservation", 200 << 30), "\"\"", "untouched memory is zero");
    assert_eq!(marks.text("shared", 8192), "\"in-shared-memory\"");
    assert_eq!(marks.text("protnone", 0), "\"behind-prot-none\"");
    assert_eq!(marks.text("changed", 0), "\"in-a-file\"");
    assert_eq!(marks.text("changed", 4096), "\"changed-a-private-file\"");
    assert_eq!(marks.text("heap", 0), "\"on-the-heap\"");
    assert_eq!(marks.text("stack", 0), "\"on-the-stack\"");
    assert!(!marks.text("dontdump", 0).contains("never"));
    // The file pages past its end cannot be read: that is written down, and the dump is there all the same.
    assert!(marks.stderr.contains("cannot be read; it is zeros here"), "{}", marks.stderr);
    let meta = std::fs::metadata(&marks.core).unwrap();
    assert!(meta.len() < 64 << 20, "the untouched reservation takes no room: {}", meta.len());
    assert!(meta.blocks() * 512 < 4 << 20, "{} KiB on disk", meta.blocks() / 2);
    let took = marks.stderr.split("took=").nth(1).unwrap();
    let took = took.split(' ').next().unwrap();
    assert!(took.ends_with("ms") || took.ends_with("µs") || took.starts_with("1."), "{took}");
}

#[test]
fn complete_holds_files_too() {
    let marks = Marks::new(&["--type", "complete"]);
    assert_eq!(marks.text("constant", 0), "\"in-the-read-only-segment\"");
    assert_eq!(marks.text("file", 0), "\"in-a-file\"");
    assert!(!marks.text("dontdump", 0).contains("never"));
    // Nothing but the dump is needed for names: the code is in it.
    let text = gdb(&marks.program, &marks.core, &["info proc mappings"]);
    assert!(text.contains("memory"));
}

#[test]
fn small_holds_stacks_and_the_way_to_names() {
    let marks = Marks::new(&["--type", "small"]);
    assert_eq!(marks.text("stack", 0), "\"on-the-stack\"");
    #[cfg(target_arch = "x86_64")]
    assert_eq!(marks.text("reservation", 100 << 30), "\"far-in-the-reservation\"", "a register points there");
    // gdb shows memory that was left out as zeros.
    assert_eq!(marks.text("shared", 8192), "\"\"");
    assert!(!marks.text("dontdump", 0).contains("never"));
    let meta = std::fs::metadata(&marks.core).unwrap();
    assert!(meta.len() < 2 << 20, "{}", meta.len());
    assert_eq!(gdb_functions(&marks.program, &marks.core), ["main"]);
    let libraries = gdb(&marks.program, &marks.core, &["info sharedlibrary"]);
    assert!(libraries.contains("libc.so.6") && libraries.contains("ld-linux"), "{libraries}");
    assert!(
        eu_stack(&marks.core).iter().any(|frame| frame.contains("__libc_start_main")),
        "{:?}",
        eu_stack(&marks.core)
    );
}

#[test]
fn a_gigabyte_streams_through_little_memory() {
    let lab = Lab::new();
    let program = lab.compile(
        "big",
        r#"
        #include <stdlib.h>
        #include <string.h>
        int main() {
            size_t n = 512ul << 20;
            char *all = malloc(n);
            for (size_t i = 0; i < n; i += 4096) memset(all + i, (int)(i >> 12) | 1, 64);
            *(volatile int *)0 = 0;
        }"#,
    );
    let finished = run(&mut lab.supervise(&program));
    let peak = finished.stderr.split("peak=").nth(1).unwrap_or_default();
    let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{finished:?}"));
    assert!(peak < 32 << 10, "{peak} KiB");
    let meta = std::fs::metadata(lab.dump()).unwrap();
    assert!(meta.blocks() * 512 > 500 << 20);
    assert_eq!(gdb_functions(&program, &lab.dump()), ["main"]);
}
