//! The exception behind a stop: many bug checks are only the end of one, and their parameters lead to its records.
//!
//! *Trap*: the records lie in the memory of a machine that has just stopped. They are believed only if what they say agrees
//! with the parameters.

use super::status::status_text;
use crate::target::Target;
use afterimage_dump::bytes::Fields;
use afterimage_dump::system::windows::Stop;
use afterimage_dump::{Endian, MemoryExt, Virt};

/// An exception in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopException {
    /// Its code.
    pub code: u32,
    /// The instruction that raised it.
    pub instruction: Option<u64>,
    /// For an invalid access: 0 read, 1 write, 8 execute.
    pub access: Option<u64>,
    /// For an invalid access: the address.
    pub address: Option<u64>,
    /// Where its record lies, if it was read from there.
    pub record: Option<u64>,
}

impl StopException {
    /// In words, without the place.
    #[must_use]
    pub fn words(&self) -> String {
        let code = status_text(self.code.into());
        let how = match self.access {
            Some(0) => "reading",
            Some(1) => "writing",
            Some(8) => "executing",
            _ => return code,
        };
        match self.address {
            Some(u64::MAX) if self.instruction.is_some() => {
                format!("{code}, {how} an address that the processor does not name")
            }
            Some(at) => format!("{code}, {how} {at:#x}"),
            None => format!("{code}, {how}"),
        }
    }
}

/// The exception that a stop was the end of, by its parameters and the records that they lead to.
#[must_use]
pub fn exception(target: &Target, stop: &Stop) -> Option<StopException> {
    let [first, second, third, fourth] = stop.parameters;
    // Which parameters are code, instruction, and record.
    let (code, instruction, record) = match stop.plain_code() {
        0x1e => {
            let mut found = StopException { code: first as u32, instruction: Some(second), ..StopException::default() };
            if matches!(found.code, 0xc000_0005 | 0xc000_0006) {
                (found.access, found.address) = (Some(third).filter(|&way| way <= 8), Some(fourth));
            }
            return Some(found);
        }
        0x3b => (first, second, None),
        0x7e => (first, second, Some(third)),
        0x8e => (first, second, None),
        0x3d => (0, 0, Some(first)),
        0x139 => (0, 0, Some(third)),
        0x23 | 0x24 | 0x27 if second != 0 => (0, 0, Some(second)),
        _ => return None,
    };
    let read = record.and_then(|at| read(target, at));
    match read {
        Some(found) if code == 0 || found.code == code as u32 => Some(found),
        _ if code == 0 => None,
        _ => Some(StopException { code: code as u32, instruction: Some(instruction), ..StopException::default() }),
    }
}

fn read(target: &Target, at: u64) -> Option<StopException> {
    let wide = target.dump().pointer_size == 8;
    let mut bytes = [0; 48];
    let bytes = bytes.get_mut(..if wide { 48 } else { 28 })?;
    target.memory().read_exact(Virt(at), bytes).ok()?;
    let fields = Fields::new(bytes, Endian::Little);
    let pointer = target.dump().pointer_size;
    let (place, count, first) = if wide { (16, 24, 32) } else { (12, 16, 20) };
    let code = fields.u32(0)?;
    let mut found =
        StopException { code, instruction: fields.uint(place, pointer), record: Some(at), ..StopException::default() };
    if matches!(code, 0xc000_0005 | 0xc000_0006) && (2..=3).contains(&fields.u32(count)?) {
        (found.access, found.address) = (fields.uint(first, pointer), fields.uint(first + pointer, pointer));
    }
    (code >> 30 >= 2).then_some(found)
}
