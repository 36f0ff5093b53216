//! Recognising a call instruction just before an address, and where it calls.
//!
//! *What it is not*: it is no disassembler. It knows the call instructions of each processor and nothing else.
//!
//! *Example*: the five bytes `e8 xx xx xx xx` before an x86 return address are a direct call to address + displacement.
//!
//! *Trap*: x86 instructions have no alignment, so data or the tail of another instruction may look like a call. A match
//! is evidence, not proof.

use super::window::Window;
use afterimage_dump::{Arch, Endian};

/// What stands before an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A call of this address.
    Direct(u64),
    /// A call through a register or memory.
    Indirect,
    /// No call.
    No,
    /// The bytes are not in the dump.
    Unknown,
}

impl Call {
    /// Whether nothing speaks against a call.
    pub(super) fn possible(self) -> bool {
        self != Self::No
    }
}

/// Looks at the instruction before `ra`, a return address with its mode bits still in it.
pub(super) fn before(arch: Arch, memory: &Window<'_>, ra: u64) -> Call {
    match arch {
        Arch::X86 | Arch::X86_64 => x86(arch, memory, ra),
        Arch::Arm if ra & 1 == 1 => thumb(memory, ra & !1),
        Arch::Riscv64 => riscv(memory, ra),
        // Not known here; the reader of the answer must not take that for a yes.
        Arch::Hppa | Arch::M68k | Arch::Other(_) => Call::Unknown,
        Arch::S390x => s390x(memory, ra),
        Arch::Sparc | Arch::Sparc64 | Arch::Mips | Arch::Mips64 => {
            word_before(arch, memory, ra, 8).map_or(Call::Unknown, |word| {
                if matches!(arch, Arch::Mips | Arch::Mips64) { mips(word, ra) } else { sparc(word, ra) }
            })
        }
        _ => word_before(arch, memory, ra, 4).map_or(Call::Unknown, |word| fixed(arch, word, ra.wrapping_sub(4))),
    }
}

/// The instruction word `back` bytes before `ra`. Instructions of aarch64 are
/// little-endian even where data is not.
fn word_before(arch: Arch, memory: &Window<'_>, ra: u64, back: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    memory.read(ra.checked_sub(back)?, &mut bytes).ok()?;
    let endian = if arch == Arch::Aarch64 { Endian::Little } else { memory.endian() };
    Some(match endian {
        Endian::Little => u32::from_le_bytes(bytes),
        Endian::Big => u32::from_be_bytes(bytes),
    })
}

/// Sign-extends the low `bits` of a word.
fn signed(value: u32, bits: u32) -> u64 {
    let shift = 64 - bits;
    ((u64::from(value) << shift) as i64 >> shift) as u64
}

fn fixed(arch: Arch, word: u32, at: u64) -> Call {
    let op = word >> 26;
    match arch {
        Arch::Aarch64 if word & 0xfc00_0000 == 0x9400_0000 => Call::Direct(at.wrapping_add(signed(word, 26) << 2)),
        // `blr`, and with pointer authentication `blraa`, `blrab` and their forms with a zero modifier.
        Arch::Aarch64 if word & 0xffff_fc1f == 0xd63f_0000 || word & 0xfeff_f800 == 0xd63f_0800 => Call::Indirect,
        Arch::Arm if word >> 25 == 0b111_1101 => Call::Indirect,
        Arch::Arm if word & 0x0f00_0000 == 0x0b00_0000 => {
            Call::Direct(at.wrapping_add(8).wrapping_add(signed(word, 24) << 2) & 0xffff_ffff)
        }
        Arch::Arm if word & 0x0fff_fff0 == 0x012f_ff30 => Call::Indirect,
        Arch::Ppc64 | Arch::Ppc if op == 18 && word & 3 == 1 => {
            let target = at.wrapping_add(signed(word & 0x03ff_fffc, 26));
            Call::Direct(if arch == Arch::Ppc { target & 0xffff_ffff } else { target })
        }
        Arch::Ppc64 | Arch::Ppc if op == 19 && matches!(word & 0x7ff, 0x421 | 0x021) => Call::Indirect,
        Arch::LoongArch64 if op == 0x15 => {
            let offset = (word >> 10 & 0xffff) | (word & 0x3ff) << 16;
            Call::Direct(at.wrapping_add(signed(offset, 26) << 2))
        }
        Arch::LoongArch64 if op == 0x13 && word & 31 == 1 => Call::Indirect,
        Arch::Alpha if op == 0x34 => Call::Direct(at.wrapping_add(4).wrapping_add(signed(word, 21) << 2)),
        Arch::Alpha if op == 0x1a => Call::Indirect,
        Arch::Aarch64 | Arch::Arm | Arch::Ppc64 | Arch::Ppc | Arch::LoongArch64 | Arch::Alpha => Call::No,
        _ => Call::Unknown,
    }
}

