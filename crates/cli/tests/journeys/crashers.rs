//! Every crashing program of the test kit dies twice: under the kernel, which writes its own core, and under `run`.
//! Both times the verdict, the stack and the place must be what the manifest says.

use crate::tool::{Report, afterimage, output};
use afterimage_testkit::crashers::{
    BuiltCrasher, CRASHERS, Dies, Fact, SIGNAL_FRAME, base_name, build, default_dir, frames_agree, kernel_core,
};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What is wrong with a report, one line each.
fn judge(built: &BuiltCrasher, report: &Report, sender: Option<u32>) -> Vec<String> {
    let crasher = &built.crasher;
    let mut wrong = Vec::new();
    let mut expect = |what: &str, right: bool, got: String| {
        if !right {
            wrong.push(format!("{what}: {got}"));
        }
    };
    let exception = |column: &str| report.value("exception", column);
    expect("signal", exception("number") == crasher.signal, exception("number").to_string());
    expect("si_code", exception("code") == crasher.code, exception("code").to_string());
    let kind = exception("kind");
    expect(&format!("kind (expected {})", crasher.kind), kind == crasher.kind, kind.to_string());
    let tid = exception("thread");
    let frames = report.frames(&tid);
    let names: Vec<Option<&str>> = frames
        .iter()
        .map(|row| match (row["function"].as_str(), row["why"].as_str()) {
            (Some("__restore_rt" | "__restore" | "__kernel_rt_sigreturn" | "__kernel_sigreturn"), _) => {
                Some(SIGNAL_FRAME)
            }
            (name, _) => name,
        })
        .collect();
    if let Err(why) = frames_agree(crasher.frames, &names) {
        expect("frames", false, format!("{why}; the stack is {names:?}"));
    }
    if let Some(place) = crasher.place {
        let line = crasher.line().unwrap();
        let found = frames.iter().any(|row| {
            let file = row["file"].as_str().unwrap_or_default();
            let function = row["function"].as_str().unwrap_or_default();
            file.ends_with(place.file)
                && row["line"].as_u64() == line.map(u64::from)
                && base_name(function) == base_name(place.function)
        });
        let lines: Vec<String> =
            frames.iter().take(6).map(|row| format!("{} {}:{}", row["function"], row["file"], row["line"])).collect();
        expect(&format!("place (expected {} {}:{line:?})", place.function, place.file), found, lines.join(", "));
    }
    let message = exception("message");
    let message = message.as_str().unwrap_or_default().to_owned();
    let sentences = report.sentences();
    for fact in crasher.facts {
        let (right, got) = match *fact {
            // The address in words, as the verdict says it; `si_addr` itself cannot hold a non-canonical one.
            Fact::Address(at) | Fact::NullOffset(at) => (
                sentences.contains(&format!("{at:#x}")) || exception("address") == format!("{at:#x}"),
                format!("{} / {sentences}", exception("address")),
            ),
            Fact::Message(text) => (message.contains(text), message.clone()),
            Fact::ExceptionType(name) => (sentences.contains(name), sentences.clone()),
            Fact::ExceptionText(text) => (sentences.contains(text) || message.contains(text), sentences.clone()),
            Fact::SenderIsChild => {
                (exception("sender_pid").as_u64() == sender.map(u64::from), exception("sender_pid").to_string())
            }
            Fact::SenderIsSelf => {
                (exception("sender_pid") == report.value("dump", "pid"), exception("sender_pid").to_string())
            }
            Fact::ThreadName(name) => {
                let named = report.table("threads").find(|row| row["tid"] == tid).map(|row| row["name"].clone());
                // A core that the kernel wrote does not name threads; only its leader's name is in it.
                let silent = named.as_ref().is_none_or(Value::is_null) && report.value("dump", "writer") == "kernel";
                (silent || named.as_ref().is_some_and(|got| got == name), format!("{named:?}"))
            }
            Fact::SystemCall(number) => (sentences.contains(&format!("{number}")), sentences.clone()),
            Fact::Module(name) => {
                let module = frames.first().map(|row| row["module"].clone()).unwrap_or_default();
                (module.as_str().is_some_and(|module| module == name || module.starts_with(name)), module.to_string())
            }
        };
        expect(&format!("{fact:?}"), right, got);
    }
    wrong
}

/// The report on the core that the kernel writes.
fn by_kernel(built: &BuiltCrasher) -> Result<Vec<String>, String> {
    let dir = tempfile::tempdir().unwrap();
    let death = kernel_core(built, dir.path()).map_err(|e| e.to_string())?;
    let report = Report::explain(&death.core, Some(&built.dir))?;
    Ok(judge(built, &report, death.sender()))
}

/// The report that `run` prints.
fn by_run(built: &BuiltCrasher) -> Result<Vec<String>, String> {
    let dir = tempfile::tempdir().unwrap();
    let dumps = dir.path().join("dumps");
    let mut command = afterimage();
    command.args(["run", "--json", "--debug"]).arg(&built.dir).arg("-o").arg(&dumps).arg("--").arg(&built.program);
    let output = output(command.args(&built.args).current_dir(dir.path()), Duration::from_secs(60));
    let mut wrong = Vec::new();
    let status = output.status.code().unwrap_or(-1);
    if status != 128 + built.crasher.signal {
        wrong.push(format!("exit status: {status}"));
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let sender = stdout.lines().find_map(|line| line.strip_prefix("sender ")?.trim().parse().ok());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = Report::parse(&stderr);
    if report.table("dump").next().is_none() {
        return Err(format!("run explained nothing: {stderr}"));
    }
    // A child's death has its own report; the program itself may die of the same signal.
    if matches!(built.crasher.dies, Dies::Child) && report.table("dump").count() != 1 {
        wrong.push(format!("{} reports", report.table("dump").count()));
    }
    wrong.extend(judge(built, &report, sender));
    Ok(wrong)
}

#[test]
fn every_crash_is_explained() {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let only = std::env::var("CRASHER").ok();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(crasher) = CRASHERS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if only.as_deref().is_some_and(|only| only != crasher.name) {
                        continue;
                    }
                    let built = match build(crasher, &default_dir()) {
                        Ok(built) => built,
                        Err(e) => {
                            failures.lock().unwrap().push(format!("{}: {e}", crasher.name));
                            continue;
                        }
                    };
                    for (way, result) in [("kernel", by_kernel(&built)), ("run", by_run(&built))] {
                        let wrong = result.unwrap_or_else(|error| vec![error]);
                        let lines = wrong.iter().map(|line| format!("{} by {way}: {line}", crasher.name));
                        failures.lock().unwrap().extend(lines);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} crashers:\n{}", failures.len(), CRASHERS.len(), failures.join("\n"));
}
