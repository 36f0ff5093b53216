//! The body for Linux kernels: a built machine whose memory the input changes in places that lead somewhere.
//!
//! *What it is*: the first byte chooses the machine, and whether the dump leads to its kernel; each further 12 bytes are a
//! change: how, what, and a value. So the walks begin at once, where bytes of a dump alone would seldom make a kernel.
//!
//! For example `[0]` is a machine as 6.1 has them that is whole.
//!
//! *Trap*: building a machine takes longer than reading it, so each is built once.

use crate::{Shredder, meter};
use afterimage_tables::{Params, TABLES};
use afterimage_target::{Options, Target};
use afterimage_testkit::build_linux::{Age, Machine};
use std::sync::OnceLock;

/// Changes of one input at most.
const CHANGES: usize = 256;

/// Machines of three ages, each in two layouts.
fn built(choice: u8) -> &'static Machine {
    static BUILT: [OnceLock<Machine>; 6] = [const { OnceLock::new() }; 6];
    let index = usize::from(choice % 6);
    BUILT[index].get_or_init(|| {
        let age = [Age::Old, Age::Middle, Age::New][index % 3];
        Machine::new(age, index as u64 + 1)
    })
}

/// Changes one thing, by 12 bytes.
fn change(machine: &mut Machine, whole: &Machine, bytes: &[u8; 12]) {
    let [how, shift, low, high, value @ ..] = *bytes;
    let (what, value) = (usize::from(u16::from_le_bytes([low, high])), u64::from_le_bytes(value));
    let pick = |value: u64, len: usize| (value % len.max(1) as u64) as usize;
    let place = whole.members[what % whole.members.len()].1;
    let (at, word) = match how % 7 {
        // A member is any number, a small one, itself, another member, the start of a structure, a variable.
        0 => (place, value),
        1 => (place, value & 0xffff),
        2 => (place, whole.direct(place).wrapping_add(value & 0xf)),
        3 => (place, whole.direct(whole.members[pick(value, whole.members.len())].1)),
        4 => (place, whole.objects[pick(value, whole.objects.len())] | u64::from(shift & 0x1f)),
        // A part of what has no members: tables of symbols, types, ways to unwind, page tables.
        5 => {
            let (start, len) = whole.written[what % whole.written.len()];
            (start + pick(value >> 32, len as usize) as u64, value & 0xffff_ffff)
        }
        // A page is lost.
        _ => {
            let start = pick(what as u64, machine.bytes.len() / 4096) * 4096;
            machine.bytes[start..start + 4096].fill(value as u8);
            return;
        }
    };
    let start = (at - whole.base) as usize;
    let width = if how % 7 == 5 { 1 << (shift % 3) } else { 8 };
    if let Some(room) = machine.bytes.get_mut(start..start + width) {
        room.copy_from_slice(&word.to_le_bytes()[..width]);
    }
}

/// Every table of a Linux machine, and what `explain` says, of a built machine with changes.
pub fn linux_kernel(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let whole = built(*choice);
    let mut machine = whole.clone();
    for bytes in rest.as_chunks::<12>().0.iter().take(CHANGES) {
        change(&mut machine, whole, bytes);
    }
    let file = machine.elf(choice & 0x80 == 0);
    // Half of a gigabyte: reading a machine takes some room for each process beside the tables of symbols and types.
    meter::metered_within(2 * meter::LIMIT, || {
        let Some(dump) = crate::open(&file) else { return };
        let options = Options { use_system_files: false, debug_dirs: Vec::new(), ..Options::default() };
        let target = Target::new(dump, options, crate::budget());
        let _ = target.diagnosis();
        for table in TABLES {
            let _ = table.run(&target, &Params::default(), &mut Shredder);
        }
        let _ = target.issues();
    });
}
