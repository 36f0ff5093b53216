//! Kernel panics: the text that the kernel left, alone (`.panic`) or inside JSON (bug types 210 and 151), there with the
//! stacks of all processes (a stackshot).
//!
//! *What it is not*: a memory dump of the kernel.
//!
//! *Example*: `panic(cpu 1 caller 0xfffffff02e156784): btn_rst`, then `name: value` lines, the backtrace of the thread
//! that panicked, and the extensions whose code stands on it.
//!
//! *Trap*: the innermost addresses of a backtrace are always the panic machinery's own (`handle_debugger_trap`,
//! `panic_trap_to_debugger`): the one that called for it is `caller`, further out.

use super::draft::{Draft, MAX_FRAMES};
use super::json::Value;
use super::line;
use super::report::{Kext, Panic, ReportKind, ReportedFrame, ReportedThread};
use super::words;
use crate::{Arch, Issue, ModuleRecord, Os};

/// The member that holds the text: bug type 210 has `panicString`, older ones and 151 `string`.
const TEXTS: [&str; 3] = ["panicString", "macOSPanicString", "string"];
/// Extensions that are kept.
const MAX_KEXTS: usize = 4096;
/// Images of a stackshot that are looked at; each is compared with all extensions.
const MAX_IMAGES: usize = 16_384;

/// The panic's text in a report, if it is one.
pub(super) fn text_of(body: &Value) -> Option<&str> {
    let texts = TEXTS.iter().filter_map(|name| body.get(name)?.text());
    texts.into_iter().find(|text| text.contains("panic(") || text.contains("Kernel version:"))
}

/// Reads the JSON form.
pub(super) fn body(draft: &mut Draft<'_>, body: &Value) {
    let word = |name: &str| body.get(name).and_then(Value::words);
    draft.report.incident = draft.report.incident.take().or_else(|| word("incident"));
    draft.report.hardware = word("product").or_else(|| word("modelCode"));
    draft.report.bug_type = draft.report.bug_type.take().or_else(|| word("bug_type"));
    draft.time = word("date").and_then(|date| words::time(&date)).or(draft.time);
    if let Some(system) = word("build") {
        draft.os_version = None;
        draft.system(&system);
    }
    for (name, key) in [("hardware", "product"), ("soc", "socId"), ("panic_flags", "panicFlags"), ("kernel", "kernel")]
    {
        if let Some(text) = word(key) {
            draft.fact(name, text);
        }
    }
    match text_of(body).map(str::to_owned) {
        Some(text) => read(draft, &text),
        None => draft.report.kind = ReportKind::Stackshot,
    }
    let notes = body.get("notes").map_or(&[][..], Value::list);
    for note in notes.iter().filter_map(Value::words).take(64) {
        draft.issues.push(Issue::remark(format!("the writer of the report says: {note}")));
        draft.report.notes.push(note);
    }
    stackshot(draft, body);
}

/// Reads the text.
pub(super) fn read(draft: &mut Draft<'_>, text: &str) {
    let mut panic = Panic { text: text.to_owned(), ..Panic::default() };
    let mut lines = text.lines().peekable();
    let mut in_kexts = false;
    let mut in_loaded = false;
    let mut in_backtrace = false;
    let mut started = false;
    while let Some(raw) = lines.next() {
        let line = raw.trim();
        if let Some(found) = line.find("panic(").filter(|_| !started) {
            started = true;
            head(&mut panic, line.get(found..).unwrap_or(line));
            // A message of several lines goes on until something that has a name.
            while let Some(next) = lines.next_if(|next| {
                let next = next.trim();
                !next.is_empty() && !known_key(next) && panic.message.len() < 4096
            }) {
                panic.message.push('\n');
                panic.message.push_str(next.trim());
            }
            continue;
        }
        if line.is_empty() {
            in_kexts = false;
            in_backtrace = false;
            continue;
        }
        if line.starts_with("Kernel Extensions in backtrace") {
            in_kexts = true;
            in_backtrace = false;
            continue;
        }
        if line.starts_with("loaded kexts") {
            in_loaded = true;
            in_kexts = false;
            continue;
        }
        if line.starts_with("Backtrace (CPU") {
            in_backtrace = true;
            continue;
        }
        if in_loaded && panic.loaded.len() < MAX_KEXTS && !line.contains(':') {
            let (name, version) = line.split_once(['\t', ' ']).unwrap_or((line, ""));
            panic.loaded.push((name.to_owned(), version.trim().to_owned()));
            continue;
        }
        if let Some(address) = backtrace_line(line, in_backtrace) {
            if panic.backtrace.len() < MAX_FRAMES && draft.afford_frame() {
                panic.backtrace.push(address);
            }
            continue;
        }
        if in_kexts && panic.kexts.len() < MAX_KEXTS {
            panic.kexts.extend(kext(line));
            continue;
        }
        if line.starts_with("last started kext at") {
            panic.last_started = line.split_once(": ").map(|(_, text)| text.to_owned());
            continue;
        }
        fact(draft, &mut panic, line);
    }
    if panic.message.is_empty() && !started {
        draft.issues.push(Issue::loss("the report holds no line that begins with panic("));
    }
    finish(draft, panic);
}

