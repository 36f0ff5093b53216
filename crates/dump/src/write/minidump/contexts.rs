//! A thread's context: integer registers by the reader's own tables, and the floating-point unit out of the notes.
//!
//! *What it is not*: AVX and everything behind it stays in the notes, which afterimage's own stream keeps.
//!
//! *Example*: `NT_PRFPREG` of x86-64 is the 512 bytes of FXSAVE, which is what `CONTEXT::FltSave` is too.
//!
//! *Trap*: the debug registers are in no note. Their group's flag stays unset, because zeros would be claimed otherwise.

use crate::bytes::Fields;
use crate::minidump::context;
use crate::source::read_vec;
use crate::write::pen::Pen;
use crate::{Arch, Dump, Endian, Format, NoteRecord, Thread};

/// The longest context that is copied: AVX-512 state lies behind the structure.
const MAX_CONTEXT: u64 = 16 << 10;

const NT_FPREGSET: u32 = 2;
/// FXSAVE of i386.
const NT_PRXFPREG: u32 = 0x46e6_2b7f;
const NT_ARM_VFP: u32 = 0x400;

/// The context of a thread; `None` where nothing is known, or no minidump has contexts of this processor.
///
/// A context of a minidump is copied, if it has at most `limit` bytes.
pub(super) fn of_thread(dump: &Dump, thread: &Thread, limit: u64) -> Option<Vec<u8>> {
    if dump.format == Format::Minidump {
        let own = note(dump, thread, |note| note.owner == "context" && note.size <= limit).filter(|bytes| {
            context::read(dump.arch, Fields::new(bytes, dump.endian)).is_some_and(|own| own.kind.arch == dump.arch)
        });
        if own.is_some() {
            return own;
        }
    }
    let mut bytes = context::encode(&thread.registers, dump.endian)?;
    let set =
        |kind| note(dump, thread, |note| note.kind == kind && ["CORE", "LINUX", "FreeBSD"].contains(&&*note.owner));
    match dump.arch {
        Arch::X86_64 => {
            if let Some(fxsave) = set(NT_FPREGSET).filter(|set| set.len() == 512) {
                put(&mut bytes, 0x100, &fxsave);
                // MxCsr has a place of its own too.
                put(&mut bytes, 0x34, fxsave.get(24..28).unwrap_or_default());
                add_group(&mut bytes, 0x30, 0x8, dump.endian);
            }
        }
        Arch::X86 => {
            if let Some(fsave) = set(NT_FPREGSET).filter(|set| set.len() == 108) {
                put(&mut bytes, 0x1c, &fsave);
                add_group(&mut bytes, 0, 0x8, dump.endian);
            }
            if let Some(fxsave) = set(NT_PRXFPREG).filter(|set| set.len() == 512) {
                put(&mut bytes, 0xcc, &fxsave);
                add_group(&mut bytes, 0, 0x20, dump.endian);
            }
        }
        Arch::Aarch64 => {
            // user_fpsimd_state: 32 registers of 16 bytes, fpsr, fpcr; the context turns the last two round.
            if let Some(simd) = set(NT_FPREGSET).filter(|set| set.len() >= 520) {
                put(&mut bytes, 0x110, simd.get(..512).unwrap_or_default());
                put(&mut bytes, 0x310, simd.get(516..520).unwrap_or_default());
                put(&mut bytes, 0x314, simd.get(512..516).unwrap_or_default());
                add_group(&mut bytes, 0, 0x4, dump.endian);
            }
        }
        Arch::Arm => {
            // 32 registers of 8 bytes, then fpscr, which has 8 bytes in the context.
            if let Some(vfp) = set(NT_ARM_VFP).filter(|set| set.len() >= 260) {
                put(&mut bytes, 0x50, vfp.get(..256).unwrap_or_default());
                put(&mut bytes, 0x48, vfp.get(256..260).unwrap_or_default());
                add_group(&mut bytes, 0, 0x4, dump.endian);
            }
        }
        _ => {}
    }
    Some(bytes)
}

/// The floating-point notes of a thread whose registers are in a context: owner, type, content.
pub(crate) fn float_notes(dump: &Dump, thread: &Thread) -> Vec<(&'static str, u32, Vec<u8>)> {
    let Some(bytes) = note(dump, thread, |note| note.owner == "context") else {
        return Vec::new();
    };
    let fields = Fields::new(&bytes, dump.endian);
    let copy = |at: usize, len: usize| fields.slice(at, len).map(<[u8]>::to_vec);
    let has = |at: usize, group: u32| fields.u32(at).is_some_and(|flags| flags & group != 0);
    let mut notes = Vec::new();
    let mut push = |owner, kind, content: Option<Vec<u8>>| notes.extend(content.map(|content| (owner, kind, content)));
    match dump.arch {
        Arch::X86_64 if has(0x30, 0x8) => push("CORE", NT_FPREGSET, copy(0x100, 512)),
        Arch::X86 => {
            if has(0, 0x8) {
                push("CORE", NT_FPREGSET, copy(0x1c, 108));
            }
            if has(0, 0x20) {
                push("LINUX", NT_PRXFPREG, copy(0xcc, 512));
            }
        }
        Arch::Aarch64 if bytes.len() >= 912 && has(0, 0x4) => {
            let parts = [copy(0x110, 512), copy(0x314, 4), copy(0x310, 4), Some(vec![0; 8])];
            push("CORE", NT_FPREGSET, parts.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.concat()));
        }
        Arch::Arm if bytes.len() == 368 && has(0, 0x4) => {
            let parts = [copy(0x50, 256), copy(0x48, 4)];
            push("LINUX", NT_ARM_VFP, parts.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.concat()));
        }
        _ => {}
    }
    notes
}

/// The content of a thread's first note that fits.
fn note(dump: &Dump, thread: &Thread, fits: impl Fn(&NoteRecord) -> bool) -> Option<Vec<u8>> {
    let notes = thread.extra_notes.iter().filter_map(|&index| dump.notes.get(index));
    let found = notes.into_iter().find(|note| fits(note) && note.size <= MAX_CONTEXT)?;
    let bytes = read_vec(&**dump.memory.source(), found.offset, found.size as usize).ok()?;
    (bytes.len() as u64 == found.size).then_some(bytes)
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + part.len()) {
        place.copy_from_slice(part);
    }
}

/// Sets a group's bit in the flags at `at`.
fn add_group(bytes: &mut [u8], at: usize, group: u64, endian: Endian) {
    let flags = Fields::new(bytes, endian).u32(at).unwrap_or(0);
    let mut pen = Pen::new(endian);
    pen.uint(u64::from(flags) | group, 4);
    put(bytes, at, &pen.done());
}
