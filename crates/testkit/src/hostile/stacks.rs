//! Stacks that never end, and unwind rules that run in circles.

use super::Hostile;
use crate::build_core::{CoreBuilder, ElfImage, Machine, Segment, Thread, call_frame};

const PROGRAM: u64 = 0x40_0000;
const CODE: u64 = PROGRAM + 0x1000;
const STACK: u64 = 0x7ffd_0000_0000;
const MAX: u64 = u64::MAX;

/// DWARF expression operators.
const SKIP: u8 = 0x2f;
const DUP: u8 = 0x12;
/// DW_CFA_def_cfa_expression, DW_CFA_remember_state.
const CFA_EXPRESSION: u8 = 0x0f;
const REMEMBER: u8 = 0x0a;

/// 64 bytes of calls: any address from 5 on follows a call instruction, as a scanner wants it.
fn calls() -> Vec<u8> {
    [0xe8, 0, 0, 0, 0].repeat(800)
}

fn program() -> ElfImage {
    ElfImage::new(PROGRAM).build_id(&[7; 20]).code(calls())
}

fn thread(pc: u64, sp: u64, fp: u64) -> Thread {
    Thread::new(1).signal(11).register("rip", pc).register("rsp", sp).register("rbp", fp)
}

fn process(image: &ElfImage, thread: Thread, stack: Segment) -> Vec<u8> {
    CoreBuilder::new(Machine::X86_64)
        .thread(thread)
        .auxv(&[(3, image.program_headers_address()), (4, 56), (5, image.program_headers_count()), (6, 4096)])
        .segment(image.segment())
        .segment(stack)
        .build()
}

/// A process whose only function has this call-frame program, and whose stack is full of its address.
fn rule(name: &str, instructions: Vec<u8>) -> Hostile {
    Hostile::new(format!("stack/{name}"), move || {
        let image = program().function(0, 4000, &instructions);
        process(&image, thread(CODE + 5, STACK, STACK), Segment::words(STACK, &[CODE + 5; 8192]))
    })
}

/// Frame records: `links` gives the saved frame pointer of the record with this number.
fn records(count: u64, link: impl Fn(u64) -> u64) -> Segment {
    let words: Vec<_> = (0..count).flat_map(|number| [link(number), CODE + 5]).collect();
    Segment::words(STACK, &words)
}

fn frames(name: &str, count: u64, link: impl Fn(u64) -> u64 + 'static) -> Hostile {
    Hostile::new(format!("stack/{name}"), move || {
        process(&program(), thread(CODE + 5, STACK, STACK), records(count, &link))
    })
}

/// Many threads that all begin at the first record: each walk is sound, and all together have no end.
fn chain_of_many(name: &str, count: u64, threads: u32) -> Hostile {
    Hostile::new(format!("stack/{name}"), move || {
        let image = program();
        let core = CoreBuilder::new(Machine::X86_64)
            .segment(image.segment())
            .segment(records(count, |number| STACK + (number + 1) * 16));
        let thread =
            |tid| Thread::new(tid).signal(11).register("rip", CODE + 5).register("rsp", STACK).register("rbp", STACK);
        (1..=threads).fold(core, |core, tid| core.thread(thread(tid))).build()
    })
}

fn registers(name: &str, pc: u64, sp: u64, fp: u64) -> Hostile {
    Hostile::new(format!("stack/{name}"), move || {
        process(&program(), thread(pc, sp, fp), Segment::new(STACK, vec![0; 4096]))
    })
}

pub(super) fn inputs() -> Vec<Hostile> {
    let bomb = || Segment::words(STACK, &[CODE + 5; 1 << 20]);
    let expression = |bytes: &[u8]| {
        let mut program = vec![CFA_EXPRESSION, bytes.len() as u8];
        program.extend_from_slice(bytes);
        program.extend(call_frame::return_address_on_top().into_iter().skip(3));
        program
    };
    vec![
        Hostile::new("stack/full-of-return-addresses", move || process(&program(), thread(CODE + 5, STACK, 0), bomb())),
        Hostile::new("stack/full-of-return-addresses-from-null", move || {
            process(&program(), thread(0, STACK, 0), bomb())
        }),
        Hostile::new("stack/full-of-return-addresses-5000-threads", move || {
            let image = program();
            let core = CoreBuilder::new(Machine::X86_64).segment(image.segment()).segment(bomb());
            (1..5000)
                .fold(core, |core, tid| {
                    core.thread(
                        Thread::new(tid)
                            .signal(11)
                            .register("rip", CODE + 5)
                            .register("rsp", STACK + u64::from(tid) * 8),
                    )
                })
                .build()
        }),
        chain_of_many("frame-pointer-chain-of-4000-for-20000-threads", 4000, 20_000),
        chain_of_many("frame-pointer-chain-of-500000-for-5000-threads", 500_000, 5000),
        frames("frame-pointer-to-itself", 4, |_| STACK),
        frames("frame-pointer-loop-of-two", 2, |number| STACK + (1 - number.min(1)) * 16),
        frames("frame-pointer-goes-down", 4096, |number| (STACK + number * 16).wrapping_sub(16)),
        frames("frame-pointer-by-one-byte", 4096, |number| STACK + number * 16 + 1),
        frames("frame-pointer-max", 4, |_| MAX - 7),
        frames("frame-pointer-chain-of-500000", 500_000, |number| STACK + (number + 1) * 16),
        rule("rule-same-stack-pointer", call_frame::same_stack_pointer()),
        rule("rule-return-address-on-top", call_frame::return_address_on_top()),
        rule("rule-expression-loops", expression(&[SKIP, 0xfd, 0xff])),
        rule("rule-expression-piles-up", expression(&[0x30, DUP, SKIP, 0xfc, 0xff])),
        rule("rule-expression-empty", expression(&[])),
        rule("rule-expression-cut", expression(&[0x0e, 1, 2])),
        rule("rule-remembers-2000-times", vec![REMEMBER; 2000]),
        rule("rule-restores-what-was-not-saved", vec![0x0b; 16]),
        rule("rule-unknown-instruction", vec![0x3f; 16]),
        rule("rule-register-number-max", vec![0x0c, 0xff, 0xff, 0xff, 0xff, 0x0f, 8]),
        rule("rule-offset-max", vec![0x0c, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x90, 1]),
        registers("sp-max", CODE, MAX, MAX),
        registers("sp-max-aligned", CODE, MAX - 7, MAX - 15),
        registers("sp-odd", CODE, STACK + 1, STACK + 3),
        registers("sp-zero", CODE, 0, 0),
        registers("sp-last-byte-of-stack", CODE, STACK + 4095, STACK + 4090),
        registers("pc-max", MAX, STACK, STACK),
        registers("pc-not-canonical", 1 << 63 | 0x1234, STACK, STACK),
        registers("pc-on-stack", STACK + 16, STACK, STACK),
        registers("pc-last-byte-of-code", CODE + 3999, STACK, STACK),
    ]
}
