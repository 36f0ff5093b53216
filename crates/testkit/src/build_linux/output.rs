//! The machine as an image: an ELF core with a VMCOREINFO note and a processor as QEMU writes it.

use super::Machine;

const PAGE: usize = 4096;

/// A note with the kernel's VMCOREINFO, as it also lies in memory.
pub(super) fn note(text: &str) -> Vec<u8> {
    with_owner(b"VMCOREINFO\0\0", 11, 0, text.as_bytes())
}

fn with_owner(owner: &[u8], length: u32, kind: u32, content: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [length, content.len() as u32, kind] {
        note.extend_from_slice(&word.to_le_bytes());
    }
    note.extend_from_slice(owner);
    note.extend_from_slice(content);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// QEMUCPUState, version 1.
fn processor(pc: u64, sp: u64, root: u64) -> Vec<u8> {
    let mut state = vec![0; 440];
    let mut put = |at: usize, value: u64| state[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(0, 440 << 32 | 1);
    put(8 + 8 * 6, sp);
    put(8 + 8 * 16, pc);
    put(392 + 8 * 3, root);
    with_owner(b"QEMU\0\0\0\0", 5, 0, &state)
}

impl Machine {
    /// A core file; without `hints` it has neither VMCOREINFO nor registers that lead to the kernel.
    #[must_use]
    pub fn elf(&self, hints: bool) -> Vec<u8> {
        self.elf_without(hints, &[])
    }

    /// The same without some pages, by their numbers from the start of its memory.
    #[must_use]
    pub fn elf_without(&self, hints: bool, missing: &[usize]) -> Vec<u8> {
        // Runs of pages: first and the one behind the last.
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for page in (0..self.bytes.len() / PAGE).filter(|page| !missing.contains(page)) {
            match runs.last_mut() {
                Some((_, end)) if *end == page => *end += 1,
                _ => runs.push((page, page + 1)),
            }
        }
        let part = |(from, to): (usize, usize)| (self.base + (from * PAGE) as u64, &self.bytes[from * PAGE..to * PAGE]);
        core(&self.notes(hints, hints), &runs.into_iter().map(part).collect::<Vec<_>>())
    }

    /// A core with the memory of several machines, each where it says, as a kernel's that another one runs in. This one's
    /// VMCOREINFO and registers stand in front, where they are wanted.
    #[must_use]
    pub fn elf_beside(&self, vmcoreinfo: bool, registers: bool, parts: &[(u64, &[u8])]) -> Vec<u8> {
        let mut parts = [&[(self.base, &self.bytes[..])], parts].concat();
        parts.sort_by_key(|(at, _)| *at);
        core(&self.notes(vmcoreinfo, registers), &parts)
    }

    /// A page that begins with its VMCOREINFO, as it lies in memory.
    #[must_use]
    pub fn note_page(&self) -> Vec<u8> {
        let mut page = note(&self.vmcoreinfo);
        page.resize(page.len().next_multiple_of(PAGE), 0);
        page
    }

    /// Physical places of a member, as `task_struct.tasks`, in all structures in which it was set.
    #[must_use]
    pub fn places(&self, member: &str) -> Vec<u64> {
        let mut places: Vec<u64> =
            self.members.iter().filter(|(name, _)| name == member).map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Where the map of all memory has a physical place.
    #[must_use]
    pub fn direct(&self, place: u64) -> u64 {
        super::memory::DIRECT + place
    }

    /// Writes a word to a physical place.
    pub fn poke(&mut self, place: u64, value: u64) {
        let at = (place - self.base) as usize;
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Physical place of a variable.
    ///
    /// # Panics
    /// If the kernel has no such one.
    #[must_use]
    pub fn place_of(&self, name: &str) -> u64 {
        let (_, at) = self.symbols.iter().find(|(own, _)| own == name).expect("the kernel has it");
        at - self.text + self.base
    }

    /// Gives a variable another value.
    pub fn set_symbol(&mut self, name: &str, value: u64) {
        self.poke(self.place_of(name), value);
    }

    fn notes(&self, vmcoreinfo: bool, registers: bool) -> Vec<u8> {
        let mut notes = Vec::new();
        if vmcoreinfo {
            notes.extend(note(&self.vmcoreinfo));
        }
        if registers {
            notes.extend(processor(self.cpu.0, self.cpu.1, self.root));
            notes.extend(processor(0x40_1000, 0x7ffd_0000_0f00, self.root));
        } else {
            notes.extend(processor(0x40_1000, 0x7ffd_0000_0f00, 0));
        }
        notes
    }
}

/// A core with these notes and parts of physical memory.
fn core(notes: &[u8], parts: &[(u64, &[u8])]) -> Vec<u8> {
    let count = parts.len() + 1;
    let notes_at = 64 + 56 * count as u64;
    let mut at = (notes_at + notes.len() as u64).next_multiple_of(PAGE as u64);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0u64, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0]);
    file.extend_from_slice(&(count as u16).to_le_bytes());
    file.extend_from_slice(&[0; 6]);
    let mut header = |kind: u32, words: [u64; 6]| {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        for word in words {
            file.extend_from_slice(&word.to_le_bytes());
        }
    };
    header(4, [notes_at, 0, 0, notes.len() as u64, notes.len() as u64, 0]);
    let first = at;
    for (physical, bytes) in parts {
        let size = bytes.len() as u64;
        header(1, [at, 0, *physical, size, size, 0]);
        at += size;
    }
    file.extend(notes);
    file.resize(first as usize, 0);
    for (_, bytes) in parts {
        file.extend_from_slice(bytes);
    }
    file
}
