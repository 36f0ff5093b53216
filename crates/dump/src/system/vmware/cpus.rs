//! Registers out of the `cpu` group.
//!
//! *Trap*: the same register comes in two ways, by the age of the program: as a number of its own (`rax[cpu]`), or in a
//! block of all of them (`gpregs[cpu]`); control registers as `CR64[cpu][number]` or a block; the interrupt table as
//! `IDTR[cpu][part]` of 4 bytes or a block of limit (2) and base (8).

use super::tags::{Content, Group, Tag, small_block, walk};
use crate::bytes::Fields;
use crate::system::named_registers;
use crate::system::opening::Opening;
use crate::{Arch, Cpu, Endian, Error};
use std::collections::BTreeMap;

/// The order of `gpregs` (crash's `struct vmssregs64`: that of the encodings, but rbp before rsp).
const ORDER: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rbp", "rsp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const CONTROL: [&str; 5] = ["cr0", "cr1", "cr2", "cr3", "cr4"];
const MOST_CPUS: u32 = 4096;

#[derive(Default)]
struct Draft {
    values: Vec<(&'static str, u64)>,
    control: BTreeMap<&'static str, u64>,
}

pub(super) fn read(opening: &Opening<'_>, group: &Group) -> Result<Vec<Cpu>, Error> {
    let mut drafts: BTreeMap<u32, Draft> = BTreeMap::new();
    let most = (opening.budget.max_threads as u64).min(u64::from(MOST_CPUS)) as u32;
    walk(opening, group, &mut |tag: &Tag, content| {
        let Some(&number) = tag.indices.first().filter(|&&number| number < most) else { return };
        let part = tag.indices.get(1).copied();
        match (tag.name.as_str(), content) {
            ("CR64" | "CR", Content::Value(value)) => {
                if let Some(name) = part.and_then(|part| CONTROL.get(part as usize)) {
                    drafts.entry(number).or_default().control.insert(name, *value);
                }
            }
            ("IDTR", Content::Value(value)) => match part {
                Some(0) => drop(drafts.entry(number).or_default().control.insert("idt_limit", *value)),
                Some(1) => {
                    *drafts.entry(number).or_default().control.entry("idt_base").or_default() |= value & 0xffff_ffff
                }
                Some(2) => *drafts.entry(number).or_default().control.entry("idt_base").or_default() |= value << 32,
                _ => {}
            },
            ("eflags" | "EFLAGS", Content::Value(value)) => {
                drafts.entry(number).or_default().values.push(("eflags", *value))
            }
            ("rip", Content::Value(value)) => drafts.entry(number).or_default().values.push(("rip", *value)),
            (name, Content::Value(value)) => {
                if let Some(name) = ORDER.iter().find(|own| **own == name) {
                    drafts.entry(number).or_default().values.push((name, *value));
                }
            }
            (name @ ("gpregs" | "CR64" | "IDTR"), &Content::Block { at, bytes, in_memory, packed }) => {
                if let Some(block) = small_block(&**opening.source, at, bytes, in_memory, packed) {
                    add_block(drafts.entry(number).or_default(), name, &block);
                }
            }
            _ => {}
        }
    })?;
    let cpu = |(index, draft): (u32, Draft)| Cpu {
        index,
        pid: None,
        registers: named_registers(Arch::X86_64, &draft.values),
        control: draft.control.into_iter().collect(),
    };
    Ok(drafts.into_iter().map(cpu).collect())
}

fn add_block(draft: &mut Draft, name: &str, block: &[u8]) {
    let fields = Fields::new(block, Endian::Little);
    match (name, block.len()) {
        ("gpregs", 128) => {
            let values = ORDER.iter().enumerate().filter_map(|(i, name)| Some((*name, fields.u64(8 * i)?)));
            draft.values.extend(values);
        }
        ("CR64", 72) => {
            let values = CONTROL.iter().enumerate().filter_map(|(i, name)| Some((*name, fields.u64(8 * i)?)));
            draft.control.extend(values);
        }
        ("IDTR", 10) => {
            draft.control.extend(fields.u16(0).map(|limit| ("idt_limit", u64::from(limit))));
            draft.control.extend(fields.u64(2).map(|base| ("idt_base", base)));
        }
        _ => {}
    }
}
