//! `MINIDUMP_SYSTEM_INFO`: processor, operating system, version.
//!
//! *Trap*: the three version numbers and the string mean something else with every writer. Breakpad on Linux leaves the
//! numbers 0 and puts all of `uname -a` into the string; Crashpad splits the kernel's release between both.

use super::draft::Draft;
use super::input::{Input, Place};
use super::raw;
use crate::bytes::Fields;
use crate::{Arch, Os};

pub(super) fn read(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let bytes = input.read(place, 56);
    let fields = input.fields(&bytes);
    let (Some(processor), Some(platform)) = (fields.u16(0), fields.u32(20)) else {
        input.loss(format!("SystemInfoStream has {} of 56 bytes", bytes.len()));
        return;
    };
    let dump = &mut draft.dump;
    dump.arch = arch(processor);
    dump.pointer_size = dump.arch.info().pointer_size;
    dump.os = os(platform);
    draft.platform = Some(platform);
    if let Arch::Other(_) = dump.arch {
        dump.pointer_size = 8;
        input.remark(format!("processor architecture {processor:#x} is not known"));
    }
    let csd = fields.u32(24).and_then(|rva| input.utf16(u64::from(rva))).unwrap_or_default();
    let numbers = (fields.u32(8).unwrap_or(0), fields.u32(12).unwrap_or(0), fields.u32(16).unwrap_or(0));
    dump.os_version = version(dump.os, numbers, csd.trim());
    if matches!(dump.os, Os::Linux | Os::Android) {
        draft.fact_if("uname", Some(csd.trim().to_owned()));
    }
    if dump_is_other(platform) {
        let known = raw::OTHER_PLATFORMS.iter().find(|(number, _)| *number == platform);
        draft.fact("platform", known.map_or_else(|| format!("{platform:#x}"), |(_, name)| (*name).to_owned()));
    }
    facts(fields, processor, draft);
}

fn dump_is_other(platform: u32) -> bool {
    os(platform) == Os::Unknown
}

fn facts(fields: Fields<'_>, processor: u16, draft: &mut Draft) {
    if let Some(count) = fields.u8(6).filter(|&count| count > 0) {
        draft.fact("cpu_count", count.to_string());
    }
    let x86 = matches!(processor, raw::PROCESSOR_ARCHITECTURE_INTEL | raw::PROCESSOR_ARCHITECTURE_IA32_ON_WIN64);
    let vendor = fields.slice(32, 12).filter(|_| x86).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    draft.fact_if("cpu_vendor", vendor.map(|vendor| vendor.trim_matches('\0').to_owned()));
    if let (Some(level), Some(revision)) = (fields.u16(2), fields.u16(4))
        && (level, revision) != (0, 0)
    {
        // On x86 the revision is model and stepping, a byte each.
        let text = match draft.dump.arch {
            Arch::X86 | Arch::X86_64 => {
                format!("family {level} model {} stepping {}", revision >> 8, revision & 0xff)
            }
            _ => format!("level {level} revision {revision:#x}"),
        };
        draft.fact("cpu", text);
    }
    let product = match fields.u8(7) {
        Some(1) if draft.dump.os == Os::Windows => "workstation",
        Some(2) if draft.dump.os == Os::Windows => "domain controller",
        Some(3) if draft.dump.os == Os::Windows => "server",
        _ => return,
    };
    draft.fact("product_type", product);
}

