//! JSON crash reports (`.ips` of macOS 12 and iOS 15 on; bug type 309), and lists of processes after lack of memory (298).
//!
//! *What it is not*: panics, which have a text inside (`panic`).
//!
//! *Example*: `{"imageOffset": 15941, "imageIndex": 0}` is the address `usedImages[0].base + 15941`.
//!
//! *Trap*: an image without a file (`source` `A`) has base 0 and size 0: offsets into it are addresses.

use super::draft::{Draft, MAX_FRAMES};
use super::json::Value;
use super::report::{Jetsam, JetsamProcess, ObjcException, ReportKind, ReportedFrame, ReportedThread, Termination};
use super::words;
use crate::{Issue, ModuleRecord};

/// Images by their place in the report.
pub(super) struct Image {
    base: u64,
    name: Option<String>,
}

/// Reads what stands in the line before the report proper.
pub(super) fn header(draft: &mut Draft<'_>, header: &Value) {
    let word = |name: &str| header.get(name).and_then(Value::words);
    draft.report.bug_type = draft.report.bug_type.take().or_else(|| word("bug_type"));
    draft.report.incident = draft.report.incident.take().or_else(|| word("incident_id"));
    if let Some(system) = word("os_version") {
        draft.system(&system);
    }
    draft.time = draft.time.or_else(|| words::time(&word("timestamp")?));
    draft.process.name = draft.process.name.take().or_else(|| word("app_name")).or_else(|| word("name"));
    for (name, key) in [("app_version", "app_version"), ("bundle_id", "bundleID"), ("slice_uuid", "slice_uuid")] {
        if let Some(text) = word(key) {
            draft.fact(name, text);
        }
    }
}

/// Reads the report of a crash.
pub(super) fn body(draft: &mut Draft<'_>, body: &Value) {
    process(draft, body);
    exception(draft, body);
    let images = images(draft, body);
    for (index, thread) in body.get("threads").map_or(&[][..], Value::list).iter().enumerate() {
        if !thread_of(draft, thread, index, &images) {
            break;
        }
    }
    let blamed = body.get("faultingThread").and_then(Value::u64).and_then(|index| usize::try_from(index).ok());
    draft.crashed = draft.crashed.or(blamed).filter(|&index| index < draft.threads.len());
    if let Some(frames) = body.get("lastExceptionBacktrace") {
        draft.report.last_exception = frames_of(draft, frames.list(), &images);
    }
    reasons(draft, body);
    if draft.threads.is_empty() && draft.report.jetsam.is_none() {
        draft.issues.push(Issue::loss("the report holds no threads"));
    }
}

fn process(draft: &mut Draft<'_>, body: &Value) {
    let word = |path: &[&str]| body.at(path).and_then(Value::words);
    let system = word(&["osVersion", "train"]).map(|train| match word(&["osVersion", "build"]) {
        Some(build) => format!("{train} ({build})"),
        None => train,
    });
    if let Some(system) = system {
        draft.os_version = None;
        draft.system(&system);
    }
    draft.arch = word(&["cpuType"]).and_then(|cpu| words::arch(&cpu)).or(draft.arch);
    draft.time = word(&["captureTime"]).and_then(|time| words::time(&time)).or(draft.time);
    let process = &mut draft.process;
    process.pid = body.get("pid").and_then(Value::u32).or(process.pid);
    process.ppid = body.get("parentPid").and_then(Value::u32).or(process.ppid);
    process.uid = body.get("userID").and_then(Value::u32).or(process.uid);
    process.name = word(&["procName"]).or_else(|| process.name.take());
    process.executable = word(&["procPath"]).or_else(|| process.executable.take());
    process.start_time = word(&["procLaunch"]).and_then(|time| words::time(&time));
    draft.report.incident = word(&["incident"]).or_else(|| draft.report.incident.take());
    draft.report.bug_type = draft.report.bug_type.take().or_else(|| word(&["bug_type"]));
    draft.report.hardware = word(&["modelCode"]).or_else(|| word(&["product"]));
    let facts: [(&str, &[&str]); 10] = [
        ("version", &["bundleInfo", "CFBundleShortVersionString"]),
        ("build", &["bundleInfo", "CFBundleVersion"]),
        ("bundle", &["bundleInfo", "CFBundleIdentifier"]),
        ("parent", &["parentProc"]),
        ("responsible", &["responsibleProc"]),
        ("role", &["procRole"]),
        ("hardware", &["modelCode"]),
        ("sip", &["sip"]),
        ("uptime_seconds", &["uptime"]),
        ("coalition", &["coalitionName"]),
    ];
    for (name, path) in facts {
        if let Some(text) = word(path) {
            draft.fact(name, text);
        }
    }
    if body.get("translated").is_some_and(Value::is_true) {
        draft.fact("translated", "the program ran through Rosetta");
    }
}

