//! Unwind data that lies, repeats itself, or is not there: images made by hand, in memory layout.

use super::*;
use crate::{CfiMiss, Machine, ModuleSymbols, Step};

const PDATA: usize = 0x400;
const XDATA: usize = 0x600;
const CODE: usize = 0x1000;

/// An image with an exception directory of one entry or more.
struct Image(Vec<u8>);

impl ImageBytes for Image {
    fn read(&self, rva: u32, buf: &mut [u8]) -> usize {
        let rest = self.0.get(rva as usize..).unwrap_or_default();
        let have = rest.len().min(buf.len());
        buf[..have].copy_from_slice(&rest[..have]);
        have
    }
}

fn put(bytes: &mut [u8], at: usize, words: &[u32]) {
    for (index, word) in words.iter().enumerate() {
        bytes[at + 4 * index..][..4].copy_from_slice(&word.to_le_bytes());
    }
}

fn image(machine: u16, table: u32) -> Vec<u8> {
    let mut bytes = vec![0u8; 0x2000];
    bytes[..2].copy_from_slice(b"MZ");
    put(&mut bytes, 0x3c, &[0x80]);
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
    bytes[0x94..0x96].copy_from_slice(&240u16.to_le_bytes());
    bytes[0x98..0x9a].copy_from_slice(&0x20bu16.to_le_bytes());
    put(&mut bytes, 0x98 + 56, &[0x2000, 0x400]);
    put(&mut bytes, 0x98 + 108, &[16]);
    put(&mut bytes, 0x98 + 112 + 8 * DIRECTORY_EXCEPTION, &[PDATA as u32, table]);
    bytes
}

struct Stack {
    words: Vec<u64>,
    innermost: bool,
}

const STACK: u64 = 0x10_0000;

impl Machine for Stack {
    fn register(&self, dwarf: u16) -> Option<u64> {
        Some(match dwarf {
            7 | 31 => STACK,
            30 => 0x9999,
            _ => 0x5000 + u64::from(dwarf),
        })
    }
    fn read(&self, address: u64, _size: usize) -> Option<u64> {
        self.words.get(usize::try_from(address.checked_sub(STACK)? / 8).ok()?).copied()
    }
    fn bias(&self) -> u64 {
        0
    }
    fn is_innermost(&self) -> bool {
        self.innermost
    }
}

fn unwind(bytes: Vec<u8>, past: u64, innermost: bool) -> Result<Step, CfiMiss> {
    let image = Arc::new(PeImage::of_memory(Arc::new(Image(bytes))).unwrap());
    let symbols = ModuleSymbols::from_pe(Some(image), None);
    symbols.unwind(CODE as u64 + past, &Stack { words: (0..64).map(|index| 0x4000 + index).collect(), innermost })
}

/// One x64 function of 0x100 bytes with these bytes of unwind data.
fn x64(unwind_info: &[u8]) -> Vec<u8> {
    let mut bytes = image(MACHINE_AMD64, 12);
    put(&mut bytes, PDATA, &[CODE as u32, CODE as u32 + 0x100, XDATA as u32]);
    bytes[XDATA..XDATA + unwind_info.len()].copy_from_slice(unwind_info);
    bytes[CODE..CODE + 0x100].fill(0x90);
    bytes
}

#[test]
fn a_prologue_is_undone_as_far_as_it_has_come() {
    // push rbp (1 byte), sub rsp,0x20 (to byte 5): codes in the order of undoing.
    let info = [1, 5, 2, 0, 5, 0x32, 1, 0x50];
    let body = unwind(x64(&info), 0x40, true).unwrap();
    assert_eq!((body.cfa, body.return_address(), body.register(6)), (STACK + 0x30, Some(0x4005), Some(0x4004)));
    let pushed = unwind(x64(&info), 1, true).unwrap();
    assert_eq!((pushed.cfa, pushed.return_address(), pushed.register(6)), (STACK + 0x10, Some(0x4001), Some(0x4000)));
    let entry = unwind(x64(&info), 0, true).unwrap();
    assert_eq!((entry.cfa, entry.return_address()), (STACK + 8, Some(0x4000)));
    // add rsp,0x20; pop rbp; ret: from the pop on.
    let mut leaving = x64(&info);
    leaving[CODE + 0x50..][..6].copy_from_slice(&[0x48, 0x83, 0xc4, 0x20, 0x5d, 0xc3]);
    let end = unwind(leaving.clone(), 0x54, true).unwrap();
    assert_eq!((end.cfa, end.return_address(), end.register(6)), (STACK + 0x10, Some(0x4001), Some(0x4000)));
    // For a return address the same bytes are no epilogue.
    assert_eq!(unwind(leaving, 0x54, false).unwrap().cfa, STACK + 0x30);
}

#[test]
fn a_trap_frame_gives_the_exact_place() {
    let info = [1, 0, 1, 0, 0, 0x0a];
    let step = unwind(x64(&info), 0x40, false).unwrap();
    assert!(step.signal_frame);
    assert_eq!((step.return_address(), step.cfa), (Some(0x4000), 0x4003));
    let with_code = unwind(x64(&[1, 0, 1, 0, 0, 0x1a]), 0x40, false).unwrap();
    assert_eq!((with_code.return_address(), with_code.cfa), (Some(0x4001), 0x4004));
}

