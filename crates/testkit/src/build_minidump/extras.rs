//! Streams that Breakpad, Crashpad and Mozilla added.
//!
//! ```
//! use afterimage_testkit::build_minidump::{LinuxFile, MinidumpBuilder};
//! let dump = MinidumpBuilder::new()
//!     .linux_file(LinuxFile::Maps, "00400000-00401000 r-xp 00000000 08:01 42 /bin/victim\n")
//!     .crashpad_annotations(&[("product", "victim"), ("channel", "beta")])
//!     .build();
//! # let _ = dump;
//! ```
//!
//! *Trap*: cmdline and environ are separated by NUL, the others by lines.

use super::text::{narrow_string, utf16, wide_string};
use super::{MinidumpBuilder, stream_type};
use crate::build_core::pen::Pen;

/// Files of /proc and /etc that Breakpad on Linux copies into the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the file of that name")]
pub enum LinuxFile {
    CpuInfo,
    Status,
    LsbRelease,
    CmdLine,
    Environ,
    Auxv,
    Maps,
}

impl LinuxFile {
    fn stream(self) -> u32 {
        match self {
            Self::CpuInfo => 0x4767_0003,
            Self::Status => 0x4767_0004,
            Self::LsbRelease => 0x4767_0005,
            Self::CmdLine => 0x4767_0006,
            Self::Environ => 0x4767_0007,
            Self::Auxv => 0x4767_0008,
            Self::Maps => 0x4767_0009,
        }
    }
}

/// An annotation object of a module (Crashpad): name, type (1 is a string), value.
pub type AnnotationObject<'a> = (&'a str, u16, &'a [u8]);

type OwnedObject = (String, u16, Vec<u8>);

impl MinidumpBuilder {
    /// A copied text file.
    #[must_use]
    pub fn linux_file(self, file: LinuxFile, text: &str) -> Self {
        self.stream(file.stream(), text.as_bytes())
    }

    /// The auxiliary vector of a 64-bit process; AT_NULL is added.
    #[must_use]
    pub fn linux_auxv(self, entries: &[(u64, u64)]) -> Self {
        let mut pen = Pen::little();
        for (kind, value) in entries.iter().chain([&(0, 0)]) {
            pen.u64(*kind).u64(*value);
        }
        self.stream(LinuxFile::Auxv.stream(), &pen.into_bytes())
    }

    /// `r_debug` and the module chain of a 64-bit process: (load bias, dynamic section, name).
    #[must_use]
    pub fn linux_dso_debug(self, brk: u64, ld_base: u64, dynamic: u64, modules: &[(u64, u64, &str)]) -> Self {
        let modules: Vec<_> = modules.iter().map(|(bias, ld, name)| (*bias, *ld, (*name).to_owned())).collect();
        self.stream_with(stream_type::LINUX_DSO_DEBUG, move |pen| {
            pen.u32(1);
            let map = pen.blank_u32();
            // Seen in Breakpad's own dumps: naturally aligned, so 4 bytes of padding here and after each name's RVA.
            pen.u32(modules.len() as u32).u32(0).u64(brk).u64(ld_base).u64(dynamic);
            let place = pen.rva();
            pen.fill_u32(map, place);
            let mut names = Vec::new();
            for (bias, ld, _) in &modules {
                pen.u64(*bias);
                names.push(pen.blank_u32());
                pen.u32(0).u64(*ld);
            }
            for (blank, (_, _, name)) in names.into_iter().zip(&modules) {
                let place = wide_string(pen, name);
                pen.fill_u32(blank, place);
            }
            40
        })
    }

    /// BreakpadInfo: the thread that wrote the dump and the one that asked for it.
    #[must_use]
    pub fn breakpad_info(self, dump_thread: Option<u32>, requesting_thread: Option<u32>) -> Self {
        let validity = u32::from(dump_thread.is_some()) | u32::from(requesting_thread.is_some()) << 1;
        let mut pen = Pen::little();
        pen.u32(validity).u32(dump_thread.unwrap_or(0)).u32(requesting_thread.unwrap_or(0));
        self.stream(stream_type::BREAKPAD_INFO, &pen.into_bytes())
    }

    /// AssertionInfo; `kind` 1 is an invalid parameter, 2 a pure virtual call.
    #[must_use]
    pub fn assertion(self, expression: &str, function: &str, file: &str, line: u32, kind: u32) -> Self {
        let mut pen = Pen::little();
        pen.field(&utf16(expression), 256).field(&utf16(function), 256).field(&utf16(file), 256).u32(line).u32(kind);
        self.stream(stream_type::ASSERTION_INFO, &pen.into_bytes())
    }

    /// CrashpadInfo with annotations of the process.
    #[must_use]
    pub fn crashpad_annotations(self, annotations: &[(&str, &str)]) -> Self {
        self.crashpad(annotations, &[])
    }

