//! Frames of a Linux kernel's stacks, by its vmlinux.
//!
//! The way through the stack is the kernel's own (ORC on x86, frame records on arm64), which gives places in the code and
//! stack pointers. What functions saved of their callers' registers is only in the vmlinux: its `.debug_frame` is worked out
//! beside the way, and believed as long as it leads to the very same frames.

use super::text::{Surroundings, Texts};
use super::view::{Bytes, DEEPEST, Spot, View};
use super::{FrameVariables, shown};
use crate::linux::{KernelFrame, KernelLines, KernelStack, KernelTrust, Linux};
use crate::stack::survivors;
use crate::target::Target;
use afterimage_dump::{Arch, Endian, Memory, Registers, Virt};

impl Target {
    /// The variables of each frame of a kernel's stack, in the order of its frames.
    ///
    /// # Errors
    /// Why none are known of any frame: there is no vmlinux.
    pub fn kernel_variables(&self, stack: &KernelStack) -> Result<KernelVariables<'_>, String> {
        let linux = self.linux()?;
        let lines = self.kernel_lines()?;
        Ok(KernelVariables { linux, lines, spots: spots(linux, lines, stack), frames: stack.frames.clone() })
    }
}

/// The frames of one stack with their registers.
pub struct KernelVariables<'t> {
    linux: &'t Linux,
    lines: &'t KernelLines,
    spots: Vec<Spot<'t>>,
    frames: Vec<KernelFrame>,
}

impl KernelVariables<'_> {
    /// The variables of the frame with this index.
    ///
    /// # Errors
    /// Why nothing is known of them.
    pub fn of(&self, frame: usize) -> FrameVariables {
        let Some(first) = self.frames.get(frame) else { return Err("there is no such frame".into()) };
        if first.module.is_some() {
            return Err("debug information of modules is not read".into());
        }
        let spots = self.spots.get(frame..).unwrap_or_default();
        let view = View { spots, bytes: bytes(self.linux), depth: DEEPEST };
        let own = lookup(first).wrapping_sub(self.lines.bias());
        let found = self.lines.symbols().variables(own, &view).map_err(|why| why.to_string())?;
        Ok(shown(found, &Texts::new(self.linux, Endian::Little)))
    }
}

fn bytes(linux: &Linux) -> Bytes<'_> {
    Bytes { memory: linux.memory(), endian: Endian::Little }
}

/// The address that stands for a frame's place in its function.
fn lookup(frame: &KernelFrame) -> u64 {
    if frame.exact { frame.pc } else { frame.pc.wrapping_sub(1) }
}

fn spots<'t>(linux: &'t Linux, lines: &'t KernelLines, stack: &KernelStack) -> Vec<Spot<'t>> {
    let arch = linux.arch;
    let info = arch.info();
    let bare = |frame: &KernelFrame| {
        let mut registers = Registers::new(arch);
        registers.set(info.pc, frame.pc);
        // By frame records a stack pointer is only the lowest that it can be.
        if arch == Arch::X86_64 {
            registers.set(info.sp, frame.sp);
        }
        registers
    };
    let mut known = stack.registers.as_deref().copied();
    let mut out = Vec::with_capacity(stack.frames.len());
    for (index, frame) in stack.frames.iter().enumerate() {
        let saved = stack.interrupted.iter().find(|(own, _)| *own == index).map(|(_, registers)| *registers);
        let registers = saved.or(known.take()).unwrap_or_else(|| bare(frame));
        // What was interrupted called nobody: the frame before it has no address that leads here.
        let next = stack.frames.get(index + 1).filter(|next| !next.exact);
        let guessed = next.is_some_and(|next| next.trust == KernelTrust::Guess);
        let symbols = frame.module.is_none().then(|| (lines.symbols(), lines.bias()));
        let mut spot = Spot { back: (!frame.exact).then_some(frame.pc), registers, cfa: None, symbols };
        let one = [spot];
        let view = View { spots: &one, bytes: bytes(linux), depth: 0 };
        let own = lookup(frame).wrapping_sub(lines.bias());
        let step = symbols.and_then(|(symbols, _)| symbols.unwind(own, &view).ok());
        // The kernel's own way proves the vmlinux's.
        let pac = linux.pac_mask();
        let step = step.filter(|step| match (next, arch) {
            (None, _) => true,
            (Some(next), Arch::X86_64) => step.cfa == next.sp && step.return_address() == Some(next.pc),
            (Some(next), _) => step.return_address().is_some_and(|at| at | pac == next.pc),
        });
        let told = next.filter(|_| arch == Arch::X86_64 && !guessed).map(|next| next.sp);
        let cfa = step.as_ref().map(|step| step.cfa).or(told);
        if let (Some(next), Some(step)) = (next, &step) {
            let mut caller = survivors(&registers);
            for &(number, value) in &step.registers {
                let Some(slot) = info.slot_of_dwarf(number) else { continue };
                match value {
                    Some(value) => caller.set(slot, value),
                    None => caller.clear(slot),
                }
            }
            caller.set(info.pc, next.pc);
            caller.set(info.sp, step.cfa);
            known = Some(caller);
        }
        let [back] = one;
        spot = back;
        spot.cfa = cfa;
        out.push(spot);
    }
    out
}

impl Surroundings for Linux {
    fn memory(&self) -> &dyn Memory<Virt> {
        Linux::memory(self)
    }

    fn name(&self, at: u64) -> Option<String> {
        if let Some((name, far)) = self.function_at(at) {
            return Some(if far == 0 { name } else { format!("{name}+{far:#x}") });
        }
        self.variable_at(at)
    }
}
