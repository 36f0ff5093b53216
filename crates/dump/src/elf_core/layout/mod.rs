//! Where each system and processor puts the registers in its thread notes, as data: one file per processor family.
//!
//! A table is the list of register names in the order of the note. `-` skips a word, `name:2` is a field of two bytes,
//! `r0..31` stands for `r0` to `r31`. Names are those of [`crate::arch`].
//!
//! *Trap*: the same processor has several layouts (x86-64 and x32, o32, n32 and n64); the note's size tells them apart.

mod alpha;
mod arm;
mod hppa;
mod loongarch;
mod m68k;
mod mips;
mod ppc;
mod riscv;
mod s390;
mod sparc;
mod x86;

use crate::bytes::Fields;
use crate::write::pen::Pen;
use crate::{Arch, Endian, Os, Registers};

/// The layout of one thread note.
#[derive(Debug)]
pub(super) struct Layout {
    /// System that writes it.
    os: Os,
    /// Processor whose registers it holds.
    arch: Arch,
    /// Bytes of the whole note.
    size: usize,
    /// Where the registers begin.
    at: usize,
    /// Bytes of a register that does not say otherwise.
    word: usize,
    /// The registers in their order.
    registers: &'static str,
    /// Where the thread pointer stands.
    thread_pointer: ThreadPointer,
}

/// Where a thread note keeps the thread pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadPointer {
    /// In another note, or nowhere.
    Elsewhere,
    /// In the register of this name.
    Register(&'static str),
    /// As a number of this many bytes at this offset of the note.
    At(usize, usize),
}

static FAMILIES: &[&[Layout]] = &[
    x86::LAYOUTS,
    arm::LAYOUTS,
    riscv::LAYOUTS,
    s390::LAYOUTS,
    ppc::LAYOUTS,
    mips::LAYOUTS,
    sparc::LAYOUTS,
    alpha::LAYOUTS,
    hppa::LAYOUTS,
    loongarch::LAYOUTS,
    m68k::LAYOUTS,
];

/// A layout with its names looked up: register by register.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    layout: &'static Layout,
    /// Offset in the note, bytes, slot.
    fields: Vec<(usize, usize, usize)>,
}

/// The layout of a thread note of this size, or of the nearest one below it, of a system and processor.
///
/// A longer note than the known one is read like the known one: writers append, they do not shift.
pub(super) fn find(os: Os, arch: Arch, size: usize) -> Option<Resolved> {
    let known = || FAMILIES.iter().flat_map(|family| family.iter()).filter(|l| l.os == os && l.arch == arch);
    let layout = known()
        .find(|layout| layout.size == size)
        // What stands behind the registers may be missing: a flag and its padding.
        .or_else(|| known().find(|layout| layout.size > size && layout.size - size <= 8))
        .or_else(|| known().filter(|layout| layout.size < size).max_by_key(|layout| layout.size))?;
    Some(Resolved { layout, fields: layout.fields() })
}

/// The one processor that has thread notes of this size on Linux; `None` where several have.
pub(super) fn only_arch(size: usize, word: usize) -> Option<Arch> {
    let fits = |l: &&Layout| l.os == Os::Linux && l.size == size && (l.at == 112) == (word == 8);
    let mut archs = FAMILIES.iter().flat_map(|family| family.iter()).filter(fits).map(|layout| layout.arch);
    let first = archs.next()?;
    archs.all(|other| other == first).then_some(first)
}

/// What a thread note of Linux tells besides registers.
pub(crate) struct Status {
    /// Thread, parent, process group, session.
    pub(crate) ids: [u32; 4],
    /// The signal that it stopped for.
    pub(crate) signal: i32,
    /// Whether a note with floating-point registers follows.
    pub(crate) has_fp: bool,
}

