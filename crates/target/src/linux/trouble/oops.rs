//! The fault that made a kernel panic: the registers that the processor saved, out of memory instead of the log.
//!
//! *Trap*: a panicking processor's own registers are of `panic()` itself. Those of the fault lie deeper on its stack,
//! where the exception saved them; interrupts save registers too, so the frame in front must be an exception's.

use crate::linux::{KernelFrame, KernelStack, Linux, Thread};
use afterimage_dump::Registers;

/// A fault of the kernel's own code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oops {
    /// The processor.
    pub cpu: u32,
    /// The process whose task it ran.
    pub pid: u32,
    /// The task.
    pub thread: Thread,
    /// The whole stack of the processor.
    pub stack: KernelStack,
    /// Index of the frame that faulted.
    pub frame: usize,
    /// Its registers.
    pub registers: Registers,
    /// The exception's name in entry code, as `page_fault`, `general_protection`, `invalid_op`; on arm64 `abort`, `undef`,
    /// `dbg`.
    pub exception: String,
    /// The exception's error code (on arm64 its syndrome, ESR), as the log has it: entry code itself does not keep it.
    pub error_code: Option<u64>,
    /// The address that could not be used, as the log has it, of a page fault.
    pub address: Option<u64>,
}

/// Functions by which a kernel ends a task, or itself, for a fault (arch/x86/kernel/dumpstack.c, mm/fault.c; on arm64
/// kernel/traps.c, mm/fault.c).
const DYING: [&str; 11] = [
    "oops_end",
    "die",
    "__die",
    "die_addr",
    "page_fault_oops",
    "no_context",
    "handle_stack_overflow",
    "exc_double_fault",
    "die_kernel_fault",
    "arm64_serror_panic",
    "panic_bad_stack",
];

/// The function of a warning, which is an exception, too (kernel/panic.c).
const WARNING: [&str; 1] = ["__warn"];

impl Linux {
    /// The fault on the processor that panicked; `None` if it panicked without one, or its stack is not to be had.
    ///
    /// An exception alone is none: programs' memory is handed out by page faults, and warnings are invalid instructions.
    #[must_use]
    pub fn oops(&self) -> Option<Oops> {
        let cpu = self.panicked_cpu();
        let stack = self.stack_of_cpu(cpu)?;
        let (frame, registers, exception) = exception(&stack, &DYING)?;
        let task = self.current(cpu)?;
        let (pid, thread) = self.thread_of(task)?;
        let address =
            (exception.ends_with("page_fault") || exception == "abort").then(|| self.logged_address()).flatten();
        Some(Oops { cpu, pid, thread, frame, error_code: self.logged_code(), registers, exception, address, stack })
    }

    /// Where the processor that panicked had warned, if it panicked for that.
    #[must_use]
    pub fn warned(&self) -> Option<KernelFrame> {
        let stack = self.stack_of_cpu(self.panicked_cpu())?;
        let (frame, ..) = exception(&stack, &WARNING)?;
        stack.frames.get(frame).cloned()
    }

    /// The address in the log's last words on a page fault (`show_fault_oops`, arch/x86/mm/fault.c; `die_kernel_fault`,
    /// arch/arm64/mm/fault.c).
    fn logged_address(&self) -> Option<u64> {
        self.log().ok()?.iter().rev().find_map(|line| {
            if let Some(text) = line.text.strip_prefix("Unable to handle kernel ") {
                let (_, digits) = text.split_once(" at virtual address ")?;
                return u64::from_str_radix(digits.trim(), 16).ok();
            }
            let text = line.text.strip_prefix("BUG: ")?;
            let (_, digits) = text.split_once("address: ").or_else(|| text.split_once(" request at "))?;
            u64::from_str_radix(digits.trim(), 16).ok()
        })
    }

    /// The error code in the log's last `Oops: 0002 [#1]` (`__die_body`, arch/x86/kernel/dumpstack.c).
    fn logged_code(&self) -> Option<u64> {
        self.log().ok()?.iter().rev().find_map(|line| {
            let (before, _) = line.text.split_once(" [#")?;
            let (name, digits) = before.rsplit_once(": ")?;
            let digits = digits.split(' ').next()?;
            name.to_ascii_lowercase().contains("oops").then(|| u64::from_str_radix(digits, 16).ok())?
        })
    }
}

