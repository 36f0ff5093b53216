//! The kernel's stacks: of tasks that sleep, and of those that a processor ran.
//!
//! *What it is*: a walk from `thread.sp`, or from a processor's registers, to the outermost frame: by ORC on x86, by
//! frame records on arm64. It goes through interrupts and the stacks that they have, since ORC tells where they came from.
//!
//! *What it is not*: a scan (but for one frame of kdumps, whose caller is proved). Where the way is lost, the stack ends and says why; only code without ORC (programs made at run
//! time, kernels that were built with frame pointers) is left by its frame pointer, and frames from there on are guesses.
//!
//! *Trap*: `thread.sp` of a task that runs is from the last time it slept. Such a stack looks whole and is wrong.

use super::code::Bytes;
use super::kernel::Linux;
use afterimage_dump::{Arch, Cpu, Registers};
use afterimage_symbols::kernel::{OrcEntry, OrcState, OrcStop, OrcType, PtRegs};
use std::collections::HashSet;

/// Frames at most.
pub(super) const MOST: usize = 512;
/// Bytes of a stack at most: 64 KiB pages of arm64 make the largest.
const STACK: u64 = 128 << 10;
/// Where addresses of programs end.
pub(super) const KERNEL: u64 = 1 << 63;

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelTrust {
    /// It is where the task slept, or the processor was.
    Context,
    /// By the kernel's ORC.
    Orc,
    /// By a return address on the stack, behind a call of the very function that has no other way out.
    Call,
    /// By a frame record, which arm64 kernels always write.
    Record,
    /// By a frame pointer where nothing says that there is one.
    Guess,
}

impl KernelTrust {
    /// The word for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Orc => "orc",
            Self::Call => "call",
            Self::Record => "frame_record",
            Self::Guess => "guess",
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFrame {
    /// Address in the code.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Function; `None` where no name is known.
    pub function: Option<String>,
    /// Distance from its start.
    pub offset: u64,
    /// The module that it is in; `None` in the kernel itself.
    pub module: Option<String>,
    /// How it was found.
    pub trust: KernelTrust,
    /// Whether `pc` is an instruction's own address (interrupted here), and no return address.
    pub exact: bool,
}

impl std::fmt::Display for KernelFrame {
    /// As kernels print them: `ext4_readdir+0x1a [ext4]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.function {
            Some(function) => write!(f, "{function}+{:#x}", self.offset)?,
            None => write!(f, "{:#x}", self.pc)?,
        }
        self.module.as_ref().map_or(Ok(()), |module| write!(f, " [{module}]"))
    }
}

/// A stack, innermost frame first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelStack {
    /// The processor that ran the task, if one did.
    pub cpu: Option<u32>,
    /// Its frames; none where nothing is known or the task was in its program.
    pub frames: Vec<KernelFrame>,
    /// Why it ends, or why there is none.
    pub end: String,
    /// Whether it ends as it should: with the kernel's mark, or where the program is.
    pub complete: bool,
    /// The registers of the innermost frame, as far as they are known: the processor's, or those that a task saved when it
    /// slept.
    pub registers: Option<Box<Registers>>,
    /// The registers of frames that were interrupted, with the frame's index: all that the kernel saved there.
    pub interrupted: Vec<(usize, Registers)>,
}

impl KernelStack {
    /// What a walk has found when it ends.
    pub(super) fn ended(
        frames: Vec<KernelFrame>,
        interrupted: Vec<(usize, Registers)>,
        end: String,
        complete: bool,
    ) -> Self {
        Self { cpu: None, frames, end, complete, registers: None, interrupted }
    }

    pub(super) fn none(cpu: Option<u32>, end: impl Into<String>) -> Self {
        Self { cpu, frames: Vec::new(), end: end.into(), complete: false, registers: None, interrupted: Vec::new() }
    }
}

impl Linux {
    /// The kernel's stack of a task, by the address of its `task_struct`.
    #[must_use]
    pub fn stack(&self, task: u64) -> KernelStack {
        if let Some(cpu) = self.cpus.iter().find(|cpu| self.current(cpu.index) == Some(task)) {
            return self.cpu_stack(cpu);
        }
        if self.int(task, "task_struct", "on_cpu").is_some_and(|on| on & 1 == 1) {
            let cpu = self.present_cpus().into_iter().find(|cpu| self.current(*cpu) == Some(task));
            if let Some(stack) = cpu.and_then(|cpu| self.stopped_stack(cpu)) {
                return stack;
            }
            return KernelStack::none(None, "it was running, and the dump does not have the processor's registers");
        }
        let base = match self.pointer(task, "task_struct", "stack") {
            None => return KernelStack::none(None, "its task_struct is not in the dump"),
            Some(0) => return KernelStack::none(None, "it has ended, and its stack was given back"),
            Some(base) => base,
        };
        match self.arch {
            Arch::Aarch64 => self.sleeping_arm64(task, base),
            _ => self.sleeping_x86(task, base),
        }
    }

