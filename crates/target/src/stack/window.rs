//! A small cache over memory: a walk reads the same few pages of stack and code again and again.
//!
//! *What it is not*: it is no shared cache; each walk has its own, so that no lock is taken per word.
//!
//! *Trap*: a dump may hold half a page (a minidump's stack begins at the stack pointer), so a block that cannot be read
//! from its start is read from the wanted byte on.

use afterimage_dump::{Endian, Fault, Memory, MemoryExt, Virt};
use std::cell::RefCell;

const BLOCK: u64 = 4096;
const BLOCKS: usize = 4;

#[derive(Default)]
struct Block {
    start: u64,
    bytes: Vec<u8>,
    used: u64,
}

impl Block {
    /// The bytes from `at` on, if this block has any.
    fn from(&self, at: u64) -> Option<&[u8]> {
        let skip = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(skip..).filter(|rest| !rest.is_empty())
    }
}

/// Memory as one walk sees it.
pub(super) struct Window<'a> {
    memory: &'a dyn Memory<Virt>,
    endian: Endian,
    blocks: RefCell<(u64, [Block; BLOCKS])>,
}

impl<'a> Window<'a> {
    pub(super) fn new(memory: &'a dyn Memory<Virt>, endian: Endian) -> Self {
        Self { memory, endian, blocks: RefCell::default() }
    }

    /// Fills `buf` whole.
    pub(super) fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), Fault<Virt>> {
        let got = self.read_upto(at, buf);
        if got == buf.len() {
            return Ok(());
        }
        // Only a failure pays for the second read, which says why.
        self.memory.read_exact(Virt(at), buf)
    }

    /// Reads as many bytes as lie there without a gap, and gives how many.
    pub(super) fn read_upto(&self, at: u64, buf: &mut [u8]) -> usize {
        let mut done = 0usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(next) = at.checked_add(done as u64) else { break };
            match self.read_some(next, rest) {
                0 => break,
                n => done += n,
            }
        }
        done
    }

    fn read_some(&self, at: u64, buf: &mut [u8]) -> usize {
        let copy = |from: &[u8], buf: &mut [u8]| {
            let n = from.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..n), from.get(..n)) {
                to.copy_from_slice(from);
            }
            n
        };
        let mut cache = self.blocks.borrow_mut();
        let (clock, blocks) = &mut *cache;
        *clock += 1;
        for block in blocks.iter_mut() {
            if let Some(n) = block.from(at).map(|from| copy(from, buf)) {
                block.used = *clock;
                return n;
            }
        }
        // A scan asks for as many places that are not there as there are words on a stack: they shall cost no block.
        if self.memory.read_upto(Virt(at), &mut [0]) == 0 {
            return 0;
        }
        let Some(block) = blocks.iter_mut().min_by_key(|block| block.used) else { return 0 };
        let aligned = at & !(BLOCK - 1);
        for start in [aligned, at] {
            block.start = start;
            block.bytes.resize((BLOCK - (start - aligned)) as usize, 0);
            let got = self.memory.read_upto(Virt(start), &mut block.bytes);
            block.bytes.truncate(got);
            if let Some(n) = block.from(at).map(|from| copy(from, buf)) {
                block.used = *clock;
                return n;
            }
        }
        block.used = 0;
        0
    }

    /// An unsigned number of 1 to 8 bytes in the dump's byte order.
    pub(super) fn uint(&self, at: u64, size: usize) -> Result<u64, Fault<Virt>> {
        let mut bytes = [0; 8];
        let Some(buf) = bytes.get_mut(..size) else {
            return Ok(0);
        };
        self.read(at, buf)?;
        Ok(self.endian.uint(buf))
    }

    /// Byte order.
    pub(super) fn endian(&self) -> Endian {
        self.endian
    }
}