    /// CrashpadInfo with annotations of the process, and annotation objects of modules (by place in ModuleList).
    #[must_use]
    pub fn crashpad(self, simple: &[(&str, &str)], modules: &[(u32, &[AnnotationObject<'_>])]) -> Self {
        let simple: Vec<_> = simple.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let modules: Vec<(u32, Vec<OwnedObject>)> = modules
            .iter()
            .map(|(place, objects)| {
                (
                    *place,
                    objects.iter().map(|(name, kind, value)| ((*name).to_owned(), *kind, value.to_vec())).collect(),
                )
            })
            .collect();
        self.stream_with(stream_type::CRASHPAD_INFO, move |pen| {
            pen.u32(1).bytes(&[0x11; 16]).bytes(&[0x22; 16]);
            let (simple_size, simple_place) = (pen.blank_u32(), pen.blank_u32());
            let (list_size, list_place) = (pen.blank_u32(), pen.blank_u32());

            let start = pen.rva();
            pen.fill_u32(simple_place, start);
            pen.u32(simple.len() as u32);
            let blanks: Vec<_> = simple.iter().map(|_| (pen.blank_u32(), pen.blank_u32())).collect();
            let end = pen.rva();
            pen.fill_u32(simple_size, end.wrapping_sub(start));
            for ((key_blank, value_blank), (key, value)) in blanks.into_iter().zip(&simple) {
                let key = narrow_string(pen, key);
                pen.fill_u32(key_blank, key);
                let value = narrow_string(pen, value);
                pen.fill_u32(value_blank, value);
            }

            let start = pen.align(4).rva();
            pen.fill_u32(list_place, start);
            pen.u32(modules.len() as u32);
            let links: Vec<_> =
                modules.iter().map(|(index, _)| (pen.u32(*index).blank_u32(), pen.blank_u32())).collect();
            let end = pen.rva();
            pen.fill_u32(list_size, end.wrapping_sub(start));
            for ((size, place), (_, objects)) in links.into_iter().zip(&modules) {
                let start = pen.align(4).rva();
                pen.fill_u32(place, start);
                pen.fill_u32(size, 28);
                // version; no list annotations; no simple annotations; annotation objects
                let objects_size = (objects.len() as u32).wrapping_mul(12).wrapping_add(4);
                pen.u32(1).u64(0).u64(0).u32(objects_size).u32(start.wrapping_add(28));
                write_objects(pen, objects);
            }
            52
        })
    }

    /// Mozilla's soft errors: JSON.
    #[must_use]
    pub fn soft_errors(self, json: &str) -> Self {
        self.stream(stream_type::MOZ_SOFT_ERRORS, json.as_bytes())
    }

    /// Mozilla's copy of /proc/PID/limits.
    #[must_use]
    pub fn linux_limits(self, text: &str) -> Self {
        self.stream(stream_type::MOZ_LINUX_LIMITS, text.as_bytes())
    }

    /// Mozilla's copy of the macOS kernel's boot arguments.
    #[must_use]
    pub fn mac_boot_arguments(self, text: &str) -> Self {
        let text = text.to_owned();
        self.stream_with(stream_type::MOZ_MAC_BOOT_ARGS, move |pen| {
            pen.u32(stream_type::MOZ_MAC_BOOT_ARGS);
            let place = pen.blank_u64();
            let string = wide_string(pen, &text);
            pen.fill_u64(place, u64::from(string));
            12
        })
    }

    /// Mozilla's copy of `__DATA,__crash_info`: (module path, message) per module; record version 5.
    #[must_use]
    pub fn mac_crash_info(self, records: &[(&str, &str)]) -> Self {
        let records: Vec<_> =
            records.iter().map(|(path, message)| ((*path).to_owned(), (*message).to_owned())).collect();
        self.stream_with(stream_type::MOZ_MAC_CRASH_INFO, move |pen| {
            pen.u32(stream_type::MOZ_MAC_CRASH_INFO).u32(records.len() as u32).u32(40);
            let places: Vec<_> = (0..20).map(|_| (pen.blank_u32(), pen.blank_u32())).collect();
            for ((size, place), (path, message)) in places.into_iter().zip(&records) {
                let start = pen.align(8).rva();
                pen.u64(u64::from(stream_type::MOZ_MAC_CRASH_INFO)).u64(5).u64(0).u64(0).u64(0);
                // path, message, signature, backtrace, second message
                for text in [path.as_str(), message, "", "", ""] {
                    pen.bytes(text.as_bytes()).u8(0);
                }
                let end = pen.rva();
                pen.fill_u32(size, end.wrapping_sub(start));
                pen.fill_u32(place, start);
            }
            172
        })
    }
}

fn write_objects(pen: &mut Pen, objects: &[OwnedObject]) {
    pen.u32(objects.len() as u32);
    let blanks: Vec<_> =
        objects.iter().map(|(_, kind, _)| (pen.blank_u32(), pen.u16(*kind).u16(0).blank_u32())).collect();
    for ((name_blank, value_blank), (name, _, value)) in blanks.into_iter().zip(objects) {
        let name = narrow_string(pen, name);
        pen.fill_u32(name_blank, name);
        let place = pen.align(4).rva();
        pen.u32(value.len() as u32).bytes(value);
        pen.fill_u32(value_blank, place);
    }
}
