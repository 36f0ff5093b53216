//! A small world for tests: bytes at addresses, ranges that are code, and unwind rules given by the test.
//!
//! Stacks of real programs are compared with other debuggers' in the crate's `tests` folder.

use super::purse::Limits;
use super::walk::walk;
use super::world::{Code, Cpu, Known, World};
use super::{Stack, StackEnd, Trust};
use afterimage_dump::{Absence, Arch, CodeAddr, Endian, Extent, Fault, Memory, Os, Registers, Virt};
use afterimage_symbols::{CfiSource, Machine, Step};
use std::time::{Duration, Instant};

mod hostile;
mod machines;
mod signals;

/// Bytes at addresses.
pub(super) struct Bytes(Vec<(u64, Vec<u8>)>);

impl Bytes {
    pub(super) fn new(parts: &[(u64, &[u8])]) -> Self {
        Self(parts.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect())
    }
}

impl Memory<Virt> for Bytes {
    fn read_at(&self, at: Virt, buf: &mut [u8]) -> Result<usize, Fault<Virt>> {
        for (start, bytes) in &self.0 {
            if let Some(rest) = at.0.checked_sub(*start).and_then(|skip| bytes.get(skip as usize..))
                && !rest.is_empty()
            {
                let n = rest.len().min(buf.len());
                buf[..n].copy_from_slice(&rest[..n]);
                return Ok(n);
            }
        }
        Err(Fault { at, why: Absence::NotMapped })
    }

    fn extents(&self) -> Vec<Extent<Virt>> {
        Vec::new()
    }
}

