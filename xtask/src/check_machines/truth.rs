//! What a guest said of itself while it ran: `truth.json`, and the files of its /proc and /sys as they were read.

use crate::tools::{run_with, stdout_of};
use anyhow::Context;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One line of /proc/kallsyms.
pub struct Symbol {
    /// Where it lies.
    pub address: u64,
    /// nm's letter.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Module, in brackets, or `[bpf]`; the kernel's own have none.
    pub module: Option<String>,
}

/// A TRUTH folder.
pub struct Truth {
    folder: PathBuf,
    files: tempfile::TempDir,
    peers: Option<(PathBuf, String)>,
    /// `truth.json`.
    pub json: Value,
    /// /proc/kallsyms.
    pub symbols: Vec<Symbol>,
}

impl Truth {
    /// Reads and unpacks it. Beside the stored machines lies what other readers print for them: `peers`.
    pub fn open(folder: &Path, peers: Option<(PathBuf, String)>) -> anyhow::Result<Self> {
        let text = std::fs::read(folder.join("truth.json")).with_context(|| folder.display().to_string())?;
        let files = tempfile::Builder::new().prefix("afterimage-truth").tempdir()?;
        run_with(Command::new("tar").arg("-xzf").arg(folder.join("guest-files.tar.gz")).arg("-C").arg(files.path()))?;
        let kallsyms = stdout_of(Command::new("gzip").arg("-dc").arg(folder.join("kallsyms.gz")))?;
        let symbols = String::from_utf8_lossy(&kallsyms).lines().filter_map(symbol).collect();
        Ok(Self { folder: folder.to_owned(), files, peers, json: serde_json::from_slice(&text)?, symbols })
    }

    /// The processes that the guest listed.
    pub fn processes(&self) -> impl Iterator<Item = &Value> {
        self.list("processes")
    }

    /// The short name of a process.
    pub fn comm(&self, pid: u64) -> Option<&str> {
        self.processes().find(|process| number(&process["pid"]) == pid).and_then(|process| process["comm"].as_str())
    }

    /// A list of `truth.json`; none where it has none.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.json[name].as_array().into_iter().flatten()
    }

    /// A file of the guest, as `proc/1/mountinfo`.
    pub fn file(&self, path: &str) -> anyhow::Result<String> {
        let bytes = std::fs::read(self.files.path().join(path)).with_context(|| format!("the guest's {path}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Bytes of a page, as the kernel told its first process (`AT_PAGESZ`): arm64 has three sizes.
    pub fn page(&self) -> anyhow::Result<u64> {
        const AT_PAGESZ: u64 = 6;
        let bytes = std::fs::read(self.files.path().join("proc/1/auxv")).context("the guest's auxv")?;
        let words: Vec<u64> =
            bytes.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?))).collect();
        let pair = words.chunks_exact(2).find(|pair| pair.first() == Some(&AT_PAGESZ));
        pair.and_then(|pair| pair.get(1)).copied().context("the guest's auxv has no size of a page")
    }

    /// The files of all descriptors' fdinfo that have this key, with their process and descriptor.
    pub fn fdinfo(&self, key: &str) -> Vec<(u64, u64, HashMap<String, String>)> {
        let mut found = Vec::new();
        for process in self.processes() {
            let pid = number(&process["pid"]);
            for file in process["fds"].as_array().into_iter().flatten() {
                let fd = number(&file["fd"]);
                let Ok(text) = self.file(&format!("proc/{pid}/fdinfo/{fd}")) else { continue };
                let pairs = text.lines().filter_map(|line| line.split_once(':'));
                let pairs: HashMap<String, String> =
                    pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
                if pairs.contains_key(key) {
                    found.push((pid, fd, pairs));
                }
            }
        }
        found
    }

    /// The number of a process's namespace of this kind, as `net`; the lists below /proc/net are of process 1's.
    pub fn namespace(&self, pid: u64, kind: &str) -> Option<u64> {
        let process = self.processes().find(|process| number(&process["pid"]) == pid)?;
        text(&process["ns"][kind]).split_once(":[")?.1.strip_suffix(']')?.parse().ok()
    }

    /// A file beside `truth.json`, as `dmesg.txt`.
    pub fn beside(&self, name: &str) -> anyhow::Result<String> {
        let bytes = std::fs::read(self.folder.join(name)).with_context(|| format!("TRUTH/{name}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What another reader printed for this machine, all its files one behind the other; `None` where it was not asked.
    pub fn peer(&self, reader: &str) -> Option<String> {
        let (folder, machine) = self.peers.as_ref()?;
        let start = format!("{machine}.{reader}");
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)));
        paths.sort();
        let texts: Vec<String> = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    /// Address of a symbol of the kernel itself.
    pub fn address(&self, name: &str) -> anyhow::Result<u64> {
        let found = self.symbols.iter().find(|symbol| symbol.name == name && symbol.module.is_none());
        Ok(found.with_context(|| format!("the guest had no {name}"))?.address)
    }
}

/// A line of kallsyms.
pub fn symbol(line: &str) -> Option<Symbol> {
    let mut words = line.split_whitespace();
    let (address, kind, name, module) = (words.next()?, words.next()?, words.next()?, words.next());
    let address = u64::from_str_radix(address, 16).ok()?;
    Some(Symbol { address, kind: kind.into(), name: name.into(), module: module.map(Into::into) })
}

/// A number of `truth.json`, or 0xffff… where there is none.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX)
}

/// A text of JSON, empty where there is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// An address as JSON has them: text, with `0x`.
pub fn address(value: &Value) -> u64 {
    u64::from_str_radix(text(value).trim_start_matches("0x"), 16).unwrap_or(u64::MAX)
}
