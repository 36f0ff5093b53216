//! The notes of a Linux core file, encoded: the system's own, and afterimage's (owner `AFTERIMAGE`).
//!
//! *What it is not*: it collects nothing; whoever has the facts, live or from another container, fills these structs.
//!
//! *Example*: `Prstatus { tid: 7, signal: 11, registers, ..Default::default() }.note(Class::Bits64)`.
//!
//! *Trap*: layouts follow the kernel's C structs of a 64-bit or 32-bit machine, padding included. afterimage's own notes
//! are little-endian whatever the machine is.

use super::elf_core::{Class, Note};
use super::pen::Pen;
use crate::Endian;

/// NT_PRSTATUS.
pub const NT_PRSTATUS: u32 = 1;
/// NT_PRFPREG.
pub const NT_FPREGSET: u32 = 2;
/// NT_PRPSINFO.
pub const NT_PRPSINFO: u32 = 3;
/// NT_AUXV.
pub const NT_AUXV: u32 = 6;
/// NT_SIGINFO.
pub const NT_SIGINFO: u32 = 0x5349_4749;
/// NT_FILE.
pub const NT_FILE: u32 = 0x4649_4c45;

/// Owner of afterimage's own notes.
pub const OWNER: &str = "AFTERIMAGE";
/// What the types of its notes begin with, "AF". *Trap*: debuggers look at a note's type and not at its owner, and take one
/// with a small number for registers.
pub const OWN: u32 = 0x4146_0000;
/// Soft errors: UTF-8, one a line.
pub const SOFT_ERRORS: u32 = OWN | 1;
/// Thread names: lines of thread id, tab, name.
pub const THREAD_NAMES: u32 = OWN | 2;
/// Facts: repeated key, NUL, length (u64, little endian), bytes.
pub const FACTS: u32 = OWN | 3;
/// Build ids: repeated base (u64), length (u16), bytes, length of path (u16), path; little endian.
pub const BUILD_IDS: u32 = OWN | 4;
/// Untouched memory: repeated start and end (u64, little endian).
pub const UNTOUCHED: u32 = OWN | 5;

/// CPU time as seconds and microseconds.
pub type Time = (u64, u64);

/// What NT_PRSTATUS tells of a thread.
#[derive(Clone, Debug, Default)]
pub struct Prstatus {
    /// Thread id.
    pub tid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Process group.
    pub pgrp: u32,
    /// Session.
    pub sid: u32,
    /// The signal that the dump was made for. The kernel writes the same number into every thread's note.
    pub signal: i32,
    /// Pending signals, a bit each.
    pub pending: u64,
    /// Blocked signals, a bit each.
    pub blocked: u64,
    /// CPU time in user mode, in the kernel, and both of ended children.
    pub times: [Time; 4],
    /// Integer registers exactly as `PTRACE_GETREGSET` gives them.
    pub registers: Vec<u8>,
    /// Whether a note with floating-point registers follows.
    pub has_fp: bool,
}

impl Prstatus {
    /// Encodes it for a little-endian machine.
    #[must_use]
    pub fn note(&self, class: Class) -> Note {
        let mut out = Fields::new(class, Endian::Little);
        out.u32(self.signal as u32); // si_signo; si_code and si_errno stay 0 as the kernel leaves them
        out.u32(0);
        out.u32(0);
        out.u16(self.signal as u16); // pr_cursig
        out.u16(0);
        out.word(self.pending);
        out.word(self.blocked);
        for id in [self.tid, self.ppid, self.pgrp, self.sid] {
            out.u32(id);
        }
        for (seconds, micros) in self.times {
            out.word(seconds);
            out.word(micros);
        }
        out.bytes(&self.registers);
        out.u32(u32::from(self.has_fp));
        out.pad_to_word();
        out.note("CORE", NT_PRSTATUS)
    }
}

/// Integer registers of a Linux thread as `PTRACE_GETREGSET` gives them, little-endian, zeros for those without a value;
/// `None` for a processor whose layout is not known.
#[must_use]
pub fn integer_registers(registers: &crate::Registers) -> Option<Vec<u8>> {
    let word = registers.arch().info().pointer_size;
    let status = crate::elf_core::layout::Status { ids: [0; 4], signal: 0, has_fp: false };
    let note = crate::elf_core::layout::encode(registers, word, Endian::Little, &status)?;
    // Before them the header, behind them a flag and its padding.
    let header = if word == 8 { 112 } else { 72 };
    Some(note.get(header..note.len().checked_sub(word)?)?.to_vec())
}

