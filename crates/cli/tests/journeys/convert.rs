//! `convert`: what other programs read of what it writes, and how it fails.

use crate::tool::{Report, afterimage, output};
use afterimage_testkit::build_core::sample_core;
use afterimage_testkit::crashers::{BuiltCrasher, build, default_dir, find, kernel_core};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a tool that may be missing; in CI it may not.
fn tool(command: &mut Command) -> Option<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let there = Command::new("sh").args(["-c", "command -v \"$0\" > /dev/null", &name]).status().unwrap().success();
    if !there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{name} is missing");
        println!("skipped: {name} is missing");
        return None;
    }
    Some(output(command.env_remove("DEBUGINFOD_URLS"), LIMIT))
}

fn convert(input: &Path, out: &Path, more: &[&str]) -> Output {
    output(afterimage().arg("convert").arg(input).arg("-o").arg(out).args(more), LIMIT)
}

fn converted(input: &Path, out: &Path, more: &[&str]) {
    let done = convert(input, out, more);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Programs that crash, with the kernel's core of each.
fn cores(dir: &Path) -> Vec<(BuiltCrasher, PathBuf)> {
    let names = ["null_read", "threads", "i386", "in_handler", "cpp_runtime_error"];
    let built = names.map(|name| build(find(name).unwrap(), &default_dir()).unwrap());
    built
        .into_iter()
        .map(|built| (kernel_core(&built, dir).unwrap().core, built))
        .map(|(core, built)| (built, core))
        .collect()
}

fn gdb(program: &Path, core: &Path) -> Option<String> {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "thread apply all bt"]);
    let output = tool(command.arg(program).arg(core))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // What is printed while the core is read may name its file.
    Some(text.split("Core was generated").nth(1).unwrap_or(&text).to_owned())
}

fn eu_stack(program: &Path, core: &Path) -> Option<String> {
    let mut command = Command::new("eu-stack");
    let output = tool(command.arg("-e").arg(program).arg(format!("--core={}", core.display())))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().filter(|line| !line.contains("core file")).collect::<Vec<_>>().join("\n"))
}

/// What other readers see: without afterimage's own streams.
fn without_own(path: &Path, out: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let count = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    for at in (32..32 + 12 * count).step_by(12) {
        if bytes[at + 2..at + 4] == [0x46, 0x41] {
            bytes[at..at + 12].fill(0);
        }
    }
    std::fs::write(out, bytes).unwrap();
}

#[test]
fn debuggers_read_a_core_that_came_back() {
    let dir = tempfile::tempdir().unwrap();
    for (built, core) in cores(dir.path()) {
        let name = built.crasher.name;
        let path = |end: &str| dir.path().join(format!("{name}.{end}"));
        let (mini, plain, back, made_up) = (path("dmp"), path("plain.dmp"), path("back"), path("made-up"));
        converted(&core, &mini, &["--format", "minidump"]);
        converted(&mini, &back, &["--format", "elf"]);
        without_own(&mini, &plain);
        converted(&plain, &made_up, &["--format", "elf"]);
        for (what, other) in [("came back", &back), ("was made up", &made_up)] {
            if let (Some(before), Some(after)) = (gdb(&built.program, &core), gdb(&built.program, other)) {
                assert!(before.contains("#0"), "{name}: {before}");
                // The thread pointer is in no standard stream, so gdb may not name the threads by their handles.
                let frames = |text: &str| {
                    text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
                };
                assert_eq!(frames(&after), frames(&before), "{name}: the core that {what}, by gdb");
            }
            if let (Some(before), Some(after)) = (eu_stack(&built.program, &core), eu_stack(&built.program, other)) {
                assert!(before.contains("#0"), "{name}: {before}");
                assert_eq!(after, before, "{name}: the core that {what}, by eu-stack");
            }
        }
        let verdict = |path: &Path| Report::explain(path, Some(&built.dir)).unwrap().sentences();
        let before = verdict(&core);
        for path in [&mini, &back, &plain, &made_up] {
            assert_eq!(verdict(path), before, "{name}: {}", path.display());
        }
    }
}

#[test]
fn a_core_of_our_own_comes_back_byte_by_byte() {
    let dir = tempfile::tempdir().unwrap();
    let built = build(find("threads").unwrap(), &default_dir()).unwrap();
    for dump_type in ["active", "small", "complete"] {
        let dumps = dir.path().join(dump_type);
        let mut command = afterimage();
        command.args(["run", "--type", dump_type, "-o"]).arg(&dumps).arg("--").arg(&built.program).args(&built.args);
        output(command.current_dir(dir.path()), LIMIT);
        let core = std::fs::read_dir(&dumps).unwrap().next().unwrap().unwrap().path();
        let (mini, back) = (dumps.join("mini"), dumps.join("back"));
        converted(&core, &mini, &["--format", "minidump"]);
        converted(&mini, &back, &["--format", "elf"]);
        assert!(std::fs::read(&core).unwrap() == std::fs::read(&back).unwrap(), "{dump_type}");
    }
}

