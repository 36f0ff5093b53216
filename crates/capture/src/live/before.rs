//! What is read of a process before it is held: everything that need not be of the very instant.
//!
//! *Trap*: `smaps` walks all page tables, a second for a large process. It is read while the process runs; `maps`,
//! read while it stands, then says what has changed.

use super::LiveError;
use super::inject::{Gadgets, Refusal};
use super::who::Subject;
use crate::memory::Reader;
use crate::picture::Told;
use crate::procfs::{self, Stat, Vma};
use crate::sys::Tid;
use crate::{elf, facts};
use afterimage_dump::write::notes::BuildId;
use std::collections::HashMap;

/// A process as it was shortly before.
#[derive(Clone)]
pub(super) struct Before {
    pub(super) told: HashMap<Tid, Told>,
    pub(super) vmas: Vec<Vma>,
    pub(super) auxv: Vec<u8>,
    pub(super) filter: u64,
    pub(super) facts: Vec<(&'static str, Vec<u8>)>,
    pub(super) build_ids: Vec<BuildId>,
    /// What calls need, or why there can be none.
    pub(super) gadgets: Result<Gadgets, Refusal>,
    pub(super) soft_errors: Vec<String>,
}

impl Before {
    pub(super) fn read(subject: &Subject, reader: &Reader) -> Result<Self, LiveError> {
        let (pid, memory) = (subject.pid, subject.memory);
        let vanished = LiveError::Vanished { pid };
        let (vmas, with_flags) = procfs::mappings(memory).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => subject.refusal(&std::io::Error::from_raw_os_error(libc::EPERM)),
            _ => LiveError::Vanished { pid },
        })?;
        if vmas.is_empty() {
            return Err(vanished);
        }
        let mut soft_errors = Vec::new();
        if !with_flags {
            soft_errors
                .push("the kernel does not show the flags of mappings: MADV_DONTDUMP could not be honoured".into());
        }
        let stat = Stat::read(&format!("/proc/{pid}/stat")).map_err(|_| LiveError::Vanished { pid })?;
        let told = procfs::threads(pid).unwrap_or_default().into_iter().map(|tid| (tid, Told::read(pid, tid)));
        Ok(Self {
            told: told.collect(),
            auxv: std::fs::read(format!("/proc/{memory}/auxv")).unwrap_or_default(),
            filter: procfs::coredump_filter(memory),
            facts: facts::collect(memory, &stat),
            build_ids: elf::build_ids(reader, &vmas),
            gadgets: gadgets(subject, reader, &vmas),
            vmas,
            soft_errors,
        })
    }

    /// What /proc said of a thread; asked now for one that is new.
    pub(super) fn told(&self, pid: Tid, tid: Tid) -> Told {
        self.told.get(&tid).cloned().unwrap_or_else(|| Told::read(pid, tid))
    }
}

#[cfg(target_arch = "x86_64")]
fn gadgets(subject: &Subject, reader: &Reader, vmas: &[Vma]) -> Result<Gadgets, Refusal> {
    const ELF_CLASS: u64 = 4;
    const WIDE: u8 = 2;
    if subject.status.shadow_stack {
        return Err(Refusal::ShadowStack);
    }
    let program = vmas.iter().find(|vma| vma.file && vma.offset == 0 && vma.permissions.read);
    match program.map(|vma| reader.exact::<1>(vma.start + ELF_CLASS)) {
        Some(Some([WIDE])) => {}
        Some(None) => return Err(Refusal::Lost),
        _ => return Err(Refusal::Processor),
    }
    Gadgets::find(reader, vmas).ok_or(Refusal::NoCode)
}

#[cfg(not(target_arch = "x86_64"))]
fn gadgets(_subject: &Subject, _reader: &Reader, _vmas: &[Vma]) -> Result<Gadgets, Refusal> {
    Err(Refusal::Processor)
}
