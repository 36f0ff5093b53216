//! What the kernel wrote to the top of the main stack when the program started: arguments, environment, its own path.
//!
//! From lower to higher addresses stand `argc`, the `argv` pointers, a null, the `envp` pointers, a null, the auxiliary
//! vector, and further up the strings. The vector is known from its note, so it can be searched for, and everything
//! before it is found by walking backwards.
//!
//! *Trap*: this is the environment at the start. What the program set since (`setenv`) lies elsewhere, and some programs
//! write their status over the arguments (`setproctitle`).

use super::{AT_EXECFN, AT_RANDOM, AT_SYSINFO_EHDR};
use crate::bytes::Fields;
use crate::{Arch, Budget, Dump, MemoryExt, Os, Virt};

/// How far below the random bytes or the path the vector may lie: the strings between may have megabytes
/// (`ARG_MAX`), but AT_RANDOM itself lies within a page and some padding above it.
const SEARCH: u64 = 64 << 10;
/// Most bytes of arguments and environment that are read.
const MAX_STRINGS: u64 = 16 << 20;

/// Fills in command line, environment, executable and kernel version, as far as their memory is in the dump.
pub(super) fn read(dump: &mut Dump, budget: &Budget) {
    if dump.os_version.is_none() && dump.os == Os::Linux {
        dump.os_version = kernel_version(dump);
    }
    if dump.process.executable.is_none()
        && dump.os == Os::Linux
        && let Some(at) = dump.auxv_value(AT_EXECFN)
        && let Ok(path) = dump.memory.read_cstr(Virt(at), 4096)
        && !path.is_empty()
    {
        dump.process.executable = Some(String::from_utf8_lossy(&path).into_owned());
    }
    // The BSDs number the entries of the vector in another way.
    if dump.os != Os::Linux {
        return;
    }
    let Some((arguments, environment)) = blocks(dump, budget) else {
        return;
    };
    if !arguments.is_empty() {
        let line: Vec<_> = arguments.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let line = line.join(" ");
        if !line.trim().is_empty() {
            dump.process.command_line = Some(line);
        }
    }
    // The container's own list, if it has one, is newer.
    if dump.process.environment.is_empty() {
        for variable in environment {
            let variable = String::from_utf8_lossy(&variable);
            if let Some((name, value)) = variable.split_once('=') {
                dump.process.environment.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

type Strings = Vec<Vec<u8>>;

/// The strings of `argv` and `envp`.
fn blocks(dump: &Dump, budget: &Budget) -> Option<(Strings, Strings)> {
    let vector = find_vector(dump)?;
    let region = dump.region(Virt(vector))?;
    let low = dump.memory.find(Virt(vector))?.start.0;
    // Folklore: the stack of PA-RISC grows upwards, and the strings lie below the pointers.
    let (from, to) = if dump.arch == Arch::Hppa { (low, vector) } else { (vector, region.end.0) };
    let from = from.max(to.saturating_sub(MAX_STRINGS));
    let is_string = |at: u64| (from..to).contains(&at);
    // Backwards from the vector: a null, the environment, a null, the arguments, their count.
    let mut words = Backwards { dump, low, next: vector, block: Vec::new(), block_at: 0 };
    if words.step()? != 0 {
        return None;
    }
    let mut environment = Vec::new();
    loop {
        match words.step()? {
            0 => break,
            at if is_string(at) && budget.take(8).is_ok() => environment.push(at),
            _ => return None,
        }
    }
    // Folklore: `_start` of 32-bit Arm and x86 takes the count off the stack and overwrites its place, so the arguments
    // end with whatever is no string.
    let mut arguments = Vec::new();
    while let Some(at) = words.step().filter(|&at| is_string(at)) {
        if budget.take(8).is_err() {
            return None;
        }
        arguments.push(at);
    }
    let strings = to - from;
    // The block itself, and the copies made of it.
    if budget.take(3 * strings).is_err() {
        return None;
    }
    let mut bytes = vec![0; strings as usize];
    let got = dump.memory.read_upto(Virt(from), &mut bytes);
    bytes.truncate(got);
    let bytes = Fields::new(&bytes, dump.endian);
    // Pointers of a hostile stack may all name the same long string: the sum of all is bounded like the block.
    let mut left = strings;
    let mut text = |list: Vec<u64>| -> Strings {
        let strings = list.into_iter().rev().map_while(|at| {
            let string = bytes.cstr((at - from) as usize, usize::MAX)?;
            left = left.checked_sub(string.len() as u64)?;
            Some(string.to_vec())
        });
        strings.collect()
    };
    Some((text(arguments), text(environment)))
}

/// Words read from an address downwards, a block at a time.
struct Backwards<'d> {
    dump: &'d Dump,
    low: u64,
    next: u64,
    block: Vec<u8>,
    block_at: u64,
}

impl Backwards<'_> {
    fn step(&mut self) -> Option<u64> {
        let word = self.dump.pointer_size;
        let at = self.next.checked_sub(word as u64).filter(|&at| at >= self.low)?;
        if self.block.is_empty() || at < self.block_at {
            let from = self.next.saturating_sub(4096).max(self.low);
            // Keeps words whole.
            let from = self.next - (self.next - from) / word as u64 * word as u64;
            self.block.resize((self.next - from) as usize, 0);
            self.dump.memory.read_exact(Virt(from), &mut self.block).ok()?;
            self.block_at = from;
        }
        self.next = at;
        Fields::new(&self.block, self.dump.endian).uint((at - self.block_at) as usize, word)
    }
}

/// Finds the auxiliary vector on the stack by its first entries.
fn find_vector(dump: &Dump) -> Option<u64> {
    let word = dump.pointer_size;
    let anchor = dump.auxv_value(AT_RANDOM).or_else(|| dump.auxv_value(AT_EXECFN))?;
    let segment = dump.memory.find(Virt(anchor))?;
    let start = anchor.saturating_sub(SEARCH).max(segment.start.0).checked_next_multiple_of(word as u64)?;
    let end = if dump.arch == Arch::Hppa { anchor.saturating_add(SEARCH).min(segment.end.0) } else { anchor };
    let mut bytes = vec![0; end.checked_sub(start)? as usize];
    let got = dump.memory.read_upto(Virt(start), &mut bytes);
    bytes.truncate(got);
    let mut pattern = Vec::new();
    for (kind, value) in dump.auxv.iter().take(4) {
        for number in [kind, value] {
            let little = number.to_le_bytes();
            let mut little = little.get(..word)?.to_vec();
            if dump.endian == crate::Endian::Big {
                little.reverse();
            }
            pattern.extend(little);
        }
    }
    if pattern.is_empty() || bytes.len() < pattern.len() {
        return None;
    }
    // The last one: a copy further down may be the dynamic loader's.
    let last = bytes.windows(pattern.len()).step_by(word).rposition(|window| window == pattern)?;
    Some(start + (last * word) as u64)
}

/// The kernel's release, from the note in its vDSO (`LINUX_VERSION_CODE`).
fn kernel_version(dump: &Dump) -> Option<String> {
    let base = dump.auxv_value(AT_SYSINFO_EHDR)?;
    let mut page = vec![0; 4096];
    let got = dump.memory.read_upto(Virt(base), &mut page);
    page.truncate(got);
    let page = Fields::new(&page, dump.endian);
    if page.slice(0, 4)? != b"\x7fELF" {
        return None;
    }
    let is_64 = page.u8(4)? == 2;
    let (table, size, count) = if is_64 {
        (page.u64(32)?, page.u16(54)?, page.u16(56)?)
    } else {
        (u64::from(page.u32(28)?), page.u16(42)?, page.u16(44)?)
    };
    for i in 0..usize::from(count.min(16)) {
        let at = usize::try_from(table).ok()?.checked_add(i * usize::from(size))?;
        if page.u32(at)? != super::PT_NOTE {
            continue;
        }
        let (offset, length) = if is_64 {
            (page.u64(at + 8)?, page.u64(at + 32)?)
        } else {
            (page.u32(at + 4)?.into(), page.u32(at + 16)?.into())
        };
        let mut at = usize::try_from(offset).ok()?;
        let end = at.checked_add(usize::try_from(length).ok()?)?.min(page.bytes().len());
        while at + 12 <= end {
            let (name, content) = (page.u32(at)? as usize, page.u32(at + 4)? as usize);
            let content_at = at + 12 + name.min(4096).next_multiple_of(4);
            if page.u32(at + 8)? == 0 && page.slice(at + 12, name)? == b"Linux\0" && content == 4 {
                let code = page.u32(content_at)?;
                return Some(format!("{}.{}.{}", code >> 16, code >> 8 & 0xff, code & 0xff));
            }
            at = content_at + content.min(4096).next_multiple_of(4);
        }
    }
    None
}
