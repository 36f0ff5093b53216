//! What is said about the machine and about the process as a whole.
//!
//! ```
//! use afterimage_testkit::build_minidump::{Cpu, MiscInfo, SystemInfo};
//! let system = SystemInfo::windows(Cpu::Amd64, 10, 0, 19045);
//! let misc = MiscInfo { process_id: Some(4711), build_string: Some("19041.1.amd64fre".into()), ..MiscInfo::default() };
//! # let _ = (system, misc);
//! ```
//!
//! *Trap*: MiscInfo grew four times; readers must go by `SizeOfInfo` and the flags. The builder writes the smallest
//! version that holds what was given.

use super::text::{utf16, wide_string};
use crate::build_core::pen::Pen;

/// Processors of minidumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// 32-bit x86.
    X86,
    /// 64-bit x86.
    Amd64,
    /// 64-bit Arm as Windows and Crashpad number it.
    Arm64,
    /// 64-bit Arm as old Breakpad numbered it.
    Arm64Breakpad,
}

/// The SystemInfo stream.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct SystemInfo {
    pub architecture: u16,
    pub level: u16,
    pub revision: u16,
    pub processors: u8,
    pub product_type: u8,
    pub version: (u32, u32, u32),
    pub platform: u32,
    pub service_pack: String,
    pub suite_mask: u16,
    pub cpu_features: [u8; 24],
}

impl SystemInfo {
    fn new(cpu: Cpu, platform: u32, version: (u32, u32, u32), service_pack: &str) -> Self {
        let architecture = match cpu {
            Cpu::X86 => 0,
            Cpu::Amd64 => 9,
            Cpu::Arm64 => 12,
            Cpu::Arm64Breakpad => 0x8003,
        };
        let mut cpu_features = [0; 24];
        if cpu == Cpu::X86 {
            let words = Pen::little().bytes(b"GenuineIntel").u32(0x000a_0655).u32(0xbfeb_fbff).clone().into_bytes();
            cpu_features.iter_mut().zip(words).for_each(|(place, byte)| *place = byte);
        }
        Self {
            architecture,
            level: 6,
            revision: 0xa505,
            processors: 4,
            product_type: 1,
            version,
            platform,
            service_pack: service_pack.to_owned(),
            suite_mask: 0,
            cpu_features,
        }
    }

    /// VER_PLATFORM_WIN32_NT of a version and build.
    #[must_use]
    pub fn windows(cpu: Cpu, major: u32, minor: u32, build: u32) -> Self {
        Self::new(cpu, 2, (major, minor, build), "")
    }

    /// Breakpad's number for Linux; the kernel's `uname` line goes where Windows has its service pack.
    #[must_use]
    pub fn linux(cpu: Cpu, uname: &str) -> Self {
        Self::new(cpu, 0x8201, (0, 0, 0), uname)
    }

    /// Breakpad's number for macOS.
    #[must_use]
    pub fn mac(cpu: Cpu, major: u32, minor: u32, patch: u32, build: &str) -> Self {
        Self::new(cpu, 0x8101, (major, minor, patch), build)
    }

    /// Breakpad's number for Android.
    #[must_use]
    pub fn android(cpu: Cpu, fingerprint: &str) -> Self {
        Self::new(cpu, 0x8203, (0, 0, 0), fingerprint)
    }

    pub(super) fn encode(&self, pen: &mut Pen) -> u64 {
        pen.u16(self.architecture).u16(self.level).u16(self.revision).u8(self.processors).u8(self.product_type);
        pen.u32(self.version.0).u32(self.version.1).u32(self.version.2).u32(self.platform);
        let service_pack = pen.blank_u32();
        pen.u16(self.suite_mask).u16(0).bytes(&self.cpu_features);
        let place = wide_string(pen, &self.service_pack);
        pen.fill_u32(service_pack, place);
        56
    }
}

/// The MiscInfo stream, versions 1 to 5.
#[derive(Clone, Debug, Default)]
pub struct MiscInfo {
    /// Process number.
    pub process_id: Option<u32>,
    /// Creation (Unix seconds), user time and kernel time (seconds).
    pub times: Option<(u32, u32, u32)>,
    /// Maximum, current and limit MHz; version 2.
    pub mhz: Option<(u32, u32, u32)>,
    /// Integrity level (0x2000 is medium); version 3.
    pub integrity_level: Option<u32>,
    /// Bias in minutes west of Greenwich and name of the standard time; version 3.
    pub time_zone: Option<(i32, String)>,
    /// The system's build string; version 4.
    pub build_string: Option<String>,
    /// The process cookie; version 5.
    pub process_cookie: Option<u32>,
}

