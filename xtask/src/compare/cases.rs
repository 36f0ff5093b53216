//! The dumps that are compared: of the test kit's crashing programs, and the samples of the shared folder.
//!
//! It prepares: dumps, the programs beside them, packed files unpacked. For example the sample
//! `elf-core/drgn/crashme.core.zst` is read with `crashme` and `crashme.so`, unpacked from beside it.
//!
//! Trap: a core does not say where its program's file lies now; the samples' names follow a few customs, and the
//! build-id decides in the end.

use super::ours::Call;
use super::peers::Files;
use crate::tools;
use afterimage_testkit::crashers::{self, CRASHERS, Crasher, kernel_core};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One dump, and where it comes from.
#[derive(Clone, Debug)]
pub struct Case {
    /// How it is called in the table and in the list of known differences.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// Where a dump comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The core that the kernel writes of a crashing program.
    Kernel(usize),
    /// The core that `run` writes of it.
    Run(usize),
    /// A sample core.
    Core,
    /// A sample minidump.
    Minidump,
}

/// A dump that is ready to be compared.
#[derive(Debug)]
pub struct Ready {
    /// How our program is called.
    pub call: Call,
    /// What live tools get.
    pub files: Files,
    /// Whether the tools here can read it.
    pub live: bool,
    /// Stored outputs of the tools.
    pub stored: Option<PathBuf>,
}

/// All dumps whose name contains one of `wanted`, or all.
pub fn all(wanted: &[String]) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (index, crasher) in CRASHERS.iter().enumerate() {
        for (way, kind) in [("kernel", Kind::Kernel(index)), ("run", Kind::Run(index))] {
            cases.push(Case { name: format!("{}/{way}", crasher.name), kind });
        }
    }
    match tools::shared() {
        Some(shared) => samples(&shared.join("samples"), &mut cases)?,
        None => eprintln!("compare-stacks: no samples: there is no shared folder beside the workspace"),
    }
    cases.retain(|case| wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word.as_str())));
    Ok(cases)
}

/// The folders with samples of processes, and whether they hold minidumps.
const GROUPS: &[(&str, Kind)] = &[
    ("elf-core", Kind::Core),
    ("bsd", Kind::Core),
    ("embedded", Kind::Core),
    ("minidump-other-os", Kind::Minidump),
    ("windows-user", Kind::Minidump),
    ("windows-wine", Kind::Minidump),
];

