//! What `bench system` works on, and the peers' own needs: images of whole machines, the kernels' debug information, Python.
//!
//! *Trap*: a peer that cannot read an image at all is no contestant there. It is tried once, and the reason is printed.

use super::measure::{Contestant, run};
use crate::tools::{self, run_with};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A peer that takes longer than so many seconds is asked fewer times.
pub(super) const SLOW: f64 = 5.0;
/// How many times, after its trial: next to its length, its spread is small.
pub(super) const FEW: usize = 1;

/// What is asked of a machine.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub(super) name: &'static str,
    /// Our table.
    table: &'static str,
    /// crash's commands.
    crash: &'static str,
    /// volatility3's plugin.
    volatility: &'static str,
    /// What the answer must hold: something of the lab's guests that a reader which only knows what ran does not have.
    needle: &'static str,
}

/// From the start of the program to the end of its answer.
pub(super) const QUESTIONS: [Question; 3] = [
    Question {
        name: "processes",
        table: "processes",
        crash: "ps",
        volatility: "linux.pslist.PsList",
        needle: "labthreads",
    },
    Question {
        name: "stacks",
        table: "kernel_frames",
        crash: "foreach bt",
        volatility: "linux.pscallstack.PsCallStack",
        needle: "do_epoll_wait",
    },
    Question {
        name: "sockets",
        table: "sockets",
        crash: "foreach net -s",
        volatility: "linux.sockstat.Sockstat",
        needle: "4444",
    },
];

/// One image, unpacked, and what describes its kernel to others.
pub(super) struct Image {
    pub(super) name: String,
    pub(super) file: PathBuf,
    /// The kernel with its debug information, or why there is none.
    vmlinux: Result<PathBuf, String>,
    /// The folder with volatility3's symbol file, or why there is none.
    symbols: Result<PathBuf, String>,
}

/// Where everything lies.
pub(super) struct Peers {
    pub(super) program: PathBuf,
    python: Result<PathBuf, String>,
    crash: PathBuf,
    pub(super) folder: PathBuf,
}

impl Peers {
    /// Python with drgn and volatility3 is made once, in the target folder.
    pub(super) fn new(program: PathBuf, crash: PathBuf, folder: PathBuf) -> Self {
        let python = crate::check_images::peers().map_err(|error| format!("no Python with it: {error:#}"));
        Self { program, python, crash, folder }
    }

    /// Unpacks a machine, as a plain ELF file that all read.
    pub(super) fn unpack(&self, packed: &Path, truth: &Path, name: &str) -> anyhow::Result<Image> {
        let file = self.folder.join(format!("{name}.elf"));
        if packed.extension().is_some_and(|end| end == "elf") {
            fs::rename(packed, &file)?;
        } else {
            let mut convert = Command::new(&self.program);
            convert.args(["--quiet", "convert", "--force", "--format", "elf", "--no-verify"]).arg(packed);
            run_with(convert.arg("-o").arg(&file))?;
        }
        let truth: Value = serde_json::from_slice(&fs::read(truth.join("truth.json"))?)?;
        let package = truth["meta"]["package"].as_str().context("the guest's package is not written down")?;
        let vmlinux = vmlinux(package).map_err(|error| format!("{error:#}"));
        let symbols = self.symbols(&file, name).map_err(|error| format!("{error:#}"));
        Ok(Image { name: name.to_owned(), file, vmlinux, symbols })
    }

    /// volatility3's symbol file, written by us out of the image alone.
    fn symbols(&self, image: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(format!("symbols-{name}"));
        fs::create_dir_all(folder.join("linux"))?;
        let mut command = Command::new(&self.program);
        command.args(["--quiet", "extract"]).arg(image).args(["--isf", "--output"]);
        let output = command.arg(folder.join("linux/kernel.json")).output()?;
        let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        ensure!(output.status.success(), "this afterimage writes no symbol file: {said}");
        Ok(folder)
    }

