//! How the kernel strings things together: rings, chains, trees, arrays by number, and each processor's own memory.
//!
//! *Trap*: every link may lead anywhere. No walk visits a place twice or goes on for ever, and each says where it broke.

use super::kernel::Linux;
use std::collections::HashSet;

/// Elements of a tree by numbers at most: as many as there can be processes (`PID_MAX_LIMIT`).
const MOST: usize = 4 << 20;

/// How a tree can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Part of it is not in the dump.
    Missing,
    /// A node of a kind that is not known.
    Unknown,
    /// It leads back into itself.
    Circle,
    /// Its nodes contradict each other.
    Damaged,
}

/// Why a walk does not end by itself.
fn endless(what: &str, found: usize, most: usize) -> String {
    match found < most {
        true => format!("{what} runs in a circle"),
        false => {
            format!("{what} has more than {most} entries, for which the memory has no room: those behind are not read")
        }
    }
}

/// Takes a remark, unless there are so many that nobody reads them: a table of a million damaged lists has one for each.
pub(in crate::linux) fn tell(remarks: &mut Vec<String>, remark: impl FnOnce() -> String) {
    const MOST_REMARKS: usize = 1 << 12;
    match remarks.len() {
        ..MOST_REMARKS => remarks.push(remark()),
        MOST_REMARKS => remarks.push("more that is damaged is not told one by one".to_owned()),
        _ => {}
    }
}