/// The innermost exception whose handling came to one of these functions: the frame that it met, its registers, its name.
fn exception(stack: &KernelStack, through: &[&str]) -> Option<(usize, Registers, String)> {
    // How entry code is named: asm_exc_page_fault since 5.8, page_fault and general_protection before.
    const BEFORE: [&str; 6] =
        ["page_fault", "async_page_fault", "general_protection", "invalid_op", "divide_error", "double_fault"];
    // The compiler's `.cold` and `.part.0` are of the same function.
    let name =
        |frame: &'_ KernelFrame| frame.function.as_deref().and_then(|name| name.split('.').next()).map(str::to_owned);
    stack.interrupted.iter().find_map(|(index, registers)| {
        let inner = stack.frames.get(..*index)?;
        inner.iter().filter_map(name).find(|name| through.contains(&name.as_str()))?;
        let entry = inner.last()?.function.as_deref()?;
        if let Some(kind) = arm64_vector(entry) {
            // The function behind the vector says which it is; where it was inlined, the vector has to do.
            let known = inner.iter().rev().filter_map(name).take(4);
            let mut known = known.filter(|name| arm64_vector(name).is_none());
            let kind = known.find_map(|name| name.strip_prefix("el1_").map(str::to_owned)).unwrap_or(kind);
            return Some((*index, *registers, kind));
        }
        let name = entry.strip_prefix("asm_exc_").filter(|name| *name != "nmi");
        let name = name.or_else(|| BEFORE.contains(&entry).then_some(entry))?;
        Some((*index, *registers, name.to_owned()))
    })
}

/// What an arm64 kernel's vector of its own exceptions, or the handler behind it, is for: `el1h_64_sync` since 5.12,
/// `el1_sync` before (arch/arm64/kernel/entry.S); `None` for those of interrupts and of programs.
fn arm64_vector(name: &str) -> Option<String> {
    // No stack was left for it.
    if name == "__bad_stack" {
        return Some("bad_stack".to_owned());
    }
    let kind = name.strip_prefix("el1h_64_").or_else(|| name.strip_prefix("el1t_64_"));
    let kind = kind.or_else(|| name.strip_prefix("el1_"))?;
    let kind = kind.strip_suffix("_handler").unwrap_or(kind);
    matches!(kind, "sync" | "error").then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::KernelTrust;
    use afterimage_dump::Arch;

    /// A stack of these functions; the last was interrupted.
    fn stack(functions: &[&str]) -> KernelStack {
        let frame = |function: &&str| KernelFrame {
            pc: 0,
            sp: 0,
            function: Some((*function).to_owned()),
            offset: 0,
            module: None,
            trust: KernelTrust::Orc,
            exact: false,
        };
        KernelStack {
            cpu: Some(0),
            frames: functions.iter().map(frame).collect(),
            end: String::new(),
            complete: true,
            registers: None,
            interrupted: vec![(functions.len() - 1, Registers::new(Arch::X86_64))],
        }
    }

    fn name(functions: &[&str], through: &[&str]) -> Option<String> {
        exception(&stack(functions), through).map(|(_, _, name)| name)
    }

    #[test]
    fn an_exception_is_a_fault_only_if_the_kernel_died_of_it() {
        let fault = ["panic", "oops_end.cold", "page_fault_oops", "exc_page_fault", "asm_exc_page_fault", "f"];
        assert_eq!(name(&fault, &DYING).as_deref(), Some("page_fault"));
        let older = ["panic", "oops_end", "no_context", "do_page_fault", "page_fault", "f"];
        assert_eq!(name(&older, &DYING).as_deref(), Some("page_fault"));
        // Memory ran out while a program's page was fetched for a copy.
        let served = ["panic", "out_of_memory", "handle_mm_fault", "exc_page_fault", "asm_exc_page_fault", "f"];
        assert_eq!(name(&served, &DYING), None);
        let warning = ["panic", "__warn.cold", "report_bug", "exc_invalid_op", "asm_exc_invalid_op", "f"];
        assert_eq!(name(&warning, &DYING), None);
        assert_eq!(name(&warning, &WARNING).as_deref(), Some("invalid_op"));
        let arm64 = [
            "panic",
            "die",
            "die_kernel_fault",
            "do_mem_abort",
            "el1_abort",
            "el1h_64_sync_handler",
            "el1h_64_sync",
            "f",
        ];
        assert_eq!(name(&arm64, &DYING).as_deref(), Some("abort"));
        let older =
            ["panic", "die", "bug_handler", "do_debug_exception", "el1_dbg", "el1_sync_handler", "el1_sync", "f"];
        assert_eq!(name(&older, &DYING).as_deref(), Some("dbg"));
        let inlined = ["panic", "die", "do_undefinstr", "el1h_64_sync_handler", "el1h_64_sync", "f"];
        assert_eq!(name(&inlined, &DYING).as_deref(), Some("sync"));
        let overflown = ["panic", "panic_bad_stack", "handle_bad_stack", "__bad_stack", "f"];
        assert_eq!(name(&overflown, &DYING).as_deref(), Some("bad_stack"));
        let interrupt = ["panic", "die", "do_irq", "el1_interrupt", "el1h_64_irq_handler", "el1h_64_irq", "f"];
        assert_eq!(name(&interrupt, &DYING), None);
        // An interrupt is no exception, whatever happened in it.
        let interrupt = ["panic", "oops_end", "die", "asm_sysvec_apic_timer_interrupt", "f"];
        assert_eq!(name(&interrupt, &DYING), None);
    }
}
