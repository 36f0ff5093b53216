//! x86 of 32 and 64 bits.

use super::{Access, AccessKind, Effect, Instruction, Origin, Place};
use afterimage_dump::{Arch, Registers};
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Formatter, InstructionInfoFactory, IntelFormatter, Mnemonic, OpAccess,
    OpKind, Register,
};

/// Decodes one instruction.
pub(super) fn decode(bytes: &[u8], address: u64, registers: &Registers) -> Option<Instruction> {
    let arch = registers.arch();
    let bits = if arch == Arch::X86_64 { 64 } else { 32 };
    let mut decoder = Decoder::with_ip(bits, bytes, address, DecoderOptions::NONE);
    if !decoder.can_decode() {
        return None;
    }
    let decoded = decoder.decode();
    if decoded.is_invalid() {
        return None;
    }
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(&decoded);
    let accesses = info
        .used_memory()
        .iter()
        .filter_map(|memory| {
            let place = place(
                arch,
                registers,
                memory.segment(),
                memory.base(),
                memory.index(),
                memory.scale(),
                memory.displacement(),
            );
            Some(Access { kind: kind(memory.access())?, size: memory.memory_size().size() as u32, place })
        })
        .collect();
    let mut writes: Vec<usize> = info
        .used_registers()
        .iter()
        .filter(|used| matches!(kind(used.access()), Some(AccessKind::Write | AccessKind::ReadWrite)))
        .filter_map(|used| slot(arch, used.register()))
        .collect();
    writes.dedup();
    let branch = |call| Effect::Branch { call, target: branch_target(&decoded) };
    let effect = match decoded.mnemonic() {
        Mnemonic::Div | Mnemonic::Idiv => Effect::Divide { divisor: None },
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => Effect::Trap,
        Mnemonic::Int3 | Mnemonic::Int1 => Effect::Breakpoint,
        Mnemonic::Int if decoded.code() == Code::Int_imm8 && decoded.immediate8() == 3 => Effect::Breakpoint,
        _ if decoded.is_privileged() => Effect::Privileged,
        _ => match decoded.flow_control() {
            FlowControl::Call | FlowControl::IndirectCall => branch(true),
            FlowControl::UnconditionalBranch | FlowControl::IndirectBranch | FlowControl::ConditionalBranch => {
                branch(false)
            }
            FlowControl::Return => Effect::Return,
            _ => Effect::Other,
        },
    };
    let mut instruction = Instruction {
        address,
        length: decoded.len() as u64,
        text: text(&decoded),
        effect,
        accesses,
        writes,
        moves: moves(arch, registers, &decoded),
        stores: stores(arch, registers, &decoded),
    };
    // A push, call or string move names no operand that `used_memory` lacks, but LEA and NOP name one they do not touch.
    if matches!(decoded.mnemonic(), Mnemonic::Lea | Mnemonic::Nop) {
        instruction.accesses.clear();
    }
    if matches!(instruction.effect, Effect::Divide { .. }) {
        instruction.effect = Effect::Divide { divisor: divisor(arch, registers, &decoded) };
    }
    Some(instruction)
}

fn text(decoded: &iced_x86::Instruction) -> String {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_space_after_operand_separator(true);
    options.set_rip_relative_addresses(false);
    options.set_branch_leading_zeros(false);
    let mut text = String::new();
    formatter.format(decoded, &mut text);
    text
}

fn kind(access: OpAccess) -> Option<AccessKind> {
    match access {
        OpAccess::Read | OpAccess::CondRead => Some(AccessKind::Read),
        OpAccess::Write | OpAccess::CondWrite => Some(AccessKind::Write),
        OpAccess::ReadWrite | OpAccess::ReadCondWrite => Some(AccessKind::ReadWrite),
        OpAccess::None | OpAccess::NoMemAccess => None,
    }
}

/// The slot of a register or of the wide register that it is part of.
fn slot(arch: Arch, register: Register) -> Option<usize> {
    if register == Register::None {
        return None;
    }
    let full = if arch == Arch::X86_64 { register.full_register() } else { register.full_register32() };
    arch.info().slot(&format!("{full:?}").to_lowercase())
}

#[allow(clippy::too_many_arguments)] // They are the parts of one operand, in the processor's own order.
fn place(
    arch: Arch,
    registers: &Registers,
    segment: Register,
    base: Register,
    index: Register,
    scale: u32,
    displacement: u64,
) -> Place {
    let mut place = Place { scale: u64::from(scale), ..Place::default() };
    // The decoder has already added the instruction's own address to a program-relative displacement.
    if matches!(base, Register::RIP | Register::EIP) {
        place.fixed = displacement;
    } else {
        place.displacement = displacement as i64;
        if arch == Arch::X86 {
            place.displacement = i64::from(displacement as i32);
        }
        place.base = slot(arch, base);
        place.unknown |= base != Register::None && place.base.is_none();
    }
    place.index = slot(arch, index);
    place.unknown |= index != Register::None && place.index.is_none();
    if matches!(segment, Register::FS | Register::GS) {
        let name = if segment == Register::FS { "fs_base" } else { "gs_base" };
        match registers.by_name(name) {
            Some(start) => place.fixed = place.fixed.wrapping_add(start),
            None => place.unknown = true,
        }
    }
    place
}

fn operand_place(arch: Arch, registers: &Registers, decoded: &iced_x86::Instruction) -> Place {
    place(
        arch,
        registers,
        decoded.memory_segment(),
        decoded.memory_base(),
        decoded.memory_index(),
        decoded.memory_index_scale(),
        decoded.memory_displacement64(),
    )
}

