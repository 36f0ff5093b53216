//! The registers that a thread has in user mode: those that the kernel saved when the thread last entered it, or the
//! processor's own if it was running its program.
//!
//! *What it is not*: the place where a thread sleeps in the kernel; see [`Linux::stack`].
//!
//! *Trap*: what lies at the top of a kernel stack is the thread's only while it is in the kernel. Of a thread that ran its
//! program it is what it had at its last entry, long gone.

use crate::linux::Linux;
use afterimage_dump::{Arch, Cpu, Registers};

/// Where addresses of programs end.
const KERNEL: u64 = 1 << 63;

/// Where a thread's registers are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterSource {
    /// The kernel saved them, and the thread has not been out of it since.
    Kernel,
    /// The processor that ran its program.
    Processor(u32),
    /// The kernel saved them when it last entered it; it was running, and the dump has not the processor's registers.
    LastEntry,
}

/// The registers of a thread in user mode.
#[derive(Clone, Debug)]
pub struct UserRegisters {
    /// Integer registers; those of a 32-bit program have [`Arch::X86`] or [`Arch::Arm`].
    pub registers: Registers,
    /// Floating-point and vector registers, as a core's `NT_FPREGSET` has them; why there are none otherwise.
    pub floating_point: Result<Vec<u8>, &'static str>,
    /// The thread's own pointer on arm64 (`tpidr_el0`); on x86 `fs_base` and `gs_base` are among the registers.
    pub thread_pointer: Option<u64>,
    /// The number of the system call that it is in; `None` where it is in none.
    pub call: Option<u64>,
    /// Where they are from.
    pub source: RegisterSource,
}

impl RegisterSource {
    /// In words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Processor(_) => "processor",
            Self::LastEntry => "last_entry",
        }
    }
}

/// Names: ours, that of a 32-bit program, the kernel's in `struct pt_regs`.
const X86: [(&str, &str, &str); 21] = [
    ("r15", "", "r15"),
    ("r14", "", "r14"),
    ("r13", "", "r13"),
    ("r12", "", "r12"),
    ("rbp", "ebp", "bp"),
    ("rbx", "ebx", "bx"),
    ("r11", "", "r11"),
    ("r10", "", "r10"),
    ("r9", "", "r9"),
    ("r8", "", "r8"),
    ("rax", "eax", "ax"),
    ("rcx", "ecx", "cx"),
    ("rdx", "edx", "dx"),
    ("rsi", "esi", "si"),
    ("rdi", "edi", "di"),
    ("orig_rax", "orig_eax", "orig_ax"),
    ("rip", "eip", "ip"),
    ("cs", "cs", "cs"),
    ("eflags", "eflags", "flags"),
    ("rsp", "esp", "sp"),
    ("ss", "ss", "ss"),
];

impl Linux {
    /// The registers that a thread has in user mode, by the address of its `task_struct`.
    ///
    /// # Errors
    /// Why they are not known: it is the kernel's own, it has ended, or its stack is not in the dump.
    pub fn user_registers(&self, task: u64) -> Result<UserRegisters, String> {
        let cpu = self.cpus.iter().find(|cpu| self.current(cpu.index) == Some(task));
        let running = self.int(task, "task_struct", "on_cpu").is_some_and(|on| on & 1 == 1);
        if let Some(cpu) = cpu
            && let Some(pc) = cpu.registers.pc()
            && pc.0 < KERNEL
        {
            return Ok(self.of_processor(cpu));
        }
        // Of a machine that panicked the stacks lead to where each processor stopped; one that came from its program has
        // been in the kernel since.
        let inside = || {
            let stack = self.stack(task);
            stack.complete && !stack.frames.is_empty()
        };
        let last = running && cpu.is_none() && !inside();
        let source = if last { RegisterSource::LastEntry } else { RegisterSource::Kernel };
        match self.arch {
            Arch::Aarch64 => self.saved_arm64(task, source),
            Arch::X86_64 => self.saved_x86(task, cpu, source),
            other => Err(format!("user mode's registers are not known on {other}")),
        }
    }

