//! Frames of 32-bit functions: "new FPO" frame data with little programs, and the old FPO records.
//!
//! Not here: 64-bit functions, whose unwind data stands in the image.
//!
//! Example: a function with `ebp` has the program `$T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + =`.
//!
//! Trap: records nest (a prologue has its own), and the one that begins last before an address is the one that counts.

use super::msf::Msf;
use crate::breakpad::win::{Record, run};
use crate::elf::View;
use crate::{CfiMiss, CfiSource, Machine, Step};

/// Indices in the list of further debug streams.
const FPO: usize = 0;
const NEW_FPO: usize = 9;
/// How far back a record that still covers an address is looked for.
const NEAR: usize = 16;

/// Records of both kinds, sorted by address.
pub(super) struct Frames {
    /// Start, size, locals, parameters, saved registers, program's name.
    new: Vec<(u32, u32, u32, u32, u16, u32)>,
    /// Start, size, locals, parameters, saved registers, whether `ebp` is saved.
    old: Vec<(u32, u32, u32, u32, u16, bool)>,
}

impl Frames {
    pub(super) fn read(msf: &Msf, debug: &[u16]) -> Self {
        let stream = |index: usize| {
            let number = debug.get(index).copied().filter(|&number| number != u16::MAX);
            number.and_then(|number| msf.stream(number)).unwrap_or_default()
        };
        let bytes = stream(NEW_FPO);
        // An optional relocation pointer stands before the records.
        let skip = if bytes.len() % 32 == 4 { 4 } else { 0 };
        let mut new: Vec<_> = bytes
            .get(skip..)
            .unwrap_or_default()
            .chunks_exact(32)
            .filter_map(|record| {
                let view = View::new(record, true);
                Some((view.u32(0)?, view.u32(4)?, view.u32(8)?, view.u32(12)?, view.u16(26)?, view.u32(20)?))
            })
            .collect();
        new.sort_unstable();
        let mut old: Vec<_> = stream(FPO)
            .chunks_exact(16)
            .filter_map(|record| {
                let view = View::new(record, true);
                let bits = view.u16(14)?;
                let (registers, base) = (bits >> 8 & 7, bits >> 12 & 1 == 1);
                let (locals, parameters) = (view.u32(8)?, u32::from(view.u16(12)?));
                Some((view.u32(0)?, view.u32(4)?, locals.saturating_mul(4), parameters * 4, registers * 4, base))
            })
            .collect();
        old.sort_unstable();
        Self { new, old }
    }

    pub(super) fn step(
        &self,
        rva: u32,
        machine: &dyn Machine,
        name: &dyn Fn(u32) -> Option<String>,
    ) -> Result<Step, CfiMiss> {
        if self.new.is_empty() && self.old.is_empty() {
            return Err(CfiMiss::NoTables);
        }
        let after = self.new.partition_point(|record| record.0 <= rva);
        let near = self.new.get(after.saturating_sub(NEAR)..after).unwrap_or_default().iter().rev();
        if let Some(&(start, _, locals, parameters, saved, program)) = near.clone().find(|r| rva - r.0 < r.1) {
            let text = name(program).unwrap_or_default();
            let record = Record {
                frame_data: true,
                start: u64::from(start),
                parameters: u64::from(parameters),
                saved: u64::from(saved),
                locals: u64::from(locals),
                has_program: !text.is_empty(),
                rest: text.as_bytes(),
            };
            return run(&record, machine, CfiSource::Pdb);
        }
        let after = self.old.partition_point(|record| record.0 <= rva);
        let near = self.old.get(after.saturating_sub(NEAR)..after).unwrap_or_default().iter().rev();
        let found = near.clone().find(|record| rva - record.0 < record.1);
        let &(start, _, locals, parameters, saved, base) = found.ok_or(CfiMiss::NotCovered)?;
        let record = Record {
            frame_data: false,
            start: u64::from(start),
            parameters: u64::from(parameters),
            saved: u64::from(saved),
            locals: u64::from(locals),
            has_program: false,
            rest: if base { b"1" } else { b"0" },
        };
        run(&record, machine, CfiSource::Pdb)
    }
}