/// What NT_PRPSINFO tells of a process.
#[derive(Clone, Debug, Default)]
pub struct Prpsinfo {
    /// State letter; `R` for a process that dies.
    pub state: u8,
    /// Nice value.
    pub nice: i8,
    /// The kernel's flags.
    pub flags: u64,
    /// User and group.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process id.
    pub pid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Process group.
    pub pgrp: u32,
    /// Session.
    pub sid: u32,
    /// Short name; cut to 15 bytes.
    pub comm: Vec<u8>,
    /// Command line, with NUL or blanks between the arguments; cut to 79 bytes.
    pub command_line: Vec<u8>,
}

impl Prpsinfo {
    /// Encodes it for a little-endian machine.
    #[must_use]
    pub fn note(&self, class: Class) -> Note {
        self.note_in(class, Endian::Little)
    }

    /// Encodes it.
    #[must_use]
    pub fn note_in(&self, class: Class, endian: Endian) -> Note {
        let mut out = Fields::new(class, endian);
        // pr_state is the index of the letter in the kernel's list.
        let index = b"RSDTZW".iter().position(|&letter| letter == self.state).unwrap_or(0) as u8;
        out.bytes(&[index, self.state, u8::from(self.state == b'Z'), self.nice as u8]);
        out.pad_to_word();
        out.word(self.flags);
        match class {
            Class::Bits64 => {
                out.u32(self.uid);
                out.u32(self.gid);
            }
            // Folklore: i386's elf_prpsinfo keeps 16-bit ids; larger ones become 65534 (overflowuid).
            Class::Bits32 => {
                out.u16(u16::try_from(self.uid).unwrap_or(65534));
                out.u16(u16::try_from(self.gid).unwrap_or(65534));
            }
        }
        for id in [self.pid, self.ppid, self.pgrp, self.sid] {
            out.u32(id);
        }
        out.text(&self.comm, 16, false);
        out.text(&self.command_line, 80, true);
        out.note("CORE", NT_PRPSINFO)
    }
}

/// One mapping of a file, for NT_FILE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Place in the file, in bytes.
    pub offset: u64,
    /// Path.
    pub path: Vec<u8>,
}

/// NT_FILE for these mappings, for a little-endian machine.
#[must_use]
pub fn file_note(mappings: &[FileMapping], page_size: u64, class: Class) -> Note {
    file_note_in(mappings, page_size, class, Endian::Little)
}

/// NT_FILE for these mappings.
#[must_use]
pub fn file_note_in(mappings: &[FileMapping], page_size: u64, class: Class, endian: Endian) -> Note {
    let page_size = page_size.max(1);
    let mut out = Fields::new(class, endian);
    out.word(mappings.len() as u64);
    out.word(page_size);
    for mapping in mappings {
        out.word(mapping.start);
        out.word(mapping.end);
        out.word(mapping.offset / page_size);
    }
    for mapping in mappings {
        out.bytes(&mapping.path);
        out.u8(0);
    }
    out.note("CORE", NT_FILE)
}

/// afterimage's note of soft errors (empty lines mean nothing), cut at a line's end to `room` bytes; what was cut is counted in the last line.
#[must_use]
pub fn soft_errors(lines: &[String], room: usize) -> Note {
    const TAIL: usize = 64;
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        let line = line.replace(['\n', '\r'], " ");
        if text.len() + line.len() + 1 + TAIL > room {
            text.push_str(&format!("and {} more\n", lines.len() - n));
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    // Folklore: BFD (gdb, readelf) goes by the type alone where it does not know the owner, and takes note type 1 for a
    // thread if it has the size of some elf_prstatus: 144 and 336 (x86), 296 (x32), 148 and 392 (arm).
    if matches!(text.len(), 144 | 148 | 296 | 336 | 392) {
        text.push('\n');
    }
    Note { owner: OWNER, kind: SOFT_ERRORS, content: text.into_bytes() }
}

/// afterimage's note of thread names.
#[must_use]
pub fn thread_names(names: &[(u32, String)]) -> Note {
    let mut text = String::new();
    for (tid, name) in names {
        text.push_str(&format!("{tid}\t{}\n", name.replace(['\n', '\t'], " ")));
    }
    Note { owner: OWNER, kind: THREAD_NAMES, content: text.into_bytes() }
}

/// afterimage's note of facts.
#[must_use]
pub fn facts(facts: &[(&str, Vec<u8>)]) -> Note {
    // Values may be whole streams of another container: a buffer that grew by doubling would hold them three times.
    let len = facts.iter().map(|(key, value)| key.len() + 1 + size_of::<u64>() + value.len()).sum();
    let mut out = Vec::with_capacity(len);
    for (key, value) in facts {
        out.extend_from_slice(key.as_bytes());
        out.push(0);
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        out.extend_from_slice(value);
    }
    Note { owner: OWNER, kind: FACTS, content: out }
}

/// The build id of a mapped ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildId {
    /// Address of its ELF header.
    pub base: u64,
    /// The id.
    pub id: Vec<u8>,
    /// Path as the process knows it.
    pub path: Vec<u8>,
}

