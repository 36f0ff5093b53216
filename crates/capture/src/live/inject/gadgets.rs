//! Finding the two borrowed pieces of code in a process's executable mappings.
//!
//! *Trap*: the program's own file may be deleted or replaced on disk; only its memory counts.

use crate::memory::Reader;
use crate::procfs::Vma;
use crate::sys::{self, Tid};

/// `syscall; ret`.
const SYSCALL_RET: &[u8] = &[0x0f, 0x05, 0xc3];
/// `mov rax, 15; syscall`, in its two encodings: rt_sigreturn.
const SIGRETURN: [&[u8]; 2] = [&[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05], &[0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05]];

/// Bytes of code that are looked at, in all.
const MAX_CODE: u64 = 64 << 20;
const BLOCK: usize = 256 << 10;

/// Addresses of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::live) struct Gadgets {
    /// `syscall; ret`.
    pub(super) syscall: u64,
    /// Return from a signal handler.
    pub(super) sigreturn: u64,
}

impl Gadgets {
    /// Looks for them: first in libraries named like a C library, then everywhere.
    pub(in crate::live) fn find(reader: &Reader, vmas: &[Vma]) -> Option<Self> {
        let code = |vma: &&Vma| vma.permissions.execute && vma.permissions.read && vma.file;
        let libc = |vma: &&Vma| {
            let name = vma.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            name.starts_with(b"libc.") || name.starts_with(b"libc-") || name.starts_with(b"ld-musl")
        };
        let (mut syscall, mut sigreturn) = (None, None);
        let mut budget = MAX_CODE;
        let first = vmas.iter().filter(code).filter(libc);
        let then = vmas.iter().filter(code).filter(|vma| !libc(vma));
        let mut block = vec![0; BLOCK];
        for vma in first.chain(then) {
            let mut at = vma.start;
            while at < vma.end && budget > 0 {
                let len = (vma.end - at).min(BLOCK as u64) as usize;
                let Some(part) = block.get_mut(..len) else { break };
                let got = reader.read(at, part).unwrap_or(0);
                let part = part.get(..got).unwrap_or_default();
                let place = |found: Option<usize>| found.map(|found| at + found as u64);
                syscall = syscall.or_else(|| place(find(part, SYSCALL_RET)));
                sigreturn = sigreturn.or_else(|| place(SIGRETURN.iter().find_map(|code| find(part, code))));
                if let (Some(syscall), Some(sigreturn)) = (syscall, sigreturn) {
                    return Some(Self { syscall, sigreturn });
                }
                if got < len {
                    break;
                }
                budget = budget.saturating_sub(len as u64);
                // The last bytes again: a piece may lie across the border.
                at += if at + (len as u64) < vma.end { len as u64 - 16 } else { len as u64 };
            }
        }
        None
    }
}

impl Gadgets {
    /// Whether both still stand there: a process may have begun another program since they were found.
    pub(super) fn stand(&self, tid: Tid) -> bool {
        let stands = |at: u64, code: &[u8]| {
            let mut now = [0; 16];
            let Some(now) = now.get_mut(..code.len()) else { return false };
            // Not by an open /proc/PID/mem, which shows the memory that the process had when it was opened.
            sys::read_memory(tid, at, now).is_ok() && now == code
        };
        stands(self.syscall, SYSCALL_RET) && SIGRETURN.iter().any(|code| stands(self.sigreturn, code))
    }
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    loop {
        let rest = hay.get(from..)?;
        let at = from + rest.iter().position(|byte| byte == first)?;
        if hay.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}
