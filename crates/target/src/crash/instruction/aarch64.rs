//! 64-bit Arm.

use super::{Access, AccessKind, Effect, Instruction, Origin, Place};
use afterimage_dump::Registers;
use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::{ARMv8, Instruction as Decoded, Opcode, Operand, SIMDSizeCode, ShiftStyle, SizeCode};

/// Slot of the stack pointer in the processor's table; the general registers are their own numbers.
const SP: usize = 31;

/// Decodes one instruction.
pub(super) fn decode(bytes: &[u8], address: u64, registers: &Registers) -> Option<Instruction> {
    let bytes = bytes.get(..4)?;
    let mut reader = U8Reader::new(bytes);
    let decoded = <ARMv8 as yaxpeax_arch::Arch>::Decoder::default().decode(&mut reader).ok()?;
    let [first, second, ..] = decoded.operands;
    let effect = effect(&decoded, address, registers);
    let accesses = accesses(&decoded, address);
    let mut writes = Vec::new();
    let load = accesses.iter().any(|access| access.kind == AccessKind::Read);
    let store = accesses.iter().any(|access| access.kind == AccessKind::Write);
    match effect {
        Effect::Branch { call: true, .. } => writes.push(30),
        Effect::Other | Effect::Divide { .. } if !store => writes.extend(general(first)),
        _ => {}
    }
    if load && matches!(decoded.opcode, Opcode::LDP | Opcode::LDNP | Opcode::LDPSW) {
        writes.extend(general(second));
    }
    for operand in decoded.operands {
        match operand {
            Operand::RegPreIndex(base, _, true)
            | Operand::RegPostIndex(base, _)
            | Operand::RegPostIndexReg(base, _) => {
                writes.push(usize::from(base));
            }
            _ => {}
        }
    }
    let place = accesses.first().map(|access| access.place);
    let moves = match (decoded.opcode, place) {
        (Opcode::BL | Opcode::BLR, _) => Some((0, Origin::Call(target(&decoded, address, registers).0))),
        (Opcode::LDR | Opcode::LDUR | Opcode::LDRSW | Opcode::LDRB | Opcode::LDRH, Some(place)) => {
            general(first).map(|slot| (slot, Origin::Memory(place)))
        }
        (Opcode::MOVZ, _) => general(first).and_then(|slot| Some((slot, Origin::Constant(constant(second)?)))),
        // `mov xd, xm` is `orr xd, xzr, xm`.
        (Opcode::ORR, _) => match (general(first), second, decoded.operands) {
            (
                Some(slot),
                Operand::Register(_, 31),
                [_, _, Operand::Register(_, source) | Operand::RegShift(ShiftStyle::LSL, 0, _, source), _],
            ) if source != 31 => Some((slot, Origin::Register(usize::from(source)))),
            _ => None,
        },
        _ => None,
    };
    let stores = match (decoded.opcode, place) {
        (Opcode::STR | Opcode::STUR, Some(place)) => general(first).map(|slot| (place, slot)),
        _ => None,
    };
    Some(Instruction { address, length: 4, text: decoded.to_string(), effect, accesses, writes, moves, stores })
}

/// The slot of a general register; none for the zero register and everything else.
fn general(operand: Operand) -> Option<usize> {
    match operand {
        Operand::Register(_, number) | Operand::RegisterPair(_, number) if number < 31 => Some(usize::from(number)),
        Operand::RegisterOrSP(_, number) => Some(usize::from(number)),
        _ => None,
    }
}

fn constant(operand: Operand) -> Option<u64> {
    match operand {
        Operand::Immediate(value) => Some(u64::from(value)),
        Operand::Imm64(value) => Some(value),
        Operand::Imm16(value) => Some(u64::from(value)),
        Operand::ImmShift(value, shift) => u64::from(value).checked_shl(u32::from(shift)),
        _ => None,
    }
}

fn target(decoded: &Decoded, address: u64, registers: &Registers) -> (Option<u64>, bool) {
    for operand in decoded.operands {
        match operand {
            Operand::PCOffset(offset) => return (Some(address.wrapping_add_signed(offset)), true),
            Operand::Register(SizeCode::X, number) if number < 31 => {
                return (registers.get(usize::from(number)), false);
            }
            _ => {}
        }
    }
    (None, false)
}

fn effect(decoded: &Decoded, address: u64, registers: &Registers) -> Effect {
    let branch = |call| Effect::Branch { call, target: target(decoded, address, registers).0 };
    match decoded.opcode {
        Opcode::UDF => Effect::Trap,
        Opcode::BRK | Opcode::HLT => Effect::Breakpoint,
        Opcode::UDIV | Opcode::SDIV => Effect::Divide { divisor: None },
        Opcode::BL | Opcode::BLR => branch(true),
        Opcode::B | Opcode::BR => branch(false),
        Opcode::RET => Effect::Return,
        // Every other instruction with a target inside the code is a conditional branch; `adr` and `ldr` load from it.
        Opcode::CBZ | Opcode::CBNZ | Opcode::TBZ | Opcode::TBNZ => branch(false),
        _ if decoded.to_string().starts_with("b.") => branch(false),
        _ => Effect::Other,
    }
}

