//! Registers, memory and unwind rules made of chance and of the worst numbers: a walk must end, soon, and must not panic.

use super::*;

/// A small generator of numbers that are the same at each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number that is likely to lead somewhere.
    fn number(&mut self) -> u64 {
        let low = self.next();
        match self.next() % 12 {
            0 => 0,
            1 => u64::MAX - low % 64,
            2 => low % 4096,
            3 => 0x7fff_ffff_ffff - low % 64,
            4 => 1 << (low % 64),
            5..=7 => CODE + low % 0x1_0000,
            8..=10 => STACK + ((low % 0x2000) & !7),
            _ => low,
        }
    }
}

const ALL: &[(Arch, Endian)] = &[
    (Arch::X86, Endian::Little),
    (Arch::X86_64, Endian::Little),
    (Arch::Arm, Endian::Little),
    (Arch::Aarch64, Endian::Little),
    (Arch::Aarch64, Endian::Big),
    (Arch::Riscv64, Endian::Little),
    (Arch::S390x, Endian::Big),
    (Arch::Ppc64, Endian::Big),
    (Arch::Ppc, Endian::Big),
    (Arch::Mips, Endian::Big),
    (Arch::Mips64, Endian::Little),
    (Arch::Sparc, Endian::Big),
    (Arch::Sparc64, Endian::Big),
    (Arch::Alpha, Endian::Little),
    (Arch::Hppa, Endian::Big),
    (Arch::LoongArch64, Endian::Little),
    (Arch::M68k, Endian::Big),
    (Arch::Other(9), Endian::Little),
];

/// An indirect call, so that any address may be behind one.
fn call(arch: Arch) -> u32 {
    match arch {
        Arch::X86 | Arch::X86_64 => 0xd0ff_d0ff,
        Arch::Arm => 0xe12f_ff33,
        Arch::Aarch64 => 0xd63f_0000,
        Arch::Riscv64 => 0x0007_80e7,
        Arch::S390x => 0x0de1_0de1,
        Arch::Ppc64 | Arch::Ppc => 0x4e80_0421,
        Arch::Mips | Arch::Mips64 => 0x0320_f809,
        Arch::Sparc | Arch::Sparc64 => 0x9fc0_4000,
        Arch::Alpha => 0x6b5b_4000,
        Arch::LoongArch64 => 0x4c00_0181,
        _ => 0,
    }
}

#[test]
fn every_walk_ends() {
    let started = Instant::now();
    let mut frames = 0;
    for round in 1..=200 {
        for &(arch, endian) in ALL {
            let mut chance = Chance(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(round));
            let stack: Vec<u64> = (0..1024).map(|_| chance.number()).collect();
            // Code made of calls, with something else in between.
            let call = match endian {
                Endian::Little => call(arch).to_le_bytes(),
                Endian::Big => call(arch).to_be_bytes(),
            };
            let mut code: Vec<u8> = call.repeat(0x4000);
            for _ in 0..(round % 3) * 4000 {
                let at = chance.next() as usize % code.len();
                code[at] = chance.next() as u8;
            }
            let mut world = Fake::new(arch, endian, &[(CODE, &code)], &stack);
            if round.is_multiple_of(2) {
                let seed = chance.next();
                world.rule = Box::new(move |at, cpu| {
                    let mut chance = Chance((seed ^ at.wrapping_mul(0x9e37_79b9)) | 1);
                    if chance.next().is_multiple_of(4) {
                        return Err("chance".to_owned());
                    }
                    let sp = cpu.registers.sp().map_or(0, |sp| sp.0);
                    let cfa = if chance.next().is_multiple_of(2) {
                        sp.wrapping_add(chance.next() % 64)
                    } else {
                        chance.number()
                    };
                    let mut step = step(cfa, (0..40).map(|number| (number, Some(chance.number()))).collect());
                    step.return_register = (chance.next() % 40) as u16;
                    step.signal_frame = chance.next().is_multiple_of(8);
                    if chance.next().is_multiple_of(2) {
                        step.registers.retain(|(number, _)| *number == step.return_register);
                    }
                    Ok(step)
                });
            }
            let mut registers = Registers::new(arch);
            for slot in 0..arch.info().registers.len() {
                registers.set(slot, chance.number());
            }
            if !round.is_multiple_of(4) {
                registers.set(arch.info().sp, STACK + ((chance.next() % 256) & !7));
                registers.set(arch.info().pc, CODE + ((chance.next() % 0x8000) & !7));
            }
            let stack = walk(&world, registers, Limits { frames: 4096, steps: 1_000_000 });
            assert!(!stack.frames.is_empty() && stack.frames.len() <= 4096);
            frames += stack.frames.len();
        }
    }
    assert!(frames > 4 * 200 * ALL.len(), "the walks lead nowhere: {frames} frames");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
