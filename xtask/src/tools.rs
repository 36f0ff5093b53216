//! Running other programs, and knowing where the workspace is.

use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder that cargo builds into.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The shared folder beside the workspace with samples of real dumps, if it is there.
pub fn shared() -> Option<PathBuf> {
    let shared = root().join("../shared").canonicalize().ok()?;
    shared.join("samples").is_dir().then_some(shared)
}

/// Whether a program can be found.
pub fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Runs a command in the workspace's folder; its output goes where ours goes.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<()> {
    run_with(Command::new(program).args(arguments))
}

/// Runs a prepared command in the workspace's folder.
pub fn run_with(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}").replace('"', "");
    let status = command.current_dir(root()).stdin(Stdio::null()).status().with_context(|| format!("start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// What a command prints to standard output.
pub fn stdout_of(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let shown = format!("{command:?}").replace('"', "");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// Builds the program in this profile and gives its path.
pub fn program(release: bool) -> anyhow::Result<PathBuf> {
    let mut arguments = vec!["build", "--quiet", "--package", "afterimage"];
    if release {
        arguments.push("--release");
    }
    run("cargo", &arguments)?;
    Ok(target().join(if release { "release" } else { "debug" }).join("afterimage"))
}
