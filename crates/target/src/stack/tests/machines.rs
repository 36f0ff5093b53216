//! Frame links, link registers and tagged pointers of processors other than x86-64.

use super::*;

fn big(word: u32) -> [u8; 4] {
    word.to_be_bytes()
}

fn little(word: u32) -> [u8; 4] {
    word.to_le_bytes()
}

#[test]
fn i386_frame_pointers_and_32_bits() {
    let code: &[(u64, &[u8])] = &[(0x40_1ffb, &[0xe8, 0, 0, 0, 0])];
    let world = Fake::new(Arch::X86, Endian::Little, code, &[0, STACK + 0x10, 0x40_2000, 0, 0, 0]);
    let found = world.walk(&[("eip", 0x40_1000), ("esp", STACK), ("ebp", STACK + 4)]);
    assert_eq!(shape(&found), [(0x40_1000, Trust::Context), (0x40_2000, Trust::FramePointer)]);
    assert_eq!(found.frames[1].registers.sp(), Some(Virt(STACK + 12)));
    assert_eq!(found.end, StackEnd::Outermost);
}

#[test]
fn aarch64_leaf_then_signed_frame_record() {
    // A leaf of one instruction at 0x1000; its caller at 0x2000 has a frame of 32 bytes, and a signed return address.
    let code: &[(u64, &[u8])] = &[
        (0x40_1ffc, &little(0x9400_0000)),
        (0x40_1f00, &little(0xa9be_7bfd)), // stp x29, x30, [sp, #-32]!
        (0x40_1f04, &little(0x9100_03fd)), // mov x29, sp
        (0x40_2ffc, &little(0x9400_0000)),
        (0x40_2f00, &little(0xa9be_7bfd)),
        (0x40_2f04, &little(0x9100_03fd)),
    ];
    let mut world =
        Fake::new(Arch::Aarch64, Endian::Little, code, &[STACK + 0x20, 0x002a_0000_0040_3000, 0, 0, 0, 0, 0, 0]);
    world.functions = vec![(0x40_1000, 0x40_1010, "leaf"), (0x40_1f00, 0x40_2010, "f"), (0x40_2f00, 0x40_3010, "g")];
    let found = world.walk(&[("pc", 0x40_1000), ("sp", STACK), ("fp", STACK), ("lr", 0x40_2000), ("x0", 1)]);
    assert_eq!(
        shape(&found),
        [(0x40_1000, Trust::Context), (0x40_2000, Trust::CallSite), (0x40_3000, Trust::FramePointer)]
    );
    assert_eq!(found.frames[1].registers.by_name("x0"), None, "does not survive a call");
    assert_eq!(found.frames[2].registers.sp(), Some(Virt(STACK + 0x20)), "by the prologue, not by the record's place");
    assert_eq!(found.end, StackEnd::Outermost);
}

#[test]
fn aarch64_call_of_null() {
    let world = Fake::new(Arch::Aarch64, Endian::Little, &[(0x40_1ffc, &little(0xd63f_0000))], &[0; 4]);
    let found = world.walk(&[("pc", 0), ("sp", STACK), ("lr", 0x40_2000), ("x0", 9)]);
    assert_eq!(shape(&found)[..2], [(0, Trust::Context), (0x40_2000, Trust::CallSite)]);
    assert_eq!(found.frames[1].registers.by_name("x0"), Some(9));
    assert_eq!(found.frames[1].registers.lr(), None, "the call has overwritten it");
}

