//! The kernel's code: functions that do nothing but have names, and ORC that tells how to leave them.

use super::memory::Memory;

/// Bytes of a function.
pub(super) const FUNCTION: u64 = 0x40;
/// Where the first function begins, behind `_text`.
pub(super) const FIRST: u64 = 0x1000;
/// Where functions begin that are only there to be many.
pub(super) const FILL: u64 = 0x2000;
/// Symbols of that kind: a table of fewer names than 16 times 256 is taken for none.
pub(super) const FILLERS: u64 = 4200;
/// `_etext`.
pub(super) const END: u64 = FILL + 4 * FILLERS;

/// How a function is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Its frame has so many words; the last one is the return address.
    Words(u64),
    /// The registers of the program lie there.
    Registers,
    /// It is the outermost one.
    End,
}

/// Functions that stand on stacks.
pub(super) const FUNCTIONS: [(&str, Leave); 12] = [
    ("ret_from_fork_asm", Leave::End),
    ("entry_SYSCALL_64_after_hwframe", Leave::Registers),
    ("do_syscall_64", Leave::Words(3)),
    ("do_wait", Leave::Words(5)),
    ("mutex_user", Leave::Words(2)),
    ("__mutex_lock", Leave::Words(32)),
    ("schedule", Leave::Words(2)),
    ("__schedule", Leave::Words(6)),
    ("start_secondary", Leave::End),
    ("do_idle", Leave::Words(3)),
    ("default_idle", Leave::Words(1)),
    ("kthread", Leave::Words(4)),
];

/// Distance of a function from `_text`, and how it is left.
pub(super) fn function(name: &str) -> (u64, Leave) {
    let index = FUNCTIONS.iter().position(|(own, _)| *own == name).unwrap_or_else(|| panic!("no function {name}"));
    (FIRST + FUNCTION * index as u64, FUNCTIONS[index].1)
}

/// One entry, as orc_types.h of 6.4 has it.
pub(super) fn entry(leave: Leave) -> [u8; 6] {
    let (offset, flags) = match leave {
        Leave::Words(words) => (8 * words as u16, 0x205u16),
        Leave::Registers => (0, 0xb05),
        Leave::End => (0, 0x100),
    };
    let [low, high] = offset.to_le_bytes();
    let [flags, kind] = flags.to_le_bytes();
    [low, high, 0, 0, flags, kind]
}

/// Distances and entries of code at these addresses, of which the first table lies at `at`.
pub(super) fn tables(at: u64, code: &[(u64, Option<Leave>)]) -> (Vec<u8>, Vec<u8>) {
    let (mut distances, mut entries) = (Vec::new(), Vec::new());
    for (index, (address, leave)) in code.iter().enumerate() {
        let distance = address.wrapping_sub(at + 4 * index as u64) as u32;
        distances.extend_from_slice(&distance.to_le_bytes());
        entries.extend(leave.map_or([0; 6], entry));
    }
    (distances, entries)
}

/// A stack of a task that sleeps: frames of these functions, innermost first, each with its own address; gives the stack
/// pointer that the task keeps, and where each frame begins.
pub(super) fn sleep(memory: &mut Memory, stack: u64, frames: &[(u64, Leave)]) -> (u64, Vec<u64>) {
    let kept = stack + 0x800;
    let size = memory.types.size("inactive_task_frame");
    memory.set(kept, "inactive_task_frame", "bp", 0);
    memory.set(kept, "inactive_task_frame", "ret_addr", frames[0].0 + 0x10);
    (kept, fill(memory, kept + size, frames))
}

/// Return addresses from `sp` on.
pub(super) fn fill(memory: &mut Memory, mut sp: u64, frames: &[(u64, Leave)]) -> Vec<u64> {
    let mut begins = Vec::new();
    for (index, (_, leave)) in frames.iter().enumerate() {
        begins.push(sp);
        match leave {
            Leave::Words(words) => {
                sp += 8 * words;
                memory.put_word(sp - 8, frames[index + 1].0 + 0x10);
            }
            Leave::Registers => {
                // struct pt_regs: rip, cs, flags, rsp, ss are words 16 to 20.
                for (word, value) in [(16, 0x40_1234), (17, 0x33), (18, 0x246), (19, 0x7ffd_0000), (20, 0x2b)] {
                    memory.put_word(sp + 8 * word, value);
                }
            }
            Leave::End => {}
        }
    }
    begins
}
