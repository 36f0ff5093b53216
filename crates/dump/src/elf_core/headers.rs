//! The ELF header and the program headers of a core, in both classes and both byte orders.
//!
//! *What it is not*: it gives them no meaning; `space` makes memory of them, `notes` reads what `PT_NOTE` points at.
//!
//! *Trap*: a core may have more segments than `e_phnum` can count ([`PN_XNUM`]), and the section header that holds the
//! real count stands at the end of the file, where a cut-off core has lost it.

use crate::budget::Budget;
use crate::bytes::Fields;
use crate::source::{Source, read_vec};
use crate::{Arch, Endian, Issue};

/// `p_type` of a segment of memory.
pub(super) const PT_LOAD: u32 = 1;
/// `p_type` of a segment of notes.
pub(super) const PT_NOTE: u32 = 4;
/// `e_phnum` when the count stands in `sh_info` of section header 0 (elf(5)).
const PN_XNUM: u64 = 0xffff;
const EM_MIPS: u16 = 8;
/// `e_flags` of MIPS code of the n32 ABI: 64-bit registers in a 32-bit file.
const EF_MIPS_ABI2: u32 = 0x20;

/// Bytes of tables that a segment costs in the end: itself, its region, and up to two pieces of memory.
const COST: u64 = (size_of::<Segment>() + size_of::<crate::Region>() + 2 * size_of::<crate::Segment>()) as u64;

/// What the ELF header says, as far as a core needs it.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// 64-bit file.
    pub(super) is_64: bool,
    pub(super) endian: Endian,
    /// `EI_OSABI`.
    pub(super) os_abi: u8,
    pub(super) arch: Arch,
    /// `e_machine`.
    pub(super) machine: u16,
    /// `e_flags`.
    pub(super) flags: u32,
    phoff: u64,
    shoff: u64,
    phentsize: u64,
    phnum: u64,
    shnum: u64,
}

/// One program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) vaddr: u64,
    /// Physical address: only cores of machines have one.
    pub(super) paddr: u64,
    pub(super) filesz: u64,
    pub(super) memsz: u64,
    pub(super) align: u64,
}

impl Segment {
    /// First byte of the file behind this segment.
    pub(super) fn file_end(&self) -> u64 {
        self.offset.saturating_add(self.filesz)
    }
}

/// Whether these first bytes are of an ELF file of type `ET_CORE`.
pub(super) fn is_core(head: &[u8]) -> bool {
    ident(head).is_some_and(|(_, endian)| Fields::new(head, endian).u16(16) == Some(4))
}

/// Class (64-bit?) and byte order.
fn ident(head: &[u8]) -> Option<(bool, Endian)> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let is_64 = match head.get(4)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let endian = match head.get(5)? {
        1 => Endian::Little,
        2 => Endian::Big,
        _ => return None,
    };
    Some((is_64, endian))
}

impl Header {
    /// Reads the ELF header out of the file's first bytes; the error says which field is wrong.
    pub(super) fn parse(head: &[u8]) -> Result<Self, String> {
        let (is_64, endian) = ident(head).ok_or("the ELF identification is damaged")?;
        let fields = Fields::new(head, endian);
        let word = if is_64 { 8 } else { 4 };
        let read = || {
            // e_phoff, e_shoff and e_flags follow e_entry; five half words follow those and e_ehsize.
            let words = 24 + word;
            let halves = 24 + 3 * word + 4 + 2;
            Some((
                fields.u16(18)?,
                fields.uint(words, word)?,
                fields.uint(words + word, word)?,
                fields.u32(words + 2 * word)?,
                fields.u16(halves)?,
                fields.u16(halves + 2)?,
                fields.u16(halves + 6)?,
            ))
        };
        let (machine, phoff, shoff, flags, phentsize, phnum, shnum) =
            read().ok_or_else(|| format!("the ELF header is cut off after {} bytes", head.len()))?;
        let wide_registers = is_64 || machine == EM_MIPS && flags & EF_MIPS_ABI2 != 0;
        Ok(Self {
            is_64,
            endian,
            os_abi: head.get(7).copied().unwrap_or(0),
            arch: Arch::from_elf(machine, wide_registers),
            machine,
            flags,
            phoff,
            shoff,
            phentsize: u64::from(phentsize),
            phnum: u64::from(phnum),
            shnum: u64::from(shnum),
        })
    }

    /// A header that stands for notes in a container that is no ELF file.
    pub(super) fn of_notes(machine: u16, is_64: bool, endian: Endian) -> Self {
        Self {
            is_64,
            endian,
            os_abi: 0,
            arch: Arch::from_elf(machine, is_64),
            machine,
            flags: 0,
            phoff: 0,
            shoff: 0,
            phentsize: 0,
            phnum: 0,
            shnum: 0,
        }
    }

    /// Bytes of a pointer, of a `long` and of an auxiliary vector's word.
    pub(super) fn word(&self) -> usize {
        if self.is_64 { 8 } else { 4 }
    }

    fn segment_size(&self) -> usize {
        if self.is_64 { 56 } else { 32 }
    }

