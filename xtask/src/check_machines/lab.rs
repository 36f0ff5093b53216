//! Fresh machines: boots kernels in an emulator, lets each say of itself what it has, takes its memory, and checks the dump
//! as the stored ones are checked.
//!
//! *Example*: `cargo xtask lab 6.12 --scene live --keep`, `cargo xtask lab 6.1:rt`; some 45 s for each kernel and scene
//! without KVM. Kernels come from the distribution's packages, once, into the target folder.
//!
//! *Trap*: a fresh guest is not yesterday's. What differs here and not in `check-vmcores` is either a rule that is too
//! narrow, or memory that moved in a way that the stored dumps do not show; each is worth a look.

use super::truth::Truth;
use crate::tools;
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command line of it.
const USAGE: &str = "lab [--scene live|panic|kdump|trouble]… [--only TROUBLE]… [--keep] [--cache DIR] [--program FILE] [KERNEL[:cloud|:amd64|:rt]…]";

/// What it needs: a program, and the package that has it on Debian and Ubuntu.
const NEEDS: [(&str, &str); 10] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("gcc", "gcc libc6-dev"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("mke2fs", "e2fsprogs"),
    ("python3", "python3"),
    ("apt-get", "apt"),
    ("dpkg", "dpkg"),
    ("tar", "tar"),
    ("gzip", "gzip"),
];

/// What is asked for.
struct Settings {
    kernels: Vec<String>,
    scenes: Vec<String>,
    only: Vec<String>,
    keep: bool,
    cache: PathBuf,
}

fn parse(arguments: &[String]) -> anyhow::Result<Settings> {
    let mut settings = Settings {
        kernels: Vec::new(),
        scenes: Vec::new(),
        only: Vec::new(),
        keep: false,
        cache: tools::target().join("tools/lab-cache"),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().with_context(|| format!("{argument} wants a value; usage: cargo xtask {USAGE}"));
        match argument.as_str() {
            "--keep" => settings.keep = true,
            "--cache" => settings.cache = value()?.into(),
            "--only" => settings.only.push(value()?.clone()),
            "--scene" => settings.scenes.push(value()?.clone()),
            flag if flag.starts_with('-') => bail!("{flag}: usage: cargo xtask {USAGE}"),
            kernel => settings.kernels.push(kernel.to_owned()),
        }
    }
    if settings.kernels.is_empty() {
        settings.kernels = ["6.1", "6.12"].map(str::to_owned).into();
    }
    if settings.scenes.is_empty() {
        settings.scenes = ["live", "panic"].map(str::to_owned).into();
    }
    Ok(settings)
}

/// What is missing here, as packages.
fn missing(scenes: &[String]) -> Vec<&'static str> {
    let mut packages: Vec<_> =
        NEEDS.iter().filter(|(tool, _)| !tools::has(tool)).map(|(_, package)| *package).collect();
    if scenes.iter().any(|scene| scene == "trouble") {
        let more = super::trouble::NEEDS.iter().filter(|(tool, _)| !tools::has(tool));
        packages.extend(more.map(|(_, package)| *package));
    }
    // The dump is filtered inside the guest, by the host's makedumpfile.
    if scenes.iter().any(|scene| scene == "kdump") && !tools::has("makedumpfile") {
        packages.push("makedumpfile");
    }
    packages
}

/// `lab`.
pub fn lab(arguments: &[String]) -> anyhow::Result<()> {
    let shared = tools::shared().context("../shared with the lab is needed")?;
    let script = shared.join("lab/boot-guest.sh");
    ensure!(script.is_file(), "{} is needed", script.display());
    let missing = missing(&parse_scenes(arguments)?);
    ensure!(missing.is_empty(), "no machine can be booted here: apt-get install {}", missing.join(" "));
    let (program, rest) = super::program(arguments)?;
    let settings = parse(&rest)?;
    std::fs::create_dir_all(&settings.cache).with_context(|| settings.cache.display().to_string())?;
    let folder = tools::target().join("lab");
    let (mut failed, mut dumps) = (Vec::new(), 0);
    for kernel in &settings.kernels {
        for scene in &settings.scenes {
            let out = folder.join(format!("{kernel}-{scene}"));
            let _ = std::fs::remove_dir_all(&out);
            std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
            if scene == "trouble" {
                let only = &settings.only;
                let (scenes, all) =
                    super::trouble::trouble(&program, kernel, &settings.cache, &out, only, settings.keep)?;
                dumps += scenes;
                failed.extend(all);
                if !settings.keep {
                    std::fs::remove_dir_all(&out)?;
                }
                continue;
            }
            println!("{kernel} {scene}: booting");
            let checked = boot(&script, &settings.cache, kernel, scene, &out).and_then(|()| {
                let truth = Truth::open(&out.join("TRUTH"), None)?;
                let mut all = Vec::new();
                for dump in made(&out)? {
                    let name = dump.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    dumps += 1;
                    all.extend(super::check(&program, &dump, &truth, &format!("{kernel}-{scene}/{name}"))?);
                }
                ensure!(dumps > 0, "it left no dump");
                Ok(all)
            });
            match checked {
                Ok(all) => failed.extend(all),
                Err(error) => {
                    println!("  FAILED: {error:#}");
                    failed.push(format!("{kernel}-{scene}"));
                }
            }
            if settings.keep {
                println!("{kernel} {scene}: kept in {}", out.display());
            } else {
                std::fs::remove_dir_all(&out)?;
            }
        }
    }
    super::finish(dumps, &failed)
}

/// The scenes alone, before anything is built.
fn parse_scenes(arguments: &[String]) -> anyhow::Result<Vec<String>> {
    let at = arguments.iter().position(|argument| argument == "--program");
    let without =
        arguments.iter().enumerate().filter(|(index, _)| at.is_none_or(|at| *index != at && *index != at + 1));
    Ok(parse(&without.map(|(_, argument)| argument.clone()).collect::<Vec<_>>())?.scenes)
}

/// Boots one guest; its dumps and its TRUTH lie in `out` then.
fn boot(script: &Path, cache: &Path, kernel: &str, scene: &str, out: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(script);
    let (version, flavour) = kernel.split_once(':').unwrap_or((kernel, "cloud"));
    command
        .args(["--kernel", version, "--flavour", flavour, "--scene", scene])
        .arg("--cache")
        .arg(cache)
        .arg("--out")
        .arg(out);
    tools::run_with(&mut command)
}

/// The dumps that lie in a folder.
fn made(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut dumps: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    dumps.sort();
    Ok(dumps)
}