/// Words that begin the lines behind the message.
fn known_key(line: &str) -> bool {
    const KEYS: [&str; 18] = [
        "Debugger message",
        "Device:",
        "Hardware Model",
        "Memory ID",
        "OS release type",
        "OS version",
        "macOS version",
        "Mac OS version",
        "Kernel version",
        "Darwin Kernel",
        "Kernel UUID",
        "Fileset",
        "Backtrace (CPU",
        "Panicked t",
        "lr:",
        "Boot args",
        "BSD process name",
        "Process name corresponding",
    ];
    KEYS.iter().any(|key| line.starts_with(key))
}

/// `panic(cpu 1 caller 0x…): what was said`.
fn head(panic: &mut Panic, line: &str) {
    let inside = line.strip_prefix("panic(").unwrap_or(line);
    let (frame, message) = inside.split_once("):").unwrap_or((inside, ""));
    let after = |word: &str| frame.split_once(word).and_then(|(_, rest)| words::leading_number(rest)).map(|(n, _)| n);
    panic.cpu = after("cpu ").and_then(|cpu| u32::try_from(cpu).ok());
    panic.caller = after("caller ");
    panic.message = message.trim().to_owned();
    // Folklore: older kernels of macOS put the message in quotes and `@file:line` behind it.
    if let Some(rest) = panic.message.strip_prefix('"')
        && let Some((said, place)) = rest.rsplit_once('"')
    {
        panic.message = format!("{said}{place}");
    }
}

/// `lr: 0x…  fp: 0x…` of Arm, `0xFRAME : 0xRETURN [: name + 0x…]` of Intel.
fn backtrace_line(line: &str, intel: bool) -> Option<ReportedFrame> {
    if let Some(rest) = line.strip_prefix("lr:") {
        let (address, rest) = words::leading_number(rest)?;
        return rest.trim_start().starts_with("fp:").then(|| ReportedFrame { address, ..ReportedFrame::default() });
    }
    if !intel || !line.starts_with("0x") {
        return None;
    }
    let (_, rest) = words::leading_number(line)?;
    let (address, rest) = words::leading_number(rest.trim_start().strip_prefix(':')?)?;
    let mut frame = ReportedFrame { address, ..ReportedFrame::default() };
    let name = rest.trim().trim_start_matches(':').trim();
    // `mach_kernel : _panic + 0x54`
    let name = match name.split_once(" : ") {
        Some((image, name)) => {
            frame.image = Some(image.trim().to_owned());
            name
        }
        None => name,
    };
    line::place(&mut frame, name);
    Some(frame)
}

/// `name(version)[UUID]@0xstart->0xlast`, maybe with `dependency:` before it.
fn kext(line: &str) -> Option<Kext> {
    let (line, dependency) = match line.strip_prefix("dependency:") {
        Some(rest) => (rest.trim(), true),
        None => (line, false),
    };
    let open = line.find('(')?;
    let (name, rest) = line.split_at_checked(open)?;
    let (version, rest) = rest.strip_prefix('(')?.split_once(')')?;
    let uuid = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).and_then(|(uuid, _)| words::uuid(uuid));
    let range = rest.split_once('@').and_then(|(_, range)| {
        let (start, rest) = words::leading_number(range)?;
        let (last, _) = words::leading_number(rest.strip_prefix("->")?)?;
        Some((start, last))
    });
    let version = (!version.is_empty()).then(|| version.to_owned());
    Some(Kext { name: name.trim().to_owned(), version, uuid, range, dependency })
}

