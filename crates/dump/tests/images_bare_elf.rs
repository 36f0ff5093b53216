//! ELF files of machines without any note of their own, as QEMU writes them for arm64 guests that have no vmcoreinfo device.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

use afterimage_dump::{Arch, Budget, MemoryExt, Phys, open};
use std::io::Write as _;

const RAM: u64 = 1 << 30;

/// Two processors' NT_PRSTATUS and one piece of memory, with the flags given.
fn core(flags: u32) -> Vec<u8> {
    let mut notes = Vec::new();
    for number in 1u32..=2 {
        for word in [5u32, 392, 1] {
            notes.extend_from_slice(&word.to_le_bytes());
        }
        notes.extend_from_slice(b"CORE\0\0\0\0");
        let mut status = [0; 392];
        status[32..36].copy_from_slice(&number.to_le_bytes());
        // x0 to x30, sp, pc: the program counter.
        status[112 + 32 * 8..112 + 33 * 8].copy_from_slice(&0xffff_8000_0801_0000u64.to_le_bytes());
        notes.extend_from_slice(&status);
    }
    let memory = vec![0xa5u8; 0x2000];
    let notes_at = 64 + 2 * 56u64;
    let memory_at = notes_at + notes.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [4u16, 183] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, 2, 0, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    let mut segment = |kind: u32, flags: u32, words: [u64; 6]| {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        words.iter().for_each(|word| file.extend_from_slice(&word.to_le_bytes()));
    };
    segment(4, 0, [notes_at, 0, 0, notes.len() as u64, notes.len() as u64, 0]);
    segment(1, flags, [memory_at, RAM, RAM, memory.len() as u64, memory.len() as u64, 0]);
    file.extend_from_slice(&notes);
    file.extend_from_slice(&memory);
    file
}

#[test]
fn memory_without_protection_is_a_machines() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&core(0)).unwrap();
    let dump = open(file.path(), &Budget::default()).unwrap();
    assert_eq!(dump.arch, Arch::Aarch64);
    let machine = dump.machine.as_deref().unwrap();
    assert_eq!(machine.memory.read_uint(Phys(RAM + 8), 2, dump.endian).unwrap(), 0xa5a5);
    assert!(machine.memory.read_uint(Phys(8), 2, dump.endian).is_err());
    assert_eq!(machine.cpus.len(), 2);
    // Their numbers are no processes.
    assert!(machine.cpus.iter().all(|cpu| cpu.pid.is_none() && cpu.registers.pc().is_some()));
}

#[test]
fn memory_with_protection_is_a_processes() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&core(5)).unwrap();
    let dump = open(file.path(), &Budget::default()).unwrap();
    assert!(dump.machine.is_none() && dump.threads.len() == 2);
}
