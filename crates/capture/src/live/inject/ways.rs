//! The ways home: signal frames that bring a thread back, or end a child, without anybody's help.
//!
//! *What it is*: bytes as the kernel's `rt_sigreturn` reads them (`arch/x86/kernel/signal_64.c`, `struct rt_sigframe`;
//! `arch/x86/include/uapi/asm/sigcontext.h`).
//!
//! *Trap*: `rt_sigreturn` sets everything that a signal frame has. Floating point must be in it or is cleared; the
//! alternative signal stack must be *invalid* in it, or would be replaced (the kernel ignores one that is no good).

use super::registers::{Registers, index};

/// Bytes of the return address and of `struct ucontext`.
pub(super) const WAY: u64 = 8 + UCONTEXT;
const UCONTEXT: u64 = 304;
/// Offset in a way of rdi, into which the kernel writes a child's id.
pub(super) const RDI: u64 = 8 + 40 + 64;

const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

/// A way: the code that returns from signals, then a frame with these registers, blocked signals, and the address of
/// the floating-point state (0 for none).
pub(super) fn way(sigreturn: u64, registers: &Registers, mask: u64, fpstate: u64) -> Vec<u8> {
    let get = |index| registers.get(index);
    let mut out = Vec::with_capacity(WAY as usize);
    let mut word = |value: u64| out.extend_from_slice(&value.to_ne_bytes());
    word(sigreturn);
    let floating = if fpstate == 0 { 0 } else { UC_FP_XSTATE };
    word(floating | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS);
    word(0); // uc_link
    word(0); // ss_sp
    word(0x7fff_ffff); // ss_flags: no valid mode, so that the alternative stack stays
    word(0); // ss_size
    for index in [
        index::R8,
        index::R9,
        index::R10,
        index::R11,
        index::R12,
        index::R13,
        index::R14,
        index::R15,
        index::RDI,
        index::RSI,
        index::RBP,
        index::RBX,
        index::RDX,
        index::RAX,
        index::RCX,
        index::RSP,
        index::RIP,
        index::EFLAGS,
    ] {
        word(get(index));
    }
    // cs, gs, fs, ss as 16-bit fields.
    word((get(index::CS) & 0xffff) | (get(index::SS) & 0xffff) << 48);
    for _ in 0..4 {
        word(0); // err, trapno, oldmask, cr2
    }
    word(fpstate);
    for _ in 0..8 {
        word(0);
    }
    word(mask);
    out
}

/// The registers with which a thread goes on by itself where it was interrupted: a system call that would have been
/// restarted by the kernel begins anew. (One with a time-out counted by the kernel ends with EINTR: its rest is lost.)
pub(super) fn as_resumed(original: &Registers) -> Registers {
    const RESTART: [i64; 3] = [-512, -513, -514];
    const RESTART_BLOCK: i64 = -516;
    const SYS_RESTART_SYSCALL: u64 = 219;
    let mut resumed = *original;
    let result = original.get(index::RAX) as i64;
    if original.get(index::ORIG_RAX) as i64 >= 0 {
        if RESTART.contains(&result) {
            resumed.set(index::RAX, original.get(index::ORIG_RAX));
            resumed.set(index::RIP, original.get(index::RIP).wrapping_sub(2));
        } else if result == RESTART_BLOCK {
            resumed.set(index::RAX, SYS_RESTART_SYSCALL);
            resumed.set(index::RIP, original.get(index::RIP).wrapping_sub(2));
        }
    }
    resumed
}

/// Floating-point state for a signal frame, made of the register set NT_X86_XSTATE (or NT_PRFPREG where there is no
/// XSAVE): the same layout, with the kernel's marks in the bytes that software may use.
pub(super) fn fpstate(set: &[u8]) -> Vec<u8> {
    const LEGACY: usize = 512;
    const HEADER: usize = 64;
    const SOFTWARE: usize = 464;
    const MAGIC1: u32 = 0x4650_5853;
    const MAGIC2: u32 = 0x4650_5845;
    const AMX: u64 = 3 << 17;
    let mut out = set.to_vec();
    let features =
        set.get(SOFTWARE..SOFTWARE + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes);
    if set.len() < LEGACY + HEADER || features == 0 {
        out.resize(LEGACY, 0);
        return out;
    }
    let used = set.get(LEGACY..LEGACY + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes);
    // Folklore: GETREGSET gives AMX's 8 KiB of tiles room even where the program has not asked for them; a signal frame
    // of that size is refused then (`fpu_state_size_dynamic`).
    let features = if used & AMX == 0 { features & !AMX } else { features };
    let size = standard_size(features).min(set.len());
    out.truncate(size);
    let mut put = |at: usize, bytes: &[u8]| {
        for (to, from) in out.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    };
    // struct _fpx_sw_bytes: magic1, extended_size, xfeatures, xstate_size.
    put(SOFTWARE, &MAGIC1.to_ne_bytes());
    put(SOFTWARE + 4, &(size as u32 + 4).to_ne_bytes());
    put(SOFTWARE + 8, &features.to_ne_bytes());
    put(SOFTWARE + 16, &(size as u32).to_ne_bytes());
    out.extend_from_slice(&MAGIC2.to_ne_bytes());
    out
}

/// Bytes of the standard XSAVE layout with these features, by CPUID leaf 0xd.
fn standard_size(features: u64) -> usize {
    let mut size = 576;
    for feature in 2..63 {
        if features >> feature & 1 == 1 {
            let leaf = std::arch::x86_64::__cpuid_count(0xd, feature);
            size = size.max((leaf.ebx + leaf.eax) as usize);
        }
    }
    size
}
