//! Whether a file on disk is the one that was mapped. A file that fails is never used: a wrong library gives a stack
//! that looks right and is not.
//!
//! *Trap*: most distributions' files have build-ids, but the dump holds them only if it holds the page with the note.
//! Without it headers, layout, and what text the dump happens to hold, must agree.

use crate::modules::headers::{ET_EXEC, Headers, PAGE, PF_W, PF_X, PT_DYNAMIC};
use afterimage_dump::bytes::Fields;
use afterimage_dump::{Arch, Memory, MemoryExt, Virt};

/// Pages of text that are compared at most.
const TEXT_PAGES: u64 = 8;

/// What the dump tells of a module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) build_id: Option<Vec<u8>>,
    /// ELF headers in the dump's memory.
    pub(crate) headers: Option<Headers>,
    /// Run-time address and file offset of each mapping.
    pub(crate) mappings: Vec<(u64, u64)>,
    /// `AT_ENTRY`, `AT_PHDR`, `AT_PHNUM`; only for the program.
    pub(crate) entry: Option<u64>,
    pub(crate) phdr: Option<u64>,
    pub(crate) phnum: Option<u64>,
    /// Run-time address of the dynamic section (`l_ld`).
    pub(crate) dynamic: Option<u64>,
    /// Lowest address, where that is known for sure.
    pub(crate) base: Option<u64>,
}

/// A file that agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// By build-id (else by headers or layout).
    pub(crate) by_build_id: bool,
    /// Run-time address minus the file's own address, if the dump lets it be worked out.
    pub(crate) bias: Option<u64>,
}

