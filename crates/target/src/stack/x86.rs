//! x86 code without unwind tables: what its own instructions say about the way back.
//!
//! Two questions: does `pc` stand in a function's first instructions, where the return address is still at a known
//! place, and where does the return address lie once the code from `pc` on has run to its `ret`?
//!
//! *What it is not*: it emulates no program. Only instructions that move the stack pointer count.
//!
//! *Example*: behind a call, `mov %eax,%ebx; add $8,%rsp; pop %rbx; ret` finds the return address 16 bytes up.
//!
//! *Trap*: conditional jumps are taken as not taken. Compiled code has one stack depth at each instruction, whatever
//! the way to it, so any static way to a `ret` finds the same place.

use super::window::Window;
use afterimage_dump::{Arch, Registers};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

/// Bytes of code that are followed.
const CODE: usize = 256;
/// Instructions that are followed.
const STEPS: usize = 64;

/// What is known after the way back.
pub(super) struct Back {
    /// The return address.
    pub(super) ra: u64,
    /// Registers after the return; the caller decides which of them survive.
    pub(super) registers: Registers,
    /// The caller's stack pointer.
    pub(super) sp: u64,
}

fn word(arch: Arch) -> u64 {
    arch.info().pointer_size as u64
}

/// The way back if `pc` stands in front of, or in the middle of, `push %rbp; mov %rsp,%rbp`, or at the function's start.
pub(super) fn prologue(
    memory: &Window<'_>,
    registers: &Registers,
    pc: u64,
    function_start: Option<u64>,
) -> Option<Back> {
    let arch = registers.arch();
    let word = word(arch);
    let sp = registers.sp()?.0;
    let mut bytes = [0u8; 8];
    let got = memory.read_upto(pc, &mut bytes);
    let code = bytes.get(..got)?;
    let moves: &[&[u8]] = match arch {
        Arch::X86_64 => &[&[0x48, 0x89, 0xe5], &[0x48, 0x8b, 0xec]],
        _ => &[&[0x89, 0xe5], &[0x8b, 0xec]],
    };
    const PUSH: u8 = 0x55;
    let landing: &[u8] = match arch {
        Arch::X86_64 => &[0xf3, 0x0f, 0x1e, 0xfa],
        _ => &[0xf3, 0x0f, 0x1e, 0xfb],
    };
    let body = code.strip_prefix(landing).unwrap_or(code);
    let pushes =
        body.split_first().is_some_and(|(&first, rest)| first == PUSH && moves.iter().any(|m| rest.starts_with(m)));
    if function_start == Some(pc) || pushes || code.starts_with(landing) {
        return Some(Back {
            ra: memory.uint(sp, word as usize).ok()?,
            registers: *registers,
            sp: sp.checked_add(word)?,
        });
    }
    let pushed = pc.checked_sub(1).and_then(|at| memory.uint(at, 1).ok()) == Some(u64::from(PUSH));
    if pushed && moves.iter().any(|m| code.starts_with(m)) {
        let mut registers = *registers;
        registers.set(arch.info().fp?, memory.uint(sp, word as usize).ok()?);
        let at = sp.checked_add(word)?;
        return Some(Back { ra: memory.uint(at, word as usize).ok()?, registers, sp: at.checked_add(word)? });
    }
    None
}

/// The slot of a whole general register, and of one whose parts are written.
fn slot(arch: Arch, register: Register) -> Option<usize> {
    let full = register.full_register();
    let name = if arch == Arch::X86 { full.full_register32() } else { full };
    let all: &[(Register, usize)] = match arch {
        Arch::X86_64 => &[
            (Register::RAX, 0),
            (Register::RDX, 1),
            (Register::RCX, 2),
            (Register::RBX, 3),
            (Register::RSI, 4),
            (Register::RDI, 5),
            (Register::RBP, 6),
            (Register::RSP, 7),
            (Register::R8, 8),
            (Register::R9, 9),
            (Register::R10, 10),
            (Register::R11, 11),
            (Register::R12, 12),
            (Register::R13, 13),
            (Register::R14, 14),
            (Register::R15, 15),
        ],
        _ => &[
            (Register::EAX, 0),
            (Register::ECX, 1),
            (Register::EDX, 2),
            (Register::EBX, 3),
            (Register::ESP, 4),
            (Register::EBP, 5),
            (Register::ESI, 6),
            (Register::EDI, 7),
        ],
    };
    all.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
}

