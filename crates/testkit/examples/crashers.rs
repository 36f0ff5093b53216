//! Checks the manifest of crashing programs against gdb: builds them, lets them die, and compares what gdb says about
//! the kernel's core with what the manifest expects.
//!
//! It proves the manifest, not afterimage. For example `cargo run -p afterimage-testkit --example crashers -- null_read`
//! checks one; without names it checks all, and its exit status is 1 if any does not agree.
//!
//! Trap: gdb is not perfect. Where the manifest expects more than gdb finds, the difference has its reason in [`KNOWN`].

use std::path::Path;
use std::process::{Command, ExitCode};

use afterimage_testkit::crashers::{
    BuiltCrasher, CRASHERS, Crasher, Death, Dies, Fact, SIGNAL_FRAME, build, default_dir, frames_agree, kernel_core,
};
use anyhow::{Context, Result};

/// Where gdb 13 knows less than it could, and why.
const KNOWN: &[(&str, &str)] = &[
    (
        "no_section_headers",
        "it needs section headers to find names and unwind rules; eu-stack shows the stack as expected",
    ),
    ("dwp", "gdb 13 crashes on clang's DWARF 5 package; lldb shows the stack as expected"),
];

/// `si_code` of what the processor reports without saying more.
const SI_KERNEL: i32 = 0x80;

fn main() -> Result<ExitCode> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let work = tempfile::tempdir()?;
    let mut wrong = 0;
    for crasher in CRASHERS.iter().filter(|crasher| names.is_empty() || names.iter().any(|name| name == crasher.name)) {
        let built = build(crasher, &default_dir())?;
        let death = match kernel_core(&built, work.path()) {
            Ok(death) => death,
            Err(error) => {
                wrong += 1;
                println!("{:24} FAILED: {error}", crasher.name);
                continue;
            }
        };
        let problems = compare(crasher, &built, &death, !names.is_empty())?;
        let known = KNOWN.iter().find(|(name, _)| *name == crasher.name);
        match (problems.is_empty(), known) {
            (true, None) => println!("{:24} agreed", crasher.name),
            (true, Some(_)) => println!("{:24} agreed, although it is listed as known", crasher.name),
            (false, Some((_, reason))) => println!("{:24} gdb knows less: {reason}", crasher.name),
            (false, None) => {
                wrong += 1;
                println!("{:24} DIFFERS\n    {}", crasher.name, problems.join("\n    "));
            }
        }
        std::fs::remove_dir_all(&death.dir)?;
    }
    println!("{wrong} differ");
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What gdb shows of one frame.
struct Frame<'a> {
    name: Option<&'a str>,
    /// `FILE:LINE`, if it has source.
    place: Option<&'a str>,
}