/// Bytes as the digits that people compare.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Expected {
    /// Judges a file by its bytes and build-id; the error says in words why it is not the one.
    pub(crate) fn judge(
        &self,
        arch: Arch,
        memory: &dyn Memory<Virt>,
        bytes: &[u8],
        build_id: Option<&[u8]>,
    ) -> Result<Agreed, String> {
        let file = Headers::of_file(bytes).ok_or("it is no ELF program or library")?;
        if let Some(known) = &self.build_id {
            return match build_id {
                // Old Breakpad dumps keep only the first 16 bytes of a longer build-id.
                Some(id) if id == known || (known.len() == 16 && id.starts_with(known)) => {
                    Ok(Agreed { by_build_id: true, bias: self.bias(&file).unwrap_or(None) })
                }
                Some(id) => Err(format!("its build-id is {}, the dumped module's is {}", hex(id), hex(known))),
                None => Err(format!("it has no build-id, the dumped module's is {}", hex(known))),
            };
        }
        let (theirs, ours) = (Arch::from_elf(file.machine, file.is_64), arch);
        if theirs != ours && !(matches!(theirs, Arch::Other(_)) || matches!(ours, Arch::Other(_))) {
            return Err(format!("it is for {theirs}, the dumped process ran on {ours}"));
        }
        if let Some(why) = self.headers.as_ref().and_then(|headers| headers.differs(&file)) {
            return Err(why);
        }
        let bias = self.bias(&file)?;
        if self.headers.is_none() && bias.is_none() {
            return Err("the dump holds nothing of the module to compare it with".to_owned());
        }
        if let Some(bias) = bias {
            self.compare_text(memory, bytes, &file, bias)?;
        }
        Ok(Agreed { by_build_id: false, bias })
    }

    /// The bias, worked out from everything that the dump knows; an error if two facts contradict each other.
    fn bias(&self, file: &Headers) -> Result<Option<u64>, String> {
        let mask = if file.is_64 { u64::MAX } else { u64::from(u32::MAX) };
        let mut found = Agreement { mask, known: None };
        for (index, &(start, offset)) in self.mappings.iter().enumerate() {
            // The loader maps the file over the whole range at first, and takes access away from the gaps between
            // segments (glibc's `_dl_map_segments`): these show bytes of the file that no segment asks for.
            let first = self.mappings.first().map(|&(start, offset)| start.wrapping_sub(offset));
            if index > 0 && first == Some(start.wrapping_sub(offset)) {
                continue;
            }
            // A page of the file may be mapped twice, for the end of one segment and the start of the next: any
            // segment that shows the offset will do.
            let biases: Vec<u64> = file
                .loads()
                .filter(|load| {
                    let first = load.offset & !(PAGE - 1);
                    (first..load.offset.saturating_add(load.file_size.max(1))).contains(&offset)
                })
                .map(|load| start.wrapping_sub(load.vaddr).wrapping_sub(offset.wrapping_sub(load.offset)))
                .collect();
            match (biases.first(), found.known) {
                (None, _) => return Err(format!("no segment of it shows the file offset {offset:#x} that was mapped")),
                (Some(_), Some((known, _))) if biases.iter().any(|&bias| bias & mask == known) => {}
                (Some(&bias), _) => found.add(bias, "the file mappings")?,
            }
        }
        if let Some(dynamic) = self.dynamic {
            let program = file.program(PT_DYNAMIC).ok_or("it has no dynamic section, the dumped module has one")?;
            found.add(dynamic.wrapping_sub(program.vaddr), "the address of the dynamic section")?;
        }
        if let Some(entry) = self.entry {
            found.add(entry.wrapping_sub(file.entry), "the entry point (AT_ENTRY)")?;
        }
        if let (Some(phdr), Some(own)) = (self.phdr, file.phdr_address()) {
            found.add(phdr.wrapping_sub(own), "the address of the program headers (AT_PHDR)")?;
        }
        if let Some(phnum) = self.phnum
            && phnum != u64::from(file.phnum)
        {
            return Err(format!("it has {} program headers, the dumped program has {phnum}", file.phnum));
        }
        let mut found = found.known;
        if let (Some(base), Some((low, _)), None) = (self.base, file.span(), found) {
            found = Some((base.wrapping_sub(low) & mask, "the lowest address"));
        }
        match found {
            Some((bias, _)) if file.file_type == ET_EXEC && bias != 0 => {
                Err("it is a program for a fixed address, and was mapped elsewhere".to_owned())
            }
            found => Ok(found.map(|(bias, _)| bias)),
        }
    }

    /// Compares pages of code that the dump holds. Breakpoints and text relocations change some bytes of some pages, so
    /// a page agrees if most of its bytes do, and the module if most of its pages do.
    fn compare_text(&self, memory: &dyn Memory<Virt>, bytes: &[u8], file: &Headers, bias: u64) -> Result<(), String> {
        let (mut same, mut other) = (0, 0);
        for load in file.loads().filter(|load| load.flags & PF_X != 0 && load.flags & PF_W == 0) {
            let pages = load.file_size / PAGE;
            let step = (pages / TEXT_PAGES).max(1);
            for page in (0..pages).step_by(step as usize) {
                let mut dumped = [0u8; PAGE as usize];
                let at = bias.wrapping_add(load.vaddr).wrapping_add(page * PAGE);
                let from = usize::try_from(load.offset.saturating_add(page * PAGE)).unwrap_or(usize::MAX);
                let Some(stored) = from.checked_add(dumped.len()).and_then(|end| bytes.get(from..end)) else { break };
                if memory.read_exact(Virt(at), &mut dumped).is_err() {
                    continue;
                }
                let equal = dumped.iter().zip(stored).filter(|(a, b)| a == b).count();
                if equal * 4 >= dumped.len() * 3 { same += 1 } else { other += 1 }
            }
        }
        if other > same {
            return Err(format!("its code is not the code in the dump ({other} of {} pages differ)", same + other));
        }
        Ok(())
    }
}

