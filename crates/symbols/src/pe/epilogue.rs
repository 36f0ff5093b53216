//! Whether an x64 function is on its way out, by the instructions at the address: unwind data of version 1 says nothing of
//! epilogues, so their form is prescribed, and an unwinder reads them.
//!
//! Example: `add rsp,28h; pop rbx; ret`.
//!
//! Trap: `jmp` ends an epilogue only if it leaves the function; a jump within it is an ordinary one. Data in code that
//! looks like `pop; ret` cannot be told from it, but no one runs data.

use super::PeImage;
use super::x64::Entry;

/// What is left to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Epilogue {
    /// Where the stack pointer goes first: a register's number (none: itself) and a distance.
    pub(super) stack: Option<(Option<u8>, u64)>,
    /// Registers that are popped then.
    pub(super) pops: Vec<u8>,
}

/// `add rsp,imm32`, 16 pops and a jump are shorter.
const WINDOW: usize = 64;

/// The epilogue that goes on at `rva`; `frame` is the DWARF number of the function's frame pointer.
pub(super) fn find(image: &PeImage, rva: u32, function: Entry, frame: Option<u16>) -> Option<Epilogue> {
    let mut bytes = [0u8; WINDOW];
    let have = image.read(rva, &mut bytes);
    decode(bytes.get(..have)?, rva, function, frame.is_some())
}

fn decode(code: &[u8], rva: u32, function: Entry, framed: bool) -> Option<Epilogue> {
    let mut at = 0usize;
    let mut stack = None;
    let byte = |at: usize| code.get(at).copied();
    let word = |at: usize| Some(i32::from_le_bytes(code.get(at..at + 4)?.try_into().ok()?));
    let long = |value: i32| i64::from(value) as u64;
    match (byte(0), byte(1), byte(2)) {
        // add rsp, imm8 or imm32
        (Some(0x48), Some(0x83), Some(0xc4)) => {
            stack = Some((None, long(i32::from(byte(3)? as i8))));
            at = 4;
        }
        (Some(0x48), Some(0x81), Some(0xc4)) => {
            stack = Some((None, long(word(3)?)));
            at = 7;
        }
        // lea rsp, [frame + disp]
        (Some(rex @ (0x48 | 0x49)), Some(0x8d), Some(modrm)) if framed && modrm >> 3 & 7 == 4 && modrm & 7 != 4 => {
            let register = modrm & 7 | (rex & 1) << 3;
            match modrm >> 6 {
                1 => {
                    stack = Some((Some(register), long(i32::from(byte(3)? as i8))));
                    at = 4;
                }
                2 => {
                    stack = Some((Some(register), long(word(3)?)));
                    at = 7;
                }
                _ => return None,
            }
        }
        _ => {}
    }
    let mut pops = Vec::new();
    loop {
        match (byte(at)?, byte(at + 1)) {
            (op @ 0x58..=0x5f, _) => {
                pops.push(op & 7);
                at += 1;
            }
            (0x40 | 0x41 | 0x48 | 0x49, Some(op @ 0x58..=0x5f)) => {
                pops.push(op & 7 | (byte(at)? & 1) << 3);
                at += 2;
            }
            _ => break,
        }
    }
    let outside = |target: Option<u32>| target.is_none_or(|target| target < function.begin || target >= function.end);
    let from = |length: usize, distance: i32| {
        let next = i64::from(rva) + (at + length) as i64;
        u32::try_from(next + i64::from(distance)).ok()
    };
    let ends = match (byte(at)?, byte(at + 1), byte(at + 2)) {
        (0xc3 | 0xc2, ..) => true,
        (0xf3, Some(0xc3), _) => true,
        // jmp rel8, rel32: to another function.
        (0xeb, Some(distance), _) => outside(from(2, i32::from(distance as i8))),
        (0xe9, ..) => outside(from(5, word(at + 1)?)),
        // jmp [rip+disp]; with the prefix that compilers put before a tail call through a register.
        (0xff, Some(0x25), _) => true,
        (0x48, Some(0xff), Some(modrm)) => modrm >> 3 & 7 == 4,
        (0x49, Some(0xff), Some(modrm)) => modrm >> 3 & 7 == 4 && modrm >> 6 == 3,
        _ => false,
    };
    // A bare jump may be any tail call; with nothing to undo it changes nothing either.
    ends.then_some(Epilogue { stack, pops })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: Entry = Entry { begin: 0x1000, end: 0x1100, unwind: 0 };

    fn at(code: &[u8]) -> Option<Epilogue> {
        decode(code, 0x1080, FUNCTION, true)
    }

    /// Encodings as an assembler writes them.
    #[test]
    fn forms_of_an_epilogue() {
        let plain = at(&[0x48, 0x83, 0xc4, 0x28, 0x5b, 0x41, 0x5c, 0xc3]).unwrap();
        assert_eq!(plain, Epilogue { stack: Some((None, 0x28)), pops: vec![3, 12] });
        let framed = at(&[0x48, 0x8d, 0x65, 0x10, 0x5d, 0xc3]).unwrap();
        assert_eq!(framed, Epilogue { stack: Some((Some(5), 0x10)), pops: vec![5] });
        assert!(at(&[0xc3]).is_some() && at(&[0xf3, 0xc3]).is_some());
        assert!(at(&[0x5d, 0x48, 0xff, 0xe0]).is_some(), "a tail call through rax");
    }

    #[test]
    fn what_only_looks_like_one() {
        assert_eq!(at(&[0x5d, 0xeb, 0x10]), None, "a jump within the function");
        assert!(at(&[0x5d, 0xe9, 0, 0x10, 0, 0]).is_some(), "a jump out of it");
        assert_eq!(at(&[0x48, 0x83, 0xc4, 0x28, 0x90]), None);
        assert_eq!(at(&[0x5d]), None, "code that ends");
        assert_eq!(at(&[]), None);
    }
}