fn compare(crasher: &Crasher, built: &BuiltCrasher, death: &Death, verbose: bool) -> Result<Vec<String>> {
    let text = gdb(built, &death.core)?;
    if verbose {
        println!("{text}\n{}{}", death.stdout, death.stderr);
    }
    let mut problems = Vec::new();
    let mut expect = |right: bool, what: String| {
        if !right {
            problems.push(what);
        }
    };
    let ended = match crasher.dies {
        Dies::Started => std::os::unix::process::ExitStatusExt::signal(&death.status),
        Dies::Child => death.status.code().map(|code| code - 128),
    };
    expect(ended == Some(crasher.signal), format!("ended: {}", death.status));

    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("nothing").trim();
    expect(value("signo=") == crasher.signal.to_string(), format!("signal in the core: {}", value("signo=")));
    expect(value("code=") == crasher.code.to_string(), format!("si_code: {}", value("code=")));

    // gdb prints the innermost frame when it opens the core, too.
    let frames: Vec<Frame> =
        text.lines().skip_while(|line| *line != "STACK").filter(|line| line.starts_with('#')).map(frame).collect();
    let actual: Vec<Option<&str>> = frames.iter().map(|frame| frame.name).collect();
    if let Err(error) = frames_agree(crasher.frames, &actual) {
        let all: Vec<&str> = actual.iter().map(|name| name.unwrap_or("??")).take(25).collect();
        expect(false, format!("frames: {error}\n      {}", all.join(" < ")));
    }
    if let (Some(place), Some(line)) = (crasher.place, crasher.line()?) {
        let want = format!("{}:{line}", place.file);
        let found = frames.iter().filter_map(|frame| frame.place).find(|at| at.starts_with(place.file));
        expect(found == Some(&want), format!("place: {} where {want} is expected", found.unwrap_or("none")));
    }
    for fact in crasher.facts {
        match fact {
            // The kernel knows no address in a general protection fault and in an alignment check.
            Fact::Address(address) if crasher.code != SI_KERNEL && crasher.kind != "bus_misaligned" => {
                expect(value("addr=") == format!("{address:#x}"), format!("address: {}", value("addr=")));
            }
            Fact::Message(message) => {
                expect(death.stderr.contains(message), format!("message: {}", death.stderr));
            }
            Fact::ExceptionType(name) => {
                expect(death.stderr.contains(name), format!("exception: {}", death.stderr));
            }
            Fact::ExceptionText(words) => {
                expect(death.stderr.contains(words), format!("what(): {}", death.stderr));
            }
            Fact::SenderIsChild => {
                let sender = death.sender().map(|pid| pid.to_string());
                expect(sender.as_deref() == Some(value("pid=")), format!("sender: {}", value("pid=")));
            }
            Fact::SenderIsSelf => {
                expect(value("pid=") == death.pid.to_string(), format!("sender: {}", value("pid=")));
            }
            Fact::SystemCall(number) => {
                expect(value("syscall=") == number.to_string(), format!("system call: {}", value("syscall=")));
            }
            Fact::Module(module) if *module != "[vdso]" => {
                let path = value("module=");
                expect(path.ends_with(module), format!("module: {path}"));
            }
            _ => {}
        }
    }
    Ok(problems)
}

fn gdb(built: &BuiltCrasher, core: &Path) -> Result<String> {
    // `info symbol` names the object file only in a program with several; `info proc` does not work on every core.
    let script = "\
python
def say(key, expression, form='%d'):
    try:
        print(key + '=' + (form % int(gdb.parse_and_eval(expression))))
    except Exception as error:
        print(key + '=' + str(error))
say('signo', '$_siginfo.si_signo')
say('code', '$_siginfo.si_code')
say('addr', '$_siginfo._sifields._sigfault.si_addr', '0x%x')
say('pid', '$_siginfo._sifields._kill.si_pid')
say('syscall', '$_siginfo._sifields._sigsys._syscall')
pc = int(gdb.parse_and_eval('$pc'))
print('module=' + str(gdb.solib_name(pc) or gdb.current_progspace().filename))
end
";
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), script)?;
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex"])
        .arg(format!("set debug-file-directory {}", built.dir.display()))
        .args(["-iex", "set width 0", "-iex", "set print frame-arguments none", "-iex"])
        .args(["set filename-display basename", "-ex", "echo \\nSTACK\\n", "-ex", "bt", "-x"])
        .arg(file.path())
        .arg(&built.program)
        .arg(core)
        .output()
        .context("run gdb")?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// `#1  0x0000… in NAME (...) at FILE:LINE`, or `from LIBRARY`, or neither.
fn frame(line: &str) -> Frame<'_> {
    let rest = line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start());
    let rest = match rest.split_once(" in ") {
        Some((address, rest)) if address.starts_with("0x") => rest,
        _ => rest,
    };
    let (rest, place) = rest.rsplit_once(" at ").map_or((rest, None), |(rest, place)| (rest, Some(place)));
    let rest = rest.rsplit_once(" from ").map_or(rest, |(rest, _)| rest);
    let name = rest.rsplit_once(" (").map_or(rest, |(name, _)| name);
    let name = if name == "<signal handler called>" { SIGNAL_FRAME } else { name };
    Frame { name: (name != "??").then_some(name), place }
}