#[test]
fn minidump_stackwalk_reads_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for (built, core) in cores(dir.path()) {
        let name = built.crasher.name;
        for dump_type in ["active", "small"] {
            let mini = dir.path().join(format!("{name}.{dump_type}.dmp"));
            converted(&core, &mini, &["--format", "minidump", "--type", dump_type]);
            let Some(output) = tool(Command::new("minidump-stackwalk").arg("--json").arg(&mini)) else { return };
            let says: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
                panic!("{name}: {error}: {}", String::from_utf8_lossy(&output.stderr));
            });
            let ours = Report::explain(&core, Some(&built.dir)).unwrap();
            assert_eq!(says["status"], "OK", "{name}");
            assert_eq!(says["pid"], ours.value("dump", "pid"), "{name}");
            let reason = says["crash_info"]["type"].as_str().unwrap();
            assert!(reason.starts_with(ours.value("exception", "signal").as_str().unwrap()), "{name}: {reason}");
            assert_eq!(says["threads"].as_array().unwrap().len(), ours.table("threads").count(), "{name}");
            let tid = ours.value("exception", "thread");
            let crashing = &says["threads"][says["crash_info"]["crashing_thread"].as_u64().unwrap() as usize];
            assert_eq!(crashing["thread_id"], tid, "{name}");
            let frames = ours.frames(&tid);
            let number =
                |text: &Value| u64::from_str_radix(text.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
            assert_eq!(number(&crashing["frames"][0]["offset"]), number(&frames[0]["pc"]), "{name}");
            // The stack is there: whatever it finds behind the first frame, it found in memory.
            assert!(crashing["frames"].as_array().unwrap().len() > 1, "{name}: {crashing}");
            let main = &says["modules"][says["main_module"].as_u64().unwrap() as usize];
            assert_eq!(main["filename"], built.program.file_name().unwrap().to_str().unwrap(), "{name}");
            let id = |row: &serde_json::Map<String, Value>| row["build_id"].as_str().map(str::to_owned);
            let known: Vec<String> = ours.table("modules").filter_map(id).collect();
            let code_ids: Vec<&str> =
                says["modules"].as_array().unwrap().iter().filter_map(|m| m["code_id"].as_str()).collect();
            assert!(known.iter().all(|id| code_ids.contains(&id.as_str())), "{name}: {known:?} and {code_ids:?}");
        }
    }
}

#[test]
fn lldb_reads_a_small_minidump() {
    let dir = tempfile::tempdir().unwrap();
    let built = build(find("null_read").unwrap(), &default_dir()).unwrap();
    let (core, mini) = (kernel_core(&built, dir.path()).unwrap().core, dir.path().join("small.dmp"));
    converted(&core, &mini, &["--format", "minidump", "--type", "small"]);
    let load = format!("target create --core {}", mini.display());
    let Some(output) = tool(Command::new("lldb").args(["-b", "-o", &load, "-o", "thread list", "-o", "bt"])) else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("stop reason = signal SIGSEGV"), "{text}");
    assert!(built.crasher.frames.iter().all(|frame| text.contains(frame)), "{:?}: {text}", built.crasher.frames);
}

const PYTHON: &str = r#"
import json, sys
try:
    from minidump.minidumpfile import MinidumpFile
except ImportError:
    print("missing")
    sys.exit()
m = MinidumpFile.parse(sys.argv[1])
reader = m.get_reader()
segments = (m.memory_segments_64 or m.memory_segments).memory_segments
def pc(thread):
    context = thread.ContextObject
    return getattr(context, "Rip", None) or getattr(context, "Eip", None)
print(json.dumps({
    "threads": [[t.ThreadId, pc(t)] for t in m.threads.threads],
    "modules": [[x.name, x.baseaddress] for x in m.modules.modules],
    "memory": [[s.start_virtual_address, s.size, reader.read(s.start_virtual_address, min(64, s.size)).hex()] for s in segments],
}))
"#;