fn exception(draft: &mut Draft<'_>, body: &Value) {
    let word = |name: &str| body.at(&["exception", name]).and_then(Value::words);
    draft.report.exception = word("type");
    draft.report.signal = word("signal");
    draft.report.subtype = word("subtype");
    draft.report.message = word("message");
    draft.codes = match body.at(&["exception", "rawCodes"]) {
        Some(codes) => codes.list().iter().filter_map(Value::u64).take(16).collect(),
        None => {
            word("codes").map_or_else(Vec::new, |codes| codes.split(',').map_while(words::number).take(16).collect())
        }
    };
}

/// Images: into the modules, and by index for the frames.
fn images(draft: &mut Draft<'_>, body: &Value) -> Vec<Image> {
    let program = draft.process.executable.clone();
    let mut images = Vec::new();
    for image in body.get("usedImages").map_or(&[][..], Value::list) {
        let word = |name: &str| image.get(name).and_then(Value::words);
        if !draft.afford(512) || images.len() >= draft.budget.max_items {
            break;
        }
        let base = image.get("base").and_then(Value::u64).unwrap_or(0);
        let size = image.get("size").and_then(Value::u64).unwrap_or(0);
        let path = word("path").or_else(|| word("name"));
        let name = word("name").or_else(|| path.as_ref()?.rsplit('/').next().map(str::to_owned));
        images.push(Image { base, name });
        if let Some(arch) = word("arch").and_then(|arch| words::arch(&arch))
            && (draft.arch.is_none() || path.is_some() && path == program)
        {
            draft.arch = Some(arch);
        }
        let Some(end) = base.checked_add(size).filter(|&end| base < end) else { continue };
        let version = word("CFBundleShortVersionString").or_else(|| word("CFBundleVersion"));
        let build_id = word("uuid").and_then(|text| words::uuid(&text));
        let path = path.or_else(|| word("uuid")).unwrap_or_default();
        draft.modules.push(ModuleRecord { base, end, path, build_id, version, ..ModuleRecord::default() });
    }
    images
}

fn thread_of(draft: &mut Draft<'_>, thread: &Value, number: usize, images: &[Image]) -> bool {
    let frames = frames_of(draft, thread.get("frames").map_or(&[], Value::list), images);
    let told = ReportedThread {
        frames,
        queue: thread.get("queue").and_then(Value::words),
        number: u32::try_from(number).ok(),
        state: Vec::new(),
    };
    let id = thread.get("id").and_then(Value::u64);
    let Some(index) = draft.thread(id, thread.get("name").and_then(Value::words), told) else { return false };
    if thread.get("triggered").is_some_and(Value::is_true) {
        draft.crashed.get_or_insert(index);
    }
    let value = |value: &Value| value.get("value").unwrap_or(value).u64();
    for (name, member) in thread.get("threadState").map_or(&[][..], Value::members) {
        match member {
            // Arm: `x` (`r` with 32 bits) is a list.
            Value::List(registers) => {
                for (number, register) in registers.iter().enumerate().take(64) {
                    if let Some(value) = value(register) {
                        draft.state(index, &format!("{name}{number}"), value);
                    }
                }
            }
            Value::Map(_) => {
                if let Some(number) = value(member) {
                    draft.state(index, name, number);
                }
                if let Some(text) = member.get("description").and_then(Value::words)
                    && draft.crashed == Some(index)
                {
                    draft.fact(&format!("state.{name}"), text);
                }
            }
            _ => {}
        }
    }
    true
}