fn samples(root: &Path, cases: &mut Vec<Case>) -> anyhow::Result<()> {
    for &(group, kind) in GROUPS {
        for path in files_below(&root.join(group))? {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            let plain = plain_name(&path);
            let wanted = match kind {
                Kind::Core => !name.contains("freebsd-kernel") && !name.contains(".tool-") && is_core(&path),
                _ => plain.ends_with(".dmp") || plain.ends_with(".mdmp"),
            };
            // Microdumps are text for a log.
            if wanted && !name.contains("microdump") {
                cases.push(Case { name, kind });
            }
        }
    }
    Ok(())
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The tool that unpacks a file, and its name without packing.
fn packing(path: &Path) -> Option<(&'static str, String)> {
    let name = path.file_name()?.to_str()?;
    [(".zst", "zstd"), (".bz2", "bzip2"), (".gz", "gzip")]
        .iter()
        .find_map(|(ending, tool)| Some((*tool, name.strip_suffix(ending)?.to_owned())))
}

fn plain_name(path: &Path) -> String {
    let whole = || path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    packing(path).map_or_else(whole, |(_, name)| name)
}

/// Opens a file for reading, unpacked on the way; the second is the tool to wait for.
fn unpacked(path: &Path) -> anyhow::Result<Vec<u8>> {
    match packing(path) {
        Some((tool, _)) => tools::stdout_of(Command::new(tool).arg("-dc").arg(path)),
        None => std::fs::read(path).with_context(|| format!("read {}", path.display())),
    }
}

/// The ELF type and machine of a file's content.
fn elf_kind(bytes: &[u8]) -> Option<(u16, u16)> {
    let header = bytes.get(..20).filter(|header| header.starts_with(b"\x7fELF"))?;
    let half = |at: usize| {
        let bytes = [*header.get(at)?, *header.get(at + 1)?];
        Some(if header.get(5) == Some(&2) { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    Some((half(16)?, half(18)?))
}

fn is_core(path: &Path) -> bool {
    const ET_CORE: u16 = 4;
    unpacked(path).is_ok_and(|bytes| elf_kind(&bytes).is_some_and(|(kind, _)| kind == ET_CORE))
}

impl Case {
    fn crasher(index: usize) -> anyhow::Result<&'static Crasher> {
        CRASHERS.get(index).context("no such crasher")
    }

    /// Makes or unpacks the dump below `scratch`.
    pub fn prepare(&self, program: &Path, scratch: &Path) -> anyhow::Result<Ready> {
        match self.kind {
            Kind::Kernel(index) => {
                let built = crashers::build(Self::crasher(index)?, &crashers::default_dir())?;
                let death = kernel_core(&built, scratch)?;
                Ok(crashed(&built, death.core))
            }
            Kind::Run(index) => {
                let built = crashers::build(Self::crasher(index)?, &crashers::default_dir())?;
                let core = by_run(program, &built, scratch)?;
                Ok(crashed(&built, core))
            }
            Kind::Core | Kind::Minidump => self.sample(scratch),
        }
    }

    fn sample(&self, scratch: &Path) -> anyhow::Result<Ready> {
        let root = tools::shared().context("find the shared folder")?.join("samples");
        let path = root.join(&self.name);
        let beside = path.parent().context("find the sample's folder")?;
        let empty = scratch.join("empty");
        std::fs::create_dir(&empty)?;
        let sysroot = Some(empty);
        if self.kind == Kind::Minidump {
            let stored = beside.join(format!("{}.tool-stackwalk.json", plain_name(&path)));
            let packed = stored.with_extension("json.zst");
            let stored = [stored, packed].into_iter().find(|path| path.is_file());
            let files = Files { core: path.clone(), folder: scratch.to_owned(), foreign: true, program: None };
            // Programs whose unwind data and names a dump leaves out.
            let debug: Vec<PathBuf> = Some(beside.join("bin")).filter(|bin| bin.is_dir()).into_iter().collect();
            return Ok(Ready { call: Call { dump: path, debug, sysroot }, files, live: false, stored });
        }
        let name = plain_name(&path);
        for entry in std::fs::read_dir(beside)? {
            let entry = entry?.path();
            let plain = plain_name(&entry);
            // Other dumps are not needed; some are large.
            let dump =
                plain != name && (plain.ends_with(".core") || plain.contains("core-linux") || plain.contains("_core"));
            if entry.is_file() && !plain.contains(".tool-") && !dump {
                std::fs::write(scratch.join(&plain), unpacked(&entry)?)?;
            }
        }
        let core = scratch.join(&name);
        let machine = elf_kind(&std::fs::read(&core)?).map(|(_, machine)| machine);
        let program = program_names(&name).into_iter().map(|name| scratch.join(name)).find(|path| path.is_file());
        let stored = Some(beside.join(format!("{name}.tool-stack.txt"))).filter(|path| path.is_file());
        let mut debug: Vec<PathBuf> = program.clone().into_iter().collect();
        debug.push(scratch.to_owned());
        Ok(Ready {
            call: Call { dump: path, debug, sysroot },
            files: Files { program, core, folder: scratch.to_owned(), foreign: true },
            live: matches!(machine, Some(3 | 62)),
            stored,
        })
    }
}

/// What the program of a sample core may be called.
fn program_names(core: &str) -> Vec<String> {
    let stem = core.strip_suffix(".core").unwrap_or(core);
    let bare = stem.strip_suffix("_no_headers").unwrap_or(stem);
    let mut names = vec![format!("{stem}.exec"), format!("{bare}.out"), core.replacen("core-", "crash-", 1)];
    if bare != core {
        names.push(bare.to_owned());
    }
    if core == "core" {
        names.push("test".to_owned());
    }
    names.retain(|name| name != core);
    names
}

fn crashed(built: &crashers::BuiltCrasher, core: PathBuf) -> Ready {
    Ready {
        call: Call { dump: core.clone(), debug: vec![built.dir.clone()], sysroot: None },
        files: Files { program: Some(built.program.clone()), core, folder: built.dir.clone(), foreign: false },
        live: true,
        stored: None,
    }
}

/// Lets a program die under `run` and finds the dump.
fn by_run(program: &Path, built: &crashers::BuiltCrasher, scratch: &Path) -> anyhow::Result<PathBuf> {
    let dumps = scratch.join("dumps");
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "120"]).arg(program).args(["run", "--no-network", "-o"]).arg(&dumps).arg("--");
    command.arg(&built.program).args(&built.args).current_dir(scratch).env_remove("DEBUGINFOD_URLS");
    let output = command.stdin(Stdio::null()).output().context("start run")?;
    let mut cores = files_below(&dumps).unwrap_or_default();
    match (cores.pop(), cores.is_empty()) {
        (Some(core), true) => Ok(core),
        (_, _) => bail!("run left not one dump: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// Unpacks a store of symbols beside a minidump.
pub fn unpack_symbols(dump: &Path, scratch: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let Some(folder) = dump.parent().map(|folder| folder.join("symbols")).filter(|folder| folder.is_dir()) else {
        return Ok(Vec::new());
    };
    let to = scratch.join("symbols");
    let mut found = vec![to.clone()];
    for path in files_below(&folder)? {
        let inner = path.strip_prefix(&folder)?.with_file_name(plain_name(&path));
        let target = to.join(inner);
        std::fs::create_dir_all(target.parent().unwrap_or(&to))?;
        std::fs::write(&target, unpacked(&path)?)?;
        found.push(target);
    }
    Ok(found)
}

/// A stored output, unpacked.
pub fn stored(path: &Path) -> anyhow::Result<String> {
    Ok(String::from_utf8_lossy(&unpacked(path)?).into_owned())
}
