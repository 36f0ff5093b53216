//! sadump: what the firmware of Fujitsu's machines writes of a machine whose kernel cannot any more.
//!
//! *What it is*: one partition, the first disk of a set, or a copy on other media; bitmaps, states of the processors as
//! their system management mode saved them, and packed pages.
//!
//! *What it is not*: it joins no disk set: pages on the other disks are not in this dump.
//!
//! *Trap*: bits count from the most significant one, against every other bitmap of a dump here.
//!
//! Folklore (crash's and libkdumpfile's sadump.c; Fujitsu never published it): the first block is filled up with numbers,
//! each 11 × (the one before + 7), and where they stop says how large a block is. A copy on other media has a block of
//! 4096 bytes before that.

use super::opening::{Opening, seconds_of};
use super::ranked::{BitRange, RankedMemory};
use super::ranks::Bitmap;
use super::{machine_dump, named_registers};
use crate::bytes::Fields;
use crate::source::{SharedSource, Source};
use crate::{Absence, Arch, Budget, Cpu, Dump, Endian, Error, Format, FormatReader, Issue, Machine, Phys};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The reader. A head of 4 KiB ends before the signature of a media copy, so that one is known by its empty fields and
/// settled by [`open`].
pub(crate) const READER: FormatReader =
    FormatReader { name: NAME, probe: |head| head.starts_with(SIGNATURE) || looks_like_media(head), open };

const NAME: &str = "sadump";
const SIGNATURE: &[u8] = b"sadump\0\0";
/// The block before the partition in a copy on other media.
const MEDIA: u64 = 4096;
/// Bytes of the partition's header, behind which the numbers begin.
const PARTITION: usize = 168;
/// A block has this many bytes at most.
const MOST_BLOCK: usize = 1 << 20;
const STATE: usize = 1024;

/// A media header: two GUIDs, a date, the number of the medium, zeros to the block's end. Nothing else begins like that,
/// and nothing in it is a signature.
fn looks_like_media(head: &[u8]) -> bool {
    let Some((fields, rest)) = head.split_at_checked(52) else { return false };
    let date = Fields::new(fields, Endian::Little);
    let sound = date.u16(32).is_some_and(|year| (1998..=2200).contains(&year))
        && date.u8(34).is_some_and(|month| (1..=12).contains(&month))
        && date.u8(35).is_some_and(|day| (1..=31).contains(&day))
        && date.u8(36).is_some_and(|hour| hour < 24);
    head.len() == MEDIA as usize && sound && rest.iter().all(|&b| b == 0)
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let opening = Opening { path, format: NAME, source: &source, budget };
    let start = if opening.upto(0, 8)? == SIGNATURE { 0 } else { MEDIA };
    let partition = opening.exactly("the partition's header", start, PARTITION)?;
    if !partition.starts_with(SIGNATURE) {
        return Err(opening.broken("no partition header"));
    }
    let fields = Fields::new(&partition, Endian::Little);
    let block = block_size(&opening, start)?;
    let disk = if start == 0 { fields.u32(152).unwrap_or(0) } else { 0 };
    let mut issues = Vec::new();
    let mut header_at = start + block;
    if disk > 1 {
        return Err(opening.broken(format!("this is disk {disk} of a set; only the first can be opened")));
    }
    if disk == 1 {
        let set = opening.exactly("the disk set's header", header_at, 8)?;
        let set = Fields::new(&set, Endian::Little);
        header_at = header_at.saturating_add(u64::from(set.u32(0).unwrap_or(0)).saturating_mul(block));
        if let Some(disks @ 2..) = set.u32(4) {
            issues.push(Issue::loss(format!("only the first of {disks} disks is read")));
        }
    }
    let header = opening.exactly("the dump's header", header_at, 120)?;
    let header = Fields::new(&header, Endian::Little);
    let number = |at| u64::from(header.u32(at).unwrap_or(0));
    if header.slice(0, 8) != Some(SIGNATURE) {
        return Err(opening.broken(format!("no dump header at {header_at:#x}")));
    }
    if number(40) != block {
        return Err(opening.broken(format!("blocks of {} bytes in a partition with blocks of {block}", number(40))));
    }
    let wide = number(8) >= 1;
    let pages = if wide { header.u64(88).unwrap_or(0) } else { number(60) };
    let blocks = |count: u64| count.saturating_mul(block);
    let state_at = header_at.saturating_add(block);
    let ram_at = state_at.saturating_add(blocks(number(48)));
    let held_at = ram_at.saturating_add(blocks(number(52)));
    let data_at = held_at.saturating_add(blocks(number(56)));
    let bits = |count: u64| pages.min(blocks(count).saturating_mul(8));
    let ram_bits = bits(number(52));
    let held_bits = bits(number(56));
    if pages > held_bits {
        issues.push(Issue::loss(format!("the bitmap has {held_bits} bits for {pages} pages")));
    }
    // In a set the data goes on behind the other disks' headers, not behind the end of this one.
    let used =
        fields.u64(160).filter(|&used| used > data_at && disk == 1).map_or(u64::MAX, |used| used.saturating_add(start));
    let reversed: SharedSource = Arc::new(Reversed(source.clone()));
    let memory = RankedMemory {
        source: source.clone(),
        page_size: block,
        ranges: vec![BitRange { first: 0, end: held_bits, bit: 0 }],
        held: Bitmap::new(reversed.clone(), held_at, held_bits),
        ram: Some(Bitmap::new(reversed, ram_at, ram_bits)),
        data: data_at..used,
        beyond: if disk == 1 { Absence::NotInDump } else { Absence::Truncated },
    };
    if source.len() < data_at {
        issues.push(Issue::loss(format!("the file is cut off before its first page at {data_at:#x}")));
    }
    let count = header.u32(80).unwrap_or(0);
    let (arch, cpus) = cpus(&opening, state_at, count)?;
    let mut machine = Machine::new(Arc::new(memory));
    machine.page_size = block;
    machine.page_table = cpus
        .first()
        .and_then(|cpu| cpu.control("cr3"))
        .filter(|&cr3| cr3 != 0)
        .map(|cr3| Phys(cr3 & 0x000f_ffff_ffff_f000));
    machine.cpus = cpus;
    let mut dump = machine_dump(Format::Sadump, &source, (arch, Endian::Little), machine);
    dump.time = efi_time(header, 16);
    dump.writer = Some("sadump".to_owned());
    dump.issues = issues;
    super::look_into(&mut dump);
    Ok(dump)
}

