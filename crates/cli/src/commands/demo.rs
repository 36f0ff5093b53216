//! `demo`: the main job on a real crash, step by step. Each step is a command of this program, run as a reader would.

use crate::args::{Common, Demo};
use crate::failure::{Failure, OUTPUT};
use crate::output::style::{COMMAND, DIM, HEADING, paint};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub fn demo(arguments: &Demo, common: &Common) -> Result<u8, Failure> {
    if arguments.crash {
        return Ok(crate::demo_sample::serve());
    }
    let program = std::env::current_exe().map_err(|e| Failure::new(OUTPUT, format!("find this program: {e}")))?;
    let folder = folder(arguments)?;
    say(HEADING, "A small server runs, and dies. afterimage watches it.");
    let crash = [
        "run".into(),
        "-o".into(),
        folder.clone().into_os_string(),
        "--".into(),
        program.clone().into_os_string(),
        "demo".into(),
        "--crash".into(),
    ];
    step(&program, &crash, common)?;
    let dump = dump_in(&folder)
        .ok_or_else(|| Failure::new(OUTPUT, format!("demo: no dump was written to {}", folder.display())))?;
    let dump = dump.into_os_string();
    say(HEADING, "The dump stays. What is it?");
    step(&program, &["info".into(), dump.clone()], common)?;
    say(HEADING, "Every answer is a table: for eyes, for scripts (--json), for a spreadsheet (--csv).");
    step(&program, &["show".into(), dump.clone(), "threads".into()], common)?;
    step(&program, &["show".into(), dump.clone(), "exception".into(), "--json".into()], common)?;
    anstream::eprintln!();
    say(HEADING, "Go on yourself:");
    for more in ["explain", "show DUMP frames", "show DUMP registers", "show DUMP modules", "show DUMP environment"] {
        let shown = match more.split_once("DUMP") {
            Some((verb, table)) => format!("{verb}{}{table}", dump.to_string_lossy()),
            None => format!("{more} {}", dump.to_string_lossy()),
        };
        anstream::eprintln!("  {}", paint(COMMAND, &format!("{} {shown}", program.display())));
    }
    anstream::eprintln!(
        "{}",
        paint(DIM, &format!("Nothing else was left behind. To remove it: rm -r {}", folder.display()))
    );
    Ok(0)
}

fn say(style: anstyle::Style, text: &str) {
    anstream::eprintln!("{}", paint(style, text));
}

/// The folder that the user named, or a new one under the system's temporary folder.
fn folder(arguments: &Demo) -> Result<PathBuf, Failure> {
    let fail = |path: &Path, e: std::io::Error| Failure::new(OUTPUT, format!("create {}: {e}", path.display()));
    if let Some(folder) = &arguments.output {
        std::fs::create_dir_all(folder).map_err(|e| fail(folder, e))?;
        return Ok(folder.clone());
    }
    let folder = std::env::temp_dir().join(format!("afterimage-demo-{}", std::process::id()));
    std::fs::create_dir(&folder).map_err(|e| fail(&folder, e))?;
    Ok(folder)
}

/// Prints a command as a reader can repeat it, and runs it.
fn step(program: &Path, arguments: &[OsString], common: &Common) -> Result<(), Failure> {
    let shown: Vec<String> = arguments.iter().map(|argument| shell_word(&argument.to_string_lossy())).collect();
    let name = shell_word(&program.to_string_lossy());
    anstream::eprintln!("{} {}", paint(DIM, "$"), paint(COMMAND, &format!("{name} {}", shown.join(" "))));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if common.color != crate::args::Color::Auto {
        let when = if common.color == crate::args::Color::Always { "always" } else { "never" };
        // Before the verb's own arguments: everything behind `--` belongs to the program that is run.
        command = Command::new(program);
        command.args(["--color", when]).args(arguments).stdin(Stdio::null());
    }
    command.status().map_err(|e| Failure::new(OUTPUT, format!("start {}: {e}", program.display())))?;
    anstream::eprintln!();
    Ok(())
}

/// A word as a shell takes it.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The newest dump in a folder.
fn dump_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let dumps = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "core"));
    dumps.max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok()).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_for_a_shell() {
        assert_eq!(super::shell_word("/usr/bin/x-1"), "/usr/bin/x-1");
        assert_eq!(super::shell_word("it's"), r"'it'\''s'");
    }
}
