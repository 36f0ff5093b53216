//! Signal frames by their bytes. The layouts were written down from the kernel's headers for these tests too, in words
//! from the stack pointer on, so that a slip in the reader's tables shows.

use super::*;

/// Stack pointer that was interrupted: on another stack, below the handler's.
const OTHER: u64 = 0x6000_0000;

fn interrupted(world: &mut Fake) {
    world.memory.0.push((OTHER, vec![0; 64]));
}

#[test]
fn x86_64_handler_on_its_own_stack() {
    // pretcode was popped: flags, link, stack (3), r8…r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags.
    let mut words = vec![0u64; 64];
    words[5..13].copy_from_slice(&[8, 9, 10, 11, 12, 13, 14, 15]);
    words[13..23].copy_from_slice(&[105, 104, 106, 103, 101, 100, 102, OTHER, 0x40_5000, 0x246]);
    for load in [&[0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05][..], &[0xb8, 15, 0, 0, 0, 0x0f, 0x05]] {
        let mut world = Fake::x86_64(&[(0x40_3000, load)], &words);
        interrupted(&mut world);
        let found = world.walk(&[("rip", 0x40_3000), ("rsp", STACK), ("fs_base", 77)]);
        assert_eq!(shape(&found), [(0x40_3000, Trust::Context), (0x40_5000, Trust::SignalFrame)]);
        assert!(found.frames[0].signal_trampoline);
        let frame = &found.frames[1];
        assert_eq!(frame.address, CodeAddr::Exact(Virt(0x40_5000)));
        for (name, value) in [("r8", 8), ("r15", 15), ("rdi", 105), ("rsi", 104), ("rbp", 106), ("rbx", 103)] {
            assert_eq!(frame.registers.by_name(name), Some(value), "{name}");
        }
        for (name, value) in [("rdx", 101), ("rax", 100), ("rcx", 102), ("rsp", OTHER), ("eflags", 0x246)] {
            assert_eq!(frame.registers.by_name(name), Some(value), "{name}");
        }
        assert_eq!(frame.registers.by_name("fs_base"), Some(77), "does not change within a thread");
    }
}

#[test]
fn i386_both_kinds() {
    // gs fs es ds edi esi ebp esp ebx edx ecx eax trapno err eip cs eflags esp ss
    let saved = [0x63, 0, 0x2b, 0x2b, 7, 6, 5, OTHER, 3, 2, 1, 100, 14, 4, 0x40_5000, 0x23, 0x246, OTHER, 0x2b];
    let check = |code: &[u8], words: &[u64], pc: u64, sp: u64| {
        let mut world = Fake::new(Arch::X86, Endian::Little, &[(0x40_3000, code)], words);
        interrupted(&mut world);
        let found = world.walk(&[("eip", pc), ("esp", sp)]);
        assert_eq!(shape(&found)[1], (0x40_5000, Trust::SignalFrame));
        let registers = &found.frames[1].registers;
        for (name, value) in [("edi", 7), ("esi", 6), ("ebp", 5), ("esp", OTHER), ("ebx", 3), ("eax", 100)] {
            assert_eq!(registers.by_name(name), Some(value), "{name}");
        }
        assert_eq!((registers.by_name("ss"), registers.by_name("cs")), (Some(0x2b), Some(0x23)));
    };
    let mut old = vec![11];
    old.extend(saved);
    let code = [0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80];
    check(&code, &old, 0x40_3000, STACK);
    check(&code, &old, 0x40_3001, STACK + 4);
    check(&code, &old, 0x40_3006, STACK + 4);
    // signal number, siginfo pointer, ucontext pointer; ucontext: flags, link, stack (3).
    let mut rt = vec![11, 0, STACK + 16, 0, 0, 0, 0, 0, 0];
    rt.extend(saved);
    check(&[0xb8, 173, 0, 0, 0, 0xcd, 0x80], &rt, 0x40_3000, STACK);
}

