//! Breakpad's and Mozilla's streams of Linux: copies of files under `/proc`, and the auxiliary vector.
//!
//! *Trap*: a core of the kernel has no maps. They are then written from its segments and mapped files, with what those
//! do not say (device, inode, whether it is shared) as zeros and `p`.

use super::File;
use super::facts::{stream, text};
use crate::minidump::raw;
use crate::write::link_map;
use crate::{Dump, MemoryExt, Os};

/// Bytes of maps that readers take.
const MAX_MAPS: usize = 32 << 20;

/// Writes every stream that there is something for.
pub(super) fn streams(file: &mut File<'_>) {
    let dump = file.dump;
    if !matches!(dump.os, Os::Linux | Os::Android) {
        return;
    }
    const FILES: [(u32, &[&str]); 4] = [
        (raw::MD_LINUX_CPU_INFO, &["cpuinfo", "cpu_info"]),
        (raw::MD_LINUX_PROC_STATUS, &["status", "proc_status"]),
        (raw::MD_LINUX_LSB_RELEASE, &["lsb_release", "lsb-release"]),
        (raw::MOZ_LINUX_LIMITS, &["limits", "proc_limits"]),
    ];
    for (kind, names) in FILES {
        let bytes = stream(dump, kind).or_else(|| file.facts.bytes(dump, names));
        file.copy(kind, &bytes.unwrap_or_default());
    }
    let command = stream(dump, raw::MD_LINUX_CMD_LINE).or_else(|| file.facts.bytes(dump, &["cmdline"]));
    let command = command.or_else(|| dump.process.command_line.as_ref().map(|line| line.as_bytes().to_vec()));
    file.copy(raw::MD_LINUX_CMD_LINE, &command.unwrap_or_default());
    let environment = stream(dump, raw::MD_LINUX_ENVIRON).or_else(|| file.facts.bytes(dump, &["environ"]));
    file.copy(raw::MD_LINUX_ENVIRON, &environment.unwrap_or_else(|| environ(dump)));
    if !dump.auxv.is_empty() {
        let word = dump.pointer_size;
        file.stream(raw::MD_LINUX_AUXV, |pen| {
            for &(kind, value) in dump.auxv.iter().chain(&[(0, 0)]) {
                pen.uint(kind, word);
                pen.uint(value, word);
            }
        });
    }
    let maps = stream(dump, raw::MD_LINUX_MAPS).or_else(|| file.facts.bytes(dump, &["maps"]));
    file.copy(raw::MD_LINUX_MAPS, &maps.unwrap_or_else(|| maps_text(dump)));
    dso_debug(file);
}

/// `MD_LINUX_DSO_DEBUG`, if the dump has the memory that it is made of.
///
/// Folklore: see the reader. In 64-bit dumps a word of padding stands before `brk` and inside each entry, whatever
/// Breakpad's header says; the program's dynamic section follows.
fn dso_debug(file: &mut File<'_>) {
    let dump = file.dump;
    let found = link_map::walk(dump);
    let Some(debug) = found.debug.filter(|_| !found.entries.is_empty()) else { return };
    let word = dump.pointer_size;
    let names: Vec<u32> = found.entries.iter().map(|entry| file.pen.utf16(&entry.path(dump))).collect();
    file.pen.align(8);
    let map = file.pen.rva();
    for (entry, name) in found.entries.iter().zip(names) {
        file.pen.uint(entry.bias, word);
        file.pen.u32(name);
        file.pen.align(word);
        file.pen.uint(entry.dynamic, word);
    }
    let section = found.ranges.iter().find(|range| range.start == debug.dynamic).cloned().unwrap_or_default();
    let mut bytes = vec![0; section.end.saturating_sub(section.start) as usize];
    let got = dump.memory.read_upto(crate::Virt(section.start), &mut bytes);
    bytes.truncate(got);
    file.stream(raw::MD_LINUX_DSO_DEBUG, |pen| {
        pen.u32(debug.version);
        pen.u32(map);
        pen.u32(found.entries.len() as u32);
        pen.align(word);
        for value in [debug.brk, debug.base, debug.dynamic] {
            pen.uint(value, word);
        }
        pen.bytes(&bytes);
    });
}

fn environ(dump: &Dump) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in &dump.process.environment {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// `/proc/PID/maps` of the regions, if they are the whole address space.
fn maps_text(dump: &Dump) -> Vec<u8> {
    let mut out = String::new();
    if dump.memory.elsewhere() != crate::Absence::NotMapped || text(dump, &["maps"]).is_some() {
        return Vec::new();
    }
    for region in &dump.regions {
        let next = dump.mappings.partition_point(|mapping| mapping.start <= region.start);
        let mapping = next.checked_sub(1).and_then(|index| dump.mappings.get(index));
        let mapping = mapping.filter(|mapping| region.start < mapping.end);
        let offset = mapping.map_or(0, |mapping| mapping.offset.saturating_add(region.start.0 - mapping.start.0));
        let path = mapping.map(|mapping| &mapping.path).or(region.path.as_ref());
        // The kernel writes a line's end inside a name as this, too.
        let path = path.map(|path| path.replace('\n', "\\012")).unwrap_or_default();
        let permissions = region.permissions.unwrap_or_default();
        let line = format!("{:x}-{:x} {permissions}p {offset:08x} 00:00 0", region.start.0, region.end.0);
        // As in the kernel's file, names stand in one column.
        let line = if path.is_empty() { line } else { format!("{line:<72} {path}") };
        if out.len() + line.len() > MAX_MAPS {
            return Vec::new();
        }
        out.push_str(&line);
        out.push('\n');
    }
    out.into_bytes()
}
