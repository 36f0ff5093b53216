//! 32-bit programs on 64-bit Windows, dumped by a 64-bit tool: the dump says AMD64, the program is x86.
//!
//! *What it is not*: dumps that a 32-bit tool made of itself say x86 and need nothing of this.
//!
//! *Trap*: a thread's context is that of the 64-bit layer (`wow64cpu`) as soon as it is in a system call. Its 32-bit
//! registers lie in memory: slot 1 of the TLS array in the 64-bit TEB points at them, behind a 4-byte word.

use super::context;
use super::draft::Draft;
use super::input::Input;
use crate::bytes::Fields;
use crate::{Arch, Endian, Memory, MemoryExt, Os, Registers, SegmentMemory, Thread, Virt};

/// `TEB64::TlsSlots[1]`, `WOW64_TLS_CPURESERVED`.
const TEB64_TLS_SLOT_1: u64 = 0x1480 + 8;
/// Code segment of 32-bit code on 64-bit Windows.
const CS_32: u64 = 0x23;
/// Bytes of the 32-bit context up to its last integer register.
const CONTEXT: usize = 204;

/// Turns such a dump into one of an x86 process. Call it when memory is built.
pub(super) fn apply(input: &Input<'_>, draft: &mut Draft) {
    let dump = &mut draft.dump;
    let is_wow64 =
        |path: &str| path.rsplit(['/', '\\']).next().is_some_and(|name| name.eq_ignore_ascii_case("wow64.dll"));
    if dump.os != Os::Windows || dump.arch != Arch::X86_64 || !dump.modules.iter().any(|module| is_wow64(&module.path))
    {
        return;
    }
    let memory = dump.memory.clone();
    let found: Vec<Option<Registers>> = dump.threads.iter().map(|thread| x86_registers(&memory, thread)).collect();
    let exception = dump.exception.as_ref().and_then(|exception| exception.registers);
    let exception_is_32 = exception.is_none_or(|registers| registers.by_name("cs") == Some(CS_32));
    if found.iter().all(Option::is_none) {
        input.remark("the process is 32-bit under WOW64, but its 32-bit registers are not in the dump: these are the 64-bit layer's");
        return;
    }
    dump.arch = Arch::X86;
    dump.pointer_size = 4;
    let mut facts = Vec::new();
    let mut lost = 0;
    for (thread, registers) in dump.threads.iter_mut().zip(found) {
        for (name, value) in [("rip", thread.registers.pc()), ("rsp", thread.registers.sp())] {
            facts.extend(value.map(|value| (format!("thread.{}.wow64_{name}", thread.tid), format!("{:#x}", value.0))));
        }
        lost += u32::from(registers.is_none());
        thread.registers = registers.unwrap_or_else(|| Registers::new(Arch::X86));
        use_teb32(memory.as_ref(), thread);
    }
    dump.process.facts.append(&mut facts);
    if let Some(exception) = &mut dump.exception {
        exception.registers =
            exception.registers.filter(|_| exception_is_32).map(|native| context::x86_of_amd64(&native));
    }
    input.remark("the process is 32-bit under WOW64: registers are the 32-bit ones, the 64-bit layer's are facts");
    if lost > 0 {
        input.loss(format!("the 32-bit registers of {lost} threads are not in the dump"));
    }
}

fn x86_registers(memory: &SegmentMemory, thread: &Thread) -> Option<Registers> {
    if thread.registers.by_name("cs") == Some(CS_32) {
        return Some(context::x86_of_amd64(&thread.registers));
    }
    let slot = Virt(thread.thread_pointer?.0.checked_add(TEB64_TLS_SLOT_1)?);
    let area = memory.read_uint(slot, 8, Endian::Little).ok()?.checked_add(4)?;
    let mut bytes = [0; CONTEXT];
    memory.read_exact(Virt(area), &mut bytes).ok()?;
    let context = context::read(Arch::X86, Fields::new(&bytes, Endian::Little))?;
    (context.kind.arch == Arch::X86).then_some(context.registers)
}

/// The 32-bit TEB, to which the first word of the 64-bit one points, and the stack that it names.
fn use_teb32(memory: &dyn Memory<Virt>, thread: &mut Thread) {
    let Some(teb64) = thread.thread_pointer else {
        return;
    };
    let word = |at: Virt, size| memory.read_uint(at, size, Endian::Little).ok();
    let Some(teb32) = word(teb64, 8).filter(|&at| at != 0 && at < 1 << 32).map(Virt) else {
        return;
    };
    // NT_TIB32: exception list, stack base (its upper end), stack limit.
    let (Some(base), Some(limit)) = (word(Virt(teb32.0 + 4), 4), word(Virt(teb32.0 + 8), 4)) else {
        return;
    };
    thread.thread_pointer = Some(teb32);
    if limit < base {
        thread.stack = Some((Virt(limit), base - limit));
    }
}