#[test]
fn aarch64_and_riscv_and_loongarch() {
    let case = |arch, code: [u32; 2], block: &[u64], wanted: &[(&str, u64)]| {
        let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        // siginfo is 128 bytes, the registers are 176 bytes into ucontext.
        let mut words = vec![0u64; 38];
        words.extend(block);
        let mut world = Fake::new(arch, Endian::Little, &[(0x40_3000, &code)], &words);
        interrupted(&mut world);
        let found = world.walk(&[("pc", 0x40_3000), ("sp", STACK)]);
        assert_eq!(shape(&found)[1], (0x40_5000, Trust::SignalFrame), "{arch}");
        for (name, value) in wanted {
            assert_eq!(found.frames[1].registers.by_name(name), Some(*value), "{arch} {name}");
        }
    };
    let mut block = vec![0xfa];
    block.extend(0..31);
    block.extend([OTHER, 0x40_5000, 0x6000_0000]);
    case(
        Arch::Aarch64,
        [0xd280_1168, 0xd400_0001],
        &block,
        &[("x0", 0), ("x19", 19), ("fp", 29), ("lr", 30), ("sp", OTHER), ("cpsr", 0x6000_0000)],
    );
    let mut block = vec![0x40_5000, 1, OTHER];
    block.extend(3..32);
    case(Arch::Riscv64, [0x08b0_0893, 0x73], &block, &[("ra", 1), ("sp", OTHER), ("fp", 8), ("t6", 31)]);
    let mut block = vec![0x40_5000, 0, 1, 2, OTHER];
    block.extend(4..32);
    case(Arch::LoongArch64, [0x0382_2c0b, 0x002b_0000], &block, &[("ra", 1), ("sp", OTHER), ("fp", 22)]);
}

#[test]
fn arm_and_s390x() {
    // ucontext: flags, link, stack (3); trap number, error, mask; r0…r15, cpsr.
    let mut words = vec![0u64; 8];
    words.extend(0..13);
    words.extend([OTHER, 14, 0x40_5000, 0x10]);
    let code: Vec<u8> = [0xe3a0_7077u32, 0xef00_0000].iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut world = Fake::new(Arch::Arm, Endian::Little, &[(0x40_3000, &code)], &words);
    interrupted(&mut world);
    let found = world.walk(&[("pc", 0x40_3000), ("sp", STACK)]);
    assert_eq!(shape(&found)[1], (0x40_5000, Trust::SignalFrame));
    assert_eq!(found.frames[1].registers.by_name("r11"), Some(11));

    // Save area (20 words), siginfo (16), flags, link, stack (3), psw mask, psw address, r0…r15.
    let mut words = vec![0u64; 20 + 16 + 5];
    words.extend([0x0705_0001_8000_0000, 0x40_5000]);
    words.extend(0..15);
    words.push(OTHER);
    let mut world = Fake::new(Arch::S390x, Endian::Big, &[(0x40_3000, &[0x0a, 173])], &words);
    interrupted(&mut world);
    let found = world.walk(&[("pswa", 0x40_3000), ("r15", STACK)]);
    assert_eq!(shape(&found)[1], (0x40_5000, Trust::SignalFrame));
    assert_eq!(found.frames[1].registers.by_name("r11"), Some(11));
    assert_eq!(found.frames[1].registers.sp(), Some(Virt(OTHER)));
}

#[test]
fn a_signal_frame_that_leads_to_itself_ends() {
    let mut words = vec![0u64; 64];
    words[20] = STACK;
    words[21] = 0x40_3000;
    let world = Fake::x86_64(&[(0x40_3000, &[0xb8, 15, 0, 0, 0, 0x0f, 0x05])], &words);
    let found = world.walk(&[("rip", 0x40_3000), ("rsp", STACK)]);
    assert_eq!(found.end, StackEnd::Loop);
    assert!(found.frames.len() <= 3);
}