/// A bias that several facts must give alike.
struct Agreement {
    mask: u64,
    known: Option<(u64, &'static str)>,
}

impl Agreement {
    fn add(&mut self, bias: u64, from: &'static str) -> Result<(), String> {
        let bias = bias & self.mask;
        match self.known {
            Some((known, other)) if known != bias => {
                Err(format!("its layout does not fit: {from} and {other} of the dump do not agree with it"))
            }
            Some(_) => Ok(()),
            None => {
                self.known = Some((bias, from));
                Ok(())
            }
        }
    }
}

/// Whether a file holds only debug information: its code was taken out (`SHT_NOBITS`), so it can stand for no module.
pub(crate) fn is_debug_only(bytes: &[u8]) -> bool {
    const SHT_NOBITS: u32 = 8;
    const SHF_EXECINSTR: u64 = 4;
    let Some(headers) = Headers::of_file(bytes) else { return false };
    let fields = Fields::new(bytes, headers.endian);
    let (table, size, flags_at, word) = if headers.is_64 { (40, 58, 8, 8) } else { (32, 46, 8, 4) };
    let sections = || {
        let table = usize::try_from(fields.uint(table, word)?).ok()?;
        let size = usize::from(fields.u16(size)?);
        let count = usize::from(fields.u16(size_of_count(headers.is_64))?);
        let mut code = (0..count).filter_map(|index| {
            let at = table.checked_add(index * size)?;
            let flags = fields.uint(at.checked_add(flags_at)?, word)?;
            (flags & SHF_EXECINSTR != 0).then_some(fields.u32(at + 4)?)
        });
        let first = code.next()?;
        Some(first == SHT_NOBITS && code.all(|kind| kind == SHT_NOBITS))
    };
    sections().unwrap_or(false)
}

/// Where `e_shnum` stands.
fn size_of_count(is_64: bool) -> usize {
    if is_64 { 60 } else { 48 }
}

/// CRC-32 as `.gnu_debuglink` has it (the polynomial of zlib and Ethernet).
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut table = [0u32; 256];
    for (value, slot) in (0u32..).zip(table.iter_mut()) {
        *slot = (0..8).fold(value, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 });
    }
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        let slot = table.get(usize::from(crc as u8 ^ byte)).copied().unwrap_or(0);
        crc >> 8 ^ slot
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn crc_has_the_known_check_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    fn own() -> (Vec<u8>, Headers) {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let headers = Headers::of_file(&bytes).unwrap();
        (bytes, headers)
    }

    fn judge(expected: &Expected, pieces: Vec<(u64, Vec<u8>)>, id: Option<&[u8]>) -> Result<Agreed, String> {
        let arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };
        expected.judge(arch, &*testing::dump(pieces).memory, &own().0, id)
    }

    #[test]
    fn a_build_id_decides_alone() {
        let expected = Expected { build_id: Some(vec![1, 2]), ..Expected::default() };
        assert!(judge(&expected, vec![], Some(&[1, 2])).unwrap().by_build_id);
        assert!(judge(&expected, vec![], Some(&[1, 3])).unwrap_err().contains("0103"));
        assert!(judge(&expected, vec![], None).unwrap_err().contains("no build-id"));
    }

    #[test]
    fn without_a_build_id_layout_and_text_decide() {
        let (bytes, headers) = own();
        let bias = 0x5555_0000_0000;
        let load = *headers.loads().find(|load| load.flags & PF_X != 0).unwrap();
        let good = Expected {
            mappings: headers.loads().map(|l| (bias + (l.vaddr & !0xfff), l.offset & !0xfff)).collect(),
            entry: Some(bias + headers.entry),
            phnum: Some(u64::from(headers.phnum)),
            ..Expected::default()
        };
        let text = bytes[load.offset as usize..][..load.file_size as usize & !0xfff].to_vec();
        let agreed = judge(&good, vec![(bias + load.vaddr, text.clone())], None).unwrap();
        assert_eq!(agreed, Agreed { by_build_id: false, bias: Some(bias) });
        let garbage = vec![0x5a; text.len()];
        assert!(judge(&good, vec![(bias + load.vaddr, garbage)], None).unwrap_err().contains("code"));
        let wrong_entry = Expected { entry: Some(bias + headers.entry + 16), ..good.clone() };
        assert!(judge(&wrong_entry, vec![], None).unwrap_err().contains("AT_ENTRY"));
        let wrong_mapping = Expected { mappings: vec![(bias, 1 << 60)], ..good.clone() };
        assert!(judge(&wrong_mapping, vec![], None).is_err());
        assert!(judge(&Expected::default(), vec![], None).unwrap_err().contains("nothing"));
    }
}
