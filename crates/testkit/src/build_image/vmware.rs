//! VMware's saved states, with the memory inside or for a `.vmem` beside them.

use crate::build_core::pen::Pen;

/// What a state says.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Magic number, as 0xbed2_bed2.
    pub magic: u32,
    /// Regions: place in the file, in physical memory, and how many, all in pages.
    pub regions: Vec<(u32, u32, u32)>,
    /// The memory, if it is inside.
    pub memory: Option<Vec<u8>>,
    /// Bytes before the memory, as programs write them so that it begins with a page.
    pub padding: u16,
    /// For each processor the number that its first register holds, and CR3.
    pub cpus: Vec<(u64, u64)>,
    /// Whether registers come in blocks, as new programs write them.
    pub blocks: bool,
}

/// Writes it.
#[must_use]
pub fn build(state: &State) -> Vec<u8> {
    let word = if state.magic & 15 == 0 { 4 } else { 8 };
    let groups = [("Checkpoint", Vec::new()), ("cpu", cpu(state, word)), ("memory", memory(state, word))];
    let mut pen = Pen::little();
    pen.u32(state.magic);
    pen.u32(8);
    pen.u32(groups.len() as u32);
    let mut at = 12 + 80 * groups.len() as u64;
    for (name, content) in &groups {
        let mut field = name.as_bytes().to_vec();
        field.resize(64, 0);
        pen.bytes(&field);
        pen.u64(at);
        pen.u64(content.len() as u64 + 2);
        at += content.len() as u64 + 2;
    }
    for (_, content) in &groups {
        pen.bytes(content);
        pen.u16(0);
    }
    pen.into_bytes()
}

fn tag(pen: &mut Pen, name: &str, indices: &[u32], size: u16) {
    pen.u16((name.len() as u16) << 8 | (indices.len() as u16) << 6 | size);
    pen.bytes(name.as_bytes());
    for index in indices {
        pen.u32(*index);
    }
}

fn number(pen: &mut Pen, name: &str, indices: &[u32], value: u32) {
    tag(pen, name, indices, 4);
    pen.u32(value);
}

fn long(pen: &mut Pen, name: &str, indices: &[u32], value: u64) {
    tag(pen, name, indices, 8);
    pen.u64(value);
}

fn block(pen: &mut Pen, word: usize, name: &str, indices: &[u32], padding: u16, content: &[u8]) {
    tag(pen, name, indices, 63);
    for _ in 0..2 {
        pen.number(content.len() as u64, word);
    }
    pen.u16(padding);
    pen.bytes(&vec![0xee; usize::from(padding)]);
    pen.bytes(content);
}

fn memory(state: &State, word: usize) -> Vec<u8> {
    let mut pen = Pen::little();
    number(&mut pen, "align_mask", &[], 0xfff);
    number(&mut pen, "regionsCount", &[], state.regions.len() as u32);
    for (i, (file, phys, size)) in state.regions.iter().enumerate() {
        number(&mut pen, "regionPageNum", &[i as u32], *file);
        number(&mut pen, "regionPPN", &[i as u32], *phys);
        number(&mut pen, "regionSize", &[i as u32], *size);
    }
    if let Some(memory) = &state.memory {
        block(&mut pen, word, "Memory", &[0, 0], state.padding, memory);
    }
    pen.into_bytes()
}

fn cpu(state: &State, word: usize) -> Vec<u8> {
    const NAMES: [&str; 16] =
        ["rax", "rcx", "rdx", "rbx", "rbp", "rsp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
    let mut pen = Pen::little();
    number(&mut pen, "cpu:numVCPUs", &[], state.cpus.len() as u32);
    for (i, (first, cr3)) in state.cpus.iter().enumerate() {
        let i = i as u32;
        let control = [0x8005_0033, 0, 0xabc, *cr3, 0x6f0, 0, 0, 0, 0];
        if state.blocks {
            let mut registers = Pen::little();
            for number in 0..16 {
                registers.u64(first + number);
            }
            block(&mut pen, word, "gpregs", &[i], 0, &registers.into_bytes());
            let mut words = Pen::little();
            for value in control {
                words.u64(value);
            }
            block(&mut pen, word, "CR64", &[i], 0, &words.into_bytes());
            let mut table = Pen::little();
            table.u16(0xfff);
            table.u64(0xffff_fe00_0000_0000);
            block(&mut pen, word, "IDTR", &[i], 0, &table.into_bytes());
        } else {
            for (number, name) in NAMES.iter().enumerate() {
                long(&mut pen, name, &[i], first + number as u64);
            }
            for (number, value) in control.iter().take(5).enumerate() {
                long(&mut pen, "CR64", &[i, number as u32], *value);
            }
            number(&mut pen, "IDTR", &[i, 0], 0xfff);
            number(&mut pen, "IDTR", &[i, 1], 0);
            number(&mut pen, "IDTR", &[i, 2], 0xffff_fe00);
        }
        long(&mut pen, "rip", &[i], first + 16);
        number(&mut pen, "eflags", &[i], 0x246);
    }
    pen.into_bytes()
}
