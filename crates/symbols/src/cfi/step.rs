//! One row of call-frame information, worked out against a machine.
//!
//! Not here: finding the row's entry (`tables`).
//!
//! Example: `CFA=rsp+16, rbx=[CFA-16], ra=[CFA-8]` with rsp 0x1000 gives cfa 0x1010, rbx from 0x1000, ra from 0x1008.
//!
//! Trap: expressions count in run-time addresses; only DW_OP_addr is the module's own and takes the bias.

use crate::elf::{EM_386, EM_AARCH64, EM_ARM, EM_MIPS, EM_X86_64, ElfObject};
use crate::{CfiMiss, CfiSource, Machine, Step};
use gimli::{
    BaseAddresses, CfaRule, Encoding, EndianSlice, Evaluation, EvaluationResult, Expression, FrameDescriptionEntry,
    Location, RegisterRule, RunTimeEndian, UnwindContext, UnwindOffset, UnwindSection, Value,
};

type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// An expression that runs longer than this is a loop.
const MAX_OPERATIONS: u32 = 10_000;
/// DWARF number of the aarch64 pseudo-register that says whether the return address is signed.
const RA_SIGN_STATE: u16 = 34;

/// What stays the same during one step.
struct Context<'m> {
    machine: &'m dyn Machine,
    /// Size of a saved register.
    word: usize,
    address_size: u8,
    /// The column of the return address, and the pc: some rules name it though no register holds it.
    pc: (u16, u64),
}

fn broken(error: gimli::Error) -> CfiMiss {
    CfiMiss::Malformed(error.to_string())
}

impl Context<'_> {
    fn register(&self, register: gimli::Register) -> Result<u64, CfiMiss> {
        match self.machine.register(register.0) {
            Some(value) => Ok(value),
            // x86's PLT rule computes with rip, whose number is that of the return address.
            None if register.0 == self.pc.0 => Ok(self.pc.1),
            None => Err(CfiMiss::UnknownRegister { dwarf: register.0 }),
        }
    }

    fn read(&self, address: u64, size: usize) -> Result<u64, CfiMiss> {
        let address = self.fit(address);
        self.machine.read(address, size).ok_or(CfiMiss::Unreadable { address })
    }

    /// Addresses of 32-bit programs wrap at 32 bits.
    fn fit(&self, address: u64) -> u64 {
        if self.address_size == 4 { address & 0xffff_ffff } else { address }
    }

    fn evaluate(&self, expression: Expression<Slice<'_>>, cfa: Option<u64>) -> Result<u64, CfiMiss> {
        let encoding = Encoding { address_size: self.address_size, format: gimli::Format::Dwarf32, version: 5 };
        let mut evaluation: Evaluation<Slice<'_>> = expression.evaluation(encoding);
        evaluation.set_max_iterations(MAX_OPERATIONS);
        if let Some(cfa) = cfa {
            evaluation.set_initial_value(cfa);
        }
        let mut result = evaluation.evaluate().map_err(broken)?;
        // Every turn runs at least one operation, and those are counted.
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, size, .. } => {
                    let value = self.read(address, usize::from(size))?;
                    evaluation.resume_with_memory(Value::Generic(value)).map_err(broken)?
                }
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(self.register(register)?)).map_err(broken)?
                }
                EvaluationResult::RequiresRelocatedAddress(address) => evaluation
                    .resume_with_relocated_address(self.fit(address.wrapping_add(self.machine.bias())))
                    .map_err(broken)?,
                EvaluationResult::RequiresCallFrameCfa => match cfa {
                    Some(cfa) => evaluation.resume_with_call_frame_cfa(cfa).map_err(broken)?,
                    None => return Err(CfiMiss::Unsupported("the frame address is defined by itself".into())),
                },
                other => {
                    let text = format!("{other:?}");
                    let name = text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
                    return Err(CfiMiss::Unsupported(format!("expression asks for {name}")));
                }
            };
        }
        match evaluation.as_result().last().map(|piece| piece.location) {
            Some(Location::Address { address }) => Ok(self.fit(address)),
            Some(Location::Value { value }) => value.to_u64(u64::MAX).map_err(broken),
            Some(Location::Register { register }) => self.register(register),
            _ => Err(CfiMiss::Unsupported("expression without a value".into())),
        }
    }
}

