//! The one entry to checks, comparisons and benchmarks: `cargo xtask`, the same on a laptop as in CI.

// Indexing a JSON value gives null, not a panic, and a task that fails hard has failed.
#![allow(clippy::indexing_slicing)]

mod bench;
mod check_images;
mod check_isf;
mod check_machines;
mod ci;
mod compare;
mod fuzz;
mod generate;
mod licences;
mod setup;
mod soak;
mod tools;

use std::process::ExitCode;

/// A task: its name, what it does, and the function. Further arguments go to the function.
type Task = (&'static str, &'static str, fn(&[String]) -> anyhow::Result<()>);

const TASKS: &[Task] = &[
    ("ci", "everything that must pass: tools, format, lints, docs, generated files, licences, tests, fuzzing", ci::ci),
    ("setup", "install what the tests need from the system (as root on Debian or Ubuntu), or name it", setup::setup),
    (
        "generate",
        "write the generated files (manual of tables, JSON schema, man pages, completions); --check: only compare",
        generate::generate,
    ),
    ("licences", "check the licences of all dependencies against the list in deny.toml", licences::licences),
    ("fuzz", "run every fuzz target from its corpus for a short, fixed time: [--seconds N] [TARGET…]", fuzz::fuzz),
    (
        "compare-stacks",
        "compare stacks with gdb and eu-stack on all crashing programs and all samples: [--json] [NAME…]",
        compare::compare,
    ),
    (
        "check-images",
        "open every image of a machine in ../shared, compare its memory with other readers', give them ours",
        check_images::check_images,
    ),
    (
        "check-vmcores",
        "compare every table of every machine in ../shared/vmcores with what its guest said: [NAME…]",
        check_machines::check_vmcores,
    ),
    (
        "check-isf",
        "let volatility3 read machines in ../shared with our symbols, and drgn an ELF that we repaired: [--all] [MACHINE…]",
        check_isf::check_isf,
    ),
    (
        "lab",
        "boot kernels in an emulator and check their fresh dumps the same way: [--scene live|panic|kdump|trouble] [--keep] [6.12…]",
        check_machines::lab,
    ),
    (
        "soak",
        "capture a busy program over and over, and kill afterimage at any moment: [N captures in each way]",
        soak::soak,
    ),
    ("bench", "measure, side by side with the peers: bench explain | capture | images | system", bench::bench),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let Some((_, _, task)) = TASKS.iter().find(|(task, ..)| *task == name) else {
        eprintln!("usage: cargo xtask TASK");
        for (task, help, _) in TASKS {
            eprintln!("  {task:15} {help}");
        }
        return ExitCode::from(2);
    };
    match task(&rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
