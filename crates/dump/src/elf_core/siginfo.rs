//! Decoding `siginfo_t` of Linux: which member of its union counts is decided by `si_code`, then by the signal.
//!
//! *Trap*: `si_addr` means something only when the kernel raised the signal for a fault (`0 < si_code < SI_KERNEL`);
//! for all other codes the same bytes are a process id. With `SI_KERNEL` itself (a general-protection fault, `int3`)
//! the kernel knows no address, and the zeros there are no null pointer.

use super::signals::{Class, class};
use crate::bytes::Fields;
use crate::{Arch, Os, SignalInfo};

const SI_KERNEL: i32 = 0x80;
const SI_TIMER: i32 = -2;
const SI_SIGIO: i32 = -5;

/// Decodes the content of an NT_SIGINFO note.
pub(super) fn linux(note: Fields<'_>, arch: Arch, is_64: bool) -> Option<SignalInfo> {
    // Folklore: MIPS alone swaps si_errno and si_code (`__ARCH_HAS_SWAPPED_SIGINFO`).
    let swapped = matches!(arch, Arch::Mips | Arch::Mips64);
    let (errno_at, code_at) = if swapped { (8, 4) } else { (4, 8) };
    let (union_at, word) = if is_64 { (16, 8) } else { (12, 4) };
    let mut info = SignalInfo {
        signo: note.i32(0)?,
        errno: note.i32(errno_at)?,
        code: note.i32(code_at)?,
        address: None,
        pid: None,
        uid: None,
        syscall: None,
    };
    let class = class(Os::Linux, arch, info.signo);
    match info.code {
        1..SI_KERNEL => match class {
            Class::Fault => info.address = note.uint(union_at, word),
            Class::BadSystemCall => {
                info.address = note.uint(union_at, word);
                info.syscall = note.i32(union_at + word);
            }
            // The child's process id and user.
            Class::Child => (info.pid, info.uid) = (note.u32(union_at), note.u32(union_at + 4)),
            Class::Stop | Class::Interrupt | Class::Dump | Class::Other => {}
        },
        // A timer's id and an input event's file stand there.
        SI_KERNEL.. | SI_TIMER | SI_SIGIO => {}
        // SI_USER, SI_QUEUE, SI_TKILL, SI_MESGQ, SI_ASYNCIO …: who sent it.
        _ => (info.pid, info.uid) = (note.u32(union_at), note.u32(union_at + 4)),
    }
    Some(info)
}

/// Decodes FreeBSD's `siginfo_t`: every member has its own place.
pub(super) fn freebsd(note: Fields<'_>, arch: Arch, is_64: bool) -> Option<SignalInfo> {
    let (signo, code) = (note.i32(0)?, note.i32(8)?);
    // SI_USER 0x10001, SI_QUEUE 0x10002, SI_LWP 0x10007: sent by a process.
    let sent = matches!(code, 0 | 0x1_0001 | 0x1_0002 | 0x1_0007);
    let fault = class(Os::FreeBsd, arch, signo) == Class::Fault && (1..0x1_0000).contains(&code);
    Some(SignalInfo {
        signo,
        errno: note.i32(4)?,
        code,
        address: note.uint(24, if is_64 { 8 } else { 4 }).filter(|_| fault),
        pid: note.u32(12).filter(|_| sent),
        uid: note.u32(16).filter(|_| sent),
        syscall: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endian;

    fn note(words: &[i32]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(128, 0);
        bytes
    }

    fn decode(words: &[i32]) -> SignalInfo {
        linux(Fields::new(&note(words), Endian::Little), Arch::X86_64, true).unwrap()
    }

    #[test]
    fn the_code_decides_what_the_union_holds() {
        let fault = decode(&[11, 0, 1, 0, 0x10, 0x20]);
        assert_eq!((fault.address, fault.pid), (Some(0x20_0000_0010), None));
        let sent = decode(&[11, 0, 0, 0, 42, 1000]);
        assert_eq!((sent.address, sent.pid, sent.uid), (None, Some(42), Some(1000)));
        let thread = decode(&[6, 0, -6, 0, 42, 1000]);
        assert_eq!((thread.address, thread.pid), (None, Some(42)));
        let protection = decode(&[11, 0, 0x80, 0, 0, 0]);
        assert_eq!((protection.address, protection.pid), (None, None));
        let call = decode(&[31, 0, 1, 0, 0x10, 0, 59, 0xc000_003e_u32 as i32]);
        assert_eq!((call.address, call.syscall), (Some(0x10), Some(59)));
        assert_eq!(decode(&[14, 0, -2, 0, 7, 7]).pid, None);
    }

    #[test]
    fn mips_swaps_code_and_errno() {
        let bytes = note(&[11, 1, 0, 0x44]);
        let info = linux(Fields::new(&bytes, Endian::Little), Arch::Mips, false).unwrap();
        assert_eq!((info.code, info.errno, info.address), (1, 0, Some(0x44)));
        assert_eq!(linux(Fields::new(&bytes[..11], Endian::Little), Arch::Mips, false), None);
    }
}