    fn segment(&self, entry: Fields<'_>) -> Option<Segment> {
        Some(if self.is_64 {
            Segment {
                kind: entry.u32(0)?,
                flags: entry.u32(4)?,
                offset: entry.u64(8)?,
                vaddr: entry.u64(16)?,
                paddr: entry.u64(24)?,
                filesz: entry.u64(32)?,
                memsz: entry.u64(40)?,
                align: entry.u64(48)?,
            }
        } else {
            let word = |at| entry.u32(at).map(u64::from);
            Segment {
                kind: entry.u32(0)?,
                offset: word(4)?,
                vaddr: word(8)?,
                paddr: word(12)?,
                filesz: word(16)?,
                memsz: word(20)?,
                flags: entry.u32(24)?,
                align: word(28)?,
            }
        })
    }

    /// The number of program headers that section header 0 gives, if the file still has it.
    fn extended_count(&self, source: &dyn Source) -> Option<u64> {
        // sh_info stands behind sh_name, sh_type, four words and sh_link.
        let at = if self.is_64 { 44 } else { 28 };
        if self.shoff == 0 || self.shnum > 1 && self.shnum != u64::from(u16::MAX) && self.phnum != PN_XNUM {
            return None;
        }
        let entry = read_vec(source, self.shoff, at + 4).ok()?;
        let count = Fields::new(&entry, self.endian).u32(at).map(u64::from)?;
        (count >= PN_XNUM).then_some(count)
    }

    /// Bytes that the file has by its program headers and section headers, if `source` already holds all of the former.
    pub(super) fn promised_length(&self, source: &dyn Source) -> Option<u64> {
        let mut issues = Vec::new();
        let segments = self.segments(source, &Budget::default(), &mut issues).ok()?;
        let end = super::space::promised_length(&segments);
        let counted = self.phnum != PN_XNUM;
        // Without a count, all headers are there when the first byte of memory is.
        let first = segments.iter().filter(|s| s.filesz > 0).map(|s| s.offset).min()?;
        if counted && !issues.is_empty() || !counted && first > source.len() {
            return None;
        }
        let sections = if self.shoff > 0 { self.shnum.max(1) * 64 } else { 0 };
        Some(end.max(self.shoff.saturating_add(sections)))
    }

    /// Reads the program headers, as many as the file and the budget have room for.
    ///
    /// The error says why there is none at all.
    pub(super) fn segments(
        &self,
        source: &dyn Source,
        budget: &Budget,
        issues: &mut Vec<Issue>,
    ) -> Result<Vec<Segment>, String> {
        let stride = self.phentsize.max(self.segment_size() as u64);
        let room = source.len().saturating_sub(self.phoff) / stride;
        if self.phoff == 0 || self.phnum == 0 {
            return Err("the ELF header names no program headers".into());
        }
        if self.phentsize < self.segment_size() as u64 {
            return Err(format!("a program header of {} bytes is too short", self.phentsize));
        }
        if room == 0 {
            return Err(format!(
                "the program headers at offset {} lie past the end of the file, which has {} bytes",
                self.phoff,
                source.len()
            ));
        }
        let extended = (self.phnum == PN_XNUM).then(|| self.extended_count(source)).flatten();
        let guess = self.phnum == PN_XNUM && extended.is_none();
        let mut count = extended.unwrap_or(self.phnum);
        if guess {
            // The writer puts section header 0 behind everything else (the kernel and gdb do); without it, every
            // header up to the first byte of a segment counts.
            count = room;
        } else if count > room {
            issues.push(Issue::loss(format!(
                "the file is cut off inside its program headers: {} of {count} are missing",
                count - room
            )));
            count = room;
        }
        if count > budget.max_items as u64 {
            issues.push(Issue::loss(format!("only the first {} of {count} segments are read", budget.max_items)));
            count = budget.max_items as u64;
        }
        let mut segments = Vec::new();
        self.read_segments(source, budget, issues, count, stride, guess, &mut segments)?;
        if guess {
            issues.push(Issue::loss(format!(
                "the count of segments is lost with the end of the file (PN_XNUM): {} were found before the first byte \
                 of memory",
                segments.len()
            )));
        }
        Ok(segments)
    }

    #[allow(clippy::too_many_arguments)]
    fn read_segments(
        &self,
        source: &dyn Source,
        budget: &Budget,
        issues: &mut Vec<Issue>,
        count: u64,
        stride: u64,
        guess: bool,
        segments: &mut Vec<Segment>,
    ) -> Result<(), String> {
        // In blocks, so that a hostile stride costs no more memory than an honest one.
        let batch = (1 << 20) / stride.min(1 << 20);
        let mut end = u64::MAX;
        let mut next = 0;
        while next < count {
            let wanted = batch.min(count - next);
            let at = self.phoff + next * stride;
            let bytes = read_vec(source, at, (wanted * stride) as usize)
                .map_err(|e| format!("reading the program headers at offset {at}: {e}"))?;
            let entries =
                bytes.chunks(stride as usize).map_while(|entry| self.segment(Fields::new(entry, self.endian)));
            let before = segments.len();
            for segment in entries {
                let number = segments.len() as u64;
                if guess {
                    if self.phoff + number * stride >= end {
                        return Ok(());
                    }
                    if segment.filesz > 0 && segment.offset > self.phoff {
                        end = end.min(segment.offset);
                    }
                }
                if budget.take(COST).is_err() {
                    issues.push(Issue::loss(format!("only the first {number} of {count} segments fit the budget")));
                    return Ok(());
                }
                segments.push(segment);
            }
            if segments.len() == before {
                break;
            }
            next += wanted;
        }
        Ok(())
    }
}