    fn of_processor(&self, cpu: &Cpu) -> UserRegisters {
        let mut registers = cpu.registers;
        let slot = |name| registers.arch().info().slot(name);
        // Not in a system call; and containers have no such register.
        if let Some(slot) = slot("orig_rax") {
            registers.set(slot, u64::MAX);
        }
        let narrow = registers.by_name("cs") == Some(USER32_CS);
        let thread_pointer = registers.by_name("tpidr").or_else(|| cpu.control("tpidr_el0"));
        UserRegisters {
            registers: if narrow { narrowed(&registers) } else { registers },
            floating_point: Err("it was running: they are in the processor"),
            thread_pointer,
            call: None,
            source: RegisterSource::Processor(cpu.index),
        }
    }

    /// Where the kernel's stack of a task ends.
    fn stack_end(&self, task: u64) -> Result<u64, String> {
        let base = self.pointer(task, "task_struct", "stack").ok_or("its task_struct is not in the dump")?;
        if base == 0 {
            return Err("it has ended, and its stack was given back".into());
        }
        Ok(base.wrapping_add(self.stack_size(task)?))
    }

    /// Bytes of a task's kernel stack.
    pub(in crate::linux) fn stack_size(&self, task: u64) -> Result<u64, String> {
        // The union of a task and its stack is as large as a stack.
        self.size("thread_union").or_else(|why| {
            let sane = |size: u64| (size.is_power_of_two() && (4096..=1 << 18).contains(&size)).then_some(size);
            // Types that nothing but the linker's script uses may be missing: the first task's stack lies between marks.
            let between =
                |from: &str, to: &str| sane(self.symbols.address(to)?.checked_sub(self.symbols.address(from)?)?);
            // Stacks in virtual memory have a page behind them that is not mapped.
            let area = || {
                let area = self.pointer(task, "task_struct", "stack_vm_area").filter(|area| *area != 0)?;
                sane(self.pointer(area, "vm_struct", "size")?.checked_sub(self.page_bytes())?)
            };
            between("__start_init_stack", "__end_init_stack")
                .or_else(|| between("__start_init_task", "__end_init_task"))
                .or_else(area)
                .ok_or(why)
        })
    }

