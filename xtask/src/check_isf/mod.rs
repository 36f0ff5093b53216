//! What afterimage writes for others out of a machine's image, read by them: volatility3 with our ISF says of the machine
//! what it said of itself, and drgn and crash read an ELF whose VMCOREINFO was lost and found again in memory.
//!
//! *What it is not*: quick. volatility3 checks each new ISF against its schema for minutes, then takes ten seconds a plugin.
//!
//! *Example*: `cargo xtask check-isf k6.1-live`; `--all` runs every plugin that needs no question, not only those whose rows
//! can be compared.
//!
//! *Trap*: volatility3 opens ELF, LiME and raw images only, so others are converted first.

use crate::check_images::peers;
use crate::tools::{self, run_with, stdout_of};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder and file in `../shared/vmcores`. What was filtered (kdump) holds too little for most plugins.
const MACHINES: [(&str, &str); 3] =
    [("k6.1-live", "dump.elf"), ("k6.12-live", "kdump-zlib.flat"), ("k6.12-panic", "dump.elf")];

/// Plugins whose rows can be compared.
const COMPARED: [&str; 20] = [
    "linux.pslist.PsList",
    "linux.psaux.PsAux",
    "linux.pstree.PsTree",
    "linux.lsmod.Lsmod",
    "linux.lsof.Lsof",
    "linux.sockstat.Sockstat",
    "linux.kmsg.Kmsg",
    "linux.mountinfo.MountInfo",
    "linux.pagecache.Files",
    "linux.envars.Envars",
    "linux.kthreads.Kthreads",
    "linux.capabilities.Capabilities",
    "linux.iomem.IOMem",
    // Its way through the symbols of modules fails by itself where the kernel has exports by distances.
    "linux.kallsyms.Kallsyms --core",
    "linux.check_syscall.Check_syscall",
    "linux.check_idt.Check_idt",
    "linux.netfilter.Netfilter",
    "linux.tty_check.tty_check",
    "linux.boottime.Boottime",
    "linux.ip.Addr",
];

/// Plugins that walk the memory of processes. volatility3 2.28.2 fails at a mapping whose inode has the number 0 (shared
/// memory of System V), with whatever symbols; so they are asked for the processes that have none.
const OF_PROCESSES: [&str; 4] =
    ["linux.proc.Maps", "linux.malfind.Malfind", "linux.elfs.Elfs", "linux.library_list.LibraryList"];

/// The rest, whose rows only show that they ran. Left out is `linux.sockscan`: that of 2.28.2 fails at each old `struct file`
/// in free memory that leads to no socket any more, with whatever symbols.
const OTHERS: [&str; 18] = [
    "linux.bash.Bash",
    "linux.pidhashtable.PIDHashTable",
    "linux.vmcoreinfo.VMCoreInfo",
    "linux.ip.Link",
    "linux.ptrace.Ptrace",
    "linux.ebpf.EBPF",
    "linux.check_afinfo.Check_afinfo",
    "linux.check_creds.Check_creds",
    "linux.check_modules.Check_modules",
    "linux.modxview.Modxview",
    "linux.keyboard_notifiers.Keyboard_notifiers",
    "linux.graphics.fbdev.Fbdev",
    "linux.tracing.ftrace.CheckFtrace",
    "linux.tracing.perf_events.PerfEvents",
    "linux.tracing.tracepoints.CheckTracepoints",
    "linux.pscallstack.PsCallStack",
    "linux.malware.process_spoofing.ProcessSpoofing",
    "linux.psscan.PsScan",
];

/// `check-isf`.
pub fn check_isf(arguments: &[String]) -> anyhow::Result<()> {
    let shared = tools::shared().context("../shared with samples is needed")?;
    ensure!(tools::has("zstd"), "zstd is needed: apt-get install zstd");
    let program = tools::program(true)?;
    let python = peers()?;
    let all = arguments.iter().any(|argument| argument == "--all");
    let names: Vec<&String> = arguments.iter().filter(|argument| *argument != "--all").collect();
    for name in &names {
        ensure!(MACHINES.iter().any(|(own, _)| own == name), "{name} is none of {MACHINES:?}");
    }
    let folder = tempfile::Builder::new().prefix("afterimage-isf").tempdir()?;
    let mut failed = Vec::new();
    for (name, file) in MACHINES.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|own| own == name)) {
        println!("{name}/{file}");
        let at = folder.path().join(name);
        std::fs::create_dir(&at)?;
        let machine =
            Machine { program: &program, python: &python, at, truth: shared.join("vmcores").join(name).join("TRUTH") };
        let plain = machine.at.join("plain");
        run_with(
            Command::new("zstd")
                .args(["-dqf"])
                .arg(shared.join("vmcores").join(name).join(format!("{file}.zst")))
                .arg("-o")
                .arg(&plain),
        )?;
        for (what, done) in [
            ("repaired ELF", machine.repaired(&plain).map(|said| println!("  {said}"))),
            ("volatility3", machine.volatility(&plain, all)),
        ] {
            if let Err(error) = done {
                println!("  FAILED: {what}: {error:#}");
                failed.push(format!("{name}: {what}"));
            }
        }
        std::fs::remove_dir_all(&machine.at)?;
    }
    if !failed.is_empty() {
        bail!("{} failed: {}", failed.len(), failed.join(", "));
    }
    println!("all that we write is read");
    Ok(())
}