impl Linux {
    /// The structures in a ring (`struct list_head`) whose head is at `head`, linked by their member `link`; a sentence
    /// that begins with `what` on where it breaks.
    ///
    /// # Errors
    /// If the kernel has no such member.
    pub(super) fn list(
        &self,
        head: u64,
        structure: &str,
        link: &str,
        what: &str,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<u64>, String> {
        let link = self.offset(structure, link)?;
        let most = self.room(structure);
        let mut links = self.chain(head, head, most, what, remarks);
        if let Some(last) = links.1 {
            self.backwards(head, last, most, &mut links.0);
        }
        Ok(links.0.into_iter().map(|at| at.wrapping_sub(link)).collect())
    }

    /// The rest of a ring that breaks behind `broken`, from its other end: each link also leads to the one before.
    fn backwards(&self, head: u64, broken: u64, most: usize, links: &mut Vec<u64>) {
        let mut seen: HashSet<u64> = links.iter().copied().chain([head, broken]).collect();
        let mut more = Vec::new();
        let mut at = head;
        while let Some(before) = self.word(at.wrapping_add(8))
            && self.word(before) == Some(at)
            && seen.insert(before)
            && more.len() < most
        {
            more.push(before);
            at = before;
        }
        links.extend(more.into_iter().rev());
    }

    /// The structures in a chain with a bare first pointer (`hlist_head`, and `hlist_nulls_head`, whose end is odd).
    ///
    /// # Errors
    /// If the kernel has no such member.
    pub(super) fn hlist(
        &self,
        head: u64,
        structure: &str,
        link: &str,
        what: &str,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<u64>, String> {
        let link = self.offset(structure, link)?;
        Ok(self
            .chain(head, 0, self.room(structure), what, remarks)
            .0
            .into_iter()
            .map(|at| at.wrapping_sub(link))
            .collect())
    }

    /// Structures that each point to the next one itself with their member `next`, from the one at `first`.
    ///
    /// # Errors
    /// If the kernel has no such member.
    pub(super) fn linked(
        &self,
        first: u64,
        structure: &str,
        next: &str,
        what: &str,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<u64>, String> {
        let next = self.offset(structure, next)?;
        let most = self.room(structure);
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut at = first;
        while at != 0 {
            if !seen.insert(at) || found.len() >= most {
                tell(remarks, || endless(what, found.len(), most));
                break;
            }
            let Some(after) = self.word(at.wrapping_add(next)) else {
                tell(remarks, || format!("{what} cannot be followed behind {at:#x}: it is not in the dump"));
                break;
            };
            found.push(at);
            at = after;
        }
        Ok(found)
    }

    /// Places that each point to the next, up to `end` or an odd one; and where that breaks, the last place.
    fn chain(
        &self,
        head: u64,
        end: u64,
        most: usize,
        what: &str,
        remarks: &mut Vec<String>,
    ) -> (Vec<u64>, Option<u64>) {
        let mut links = Vec::new();
        let mut seen = HashSet::from([head]);
        let mut at = head;
        loop {
            let Some(next) = self.word(at) else {
                // That nothing more is read is told once, for all.
                if self.purse.is_empty() {
                    return (links, None);
                }
                tell(remarks, || format!("{what} cannot be followed behind {at:#x}: it is not in the dump"));
                return (links, Some(at));
            };
            // Only chains have ends that are odd.
            let odd = next & 1 == 1;
            if next == end || odd && end == 0 {
                return (links, None);
            }
            if odd {
                tell(remarks, || {
                    format!("{what} cannot be followed behind {at:#x}: it leads to no place of the kernel")
                });
                return (links, Some(at));
            }
            if !seen.insert(next) || links.len() >= most {
                tell(remarks, || endless(what, links.len(), most));
                return (links, Some(at));
            }
            links.push(next);
            at = next;
        }
    }

    /// The structures in a red-black tree whose `rb_root` (or first `rb_node` pointer) is at `root`, in their order.
    ///
    /// # Errors
    /// If the kernel has no such member.
    pub(super) fn tree(
        &self,
        root: u64,
        structure: &str,
        link: &str,
        what: &str,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<u64>, String> {
        let node = self.offset(structure, link)?;
        let (left, right) = (self.offset("rb_node", "rb_left")?, self.offset("rb_node", "rb_right")?);
        let most = self.room(structure);
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut open: Vec<u64> = Vec::new();
        let mut at = self.word(root);
        while !self.purse.is_empty() {
            match at {
                Some(0) => {
                    let Some(parent) = open.pop() else { break };
                    found.push(parent.wrapping_sub(node));
                    at = self.word(parent.wrapping_add(right));
                }
                Some(own) if seen.len() < most && seen.insert(own) => {
                    open.push(own);
                    at = self.word(own.wrapping_add(left));
                }
                broken => {
                    tell(remarks, || match broken {
                        None => format!("part of {what} is not in the dump"),
                        Some(_) => endless(what, seen.len(), most),
                    });
                    at = Some(0);
                }
            }
        }
        Ok(found)
    }

    /// All pointers in an xarray with their numbers, by its head (lib/xarray.c): an entry that ends with binary 10 is a
    /// node. Entries that are numbers themselves (odd: shadows, swap) are left out.
    ///
    /// # Errors
    /// If the kernel has no such structure.
    pub(super) fn xarray(&self, head: u64) -> Result<Vec<(u64, u64)>, String> {
        /// `XA_CHUNK_SIZE` (include/linux/xarray.h).
        const SLOTS: u64 = 64;
        // One damaged index must not use up what others need.
        let most = self.purse.share();
        let slots = self.offset("xa_node", "slots")?;
        let shift = self.offset("xa_node", "shift")?;
        let count = self.elements("xa_node", "slots").unwrap_or(SLOTS).min(SLOTS);
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut nodes = vec![(head, 0u64, 64u64)];
        while let Some((entry, index, above)) = nodes.pop()
            && !self.purse.is_empty()
        {
            if entry & 3 != 2 {
                if entry != 0 && entry & 3 == 0 && found.len() < MOST {
                    found.push((index, entry));
                }
                continue;
            }
            let node = entry & !3;
            let Some(own) = self.number(node.wrapping_add(shift), 1).filter(|own| *own < above) else { continue };
            if !seen.insert(node) || seen.len() > most {
                continue;
            }
            let entries = self.words(node.wrapping_add(slots), count);
            for (slot, entry) in entries.into_iter().enumerate().rev() {
                // Marks for retry and siblings are small.
                if let Some(entry) = entry.filter(|entry| entry & 3 != 2 || *entry > 4096) {
                    nodes.push((entry, index.wrapping_add((slot as u64) << own), own));
                }
            }
        }
        Ok(found)
    }

    /// What a maple tree (lib/maple_tree.c) holds whose `ma_root` is at `root`: first and last index, and the entry. Kinds of
    /// nodes: 0 dense, 1 leaf, 2 range, 3 range with gaps; the kind is in bits 3 to 6 of the pointer, whose nodes are aligned
    /// to 256. A node says nowhere how many of its places are in use: what lies behind the last one is stale.
    pub(super) fn maple(&self, root: u64, note: &mut dyn FnMut(Broken)) -> Vec<(u64, u64, u64)> {
        const NODES: usize = 1 << 20;
        let mut found = Vec::new();
        let Some(root) = self.word(root) else {
            note(Broken::Missing);
            return found;
        };
        let mut seen = HashSet::new();
        let mut nodes = vec![(root, 0u64, u64::MAX, 0u32)];
        while let Some((entry, min, max, depth)) = nodes.pop()
            && !self.purse.is_empty()
        {
            // Only the root has the mark of an xarray's node (binary 10); the empty tree is 0. Below it there is bit 2.
            if entry <= 4096 || depth == 0 && entry & 3 != 2 {
                if entry != 0 {
                    note(Broken::Unknown);
                }
                continue;
            }
            let kind = entry >> 3 & 15;
            let structure = if kind == 3 { "maple_arange_64" } else { "maple_range_64" };
            let shape = self.offset(structure, "pivot").ok().zip(self.offset(structure, "slot").ok());
            let counts = self.elements(structure, "pivot").zip(self.elements(structure, "slot"));
            let Some(((pivot, slot), (pivots, slots))) = shape.zip(counts).filter(|_| (1..=3).contains(&kind)) else {
                note(Broken::Unknown);
                continue;
            };
            let node = entry & !0xff;
            if !seen.insert(node) || seen.len() > NODES || found.len() > MOST || depth > 32 {
                note(Broken::Circle);
                break;
            }
            let ends = self.words(node.wrapping_add(pivot), pivots.min(64));
            let entries = self.words(node.wrapping_add(slot), slots.min(64));
            let mut below = Vec::new();
            let mut start = min;
            for (index, entry) in entries.into_iter().enumerate() {
                // As mas_logical_pivot(): where no end stands, or none can, it is the node's own.
                let (Some(entry), Some(end)) = (entry, ends.get(index).copied().unwrap_or(Some(max))) else {
                    note(Broken::Missing);
                    break;
                };
                let end = if end == 0 && index > 0 { max } else { end };
                if end < start || end > max {
                    note(Broken::Damaged);
                    break;
                }
                if kind != 1 {
                    below.push((entry, start, end, depth + 1));
                } else if entry != 0 && entry & 3 == 0 {
                    found.push((start, end, entry));
                }
                if end == max {
                    break;
                }
                start = end + 1;
            }
            nodes.extend(below.into_iter().rev());
        }
        found
    }

    /// The head of a ring by one of its links, where no name leads to it: it alone lies in the kernel's image.
    pub(super) fn head_of(&self, link: u64) -> Option<u64> {
        const MOST: usize = 1 << 14;
        std::iter::successors(Some(link), |link| self.word(*link)).take(MOST).find(|link| self.in_image(*link))
    }

    /// Where `place` of a processor's own memory lies: a symbol of a per-CPU variable, or a `__percpu` pointer.
    pub(super) fn per_cpu(&self, cpu: u32, place: u64) -> Option<u64> {
        let base = self.symbols.address("__per_cpu_offset")?.wrapping_add(8 * u64::from(cpu));
        Some(self.word(base)?.wrapping_add(place))
    }

    /// Numbers of the processors that the machine may have (`__cpu_possible_mask`), at most 8192 (`NR_CPUS`).
    pub(super) fn possible_cpus(&self) -> Vec<u32> {
        self.cpu_mask("__cpu_possible_mask")
    }

    /// Numbers of the processors that were on (`__cpu_online_mask`).
    pub(super) fn online_cpus(&self) -> Vec<u32> {
        self.cpu_mask("__cpu_online_mask")
    }

    /// Numbers of the processors that the machine has (`__cpu_present_mask`): a panic takes the others off.
    #[must_use]
    pub fn present_cpus(&self) -> Vec<u32> {
        self.cpu_mask("__cpu_present_mask")
    }

    fn cpu_mask(&self, name: &str) -> Vec<u32> {
        const MOST_CPUS: u64 = 8192;
        let Some(at) = self.symbols.address(name) else { return Vec::new() };
        let bytes = self.size("cpumask").unwrap_or(8).min(MOST_CPUS / 8);
        let words = self.words(at, bytes / 8);
        let bits = words.into_iter().enumerate().flat_map(|(index, word)| {
            let word = word.unwrap_or(0);
            (0..64u32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as u32 * 64 + bit)
        });
        bits.collect()
    }
}