/// Frames of one stack.
pub(super) fn frames_of(draft: &mut Draft<'_>, frames: &[Value], images: &[Image]) -> Vec<ReportedFrame> {
    let mut out = Vec::new();
    for frame in frames {
        if out.len() >= MAX_FRAMES || !draft.afford_frame() {
            break;
        }
        let Some(offset) = frame.get("imageOffset").and_then(Value::u64) else {
            let what = "a frame has no offset in its image: it is left out";
            if !draft.issues.iter().any(|issue| issue.text == what) {
                draft.issues.push(Issue::loss(what));
            }
            continue;
        };
        let index = frame.get("imageIndex").and_then(Value::u64).and_then(|index| usize::try_from(index).ok());
        let image = index.and_then(|index| images.get(index));
        let line = frame.get("sourceLine").and_then(Value::u32).filter(|&line| line != 0);
        out.push(ReportedFrame {
            address: image.map_or(0, |image| image.base).wrapping_add(offset),
            image: image.and_then(|image| image.name.clone()),
            image_offset: image.filter(|image| image.base != 0).map(|_| offset),
            symbol: frame.get("symbol").and_then(Value::words),
            symbol_offset: frame.get("symbolLocation").and_then(Value::u64),
            file: frame.get("sourceFile").and_then(Value::words),
            line,
            inlined: frame.get("inline").is_some_and(Value::is_true),
        });
    }
    out
}

/// Why: termination, the program's own words, the kernel's.
fn reasons(draft: &mut Draft<'_>, body: &Value) {
    if let Some(termination) = body.get("termination") {
        let word = |name: &str| termination.get(name).and_then(Value::words);
        let lists = ["reasons", "details"].iter().filter_map(|name| termination.get(name));
        draft.report.termination = Some(Termination {
            namespace: word("namespace"),
            code: termination.get("code").and_then(Value::u64),
            indicator: word("indicator"),
            details: lists.flat_map(Value::list).filter_map(Value::words).take(64).collect(),
            by: word("byProc"),
        });
    }
    for (image, lines) in body.get("asi").map_or(&[][..], Value::members).iter().take(64) {
        let text: Vec<&str> = lines.list().iter().filter_map(Value::text).collect();
        draft.report.application.push((image.clone(), text.join("\n")));
    }
    if let Some(reason) = body.get("exceptionReason") {
        let word = |name: &str| reason.get(name).and_then(Value::words);
        draft.report.objc = Some(ObjcException {
            name: word("name").or_else(|| word("class")),
            reason: word("composed_message").or_else(|| word("reason")).or_else(|| word("format_string")),
        });
    }
    let word = |name: &str| body.get(name).and_then(Value::words);
    draft.report.region = word("vmRegionInfo").or_else(|| word("vmregioninfo"));
    draft.report.triage = word("ktriageinfo");
    let notes = body.get("reportNotes").map_or(&[][..], Value::list);
    draft.report.notes = notes.iter().filter_map(Value::words).take(64).collect();
    for note in draft.report.notes.clone() {
        draft.issues.push(Issue::remark(format!("the writer of the report says: {note}")));
    }
}

/// Reads a report on lack of memory.
pub(super) fn jetsam(draft: &mut Draft<'_>, body: &Value) {
    process(draft, body);
    let mut jetsam = Jetsam {
        page_size: body.at(&["memoryStatus", "pageSize"]).and_then(Value::u64),
        largest: body.get("largestProcess").and_then(Value::words),
        processes: Vec::new(),
    };
    for process in body.get("processes").map_or(&[][..], Value::list) {
        if !draft.afford(128) {
            break;
        }
        jetsam.processes.push(JetsamProcess {
            pid: process.get("pid").and_then(Value::u32),
            name: process.get("name").and_then(Value::words).unwrap_or_default(),
            pages: process.get("rpages").and_then(Value::u64),
            reason: process.get("reason").and_then(Value::words),
        });
    }
    draft.report.kind = ReportKind::Jetsam;
    draft.report.jetsam = Some(Box::new(jetsam));
}
