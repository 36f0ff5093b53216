//! `SystemInfoStream`, `MiscInfoStream` and `HandleDataStream`.
//!
//! *Trap*: on Linux the version numbers stay 0 and all of `uname` goes into `CSDVersion`, as Breakpad has it; readers
//! take the kernel's release out of that text.

use super::File;
use super::facts::text;
use crate::minidump::raw;
use crate::{Arch, Dump, Handle, Os};

/// Writes `MINIDUMP_SYSTEM_INFO`.
pub(super) fn system_info(file: &mut File<'_>) {
    let dump = file.dump;
    let (numbers, csd) = version(dump);
    let csd = file.pen.utf16(&csd);
    let cpu = Cpu::of(file);
    file.stream(raw::SYSTEM_INFO_STREAM, |pen| {
        pen.u16(processor(dump.arch));
        pen.u16(cpu.level);
        pen.u16(cpu.revision);
        pen.u8(cpu.count);
        pen.u8(0);
        for number in numbers {
            pen.u32(number);
        }
        pen.u32(platform(dump.os));
        pen.u32(csd);
        pen.u32(0);
        // CPU_INFORMATION: twelve letters of a vendor on x86; all else is not known.
        let mut vendor = cpu.vendor.into_bytes();
        vendor.resize(24, 0);
        pen.bytes(&vendor);
    });
}

/// Writes `MINIDUMP_MISC_INFO`.
pub(super) fn misc_info(file: &mut File<'_>) {
    let process = &file.dump.process;
    let noted = text(file.dump, &["start_time"]).and_then(|text| text.trim().parse().ok());
    let start = process.start_time.or(noted).and_then(|time| u32::try_from(time).ok());
    let seconds = |time: Option<u64>| time.map(|time| (time / 1_000_000) as u32);
    let (user, system) = (seconds(process.user_time_us), seconds(process.system_time_us));
    let times = start.is_some() || user.is_some() || system.is_some();
    let pid = if process.pid.is_some() { raw::MINIDUMP_MISC1_PROCESS_ID } else { 0 };
    let flags = pid | if times { raw::MINIDUMP_MISC1_PROCESS_TIMES } else { 0 };
    let values = [process.pid, start, user, system];
    file.stream(raw::MISC_INFO_STREAM, |pen| {
        pen.u32(24);
        pen.u32(flags);
        for value in values {
            pen.u32(value.unwrap_or(0));
        }
    });
}

/// Writes `HandleDataStream`: open handles, or the open files that a live process showed.
pub(super) fn handles(file: &mut File<'_>) {
    let dump = file.dump;
    let mut live = Vec::new();
    if dump.handles.is_empty() {
        live.extend(text(dump, &["fd"]).into_iter().flat_map(str::lines).filter_map(open_file));
    }
    // Not copied: a hostile file makes many megabytes of names out of a few bytes.
    let handles = if dump.handles.is_empty() { live.as_slice() } else { dump.handles.as_slice() };
    if handles.is_empty() {
        return;
    }
    let mut rows = Vec::with_capacity(handles.len());
    for handle in handles {
        let mut name = |text: &Option<String>| text.as_ref().map_or(0, |text| file.pen.utf16(text));
        let kind = name(&handle.kind);
        rows.push((handle.handle, kind, name(&handle.name), handle.access.unwrap_or(0)));
    }
    file.stream(raw::HANDLE_DATA_STREAM, |pen| {
        pen.u32(16);
        pen.u32(32);
        pen.u32(rows.len() as u32);
        pen.u32(0);
        for (handle, kind, name, access) in rows {
            pen.u64(handle);
            pen.u32(kind);
            pen.u32(name);
            pen.u32(0); // Attributes
            pen.u32(access);
            pen.u32(0); // HandleCount
            pen.u32(0); // PointerCount
        }
    });
}

/// A line of number, tab, target.
fn open_file(line: &str) -> Option<Handle> {
    let (number, target) = line.split_once('\t')?;
    let kind = match target.split_once(':') {
        _ if target.starts_with('/') => "File",
        Some(("socket", _)) => "Socket",
        Some(("pipe", _)) => "Pipe",
        Some(("anon_inode", _)) => "Anonymous inode",
        _ => "Other",
    };
    Some(Handle {
        handle: number.parse().ok()?,
        kind: Some(kind.to_owned()),
        name: Some(target.to_owned()),
        access: None,
    })
}

/// What is known of the processor besides its architecture.
struct Cpu {
    level: u16,
    revision: u16,
    count: u8,
    vendor: String,
}