#[test]
fn chains_that_do_not_end_are_left() {
    // Its own parent.
    let mut info = vec![0x21, 0, 0, 0];
    for word in [CODE as u32, CODE as u32 + 0x100, XDATA as u32] {
        info.extend(word.to_le_bytes());
    }
    let miss = unwind(x64(&info), 0x40, false).unwrap_err();
    assert!(miss.to_string().contains("on and on"), "{miss}");
    let image = Arc::new(PeImage::of_memory(Arc::new(Image(x64(&info)))).unwrap());
    assert!(ModuleSymbols::from_pe(Some(image), None).function(CODE as u64).is_none());
}

#[test]
fn cut_and_absurd_data_says_why() {
    let cut = x64(&[1, 5, 2, 0]);
    for (name, bytes) in [
        ("version", x64(&[7, 0, 0, 0])),
        ("code", x64(&[1, 0, 1, 0, 0, 0x0c])),
        ("not in the dump", {
            let mut far = x64(&[]);
            put(&mut far, PDATA + 8, &[0xffff_0000]);
            far
        }),
        ("not in the dump", {
            let mut none = x64(&[]);
            put(&mut none, 0x98 + 112 + 8 * DIRECTORY_EXCEPTION, &[0xf000_0000, 0xffff_ffff]);
            none
        }),
    ] {
        let miss = unwind(bytes, 0x40, false).unwrap_err().to_string();
        assert!(miss.contains(name), "{name}: {miss}");
    }
    assert!(unwind(cut, 0x40, false).is_ok());
    // Registers that are saved where nothing can be read are lost, and the way goes on.
    let lost = unwind(x64(&[1, 0, 2, 0, 0, 0x34, 0xff, 0xff]), 0x40, false).unwrap();
    assert_eq!(lost.registers.iter().find(|(number, _)| *number == 3), Some(&(3, None)));
    for count in [0u8, 1, 3, 255] {
        for op in 0..=255u8 {
            let _ = unwind(x64(&[1, 0, count, 0x5f, 0xff, op, 0xff, 0xff, 0xff, 0xff]), 0x40, op & 1 == 0);
        }
    }
}

#[test]
fn arm64_frames_by_packed_data_and_records() {
    let with = |word: u32| {
        let mut bytes = image(MACHINE_ARM64, 8);
        put(&mut bytes, PDATA, &[CODE as u32, word]);
        bytes
    };
    // stp x19,x20,[sp,#-16]!; stp fp,lr,[sp,#-32]!; mov fp,sp: fp is known as 0x501d, so no frame is read there.
    let packed = with(1 | 16 << 2 | 2 << 16 | 3 << 21 | 3 << 23);
    let entry = unwind(packed.clone(), 0, true).unwrap();
    assert_eq!((entry.cfa, entry.return_address()), (STACK, Some(0x9999)));
    let half = unwind(packed.clone(), 8, true).unwrap();
    assert_eq!((half.cfa, half.return_address(), half.register(19)), (STACK + 48, Some(0x4001), Some(0x4004)));
    // Its epilogue: the last instruction is the return, before it stand the two loads.
    let end = unwind(packed, 0x38, true).unwrap();
    assert_eq!((end.cfa, end.return_address(), end.register(19)), (STACK + 16, Some(0x9999), Some(0x4000)));
    // A record: 0x40 bytes, one word of codes: save_fplr_x 16, end.
    let mut record = with(XDATA as u32);
    put(&mut record, XDATA, &[0x10 | 1 << 27, u32::from_le_bytes([0x81, 0xe4, 0xe4, 0xe4])]);
    let body = unwind(record.clone(), 0x20, false).unwrap();
    assert_eq!((body.cfa, body.return_address(), body.register(29)), (STACK + 16, Some(0x4001), Some(0x4000)));
    // Behind the function there is none.
    assert_eq!(unwind(record, 0x80, false), Err(CfiMiss::NotCovered));
    for word in [u32::MAX, 3, 0xffff_fffc, 0x1fff_fffe] {
        let _ = unwind(with(word), 0x20, true);
    }
    let mut wild = with(XDATA as u32);
    put(&mut wild, XDATA, &[0x3ffff, u32::MAX, u32::MAX]);
    let _ = unwind(wild, 0x20, true);
}

#[test]
fn files_that_are_none() {
    let blob = |bytes: &[u8]| -> Blob { Arc::new(bytes.to_vec()) };
    for bytes in [&b""[..], b"MZ", &[0u8; 64]] {
        assert_eq!(PeImage::of_file(blob(bytes)).err(), Some(Error::NotPe));
    }
    let mut cut = image(MACHINE_AMD64, 12);
    cut.truncate(0xa0);
    assert!(PeImage::of_file(blob(&cut)).is_err());
}