/// Where the row of numbers stops.
fn block_size(opening: &Opening<'_>, start: u64) -> Result<u64, Error> {
    let head = opening.upto(start, MOST_BLOCK)?;
    let words = head.get(PARTITION..).unwrap_or_default();
    let (words, _) = words.as_chunks::<4>();
    let mut row = words.iter().map(|word| u32::from_le_bytes(*word));
    let mut last = row.next().unwrap_or(0);
    let mut count = 1usize;
    for word in row {
        if word != last.wrapping_add(7).wrapping_mul(11) {
            break;
        }
        last = word;
        count += 1;
    }
    let size = (PARTITION + 4 * count) as u64;
    if size < 512 || !size.is_power_of_two() {
        return Err(opening.broken(format!("the numbers that fill the first block end after {size} bytes")));
    }
    Ok(size)
}

/// A date as EFI writes it, in UTC.
fn efi_time(fields: Fields<'_>, at: usize) -> Option<i64> {
    let byte = |i: usize| fields.u8(at + i).map(i64::from);
    let date = (i64::from(fields.u16(at)?), byte(2)?, byte(3)?);
    let seconds = seconds_of(date, (byte(4)?, byte(5)?, byte(6)?))?;
    // Minutes that lead to UTC; 2047 is "not said".
    match fields.u16(at + 12)? as i16 {
        zone @ -1440..=1440 => Some(seconds + 60 * i64::from(zone)),
        _ => Some(seconds),
    }
}

/// The states: their bytes in all (4), 16 bytes of interrupt controller for each, then the states.
fn cpus(opening: &Opening<'_>, at: u64, count: u32) -> Result<(Arch, Vec<Cpu>), Error> {
    let head = opening.upto(at, 4)?;
    let total = Fields::new(&head, Endian::Little).u32(0).unwrap_or(0);
    let each = u64::from(total.checked_div(count).unwrap_or(0));
    let mut states = Vec::new();
    if each >= STATE as u64 {
        let first = at + 4 + 16 * u64::from(count);
        for number in 0..u64::from(count).min(opening.budget.max_threads as u64) {
            let state = opening.upto(first.saturating_add(number * each), STATE)?;
            if state.len() < STATE {
                break;
            }
            opening.book("states of processors", STATE as u64)?;
            states.push(state);
        }
    }
    // Long mode is active.
    let long = |state: &Vec<u8>| Fields::new(state, Endian::Little).u64(992).is_some_and(|efer| efer >> 10 & 1 == 1);
    let arch = if states.iter().any(long) || states.is_empty() { Arch::X86_64 } else { Arch::X86 };
    let cpu = |(index, state): (usize, &Vec<u8>)| state_of(arch, index as u32, Fields::new(state, Endian::Little));
    Ok((arch, states.iter().enumerate().map(cpu).collect()))
}

/// One state; places in bytes.
fn state_of(arch: Arch, index: u32, fields: Fields<'_>) -> Cpu {
    const WIDE: [&str; 16] =
        ["r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
    const NARROW: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
    let long = |at| fields.u64(at).unwrap_or(0);
    let word = |at| u64::from(fields.u32(at).unwrap_or(0));
    let mut values: Vec<(&str, u64)> = match arch {
        Arch::X86 => NARROW.iter().enumerate().map(|(i, name)| (*name, long(860 + 8 * i) & 0xffff_ffff)).collect(),
        _ => WIDE.iter().enumerate().map(|(i, name)| (*name, long(796 + 8 * i))).collect(),
    };
    values.extend(["es", "cs", "ss", "ds", "fs", "gs"].iter().enumerate().map(|(i, name)| (*name, word(936 + 4 * i))));
    values.push((if arch == Arch::X86 { "eip" } else { "rip" }, long(984)));
    values.push(("eflags", long(1000)));
    let control = vec![
        ("cr0", long(1016)),
        ("cr3", long(1008)),
        ("cr4", word(576)),
        ("efer", long(992)),
        ("idt_base", word(472) << 32 | word(660)),
        ("idt_limit", word(664)),
        ("gdt_base", word(464) << 32 | word(652)),
        ("gdt_limit", word(656)),
        ("dr6", long(976)),
        ("dr7", long(968)),
    ];
    Cpu { index, pid: None, registers: named_registers(arch, &values), control }
}

/// A source whose bytes have their bits in the other order.
struct Reversed(SharedSource);

impl Source for Reversed {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.0.read_at(at, buf)?;
        for byte in buf.iter_mut().take(got) {
            *byte = byte.reverse_bits();
        }
        Ok(got)
    }
}
