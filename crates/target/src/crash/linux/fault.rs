//! A fault of the kernel's own code in words: what it tried at which address, through which register.

use super::{Story, say};
use crate::crash::instruction::{self, AccessKind, Effect, LONGEST};
use crate::crash::machine::capitalised;
use crate::crash::scene::fact;
use crate::crash::{Evidence, Statement};
use crate::linux::{KernelFrame, Linux, LogLine, Oops};
use afterimage_dump::{Arch, MemoryExt, Registers, Virt};

/// Where the first page ends that nothing is mapped in; an address below is a null pointer and a distance.
const NULL_AREA: u64 = 0x1_0000;

/// Values that the kernel leaves where something was freed or never set (include/linux/poison.h).
const POISON: [(u64, &str); 7] = [
    (0x6b6b_6b6b_6b6b_6b6b, "what SLUB fills freed memory with: the object had been freed"),
    (0x5a5a_5a5a_5a5a_5a5a, "what SLUB fills new memory with: it was never set"),
    (0xdead_0000_0000_0100, "LIST_POISON1: an entry that had been taken out of its list"),
    (0xdead_0000_0000_0122, "LIST_POISON2: an entry that had been taken out of its list"),
    (0xdead_4ead_dead_4ead, "the magic of a spinlock"),
    (0xdead_beef_dead_beef, "a mark for what must not be used"),
    (0xcccc_cccc_cccc_cccc, "what freed init memory is filled with"),
];
/// How far from a poison an address may lie.
const REACH: u64 = 0x1000;

pub(super) fn explain(linux: &Linux, log: &[LogLine], oops: &Oops, story: &mut Story) {
    let Some(frame) = oops.stack.frames.get(oops.frame) else { return };
    let decoded = decode(linux, frame.pc, &oops.registers);
    story.kind = "kernel_fault";
    story.instruction = decoded.as_ref().map(|one| one.text.clone());
    let pc = fact("register", format!("pc = {:#x}, {frame}", frame.pc), Some(frame.pc));
    let mut evidence = vec![pc];
    evidence.extend(decoded.as_ref().map(|one| fact("instruction", one.text.clone(), Some(one.address))));
    let (clause, statements) = match oops.exception.as_str() {
        "page_fault" | "async_page_fault" | "abort" => page_fault(oops, decoded.as_ref(), story),
        "general_protection" => protection(oops, decoded.as_ref(), story),
        "divide_error" => ("it divided by zero".to_owned(), Vec::new()),
        // On arm64 a breakpoint's instruction; its own exception since 6.17.
        "invalid_op" | "dbg" | "brk64" | "undef" => {
            story.kind = "kernel_bug";
            let told = log.iter().rev().find(|line| line.text.starts_with("kernel BUG at "));
            let words = told.map(|line| line.text.trim_end_matches('!').trim_start_matches("kernel ").to_owned());
            (words.unwrap_or_else(|| "it ran an instruction that the processor refuses".to_owned()), Vec::new())
        }
        "double_fault" | "bad_stack" => double_fault(linux, oops, story),
        other => (format!("the processor raised an exception ({other})"), Vec::new()),
    };
    // Where no function is, who called it tells more.
    let caller = oops.stack.frames.get(oops.frame + 1).filter(|_| frame.function.is_none());
    let place = caller.map_or_else(|| format!("in {frame}"), |caller| format!("called from {caller}"));
    story.clause = Some(format!("{place}, {clause}"));
    let instruction = story.instruction.as_ref().map(|text| format!(", at `{text}`")).unwrap_or_default();
    let text = format!("{}{instruction}, {clause}.", capitalised(&place));
    story.statements.push(Statement { text, evidence });
    story.statements.extend(statements);
    let (cpu, comm, pid) = (oops.cpu, oops.thread.comm.as_deref().unwrap_or("a task"), oops.pid);
    let text = format!("Processor {cpu} ran it for {comm} (process {pid}).");
    story.statements.push(say(text, "memory", format!("current_task of processor {cpu}"), Some(oops.thread.task)));
    story.statements.extend(outside(linux, oops, frame));
}

fn decode(linux: &Linux, pc: u64, registers: &Registers) -> Option<instruction::Instruction> {
    let mut bytes = [0; LONGEST];
    let got = linux.memory().read_upto(Virt(pc), &mut bytes);
    instruction::decode(bytes.get(..got)?, pc, registers)
}

/// The kind of access and the register that carried the address, in words: `read 4 bytes`, `rdi is 0`.
fn access(
    one: Option<&instruction::Instruction>,
    registers: &Registers,
    at: Option<u64>,
) -> (Option<String>, Vec<Evidence>) {
    let Some(one) = one else { return (None, Vec::new()) };
    let address = |place: &instruction::Place| place.address(registers);
    let found = one.accesses.iter().find(|access| at.is_some() && address(&access.place) == at);
    let Some(found) = found.or_else(|| one.accesses.first()) else { return (None, Vec::new()) };
    let verb = match found.kind {
        AccessKind::Read => "read",
        AccessKind::Write | AccessKind::ReadWrite => "wrote",
    };
    let words = if found.size == 0 { verb.to_owned() } else { format!("{verb} {} bytes", found.size) };
    let names = registers.arch().info().registers;
    let carried = found.place.slots().filter_map(|slot| {
        let value = registers.get(slot)?;
        let name = names.get(slot)?.name;
        Some(fact("register", format!("{name} = {value:#x}"), Some(value)))
    });
    (Some(words), carried.collect())
}

/// What the processor said of an access that it refused.
struct Access {
    /// Something is mapped there.
    present: bool,
    writes: bool,
    /// It was to be run.
    fetches: bool,
}