fn fact(draft: &mut Draft<'_>, panic: &mut Panic, line: &str) {
    let Some((key, value)) = line.split_once(':') else {
        // `Darwin Kernel Version 22.2.0: …` behind a line `Kernel version:` of its own.
        return;
    };
    let (key, value) = (key.trim(), value.trim());
    if key.starts_with("Panicked task") {
        // `0x…: 0 pages, 263 threads: pid 0: kernel_task`
        if let Some((_, rest)) = line.split_once("pid ")
            && let Some((pid, name)) = words::leading_number(rest)
        {
            let name = name.trim_start_matches(':').trim().to_owned();
            panic.task = u32::try_from(pid).ok().map(|pid| (pid, name));
        }
    } else if key.starts_with("Panicked thread") {
        panic.tid = line.split_once("tid:").and_then(|(_, tid)| words::leading_number(tid)).map(|(tid, _)| tid);
    } else if key.starts_with("BSD process name corresponding") || key.starts_with("Process name corresponding") {
        let pid = panic.task.as_ref().map_or(0, |(pid, _)| *pid);
        panic.task = Some((pid, value.to_owned()));
    } else if key.starts_with("Darwin Kernel Version") {
        panic.facts.push(("Kernel version".to_owned(), line.to_owned()));
    } else if !value.is_empty() && panic.facts.len() < 128 && !key.starts_with("CORE ") && key.len() < 48 {
        panic.facts.push((key.to_owned(), value.to_owned()));
        if matches!(key, "OS version" | "macOS version" | "Mac OS version") && draft.os_version.is_none() {
            draft.os_version = Some(value.to_owned());
        }
    }
}

/// The kernel and its extensions as modules, the thread that panicked as the first one.
fn finish(draft: &mut Draft<'_>, panic: Panic) {
    let fact = |name: &str| panic.facts.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let version = fact("Kernel version").unwrap_or("").to_owned();
    if draft.arch.is_none() {
        draft.arch = match version.as_str() {
            text if text.contains("X86_64") => Some(Arch::X86_64),
            text if text.contains("ARM64") => Some(Arch::Aarch64),
            _ if panic.text.contains("Backtrace (CPU") => Some(Arch::X86_64),
            _ if panic.text.contains("lr:") => Some(Arch::Aarch64),
            _ => None,
        };
    }
    if draft.os == Os::Unknown {
        draft.os = if fact("iBoot version").is_some() && !panic.text.contains("macOS") { Os::Ios } else { Os::MacOs };
    }
    let base = fact("Kernel text base").and_then(words::number);
    let uuid = fact("Kernel UUID").and_then(words::uuid);
    for (name, value) in panic.facts.iter().filter(|(name, _)| name.len() < 40).take(64) {
        draft.process.facts.push((format!("panic.{name}"), value.clone()));
    }
    for kext in panic.kexts.iter() {
        if let Some((start, last)) = kext.range {
            draft.modules.push(ModuleRecord {
                base: start,
                end: last.saturating_add(1),
                path: kext.name.clone(),
                build_id: kext.uuid.clone(),
                version: kext.version.clone(),
                ..ModuleRecord::default()
            });
        }
    }
    if let Some(base) = base {
        // The kernel's end is not said; what lies behind it up to the next image that is known may be its.
        let next = draft.modules.iter().map(|module| module.base).filter(|&at| at > base).min();
        let end = next.unwrap_or(u64::MAX).min(base.saturating_add(64 << 20));
        let path = "kernel".to_owned();
        draft.modules.push(ModuleRecord { base, end, path, build_id: uuid, ..ModuleRecord::default() });
    }
    if let Some((pid, name)) = &panic.task {
        draft.process.pid = Some(*pid);
        draft.process.name = Some(name.clone());
    }
    draft.writer.get_or_insert_with(|| "kernel".to_owned());
    draft.report.kind = ReportKind::Panic;
    let told = ReportedThread { frames: panic.backtrace.clone(), ..ReportedThread::default() };
    if !told.frames.is_empty() || panic.tid.is_some() {
        draft.crashed = draft.thread(panic.tid, None, told);
    }
    draft.report.panic = Some(Box::new(panic));
}

