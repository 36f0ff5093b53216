//! `siginfo_t` decoded, and signals by name and default action.
//!
//! *Trap*: which fields of the union hold something depends on `si_code` first and on the signal only then: a SIGSEGV
//! that a process sent has a sender, not an address.

use crate::sys::RawSiginfo;
use afterimage_dump::SignalInfo;

/// The 32-bit field at `at` (0 past the end).
pub(crate) fn field(info: &RawSiginfo, at: usize) -> i32 {
    info.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| i32::from_ne_bytes(*bytes))
}

/// The 64-bit field at `at` (0 past the end).
fn long_field(info: &RawSiginfo, at: usize) -> u64 {
    info.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// `si_code`: sent by the kernel.
pub(crate) const SI_KERNEL: i32 = 0x80;

/// Decodes it.
pub(crate) fn decode(raw: &RawSiginfo) -> SignalInfo {
    let (signo, errno, code) = (field(raw, 0), field(raw, 4), field(raw, 8));
    let mut info = SignalInfo { signo, errno, code, address: None, pid: None, uid: None, syscall: None };
    let fault = matches!(signo, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP);
    if matches!(code, libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE) {
        info.pid = Some(field(raw, 16) as u32);
        info.uid = Some(field(raw, 20) as u32);
    } else if code > 0 && code != SI_KERNEL {
        if fault {
            info.address = Some(long_field(raw, 16));
        } else if signo == libc::SIGSYS {
            info.address = Some(long_field(raw, 16));
            info.syscall = Some(field(raw, 24));
        }
    }
    info
}

/// What a signal does to a process that has made no arrangement for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultAction {
    /// Nothing.
    Ignore,
    /// Stops the process.
    Stop,
    /// Ends it.
    Terminate,
    /// Ends it with a core dump.
    Core,
}

/// The default action, by signal(7).
pub(crate) fn default_action(signal: i32) -> DefaultAction {
    match signal {
        libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT => DefaultAction::Ignore,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => DefaultAction::Stop,
        libc::SIGQUIT
        | libc::SIGILL
        | libc::SIGTRAP
        | libc::SIGABRT
        | libc::SIGBUS
        | libc::SIGFPE
        | libc::SIGSEGV
        | libc::SIGXCPU
        | libc::SIGXFSZ
        | libc::SIGSYS => DefaultAction::Core,
        _ => DefaultAction::Terminate,
    }
}

/// The same information as a 32-bit process has it: the union begins 4 bytes earlier and pointers have 4 bytes.
pub(crate) fn to_32_bit(raw: &RawSiginfo) -> Vec<u8> {
    let info = decode(raw);
    let mut out = Vec::with_capacity(raw.len());
    for value in [info.signo, info.errno, info.code] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    if let Some(address) = info.address {
        out.extend_from_slice(&(address as u32).to_le_bytes());
        if let Some(syscall) = info.syscall {
            out.extend_from_slice(&syscall.to_le_bytes());
            out.extend_from_slice(&field(raw, 28).to_le_bytes());
        }
    } else {
        out.extend_from_slice(raw.get(16..32).unwrap_or_default());
    }
    out.resize(raw.len(), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(signo: i32, code: i32, union: &[u8]) -> RawSiginfo {
        let mut raw = [0; 128];
        raw[..4].copy_from_slice(&signo.to_ne_bytes());
        raw[8..12].copy_from_slice(&code.to_ne_bytes());
        raw[16..16 + union.len()].copy_from_slice(union);
        raw
    }

    #[test]
    fn code_decides_what_the_union_holds() {
        let fault = raw(libc::SIGSEGV, 1, &0xdead_beef_0000u64.to_ne_bytes());
        assert_eq!(decode(&fault).address, Some(0xdead_beef_0000));
        let sent = raw(libc::SIGSEGV, libc::SI_USER, &[5, 0, 0, 0, 7, 0, 0, 0]);
        let info = decode(&sent);
        assert_eq!((info.address, info.pid, info.uid), (None, Some(5), Some(7)));
        let general_protection = raw(libc::SIGSEGV, SI_KERNEL, &[]);
        assert_eq!(decode(&general_protection).address, None);
        let narrow = to_32_bit(&raw(libc::SIGSEGV, 1, &0x1234u64.to_ne_bytes()));
        assert_eq!(&narrow[12..16], &[0x34, 0x12, 0, 0]);
        assert_eq!(narrow.len(), 128);
    }
}