impl Access {
    fn of(oops: &Oops) -> Self {
        let code = oops.error_code.unwrap_or(0);
        let bit = |number: u32| code >> number & 1 == 1;
        match oops.registers.arch() {
            // The syndrome (Arm ARM, ESR_EL1): permission faults, WnR, and the class of aborts of instructions.
            Arch::Aarch64 => {
                let fetches = matches!(code >> 26 & 0x3f, 0x20 | 0x21);
                Self { present: code & 0x3c == 0xc, writes: bit(6) && !fetches, fetches }
            }
            // Bits of the error code (arch/x86/include/asm/trap_pf.h).
            _ => Self { present: bit(0), writes: bit(1), fetches: bit(4) },
        }
    }
}

fn page_fault(oops: &Oops, one: Option<&instruction::Instruction>, story: &mut Story) -> (String, Vec<Statement>) {
    let Access { present, writes, fetches } = Access::of(oops);
    // The instruction's own operand counts more than the log, which may be of another fault.
    let operands = one.iter().flat_map(|one| &one.accesses).filter_map(|access| access.place.address(&oops.registers));
    let operands: Vec<u64> = operands.collect();
    let logged = oops.address.filter(|at| operands.is_empty() || operands.iter().any(|own| own.abs_diff(*at) < 64));
    let Some(at) = logged.or_else(|| operands.first().copied()) else {
        return ("it had a page fault".to_owned(), Vec::new());
    };
    story.fault_address = Some(at);
    let branch = one.is_some_and(|one| matches!(one.effect, Effect::Branch { .. }));
    if fetches && !branch {
        story.kind = if at < NULL_AREA { "null_call" } else { "bad_jump" };
        let words = if at < NULL_AREA { ", a null pointer," } else { "" };
        return (format!("it jumped to {at:#x}{words} where no code is"), Vec::new());
    }
    let (words, evidence) = access(one, &oops.registers, Some(at));
    let words = words.unwrap_or_else(|| if writes { "wrote".to_owned() } else { "read".to_owned() });
    let place = if at < NULL_AREA {
        story.kind = if writes { "null_write" } else { "null_read" };
        if at == 0 { ", a null pointer".to_owned() } else { format!(", a null pointer plus {at}") }
    } else if at >> 47 == 0 {
        story.kind = if writes { "bad_write" } else { "bad_read" };
        ", a program's address".to_owned()
    } else if present {
        story.kind = "protected";
        ", which is mapped but must not be used this way".to_owned()
    } else {
        story.kind = if writes { "bad_write" } else { "bad_read" };
        ", where nothing is mapped".to_owned()
    };
    (format!("it {words} at {at:#x}{place}"), carried(evidence))
}

fn protection(oops: &Oops, one: Option<&instruction::Instruction>, story: &mut Story) -> (String, Vec<Statement>) {
    story.kind = "general_protection";
    let (words, evidence) = access(one, &oops.registers, None);
    let address = one.and_then(|one| one.accesses.first()).and_then(|access| access.place.address(&oops.registers));
    let canonical = |at: u64| matches!(at >> 47, 0 | 0x1_ffff);
    let clause = match (words, address) {
        (Some(words), Some(at)) if !canonical(at) => {
            story.fault_address = Some(at);
            format!("it {words} at {at:#x}, which no processor can address")
        }
        _ => "it did what the processor refuses (general protection)".to_owned(),
    };
    (clause, carried(evidence))
}

/// A fault while a fault was handled: mostly there was no stack left to handle it on.
fn double_fault(linux: &Linux, oops: &Oops, story: &mut Story) -> (String, Vec<Statement>) {
    // Below each stack lies a page that is not mapped (CONFIG_VMAP_STACK); whoever is there had no room.
    const NEAR: u64 = 0x1000;
    let base = linux.stack_base(oops.thread.task);
    let sp = oops.registers.sp().map(|sp| sp.0);
    match base.zip(sp).filter(|(base, sp)| (base.saturating_sub(NEAR)..base.saturating_add(NEAR)).contains(sp)) {
        Some((base, sp)) => {
            story.kind = "stack_overflow";
            let evidence = vec![fact("register", format!("sp = {sp:#x}; the stack begins at {base:#x}"), Some(sp))];
            let text = "Calls went too deep, or a function's variables are too large.".to_owned();
            ("it had used up its kernel stack".to_owned(), vec![Statement { text, evidence }])
        }
        None => ("a fault happened inside a fault: its stack was gone".to_owned(), Vec::new()),
    }
}

/// What the registers that carried the address say.
fn carried(evidence: Vec<Evidence>) -> Vec<Statement> {
    let poison = evidence.iter().find_map(|one| {
        let value = one.address?;
        let (_, words) = POISON.iter().find(|(poison, _)| value.abs_diff(*poison) < REACH)?;
        Some(format!("{} is {words}.", one.text))
    });
    if let Some(text) = poison {
        return vec![Statement { text, evidence }];
    }
    let names: Vec<&str> = evidence.iter().map(|one| one.text.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![Statement { text: format!("The address came out of {}.", names.join(" and ")), evidence }]
}

/// The module in whose code it happened, if that is not of the kernel's tree.
fn outside(linux: &Linux, oops: &Oops, frame: &KernelFrame) -> Option<Statement> {
    let near = oops.stack.frames.iter().skip(oops.frame).take(8);
    let name = frame.module.clone().or_else(|| near.filter_map(|frame| frame.module.clone()).next())?;
    let (modules, _) = linux.modules().ok()?;
    let module = modules.into_iter().find(|module| module.name == name && module.taints != 0)?;
    let words = crate::linux::taint_words(module.taints).join(", ");
    let text = format!("{name}, whose code stands on the stack, is {words}: the first to suspect.");
    Some(say(text, "memory", format!("module {name}, taints {:#x}", module.taints), Some(module.at)))
}