    fn saved_x86(&self, task: u64, cpu: Option<&Cpu>, source: RegisterSource) -> Result<UserRegisters, String> {
        let end = self.stack_end(task)?;
        let size = self.size("pt_regs")?;
        // Kernels with FRED leave two words above (TOP_OF_KERNEL_STACK_PADDING, arch/x86/include/asm/thread_info.h).
        let fred = self.symbols.address("asm_fred_entrypoint_user").is_some();
        let padding: [u64; 2] = if fred { [16, 0] } else { [0, 16] };
        let mut seen = false;
        let places = padding.into_iter().map(|padding| end.wrapping_sub(padding).wrapping_sub(size));
        let at = places.into_iter().find(|at| {
            let read = |member| self.pointer(*at, "pt_regs", member);
            let Some(((cs, ip), sp)) = read("cs").zip(read("ip")).zip(read("sp")) else { return false };
            seen = true;
            cs & 3 == 3 && ip < KERNEL && sp < KERNEL
        });
        let at = at.ok_or(match seen {
            true => "it was never in user mode",
            false => "the top of its kernel stack is not in the dump",
        })?;
        let code = self.pointer(at, "pt_regs", "cs").unwrap_or(0) & 0xffff;
        let narrow = code == USER32_CS;
        let mut registers = Registers::new(if narrow { Arch::X86 } else { Arch::X86_64 });
        let info = registers.arch().info();
        let mut set = |name: &str, value: Option<u64>| {
            if let (Some(slot), Some(value)) = (info.slot(name), value) {
                registers.set(slot, if narrow { value & 0xffff_ffff } else { value });
            }
        };
        for (wide, short, member) in X86 {
            let value = self.pointer(at, "pt_regs", member);
            // Beside the selectors a kernel with FRED keeps other things in the same words.
            let value = if matches!(wide, "cs" | "ss") { value.map(|value| value & 0xffff) } else { value };
            set(if narrow { short } else { wide }, value);
        }
        let selector = |member: &str| self.value(task, "task_struct", &format!("thread.{member}"));
        set("ds", selector("ds"));
        set("es", selector("es"));
        set("fs", selector("fsindex"));
        set("gs", selector("gsindex"));
        // While a task runs its bases are in the processor; in the kernel that of gs is put aside.
        match cpu {
            Some(cpu) => {
                set("fs_base", cpu.registers.by_name("fs_base"));
                set("gs_base", cpu.control("kernel_gs_base"));
            }
            None => {
                set("fs_base", self.pointer(task, "task_struct", "thread.fsbase"));
                set("gs_base", self.pointer(task, "task_struct", "thread.gsbase"));
            }
        }
        let floating_point = match (cpu, narrow) {
            (Some(_), _) => Err("it was running: they may be in the processor"),
            (None, true) => Err("it is a 32-bit program"),
            (None, false) if source == RegisterSource::LastEntry => Err("it was running: they are in the processor"),
            (None, false) => self.fx_state(task).ok_or("its state of the floating-point unit is not in the dump"),
        };
        // Entries that are no system calls leave -1 there. That of one that has returned is gone.
        let call = self.pointer(at, "pt_regs", "orig_ax").map(u64::cast_signed);
        let call = call.filter(|call| *call >= 0 && source == RegisterSource::Kernel).map(i64::cast_unsigned);
        Ok(UserRegisters { registers, floating_point, thread_pointer: None, call, source })
    }

    /// The 512 bytes of FXSAVE, out of what XSAVE wrote: parts that are as they were at the start are not written.
    fn fx_state(&self, task: u64) -> Option<Vec<u8>> {
        const FXSAVE: usize = 512;
        const X87: std::ops::Range<usize> = 0..24;
        const STACK: std::ops::Range<usize> = 32..160;
        const XMM: std::ops::Range<usize> = 160..416;
        // A pointer since 5.16; the unit's state lies behind the task since 6.16.
        let unit = match self.offset("task_struct", "thread.fpu") {
            Ok(inside) => task.wrapping_add(inside),
            Err(_) => task.wrapping_add(self.size("task_struct").ok()?),
        };
        let (state, structure) = match self.offset("fpu", "fpstate") {
            Ok(_) => (self.pointer(unit, "fpu", "fpstate")?, "fpstate"),
            Err(_) => (unit, "fpu"),
        };
        let member = if structure == "fpstate" { "regs" } else { "state" };
        let at = state.wrapping_add(self.offset(structure, member).ok()?);
        let mut bytes = self.bytes(at, FXSAVE);
        let header = self.offset("xregs_state", "header.xfeatures").ok()?;
        let written = self.word(at.wrapping_add(header))?;
        if bytes.len() != FXSAVE {
            return None;
        }
        let mut clear = |range: std::ops::Range<usize>| bytes.get_mut(range).map(|part| part.fill(0));
        if written & 1 == 0 {
            clear(X87)?;
            clear(STACK)?;
            // Control word at the start (FNINIT).
            bytes.get_mut(..2)?.copy_from_slice(&0x37fu16.to_le_bytes());
        }
        if written & 2 == 0 {
            bytes.get_mut(XMM)?.fill(0);
        }
        Some(bytes)
    }