/// afterimage's note of build ids.
#[must_use]
pub fn build_ids(ids: &[BuildId]) -> Note {
    let mut out = Vec::new();
    for entry in ids {
        let (Ok(id_len), Ok(path_len)) = (u16::try_from(entry.id.len()), u16::try_from(entry.path.len())) else {
            continue;
        };
        out.extend_from_slice(&entry.base.to_le_bytes());
        out.extend_from_slice(&id_len.to_le_bytes());
        out.extend_from_slice(&entry.id);
        out.extend_from_slice(&path_len.to_le_bytes());
        out.extend_from_slice(&entry.path);
    }
    Note { owner: OWNER, kind: BUILD_IDS, content: out }
}

/// afterimage's note of memory that was mapped but never touched: it is zero, and not stored.
#[must_use]
pub fn untouched(ranges: &[std::ops::Range<u64>]) -> Note {
    let content = ranges.iter().flat_map(|range| [range.start.to_le_bytes(), range.end.to_le_bytes()]).flatten();
    let mut content: Vec<u8> = content.collect();
    // See `soft_errors`: a length that BFD takes for a thread's gets an empty range more.
    if matches!(content.len(), 144 | 336 | 296 | 148 | 392) {
        content.extend_from_slice(&[0; 16]);
    }
    Note { owner: OWNER, kind: UNTOUCHED, content }
}

/// Fields of a C struct.
struct Fields {
    out: Pen,
    class: Class,
}

impl Fields {
    fn new(class: Class, endian: Endian) -> Self {
        Self { out: Pen::new(endian), class }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.bytes(bytes);
    }

    fn u8(&mut self, value: u8) {
        self.out.u8(value);
    }

    fn u16(&mut self, value: u16) {
        self.out.u16(value);
    }

    fn u32(&mut self, value: u32) {
        self.out.u32(value);
    }

    /// A C `long`, aligned.
    fn word(&mut self, value: u64) {
        self.pad_to_word();
        self.out.uint(value, self.word_size());
    }

    fn word_size(&self) -> usize {
        if self.class == Class::Bits64 { 8 } else { 4 }
    }

    fn pad_to_word(&mut self) {
        self.out.align(self.word_size());
    }

    /// A NUL-terminated array of `size` bytes; `blanks`: NULs inside become blanks.
    fn text(&mut self, text: &[u8], size: usize, blanks: bool) {
        let text = text.get(..size - 1).unwrap_or(text);
        let text = if blanks { text.strip_suffix(b"\0").unwrap_or(text) } else { text };
        for &byte in text {
            self.out.u8(if blanks && byte == 0 { b' ' } else { byte });
        }
        self.out.zeros(size - text.len());
    }

    fn note(self, owner: &'static str, kind: u32) -> Note {
        Note { owner, kind, content: self.out.done() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_have_the_kernel_s_sizes() {
        let status =
            Prstatus { tid: 0x1234, signal: 11, registers: vec![0xaa; 27 * 8], has_fp: true, ..Prstatus::default() };
        let content = status.note(Class::Bits64).content;
        assert_eq!(content.len(), 336);
        assert_eq!(content[32..36], [0x34, 0x12, 0, 0]);
        assert_eq!((content[111], content[112], content[327], content[328]), (0, 0xaa, 0xaa, 1));
        let status = Prstatus { registers: vec![0; 17 * 4], ..status };
        assert_eq!(status.note(Class::Bits32).content.len(), 144);

        let info = Prpsinfo {
            state: b'R',
            pid: 5,
            comm: b"a-name-that-is-too-long".to_vec(),
            command_line: b"prog\0arg\0".to_vec(),
            ..Prpsinfo::default()
        };
        let content = info.note(Class::Bits64).content;
        assert_eq!(content.len(), 136);
        assert_eq!(&content[40..56], b"a-name-that-is-\0");
        assert_eq!(&content[56..66], b"prog arg\0\0");
        assert_eq!(info.note(Class::Bits32).content.len(), 124);
    }

    #[test]
    fn soft_errors_fit_their_room() {
        let lines: Vec<String> = (0..1000).map(|n| format!("page {n} is away")).collect();
        let note = soft_errors(&lines, 1000);
        assert!(note.content.len() <= 1000);
        let text = String::from_utf8(note.content).unwrap();
        assert!(text.lines().last().unwrap().starts_with("and "));
        let fatal = soft_errors(&["x".repeat(335)], 1000).content;
        assert_eq!(fatal.len(), 337, "gdb would see a thread more");
        assert!(soft_errors(&lines[..1], 1000).content.ends_with(b"page 0 is away\n"));
    }
}
