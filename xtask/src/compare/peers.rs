//! The stacks that gdb and eu-stack show, live or as stored beside a sample.
//!
//! It only reads; what is right is for the judge. For example `gdb(EXE, CORE, …)` runs gdb with a Python script that
//! prints each thread as one line.
//!
//! Trap: eu-stack's exit status is not zero where it does not reach the end of every stack.

use super::frame::{Frame, MOST, Stack, hex};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const WALK: &str = include_str!("walk.py");
/// Seconds that a tool may take for one dump.
const LIMIT: &str = "120";

/// What a live tool is given.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The program.
    pub program: Option<PathBuf>,
    /// The core.
    pub core: PathBuf,
    /// Where libraries and debug files lie.
    pub folder: PathBuf,
    /// Whether this machine's own libraries are not the dump's.
    pub foreign: bool,
}

/// A tool that is ended if it hangs.
fn tool(name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", LIMIT, name]).env_remove("DEBUGINFOD_URLS").stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All threads by gdb.
pub fn gdb(files: &Files, scratch: &Path) -> anyhow::Result<Vec<Stack>> {
    let script = scratch.join("walk.py");
    if !script.exists() {
        std::fs::write(&script, WALK)?;
    }
    let folder = files.folder.display();
    let mut command = tool("gdb");
    command.args(["-nx", "-batch", "-iex", "set auto-load off", "-iex", "set debuginfod enabled off"]);
    command.arg("-iex").arg(format!("set debug-file-directory {folder}:/usr/lib/debug"));
    if files.foreign {
        command.args(["-iex", "set sysroot /nonexistent", "-iex"]).arg(format!("set solib-search-path {folder}"));
    }
    command.args(["-ex", "set backtrace past-main on", "-ex", "set backtrace past-entry off"]);
    match &files.program {
        Some(program) => command.arg("-ex").arg(format!("file {}", program.display())),
        None => &mut command,
    };
    command.arg("-ex").arg(format!("core-file {}", files.core.display())).arg("-x").arg(&script);
    let text = output(&mut command)?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("THREAD ")?).ok());
    Ok(lines.map(|thread| of_gdb(&thread)).collect())
}

fn of_gdb(thread: &Value) -> Stack {
    let none = Vec::new();
    let frames = thread["frames"].as_array().unwrap_or(&none).iter();
    // What gdb makes up from call sites is on no stack; it is told apart so that it is not taken for a frame.
    let frames = frames.filter(|frame| frame["kind"] != "tail").map(|frame| Frame {
        pc: frame["pc"].as_u64(),
        name: frame["name"].as_str().map(str::to_owned),
        guessed: false,
        signal: frame["kind"] == "signal",
        ..Frame::default()
    });
    let tid = thread["tid"].as_u64().and_then(|tid| u32::try_from(tid).ok()).unwrap_or_default();
    Stack { tid, frames: frames.collect(), whole: false }
}

/// All threads by eu-stack.
pub fn eu_stack(files: &Files) -> anyhow::Result<Vec<Stack>> {
    let mut command = tool("eu-stack");
    command.arg("-i").arg("-n").arg((MOST + 100).to_string());
    command.arg(format!("--debuginfo-path=+:.debug:/usr/lib/debug:{}", files.folder.display()));
    command.arg("--core").arg(&files.core);
    if let Some(program) = &files.program {
        command.arg("-e").arg(program);
    }
    Ok(stored_eu_stack(&output(&mut command)?))
}

/// A name as a frame has it; what says nothing of a function is no name.
fn name(text: &str) -> Option<String> {
    let text = text.trim();
    // `$x` marks where instructions begin, in the symbol tables of ARM and RISC-V.
    (!text.is_empty() && text != "??" && !text.starts_with('$')).then(|| text.to_owned())
}

/// The threads in eu-stack's output, also within other text.
pub fn stored_eu_stack(text: &str) -> Vec<Stack> {
    let mut stacks: Vec<Stack> = Vec::new();
    // The file goes on with what the tool complained of, and with what gdb said.
    for line in text.lines().take_while(|line| !line.starts_with("== gdb")) {
        if let Some(tid) = line.strip_prefix("TID ").and_then(|rest| rest.trim_end_matches(':').parse().ok()) {
            stacks.push(Stack { tid, ..Stack::default() });
        } else if let (true, Some(stack)) = (line.starts_with('#'), stacks.last_mut()) {
            let mut words = line.split_once("0x").map_or("", |(_, rest)| rest).splitn(2, ' ');
            let pc = words.next().and_then(hex);
            stack.frames.push(Frame { pc, name: words.next().and_then(name), ..Frame::default() });
        }
    }
    stacks
}

/// The threads in a stored output of gdb's `thread apply all bt`.
pub fn stored_gdb(text: &str) -> Vec<Stack> {
    let mut stacks: Vec<Stack> = Vec::new();
    for line in text.lines().skip_while(|line| !line.starts_with("== gdb")) {
        if line.starts_with("-- stderr") {
            break;
        }
        // `Thread 2 (LWP 24043):`, `Thread 1 (process 17):`
        if let (true, Some(id)) = (line.starts_with("Thread "), line.split(['(', ')']).nth(1)) {
            let tid = id.split_whitespace().nth(1).and_then(|tid| tid.parse().ok()).unwrap_or_default();
            stacks.push(Stack { tid, ..Stack::default() });
        } else if let (true, Some(stack)) = (line.starts_with('#'), stacks.last_mut()) {
            // gdb has no registers of such a thread: `#0  <unavailable> in ?? ()`.
            stack
                .frames
                .extend(Some(line_of_gdb(line)).filter(|frame| !line.contains("<unavailable>") || frame.pc.is_some()));
        }
    }
    stacks
}

/// `#1  0x401c00 in main (argc=1) at a.c:3`, and without address `#2  bar (z=1) at a.c:4`.
fn line_of_gdb(line: &str) -> Frame {
    let rest = line.trim_start_matches(|letter: char| letter == '#' || letter.is_ascii_digit()).trim();
    let (pc, rest) = match rest.strip_prefix("0x").and_then(|rest| rest.split_once(" in ")) {
        Some((pc, rest)) => (hex(pc), rest),
        None => (None, rest),
    };
    if rest.starts_with("<signal handler called>") {
        return Frame { pc, signal: true, ..Frame::default() };
    }
    // The arguments begin behind a space; those of the type do not.
    Frame { pc, name: rest.split(" (").next().and_then(name), ..Frame::default() }
}
