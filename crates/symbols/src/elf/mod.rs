//! Being written.
use crate::{Blob, Error};

/// One ELF file (or an ELF image as it lay in memory).
pub struct ElfObject;

/// One PT_LOAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElfSegment {
    /// Where it is mapped (the module's own address).
    pub vaddr: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// Where its content begins in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// PF_X = 1, PF_W = 2, PF_R = 4.
    pub flags: u32,
}

impl ElfObject {
    /// Reads the headers of an ELF file.
    pub fn parse(_bytes: Blob) -> Result<Self, Error> {
        Err(Error::NotElf)
    }
    /// Reads an image that lies as it did in memory: byte 0 is the first mapped byte.
    pub fn parse_image(_bytes: Blob) -> Result<Self, Error> {
        Err(Error::NotElf)
    }
    /// The same, with the run-time address of byte 0: needed where the dynamic linker has already
    /// relocated the dynamic section in place (glibc does, the vDSO is left alone).
    pub fn parse_image_at(_bytes: Blob, _base: u64) -> Result<Self, Error> {
        Err(Error::NotElf)
    }
    /// Build-id.
    pub fn build_id(&self) -> Option<&[u8]> {
        None
    }
    /// e_machine.
    pub fn machine(&self) -> u16 {
        0
    }
    /// ELFCLASS64.
    pub fn is_64(&self) -> bool {
        true
    }
    /// ELFDATA2LSB.
    pub fn is_little_endian(&self) -> bool {
        true
    }
    /// e_type.
    pub fn file_type(&self) -> u16 {
        0
    }
    /// e_entry.
    pub fn entry(&self) -> u64 {
        0
    }
    /// Every PT_LOAD.
    pub fn segments(&self) -> &[ElfSegment] {
        &[]
    }
    /// `.gnu_debuglink`: name and CRC-32 of the debug file.
    pub fn debuglink(&self) -> Option<(String, u32)> {
        None
    }
    /// `.gnu_debugaltlink`: name and build-id of the supplementary file.
    pub fn alt_debuglink(&self) -> Option<(String, Vec<u8>)> {
        None
    }
    /// Has DWARF units.
    pub fn has_debug_info(&self) -> bool {
        false
    }
    /// Has `.symtab` with content.
    pub fn has_symtab(&self) -> bool {
        false
    }
    /// PT_INTERP.
    pub fn interpreter(&self) -> Option<String> {
        None
    }
    /// The dynamic section: tag, value.
    pub fn dynamic(&self) -> Vec<(u64, u64)> {
        Vec::new()
    }
    /// DT_SONAME.
    pub fn soname(&self) -> Option<String> {
        None
    }
    /// Every DT_NEEDED.
    pub fn needed(&self) -> Vec<String> {
        Vec::new()
    }
    /// Name of the section that holds an address.
    pub fn section_of(&self, _vaddr: u64) -> Option<&str> {
        None
    }
    /// The file's content that is mapped at an address.
    pub fn bytes_at(&self, _vaddr: u64, _len: usize) -> Option<&[u8]> {
        None
    }
}

/// Build-id out of a memory image.
pub fn build_id_of_image(_read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Vec<u8>> {
    None
}