impl MiscInfo {
    pub(super) fn encode(&self, pen: &mut Pen) -> u64 {
        let flags = [
            (1, self.process_id.is_some()),
            (2, self.times.is_some()),
            (4, self.mhz.is_some()),
            (0x10, self.integrity_level.is_some()),
            (0x40, self.time_zone.is_some()),
            (0x100, self.build_string.is_some()),
            (0x200, self.process_cookie.is_some()),
        ];
        let flags = flags.iter().filter(|(_, given)| *given).fold(0_u32, |all, (flag, _)| all | flag);
        let size = match flags {
            0x200.. => 1364,
            0x100.. => 832,
            0x10.. => 232,
            4.. => 44,
            _ => 24_u32,
        };
        let start = pen.position() as usize;
        pen.u32(size).u32(flags).u32(self.process_id.unwrap_or(0));
        let (create, user, kernel) = self.times.unwrap_or_default();
        pen.u32(create).u32(user).u32(kernel);
        let mut part = Pen::little();
        let (max, current, limit) = self.mhz.unwrap_or_default();
        part.u32(max).u32(current).u32(limit).u32(2).u32(1);
        part.u32(self.integrity_level.unwrap_or(0)).u32(0).u32(0);
        let (bias, name) = self.time_zone.clone().unwrap_or_default();
        // TIME_ZONE_INFORMATION: bias, name, date, bias of the standard time; the same for summer time
        part.u32(1).i32(bias).field(&utf16(&name), 64).zeros(16).i32(0).zeros(64).zeros(16).i32(-60);
        part.field(&utf16(self.build_string.as_deref().unwrap_or("")), 520).field(&utf16("dbgcore.amd64"), 80);
        part.u32(528).zeros(524).u32(self.process_cookie.unwrap_or(0));
        let rest = (size as usize).saturating_sub(24);
        pen.field(&part.into_bytes(), rest).up_to(start.saturating_add(size as usize));
        u64::from(size)
    }
}

/// The SystemMemoryInfo stream, revision 1 (MINIDUMP_SYSTEM_MEMORY_INFO_1, 492 bytes). Sizes in pages.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct SystemMemoryInfo {
    pub page_size: u32,
    pub physical_pages: u32,
    pub processors: u32,
    pub available_pages: u64,
    pub committed_pages: u64,
    pub commit_limit: u64,
    pub peak_commitment: u64,
}

impl SystemMemoryInfo {
    pub(super) fn encode(&self, pen: &mut Pen) -> u64 {
        let start = pen.position() as usize;
        pen.u16(1).u16(0xf);
        // Basic: timer resolution, page size, pages, lowest, highest, granularity, user range, processor mask and count
        pen.u32(156_250).u32(self.page_size).u32(self.physical_pages).u32(1).u32(self.physical_pages).u32(0x1_0000);
        pen.u64(0x1_0000).u64(0x7fff_fffe_ffff).u64((1 << self.processors.min(63)) - 1).u32(self.processors);
        pen.zeros(60); // file cache
        pen.u64(self.available_pages).u64(self.committed_pages).u64(self.commit_limit).u64(self.peak_commitment);
        // Performance: the same four numbers again, cut to 32 bits, at 0x2c of its part
        let performance = pen.position() as usize;
        pen.up_to(performance.saturating_add(0x2c));
        for number in [self.available_pages, self.committed_pages, self.commit_limit, self.peak_commitment] {
            pen.number(number, 4);
        }
        pen.up_to(start.saturating_add(492));
        492
    }
}

/// The ProcessVmCounters stream, revision 2 (MINIDUMP_PROCESS_VM_COUNTERS_2, 152 bytes) or 1. Sizes in bytes.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "names and meaning as in minidumpapiset.h")]
pub struct VmCounters {
    pub revision_1: bool,
    pub page_faults: u32,
    pub peak_working_set: u64,
    pub working_set: u64,
    pub pagefile: u64,
    pub peak_pagefile: u64,
    pub peak_virtual: u64,
    pub virtual_size: u64,
    pub private: u64,
}

impl VmCounters {
    pub(super) fn encode(&self, pen: &mut Pen) -> u64 {
        let start = pen.position() as usize;
        let (revision, flags) = if self.revision_1 { (1, 0) } else { (2, 0xf) };
        // In revision 1 the place of the flags is padding.
        pen.u16(revision).u16(flags).u32(self.page_faults).u64(self.peak_working_set).u64(self.working_set).zeros(32);
        pen.u64(self.pagefile).u64(self.peak_pagefile);
        if !self.revision_1 {
            pen.u64(self.peak_virtual).u64(self.virtual_size);
        }
        pen.u64(self.private);
        let size = if self.revision_1 { 80_usize } else { 152 };
        pen.up_to(start.saturating_add(size));
        size as u64
    }
}