struct Machine<'a> {
    arch: Arch,
    memory: &'a Window<'a>,
    registers: Registers,
    /// What the followed code itself has pushed: address and value.
    pushed: Vec<(u64, Option<u64>)>,
}

impl Machine<'_> {
    fn sp(&self) -> Option<u64> {
        self.registers.sp().map(|sp| sp.0)
    }

    fn set(&mut self, slot: usize, value: Option<u64>) {
        match value {
            Some(value) => self.registers.set(slot, if self.arch == Arch::X86 { value & 0xffff_ffff } else { value }),
            None => self.registers.clear(slot),
        }
    }

    fn load(&self, at: u64) -> Option<u64> {
        match self.pushed.iter().rev().find(|(place, _)| *place == at) {
            Some((_, value)) => *value,
            None => self.memory.uint(at, word(self.arch) as usize).ok(),
        }
    }

    fn pop(&mut self) -> Option<u64> {
        let sp = self.sp()?;
        let value = self.load(sp)?;
        self.set(self.arch.info().sp, Some(sp.wrapping_add(word(self.arch))));
        Some(value)
    }

    /// The new stack pointer if the instruction moves it in a way that is understood.
    fn moved_sp(&self, instruction: &Instruction) -> Option<u64> {
        let sp = self.sp()?;
        let immediate = || match instruction.op1_kind() {
            OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate8to32 | OpKind::Immediate32 => {
                Some(instruction.immediate(1))
            }
            _ => None,
        };
        match instruction.mnemonic() {
            Mnemonic::Add => Some(sp.wrapping_add(immediate()?)),
            Mnemonic::Sub => Some(sp.wrapping_sub(immediate()?)),
            Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => {
                self.registers.get(slot(self.arch, instruction.op1_register())?)
            }
            Mnemonic::Lea if instruction.memory_index() == Register::None => {
                let base = self.registers.get(slot(self.arch, instruction.memory_base())?)?;
                Some(base.wrapping_add(instruction.memory_displacement64()))
            }
            _ => None,
        }
    }
}

