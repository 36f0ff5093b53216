//! Build-ids: out of the notes of a file, or out of a module's first pages in memory.
//!
//! Not here: notes of cores (the dump crate).
//!
//! ```
//! // Nothing can be read, so nothing is found.
//! assert_eq!(afterimage_symbols::build_id_of_image(&mut |_, _| false), None);
//! ```
//!
//! Trap: a note header has three 4-byte words in 64-bit files too, but a segment aligned to 8 pads its notes to 8
//! (`.note.gnu.property`), and linkers put both kinds side by side.

use super::*;

/// The build-id of the first GNU build-id note in some bytes.
fn build_id_in(notes: &[u8], little: bool, align: u64) -> Option<Vec<u8>> {
    let view = View::new(notes, little);
    let mut at = 0u64;
    // Every turn moves on by at least 12 bytes.
    while let (Some(namesz), Some(descsz), Some(kind)) = (view.u32(at), view.u32(at + 4), view.u32(at + 8)) {
        let name_at = at + 12;
        let desc_at = (name_at + u64::from(namesz)).next_multiple_of(align);
        if kind == NT_GNU_BUILD_ID && view.bytes(name_at, u64::from(namesz)) == Some(b"GNU\0") {
            let id = view.bytes(desc_at, u64::from(descsz))?;
            return (!id.is_empty() && id.len() <= 64).then(|| id.to_vec());
        }
        at = (desc_at + u64::from(descsz)).next_multiple_of(align);
    }
    None
}

fn build_id_either(notes: &[u8], little: bool) -> Option<Vec<u8>> {
    build_id_in(notes, little, 4).or_else(|| build_id_in(notes, little, 8))
}

impl ElfObject {
    pub(super) fn find_build_id(&self) -> Option<Vec<u8>> {
        let in_segments = self.programs.iter().filter(|p| p.is_note()).find_map(|program| {
            let ElfSegment { vaddr, offset, filesz, .. } = program.segment;
            let notes = match self.image {
                Some((first, _)) => self.view().bytes(vaddr.checked_sub(first)?, filesz),
                None => self.view().bytes(offset, filesz),
            }?;
            build_id_either(notes, self.little)
        });
        // In a debug file the program headers may point at nothing; relocatable files have none.
        in_segments.or_else(|| {
            let notes = self.sections.iter().filter(|section| section.kind == SHT_NOTE);
            notes.filter_map(|s| self.section_raw(s)).find_map(|notes| build_id_either(notes, self.little))
        })
    }
}

/// The build-id of a module as it lies in memory, by its program headers and notes.
///
/// `read` fills the buffer from an offset that counts from the module's first mapped byte, and says whether it could.
pub fn build_id_of_image(read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Vec<u8>> {
    let mut header = [0u8; 64];
    if !read(0, &mut header) || header.get(..4) != Some(b"\x7fELF") {
        return None;
    }
    let is_64 = header.get(4) == Some(&2);
    let little = header.get(5) == Some(&1);
    let view = View::new(&header, little);
    let (phoff, entsize, count, least) = if is_64 {
        (view.u64(32)?, view.u16(54)?, view.u16(56)?, 56)
    } else {
        (u64::from(view.u32(28)?), view.u16(42)?, view.u16(44)?, 32)
    };
    if entsize < least || phoff > 1 << 20 {
        return None;
    }
    let count = count.min(256);
    let mut table = vec![0u8; usize::from(entsize) * usize::from(count)];
    if !read(phoff, &mut table) {
        return None;
    }
    let table = View::new(&table, little);
    let programs: Vec<Program> =
        (0..u64::from(count)).filter_map(|index| Program::read(&table, index * u64::from(entsize), is_64)).collect();
    let first = programs.iter().filter(|p| p.kind == PT_LOAD).map(|p| {
        // The page that holds the ELF header: the lowest segment's, counted back by its offset in the file.
        p.segment.vaddr.wrapping_sub(p.segment.offset & 0xfff) & !0xfff
    });
    let first = first.min().unwrap_or(0);
    programs.iter().filter(|p| p.is_note() && p.segment.filesz <= 64 * 1024).find_map(|program| {
        let mut notes = vec![0u8; usize::try_from(program.segment.filesz).ok()?];
        read(program.segment.vaddr.checked_sub(first)?, &mut notes).then_some(())?;
        build_id_either(&notes, little)
    })
}
