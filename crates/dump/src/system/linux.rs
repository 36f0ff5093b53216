//! What a Linux machine's VMCOREINFO tells of the dump as a whole.

use super::vmcoreinfo::value;
use crate::{Dump, Os};

/// Fills release, time and the reason for the dump out of the VMCOREINFO that the container carries.
pub(crate) fn linux_facts(dump: &mut Dump) {
    let Some(machine) = &dump.machine else { return };
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
}
