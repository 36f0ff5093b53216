//! The ranges of the address space.

use crate::cell::{Absent, Addr, Field};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;

row! {
    /// The ranges of the address space that the dump knows of.
    RegionRow {
        /// First address.
        start: Addr,
        /// First address behind it.
        end: Addr,
        /// Protection, as `r-x`.
        perms: Field<String>,
        /// File, or the kernel's name for it.
        path: Field<String>,
        /// Bytes of it that the dump holds.
        present_bytes: u64,
    }
}

pub(crate) fn run(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    if target.dump().regions.is_empty() && target.dump().machine.is_some() {
        sink.note(
            "this is the memory of a machine: its processes' are in process_regions, its own in physical_regions",
        );
    }
    for region in &target.dump().regions {
        let row = RegionRow {
            start: Addr(region.start.0),
            end: Addr(region.end.0),
            perms: region
                .permissions
                .map(|permissions| permissions.to_string())
                .ok_or(Absent::because("the dump does not say")),
            path: region.path.clone().ok_or(Absent::because("no file is mapped there, or the dump does not say")),
            present_bytes: region.present_bytes,
        };
        if emit(sink, row).is_break() {
            break;
        }
    }
    Ok(())
}