    fn saved_arm64(&self, task: u64, source: RegisterSource) -> Result<UserRegisters, String> {
        const MODE: u64 = 0xf;
        const NARROW: u64 = 0x10;
        const NOT_HERE: &str = "the top of its kernel stack is not in the dump";
        let at = self.stack_end(task)?.wrapping_sub(self.size("pt_regs")?);
        let state = self.pointer(at, "pt_regs", "pstate").ok_or(NOT_HERE)?;
        let pc = self.pointer(at, "pt_regs", "pc").ok_or(NOT_HERE)?;
        // Mode 0 is EL0.
        if state & MODE != 0 || pc == 0 {
            return Err("it was never in user mode".into());
        }
        if state & NARROW != 0 {
            return Err("it is a 32-bit program of arm, whose registers are not read yet".into());
        }
        let mut registers = self.pt_regs_arm64(at).ok_or(NOT_HERE)?;
        let info = registers.arch().info();
        let pointer = self.pointer(task, "task_struct", "thread.uw.tp_value");
        let thread_pointer = pointer.or_else(|| self.pointer(task, "task_struct", "thread.tp_value"));
        if let (Some(slot), Some(value)) = (info.slot("tpidr"), thread_pointer) {
            registers.set(slot, value);
        }
        let floating_point = match source {
            RegisterSource::Kernel => self.simd_state(task).ok_or("its state of the vector unit is not known"),
            _ => Err("it was running: they are in the processor"),
        };
        let call = self.int(at, "pt_regs", "syscallno").map(|call| i64::from((call as u32).cast_signed()));
        let call = call.filter(|call| *call >= 0 && source == RegisterSource::Kernel).map(i64::cast_unsigned);
        Ok(UserRegisters { registers, floating_point, thread_pointer, call, source })
    }

    /// The registers of an arm64 `struct pt_regs`.
    pub(in crate::linux) fn pt_regs_arm64(&self, at: u64) -> Option<Registers> {
        let mut registers = Registers::new(Arch::Aarch64);
        let general = at.wrapping_add(self.offset("pt_regs", "regs").ok()?);
        for (slot, value) in self.words(general, 31).into_iter().enumerate() {
            if let Some(value) = value {
                registers.set(slot, value);
            }
        }
        let info = registers.arch().info();
        registers.set(info.pc, self.pointer(at, "pt_regs", "pc")?);
        if let Some(sp) = self.pointer(at, "pt_regs", "sp") {
            registers.set(info.sp, sp);
        }
        if let (Some(slot), Some(state)) = (info.slot("cpsr"), self.pointer(at, "pt_regs", "pstate")) {
            registers.set(slot, state);
        }
        Some(registers)
    }

    fn simd_state(&self, task: u64) -> Option<Vec<u8>> {
        // A thread that uses SVE keeps all of its vectors elsewhere.
        if let Some(kind) = self.value(task, "task_struct", "thread.fp_type")
            && self.enumerator("FP_STATE_SVE").is_some_and(|sve| sve as u64 == kind)
        {
            return None;
        }
        let size = usize::try_from(self.size("user_fpsimd_state").ok()?).ok().filter(|size| *size <= 4096)?;
        let offset = self.offset("task_struct", "thread.uw.fpsimd_state").ok()?;
        let bytes = self.bytes(task.wrapping_add(offset), size);
        (bytes.len() == size).then_some(bytes)
    }
}

/// Selector of a 32-bit program's code (`__USER32_CS`, arch/x86/include/asm/segment.h).
const USER32_CS: u64 = 0x23;

/// The registers of a 32-bit program out of a 64-bit processor's.
fn narrowed(registers: &Registers) -> Registers {
    let mut narrow = Registers::new(Arch::X86);
    let info = narrow.arch().info();
    let segments = ["ds", "es", "fs", "gs"].map(|name| (name, name));
    for (wide, short) in X86.into_iter().map(|(wide, short, _)| (wide, short)).chain(segments) {
        if let (Some(slot), Some(value)) = (info.slot(short), registers.by_name(wide)) {
            narrow.set(slot, value & 0xffff_ffff);
        }
    }
    narrow
}
