//! The program under test, asked about one dump: a table as its JSON lines, and the notes that came with them.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

/// One table of one dump.
pub struct Answer {
    /// Its rows.
    pub rows: Vec<Value>,
    /// What the program said beside them, a line each.
    pub notes: Vec<String>,
}

/// One dump and the program that reads it. Each table is asked for once.
pub struct Asker {
    program: PathBuf,
    dump: PathBuf,
    /// Whoever took the dump left pages out: a row or a cell may be missing, if that is said.
    pub filtered: bool,
    answers: RefCell<HashMap<String, Rc<Answer>>>,
}

impl Asker {
    /// Opens a dump with `info`, which tells how much of the machine it holds.
    pub fn new(program: &Path, dump: &Path) -> anyhow::Result<Self> {
        let mut asker = Self {
            program: program.to_owned(),
            dump: dump.to_owned(),
            filtered: false,
            answers: RefCell::new(HashMap::new()),
        };
        let info = asker.ask(&["info"], &[])?;
        let kind = info.rows.first().and_then(|row| row["type"].as_str()).context("info gives no type")?;
        asker.filtered = kind != "complete";
        Ok(asker)
    }

    /// A whole table.
    pub fn table(&self, table: &str) -> anyhow::Result<Rc<Answer>> {
        self.table_of(table, &[])
    }

    /// A table with keys, as `cpu=0`.
    pub fn table_of(&self, table: &str, keys: &[&str]) -> anyhow::Result<Rc<Answer>> {
        let key = [&[table], keys].concat().join(" ");
        if let Some(known) = self.answers.borrow().get(&key) {
            return Ok(known.clone());
        }
        let answer = Rc::new(self.ask(&["show"], &[&[table], keys].concat())?);
        self.answers.borrow_mut().insert(key, answer.clone());
        Ok(answer)
    }

    /// What `extract` writes to standard output, as text.
    pub fn extract(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let (out, _) = self.run(&["--quiet", "extract"], &[arguments, &["--output", "-"]].concat())?;
        String::from_utf8(out).context("extract gives something else than UTF-8")
    }

    /// What `extract` writes to standard output, and what it said beside.
    pub fn extracted(&self, arguments: &[&str]) -> anyhow::Result<(Vec<u8>, Vec<String>)> {
        self.run(&["extract"], &[arguments, &["--output", "-"]].concat())
    }

    /// Lets `extract` write a file; gives what it said.
    pub fn extract_to(&self, arguments: &[&str], file: &Path) -> anyhow::Result<Vec<String>> {
        let file = file.to_str().context("a path that is no UTF-8")?;
        let (_, notes) = self.run(&["extract"], &[arguments, &["--force", "--output", file]].concat())?;
        Ok(notes)
    }

    /// What the program prints for people.
    pub fn said(&self, command: &[&str]) -> anyhow::Result<String> {
        let (out, _) = self.run(&[&["--no-network"], command].concat(), &[])?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn ask(&self, before: &[&str], after: &[&str]) -> anyhow::Result<Answer> {
        let (out, notes) = self.run(&[&["--json", "--no-network"], before].concat(), after)?;
        let lines = out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let rows = lines.map(serde_json::from_slice).collect::<Result<Vec<Value>, _>>();
        Ok(Answer { rows: rows.with_context(|| format!("{before:?} {after:?}: no JSON"))?, notes })
    }

    fn run(&self, before: &[&str], after: &[&str]) -> anyhow::Result<(Vec<u8>, Vec<String>)> {
        let mut command = Command::new(&self.program);
        command.args(before).arg(&self.dump).args(after);
        let output = command.output().with_context(|| format!("start {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{before:?} {after:?}: {}: {}", output.status, said.trim());
        Ok((output.stdout, said.lines().map(str::to_owned).collect()))
    }
}