    /// The kernel's stack on a processor; `None` if the dump does not have its registers and it did not panic.
    #[must_use]
    pub fn stack_of_cpu(&self, cpu: u32) -> Option<KernelStack> {
        let known = self.cpus.iter().find(|own| own.index == cpu).map(|cpu| self.cpu_stack(cpu));
        known.filter(|stack| !stack.frames.is_empty() || stack.complete).or_else(|| self.stopped_stack(cpu))
    }

    fn cpu_stack(&self, cpu: &Cpu) -> KernelStack {
        let registers = &cpu.registers;
        let (Some(pc), Some(sp)) = (registers.pc(), registers.sp()) else {
            return KernelStack::none(Some(cpu.index), "the dump does not have the processor's registers");
        };
        if pc.0 < KERNEL {
            let end = format!("running in user mode at {pc:#x}");
            return KernelStack { cpu: Some(cpu.index), complete: true, ..KernelStack::none(None, end) };
        }
        let fp = registers.fp().map_or(0, |fp| fp.0);
        let mut stack = if self.arch == Arch::Aarch64 {
            self.walk_records(pc.0, sp.0, fp, true)
        } else {
            let mut saved = PtRegs::default();
            let values = [
                (PtRegs::R13, "r13"),
                (PtRegs::BP, "rbp"),
                (PtRegs::R10, "r10"),
                (PtRegs::AX, "rax"),
                (PtRegs::DX, "rdx"),
                (PtRegs::DI, "rdi"),
                (PtRegs::IP, "rip"),
                (PtRegs::SP, "rsp"),
            ];
            for (number, name) in values {
                saved.set(number, registers.by_name(name).unwrap_or(0));
            }
            let registers = Some(saved);
            self.walk_orc(OrcState { ip: pc.0, sp: sp.0, bp: fp, exact: true, registers, previous: None })
        };
        stack.cpu = Some(cpu.index);
        stack.registers = Some(Box::new(*registers));
        stack
    }

    /// Where a task's kernel stack begins: its lowest address.
    pub(crate) fn stack_base(&self, task: u64) -> Option<u64> {
        self.pointer(task, "task_struct", "stack").filter(|base| *base >= KERNEL)
    }

    /// Whether a saved stack pointer can be one of this stack.
    pub(super) fn checked(sp: Option<u64>, base: u64) -> Result<u64, KernelStack> {
        let sp = sp.ok_or_else(|| KernelStack::none(None, "its task_struct is not in the dump"))?;
        match sp.checked_sub(base) {
            Some(depth) if depth < STACK => Ok(sp),
            _ => Err(KernelStack::none(None, format!("its stack pointer {sp:#x} is not in its stack at {base:#x}"))),
        }
    }

    fn sleeping_x86(&self, task: u64, base: u64) -> KernelStack {
        let sp = match Self::checked(self.pointer(task, "task_struct", "thread.sp"), base) {
            Ok(sp) => sp,
            Err(none) => return none,
        };
        let frame = self.size("inactive_task_frame");
        let ip = self.pointer(sp, "inactive_task_frame", "ret_addr");
        let bp = self.pointer(sp, "inactive_task_frame", "bp");
        let (size, ip, bp) = match (frame, ip, bp) {
            (Ok(size), Some(ip), Some(bp)) => (size, ip, bp),
            (Err(why), ..) => return KernelStack::none(None, why),
            _ => return KernelStack::none(None, format!("its stack at {sp:#x} is not in the dump")),
        };
        // A task that has not run yet begins at a function's first instruction.
        let new = ["ret_from_fork_asm", "ret_from_fork"].iter().any(|name| self.symbols.address(name) == Some(ip));
        let top = sp.wrapping_add(size);
        let mut stack = self.walk_orc(OrcState { ip, sp: top, bp, exact: new, registers: None, previous: None });
        let mut registers = Registers::new(Arch::X86_64);
        let info = Arch::X86_64.info();
        registers.set(info.pc, ip);
        registers.set(info.sp, top);
        let members = [("bx", "rbx"), ("bp", "rbp"), ("r12", "r12"), ("r13", "r13"), ("r14", "r14"), ("r15", "r15")];
        for (member, name) in members {
            if let (Some(slot), Some(value)) = (info.slot(name), self.pointer(sp, "inactive_task_frame", member)) {
                registers.set(slot, value);
            }
        }
        stack.registers = Some(Box::new(registers));
        stack
    }

    pub(super) fn frame(&self, pc: u64, sp: u64, exact: bool, trust: KernelTrust) -> KernelFrame {
        let named = self.name_of(if exact { pc } else { pc.wrapping_sub(1) }, pc);
        KernelFrame { pc, sp, function: named.function, offset: named.offset, module: named.module, trust, exact }
    }