/// Follows the code from `pc` to its `ret`. `may_push`: whether `pc` may stand in a prologue; behind a call, a push means
/// that the call never returns and the code is already the next function's.
pub(super) fn follow(memory: &Window<'_>, registers: &Registers, pc: u64, may_push: bool) -> Option<Back> {
    let arch = registers.arch();
    let (sp_slot, fp_slot) = (arch.info().sp, arch.info().fp?);
    let mut bytes = [0u8; CODE];
    let got = memory.read_upto(pc, &mut bytes);
    let bits = if arch == Arch::X86_64 { 64 } else { 32 };
    let mut decoder = Decoder::with_ip(bits, bytes.get(..got)?, pc, DecoderOptions::NONE);
    let mut machine = Machine { arch, memory, registers: *registers, pushed: Vec::new() };
    let mut usage = InstructionInfoFactory::new();
    for _ in 0..STEPS {
        if !decoder.can_decode() {
            return None;
        }
        let instruction = decoder.decode();
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::ConditionalBranch => {}
            FlowControl::Return if instruction.mnemonic() == Mnemonic::Ret => {
                let ra = machine.pop()?;
                let extra = if instruction.op_count() > 0 { u64::from(instruction.immediate16()) } else { 0 };
                let sp = machine.sp()?.wrapping_add(extra);
                return Some(Back { ra, registers: machine.registers, sp });
            }
            FlowControl::UnconditionalBranch => {
                // Forward and still in sight: a tail's common exit.
                let ahead = instruction.near_branch_target().checked_sub(pc).filter(|ahead| *ahead < got as u64)?;
                if instruction.near_branch_target() < decoder.ip() {
                    return None;
                }
                decoder.set_position(ahead as usize).ok()?;
                decoder.set_ip(pc.wrapping_add(ahead));
                continue;
            }
            // On i386 a callee may take its arguments off the stack, so the depth behind a call is not known.
            FlowControl::Call | FlowControl::IndirectCall if arch == Arch::X86_64 => continue,
            _ => return None,
        }
        match (instruction.mnemonic(), instruction.op0_kind()) {
            (Mnemonic::Pop, OpKind::Register) => {
                let target = slot(arch, instruction.op0_register())?;
                let value = machine.pop();
                machine.set(target, Some(value?));
            }
            (Mnemonic::Push, _) if !may_push => return None,
            (Mnemonic::Endbr64 | Mnemonic::Endbr32, _) if instruction.ip() != pc => return None,
            (Mnemonic::Push, kind) => {
                let value = match kind {
                    OpKind::Register => {
                        slot(arch, instruction.op0_register()).and_then(|slot| machine.registers.get(slot))
                    }
                    _ => None,
                };
                let sp = machine.sp()?.wrapping_sub(word(arch));
                machine.pushed.push((sp, value));
                machine.set(sp_slot, Some(sp));
            }
            (Mnemonic::Leave, _) => {
                let fp = machine.registers.get(fp_slot)?;
                machine.set(sp_slot, Some(fp));
                let value = machine.pop()?;
                machine.set(fp_slot, Some(value));
            }
            _ => {
                let writes_sp = instruction.op0_kind() == OpKind::Register
                    && instruction.op_count() > 0
                    && slot(arch, instruction.op0_register()) == Some(sp_slot)
                    && !matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test);
                if writes_sp {
                    let sp = machine.moved_sp(&instruction)?;
                    machine.set(sp_slot, Some(sp));
                    continue;
                }
                // `mov %rsp,%rbp` makes a frame pointer; any other write makes the register unknown.
                let copies_sp = instruction.mnemonic() == Mnemonic::Mov
                    && instruction.op1_kind() == OpKind::Register
                    && slot(arch, instruction.op1_register()) == Some(sp_slot);
                let sp = machine.sp();
                for used in usage.info(&instruction).used_registers() {
                    let written = matches!(
                        used.access(),
                        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
                    );
                    let Some(slot) = written.then(|| slot(arch, used.register())).flatten() else { continue };
                    if slot == sp_slot {
                        return None;
                    }
                    machine.set(slot, if copies_sp { sp } else { None });
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bytes;
    use super::*;
    use afterimage_dump::Endian;

    const CODE_AT: u64 = 0x40_1000;
    const STACK_AT: u64 = 0x7fff_0000;

    fn run(code: &[u8], words: &[u64], fp: Option<u64>) -> Option<(u64, u64, Registers)> {
        let stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let memory = Bytes::new(&[(CODE_AT, code), (STACK_AT, &stack)]);
        let window = Window::new(&memory, Endian::Little);
        let mut registers = Registers::new(Arch::X86_64);
        registers.set(7, STACK_AT);
        if let Some(fp) = fp {
            registers.set(6, fp);
        }
        follow(&window, &registers, CODE_AT, true).map(|back| (back.ra, back.sp - STACK_AT, back.registers))
    }

    #[test]
    fn follows_an_epilogue() {
        // mov %eax,%ecx; add $8,%rsp; pop %rbx; pop %rbp; ret
        let (ra, depth, registers) =
            run(&[0x89, 0xc1, 0x48, 0x83, 0xc4, 8, 0x5b, 0x5d, 0xc3], &[1, 2, 3, 0x1234], None).unwrap();
        assert_eq!((ra, depth), (0x1234, 32));
        assert_eq!((registers.by_name("rbx"), registers.by_name("rbp")), (Some(2), Some(3)));
    }

    #[test]
    fn follows_a_whole_function_through_its_own_pushes() {
        // push %rbp; mov %rsp,%rbp; sub $0x20,%rsp; jne +2; call *%rax; leave; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20, 0x75, 2, 0xff, 0xd0, 0xc9, 0xc3];
        let (ra, depth, registers) = run(&code, &[0x1234], Some(0x77)).unwrap();
        assert_eq!((ra, depth), (0x1234, 8));
        assert_eq!(registers.by_name("rbp"), Some(0x77));
    }

    #[test]
    fn gives_up_where_the_depth_is_not_known() {
        // and $-16,%rsp; ret — leave with no frame pointer — a jump back — code that ends.
        for code in [&[0x48, 0x83, 0xe4, 0xf0, 0xc3][..], &[0xc9, 0xc3], &[0x90, 0xeb, 0xfd], &[0x90]] {
            assert!(run(code, &[1, 2, 3], None).is_none(), "{code:02x?}");
        }
    }
}
