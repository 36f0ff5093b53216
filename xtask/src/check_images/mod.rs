//! Every image of a machine that lies in `../shared`: it opens, its facts hold, its memory is what other readers give, and
//! others read what we make of it.
//!
//! *What it is not*: the tests of single samples (registers, pages, reports) are in the crates; this task runs them, too.
//!
//! *Example*: `cargo xtask check-images`. It needs the network once, for drgn and volatility3, and some 5 GiB of disk.
//!
//! *Trap*: peers are not truth either. Where one cannot read a format at all, that is said and another one is asked.

use crate::tools::{self, run_with, stdout_of};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Real machines: folder and file in `../shared/vmcores`, format, type, and whether drgn opens the file itself.
const MACHINES: [(&str, &str, &str, &str); 5] = [
    ("k6.1-live", "dump.elf", "elf", "complete"),
    ("k6.12-live", "kdump-zlib.flat", "kdump", "complete"),
    ("k6.12-panic", "dump.elf", "elf", "complete"),
    ("k6.12-kdump", "d31-lzo.kdump", "kdump", "kernel"),
    ("k6.12-kdump", "d31.elf", "elf", "active"),
];

/// Groups of samples whose files must all open.
const GROUPS: [&str; 6] =
    ["kdump", "windows-kernel", "bsd/freebsd-kernel", "embedded", "macos/mach-core", "macos/lldb-crashlog"];

/// Files beside samples that are no dumps.
const BESIDE: [&str; 11] =
    [".md", ".txt", ".json", ".yaml", ".macho", ".snap", ".check", ".zst.txt", ".tool-readelf.txt", ".py", ".yml"];

/// `check-images`.
pub fn check_images(_arguments: &[String]) -> anyhow::Result<()> {
    let shared = tools::shared().context("../shared with samples is needed")?;
    for tool in ["crash", "makedumpfile", "zstd"] {
        ensure!(tools::has(tool), "{tool} is needed: apt-get install {tool}");
    }
    let program = tools::program(true)?;
    let python = peers()?;
    let folder = tempfile::Builder::new().prefix("afterimage-images").tempdir()?;
    let mut failed = Vec::new();
    let checks = Checks { program, python, folder: folder.path().to_owned(), shared: shared.clone() };
    for (name, file, format, kind) in MACHINES {
        println!("{name}/{file}");
        if let Err(error) = checks.machine(name, file, format, kind) {
            println!("  FAILED: {error:#}");
            failed.push(format!("{name}/{file}"));
        }
    }
    for group in GROUPS {
        let (opened, wrong) = checks.group(&shared.join("samples").join(group))?;
        println!("samples/{group}: {opened} open, {} do not {wrong:?}", wrong.len());
        failed.extend(wrong);
    }
    // The facts of each sample.
    let mut test = Command::new("cargo");
    test.args(["test", "--quiet", "--package", "afterimage-dump", "--tests"]);
    run_with(&mut test)?;
    if !failed.is_empty() {
        bail!("{} failed: {}", failed.len(), failed.join(", "));
    }
    println!("all images hold");
    Ok(())
}

/// Python with drgn and volatility3, in the target folder.
pub(crate) fn peers() -> anyhow::Result<PathBuf> {
    let folder = tools::target().join("tools/images");
    let python = folder.join("bin/python");
    if !folder.join("bin/vol").exists() {
        run_with(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run_with(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "drgn==0.3.0",
            "volatility3==2.28.2",
            // volatility3 checks symbol files by their schema only where it has this.
            "jsonschema",
        ]))?;
    }
    Ok(python)
}

struct Checks {
    program: PathBuf,
    python: PathBuf,
    folder: PathBuf,
    shared: PathBuf,
}