/// Stacks of all processes, as bug types 210, 151 and 288 have them.
fn stackshot(draft: &mut Draft<'_>, body: &Value) {
    let bases: Vec<u64> = binary_images(draft, body);
    let Some(processes) = body.get("processByPid") else { return };
    let panicked = draft.report.panic.as_ref().and_then(|panic| panic.tid);
    for (_, process) in processes.members() {
        let name = process.get("procname").and_then(Value::words).unwrap_or_default();
        for (id, thread) in process.get("threadById").map_or(&[][..], Value::members) {
            let id = thread.get("id").and_then(Value::u64).or_else(|| words::number(id));
            let mut frames = Vec::new();
            for list in ["kernelFrames", "userFrames"] {
                for frame in thread.get(list).map_or(&[][..], Value::list) {
                    let [image, offset] = frame.list() else { continue };
                    let (Some(image), Some(offset)) = (image.u64(), offset.u64()) else { continue };
                    if frames.len() >= MAX_FRAMES || !draft.afford_frame() {
                        break;
                    }
                    let base = usize::try_from(image).ok().and_then(|index| bases.get(index)).copied().unwrap_or(0);
                    frames.push(ReportedFrame { address: base.wrapping_add(offset), ..ReportedFrame::default() });
                }
            }
            if id.is_some() && id == panicked {
                // Its stack is known better already.
                continue;
            }
            let queue = thread.get("dispatch_queue_label").and_then(Value::words);
            let own = thread.get("name").and_then(Value::words);
            let label = own.or_else(|| queue.clone()).map_or(name.clone(), |own| format!("{name}: {own}"));
            let told = ReportedThread { frames, queue, ..ReportedThread::default() };
            let Some(index) = draft.thread(id, Some(label), told) else { return };
            let state = thread.get("state").map_or(&[][..], Value::list);
            let words: Vec<&str> = state.iter().filter_map(Value::text).take(8).collect();
            if let Some(thread) = draft.threads.get_mut(index).filter(|_| !words.is_empty()) {
                thread.state = Some(words.join(" "));
            }
        }
    }
}

/// `[uuid, base, kind]` of each image; those that are not known by name yet become modules.
fn binary_images(draft: &mut Draft<'_>, body: &Value) -> Vec<u64> {
    let mut bases = Vec::new();
    let mut found: Vec<(u64, Vec<u8>, bool)> = Vec::new();
    for image in body.get("binaryImages").map_or(&[][..], Value::list) {
        if !draft.afford(256) || bases.len() >= MAX_IMAGES {
            break;
        }
        let mut fields = image.list().iter();
        let uuid = fields.next().and_then(Value::text).and_then(words::uuid);
        let base = fields.next().and_then(Value::u64).unwrap_or(0);
        bases.push(base);
        let in_kernel = fields.next().and_then(Value::text) == Some("T");
        if let Some(uuid) = uuid.filter(|_| base != 0) {
            found.push((base, uuid, in_kernel));
        }
    }
    found.sort();
    let known: Vec<ModuleRecord> = draft.modules.clone();
    for (index, (base, uuid, _)) in found.iter().enumerate() {
        if known.iter().any(|module| (module.base..module.end).contains(base)) {
            continue;
        }
        let next = found.get(index + 1).map_or(u64::MAX, |(next, ..)| *next);
        let other = known.iter().map(|module| module.base).filter(|at| at > base).min();
        let end = next.min(other.unwrap_or(u64::MAX)).min(base.saturating_add(16 << 20));
        let named = known.iter().find(|module| module.build_id.as_ref() == Some(uuid));
        let path = named.map_or_else(|| super::uuid_text(uuid), |module| module.path.clone());
        let version = named.and_then(|module| module.version.clone());
        let build_id = Some(uuid.clone());
        draft.modules.push(ModuleRecord { base: *base, end, path, build_id, version, ..ModuleRecord::default() });
    }
    bases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        let found = kext("com.apple.driver.X(1.0d1)[6AAC7152-26B3-355D-95F0-EC89EFA4152C]@0xfff0->0xfffe").unwrap();
        assert_eq!(
            (found.name.as_str(), found.range, found.dependency),
            ("com.apple.driver.X", Some((0xfff0, 0xfffe)), false)
        );
        assert!(kext("dependency: com.apple.a(1)[]@0x1->0x2").unwrap().dependency);
    }

    #[test]
    fn backtraces() {
        assert_eq!(backtrace_line("lr: 0xfffffff02cfc6ba8  fp: 0xff", false).unwrap().address, 0xffff_fff0_2cfc_6ba8);
        let found = backtrace_line("0xffffff9 : 0xffffff80002 : mach_kernel : _panic + 0x54", true).unwrap();
        assert_eq!((found.image.as_deref(), found.symbol.as_deref()), (Some("mach_kernel"), Some("_panic")));
        assert_eq!(found.symbol_offset, Some(0x54));
    }

    #[test]
    fn heads() {
        let mut panic = Panic::default();
        head(&mut panic, "panic(cpu 2 caller 0xffffff8012): \"a spinlock\"@/src/x.c:12");
        assert_eq!((panic.cpu, panic.caller), (Some(2), Some(0xff_ffff_8012)));
        assert_eq!(panic.message, "a spinlock@/src/x.c:12");
    }
}
