//! Signal frames: recognising the code that a signal handler returns to, and reading the registers that the kernel
//! saved on the stack before it called the handler.
//!
//! *What it is not*: it walks no stack. It answers "is this the way back from a signal, and if so from where?".
//!
//! *Example*: on x86-64 the bytes `48 c7 c0 0f 00 00 00 0f 05` (`mov $15,%rax; syscall`) are `rt_sigreturn`, and the
//! stack pointer is then at a `struct ucontext`.
//!
//! *Trap*: on aarch64 the vDSO's unwind table for its trampoline knows only the frame record, so it gives the
//! interrupted function's *caller* and skips the function itself. The saved context is read first for that reason.
//!
//! Layouts: `arch/*/include/uapi/asm/sigcontext.h`, `ucontext.h` and `arch/*/kernel/signal*.c` of Linux 6.1; stable
//! since the ports began, as programs depend on them.

use super::window::Window;
use afterimage_dump::{Arch, Endian, Registers};

/// Where the saved registers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The register block's address, or the address of the pointer to it.
    at: u64,
    /// Whether `at` is a pointer to a structure; the block then lies this far into it.
    through: Option<u64>,
    layout: &'static Layout,
    /// The system call that returns from the handler.
    pub(super) call: &'static str,
}

/// A register block: each slot's distance from its start.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    /// Bytes of one register.
    size: usize,
    /// Slots and offsets.
    places: Places,
}

