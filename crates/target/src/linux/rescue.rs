//! Names and types of kernels whose kallsyms has functions only (CONFIG_KALLSYMS_ALL=n).
//!
//! *What it is*: what can be had in another way: exports, the symbols of a VMCOREINFO, the banner and the BTF by what they
//! look like.
//!
//! *Trap*: the end of such an image is nowhere among its names; the part that is looked through is what lies around its
//! tokens and text.

use super::find::Physical;
use afterimage_dump::{Machine, Phys};
use afterimage_symbols::kernel::{Btf, Kallsyms, PhysBytes, exports, find_btf};
use std::collections::HashMap;

/// Bytes behind the tokens that are looked through.
const BEHIND: u64 = 48 << 20;
/// Longest image.
const MOST: u64 = 256 << 20;

/// Where a kernel's image lies in physical memory: without a hole from its text on.
fn image(machine: &Machine, text: u64, tokens: u64) -> (u64, u64) {
    let from = text.min(tokens).max(tokens.saturating_sub(MOST));
    // Memory may begin behind what is asked for.
    let piece = machine.memory.next(Phys(from)).filter(|piece| piece.start.0 <= tokens);
    let from = piece.map_or(from, |piece| piece.start.0.max(from));
    let to = tokens.saturating_add(BEHIND).max(text);
    // What is not there ends it.
    const STEP: u64 = 1 << 20;
    let mut end = tokens;
    let mut probe = [0];
    while end < to && Physical(machine).read(end, &mut probe) == 1 {
        end += STEP;
    }
    (from, end.min(to))
}

/// Adds names that kallsyms does not have.
pub(super) fn names(
    machine: &Machine,
    symbols: &mut Kallsyms,
    info: Option<&str>,
    image_offset: u64,
    evidence: &mut Vec<String>,
) {
    if symbols.address("init_task").is_some() {
        return;
    }
    let told = info.into_iter().flat_map(str::lines).filter_map(|line| {
        let (name, address) = line.strip_prefix("SYMBOL(")?.split_once(")=")?;
        // Of what most kernels have as a pointer, VMCOREINFO tells what it points to.
        if name == "mem_section" {
            return None;
        }
        Some((name.to_owned(), u64::from_str_radix(address, 16).ok()?))
    });
    for (name, address) in told {
        symbols.add(name, address);
    }
    let Some(text) = symbols.address("_text").or_else(|| symbols.address("_stext")) else { return };
    let (from, to) = image(machine, text.wrapping_sub(image_offset), symbols.tokens_at);
    let found = exports(&Physical(machine), from, to, "init_task");
    evidence.push(match found.len() {
        0 => "kallsyms has the names of functions only, and no table of exports was found".to_owned(),
        count => format!("kallsyms has the names of functions only; {count} names are the kernel's exports"),
    });
    for (name, place) in found {
        symbols.add(name, place.wrapping_add(image_offset));
    }
    if symbols.address("linux_banner").is_none()
        && let Some(place) = banner(machine, from, to)
    {
        symbols.add("linux_banner".to_owned(), place.wrapping_add(image_offset));
    }
}

/// The banner: its text also begins the format that it is printed with, and that has a percent sign.
///
/// Since 6.1 it is compiled twice, and the one that the link leaves unused has no number of the build behind the `#`.
fn banner(machine: &Machine, from: u64, to: u64) -> Option<u64> {
    let mut bytes = vec![0; to.saturating_sub(from) as usize];
    let got = Physical(machine).read(from, &mut bytes);
    let bytes = bytes.get(..got)?;
    let lines = memchr::memmem::find_iter(bytes, b"Linux version ").filter_map(|at| {
        let line = bytes.get(at..)?.split(|byte| matches!(byte, 0 | b'\n')).next()?;
        let hash = line.iter().position(|byte| *byte == b'#')?;
        let right = line.len() < 512 && !line.contains(&b'%') && at > 0;
        right.then(|| (from + at as u64, line.get(hash + 1).is_some_and(u8::is_ascii_digit)))
    });
    let lines: Vec<(u64, bool)> = lines.collect();
    lines.iter().find(|(_, numbered)| *numbered).or_else(|| lines.first()).map(|(at, _)| *at)
}

/// Adds the names of what each processor has for itself: the kernel's types tell their distances from one another, and some
/// are exported.
pub(super) fn per_cpu(symbols: &mut Kallsyms, types: &Btf, evidence: &mut Vec<String>) {
    if symbols.address("__per_cpu_start").or_else(|| symbols.address("runqueues")).is_some() {
        return;
    }
    let variables = types.section(b".data..percpu");
    let mut starts: HashMap<u64, usize> = HashMap::new();
    for (name, distance) in &variables {
        if let Some(at) = symbols.address(&String::from_utf8_lossy(name)) {
            *starts.entry(at.wrapping_sub(*distance)).or_default() += 1;
        }
    }
    // A name may stand for something else, too; most of them do not.
    let all: usize = starts.values().sum();
    let Some((start, agree)) = starts.into_iter().max_by_key(|(_, count)| *count) else { return };
    if agree * 2 <= all {
        return;
    }
    for (name, distance) in &variables {
        symbols.add(String::from_utf8_lossy(name).into_owned(), start.wrapping_add(*distance));
    }
    let count = variables.len();
    evidence.push(format!("{count} variables of the processors were placed by the kernel's types and {agree} exports"));
}

/// The kernel's types, where no symbol leads to them.
pub(super) fn types(machine: &Machine, symbols: &Kallsyms, evidence: &mut Vec<String>) -> Option<Btf> {
    let (from, to) = image(machine, symbols.tokens_at.saturating_sub(BEHIND), symbols.tokens_at);
    let types = find_btf(&Physical(machine), from, to)?;
    evidence.push(format!("{} types were found by what they look like", types.len()));
    Some(types)
}

#[cfg(test)]
mod tests {
    use super::banner;
    use afterimage_dump::{Backing, FileOffset, Machine, Phys, Segment, SegmentMemory};
    use std::sync::Arc;

    /// Where the banner of an image with these lines is found.
    fn found(lines: &[&str]) -> Option<u64> {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| [b"\0\0", line.as_bytes(), b"\n\0"].concat()).collect();
        let end = Phys(bytes.len() as u64);
        let whole = Segment { start: Phys(0), end, backing: Backing::File(FileOffset(0)) };
        let machine = Machine::new(Arc::new(SegmentMemory::new(Arc::new(bytes), vec![whole])));
        banner(&machine, 0, end.0)
    }

    #[test]
    fn the_banner_with_a_number_of_its_build_is_the_one() {
        let (format, unused) = ("Linux version %s (%s) #%s", "Linux version 6.1.0 (cc) # SMP");
        let (used, before) = ("Linux version 6.1.0 (cc) #1 SMP", 2 + format.len() as u64 + 2 + 2);
        assert_eq!(found(&[format, unused, used]), Some(before + unused.len() as u64 + 2 + 2));
        assert_eq!(found(&[format, used, unused]), Some(before));
        assert_eq!(found(&[format, unused]), Some(before));
        assert_eq!(found(&[format]), None);
    }
}
