//! What is done to a program after linking: stripping, splitting off and packing of its debug information.
//!
//! Each step is the recipe that distributions use, with the same tools. It is not for reading such files.
//!
//! Trap: the order matters; a build-id must be read before the debug sections are moved away by it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::build::{read, run_tool, write};
use super::error::{CrasherError, Result};
use super::model::Step;

/// Does one step to the program `name` in `dir`.
pub(super) fn apply(step: Step, name: &str, dir: &Path) -> Result<()> {
    let tool = |command: &str, args: &[&str]| run_tool(name, Command::new(command).current_dir(dir).args(args));
    let debug = format!("{name}.debug");
    match step {
        Step::Strip => tool("strip", &["--strip-all", name]).map(drop),
        Step::MiniDebugInfo => mini_debug_info(name, dir),
        Step::DebugLink => {
            tool("objcopy", &["--only-keep-debug", name, &debug])?;
            tool("strip", &["--strip-all", name])?;
            tool("objcopy", &[&format!("--add-gnu-debuglink={debug}"), name]).map(drop)
        }
        Step::BuildIdDir => {
            let notes = tool("readelf", &["-n", name])?;
            let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
            let (start, rest) = id
                .and_then(|id| id.split_at_checked(2))
                .ok_or_else(|| CrasherError::NotElf { operation: "read the build-id of", path: dir.join(name) })?;
            let folder = dir.join(".build-id").join(start);
            fs::create_dir_all(&folder).map_err(|error| CrasherError::io("create", &folder, error))?;
            tool("objcopy", &["--only-keep-debug", name, &format!(".build-id/{start}/{rest}.debug")])?;
            tool("strip", &["--strip-all", name]).map(drop)
        }
        Step::Compress(how) => tool("objcopy", &[&format!("--compress-debug-sections={how}"), name]).map(drop),
        Step::Dwp(packer) => {
            tool(packer, &["-e", name, "-o", &format!("{name}.dwp")])?;
            for entry in fs::read_dir(dir).map_err(|error| CrasherError::io("list", dir, error))?.flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "dwo") {
                    fs::remove_file(&path).map_err(|error| CrasherError::io("delete", &path, error))?;
                }
            }
            Ok(())
        }
        Step::Dwz => {
            // A supplementary file holds what at least two programs share, so the program gets a twin.
            let (twin, common) = (format!("{name}.twin"), format!("{name}.dwz"));
            write(&dir.join(&twin), &read(&dir.join(name))?)?;
            tool("dwz", &["-m", &common, "-M", &common, name, &twin]).map(drop)
        }
        Step::DropSectionHeaders => drop_section_headers(&dir.join(name)),
    }
}

/// The recipe of Fedora's `find-debuginfo`: what the dynamic symbol table has already is left out.
fn mini_debug_info(name: &str, dir: &Path) -> Result<()> {
    let tool = |command: &str, args: &[&str]| run_tool(name, Command::new(command).current_dir(dir).args(args));
    let dynamic = tool("nm", &["-D", "--format=posix", "--defined-only", name])?;
    let dynamic: BTreeSet<&str> = dynamic.lines().filter_map(|line| line.split(' ').next()).collect();
    let all = tool("nm", &["--format=posix", "--defined-only", name])?;
    let keep: String = all
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(symbol, rest)| rest.starts_with(['T', 't', 'D']) && !dynamic.contains(symbol))
        .map(|(symbol, _)| format!("{symbol}\n"))
        .collect();
    write(&dir.join("keep"), keep.as_bytes())?;
    tool("objcopy", &["--only-keep-debug", name, "full"])?;
    tool("objcopy", &["-S", "--remove-section=.comment", "--keep-symbols=keep", "full", "mini"])?;
    tool("strip", &["--strip-all", "--remove-section=.comment", name])?;
    tool("xz", &["--force", "mini"])?;
    tool("objcopy", &["--add-section", ".gnu_debugdata=mini.xz", name])?;
    for file in ["keep", "full", "mini.xz"] {
        let path = dir.join(file);
        fs::remove_file(&path).map_err(|error| CrasherError::io("delete", &path, error))?;
    }
    Ok(())
}

/// Clears `e_shoff`, `e_shnum` and `e_shstrndx` of the file header; the program runs as before.
fn drop_section_headers(path: &Path) -> Result<()> {
    let mut bytes = read(path)?;
    // ELFCLASS64, ELFDATA2LSB.
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return Err(CrasherError::NotElf { operation: "drop the section headers of", path: path.to_owned() });
    }
    for field in [0x28..0x30, 0x3c..0x40] {
        if let Some(field) = bytes.get_mut(field) {
            field.fill(0);
        }
    }
    write(path, &bytes)
}
