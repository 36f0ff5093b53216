//! The frames, modules and memory of a dump as our own program shows them.

use super::frame::{Code, Frame, Stack, hex};
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How our program is called on a dump.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The dump.
    pub dump: PathBuf,
    /// Files and folders with programs and symbols.
    pub debug: Vec<PathBuf>,
    /// An empty folder in place of this machine's own files, where those are not the dump's.
    pub sysroot: Option<PathBuf>,
}

impl Call {
    fn table(&self, program: &Path, table: &str) -> anyhow::Result<(Vec<Value>, String)> {
        let mut command = Command::new(program);
        command.args(["--json", "--no-network"]).env_remove("DEBUGINFOD_URLS").stdin(Stdio::null());
        for path in &self.debug {
            command.arg("--debug").arg(path);
        }
        if let Some(sysroot) = &self.sysroot {
            command.arg("--sysroot").arg(sysroot);
        }
        let output = command.arg("show").arg(&self.dump).arg(table).output().context("start our program")?;
        let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("show {table}: {}: {}", output.status, remarks.trim());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let rows = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("read {line}")));
        Ok((rows.collect::<anyhow::Result<_>>()?, remarks))
    }

    /// All threads' frames.
    pub fn stacks(&self, program: &Path) -> anyhow::Result<Vec<Stack>> {
        let mut stacks: Vec<Stack> = Vec::new();
        let (rows, remarks) = self.table(program, "frames")?;
        for row in rows {
            let tid = row["tid"].as_u64().and_then(|tid| u32::try_from(tid).ok()).unwrap_or_default();
            if stacks.last().is_none_or(|last| last.tid != tid) {
                // Where a stack does not end as it should, a remark says so.
                let whole = !remarks.contains(&format!("thread {tid}: "));
                stacks.push(Stack { tid, whole, ..Stack::default() });
            }
            let Some(stack) = stacks.last_mut() else { continue };
            stack.frames.push(Frame {
                pc: row["pc"].as_str().and_then(hex),
                name: row["function"].as_str().map(str::to_owned),
                guessed: row["trust"] == "scan",
                signal: row["trust"] == "signal_frame",
                by_tables: matches!(row["trust"].as_str(), Some("unwind_data" | "cfi")),
                without_tables: matches!(row["trust"].as_str(), Some("frame_pointer" | "scan" | "call_site")),
            });
        }
        Ok(stacks)
    }

    /// Where there is code.
    pub fn code(&self, program: &Path) -> anyhow::Result<Code> {
        let range = |row: &Value, from: &str, to: &str| Some(hex(row[from].as_str()?)?..hex(row[to].as_str()?)?);
        let (modules, _) = self.table(program, "modules")?;
        let modules = modules.iter().filter_map(|row| {
            let file = row["file"].as_str().or_else(|| row["path"].as_str());
            Some((range(row, "base", "end")?, file.map(str::to_owned)))
        });
        let (regions, _) = self.table(program, "regions")?;
        let known = |row: &&Value| row["perms"].as_str().is_some_and(|perms| perms.contains('x'));
        let executable: Vec<_> = regions.iter().filter(known).filter_map(|row| range(row, "start", "end")).collect();
        Ok(Code { modules: modules.collect(), complete: !executable.is_empty(), executable })
    }
}