/// The call stands before its delay slot, and the return address behind both.
fn mips(word: u32, ra: u64) -> Call {
    match word >> 26 {
        3 => Call::Direct(ra & !0x0fff_ffff | u64::from(word & 0x03ff_ffff) << 2),
        0 if word & 0xfc1f_003f == 9 && word >> 11 & 31 != 0 => Call::Indirect,
        // `bal` is `bgezal $zero`.
        1 if word >> 16 & 0x1e == 0x10 => Call::Direct(ra.wrapping_sub(4).wrapping_add(signed(word & 0xffff, 16) << 2)),
        _ => Call::No,
    }
}

fn sparc(word: u32, ra: u64) -> Call {
    if word >> 30 == 1 {
        Call::Direct(ra.wrapping_sub(8).wrapping_add(signed(word, 30) << 2))
    } else if word & 0xfff8_0000 == 0x9fc0_0000 {
        Call::Indirect
    } else {
        Call::No
    }
}

fn riscv(memory: &Window<'_>, ra: u64) -> Call {
    let Some(short) = ra.checked_sub(2).and_then(|at| memory.uint(at, 2).ok()) else { return Call::Unknown };
    // `c.jalr rs1`
    if short & 0xf07f == 0x9002 && short >> 7 & 31 != 0 {
        return Call::Indirect;
    }
    match word_before(Arch::Riscv64, memory, ra, 4) {
        Some(word) if word & 0xfff == 0x0ef => {
            let offset =
                (word >> 31 & 1) << 20 | (word >> 12 & 0xff) << 12 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3ff) << 1;
            Call::Direct(ra.wrapping_sub(4).wrapping_add(signed(offset, 21)))
        }
        Some(word) if word & 0x7fff == 0x00e7 => Call::Indirect,
        Some(_) => Call::No,
        None => Call::Unknown,
    }
}

fn s390x(memory: &Window<'_>, ra: u64) -> Call {
    let half = |back: u64| ra.checked_sub(back).and_then(|at| memory.uint(at, 2).ok());
    let (Some(last), Some(first4)) = (half(2), half(4)) else { return Call::Unknown };
    // `brasl %r14`, `bras %r14`, `basr %r14,%rx`
    if half(6) == Some(0xc0e5) {
        let offset = (first4 << 16 | last) as u32;
        return Call::Direct(ra.wrapping_sub(6).wrapping_add(signed(offset, 32) << 1));
    }
    if first4 == 0xa7e5 {
        return Call::Direct(ra.wrapping_sub(4).wrapping_add(signed(last as u32, 16) << 1));
    }
    // Newer compilers call through an expolined `brasl` as above; a plain `basr` has a register in its low half.
    if last & 0xfff0 == 0x0de0 && last & 15 != 0 { Call::Indirect } else { Call::No }
}

fn thumb(memory: &Window<'_>, ra: u64) -> Call {
    let half = |back: u64| ra.checked_sub(back).and_then(|at| memory.uint(at, 2).ok());
    let (Some(last), Some(first)) = (half(2), half(4)) else { return Call::Unknown };
    // `bl` and `blx label`: two half-words. The target's bits are scattered; that it is a call is enough.
    if (first & 0xf800 == 0xf000 && last & 0xc000 == 0xc000) || last & 0xff87 == 0x4780 {
        Call::Indirect
    } else {
        Call::No
    }
}

