//! What the walkers share: numbers by their own width, long arrays page by page, and what could not be read.

use super::kernel::Linux;
use super::tasks::Process;

/// Things of one kind that could not be read: how many, and the first one.
#[derive(Default)]
pub(super) struct Missing(Vec<(&'static str, u32, u32)>);

impl Missing {
    /// Notes that `what` of process `pid` is missing.
    pub(super) fn note(&mut self, what: &'static str, pid: u32) {
        match self.0.iter_mut().find(|(own, _, _)| *own == what) {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((what, pid, 1)),
        }
    }

    /// One sentence a kind.
    pub(super) fn remarks(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(what, pid, count)| match count {
            1 => format!("process {pid}: {what}"),
            _ => format!("process {pid}: {what}; {} more like it", count - 1),
        })
    }
}

impl Linux {
    /// A number member, as wide as the kernel's types say, bit fields too.
    ///
    /// `sk_protocol` was eight bits of a word and is a number of 16 bits since 5.6.
    pub(super) fn value(&self, at: u64, structure: &str, path: &str) -> Option<u64> {
        let types = self.types.as_ref().ok()?;
        let member = self.member(structure, path)?;
        let at = at.checked_add(member.offset())?;
        if member.bits == 0 {
            return self.number(at, usize::try_from(types.size(member.type_id)?).ok().filter(|size| *size <= 8)?);
        }
        let shift = member.bit_offset % 8;
        let bytes = (shift + u64::from(member.bits)).div_ceil(8);
        let number = self.number(at, usize::try_from(bytes).ok().filter(|bytes| *bytes <= 8)?)? >> shift;
        Some(if member.bits >= 64 { number } else { number & ((1 << member.bits) - 1) })
    }

    /// Elements of an array member.
    pub(super) fn elements(&self, structure: &str, path: &str) -> Option<u64> {
        let types = self.types.as_ref().ok()?;
        let member = self.member(structure, path)?;
        types.array(member.type_id).map(|(_, count)| u64::from(count))
    }

    /// `count` pointers in a row; `None` for those whose page is not in the dump.
    pub(super) fn words(&self, at: u64, count: u64) -> Vec<Option<u64>> {
        const PAGE: u64 = 4096;
        let mut words = Vec::new();
        let mut left = count;
        let mut at = at;
        while left > 0 {
            let here = ((PAGE - at % PAGE) / 8).clamp(1, left);
            let bytes = self.bytes(at, 8 * here as usize);
            if self.purse.is_empty() {
                break;
            }
            let chunks = bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok()).map(u64::from_le_bytes);
            let before = words.len();
            words.extend(chunks.map(Some));
            words.resize(before + here as usize, None);
            left -= here;
            at = at.wrapping_add(8 * here);
        }
        words
    }

    /// The processes that are asked for, and what was wrong on the way to them.
    pub(super) fn asked(&self, pid: Option<u32>) -> Result<(Vec<Process>, Vec<String>), String> {
        let (mut processes, remarks) = self.processes()?;
        if let Some(pid) = pid {
            processes.retain(|process| process.pid == pid);
            if processes.is_empty() {
                return Err(format!("the machine has no process {pid}"));
            }
        }
        Ok((processes, remarks))
    }

    /// The name of the file system that a directory entry is of.
    pub(super) fn file_system(&self, dentry: u64) -> Option<String> {
        self.file_system_of(self.pointer(dentry, "dentry", "d_sb")?)
    }

    /// The name of a super block's file system.
    pub(super) fn file_system_of(&self, block: u64) -> Option<String> {
        let kind = self.pointer(block, "super_block", "s_type")?;
        self.text(self.pointer(kind, "file_system_type", "name")?, 64)
    }
}
