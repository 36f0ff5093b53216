//! Breakpad's Linux streams that are plain copies of files under `/proc` and `/etc`.
//!
//! *What it is not*: the maps are regions (`regions.rs`), the link map is `dso.rs`.
//!
//! *Trap*: a stream may have been cut in the middle of a line by its writer's buffer.

use super::draft::Draft;
use super::input::{Input, Place};

/// Text of one stream that is kept: `/proc/cpuinfo` has 1.3 KiB a processor.
const MAX_TEXT: usize = 4 << 20;

pub(super) fn read_cpu_info(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let text = input.text("MD_LINUX_CPU_INFO", place, MAX_TEXT);
    draft.fact_if("cpu_info", Some(text));
}

pub(super) fn read_lsb_release(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let text = input.text("MD_LINUX_LSB_RELEASE", place, MAX_TEXT);
    draft.fact_if("lsb_release", Some(text));
}

/// `/proc/PID/status`: names, ids, and the whole text as a fact.
pub(super) fn read_status(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let text = input.text("MD_LINUX_PROC_STATUS", place, MAX_TEXT);
    let value = |key: &str| {
        let of_line = |line: &str| line.strip_prefix(key)?.strip_prefix(':').map(|value| value.trim().to_owned());
        text.lines().find_map(of_line)
    };
    let number = |key| value(key)?.split_whitespace().next()?.parse().ok();
    let process = &mut draft.dump.process;
    process.name = value("Name");
    // Breakpad's pid is that of the group's leader; `Pid` would be the thread's own if a thread's status was copied.
    process.pid = number("Tgid").or_else(|| number("Pid")).or(process.pid);
    process.ppid = number("PPid");
    process.uid = number("Uid");
    process.gid = number("Gid");
    draft.fact_if("proc_status", Some(text));
}

pub(super) fn read_cmdline(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let text = input.text("MD_LINUX_CMD_LINE", place, MAX_TEXT);
    let line = text.trim_end_matches('\0').replace('\0', " ");
    draft.dump.process.command_line = (!line.is_empty()).then_some(line);
}

pub(super) fn read_environ(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let text = input.text("MD_LINUX_ENVIRON", place, MAX_TEXT);
    for entry in text.split('\0').filter(|entry| !entry.is_empty()) {
        if !input.book(size_of::<(String, String)>()) {
            return;
        }
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        draft.dump.process.environment.push((name.to_owned(), value.to_owned()));
    }
}

/// The auxiliary vector: pairs of words of the process's size, ended by `AT_NULL`.
pub(super) fn read_auxv(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 64 << 10);
    let word = draft.dump.pointer_size;
    for pair in bytes.chunks_exact(2 * word) {
        let fields = input.fields(pair);
        match fields.uint(0, word).zip(fields.uint(word, word)) {
            Some((0, _)) | None => return,
            Some(entry) => draft.dump.auxv.push(entry),
        }
    }
}