#[test]
fn arm_frames_of_both_compilers() {
    for (fp, words) in [
        // clang: the record begins at the frame pointer; gcc: it ends there.
        (STACK + 8, [0, 0, STACK + 0x18, 0x40_2000, 0, 0, 0, 0]),
        (STACK + 12, [0, 0, STACK + 0x18, 0x40_2000, 0, 0, 0, 0]),
    ] {
        let world = Fake::new(Arch::Arm, Endian::Little, &[(0x40_1ffc, &little(0xeb00_0000))], &words);
        let found = world.walk(&[("pc", 0x40_1000), ("sp", STACK), ("r11", fp)]);
        assert_eq!(shape(&found)[..2], [(0x40_1000, Trust::Context), (0x40_2000, Trust::FramePointer)], "{fp:#x}");
        assert_eq!(found.frames[1].registers.fp(), Some(Virt(STACK + 0x18)));
    }
}

#[test]
fn riscv_and_loongarch_records_lie_below_the_frame_pointer() {
    for (arch, call) in [(Arch::Riscv64, 0x0000_00ef), (Arch::LoongArch64, 0x5400_0000)] {
        let code: &[(u64, &[u8])] = &[(0x40_1ffc, &little(call))];
        let world = Fake::new(arch, Endian::Little, code, &[0, 0, STACK + 0x40, 0x40_2000, 0, 0, 0, 0]);
        let found = world.walk(&[("pc", 0x40_1000), ("sp", STACK), ("fp", STACK + 0x20)]);
        assert_eq!(shape(&found), [(0x40_1000, Trust::Context), (0x40_2000, Trust::FramePointer)], "{arch}");
        assert_eq!(found.frames[1].registers.sp(), Some(Virt(STACK + 0x20)));
        assert_eq!(found.end, StackEnd::Outermost);
    }
}

#[test]
fn powerpc_back_chain() {
    let world = Fake::new(
        Arch::Ppc64,
        Endian::Big,
        &[(0x40_1ffc, &big(0x4800_0001))],
        // Frame, its caller's with the saved link register at 16, and the end.
        &[STACK + 0x20, 0, 0, 0, STACK + 0x40, 0, 0x40_2000, 0, 0, 0, 0],
    );
    let found = world.walk(&[("pc", 0x40_1000), ("r1", STACK)]);
    assert_eq!(shape(&found), [(0x40_1000, Trust::Context), (0x40_2000, Trust::FramePointer)]);
    assert_eq!(found.end, StackEnd::Outermost);
}

#[test]
fn sparc_windows_lie_at_the_biased_frame_pointer() {
    let mut words = vec![0u64; 48];
    // The caller's window: its fp and i7 are the last two words.
    words[16 + 14] = 0;
    words[16 + 8] = 42;
    let world = Fake::new(Arch::Sparc64, Endian::Big, &[(0x40_1ff8, &big(0x4000_0000))], &words);
    let found = world.walk(&[
        ("pc", 0x40_1000),
        ("sp", STACK - 2047),
        ("fp", STACK + 16 * 8 - 2047),
        ("i7", 0x40_1ff8),
        ("i0", 5),
    ]);
    assert_eq!(shape(&found), [(0x40_1000, Trust::Context), (0x40_2000, Trust::FramePointer)]);
    let caller = &found.frames[1].registers;
    assert_eq!((caller.by_name("i0"), caller.by_name("o0")), (Some(42), Some(5)));
    assert_eq!(found.end, StackEnd::Outermost);
}

#[test]
fn s390x_stack_pointer_is_not_the_canonical_address() {
    let mut world = Fake::new(Arch::S390x, Endian::Big, &[(0x40_1ffa, &[0xc0, 0xe5, 0, 0, 0, 0])], &[0; 64]);
    world.rule = Box::new(|at, cpu| {
        let sp = cpu.register(15).unwrap();
        Ok(Step { return_register: 14, outermost: at != 0x40_1000, ..step(sp + 160, vec![(14, Some(0x40_2000))]) })
    });
    let found = world.walk(&[("pswa", 0x40_1000), ("r15", STACK)]);
    assert_eq!(shape(&found), [(0x40_1000, Trust::Context), (0x40_2000, Trust::Cfi)]);
    assert_eq!(found.frames[1].registers.sp(), Some(Virt(STACK)), "a leaf that does not move it");
}