impl Cpu {
    fn of(file: &File<'_>) -> Self {
        let dump = file.dump;
        let info = file.facts.bytes(dump, &["cpuinfo", "cpu_info"]).unwrap_or_default();
        let info = String::from_utf8_lossy(&info);
        let value = |key: &str| {
            info.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.trim() == key)
                .map(|v| v.1.trim())
        };
        // What the reader of a minidump made of the same fields: "family 6 model 158 stepping 10".
        let words: Vec<&str> = text(dump, &["cpu"]).unwrap_or_default().split_whitespace().collect();
        let word =
            |key: &str| words.windows(2).find(|pair| pair.first() == Some(&key)).and_then(|pair| pair.get(1).copied());
        let number = |info_key: &str, fact_key: &str| -> u16 {
            value(info_key).or_else(|| word(fact_key)).and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let counted = info.lines().filter(|line| line.starts_with("processor")).count();
        let count = text(dump, &["cpu_count"]).and_then(|text| text.parse().ok()).unwrap_or(counted);
        let x86 = matches!(dump.arch, Arch::X86 | Arch::X86_64);
        let vendor = text(dump, &["cpu_vendor"]).or_else(|| value("vendor_id")).filter(|_| x86).unwrap_or_default();
        Self {
            level: number("cpu family", "family"),
            revision: number("model", "model") << 8 | number("stepping", "stepping") & 0xff,
            count: u8::try_from(count).unwrap_or(u8::MAX),
            vendor: vendor.chars().filter(char::is_ascii).take(12).collect(),
        }
    }
}

/// `PROCESSOR_ARCHITECTURE_*` or `MD_CPU_ARCHITECTURE_*`.
fn processor(arch: Arch) -> u16 {
    match arch {
        Arch::X86 => raw::PROCESSOR_ARCHITECTURE_INTEL,
        Arch::X86_64 => raw::PROCESSOR_ARCHITECTURE_AMD64,
        Arch::Arm => raw::PROCESSOR_ARCHITECTURE_ARM,
        Arch::Aarch64 => raw::PROCESSOR_ARCHITECTURE_ARM64,
        Arch::Mips => raw::PROCESSOR_ARCHITECTURE_MIPS,
        Arch::Mips64 => raw::MD_CPU_ARCHITECTURE_MIPS64,
        Arch::Ppc => raw::PROCESSOR_ARCHITECTURE_PPC,
        Arch::Ppc64 => raw::MD_CPU_ARCHITECTURE_PPC64,
        Arch::Sparc => raw::MD_CPU_ARCHITECTURE_SPARC,
        Arch::Riscv64 => raw::MD_CPU_ARCHITECTURE_RISCV64,
        _ => raw::PROCESSOR_ARCHITECTURE_UNKNOWN,
    }
}

fn platform(os: Os) -> u32 {
    match os {
        Os::Linux => raw::MD_OS_LINUX,
        Os::Android => raw::MD_OS_ANDROID,
        Os::Windows => 2, // VER_PLATFORM_WIN32_NT
        Os::MacOs => raw::MD_OS_MAC_OS_X,
        Os::Ios => raw::MD_OS_IOS,
        Os::FreeBsd | Os::NetBsd | Os::OpenBsd | Os::Unknown => raw::MD_OS_UNIX,
    }
}

/// Three version numbers, and `CSDVersion`.
fn version(dump: &Dump) -> ([u32; 3], String) {
    let version = dump.os_version.as_deref().unwrap_or_default();
    match dump.os {
        Os::Linux | Os::Android => {
            let uname = text(dump, &["uname"]).unwrap_or_default();
            if uname.starts_with("Linux ") || version.is_empty() {
                return ([0; 3], uname.to_owned());
            }
            // Crashpad's text goes on in the middle of the release.
            let rest = uname.split_once(' ').map_or("", |(_, rest)| rest);
            ([0; 3], format!("Linux {version} {rest}").trim_end().to_owned())
        }
        Os::Windows | Os::MacOs | Os::Ios => {
            let (numbers, rest) = version.split_once(' ').unwrap_or((version, ""));
            let mut parts = [0; 3];
            let mut words = numbers.split('.');
            for (place, word) in parts.iter_mut().zip(&mut words) {
                match word.parse() {
                    Ok(number) => *place = number,
                    // No version, but a build: `15E216`.
                    Err(_) => return ([0; 3], version.to_owned()),
                }
            }
            (parts, rest.to_owned())
        }
        _ => ([0; 3], version.to_owned()),
    }
}