/// Bytes of one transferred register, by the operand and the opcode's suffix.
fn transfer_size(decoded: &Decoded) -> u32 {
    let name = decoded.opcode.to_string();
    if name.starts_with("ld") || name.starts_with("st") {
        if name.ends_with("sb") || name.ends_with('b') {
            return 1;
        }
        if name.ends_with("sh") || name.ends_with('h') {
            return 2;
        }
        if name.ends_with("sw") {
            return 4;
        }
    }
    let [first, second, ..] = decoded.operands;
    // A store-exclusive names its status register first.
    let register = if name.starts_with("stx") || name.starts_with("stlx") { second } else { first };
    match register {
        Operand::Register(SizeCode::W, _) => 4,
        Operand::Register(SizeCode::X, _) => 8,
        Operand::SIMDRegister(size, _) => match size {
            SIMDSizeCode::B => 1,
            SIMDSizeCode::H => 2,
            SIMDSizeCode::S => 4,
            SIMDSizeCode::D => 8,
            SIMDSizeCode::Q => 16,
        },
        _ => 0,
    }
}

fn accesses(decoded: &Decoded, address: u64) -> Vec<Access> {
    let name = decoded.opcode.to_string();
    let kind = if name.starts_with("ldadd") || name.starts_with("swp") || name.starts_with("cas") {
        AccessKind::ReadWrite
    } else if name.starts_with("ld") {
        AccessKind::Read
    } else if name.starts_with("st") {
        AccessKind::Write
    } else {
        return Vec::new();
    };
    let pair = matches!(
        decoded.opcode,
        Opcode::LDP | Opcode::STP | Opcode::LDNP | Opcode::STNP | Opcode::LDPSW | Opcode::LDXP | Opcode::STXP
    );
    let size = transfer_size(decoded) * if pair { 2 } else { 1 };
    let slot = |number: u16| if number == 31 { SP } else { usize::from(number) };
    for operand in decoded.operands {
        let place = match operand {
            Operand::RegPreIndex(base, offset, _) => {
                Place { base: Some(slot(base)), displacement: i64::from(offset), scale: 1, ..Place::default() }
            }
            Operand::RegPostIndex(base, _) | Operand::RegPostIndexReg(base, _) => {
                Place { base: Some(slot(base)), scale: 1, ..Place::default() }
            }
            Operand::RegRegOffset(base, index, size, style, shift) => {
                // A narrow index would have to be cut or sign-extended first: its address is then not claimed.
                let plain =
                    size == SizeCode::X && matches!(style, ShiftStyle::LSL | ShiftStyle::UXTX | ShiftStyle::SXTX);
                let zero = index == 31;
                Place {
                    base: Some(slot(base)),
                    index: (!zero).then_some(usize::from(index)),
                    scale: 1u64.checked_shl(u32::from(shift)).unwrap_or(1),
                    unknown: !plain && !zero,
                    ..Place::default()
                }
            }
            Operand::PCOffset(offset) => Place { fixed: address.wrapping_add_signed(offset), ..Place::default() },
            _ => continue,
        };
        return vec![Access { kind, size, place }];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use afterimage_dump::Arch;

    fn with(values: &[(usize, u64)]) -> Registers {
        let mut registers = Registers::new(Arch::Aarch64);
        values.iter().for_each(|&(slot, value)| registers.set(slot, value));
        registers
    }

    fn one(word: u32, registers: &Registers) -> Instruction {
        decode(&word.to_le_bytes(), 0x1000, registers).unwrap()
    }

    #[test]
    fn loads_and_stores() {
        let registers = with(&[(0, 0), (1, 0x100), (2, 8), (SP, 0x7000)]);
        // Encodings by `aarch64-linux-gnu-as`: ldr w0, [x0, #16] | str x2, [x1] | ldrb w3, [x1, x2] | stp x29, x30, [sp, #-32]!
        for (word, kind, size, address) in [
            (0xb940_1000, AccessKind::Read, 4, 0x10),
            (0xf900_0022, AccessKind::Write, 8, 0x100),
            (0x3862_6823, AccessKind::Read, 1, 0x108),
            (0xa9be_7bfd, AccessKind::Write, 16, 0x6fe0),
        ] {
            let decoded = one(word, &registers);
            let access = decoded.accesses[0];
            assert_eq!((access.kind, access.size), (kind, size), "{}", decoded.text);
            assert_eq!(access.place.address(&registers), Some(address), "{}", decoded.text);
        }
    }

    #[test]
    fn branches_and_traps() {
        let registers = with(&[(3, 0x5000)]);
        // bl #+0x10 | blr x3 | brk #0x3e8 | udf #0 | ret
        assert_eq!(one(0x9400_0004, &registers).effect, Effect::Branch { call: true, target: Some(0x1010) });
        assert_eq!(one(0xd63f_0060, &registers).effect, Effect::Branch { call: true, target: Some(0x5000) });
        assert_eq!(one(0xd420_7d00, &registers).effect, Effect::Breakpoint);
        assert_eq!(one(0x0000_0000, &registers).effect, Effect::Trap);
        assert_eq!(one(0xd65f_03c0, &registers).effect, Effect::Return);
    }

    #[test]
    fn no_word_makes_the_decoder_fail_hard() {
        let registers = with(&[]);
        let mut word = 0x1234_5678u32;
        for _ in 0..200_000 {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let _ = decode(&word.to_le_bytes(), 0, &registers);
        }
    }
}
