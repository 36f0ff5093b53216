//! i386 and x86-64, x32 among them. Sources: Linux `asm/user_{32,64}.h`; FreeBSD, NetBSD, OpenBSD `machine/reg.h`.

use super::{Layout, ThreadPointer};
use crate::{Arch, Os};

const LINUX_64: &str = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss \
                        fs_base gs_base ds es fs gs";
/// NetBSD's and OpenBSD's order on i386.
const BSD_32: &str = "eax ecx edx ebx esp ebp esi edi eip eflags cs ss ds es fs gs";

pub(super) static LAYOUTS: &[Layout] = &[
    Layout {
        os: Os::Linux,
        arch: Arch::X86_64,
        size: 336,
        at: 112,
        word: 8,
        registers: LINUX_64,
        thread_pointer: ThreadPointer::Register("fs_base"),
    },
    // x32: the header of a 32-bit program before the registers of a 64-bit one.
    Layout {
        os: Os::Linux,
        arch: Arch::X86_64,
        size: 296,
        at: 72,
        word: 8,
        registers: LINUX_64,
        thread_pointer: ThreadPointer::Register("fs_base"),
    },
    Layout {
        os: Os::Linux,
        arch: Arch::X86,
        size: 144,
        at: 72,
        word: 4,
        registers: "ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::FreeBsd,
        arch: Arch::X86_64,
        size: 224,
        at: 48,
        word: 8,
        registers: "r15 r14 r13 r12 r11 r10 r9 r8 rdi rsi rbp rbx rdx rcx rax -:4 fs:2 gs:2 -:4 es:2 ds:2 rip cs eflags \
                    rsp ss",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::FreeBsd,
        arch: Arch::X86,
        size: 104,
        at: 28,
        word: 4,
        registers: "fs es ds edi esi ebp - ebx edx ecx eax - - eip cs eflags esp ss gs",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::NetBsd,
        arch: Arch::X86_64,
        size: 208,
        at: 0,
        word: 8,
        registers: "rdi rsi rdx rcx r8 r9 r10 r11 r12 r13 r14 r15 rbp rbx rax gs fs es ds - - rip cs eflags rsp ss",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::NetBsd,
        arch: Arch::X86,
        size: 64,
        at: 0,
        word: 4,
        registers: BSD_32,
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::OpenBsd,
        arch: Arch::X86_64,
        size: 192,
        at: 0,
        word: 8,
        registers: "rdi rsi rdx rcx r8 r9 r10 r11 r12 r13 r14 r15 rbp rbx rax rsp rip eflags cs ss ds es fs gs",
        thread_pointer: ThreadPointer::Elsewhere,
    },
    Layout {
        os: Os::OpenBsd,
        arch: Arch::X86,
        size: 64,
        at: 0,
        word: 4,
        registers: BSD_32,
        thread_pointer: ThreadPointer::Elsewhere,
    },
];