/// The size of the slot that a register is saved in.
fn word_size(object: &ElfObject) -> usize {
    match object.machine() {
        // x32 and ilp32: 32-bit files, 64-bit registers.
        EM_X86_64 | EM_AARCH64 => 8,
        EM_386 | EM_ARM => 4,
        // n32 is marked in the flags (EF_MIPS_ABI2).
        EM_MIPS if object.flags() & 0x20 != 0 => 8,
        _ => usize::from(object.address_size()),
    }
}

/// Works out the row of `fde` that covers `at`.
pub(super) fn step<'a, S>(
    object: &ElfObject,
    section: &S,
    bases: &BaseAddresses,
    fde: &FrameDescriptionEntry<Slice<'a>>,
    at: u64,
    machine: &dyn Machine,
    source: CfiSource,
) -> Result<Step, CfiMiss>
where
    S: UnwindSection<Slice<'a>>,
    S::Offset: UnwindOffset<usize>,
{
    let mut context = UnwindContext::new();
    let row = fde.unwind_info_for_address(section, bases, &mut context, at).map_err(|error| match error {
        gimli::Error::NoUnwindInfoForAddress => CfiMiss::NotCovered,
        error => broken(error),
    })?;
    let return_register = fde.cie().return_address_register().0;
    let this = Context {
        machine,
        word: word_size(object),
        address_size: object.address_size(),
        pc: (return_register, at.wrapping_add(machine.bias())),
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            // The pc is no base for a frame address: only expressions may fall back on it.
            let value = machine.register(register.0).ok_or(CfiMiss::UnknownRegister { dwarf: register.0 })?;
            this.fit(value.wrapping_add_signed(*offset))
        }
        CfaRule::Expression(expression) => this.evaluate(expression.get(section).map_err(broken)?, None)?,
    };

    let signed = object.machine() == EM_AARCH64
        && matches!(row.register(gimli::Register(RA_SIGN_STATE)), Some(RegisterRule::Constant(1)));
    let mut registers = Vec::with_capacity(8);
    let mut outermost = false;
    let mut return_ruled = false;
    for (register, rule) in row.registers() {
        let number = register.0;
        if object.machine() == EM_AARCH64 && number == RA_SIGN_STATE {
            continue;
        }
        let at_cfa = |offset: i64| cfa.wrapping_add_signed(offset);
        let value = match rule {
            RegisterRule::Undefined => {
                outermost |= number == return_register;
                return_ruled |= number == return_register;
                registers.push((number, None));
                continue;
            }
            RegisterRule::SameValue => this.register(*register),
            RegisterRule::Offset(offset) => this.read(at_cfa(*offset), this.word),
            RegisterRule::ValOffset(offset) => Ok(this.fit(at_cfa(*offset))),
            RegisterRule::Register(other) => this.register(*other),
            RegisterRule::Expression(expression) => expression
                .get(section)
                .map_err(broken)
                .and_then(|expression| this.evaluate(expression, Some(cfa)))
                .and_then(|address| this.read(address, this.word)),
            RegisterRule::ValExpression(expression) => {
                expression.get(section).map_err(broken).and_then(|expression| this.evaluate(expression, Some(cfa)))
            }
            RegisterRule::Constant(value) => Ok(*value),
            _ => continue,
        };
        if number == return_register {
            return_ruled = true;
            // Without the return address there is no caller: say why. Any other register is just lost.
            let value = value?;
            registers.push((number, Some(if signed { machine.strip_pointer(value) } else { value })));
        } else {
            registers.push((number, value.ok()));
        }
    }
    if !return_ruled && matches!(object.machine(), EM_386 | EM_X86_64) {
        // There the column is the pc itself, which never stays the same.
        return Err(CfiMiss::Unsupported("no rule for the return address".into()));
    }
    if !return_ruled {
        // No rule: the return address is still where the call put it (aarch64's leaf functions: x30).
        let value = machine.register(return_register).ok_or(CfiMiss::UnknownRegister { dwarf: return_register })?;
        registers.push((return_register, Some(if signed { machine.strip_pointer(value) } else { value })));
    }
    registers.sort_unstable_by_key(|(number, _)| *number);
    Ok(Step {
        cfa,
        registers,
        return_register,
        signal_frame: fde.is_signal_trampoline(),
        outermost,
        source,
        function_start: Some(fde.initial_address()),
        parameter_size: 0,
    })
}
