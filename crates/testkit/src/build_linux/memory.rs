//! Physical memory of a few hundred KiB in one piece, and the page tables over it.

use super::types::Types;
use std::cell::RefCell;

/// Where all of it is mapped a second time (`page_offset_base`).
pub(super) const DIRECT: u64 = 0xffff_9a80_0000_0000;
const PAGE: u64 = 4096;

/// Memory in the making. Addresses are virtual: those of the map of all memory, or of the kernel's image.
pub(super) struct Memory {
    /// Where it begins; its first part is the kernel's image.
    pub(super) base: u64,
    /// Where the image is mapped as such.
    text: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) types: Types,
    /// Where something was written: place and bytes. What a fuzzer should bend.
    pub(super) written: Vec<(u64, u64)>,
    /// Where something begins.
    pub(super) objects: Vec<u64>,
    /// Members that were asked for or set: `structure.path` and its physical place.
    pub(super) members: RefCell<Vec<(String, u64)>>,
}

impl Memory {
    pub(super) fn new(types: Types, text: u64, base: u64) -> Self {
        let members = RefCell::default();
        Self { base, text, bytes: Vec::new(), types, written: Vec::new(), objects: Vec::new(), members }
    }

    /// Room with zeros.
    pub(super) fn room(&mut self, bytes: u64, align: u64) -> u64 {
        let at = (self.bytes.len() as u64).next_multiple_of(align);
        self.bytes.resize((at + bytes) as usize, 0);
        self.objects.push(DIRECT + self.base + at);
        DIRECT + self.base + at
    }

    pub(super) fn page(&mut self) -> u64 {
        self.room(PAGE, PAGE)
    }

    /// Room for a structure.
    pub(super) fn make(&mut self, structure: &str) -> u64 {
        self.room(self.types.size(structure), 64)
    }

    /// Physical place of an address, in the image or in the map of all memory.
    pub(super) fn physical(&self, at: u64) -> u64 {
        if at >= self.text { at - self.text + self.base } else { at - DIRECT }
    }

    fn place(&self, at: u64) -> usize {
        (self.physical(at) - self.base) as usize
    }

    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        let place = self.place(at);
        self.bytes[place..place + bytes.len()].copy_from_slice(bytes);
        self.written.push((self.physical(at), bytes.len() as u64));
    }

    pub(super) fn put_word(&mut self, at: u64, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    pub(super) fn word(&self, at: u64) -> u64 {
        let place = self.place(at);
        u64::from_le_bytes(self.bytes[place..place + 8].try_into().unwrap_or_default())
    }

    /// Where a member lies.
    pub(super) fn at(&self, at: u64, structure: &str, path: &str) -> u64 {
        let place = at + self.types.place(structure, path).0;
        self.members.borrow_mut().push((format!("{structure}.{path}"), self.physical(place)));
        place
    }

    /// Sets a member that is a number or a pointer.
    pub(super) fn set(&mut self, at: u64, structure: &str, path: &str, value: u64) {
        let size = self.types.place(structure, path).1;
        let place = self.at(at, structure, path);
        self.put(place, &value.to_le_bytes()[..size as usize]);
    }

    /// Sets a member that is text.
    pub(super) fn set_text(&mut self, at: u64, structure: &str, path: &str, text: &str) {
        let place = self.at(at, structure, path);
        self.put(place, format!("{text}\0").as_bytes());
    }

    pub(super) fn text(&mut self, text: &str) -> u64 {
        let at = self.room(text.len() as u64 + 1, 8);
        self.put(at, text.as_bytes());
        at
    }

    /// A ring: each link points to the next, and its second word to the one before.
    pub(super) fn ring(&mut self, links: &[u64]) {
        for (index, link) in links.iter().enumerate() {
            let next = links[(index + 1) % links.len()];
            self.put_word(*link, next);
            self.put_word(next + 8, *link);
        }
    }

    /// Maps a page in the tables whose root is at `root`; a large one has 2 MiB.
    pub(super) fn map(&mut self, root: u64, at: u64, physical: u64, large: bool, user: bool) {
        const TABLE: u64 = 0x63;
        const LARGE: u64 = 0x80;
        const USER: u64 = 4;
        let user = if user { USER } else { 0 };
        let mut table = root;
        let last = if large { 21 } else { 12 };
        let mut shift = 39;
        while shift > last {
            let entry = table + 8 * (at >> shift & 511);
            let mut next = self.word(entry);
            if next == 0 {
                let page = self.page();
                next = self.physical(page) | TABLE | user;
                self.put_word(entry, next);
            }
            table = DIRECT + (next & 0x000f_ffff_ffff_f000);
            shift -= 9;
        }
        let kind = if large { LARGE } else { 0 };
        self.put_word(table + 8 * (at >> last & 511), physical | TABLE | user | kind);
    }
}