/// Encodes `elf_prstatus` of Linux for a processor and word size; registers that have no value are zeros, and the
/// number of a system call is -1, "none". `None` if no layout is known.
pub(crate) fn encode(registers: &Registers, word: usize, endian: Endian, status: &Status) -> Option<Vec<u8>> {
    let arch = registers.arch();
    let header = if word == 8 { 112 } else { 72 };
    let known = FAMILIES.iter().flat_map(|family| family.iter());
    let layout = known.filter(|l| l.os == Os::Linux && l.arch == arch).find(|l| l.at == header && l.word == word)?;
    let mut note = vec![0; layout.size];
    let mut put = |at: usize, width: usize, value: u64| {
        let mut pen = Pen::new(endian);
        pen.uint(value, width);
        if let Some(place) = note.get_mut(at..at + width) {
            place.copy_from_slice(&pen.done());
        }
    };
    put(0, 4, status.signal as u64);
    put(12, 2, status.signal as u64);
    let ids = header - 8 * word - 16;
    for (place, id) in status.ids.iter().enumerate() {
        put(ids + 4 * place, 4, u64::from(*id));
    }
    let mut end = layout.at;
    let info = arch.info();
    for (at, width, slot) in layout.fields() {
        end = end.max(at + width);
        let call = info.registers.get(slot).is_some_and(|register| register.name.starts_with("orig_"));
        if let Some(value) = registers.get(slot).or(call.then_some(u64::MAX)) {
            put(at, width, value);
        }
    }
    put(end, 4, u64::from(status.has_fp));
    Some(note)
}

impl Layout {
    /// Offset, bytes and slot of each register; names that the processor's table lacks are left out (a test forbids them).
    fn fields(&self) -> Vec<(usize, usize, usize)> {
        let info = self.arch.info();
        let mut at = self.at;
        let mut fields = Vec::new();
        self.each_name(|name, width| {
            if let Some(slot) = info.slot(name) {
                fields.push((at, width, slot));
            }
            at += width;
        });
        fields
    }

    fn each_name(&self, mut visit: impl FnMut(&str, usize)) {
        for token in self.registers.split_ascii_whitespace() {
            let (name, width) = match token.split_once(':') {
                Some((name, width)) => (name, width.parse().unwrap_or(self.word)),
                None => (token, self.word),
            };
            match name.split_once("..") {
                None => visit(name, width),
                Some((first, last)) => {
                    let prefix = first.trim_end_matches(|c: char| c.is_ascii_digit());
                    let number = |digits: &str| digits.parse::<u32>().unwrap_or(0);
                    let from = number(first.get(prefix.len()..).unwrap_or_default());
                    for i in from..=number(last) {
                        visit(&format!("{prefix}{i}"), width);
                    }
                }
            }
        }
    }
}

impl Resolved {
    /// Where the registers begin in the note.
    pub(super) fn at(&self) -> usize {
        self.layout.at
    }

    /// Bytes that the note must have for all registers.
    pub(super) fn size(&self) -> usize {
        self.layout.size
    }

    /// The registers and the thread pointer of a note.
    pub(super) fn read(&self, note: Fields<'_>) -> (Registers, Option<u64>) {
        let arch = self.layout.arch;
        let mut registers = Registers::new(arch);
        for &(at, width, slot) in &self.fields {
            if let Some(value) = note.uint(at, width) {
                registers.set(slot, value);
            }
        }
        let pc = arch.info().pc;
        if arch == Arch::Hppa
            && let Some(value) = registers.get(pc)
        {
            // Folklore: the two low bits of an instruction address are the privilege level (PA-RISC 1.1, "IAOQ").
            registers.set(pc, value & !3);
        }
        if arch == Arch::Riscv64 {
            registers.set(0, 0);
        }
        let thread_pointer = match self.layout.thread_pointer {
            ThreadPointer::Elsewhere => None,
            ThreadPointer::Register(name) => registers.by_name(name),
            ThreadPointer::At(at, width) => note.uint(at, width),
        };
        (registers, thread_pointer.filter(|&at| at != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_register_and_fits_its_note() {
        for layout in FAMILIES.iter().flat_map(|family| family.iter()) {
            let what = format!("{:?} {} of {} bytes", layout.os, layout.arch, layout.size);
            let mut seen = std::collections::BTreeSet::new();
            let mut end = layout.at;
            layout.each_name(|name, width| {
                end += width;
                assert!(name == "-" || layout.arch.info().slot(name).is_some(), "{what}: no register {name}");
                assert!(name == "-" || seen.insert(name.to_owned()), "{what}: {name} stands twice");
            });
            assert!(end <= layout.size, "{what}: registers end at {end}");
            assert!(layout.size - end <= 8, "{what}: {} bytes are not accounted for", layout.size - end);
            let info = layout.arch.info();
            for slot in [Some(info.pc), Some(info.sp), info.fp, info.lr].into_iter().flatten() {
                assert!(layout.fields().iter().any(|f| f.2 == slot), "{what}: no {}", info.registers[slot].name);
            }
        }
    }
}
