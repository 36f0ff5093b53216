//! What a Linux machine's VMCOREINFO tells of the dump as a whole.
//!
//! *Trap*: its addresses are virtual, and the kernel lies anywhere (KASLR). Two numbers in it lead from the kernel's own
//! addresses to physical ones; nothing else here needs page tables.

use super::vmcoreinfo::value;
use crate::machine::{PhysMemory, SystemName};
use crate::{Arch, Dump, MemoryExt, Os, Phys};

/// Fills release, name and time of the dump out of the VMCOREINFO that the container carries.
pub(crate) fn linux_facts(dump: &mut Dump) {
    let arch = dump.arch;
    let Some(machine) = dump.machine.as_deref_mut() else { return };
    let Some(text) = machine.vmcoreinfo.as_deref() else { return };
    dump.os = Os::Linux;
    if let Some(release) = value(text, "OSRELEASE") {
        dump.os_version.get_or_insert_with(|| release.to_owned());
    }
    // The crashed kernel writes its time when it hands over to the crash kernel.
    dump.time = dump.time.or_else(|| value(text, "CRASHTIME")?.parse().ok());
    if dump.writer.is_none() && value(text, "CRASHTIME").is_some() {
        dump.writer = Some("kdump".to_owned());
    }
    if machine.name.as_ref().is_none_or(|name| name.release.is_empty() || name.node.is_empty()) {
        machine.name = system_name(&*machine.memory, arch, text).or(machine.name.take());
    }
}

/// A number of VMCOREINFO: decimal and signed, or hexadecimal with `0x`.
fn number(text: &str, key: &str) -> Option<u64> {
    let value = value(text, key)?;
    match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => value.parse::<i64>().ok().map(|value| value as u64),
    }
}

/// Physical place of an address in the kernel's image.
fn kernel_place(text: &str, arch: Arch, at: u64) -> Option<Phys> {
    /// `__START_KERNEL_map` (arch/x86/include/asm/page_64_types.h).
    const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
    match arch {
        Arch::X86_64 => Some(Phys(at.checked_sub(KERNEL_MAP)?.wrapping_add(number(text, "NUMBER(phys_base)")?))),
        Arch::Aarch64 => Some(Phys(at.wrapping_sub(number(text, "NUMBER(kimage_voffset)")?))),
        _ => None,
    }
}

/// What `uname` says, out of the kernel's `init_uts_ns`.
pub(crate) fn system_name(memory: &dyn PhysMemory, arch: Arch, text: &str) -> Option<SystemName> {
    const FIELD: usize = 65;
    let at = u64::from_str_radix(value(text, "SYMBOL(init_uts_ns)")?, 16).ok()?;
    let offset = number(text, "OFFSET(uts_namespace.name)")?;
    let mut bytes = [0; 5 * FIELD];
    memory.read_exact(kernel_place(text, arch, at.wrapping_add(offset))?, &mut bytes).ok()?;
    let mut fields = bytes.chunks_exact(FIELD).map(|field| {
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(FIELD);
        let field = field.get(..end)?;
        let sane = !field.is_empty() && field.iter().all(|byte| (b' '..0x7f).contains(byte));
        sane.then(|| String::from_utf8_lossy(field).into_owned())
    });
    let mut next = || fields.next().flatten();
    let name = SystemName { system: next()?, node: next()?, release: next()?, version: next()?, machine: next()? };
    // The proof that this is the place.
    (value(text, "OSRELEASE") == Some(name.release.as_str())).then_some(name)
}