/// The processor of a `PROCESSOR_ARCHITECTURE_*` or `MD_CPU_ARCHITECTURE_*`.
fn arch(number: u16) -> Arch {
    match number {
        raw::PROCESSOR_ARCHITECTURE_INTEL
        | raw::PROCESSOR_ARCHITECTURE_IA32_ON_WIN64
        | raw::PROCESSOR_ARCHITECTURE_IA32_ON_ARM64 => Arch::X86,
        raw::PROCESSOR_ARCHITECTURE_AMD64 => Arch::X86_64,
        raw::PROCESSOR_ARCHITECTURE_ARM | raw::PROCESSOR_ARCHITECTURE_ARM32_ON_WIN64 => Arch::Arm,
        raw::PROCESSOR_ARCHITECTURE_ARM64 | raw::MD_CPU_ARCHITECTURE_ARM64_OLD => Arch::Aarch64,
        raw::PROCESSOR_ARCHITECTURE_MIPS => Arch::Mips,
        raw::MD_CPU_ARCHITECTURE_MIPS64 => Arch::Mips64,
        raw::PROCESSOR_ARCHITECTURE_PPC => Arch::Ppc,
        raw::MD_CPU_ARCHITECTURE_PPC64 => Arch::Ppc64,
        raw::MD_CPU_ARCHITECTURE_SPARC => Arch::Sparc,
        raw::MD_CPU_ARCHITECTURE_RISCV64 => Arch::Riscv64,
        raw::PROCESSOR_ARCHITECTURE_ALPHA | raw::PROCESSOR_ARCHITECTURE_ALPHA64 => Arch::Alpha,
        _ => Arch::Other(0),
    }
}

fn os(platform: u32) -> Os {
    match platform {
        0..=raw::VER_PLATFORM_WIN32_CE => Os::Windows,
        raw::MD_OS_MAC_OS_X => Os::MacOs,
        raw::MD_OS_IOS => Os::Ios,
        raw::MD_OS_LINUX => Os::Linux,
        raw::MD_OS_ANDROID => Os::Android,
        _ => Os::Unknown,
    }
}

/// Version and service pack or build on Windows and macOS; the kernel's release on Linux.
fn version(os: Os, (major, minor, build): (u32, u32, u32), csd: &str) -> Option<String> {
    let numbers = format!("{major}.{minor}.{build}");
    let zero = (major, minor, build) == (0, 0, 0);
    if matches!(os, Os::Linux | Os::Android) {
        // "Linux 3.13.0-53-generic #89-Ubuntu SMP …": the second word is the release.
        if let Some(uname) = csd.strip_prefix("Linux ") {
            return uname.split_whitespace().next().map(str::to_owned);
        }
        // Crashpad: 5.10.28 in the numbers, "-1rodete2-amd64 #1 SMP …" in the string.
        let rest = csd.split_whitespace().next().unwrap_or_default();
        let glued = rest.starts_with(['-', '.', '+', '_']);
        if !zero {
            return Some(if glued { format!("{numbers}{rest}") } else { numbers });
        }
    }
    match (zero, csd.is_empty()) {
        (true, true) => None,
        (true, false) => Some(csd.to_owned()),
        (false, true) => Some(numbers),
        (false, false) => Some(format!("{numbers} {csd}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_writers_split_them() {
        let breakpad = "Linux 3.13.0-53-generic #89-Ubuntu SMP Wed May 20 10:34:39 UTC 2015 x86_64";
        assert_eq!(version(Os::Linux, (0, 0, 0), breakpad).unwrap(), "3.13.0-53-generic");
        let crashpad = "-1rodete2-amd64 #1 SMP Debian 5.10.28-1rodete2 (2021-05-12) x86_64";
        assert_eq!(version(Os::Linux, (5, 10, 28), crashpad).unwrap(), "5.10.28-1rodete2-amd64");
        assert_eq!(version(Os::Linux, (5, 4, 0), "#1 SMP").unwrap(), "5.4.0");
        assert_eq!(version(Os::Windows, (6, 1, 7601), "Service Pack 1").unwrap(), "6.1.7601 Service Pack 1");
        assert_eq!(version(Os::MacOs, (10, 15, 7), "19H114").unwrap(), "10.15.7 19H114");
        assert_eq!(version(Os::MacOs, (0, 0, 0), "15E216").unwrap(), "15E216");
        assert_eq!(version(Os::Linux, (0, 0, 0), ""), None);
    }
}
