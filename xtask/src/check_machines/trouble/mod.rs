//! Machines with trouble of our own making: deadlocks, faults of the kernel's code, memory that ran out.
//!
//! *What it is*: each scene is a guest of its own, with busybox and one module that does what it is told. What is true is
//! known twice: the scene itself, and what the guest's kernel printed on its console, which we do not read memory for.
//!
//! *Example*: `cargo xtask lab --scene trouble --only stack --keep 6.12`. *Trap*: what the kernel marks with `?` it found lying
//! on the stack; it is no frame.

mod fault;
mod guest;
mod kernel;
mod locks;
mod memory;
mod scenes;

use super::asker::Asker;
use super::console::{self, Frame};
use super::report::{Report, head};
use super::truth::{number, text};
use crate::tools;
use anyhow::ensure;
use guest::Left;
use kernel::Kernel;
use scenes::{SCENES, Scene, Shows};
use serde_json::Value;
use std::path::Path;

/// What it needs beyond the lab: a program, and its package.
pub const NEEDS: [(&str, &str); 2] = [("make", "make"), ("apt-cache", "apt")];

/// Plays the scenes on one kernel, those that are asked for; gives how many there were, and the topics that failed.
pub fn trouble(
    program: &Path,
    series: &str,
    cache: &Path,
    out: &Path,
    only: &[String],
    keep: bool,
) -> anyhow::Result<(usize, Vec<String>)> {
    let cache = cache.canonicalize()?;
    let kernel = Kernel::newest(series, &cache)?;
    let source = tools::root().join("xtask/src/check_machines/trouble/guest");
    let place = tempfile::Builder::new().prefix("afterimage-trouble").tempdir()?;
    let module = kernel.module(&source.join("trouble.c"), &place.path().join("module"))?;
    let initrd = guest::initramfs(&source, &module, place.path())?;
    let wanted: Vec<&Scene> =
        SCENES.iter().filter(|scene| only.is_empty() || only.iter().any(|name| name == scene.name)).collect();
    ensure!(!wanted.is_empty(), "no scene of trouble is called {}", only.join(" or "));
    let mut failed = Vec::new();
    for scene in &wanted {
        let shown = format!("{series}-trouble/{}", scene.name);
        println!("{shown} ({})", kernel.release);
        let left = match guest::play(&kernel, &initrd, scene, place.path()) {
            Ok(left) => left,
            Err(error) => {
                println!("  FAILED: {error:#}");
                failed.push(shown);
                continue;
            }
        };
        failed.extend(check(program, scene, &left, &shown)?);
        if keep {
            guest::keep(&left, &out.join(scene.name))?;
        }
        std::fs::remove_file(&left.dump)?;
    }
    Ok((wanted.len(), failed))
}

/// One topic of a scene.
type Topic<'t> = (&'t str, Box<dyn Fn(&mut Report) -> anyhow::Result<()> + 't>);

fn check(program: &Path, scene: &Scene, left: &Left, shown: &str) -> anyhow::Result<Vec<String>> {
    let machine = Asker::new(program, &left.dump)?;
    let lines = console::lines(&left.console);
    let (machine, lines) = (&machine, lines.as_slice());
    let mut topics: Vec<Topic<'_>> = vec![
        ("verdict", Box::new(|report| verdict(machine, scene, report))),
        ("panic", Box::new(|report| panic(machine, scene, left, report))),
    ];
    match scene.shows {
        Shows::Locks => {
            topics.push(("blocked tasks", Box::new(|report| locks::table(machine, lines, report))));
            topics.push(("sentences", Box::new(|report| locks::sentences(machine, lines, report))));
            if !scene.panics {
                topics.push(("stacks", Box::new(|report| locks::stacks(machine, lines, report))));
            }
        }
        Shows::Fault(task) => {
            topics.push(("fault", Box::new(move |report| fault::fault(machine, lines, task, report))));
        }
        Shows::Survived => topics.push(("survived", Box::new(|report| fault::survived(machine, lines, report)))),
        Shows::Memory => {
            topics.push(("memory", Box::new(|report| memory::memory(machine, lines, scene.panics, report))));
        }
        Shows::Panic => {}
    }
    head();
    let mut failed = Vec::new();
    for (name, topic) in topics {
        let mut report = Report::default();
        if let Err(error) = topic(&mut report) {
            report.wrong(format!("{error:#}"));
        }
        report.print(name);
        if !report.holds() {
            failed.push(format!("{shown}: {name}"));
        }
    }
    Ok(failed)
}

/// The verdict, and the words that its sentences must have.
fn verdict(machine: &Asker, scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let findings = machine.table("findings")?;
    let kind = findings.rows.first().map_or("none", |row| text(&row["kind"]));
    report.count(1 + scene.words.len(), findings.rows.len());
    if report.same("verdict", &kind, &scene.verdict) {
        report.found();
    }
    let told = machine.said(&["explain"])?;
    // Sentences are broken into lines, and the log's last words are not ours.
    let told = told.split("The kernel's last words").next().unwrap_or_default();
    let told = told.split("The end of the kernel's log").next().unwrap_or_default();
    let told: Vec<&str> = told.split_whitespace().collect();
    let told = told.join(" ");
    for word in scene.words {
        match told.contains(word) {
            true => report.found(),
            false => {
                report.wrong(format!("explain does not say {word:?}: {}", told.chars().take(900).collect::<String>()))
            }
        }
    }
    Ok(())
}

/// The reason of the panic; and, where the kernel prints it, the stack from `panic` on.
fn panic(machine: &Asker, scene: &Scene, left: &Left, report: &mut Report) -> anyhow::Result<()> {
    let cpu = super::panic::reason(machine, &left.console, report)?;
    let Some(cpu) = cpu else {
        report.same("it panicked", &false, &scene.panics);
        return Ok(());
    };
    // Of a fault the stack stands before the panic, and is compared there.
    if !matches!(scene.shows, Shows::Fault(_)) {
        super::panic::stack(machine, cpu, &left.console, report)?;
    }
    Ok(())
}

/// A row of `kernel_frames`.
fn frame_of(row: &Value) -> Frame {
    let function = row["function"].as_str().unwrap_or("?").to_owned();
    (function, number(&row["offset"]), row["module"].as_str().map(str::to_owned))
}

/// Two stacks, frame for frame.
fn same_frames(what: &str, ours: &[Frame], guest: &[Frame], report: &mut Report) {
    report.count(guest.len(), ours.len());
    let shown = |frames: &[Frame]| -> Vec<String> {
        let module = |module: &Option<String>| module.as_ref().map(|name| format!(" [{name}]")).unwrap_or_default();
        frames.iter().map(|frame| format!("{}+{:#x}{}", frame.0, frame.1, module(&frame.2))).collect()
    };
    if report.same(what, &shown(ours), &shown(guest)) {
        guest.iter().for_each(|_| report.found());
    }
}