impl Checks {
    fn afterimage(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        command
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn info(&self, file: &Path) -> anyhow::Result<Value> {
        let output = stdout_of(self.afterimage(&["--json", "info"]).arg(file))?;
        let line = output.split(|&byte| byte == b'\n').next().unwrap_or_default();
        serde_json::from_slice(line).context("info gives no JSON")
    }

    fn convert(&self, from: &Path, to: &Path, more: &[&str]) -> anyhow::Result<()> {
        run_with(self.afterimage(&["--quiet", "convert", "--force"]).args(more).arg(from).arg("-o").arg(to))
    }

    /// What drgn reads of a dump is what the LiME image has; gives bytes and hash.
    fn drgn(&self, dump: &Path, image: &Path) -> anyhow::Result<String> {
        let script = tools::root().join("xtask/src/check_images/same_memory.py");
        let output = stdout_of(Command::new(&self.python).arg(script).arg(dump).arg(image))?;
        Ok(String::from_utf8_lossy(&output).trim().to_owned())
    }

    fn machine(&self, name: &str, file: &str, format: &str, kind: &str) -> anyhow::Result<()> {
        let packed = self.shared.join("vmcores").join(name).join(format!("{file}.zst"));
        let truth: Value =
            serde_json::from_slice(&std::fs::read(self.shared.join("vmcores").join(name).join("TRUTH/truth.json"))?)?;
        let plain = self.at("plain");
        run_with(Command::new("zstd").args(["-dqf"]).arg(&packed).arg("-o").arg(&plain))?;
        for path in [&packed, &plain] {
            let info = self.info(path)?;
            let facts = [("format", format), ("type", kind), ("os", "linux"), ("arch", "x86_64")];
            for (key, value) in facts {
                ensure!(info[key] == value, "{key} is {} and not {value}", info[key]);
            }
            ensure!(info["os_version"] == truth["osrelease"], "release is {}", info["os_version"]);
            ensure!(info["host"] == truth["hostname"], "host is {} and not {}", info["host"], truth["hostname"]);
            ensure!(info["complete"] == true, "it is not whole");
        }
        println!("  facts: format, type, system, release, host");

        let lime = self.at("image.lime");
        self.convert(&plain, &lime, &["--format", "lime"])?;
        // drgn does not open flattened files (before libkdumpfile 0.5.3); makedumpfile puts them straight.
        let straight = self.at("straight");
        let theirs = if file.ends_with(".flat") {
            let straighten = "makedumpfile -R \"$1\" < \"$0\" > /dev/null";
            run_with(Command::new("sh").args(["-c", straighten]).arg(&plain).arg(&straight))?;
            // QEMU leaves the system's name empty, and drgn wants it before it reads anything: it is put in.
            let file = std::fs::File::options().write(true).open(&straight)?;
            let release = truth["osrelease"].as_str().unwrap_or_default();
            for (field, text) in ["Linux", "host", release, "#1", "x86_64"].iter().enumerate() {
                file.write_all_at(text.as_bytes(), 12 + 65 * field as u64)?;
            }
            straight
        } else {
            plain.clone()
        };
        let same = self.drgn(&theirs, &lime)?;
        println!("  drgn reads the same from it: {same}");
        let script = self.shared.join("lab/check-truth.py");
        let truth_folder = self.shared.join("vmcores").join(name).join("TRUTH");
        if kind == "complete" {
            let output = stdout_of(Command::new("python3").arg(script).arg(&lime).arg(&truth_folder))?;
            let text = String::from_utf8_lossy(&output);
            println!("  planted values: {}", text.lines().last().unwrap_or_default());
        }
        self.others(&plain, &lime, &same)?;
        self.volatility(name, &lime)
    }

    /// Others read what we write.
    fn others(&self, plain: &Path, lime: &Path, same: &str) -> anyhow::Result<()> {
        let new = self.at("new");
        let log = self.at("dmesg.txt");
        let kdump = |codec: &'static str| vec!["--format", "kdump", "--compress", codec];
        let forms =
            [vec!["--format", "elf"], kdump("zlib"), kdump("lzo"), kdump("snappy"), kdump("zstd"), kdump("none")];
        for form in forms {
            self.convert(plain, &new, &form)?;
            let shown = form[1..].iter().filter(|word| !word.starts_with("--")).copied().collect::<Vec<_>>().join(" ");
            let again = self.drgn(&new, lime)?;
            ensure!(again == same, "{shown}: drgn reads {again}");
            let mut said = vec!["drgn".to_owned()];
            let mut dmesg = Command::new("makedumpfile");
            dmesg.args(["--dump-dmesg", "-f"]).arg(&new).arg(&log);
            let done = dmesg.output()?.status.success();
            let lines = std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
            // A distribution's makedumpfile may be built without snappy and zstd.
            let optional = shown.contains("snappy") || shown.contains("zstd");
            ensure!(done || optional, "{shown}: makedumpfile refuses it");
            said.push(if done {
                format!("makedumpfile ({lines} lines of log)")
            } else {
                "not this makedumpfile".into()
            });
            let output = stdout_of(Command::new("crash").arg("--osrelease").arg(&new))?;
            said.push(format!("crash ({})", String::from_utf8_lossy(&output).trim()));
            println!("  our {shown} is read by {}", said.join(", "));
        }
        // Through each of our forms and back.
        let back = self.at("back.lime");
        for form in [vec!["--format", "avml"], vec!["--format", "elf"], kdump("lzo")] {
            self.convert(lime, &new, &form)?;
            self.convert(&new, &back, &["--format", "lime"])?;
            ensure!(std::fs::read(&back)? == std::fs::read(lime)?, "{form:?} and back is not the same");
        }
        println!("  LiME to AVML, ELF, kdump and back: the same bytes");
        Ok(())
    }

    /// volatility3 writes our LiME and AVML as raw images: the same as ours.
    fn volatility(&self, name: &str, lime: &Path) -> anyhow::Result<()> {
        if name != "k6.12-kdump" {
            // Its raw image would have the hole below 4 GiB in zeros.
            return Ok(());
        }
        let raw = self.at("image.raw");
        self.convert(lime, &raw, &["--format", "raw"])?;
        let avml = self.at("image.avml");
        self.convert(lime, &avml, &["--format", "avml"])?;
        for image in [lime, &avml] {
            let folder = self.at("layers");
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir(&folder)?;
            let vol = self.python.with_file_name("vol");
            let mut command = Command::new(vol);
            command.arg("-q").arg("-o").arg(&folder).arg("-f").arg(image).arg("layerwriter.LayerWriter");
            let output = command.output()?;
            let mut layers: Vec<PathBuf> = std::fs::read_dir(&folder)?.filter_map(|e| Some(e.ok()?.path())).collect();
            layers.sort();
            let shown = image.file_name().unwrap_or_default().display();
            let primary = layers.iter().find(|layer| {
                std::fs::metadata(layer).is_ok_and(|m| std::fs::metadata(&raw).is_ok_and(|raw| m.len() == raw.len()))
            });
            let layer = primary.with_context(|| {
                let said = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
                format!("volatility3 wrote no layer of {shown}: {said}")
            })?;
            ensure!(std::fs::read(layer)? == std::fs::read(&raw)?, "{shown}: volatility3 reads something else");
            println!("  volatility3 reads the same from our {shown}");
        }
        Ok(())
    }

    /// How many files of a group open, and which do not.
    fn group(&self, folder: &Path) -> anyhow::Result<(usize, Vec<String>)> {
        let (mut opened, mut wrong) = (0, Vec::new());
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .with_context(|| folder.display().to_string())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if BESIDE.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            match self.info(&file) {
                Ok(_) => opened += 1,
                Err(error) => wrong.push(format!("{name}: {error:#}")),
            }
        }
        Ok((opened, wrong))
    }
}