#[derive(Debug, PartialEq, Eq)]
enum Places {
    /// One by one.
    Each(&'static [(usize, u64)]),
    /// Runs of consecutive slots: first slot, number, offset of the first.
    Runs(&'static [(usize, usize, u64)]),
}

/// r8…r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags.
static X86_64: Layout = Layout {
    size: 8,
    places: Places::Each(&[
        (8, 0),
        (9, 8),
        (10, 16),
        (11, 24),
        (12, 32),
        (13, 40),
        (14, 48),
        (15, 56),
        (5, 64),
        (4, 72),
        (6, 80),
        (3, 88),
        (1, 96),
        (0, 104),
        (2, 112),
        (7, 120),
        (16, 128),
        (17, 136),
    ]),
};
/// gs, fs, es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax, (trap, error), eip, cs, eflags, (esp again), ss.
static X86: Layout = Layout {
    size: 4,
    places: Places::Each(&[
        (15, 0),
        (14, 4),
        (10, 8),
        (13, 12),
        (7, 16),
        (6, 20),
        (5, 24),
        (4, 28),
        (3, 32),
        (2, 36),
        (1, 40),
        (0, 44),
        (8, 56),
        (11, 60),
        (9, 64),
        (12, 72),
    ]),
};
/// fault address, x0…x30, sp, pc, pstate.
static AARCH64: Layout = Layout { size: 8, places: Places::Runs(&[(0, 34, 8)]) };
/// trap number, error code, old mask, r0…r15, cpsr.
static ARM: Layout = Layout { size: 4, places: Places::Runs(&[(0, 17, 12)]) };
/// pc, x1…x31.
static RISCV64: Layout = Layout { size: 8, places: Places::Runs(&[(32, 1, 0), (1, 31, 8)]) };
/// pc, r0…r31.
static LOONGARCH64: Layout = Layout { size: 8, places: Places::Runs(&[(32, 1, 0), (0, 32, 8)]) };
/// psw mask, psw address, r0…r15.
static S390X: Layout = Layout { size: 8, places: Places::Runs(&[(16, 2, 0), (0, 16, 16)]) };

/// Looks whether `pc` stands at the first instruction of a sigreturn trampoline, or at its system call, with the stack
/// pointer at `sp`.
pub(super) fn recognise(arch: Arch, memory: &Window<'_>, pc: u64, sp: u64) -> Option<Context> {
    let mut bytes = [0; 16];
    let got = memory.read_upto(pc, &mut bytes);
    let code = bytes.get(..got)?;
    match arch {
        Arch::X86_64 => x86_64(memory, code, pc, sp),
        Arch::X86 => x86(memory, code, pc, sp),
        _ => fixed(arch, memory, code, pc, sp),
    }
}

/// Whether the bytes before `pc` are these.
fn behind(memory: &Window<'_>, pc: u64, wanted: &[u8]) -> bool {
    let mut bytes = [0; 8];
    let Some(buf) = bytes.get_mut(..wanted.len()) else { return false };
    pc.checked_sub(wanted.len() as u64).is_some_and(|at| memory.read(at, buf).is_ok()) && buf == wanted
}

fn x86_64(memory: &Window<'_>, code: &[u8], pc: u64, sp: u64) -> Option<Context> {
    const SYSCALL: &[u8] = &[0x0f, 0x05];
    const LONG: &[u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0];
    const SHORT: &[u8] = &[0xb8, 0x0f, 0, 0, 0];
    // x32 numbers its calls from 0x4000_0000 and has call 513 for this.
    const X32: &[u8] = &[0x48, 0xc7, 0xc0, 0x01, 0x02, 0, 0x40];
    for (load, offset) in [(LONG, 40), (SHORT, 40), (X32, 24)] {
        let at_start = code.strip_prefix(load).is_some_and(|rest| rest.starts_with(SYSCALL));
        if at_start || (code.starts_with(SYSCALL) && behind(memory, pc, load)) {
            let at = sp.checked_add(offset)?;
            return Some(Context { at, through: None, layout: &X86_64, call: "rt_sigreturn" });
        }
    }
    None
}

fn x86(memory: &Window<'_>, code: &[u8], pc: u64, sp: u64) -> Option<Context> {
    const INT80: &[u8] = &[0xcd, 0x80];
    const OLD: &[u8] = &[0xb8, 119, 0, 0, 0];
    const RT: &[u8] = &[0xb8, 173, 0, 0, 0];
    const POP_EAX: u8 = 0x58;
    let starts = |code: &[u8], load: &[u8]| code.strip_prefix(load).is_some_and(|rest| rest.starts_with(INT80));
    let at_call = |load: &[u8]| code.starts_with(INT80) && behind(memory, pc, load);
    let old = |at: u64| Context { at, through: None, layout: &X86, call: "sigreturn" };
    // The handler's one argument, the signal's number, is still on the stack until it has been popped.
    if let Some((&POP_EAX, rest)) = code.split_first()
        && starts(rest, OLD)
    {
        return Some(old(sp.checked_add(4)?));
    }
    if starts(code, OLD) || at_call(OLD) {
        return Some(old(sp));
    }
    if starts(code, RT) || at_call(RT) {
        // Signal number, pointer to siginfo, pointer to ucontext.
        return Some(Context { at: sp.checked_add(8)?, through: Some(20), layout: &X86, call: "rt_sigreturn" });
    }
    None
}

/// Processors with fixed-length instructions: load the call's number, then call.
fn fixed(arch: Arch, memory: &Window<'_>, code: &[u8], pc: u64, sp: u64) -> Option<Context> {
    // Load, system call, from the stack pointer to the registers, through a pointer, layout, name.
    type Row = (u32, u32, u64, Option<u64>, &'static Layout, &'static str);
    let rows: &[Row] = match arch {
        // siginfo (128), flags, link, stack (40), mask (128), then to 16 bytes.
        Arch::Aarch64 => &[(0xd280_1168, 0xd400_0001, 128 + 176, None, &AARCH64, "rt_sigreturn")],
        Arch::Riscv64 => &[(0x08b0_0893, 0x0000_0073, 128 + 176, None, &RISCV64, "rt_sigreturn")],
        Arch::LoongArch64 => &[(0x0382_2c0b, 0x002b_0000, 128 + 176, None, &LOONGARCH64, "rt_sigreturn")],
        Arch::Arm => &[
            (0xe3a0_70ad, 0xef00_0000, 128 + 20, None, &ARM, "rt_sigreturn"),
            (0xe3a0_70ad, 0xef90_00ad, 128 + 20, None, &ARM, "rt_sigreturn"),
            (0xe3a0_7077, 0xef00_0000, 20, None, &ARM, "sigreturn"),
            (0xe3a0_7077, 0xef90_0077, 20, None, &ARM, "sigreturn"),
        ],
        Arch::S390x => return s390x(code, sp),
        _ => return None,
    };
    let word = |at: usize| {
        let bytes = code.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let context = |&(_, _, offset, through, layout, call): &Row| {
        Some(Context { at: sp.checked_add(offset)?, through, layout, call })
    };
    if arch == Arch::Arm {
        // Thumb: `movs r7, #n; svc 0`.
        let row = match word(0) {
            Some(0xdf00_27ad) => rows.first(),
            Some(0xdf00_2777) => rows.get(2),
            _ => None,
        };
        if let Some(row) = row {
            return context(row);
        }
    }
    rows.iter()
        .find(|(load, call, ..)| {
            (word(0) == Some(*load) && word(4) == Some(*call))
                || (word(0) == Some(*call) && behind(memory, pc, &load.to_le_bytes()))
        })
        .and_then(context)
}

/// One instruction holds the call's number. A register save area of 160 bytes lies below the frame.
fn s390x(code: &[u8], sp: u64) -> Option<Context> {
    match code.first_chunk::<2>()? {
        // siginfo (128); flags, link, stack (40).
        [0x0a, 173] => {
            Some(Context { at: sp.checked_add(160 + 128 + 40)?, through: None, layout: &S390X, call: "rt_sigreturn" })
        }
        // The old signal mask, then a pointer to the registers.
        [0x0a, 119] => {
            Some(Context { at: sp.checked_add(160 + 8)?, through: Some(0), layout: &S390X, call: "sigreturn" })
        }
        _ => None,
    }
}

impl Context {
    /// All registers of the interrupted code; `None` if the block is not in the dump.
    pub(super) fn registers(&self, arch: Arch, memory: &Window<'_>) -> Option<Registers> {
        let size = self.layout.size;
        let base = match self.through {
            Some(offset) => memory.uint(self.at, size).ok()?.checked_add(offset)?,
            None => self.at,
        };
        let mut registers = Registers::new(arch);
        let mut take = |slot: usize, offset: u64| {
            let value = memory.uint(base.checked_add(offset)?, size).ok()?;
            // A selector is 16 bits wide; the kernel leaves the other half of its word as it was.
            let selector = matches!(arch, Arch::X86) && (10..=15).contains(&slot);
            registers.set(slot, if selector { value & 0xffff } else { value });
            Some(())
        };
        match self.layout.places {
            Places::Each(places) => places.iter().try_for_each(|&(slot, offset)| take(slot, offset))?,
            Places::Runs(runs) => {
                for &(first, count, offset) in runs {
                    (0..count).try_for_each(|i| take(first + i, offset + (i * size) as u64))?;
                }
            }
        }
        Some(registers)
    }
}

/// Byte order matters only where both exist; the trampolines above are little-endian, but for s390x's single bytes.
pub(super) fn known(arch: Arch, endian: Endian) -> bool {
    match arch {
        Arch::X86 | Arch::X86_64 | Arch::Riscv64 | Arch::LoongArch64 => endian == Endian::Little,
        // Instructions of a big-endian Armv8 are little-endian all the same.
        Arch::Aarch64 | Arch::Arm | Arch::S390x => true,
        _ => false,
    }
}
