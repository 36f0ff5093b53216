//! Who probably did it: the driver that an address of the stop lies in, or the first one on the stack that is not part of
//! the kernel.
//!
//! *What it is not*: proof. The evidence is given with it, so that a reader can judge.
//!
//! *Trap*: nearly every stop happens *in* the kernel or in one of the frameworks that drivers call. Those are blamed only
//! if there is nobody else.

use super::exception::exception;
use crate::crash::Evidence;
use crate::target::Target;
use afterimage_dump::system::windows::Stop;
use afterimage_dump::{Dump, ModuleRecord};

/// Frames of the stack that are looked at for a driver.
const NEAR: usize = 24;

/// A driver, and why it is suspected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Culprit {
    /// File name, as `amdppm.sys`.
    pub name: String,
    /// Where it begins.
    pub base: u64,
    /// The facts that speak for it, the strongest first.
    pub evidence: Vec<Evidence>,
    /// Whether an instruction of the driver itself was named, not only an address on the stack.
    pub direct: bool,
    /// Whether it is the kernel or a framework that drivers call: then somebody else probably misused it.
    pub system: bool,
}

/// How much a driver can be blamed for what happens in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// An ordinary driver.
    Driver,
    /// A part of Windows that calls other drivers, or is called by them.
    Framework,
    /// The kernel and the layer below it.
    Kernel,
}

/// The last part of a path.
pub(super) fn short(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

/// The driver whose image holds an address.
pub(super) fn driver_at(dump: &Dump, at: u64) -> Option<&ModuleRecord> {
    let next = dump.modules.partition_point(|module| module.base <= at);
    dump.modules.get(next.checked_sub(1)?).filter(|module| at < module.end)
}

fn rank(name: &str) -> Rank {
    const KERNEL: [&str; 9] = [
        "ntoskrnl.exe",
        "ntkrnlmp.exe",
        "ntkrnlpa.exe",
        "ntkrpamp.exe",
        "ntkrla57.exe",
        "hal.dll",
        "halmacpi.dll",
        "securekernel.exe",
        "kdcom.dll",
    ];
    const FRAMEWORK: [&str; 31] = [
        "wdf01000.sys",
        "wdfldr.sys",
        "ndis.sys",
        "netio.sys",
        "tcpip.sys",
        "fwpkclnt.sys",
        "fltmgr.sys",
        "ntfs.sys",
        "win32k.sys",
        "win32kbase.sys",
        "win32kfull.sys",
        "dxgkrnl.sys",
        "dxgmms1.sys",
        "dxgmms2.sys",
        "watchdog.sys",
        "storport.sys",
        "classpnp.sys",
        "ataport.sys",
        "scsiport.sys",
        "portcls.sys",
        "ks.sys",
        "ksecdd.sys",
        "cng.sys",
        "usbport.sys",
        "usbxhci.sys",
        "ucx01000.sys",
        "hidclass.sys",
        "verifier.dll",
        "verifierext.sys",
        "acpi.sys",
        "ci.dll",
    ];
    let name = name.to_ascii_lowercase();
    if KERNEL.contains(&name.as_str()) {
        Rank::Kernel
    } else if FRAMEWORK.contains(&name.as_str()) {
        Rank::Framework
    } else {
        Rank::Driver
    }
}

/// Stops whose stack says nothing of who is to blame: hardware, requests by hand, watchdogs that run somewhere else.
fn tells_nothing(code: u32) -> bool {
    matches!(
        code,
        0x2e | 0x80
            | 0x9c
            | 0x101
            | 0x124
            | 0x12b
            | 0x161
            | 0x1c8
            | 0x1ca
            | 0x1cf
            | 0xe2
            | 0xdead_dead
            | 0x9f
            | 0xef
            | 0xf4
    )
}

/// An address and what it is.
struct Lead {
    at: u64,
    what: String,
    direct: bool,
}

/// The driver that is probably to blame, if anything speaks for one.
#[must_use]
pub fn culprit(target: &Target, stop: &Stop) -> Option<Culprit> {
    if stop.healthy() {
        return None;
    }
    let dump = target.dump();
    let leads = leads(target, stop);
    let mut best: Option<(Rank, bool, Culprit)> = None;
    for lead in &leads {
        let Some(module) = driver_at(dump, lead.at) else { continue };
        let name = short(&module.path);
        let (rank, far) = (rank(name), !lead.direct);
        if best.as_ref().is_none_or(|(own, own_far, _)| (rank, far) < (*own, *own_far)) {
            let culprit = Culprit {
                name: name.to_owned(),
                base: module.base,
                evidence: Vec::new(),
                direct: lead.direct,
                system: rank != Rank::Driver,
            };
            best = Some((rank, far, culprit));
        }
    }
    let (rank, _, mut culprit) = best?;
    // The kernel on its own stack is no finding.
    if rank == Rank::Kernel && !culprit.direct {
        return None;
    }
    for lead in &leads {
        if culprit.evidence.len() < 3
            && let Some(module) = driver_at(dump, lead.at).filter(|module| module.base == culprit.base)
        {
            let text = format!("{} is {:#x}, {}+{:#x}", lead.what, lead.at, culprit.name, lead.at - module.base);
            culprit.evidence.push(Evidence { kind: "driver", text, address: Some(lead.at) });
        }
    }
    if !culprit.direct
        && let Some(first) = leads.iter().find(|lead| driver_at(dump, lead.at).is_some())
        && let Some(module) = driver_at(dump, first.at).filter(|module| module.base != culprit.base)
    {
        let text = format!(
            "{} is in {}, which is part of Windows and was probably misused by its caller",
            first.what,
            short(&module.path)
        );
        culprit.evidence.push(Evidence { kind: "driver", text, address: Some(first.at) });
    }
    Some(culprit)
}

fn leads(target: &Target, stop: &Stop) -> Vec<Lead> {
    let dump = target.dump();
    let mut leads = Vec::new();
    let mut push = |at: u64, what: String, direct| {
        if at != 0 && !leads.iter().any(|lead: &Lead| lead.at == at) {
            leads.push(Lead { at, what, direct });
        }
    };
    if let Some(at) = exception(target, stop).and_then(|exception| exception.instruction) {
        push(at, "the instruction that raised the exception".to_owned(), true);
    }
    for parameter in super::describe(stop, dump).parameters {
        let code =
            parameter.role.as_deref().is_some_and(|role| role.starts_with("instruction") || role.starts_with("where"));
        if code {
            let role = parameter.role.unwrap_or_default();
            push(parameter.value, format!("parameter {} ({role})", parameter.index), true);
        }
    }
    if tells_nothing(stop.plain_code()) {
        return leads;
    }
    if let Some(at) = dump.exception.as_ref().and_then(|exception| exception.registers?.pc()) {
        push(at.0, "the stopped instruction".to_owned(), true);
    }
    let Some(thread) = target.crashed_thread() else { return leads };
    for (index, frame) in target.stack(thread).frames.iter().enumerate().skip(1).take(NEAR) {
        push(frame.address.address().0, format!("frame {index} on the stack"), false);
    }
    leads
}