fn x86(arch: Arch, memory: &Window<'_>, ra: u64) -> Call {
    let mut bytes = [0; 7];
    // A call may be the first instruction of a mapping, so fewer bytes may do.
    let Some(have) = (2..=bytes.len()).rev().find(|&n| {
        let from = bytes.len() - n;
        match (ra.checked_sub(n as u64), bytes.get_mut(from..)) {
            (Some(at), Some(buf)) => memory.read(at, buf).is_ok(),
            _ => false,
        }
    }) else {
        return Call::Unknown;
    };
    let back = |n: usize| (n <= have).then(|| bytes.get(7 - n).copied()).flatten();
    if back(5) == Some(0xe8) {
        let displacement = i32::from_le_bytes([
            back(4).unwrap_or_default(),
            back(3).unwrap_or_default(),
            back(2).unwrap_or_default(),
            back(1).unwrap_or_default(),
        ]);
        let target = ra.wrapping_add(i64::from(displacement) as u64);
        return Call::Direct(if arch == Arch::X86 { target & 0xffff_ffff } else { target });
    }
    // `ff /2`: the length follows from the addressing form.
    for length in [2usize, 3, 4, 6, 7] {
        if back(length) != Some(0xff) {
            continue;
        }
        let Some(modrm) = back(length - 1) else { continue };
        if modrm >> 3 & 7 != 2 {
            continue;
        }
        let sib_base = || if length > 2 { back(length - 2).map(|sib| sib & 7) } else { None };
        let wanted = match (modrm >> 6, modrm & 7) {
            (3, _) => 2,
            (0, 4) if sib_base() == Some(5) => 7,
            (0, 4) => 3,
            (0, 5) => 6,
            (0, _) => 2,
            (1, 4) => 4,
            (1, _) => 3,
            (_, 4) => 7,
            (_, _) => 6,
        };
        if wanted == length {
            return Call::Indirect;
        }
    }
    Call::No
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bytes;
    use super::*;

    fn look(arch: Arch, endian: Endian, code: &[u8]) -> Call {
        let memory = Bytes::new(&[(0x1000, code)]);
        before(arch, &Window::new(&memory, endian), 0x1000 + code.len() as u64)
    }

    /// Encodings as the GNU assembler writes them.
    #[test]
    fn calls_of_x86() {
        let x86 = |code: &[u8]| look(Arch::X86_64, Endian::Little, code);
        assert_eq!(x86(&[0xe8, 0x10, 0, 0, 0]), Call::Direct(0x1015));
        assert_eq!(x86(&[0x90, 0x90, 0xe8, 0xf9, 0xff, 0xff, 0xff]), Call::Direct(0x1000));
        for indirect in [
            &[0x90u8, 0xff, 0xd0][..],                   // call *%rax
            &[0x41, 0xff, 0xd4],                         // call *%r12
            &[0xff, 0x10],                               // call *(%rax)
            &[0xff, 0x50, 0x18],                         // call *0x18(%rax)
            &[0xff, 0x14, 0xc7],                         // call *(%rdi,%rax,8)
            &[0xff, 0x54, 0x24, 0x08],                   // call *8(%rsp)
            &[0xff, 0x15, 0x00, 0x20, 0x00, 0x00],       // call *0x2000(%rip)
            &[0xff, 0x90, 0x00, 0x01, 0x00, 0x00],       // call *0x100(%rax)
            &[0xff, 0x14, 0xc5, 0x00, 0x20, 0x40, 0x00], // call *0x402000(,%rax,8)
            &[0xff, 0x94, 0x24, 0x00, 0x01, 0x00, 0x00], // call *0x100(%rsp)
        ] {
            assert_eq!(x86(indirect), Call::Indirect, "{indirect:02x?}");
        }
        // Jumps, pushes and increments share the opcode.
        for other in [&[0x90u8, 0xff, 0xe0][..], &[0xff, 0x70, 0x18], &[0x90, 0xff, 0xc0], &[0xc3, 0x90, 0x90]] {
            assert_eq!(x86(other), Call::No, "{other:02x?}");
        }
        assert_eq!(look(Arch::X86, Endian::Little, &[]), Call::Unknown);
    }

    #[test]
    fn calls_of_other_processors() {
        let little = |arch, word: u32| look(arch, Endian::Little, &word.to_le_bytes());
        assert_eq!(little(Arch::Aarch64, 0x9400_0002), Call::Direct(0x1008));
        assert_eq!(little(Arch::Aarch64, 0x97ff_ffff), Call::Direct(0xffc));
        assert_eq!(little(Arch::Aarch64, 0xd63f_0260), Call::Indirect);
        assert_eq!(little(Arch::Aarch64, 0xd65f_03c0), Call::No);
        assert_eq!(little(Arch::Arm, 0xebff_fffe), Call::Direct(0x1000));
        assert_eq!(little(Arch::Arm, 0xe12f_ff33), Call::Indirect);
        assert_eq!(little(Arch::Riscv64, 0x0000_00ef), Call::Direct(0x1000));
        assert_eq!(little(Arch::Riscv64, 0x0007_80e7), Call::Indirect);
        assert_eq!(look(Arch::Riscv64, Endian::Little, &[0x13, 0, 0x82, 0x97]), Call::Indirect);
        assert_eq!(little(Arch::LoongArch64, 0x5400_0800), Call::Direct(0x1008));
        assert_eq!(little(Arch::LoongArch64, 0x4c00_0181), Call::Indirect);
        let big = |arch, code: &[u8]| look(arch, Endian::Big, code);
        assert_eq!(big(Arch::S390x, &[0xc0, 0xe5, 0xff, 0xff, 0xff, 0xfe]), Call::Direct(0xffc));
        assert_eq!(big(Arch::S390x, &[0x07, 0x07, 0x0d, 0xe1]), Call::Indirect);
        assert_eq!(big(Arch::Ppc64, &0x4800_0009u32.to_be_bytes()), Call::Direct(0x1008));
        assert_eq!(big(Arch::Ppc64, &0x4e80_0421u32.to_be_bytes()), Call::Indirect);
        assert_eq!(big(Arch::Mips, &[0x0c, 0, 0x04, 0, 0, 0, 0, 0]), Call::Direct(0x1000));
        assert_eq!(big(Arch::Sparc64, &[0x40, 0, 0, 2, 1, 0, 0, 0]), Call::Direct(0x1008));
    }
}
