//! Builder of ELF core files from a readable description. It shares no code and no layout with the readers it tests:
//! layouts were written down from elf(5), `<sys/procfs.h>` and the kernel's behaviour.
//!
//! What it is not: a writer of dumps for users, and no guard against nonsense: it writes what it is told.
//!
//! ```
//! use afterimage_testkit::build_core::{CoreBuilder, FileMap, Machine, ProcessInfo, Segment, SigInfo, Thread};
//!
//! let core = CoreBuilder::new(Machine::X86_64)
//!     .thread(Thread::new(4711).signal(11).register("rip", 0x40_1000).register("rsp", 0x7ffd_0000_0f00))
//!     .process(&ProcessInfo::new(4711, "victim", "./victim --now"))
//!     .siginfo(&SigInfo::fault(11, 1, 0))
//!     .auxv(&[(6, 4096), (9, 0x40_1000)])
//!     .files(&FileMap::new(4096).file(0x40_0000, 0x40_2000, 0, "/usr/bin/victim"))
//!     .thread(Thread::new(4712).register("rip", 0x40_1800))
//!     .segment(Segment::new(0x40_0000, vec![0x90; 0x2000]).access("r-x"))
//!     .segment(Segment::words(0x7ffd_0000_0000, &[1, 2, 3]).memory_size(0x1000))
//!     .build();
//! assert!(core.starts_with(b"\x7fELF"));
//! ```
//!
//! Notes stand in the file in the order of the calls. Anything in the file header can be made to lie with
//! [`CoreBuilder::edit_header`].
//!
//! *Trap*: from 65 535 segments on, `e_phnum` is PN_XNUM and the real count stands in a section header; the builder does
//! that by itself, and the file then has one section header at its end.

mod image;
mod link_map;
mod machine;
mod notes;
pub mod pen;
mod sample;
mod segment;
#[cfg(test)]
mod tests;
mod vectors;

pub use image::{ElfImage, call_frame};
pub use link_map::LinkMap;
pub use machine::{Class, Machine};
pub use notes::{FileMap, ProcessInfo, SigInfo, Thread};
pub use sample::{SampleAddresses, sample_core, sample_core_builder};
pub use segment::Segment;
pub use vectors::VectorState;

use std::rc::Rc;

use pen::{ByteOrder, Pen};

/// `e_phnum` that says: the count does not fit here (elf(5)).
const PN_XNUM: u64 = 0xffff;
const PT_NOTE: u32 = 4;

/// Note types by the names of `<elf.h>`.
pub mod note_type {
    /// Signal, numbers and general registers of a thread.
    pub const PRSTATUS: u32 = 1;
    /// Floating-point registers of a thread.
    pub const FPREGSET: u32 = 2;
    /// Name, arguments and owner of the process.
    pub const PRPSINFO: u32 = 3;
    /// The auxiliary vector.
    pub const AUXV: u32 = 6;
    /// XSAVE block of an x86 thread.
    pub const X86_XSTATE: u32 = 0x202;
    /// The signal's details.
    pub const SIGINFO: u32 = 0x5349_4749;
    /// Mapped files.
    pub const FILE: u32 = 0x4649_4c45;
}

/// Fields of the ELF file header, and `sh_info` of section header 0, as they will be written.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "names and meaning as in elf(5)")]
pub struct FileHeader {
    pub ei_class: u8,
    pub ei_data: u8,
    pub ei_version: u8,
    pub ei_osabi: u8,
    pub e_type: u64,
    pub e_machine: u64,
    pub e_version: u64,
    pub e_entry: u64,
    pub e_phoff: u64,
    pub e_shoff: u64,
    pub e_flags: u64,
    pub e_ehsize: u64,
    pub e_phentsize: u64,
    pub e_phnum: u64,
    pub e_shentsize: u64,
    pub e_shnum: u64,
    pub e_shstrndx: u64,
    pub sh_info: u64,
}

type HeaderEdit = Rc<dyn Fn(&mut FileHeader)>;

/// Describes a core; [`CoreBuilder::build`] writes it.
#[derive(Clone)]
pub struct CoreBuilder {
    machine: Machine,
    class: Class,
    order: ByteOrder,
    notes: Vec<Vec<u8>>,
    notes_last: bool,
    segments: Vec<Segment>,
    section_header: bool,
    edits: Vec<HeaderEdit>,
}

