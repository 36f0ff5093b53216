//! Cores of Hubris, a system for microcontrollers, as `humility dump` writes them: no threads of a process, but the
//! registers of one Cortex-M processor, and an archive of the system's own description.
//!
//! *Trap*: the "registers" note is a list of pairs (register number, value), not a register block; the numbers are those
//! of the Arm debug interface (DCRSR).

use super::notes::Note;
use super::reading::Reading;
use crate::{Arch, Registers};

const REGISTERS: u32 = 0x1de0_0002;

/// Takes a note of owner `Oxide Computer Company`.
pub(super) fn take(reading: &mut Reading<'_>, note: &Note<'_>) {
    if note.kind != REGISTERS {
        return;
    }
    let mut registers = Registers::new(Arch::Arm);
    for at in (0..note.content.bytes().len()).step_by(8) {
        let (Some(number), Some(value)) = (note.content.u32(at), note.content.u32(at + 4)) else {
            break;
        };
        // 0 to 15 are r0 to pc, 16 is the program status.
        if number <= 16 {
            registers.set(number as usize, u64::from(value));
        }
    }
    reading.start_thread(0, registers, None, None);
}
