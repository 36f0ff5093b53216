//! One stretch of memory in a core: a program header and its bytes.
//!
//! ```
//! use afterimage_testkit::build_core::Segment;
//! let stack = Segment::new(0x7ffd_0000_0000, vec![0; 4096]).access("rw-");
//! let filtered = Segment::new(0x40_0000, Vec::new()).memory_size(0x1000).access("r-x"); // not in the dump
//! let zeros_after = Segment::words(0x60_0000, &[1, 2, 3]).memory_size(0x1000);
//! # let _ = (stack, filtered, zeros_after);
//! ```
//!
//! *Trap*: `claim_*` changes only what the header says; the bytes in the file stay as they are.

/// A program header and the bytes behind it.
#[derive(Clone, Debug)]
pub struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) address: u64,
    pub(super) physical: u64,
    pub(super) align: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) memory_size: Option<u64>,
    pub(super) file_size: Option<u64>,
    pub(super) offset: Option<u64>,
}

impl Segment {
    /// PT_LOAD, readable and writable, aligned to 4096 in the file, all of it in the dump.
    #[must_use]
    pub fn new(address: u64, bytes: Vec<u8>) -> Self {
        Self {
            kind: 1,
            flags: 6,
            address,
            physical: 0,
            align: 4096,
            bytes,
            memory_size: None,
            file_size: None,
            offset: None,
        }
    }

    /// PT_LOAD of little-endian 64-bit words: readable stacks and pointer chains.
    #[must_use]
    pub fn words(address: u64, words: &[u64]) -> Self {
        Self::new(address, words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// Rights as `/proc/PID/maps` writes them, for example `r-x`.
    #[must_use]
    pub fn access(mut self, rights: &str) -> Self {
        self.flags = rights.chars().fold(0, |flags, letter| {
            flags
                | match letter {
                    'r' => 4,
                    'w' => 2,
                    'x' => 1,
                    _ => 0,
                }
        });
        self
    }

    /// `p_memsz`: more than the bytes given means that the rest was left out (Linux) or is zero (.bss).
    #[must_use]
    pub fn memory_size(mut self, size: u64) -> Self {
        self.memory_size = Some(size);
        self
    }

    /// `p_type`, if not PT_LOAD.
    #[must_use]
    pub fn kind(mut self, p_type: u32) -> Self {
        self.kind = p_type;
        self
    }

    /// `p_paddr`.
    #[must_use]
    pub fn physical(mut self, address: u64) -> Self {
        self.physical = address;
        self
    }

    /// `p_align`, and the alignment of the bytes in the file. gdb's gcore writes 1.
    #[must_use]
    pub fn align(mut self, align: u64) -> Self {
        self.align = align;
        self
    }

    /// Says that the bytes stand at another place of the file.
    #[must_use]
    pub fn claim_offset(mut self, p_offset: u64) -> Self {
        self.offset = Some(p_offset);
        self
    }

    /// Says that the file has another number of bytes for this segment.
    #[must_use]
    pub fn claim_file_size(mut self, p_filesz: u64) -> Self {
        self.file_size = Some(p_filesz);
        self
    }
}