    pub(super) fn walk_orc(&self, mut state: OrcState) -> KernelStack {
        let memory = Bytes(self);
        let mut frames = Vec::new();
        let mut seen = HashSet::new();
        let (mut trust, mut guessed) = (KernelTrust::Context, false);
        let mut interrupted = Vec::new();
        let stop = KernelStack::ended;
        loop {
            if !frames.is_empty()
                && let Some(caller) = self.jumped_from(&state)
            {
                interrupted.extend(state.registers.map(|saved| (frames.len(), saved_x86(&saved))));
                frames.push(self.frame(state.ip, state.sp, state.exact, trust));
                state = caller;
                continue;
            }
            if !self.is_code(state.lookup()) && (guessed || state.ip < KERNEL) {
                return stop(frames, interrupted, format!("{:#x} is no code of the kernel", state.ip), false);
            }
            if !seen.insert((state.ip, state.sp)) {
                return stop(frames, interrupted, "the stack runs in a circle".into(), false);
            }
            if let Some(saved) = state.registers.filter(|_| !frames.is_empty()) {
                interrupted.push((frames.len(), saved_x86(&saved)));
            }
            frames.push(self.frame(state.ip, state.sp, state.exact, trust));
            if frames.len() >= MOST {
                return stop(frames, interrupted, format!("more than {MOST} frames"), false);
            }
            let found = self.orc(state.lookup());
            guessed |= found.is_none();
            if found.is_some_and(|entry| entry.kind == OrcType::Undefined)
                && frames.len() == 1
                && let Some(caller) = self.called_from(&state)
            {
                trust = KernelTrust::Call;
                state = caller;
                continue;
            }
            let entry = found.unwrap_or(OrcEntry::FRAME_POINTER);
            trust = if guessed { KernelTrust::Guess } else { KernelTrust::Orc };
            state = match state.step(&entry, &memory) {
                Ok(caller) => caller,
                Err(OrcStop::End) => return stop(frames, interrupted, "the outermost frame".into(), !guessed),
                Err(OrcStop::User { ip, .. }) => {
                    return stop(frames, interrupted, format!("it came from its program at {ip:#x}"), !guessed);
                }
                Err(OrcStop::Undefined) => {
                    return stop(
                        frames,
                        interrupted,
                        format!("the kernel does not tell how to leave {:#x}", state.ip),
                        false,
                    );
                }
                Err(OrcStop::NoRegister(_)) => {
                    return stop(
                        frames,
                        interrupted,
                        format!("a register of the frame at {:#x} is not known", state.ip),
                        false,
                    );
                }
                Err(OrcStop::Unreadable(at)) => {
                    return stop(frames, interrupted, format!("the stack at {at:#x} is not in the dump"), false);
                }
            };
        }
    }

    /// The caller of a function that has no ORC: the first address on the stack behind a call of this very function.
    ///
    /// The processor that panics writes its own registers for kdump in `__crash_kexec`, which is the one function that
    /// objtool leaves out (`STACK_FRAME_NON_STANDARD`, kernel/kexec_core.c): every kdump's most wanted stack begins there.
    fn called_from(&self, state: &OrcState) -> Option<OrcState> {
        const FARTHEST: u64 = 4096;
        let start = self.symbols.find(state.ip)?.0.address;
        (0..FARTHEST / 8).find_map(|index| {
            let at = state.sp.wrapping_add(8 * index);
            let ip = self.word(at).filter(|ip| self.is_code(ip.wrapping_sub(1)))?;
            let call = self.called_to(ip) == Some(start);
            let sp = at.wrapping_add(8);
            call.then_some(OrcState { ip, sp, bp: state.bp, exact: false, registers: None, previous: None })
        })
    }

    /// The caller of an address without code, to which the kernel jumped: the call put the way back on the stack, and no
    /// code followed that could have moved it. The kernel's own unwinder does so at address 0 (`null_orc_entry`).
    fn jumped_from(&self, state: &OrcState) -> Option<OrcState> {
        state.registers.filter(|_| state.exact && !self.is_code(state.ip))?;
        let ip = self.word(state.sp).filter(|ip| self.is_code(ip.wrapping_sub(1)))?;
        let sp = state.sp.wrapping_add(8);
        Some(OrcState { ip, sp, bp: state.bp, exact: false, registers: None, previous: state.registers })
    }
}

/// The registers of a `struct pt_regs` by their names.
fn saved_x86(saved: &PtRegs) -> Registers {
    /// In the order of `struct pt_regs` (arch/x86/include/uapi/asm/ptrace.h).
    const NAMES: [&str; 21] = [
        "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
        "orig_rax", "rip", "cs", "eflags", "rsp", "ss",
    ];
    let mut registers = Registers::new(Arch::X86_64);
    let known = Arch::X86_64.info().registers;
    for (number, name) in NAMES.into_iter().enumerate() {
        if let Some(slot) = known.iter().position(|register| register.name == name) {
            registers.set(slot, saved.get(number));
        }
    }
    registers
}