struct Machine<'m> {
    program: &'m Path,
    python: &'m Path,
    at: PathBuf,
    truth: PathBuf,
}

impl Machine<'_> {
    fn script(name: &str) -> PathBuf {
        tools::root().join("xtask/src/check_isf").join(name)
    }

    /// volatility3's rows with our ISF against the truth.
    fn volatility(&self, plain: &Path, all: bool) -> anyhow::Result<()> {
        let symbols = self.at.join("symbols");
        std::fs::create_dir(&symbols)?;
        run_with(
            Command::new(self.program).args(["extract", "--isf", "-o"]).arg(symbols.join("linux.json.xz")).arg(plain),
        )?;
        let image = self.at.join("image.lime");
        run_with(
            Command::new(self.program).args(["--quiet", "convert", "--format", "lime", "-o"]).arg(&image).arg(plain),
        )?;
        let rows = self.at.join("rows");
        let mut command = Command::new(self.python);
        command.arg(Self::script("run_plugins.py")).arg(&image).arg(&symbols).arg(self.at.join("cache")).arg(&rows);
        command.args(COMPARED);
        let pids = self.pids()?;
        command.args(OF_PROCESSES.map(|plugin| format!("{plugin} --pid {pids}")));
        if all {
            command.args(OTHERS);
        }
        let output = stdout_of(&mut command)?;
        let mut wrong = Vec::new();
        for line in String::from_utf8_lossy(&output).lines() {
            println!("  {line}");
            let mut words = line.split('\t');
            if let (Some(name), Some(status)) = (words.next(), words.next())
                && status != "0"
            {
                wrong.push(name.to_owned());
            }
        }
        let output = Command::new("python3").arg(Self::script("compare.py")).arg(&rows).arg(&self.truth).output()?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("  {line}");
        }
        ensure!(output.status.success(), "rows differ from the truth {}", String::from_utf8_lossy(&output.stderr));
        ensure!(wrong.is_empty(), "plugins failed: {}", wrong.join(", "));
        Ok(())
    }

    /// Processes without a mapping whose inode has the number 0.
    fn pids(&self) -> anyhow::Result<String> {
        let truth: Value = serde_json::from_slice(&std::fs::read(self.truth.join("truth.json"))?)?;
        let odd = |map: &Value| map["inode"] == 0 && map["dev"] != "00:00";
        let processes = truth["processes"].as_array().context("no processes")?.iter();
        let plain = processes.filter(|process| !process["maps"].as_array().is_some_and(|maps| maps.iter().any(odd)));
        Ok(plain.map(|process| process["pid"].to_string()).collect::<Vec<_>>().join(" "))
    }

    /// The image without its VMCOREINFO note, converted to ELF: drgn walks the kernel's page tables with the one that was
    /// found in memory, and reads the banner where kallsyms has it.
    fn repaired(&self, plain: &Path) -> anyhow::Result<String> {
        let broken = self.at.join("broken");
        let mut bytes = std::fs::read(plain)?;
        let Some(note) = bytes.windows(11).take(1 << 20).position(|own| own == b"VMCOREINFO\0") else {
            return Ok("it has no VMCOREINFO note to lose".into());
        };
        if let Some(first) = bytes.get_mut(note) {
            *first = b'X';
        }
        std::fs::write(&broken, bytes)?;
        let fixed = self.at.join("fixed");
        run_with(
            Command::new(self.program).args(["--quiet", "convert", "--format", "elf", "-o"]).arg(&fixed).arg(&broken),
        )?;
        let script = Self::script("banner.py");
        let read = |dump: &Path| Command::new(self.python).arg(&script).arg(dump).arg(&self.truth).output();
        ensure!(!read(&broken)?.status.success(), "drgn reads it without the note, so nothing was lost");
        let output = read(&fixed)?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(output.status.success(), "drgn: {said} {}", String::from_utf8_lossy(&output.stderr).trim());
        let mut read_by =
            format!("without its note, and converted: drgn reads the banner through page tables ({said})");
        if tools::has("crash") {
            let output = stdout_of(Command::new("crash").arg("--osrelease").arg(&fixed))?;
            read_by += &format!(", crash its release ({})", String::from_utf8_lossy(&output).trim());
        }
        Ok(read_by)
    }
}
