//! What a kernel exports to modules: names and places, also of data that its kallsyms leaves out.
//!
//! *What it is*: the way round for kernels whose kallsyms has the names of functions only (CONFIG_KALLSYMS_ALL=n; Debian's
//! arm64 kernels up to 6.1, many small virtual machines'). Their table of exports (`__ksymtab`, `__ksymtab_gpl`) has
//! `init_task`, `init_net`, `__per_cpu_offset` and some thousand more. All its numbers are distances from their own
//! places, so it is read by physical address before anything else is known.
//!
//! *Trap*: an entry is {value, name} and, since 5.4, {namespace}: 8 or 12 bytes. Which one it is the entries tell: only one
//! of the two makes a long run of entries with names.

use super::{PhysBytes, bytes, u32_at};

/// Exports at most.
const MOST: usize = 1 << 17;
/// Places of the known name that are tried.
const PLACES: usize = 16;
/// Fewer make no table.
const LEAST: usize = 64;

/// Names with their physical places, out of a kernel's image at `from..to`; none if no table leads to the name `known`,
/// which every kernel exports (`init_task`).
#[must_use]
pub fn exports(memory: &dyn PhysBytes, from: u64, to: u64, known: &str) -> Vec<(String, u64)> {
    let image = bytes(memory, from, to.saturating_sub(from) as usize);
    let needle = [b"\0", known.as_bytes(), b"\0"].concat();
    for hit in memchr::memmem::find_iter(&image, &needle).take(PLACES) {
        let name = hit + 1;
        // Whichever field of four bytes leads here may be an entry's second.
        for at in (4..image.len().saturating_sub(4)).step_by(4) {
            if target(&image, at) != Some(name) {
                continue;
            }
            let table = [12usize, 8].map(|size| run(&image, at - 4, size));
            let [new, old] = &table;
            let best = if new.len() >= old.len() { new } else { old };
            if best.len() >= LEAST {
                return best.iter().map(|(name, place)| (name.clone(), from.wrapping_add(*place))).collect();
            }
        }
    }
    Vec::new()
}

/// Where a field leads within the image.
fn target(image: &[u8], at: usize) -> Option<usize> {
    let distance = u32_at(image, at)? as i32;
    at.checked_add_signed(distance as isize).filter(|place| *place < image.len())
}

/// All entries in one piece with the one at `at`, in both directions. There are two tables (those for modules under the
/// GPL only lie behind the others), and the second one is aligned to 8.
fn run(image: &[u8], at: usize, size: usize) -> Vec<(String, u64)> {
    const GAP: usize = 4;
    let mut found = Vec::new();
    let mut place = Some(at);
    while let Some(before) = place.and_then(|place| place.checked_sub(size))
        && found.len() < MOST
    {
        let near = [Some(before), before.checked_sub(GAP)].into_iter().flatten();
        let next = near.into_iter().find_map(|at| Some((at, entry(image, at)?)));
        place = next.as_ref().map(|(at, _)| *at);
        found.extend(next.map(|(_, entry)| entry));
    }
    found.reverse();
    let mut place = at;
    while found.len() < MOST
        && let Some((at, entry)) = [place, place + GAP].into_iter().find_map(|at| Some((at, entry(image, at)?)))
    {
        found.push(entry);
        place = at + size;
    }
    found
}

/// An entry's name and the place of its value, from the image's start.
fn entry(image: &[u8], at: usize) -> Option<(String, u64)> {
    const LONGEST: usize = 512;
    // A value may lie before the part of the image that is looked at, or be none.
    let value = (at as u64).wrapping_add(i64::from(u32_at(image, at)? as i32) as u64);
    let name = target(image, at.checked_add(4)?)?;
    // What stands before a name says nothing: it may be the end of a longer one, which the linker keeps but once.
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
    let rest = image.get(name..)?;
    let len = memchr::memchr(0, rest.get(..LONGEST.min(rest.len()))?)?;
    let text = rest.get(..len)?;
    (len > 0 && text.iter().all(good)).then(|| (String::from_utf8_lossy(text).into_owned(), value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

    use super::*;

    struct Image(Vec<u8>);

    impl PhysBytes for Image {
        fn read(&self, at: u64, buf: &mut [u8]) -> usize {
            let Some(rest) = at.checked_sub(0x1000).and_then(|at| self.0.get(at as usize..)) else { return 0 };
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            len
        }
    }

    /// 100 exports: their values at 0x4000 and up, the tables at 0x100, the names at 0x2000; all distances from 0x1000.
    /// `gap` bytes lie between the two tables, of 70 and 30 entries.
    fn image(size: usize, gap: usize) -> Vec<u8> {
        let mut image = vec![0xee; 0x8000];
        let mut name_at = 0x2000;
        image[name_at - 1] = 0;
        for index in 0..100usize {
            let name = if index == 40 { "init_task".to_owned() } else { format!("export_{index}") };
            let at = 0x100 + index * size + if index < 70 { 0 } else { gap };
            // The end of the name before, as `ort_39`.
            let shared = if index == 39 { 3 } else { 0 };
            let value = 0x4000 + 16 * index as i32 - at as i32;
            image[at..at + 4].copy_from_slice(&value.to_le_bytes());
            image[at + 4..at + 8].copy_from_slice(&((name_at + shared) as i32 - at as i32 - 4).to_le_bytes());
            image[name_at..name_at + name.len()].copy_from_slice(name.as_bytes());
            image[name_at + name.len()] = 0;
            name_at += name.len() + 1;
        }
        image
    }

    #[test]
    fn both_shapes_are_read_whole() {
        for (size, gap) in [(8, 0), (8, 4), (12, 0), (12, 4)] {
            let found = exports(&Image(image(size, gap)), 0x1000, 0x9000, "init_task");
            assert_eq!(found.len(), 100, "{size} {gap}");
            assert_eq!(found[39].0, "ort_39");
            assert_eq!(found[40], ("init_task".to_owned(), 0x5000 + 16 * 40));
            assert_eq!(found[99], ("export_99".to_owned(), 0x5000 + 16 * 99));
        }
    }

    #[test]
    fn a_name_that_nothing_leads_to_gives_nothing() {
        let mut image = image(12, 0);
        image[0x100..0x100 + 1210].fill(0);
        assert!(exports(&Image(image), 0x1000, 0x9000, "init_task").is_empty());
        assert!(exports(&Image(vec![0; 64]), 0x1000, 0x9000, "init_task").is_empty());
    }
}