impl CoreBuilder {
    /// An empty core of the machine's customary class and byte order.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            class: machine.class(),
            order: machine.order(),
            notes: Vec::new(),
            notes_last: false,
            segments: Vec::new(),
            section_header: false,
            edits: Vec::new(),
        }
    }

    /// Another class than the customary one. Call it before any note.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Another byte order than the customary one. Call it before any note.
    #[must_use]
    pub fn order(mut self, order: ByteOrder) -> Self {
        self.order = order;
        self
    }

    /// Notes after the memory, as gdb's gcore writes them; the kernel writes them before it.
    #[must_use]
    pub fn notes_after_memory(mut self) -> Self {
        self.notes_last = true;
        self
    }

    /// Further notes go to a new PT_NOTE segment.
    #[must_use]
    pub fn next_note_segment(mut self) -> Self {
        self.notes.push(Vec::new());
        self
    }

    /// NT_PRSTATUS of a thread.
    ///
    /// # Panics
    /// If the machine has no register of a given name.
    #[must_use]
    pub fn thread(self, thread: Thread) -> Self {
        let mut pen = Pen::new(self.order);
        thread.encode(self.machine, self.class, &mut pen);
        self.note("CORE", note_type::PRSTATUS, &pen.into_bytes())
    }

    /// NT_PRPSINFO.
    #[must_use]
    pub fn process(self, process: &ProcessInfo) -> Self {
        let mut pen = Pen::new(self.order);
        process.encode(self.machine, self.class, &mut pen);
        self.note("CORE", note_type::PRPSINFO, &pen.into_bytes())
    }

    /// NT_SIGINFO.
    #[must_use]
    pub fn siginfo(self, siginfo: &SigInfo) -> Self {
        let mut pen = Pen::new(self.order);
        siginfo.encode(self.class, &mut pen);
        self.note("CORE", note_type::SIGINFO, &pen.into_bytes())
    }

    /// NT_AUXV: pairs of type and value; the end mark is added.
    #[must_use]
    pub fn auxv(self, entries: &[(u64, u64)]) -> Self {
        let ended: Vec<_> = entries.iter().copied().chain([(0, 0)]).collect();
        self.auxv_without_end(&ended)
    }

    /// NT_AUXV just as given.
    #[must_use]
    pub fn auxv_without_end(self, entries: &[(u64, u64)]) -> Self {
        let mut pen = Pen::new(self.order);
        for (kind, value) in entries {
            pen.number(*kind, self.class.word()).number(*value, self.class.word());
        }
        self.note("CORE", note_type::AUXV, &pen.into_bytes())
    }

    /// NT_FILE.
    #[must_use]
    pub fn files(self, files: &FileMap) -> Self {
        let mut pen = Pen::new(self.order);
        files.encode(self.class, &mut pen);
        self.note("CORE", note_type::FILE, &pen.into_bytes())
    }

    /// The vector registers of the thread whose PRSTATUS came last, in the machine's own form: NT_FPREGSET, and on x86
    /// NT_X86_XSTATE too.
    #[must_use]
    pub fn vectors(self, state: &VectorState) -> Self {
        match self.machine {
            Machine::Aarch64 => self.note("CORE", note_type::FPREGSET, &state.fpsimd()),
            Machine::X86_64 => self.note("CORE", note_type::FPREGSET, &state.fxsave()).note(
                "LINUX",
                note_type::X86_XSTATE,
                &state.xsave(),
            ),
            // On i386 NT_FPREGSET is the 108-byte FSAVE block; its FXSAVE goes into NT_PRXFPREG.
            _ => self.note("LINUX", 0x46e6_2b7f, &state.fxsave()),
        }
    }

    /// Any note.
    #[must_use]
    pub fn note(self, owner: &str, kind: u32, description: &[u8]) -> Self {
        let mut pen = Pen::new(self.order);
        let owner_size = if owner.is_empty() { 0 } else { owner.len().saturating_add(1) };
        pen.u32(owner_size as u32).u32(description.len() as u32).u32(kind);
        pen.field(owner.as_bytes(), owner_size).align(4);
        pen.bytes(description).align(4);
        self.raw_notes(&pen.into_bytes())
    }

    /// Bytes put into the note segment as they are.
    #[must_use]
    pub fn raw_notes(mut self, bytes: &[u8]) -> Self {
        match self.notes.last_mut() {
            Some(notes) => notes.extend_from_slice(bytes),
            None => self.notes.push(bytes.to_vec()),
        }
        self
    }

    /// A stretch of memory.
    #[must_use]
    pub fn segment(mut self, segment: Segment) -> Self {
        self.segments.push(segment);
        self
    }

    /// Many stretches of memory.
    #[must_use]
    pub fn segments(mut self, segments: impl IntoIterator<Item = Segment>) -> Self {
        self.segments.extend(segments);
        self
    }

    /// PN_XNUM and section header 0 also when the segments are few.
    #[must_use]
    pub fn count_in_section_header(mut self) -> Self {
        self.section_header = true;
        self
    }

    /// Changes header fields after they have been worked out.
    #[must_use]
    pub fn edit_header(mut self, edit: impl Fn(&mut FileHeader) + 'static) -> Self {
        self.edits.push(Rc::new(edit));
        self
    }

    /// The file.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let (header_size, entry_size, section_size) = match self.class {
            Class::Elf32 => (52_u64, 32_u64, 40_u64),
            Class::Elf64 => (64, 56, 64),
        };
        let count = (self.notes.len() as u64).saturating_add(self.segments.len() as u64);
        let big = self.section_header || count >= PN_XNUM;

        // The bodies first: program headers need their offsets.
        let mut body = Pen::new(self.order);
        let body_start = header_size.saturating_add(entry_size.saturating_mul(count));
        let mut note_headers = Vec::new();
        let mut load_headers = Vec::new();
        if !self.notes_last {
            note_headers = self.write_notes(&mut body, body_start);
        }
        for segment in &self.segments {
            let offset = write_segment(segment, &mut body, body_start);
            load_headers.push((segment.clone_header(), offset));
        }
        if self.notes_last {
            note_headers = self.write_notes(&mut body, body_start);
        }
        let section_offset = body_start.saturating_add(body.align(8).position());

        let mut header = FileHeader {
            ei_class: if self.class == Class::Elf64 { 2 } else { 1 },
            ei_data: if self.order == ByteOrder::Big { 2 } else { 1 },
            ei_version: 1,
            ei_osabi: 0,
            e_type: 4,
            e_machine: u64::from(self.machine.number()),
            e_version: 1,
            e_entry: 0,
            e_phoff: if count == 0 { 0 } else { header_size },
            e_shoff: if big { section_offset } else { 0 },
            e_flags: 0,
            e_ehsize: header_size,
            e_phentsize: entry_size,
            e_phnum: if big { PN_XNUM } else { count },
            e_shentsize: if big { section_size } else { 0 },
            e_shnum: u64::from(big),
            e_shstrndx: 0,
            sh_info: count,
        };
        for edit in &self.edits {
            edit(&mut header);
        }

        let mut pen = Pen::new(self.order);
        self.write_header(&header, &mut pen);
        for (segment, offset) in note_headers.iter().chain(&load_headers) {
            self.write_program_header(segment, *offset, &mut pen);
        }
        pen.bytes(&body.into_bytes());
        if big {
            self.write_section_header(header.sh_info, &mut pen);
        }
        pen.into_bytes()
    }

    fn write_notes(&self, body: &mut Pen, body_start: u64) -> Vec<(Segment, u64)> {
        let mut headers = Vec::new();
        for notes in &self.notes {
            let offset = body_start.saturating_add(body.position());
            body.bytes(notes);
            // The kernel and gcore leave address and memory size of PT_NOTE zero.
            let size = notes.len() as u64;
            let header = Segment::new(0, Vec::new()).kind(PT_NOTE).access("").align(4).memory_size(0);
            headers.push((header.claim_file_size(size), offset));
        }
        headers
    }

    fn write_header(&self, header: &FileHeader, pen: &mut Pen) {
        let word = self.class.word();
        pen.bytes(b"\x7fELF").u8(header.ei_class).u8(header.ei_data).u8(header.ei_version).u8(header.ei_osabi).zeros(8);
        pen.number(header.e_type, 2).number(header.e_machine, 2).number(header.e_version, 4);
        pen.number(header.e_entry, word).number(header.e_phoff, word).number(header.e_shoff, word);
        pen.number(header.e_flags, 4).number(header.e_ehsize, 2);
        pen.number(header.e_phentsize, 2).number(header.e_phnum, 2);
        pen.number(header.e_shentsize, 2).number(header.e_shnum, 2).number(header.e_shstrndx, 2);
    }

    fn write_program_header(&self, segment: &Segment, offset: u64, pen: &mut Pen) {
        let file_size = segment.file_size.unwrap_or(0);
        let memory_size = segment.memory_size.unwrap_or(file_size);
        let offset = segment.offset.unwrap_or(offset);
        let word = self.class.word();
        pen.u32(segment.kind);
        if self.class == Class::Elf64 {
            pen.u32(segment.flags);
        }
        pen.number(offset, word).number(segment.address, word).number(segment.physical, word);
        pen.number(file_size, word).number(memory_size, word);
        if self.class == Class::Elf32 {
            pen.u32(segment.flags); // In class 32 the flags stand near the end.
        }
        pen.number(segment.align, word);
    }

    fn write_section_header(&self, sh_info: u64, pen: &mut Pen) {
        let word = self.class.word();
        pen.u32(0).u32(0).zeros(word.saturating_mul(4)).u32(0).number(sh_info, 4).zeros(word.saturating_mul(2));
    }
}

fn write_segment(segment: &Segment, body: &mut Pen, body_start: u64) -> u64 {
    let end = body_start.saturating_add(body.position());
    if segment.bytes.is_empty() {
        return end;
    }
    // Alignment of the file offset, not of the place in the body. Above a page it would only blow the file up.
    let offset = end.next_multiple_of(segment.align.clamp(1, 4096));
    body.zeros(offset.saturating_sub(end) as usize).bytes(&segment.bytes);
    offset
}

impl Segment {
    /// The same header without the bytes, its sizes made explicit.
    fn clone_header(&self) -> Self {
        let size = self.bytes.len() as u64;
        Self {
            bytes: Vec::new(),
            file_size: Some(self.file_size.unwrap_or(size)),
            memory_size: Some(self.memory_size.unwrap_or(size)),
            ..*self
        }
    }
}
