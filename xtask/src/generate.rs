//! Files that are made from the program's own declarations: they are committed, and `--check` fails when they are stale.

use crate::tools::{program, root, stdout_of};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// Writes the generated files, or with `--check` compares them.
pub fn generate(arguments: &[String]) -> anyhow::Result<()> {
    let check = arguments.iter().any(|argument| argument == "--check");
    let files = files()?;
    let mut stale = Vec::new();
    for (path, content) in &files {
        let full = root().join(path);
        if std::fs::read(&full).is_ok_and(|old| old == *content) {
            continue;
        }
        stale.push(path.display().to_string());
        if !check {
            if let Some(folder) = full.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&full, content).with_context(|| format!("write {}", full.display()))?;
        }
    }
    if check && !stale.is_empty() {
        bail!("these generated files are stale (cargo xtask generate): {}", stale.join(", "));
    }
    for path in stale {
        println!("wrote {path}");
    }
    Ok(())
}

/// All generated files with their content.
fn files() -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let afterimage = program(false)?;
    let output = |arguments: &[&str]| stdout_of(Command::new(&afterimage).args(arguments));
    let mut files = BTreeMap::new();
    files.insert("docs/tables.md".into(), output(&["tables", "--markdown"])?);
    files.insert("docs/tables.schema.json".into(), output(&["tables", "--schema"])?);
    for (shell, name) in [("bash", "afterimage.bash"), ("zsh", "_afterimage"), ("fish", "afterimage.fish")] {
        files.insert(format!("docs/completions/{name}").into(), output(&["completions", shell])?);
    }
    let folder = tempfile::tempdir()?;
    output(&["man", folder.path().to_str().context("the temporary folder's name is not UTF-8")?])?;
    for entry in std::fs::read_dir(folder.path())? {
        let entry = entry?;
        files.insert(PathBuf::from("docs/man").join(entry.file_name()), std::fs::read(entry.path())?);
    }
    Ok(files)
}
