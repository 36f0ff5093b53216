//! What shows that bytes are the memory of a machine: the words of a kernel, looked for at a few places or everywhere.
//!
//! *What it is not*: it understands no kernel; it tells a Linux from a Windows and x86-64 from the rest, for `info`.

use crate::machine::{Machine, PhysMemory};
use crate::source::{Source, read_vec};
use crate::{Arch, Dump, MemoryExt, Os, Phys};

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;
const PAGE: u64 = 4096;
/// Bytes that are looked at when a file without a word on its system is opened: Linux lies anywhere (KASLR).
const LITTLE: u64 = 64 << 20;
/// The same at most.
const LOOK: u64 = 512 << 20;

/// Signs of a kernel in the first part of a file.
pub(crate) fn of_a_kernel(source: &dyn Source) -> bool {
    let mut at = 0;
    while at < LOOK.min(source.len()) {
        let block = read_vec(source, at, BLOCK + 64).unwrap_or_default();
        if words(&block).is_some() {
            return true;
        }
        at += BLOCK as u64;
    }
    false
}

/// The system whose words these are, and the release if they say it.
fn words(block: &[u8]) -> Option<(Os, Option<String>)> {
    let linux = b"Linux version ";
    if let Some(at) = find(block, linux)
        && let Some(text) = block.get(at + linux.len()..)
        && text.first().is_some_and(u8::is_ascii_digit)
    {
        let end = text.iter().take(128).position(|byte| byte.is_ascii_whitespace()).unwrap_or(0);
        let release = String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned();
        if release.contains('.') {
            return Some((Os::Linux, Some(release)));
        }
    }
    // "\SystemRoot\system32\ntoskrnl.exe" stands in the loader's list as UTF-16.
    let windows: Vec<u8> = "ntoskrnl.exe".encode_utf16().flat_map(u16::to_le_bytes).collect();
    find(block, &windows).map(|_| (Os::Windows, None))
}

/// The first place of `wanted`.
pub(crate) fn find(block: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(block, wanted)
}

/// Fills system and processor of a dump whose container says neither, from its memory's first part.
pub(crate) fn look_into(dump: &mut Dump) {
    let Some(machine) = &dump.machine else { return };
    let (system, arch) = signs(machine);
    if let Some((os, release)) = system {
        dump.os = os;
        dump.os_version = dump.os_version.take().or(release);
    }
    if dump.arch == Arch::Other(0)
        && let Some(arch) = arch
    {
        dump.arch = arch;
        dump.pointer_size = arch.info().pointer_size;
    }
}

/// System and processor: the kernel's words, and the programs in memory, of which each names its processor.
fn signs(machine: &Machine) -> (Option<(Os, Option<String>)>, Option<Arch>) {
    let mut block = vec![0; BLOCK + 64];
    let (mut at, mut looked) = (Phys(0), 0);
    let mut system = None;
    let mut votes: Vec<(Arch, usize)> = Vec::new();
    while let Some(extent) = machine.memory.next(at).filter(|extent| extent.end > at && looked < LOOK) {
        if system.is_some() && looked >= LITTLE {
            break;
        }
        let mut here = extent.start.max(at);
        at = extent.end;
        // Once the kernel has said its name, the programs of some mebibytes tell the processor.
        let enough = |system: &Option<_>, looked| system.is_some() && looked >= LITTLE;
        while extent.absent.is_none() && here < extent.end && looked < LOOK && !enough(&system, looked) {
            let want = (extent.end.0 - here.0).min(block.len() as u64) as usize;
            let got = block.get_mut(..want).map_or(0, |block| machine.memory.read_upto(here, block));
            let bytes = block.get(..got).unwrap_or_default();
            system = system.or_else(|| words(bytes));
            let skip = (here.0.next_multiple_of(PAGE) - here.0) as usize;
            for page in bytes.get(skip..).unwrap_or_default().chunks(PAGE as usize) {
                if let Some(arch) = program(page) {
                    if let Some((_, count)) = votes.iter_mut().find(|(own, _)| *own == arch) {
                        *count += 1;
                    } else if votes.len() < 16 {
                        votes.push((arch, 1));
                    }
                }
            }
            here.0 += BLOCK as u64;
            looked += BLOCK as u64;
        }
    }
    let most = votes.into_iter().max_by_key(|(_, count)| *count).map(|(arch, _)| arch);
    (system, if pc(&*machine.memory) { Some(Arch::X86_64) } else { most })
}

/// The processor of a 64-bit program, library or vDSO that begins in this page.
fn program(page: &[u8]) -> Option<Arch> {
    let head = page.get(..20).filter(|head| head.starts_with(b"\x7fELF\x02\x01\x01"))?;
    let (kind, machine) = (u16::from(*head.get(16)?), u16::from_le_bytes([*head.get(18)?, *head.get(19)?]));
    let arch = Arch::from_elf(machine, true);
    (matches!(kind, 2 | 3) && !matches!(arch, Arch::Other(_))).then_some(arch)
}

/// Whether it is a PC: its BIOS has vectors at 0.
fn pc(memory: &dyn PhysMemory) -> bool {
    let mut head = [0; 0x80];
    memory.read_upto(Phys(0), &mut head) == head.len() && super::raw::interrupt_vectors(&head)
}