type Rule = Box<dyn Fn(u64, &mut Cpu<'_>) -> Result<Step, String>>;

struct Fake {
    arch: Arch,
    endian: Endian,
    memory: Bytes,
    code: Vec<(u64, u64)>,
    functions: Vec<(u64, u64, &'static str)>,
    rule: Rule,
}

const CODE: u64 = 0x40_0000;
const STACK: u64 = 0x7fff_0000;

impl Fake {
    /// 64 KiB of code, filled with `nop`s by the caller's choice, and a stack of words.
    fn new(arch: Arch, endian: Endian, code: &[(u64, &[u8])], stack: &[u64]) -> Self {
        let mut text = vec![0x90u8; 0x1_0000];
        for (at, bytes) in code {
            let at = (*at - CODE) as usize;
            text[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let size = arch.info().pointer_size;
        let mut bytes = Vec::new();
        for word in stack {
            match endian {
                Endian::Little => bytes.extend_from_slice(&word.to_le_bytes()[..size]),
                Endian::Big => bytes.extend_from_slice(&word.to_be_bytes()[8 - size..]),
            }
        }
        Self {
            arch,
            endian,
            memory: Bytes(vec![(CODE, text), (STACK, bytes)]),
            code: vec![(CODE, CODE + 0x1_0000)],
            functions: Vec::new(),
            rule: Box::new(|_, _| Err("no tables".to_owned())),
        }
    }

    fn x86_64(code: &[(u64, &[u8])], stack: &[u64]) -> Self {
        Self::new(Arch::X86_64, Endian::Little, code, stack)
    }

    fn walk(&self, registers: &[(&str, u64)]) -> Stack {
        self.walk_at_most(registers, 4096)
    }

    fn walk_at_most(&self, registers: &[(&str, u64)], max: usize) -> Stack {
        let mut start = Registers::new(self.arch);
        for (name, value) in registers {
            start.set(self.arch.info().slot(name).unwrap(), *value);
        }
        walk(self, start, Limits { frames: max, steps: 1_000_000 })
    }
}

impl World for Fake {
    fn arch(&self) -> Arch {
        self.arch
    }
    fn os(&self) -> Os {
        Os::Linux
    }
    fn endian(&self) -> Endian {
        self.endian
    }
    fn memory(&self) -> &dyn Memory<Virt> {
        &self.memory
    }
    fn code(&self, at: u64) -> Code {
        if self.code.iter().any(|(start, end)| (*start..*end).contains(&at)) { Code::Yes } else { Code::No }
    }
    fn region(&self, at: u64) -> Option<(u64, u64)> {
        let ends = self.memory.0.iter().map(|(start, bytes)| (*start, start + bytes.len() as u64));
        ends.into_iter().find(|(start, end)| (*start..*end).contains(&at))
    }
    fn cfi(&self, at: u64, cpu: &mut Cpu<'_>) -> Result<Step, String> {
        (self.rule)(at, cpu)
    }
    fn function(&self, at: u64) -> Option<Known> {
        let (start, _, name) = self.functions.iter().find(|(start, end, _)| (*start..*end).contains(&at))?;
        Some(Known { name: (*name).to_owned(), start: *start, plt: false })
    }
    fn lacks_code(&self) -> bool {
        false
    }
    fn in_module(&self, at: u64) -> bool {
        self.code(at) == Code::Yes
    }
    fn is_entry(&self, _at: u64) -> bool {
        false
    }
}

fn step(cfa: u64, registers: Vec<(u16, Option<u64>)>) -> Step {
    Step {
        cfa,
        registers,
        return_register: 16,
        signal_frame: false,
        outermost: false,
        source: CfiSource::EhFrame,
        function_start: None,
        parameter_size: 0,
    }
}

/// Addresses and trust of all frames.
fn shape(stack: &Stack) -> Vec<(u64, Trust)> {
    stack.frames.iter().map(|frame| (frame.address.address().0, frame.trust)).collect()
}

/// `call *%rax`, two bytes before a return address.
const CALL_RAX: &[u8] = &[0xff, 0xd0];

#[test]
fn call_of_null_gives_the_caller_with_all_its_registers() {
    let world = Fake::x86_64(&[(0x40_0ffe, CALL_RAX)], &[0x40_1000, 7]);
    let stack = world.walk(&[("rip", 0), ("rsp", STACK), ("rax", 0), ("rcx", 5), ("rbx", 6)]);
    assert_eq!(shape(&stack), [(0, Trust::Context), (0x40_1000, Trust::CallSite)]);
    let caller = &stack.frames[1];
    assert_eq!(caller.address, CodeAddr::Return(Virt(0x40_1000)));
    assert_eq!(caller.why, "0x0 is not code");
    assert_eq!(caller.registers.by_name("rcx"), Some(5), "nothing has run that could have changed it");
    assert_eq!(caller.registers.sp(), Some(Virt(STACK + 8)));
    assert_eq!(stack.frames[0].cfa, Some(Virt(STACK + 8)));
}

#[test]
fn a_return_into_nowhere_is_no_call() {
    // The word below the stack pointer is what `ret` took; above lies what was overwritten too.
    let mut world = Fake::x86_64(&[], &[0x4141_4141, 0x4141_4141, 0x4141_4141]);
    world.memory.0[0].1[0xffe..0x1000].copy_from_slice(CALL_RAX);
    let stack = world.walk(&[("rip", 0x4141_4141), ("rsp", STACK + 8)]);
    assert_eq!(stack.frames.len(), 1);
    let StackEnd::Lost(why) = stack.end else { panic!("{:?}", stack.end) };
    assert!(why.contains("was returned to, not called"), "{why}");
}

#[test]
fn frame_pointers_lead_to_the_outermost() {
    let code: &[(u64, &[u8])] = &[(0x40_1ffb, &[0xe8, 0, 0, 0, 0]), (0x40_2ffe, CALL_RAX)];
    // Two records: 0x10 -> 0x30, then the end.
    let stack = [0, 0, STACK + 0x30, 0x40_2000, 0, 0, 0, 0x40_3000];
    let world = Fake::x86_64(code, &stack);
    let found = world.walk(&[("rip", 0x40_1000), ("rsp", STACK), ("rbp", STACK + 0x10), ("rbx", 3)]);
    assert_eq!(
        shape(&found),
        [(0x40_1000, Trust::Context), (0x40_2000, Trust::FramePointer), (0x40_3000, Trust::FramePointer)]
    );
    assert_eq!(found.frames[1].registers.sp(), Some(Virt(STACK + 0x20)));
    assert_eq!(found.frames[1].registers.by_name("rbx"), Some(3), "survives a call");
    assert!(found.frames[1].why.starts_with("no tables"), "{}", found.frames[1].why);
}

#[test]
fn zeros_end_a_chain_of_frame_pointers_but_not_a_guess() {
    let world = Fake::x86_64(&[(0x40_1ffe, CALL_RAX)], &[STACK + 0x10, 0x40_2000, 0, 0]);
    let found = world.walk(&[("rip", 0x40_1000), ("rsp", STACK), ("rbp", STACK)]);
    assert_eq!((found.frames.len(), found.end), (2, StackEnd::Outermost));
    // The innermost frame's register may be any number.
    let found = world.walk(&[("rip", 0x40_1000), ("rsp", STACK + 0x10), ("rbp", STACK + 0x10)]);
    let StackEnd::Lost(why) = found.end else { panic!("{:?}", found.end) };
    assert!(why.contains("leads to zeros"), "{why}");
}

#[test]
fn a_circle_of_frame_pointers_ends() {
    let code: &[(u64, &[u8])] = &[(0x40_1ffe, CALL_RAX)];
    let world = Fake::x86_64(code, &[STACK + 0x10, 0x40_2000, STACK, 0x40_2000]);
    let found = world.walk(&[("rip", 0x40_1000), ("rsp", STACK), ("rbp", STACK)]);
    assert!(found.frames.len() <= 4, "{:?}", shape(&found));
    assert!(matches!(found.end, StackEnd::Lost(_) | StackEnd::Loop), "{:?}", found.end);
}

#[test]
fn a_circle_of_unwind_rules_is_a_loop() {
    for cfa in [STACK, STACK - 64] {
        let mut world = Fake::x86_64(&[(0x40_1ffe, CALL_RAX)], &[0; 64]);
        world.rule = Box::new(move |_, _| Ok(step(cfa, vec![(16, Some(0x40_2000))])));
        let found = world.walk(&[("rip", 0x40_2000), ("rsp", STACK)]);
        assert_eq!((found.frames.len(), found.end), (1, StackEnd::Loop));
    }
}

#[test]
fn a_stack_full_of_return_addresses_ends_quickly() {
    let world = Fake::x86_64(&[(0x40_1ffe, CALL_RAX)], &vec![0x40_2000; 1 << 17]);
    let started = Instant::now();
    let found = world.walk(&[("rip", 0x40_1000), ("rsp", STACK)]);
    assert!(found.frames.len() < 40, "{}", found.frames.len());
    assert!(matches!(found.end, StackEnd::Lost(_)), "{:?}", found.end);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn deep_recursion_keeps_both_ends() {
    let depth = 20_000u64;
    let mut world = Fake::x86_64(&[(0x40_1ffe, CALL_RAX)], &vec![0; depth as usize * 2 + 8]);
    let end = STACK + depth * 16;
    world.rule = Box::new(move |_, cpu| {
        let sp = cpu.register(7).unwrap();
        let mut step = step(sp + 16, vec![(16, Some(0x40_2000))]);
        step.outermost = sp >= end;
        Ok(step)
    });
    let found = world.walk_at_most(&[("rip", 0x40_1000), ("rsp", STACK)], 100);
    assert_eq!(found.end, StackEnd::Outermost);
    assert_eq!(found.frames.len(), 100);
    let gap = found.omitted.unwrap();
    assert_eq!((gap.at, gap.frames), (68, depth + 1 - 100));
    assert_eq!(found.frames[67].registers.sp(), Some(Virt(STACK + 67 * 16)));
    assert_eq!(found.frames[99].registers.sp(), Some(Virt(end)));
    // A stack that fits has no gap.
    assert_eq!(world.walk_at_most(&[("rip", 0x40_1000), ("rsp", end - 32)], 100).omitted, None);
}

#[test]
fn an_overwritten_return_address_is_shown_and_passed_over() {
    let code: &[(u64, &[u8])] = &[(0x40_2ffe, CALL_RAX)];
    let mut world = Fake::x86_64(code, &[0x4141_4141, 0x4141_4141, 0x4141_4141, 0x40_3000, 0]);
    world.rule = Box::new(|at, cpu| match at {
        0x40_1000 => Ok(step(cpu.register(7).unwrap() + 8, vec![(16, cpu.read(STACK, 8))])),
        _ => Ok(Step { outermost: true, ..step(0, Vec::new()) }),
    });
    let found = world.walk(&[("rip", 0x40_1000), ("rsp", STACK)]);
    assert_eq!(shape(&found), [(0x40_1000, Trust::Context), (0x4141_4141, Trust::Cfi), (0x40_3000, Trust::Scan)]);
    assert!(found.frames[1].why.contains("overwritten"), "{}", found.frames[1].why);
    assert_eq!(found.end, StackEnd::Outermost);
}

#[test]
fn a_scan_prefers_the_call_of_the_running_function() {
    // An old return address lies first; the second one is behind a call of the function itself.
    let call = |from: u64, to: u64| {
        let mut bytes = vec![0xe8];
        bytes.extend_from_slice(&(to.wrapping_sub(from) as u32).to_le_bytes());
        bytes
    };
    let code: &[(u64, &[u8])] = &[(0x40_1ffe, CALL_RAX), (0x40_2ffb, &call(0x40_3000, 0x40_1000))];
    let mut world = Fake::x86_64(code, &[1, 0x40_2000, 2, 0x40_3000, 3]);
    world.functions = vec![(0x40_1000, 0x40_1100, "running"), (0x40_2f00, 0x40_3100, "_start")];
    let found = world.walk(&[("rip", 0x40_1010), ("rsp", STACK)]);
    assert_eq!(shape(&found), [(0x40_1010, Trust::Context), (0x40_3000, Trust::Scan)]);
    assert_eq!(found.end, StackEnd::Outermost, "_start has no caller");
}

#[test]
fn missing_registers_are_an_empty_stack() {
    let stack = Fake::x86_64(&[], &[]).walk(&[("rax", 1)]);
    assert_eq!((stack.frames.len(), stack.end), (0, StackEnd::NoRegisters));
}