fn branch_target(decoded: &iced_x86::Instruction) -> Option<u64> {
    matches!(decoded.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
        .then(|| decoded.near_branch_target())
}

/// Plain moves into a register.
fn moves(arch: Arch, registers: &Registers, decoded: &iced_x86::Instruction) -> Option<(usize, Origin)> {
    if matches!(decoded.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
        return Some((super::result_slot(arch)?, Origin::Call(branch_target(decoded))));
    }
    if decoded.op_count() < 2 || decoded.op0_kind() != OpKind::Register {
        return None;
    }
    let target = slot(arch, decoded.op0_register())?;
    let same = decoded.op1_kind() == OpKind::Register && decoded.op0_register() == decoded.op1_register();
    let origin = match (decoded.mnemonic(), decoded.op1_kind()) {
        (Mnemonic::Xor | Mnemonic::Sub, OpKind::Register) if same => Origin::Constant(0),
        // The address of something fixed in the program: a string, a global.
        (Mnemonic::Lea, OpKind::Memory) if decoded.is_ip_rel_memory_operand() => {
            Origin::Constant(decoded.ip_rel_memory_address())
        }
        (Mnemonic::Mov, OpKind::Register) => Origin::Register(slot(arch, decoded.op1_register())?),
        (Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd, OpKind::Memory) => {
            Origin::Memory(operand_place(arch, registers, decoded))
        }
        (
            Mnemonic::Mov,
            OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64,
        ) => Origin::Constant(decoded.immediate(1)),
        _ => return None,
    };
    Some((target, origin))
}

/// Plain stores of a register.
fn stores(arch: Arch, registers: &Registers, decoded: &iced_x86::Instruction) -> Option<(Place, usize)> {
    let store = decoded.mnemonic() == Mnemonic::Mov
        && decoded.op0_kind() == OpKind::Memory
        && decoded.op1_kind() == OpKind::Register;
    if !store {
        return None;
    }
    Some((operand_place(arch, registers, decoded), slot(arch, decoded.op1_register())?))
}

/// The divisor, if it stands in a register; in memory it is read by the caller through the access.
fn divisor(arch: Arch, registers: &Registers, decoded: &iced_x86::Instruction) -> Option<u64> {
    if decoded.op0_kind() != OpKind::Register {
        return None;
    }
    let value = registers.get(slot(arch, decoded.op0_register())?)?;
    let high_byte = matches!(decoded.op0_register(), Register::AH | Register::BH | Register::CH | Register::DH);
    Some(match decoded.op0_register().size() {
        1 if high_byte => value >> 8 & 0xff,
        1 => value & 0xff,
        2 => value & 0xffff,
        4 => value & 0xffff_ffff,
        _ => value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[(&str, u64)]) -> Registers {
        let mut registers = Registers::new(Arch::X86_64);
        for (name, value) in values {
            registers.set(Arch::X86_64.info().slot(name).unwrap(), *value);
        }
        registers
    }

    #[test]
    fn a_load_through_a_register() {
        // objdump: 8b 47 10  mov eax, DWORD PTR [rdi+0x10]
        let registers = with(&[("rdi", 0)]);
        let decoded = decode(&[0x8b, 0x47, 0x10], 0x1000, &registers).unwrap();
        assert_eq!(decoded.text, "mov eax, [rdi+0x10]");
        let access = decoded.accesses[0];
        assert_eq!((access.kind, access.size, access.place.address(&registers)), (AccessKind::Read, 4, Some(0x10)));
        assert!(matches!(decoded.moves, Some((0, Origin::Memory(_)))));
    }

    #[test]
    fn a_program_relative_store() {
        // objdump at 0x1000: 48 89 05 10 00 00 00  mov QWORD PTR [rip+0x10], rax
        let registers = with(&[("rax", 7)]);
        let decoded = decode(&[0x48, 0x89, 0x05, 0x10, 0, 0, 0], 0x1000, &registers).unwrap();
        let access = decoded.accesses[0];
        assert_eq!((access.kind, access.size, access.place.address(&registers)), (AccessKind::Write, 8, Some(0x1017)));
    }

    #[test]
    fn thread_local_storage_needs_the_segment_base() {
        // objdump: 64 48 8b 04 25 28 00 00 00  mov rax, QWORD PTR fs:0x28
        let bytes = [0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0];
        let known = with(&[("fs_base", 0x7000)]);
        let address =
            |registers: &Registers| decode(&bytes, 0, registers).unwrap().accesses[0].place.address(registers);
        assert_eq!(address(&known), Some(0x7028));
        assert_eq!(address(&with(&[])), None);
    }

    #[test]
    fn a_push_writes_below_the_stack_pointer() {
        let registers = with(&[("rsp", 0x8000)]);
        let decoded = decode(&[0x55], 0, &registers).unwrap();
        assert_eq!(decoded.accesses[0].place.address(&registers), Some(0x7ff8));
        assert_eq!(decoded.accesses[0].kind, AccessKind::Write);
    }

    #[test]
    fn divisor_and_traps() {
        let registers = with(&[("rcx", 0xffff_ffff_0000_0000)]);
        // objdump: f7 f9  idiv ecx
        assert_eq!(decode(&[0xf7, 0xf9], 0, &registers).unwrap().effect, Effect::Divide { divisor: Some(0) });
        assert_eq!(decode(&[0x0f, 0x0b], 0, &registers).unwrap().effect, Effect::Trap);
        assert_eq!(decode(&[0xcc], 0, &registers).unwrap().effect, Effect::Breakpoint);
        assert!(decode(&[0x06], 0, &registers).is_none());
        assert!(decode(&[], 0, &registers).is_none());
    }
}