#[test]
fn a_python_library_reads_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (built, core) = cores(dir.path()).swap_remove(1);
    for dump_type in ["active", "small"] {
        let mini = dir.path().join(format!("{dump_type}.dmp"));
        converted(&core, &mini, &["--format", "minidump", "--type", dump_type]);
        let Some(output) = tool(Command::new("python3").arg("-c").arg(PYTHON).arg(&mini)) else { return };
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        if line == "missing" {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "Python's package minidump is missing");
            println!("skipped: Python's package minidump is missing");
            return;
        }
        let says: Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        let dump = afterimage_dump::open(&core, &afterimage_dump::Budget::default()).unwrap();
        let threads: Vec<Value> =
            dump.threads.iter().map(|t| serde_json::json!([t.tid, t.registers.pc().unwrap().0])).collect();
        assert_eq!(says["threads"], Value::Array(threads), "{}", built.crasher.name);
        assert!(says["modules"].as_array().unwrap().len() > 2);
        let memory = says["memory"].as_array().unwrap();
        assert!(memory.len() > 5);
        for range in memory {
            use afterimage_dump::MemoryExt;
            let mut bytes = vec![0; range[1].as_u64().unwrap().min(64) as usize];
            dump.memory.read_exact(afterimage_dump::Virt(range[0].as_u64().unwrap()), &mut bytes).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(range[2], hex);
        }
    }
}

fn sample(dir: &Path) -> PathBuf {
    let path = dir.join("core");
    std::fs::write(&path, sample_core()).unwrap();
    path
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_and_pipes_are_the_same_and_packing_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let core = sample(dir.path());
    let out = dir.path().join("out.dmp");
    converted(&core, &out, &["--format", "minidump"]);
    let plain = std::fs::read(&out).unwrap();
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let piped = convert(&core, Path::new("-"), &["--format", "minidump"]);
    assert_eq!(piped.stdout, plain);
    assert!(String::from_utf8_lossy(&piped.stderr).starts_with("standard output: "));
    let packed = dir.path().join("out.dmp.zst");
    let told = convert(&core, &packed, &["--format", "minidump", "--compress", "zstd", "--json", "-q"]);
    let row: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(row["file_bytes"], std::fs::metadata(&packed).unwrap().len());
    assert_eq!((&row["format"], &row["unpacked_bytes"]), (&"minidump".into(), &plain.len().into()));
    assert!(told.stderr.is_empty());
    if let Some(unpacked) = tool(Command::new("zstd").args(["-dc"]).arg(&packed)) {
        assert_eq!(unpacked.stdout, plain);
    }
    let again = dir.path().join("again.core");
    converted(&packed, &again, &["--format", "elf"]);
    assert!(Report::explain(&again, None).unwrap().sentences().len() > 20);
    assert_eq!(names(dir.path()), ["again.core", "core", "out.dmp", "out.dmp.zst"]);
}

#[test]
fn nothing_is_overwritten_or_left_half() {
    let dir = tempfile::tempdir().unwrap();
    let core = sample(dir.path());
    let before = std::fs::read(&core).unwrap();
    let out = dir.path().join("out");
    let status = |out: &Path, more: &[&str]| {
        let done = convert(&core, out, more);
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() || error.lines().count() == 1, "{error}");
        done.status.code()
    };
    std::fs::write(&out, "mine").unwrap();
    assert_eq!(status(&out, &[]), Some(2));
    assert_eq!(std::fs::read(&out).unwrap(), b"mine");
    assert_eq!(status(&out, &["--force"]), Some(0));
    assert_eq!(std::fs::read(&out).unwrap(), before);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&core, &link).unwrap();
    for itself in [&core, &link] {
        assert_eq!(status(itself, &["--force", "--format", "minidump"]), Some(2));
    }
    assert_eq!(std::fs::read(&core).unwrap(), before);
    assert_eq!(status(Path::new("/dev/null"), &["--force"]), Some(2));
    assert_eq!(status(&dir.path().join("no/such/folder"), &[]), Some(6));
    assert_eq!(status(&dir.path().join("x"), &["--csv"]), Some(2));
    assert_eq!(status(Path::new("-"), &["--json"]), Some(2));
    // What is not in a dump cannot be written.
    let small = dir.path().join("small");
    assert_eq!(status(&small, &["--type", "small", "--format", "minidump"]), Some(0));
    assert_eq!(convert(&small, &dir.path().join("x"), &["--type", "complete"]).status.code(), Some(2));
    assert_eq!(names(dir.path()), ["core", "link", "out", "small"]);
}

#[test]
fn a_full_disk_leaves_no_half_file() {
    let dir = tempfile::tempdir().unwrap();
    let core = sample(dir.path());
    let out = dir.path().join("out");
    for compress in ["none", "zstd"] {
        let script = "trap '' XFSZ; ulimit -f 2; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_afterimage"), "convert"]).arg(&core).arg("-o").arg(&out);
        let done = output(command.args(["--format", "minidump", "--compress", compress]), LIMIT);
        assert_eq!(done.status.code(), Some(6), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(names(dir.path()), ["core"], "--compress {compress}");
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = afterimage();
    command.arg("convert").arg(&core).args(["-o", "-"]).stdout(full);
    assert_eq!(command.output().unwrap().status.code(), Some(6));
}