    /// Ours, then those who can answer; and who cannot, with the reason.
    pub(super) fn contestants(&self, image: &Image, question: Question) -> (Vec<Contestant>, Vec<String>) {
        let mut ours = Command::new(&self.program);
        ours.args(["--json", "--no-network", "show"]).arg(&image.file).arg(question.table);
        let mut able = vec![Contestant::new("afterimage, nothing given", ours, Some(question.needle))];
        let mut unable = Vec::new();
        let all = [
            ("drgn, debug vmlinux", self.drgn(image, question)),
            ("crash, debug vmlinux", self.crash(image, question)),
            ("volatility3, ISF of ours", self.volatility(image, question)),
        ];
        for (name, command) in all {
            let tried = command.and_then(|mut command| {
                let seconds = tried(&mut command, question.needle, &self.folder)?;
                Ok((command, seconds))
            });
            match tried {
                Ok((command, seconds)) => {
                    let mut contestant = Contestant::new(name, command, Some(question.needle));
                    contestant.few = (seconds > SLOW).then_some(FEW);
                    able.push(contestant);
                }
                Err(why) => unable.push(format!("{name}: not measured: {why}")),
            }
        }
        (able, unable)
    }

    fn drgn(&self, image: &Image, question: Question) -> Result<Command, String> {
        let mut command = Command::new(self.python.as_ref().map_err(Clone::clone)?);
        command.arg(tools::root().join("xtask/src/bench/programs/system.py"));
        command.arg(image.vmlinux.as_ref().map_err(Clone::clone)?).arg(&image.file).arg(question.name);
        Ok(command)
    }

    fn crash(&self, image: &Image, question: Question) -> Result<Command, String> {
        if self.crash.components().count() == 1 && !tools::has("crash") {
            return Err("apt-get install crash".into());
        }
        let script = self.folder.join(format!("{}.crash", question.name));
        fs::write(&script, format!("{}\nquit\n", question.crash)).map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.crash);
        command.args(["-s", "--no_scroll", "-i"]).arg(script);
        command.arg(image.vmlinux.as_ref().map_err(Clone::clone)?).arg(&image.file);
        Ok(command)
    }

    fn volatility(&self, image: &Image, question: Question) -> Result<Command, String> {
        let python = self.python.as_ref().map_err(Clone::clone)?;
        let mut command = Command::new(python.with_file_name("vol"));
        command.arg("-q").arg("-s").arg(image.symbols.as_ref().map_err(Clone::clone)?);
        // It makes no folder for its cache, and fails without one.
        let cache = self.folder.join("volatility-cache");
        fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
        command.arg("--cache-path").arg(cache);
        command.arg("-f").arg(&image.file).arg(question.volatility);
        Ok(command)
    }
}

/// The seconds that a peer needs for its answer; its last words if it does not answer.
fn tried(command: &mut Command, needle: &str, folder: &Path) -> Result<f64, String> {
    let output = folder.join("tried");
    let ended = run(command, &output).map_err(|error| format!("{error:#}"))?;
    let text = String::from_utf8_lossy(&fs::read(&output).unwrap_or_default()).into_owned();
    if text.contains(needle) {
        return Ok(ended.wall);
    }
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it prints nothing").trim();
    let code = ended.status >> 8;
    Err(format!("it does not show {needle} ({} lines, exit status {code}): {last}", text.lines().count()))
}

/// The kernel with debug information, out of the distribution's package; fetched once, into the target folder.
fn vmlinux(package: &str) -> anyhow::Result<PathBuf> {
    let package = format!("{}-dbg", package.trim_end_matches("-unsigned"));
    let folder = tools::target().join("tools/debug").join(&package);
    let file = folder.join("vmlinux");
    if file.exists() {
        return Ok(file);
    }
    let work = folder.with_extension("tmp");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    println!("fetching {package}");
    let script = "cd \"$0\" && apt-get download \"$1\" > download.log 2>&1 && dpkg --fsys-tarfile ./*.deb | \
                  tar -x --wildcards './usr/lib/debug/boot/vmlinux-*' && mv usr/lib/debug/boot/vmlinux-* vmlinux && \
                  rm -r ./*.deb usr";
    let done = Command::new("sh").args(["-c", script]).arg(&work).arg(&package).output()?.status.success();
    ensure!(done, "{package} cannot be fetched: see {}", work.join("download.log").display());
    fs::create_dir_all(&folder)?;
    fs::rename(work.join("vmlinux"), &file)?;
    let _ = fs::remove_dir_all(&work);
    Ok(file)
}
