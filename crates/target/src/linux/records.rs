//! Stacks of arm64 kernels: a chain of frame records `{next, return address}`, which each function writes
//! (arch/arm64/kernel/stacktrace.c), through the registers that an exception saves on the stack.
//!
//! *Trap*: a record lies in the frame of the function that wrote it and holds the place in its caller: at the frame's bottom
//! or, where gcc guards the stack (since its fix of CVE-2023-4039), above its variables. So a stack pointer is the lowest
//! that it can be, behind the record of the function that was called.

use super::kernel::Linux;
use super::stack::{KERNEL, KernelStack, KernelTrust, MOST};
use afterimage_dump::Registers;
use std::collections::HashSet;

impl Linux {
    pub(super) fn sleeping_arm64(&self, task: u64, base: u64) -> KernelStack {
        let context = |member: &str| self.pointer(task, "task_struct", &format!("thread.cpu_context.{member}"));
        let sp = match Self::checked(context("sp"), base) {
            Ok(sp) => sp,
            Err(none) => return none,
        };
        match (context("pc"), context("fp")) {
            (Some(pc), Some(fp)) => self.walk_records(pc, sp, fp, false),
            _ => KernelStack::none(None, "its task_struct is not in the dump"),
        }
    }

    /// The frames from a place in the code on, with the record at `fp` as the first one.
    pub(super) fn walk_records(&self, pc: u64, sp: u64, fp: u64, exact: bool) -> KernelStack {
        let pac = self.pac_mask();
        let mut frames = vec![self.frame(pc, sp, exact, KernelTrust::Context)];
        let mut interrupted = Vec::new();
        let mut seen = HashSet::new();
        let mut at = fp;
        let stop = KernelStack::ended;
        loop {
            if at == 0 {
                return stop(frames, interrupted, "the outermost frame".into(), true);
            }
            if at < KERNEL || !seen.insert(at) {
                return stop(frames, interrupted, format!("{at:#x} is no frame"), false);
            }
            if frames.len() >= MOST {
                return stop(frames, interrupted, format!("more than {MOST} frames"), false);
            }
            let (Some(next), Some(lr)) = (self.word(at), self.word(at.wrapping_add(8))) else {
                return stop(frames, interrupted, format!("the stack at {at:#x} is not in the dump"), false);
            };
            match self.saved_around(at, next, lr) {
                Some(saved) => match (saved.pc(), saved.sp(), saved.fp()) {
                    (Some(pc), Some(sp), Some(fp)) if pc.0 >= KERNEL => {
                        interrupted.push((frames.len(), saved));
                        frames.push(self.frame(pc.0, sp.0, true, KernelTrust::Record));
                        at = fp.0;
                        continue;
                    }
                    (pc, ..) => {
                        let pc = pc.map_or(0, |pc| pc.0);
                        return stop(frames, interrupted, format!("it came from its program at {pc:#x}"), true);
                    }
                },
                None if next == 0 && lr == 0 => {
                    return stop(frames, interrupted, "the outermost frame".into(), true);
                }
                None => {}
            }
            let lr = lr | pac;
            if !self.is_code(lr.wrapping_sub(4)) {
                return stop(frames, interrupted, format!("{lr:#x} is no code of the kernel"), false);
            }
            frames.push(self.frame(lr, at.wrapping_add(16), false, KernelTrust::Record));
            at = next;
        }
    }

    /// The bits of a kernel's address that may hold its signature; in such an address they are all ones.
    pub(crate) fn pac_mask(&self) -> u64 {
        let told = self.vmcoreinfo.as_deref().and_then(|text| {
            let mask = afterimage_dump::system::vmcoreinfo::value(text, "NUMBER(KERNELPACMASK)")?;
            u64::from_str_radix(mask.trim_start_matches("0x"), 16).ok()
        });
        told.unwrap_or(0)
    }

    /// The registers that an exception saved, if the record at this place is the one among them.
    fn saved_around(&self, record: u64, next: u64, lr: u64) -> Option<Registers> {
        let saved = record.wrapping_sub(self.offset("pt_regs", "stackframe").ok()?);
        // Since 6.14 such a record is empty, and behind it stands which kind it is.
        if let Ok(kind) = self.offset("frame_record_meta", "type") {
            const REGISTERS: u64 = 2;
            let marked = next == 0 && lr == 0 && self.word(record.wrapping_add(kind)) == Some(REGISTERS);
            return marked.then(|| self.pt_regs_arm64(saved)).flatten();
        }
        // Before, it holds what the registers hold, if the kernel was interrupted, and is empty if a program was.
        const MODE: u64 = 0xf;
        const NARROW: u64 = 0x10;
        let state = self.pointer(saved, "pt_regs", "pstate")?;
        let from_kernel = state & MODE != 0 && state & NARROW == 0;
        if next == 0 || !from_kernel || self.pointer(saved, "pt_regs", "pc") != Some(lr) {
            return None;
        }
        self.pt_regs_arm64(saved).filter(|saved| saved.fp().map(|fp| fp.0) == Some(next))
    }
}
