//! `HandleDataStream`: open handles with type and object names, both versions of the descriptor.
//!
//! *Trap*: the size of a descriptor stands in the header (32 bytes, 40 in version 2); Windows 8 writes 40.

use super::draft::Draft;
use super::input::{Input, Place};
use crate::Handle;

pub(super) fn read(input: &Input<'_>, place: Place, draft: &mut Draft) {
    let Some(list) = input.sized_list("HandleDataStream", place, 4, 32) else {
        return;
    };
    input.walk("HandleDataStream", list, size_of::<Handle>(), |fields| {
        let Some(handle) = fields.u64(0) else {
            return;
        };
        let name = |at| fields.u32(at).and_then(|rva| input.utf16(u64::from(rva))).filter(|name| !name.is_empty());
        draft.dump.handles.push(Handle { handle, kind: name(8), name: name(12), access: fields.u32(20) });
    });
}
