//! LC_NOTE: what the writer (the kernel, lldb's `process save-core`) adds, by a name of 16 bytes.
//!
//! *What it is not*: notes that are not known here stay in [`crate::Dump::notes`] with their place.
//!
//! *Trap*: "all image infos" has file offsets inside its entries, not addresses; a hostile one points anywhere.

use crate::bytes::Fields;
use crate::source::{SharedSource, read_vec};
use crate::{Budget, Endian, ModuleRecord, NoteRecord};

/// Bytes of one note that are read.
const MAX_NOTE: u64 = 16 << 20;
/// Longest path of an image.
const MAX_PATH: usize = 4096;

/// What the notes say.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) records: Vec<NoteRecord>,
    /// Images with base, path and UUID; the end is not known.
    pub(super) images: Vec<ModuleRecord>,
    pub(super) thread_ids: Vec<u64>,
    pub(super) kernel_version: Option<String>,
    pub(super) address_bits: Option<u32>,
    /// Type (1 kernel, 2 process, 3 standalone), address and UUID of the main program, and its platform.
    pub(super) main: Option<(u32, u64, Vec<u8>, u32)>,
}

/// Reads one note.
pub(super) fn take(notes: &mut Notes, source: &SharedSource, command: Fields<'_>, endian: Endian, budget: &Budget) {
    let owner = super::headers::name(command, 8);
    let (Some(offset), Some(size)) = (command.u64(24), command.u64(32)) else { return };
    if budget.take(256).is_err() {
        return;
    }
    notes.records.push(NoteRecord { owner: owner.clone(), kind: 0, name: None, tid: None, offset, size });
    let size = size.min(source.len().saturating_sub(offset)).min(MAX_NOTE);
    if budget.take(size).is_err() {
        return;
    }
    let Ok(bytes) = read_vec(&**source, offset, usize::try_from(size).unwrap_or(0)) else { return };
    let fields = Fields::new(&bytes, endian);
    match owner.as_str() {
        "all image infos" => images(notes, source, fields, endian, budget),
        "process metadata" => {
            let text = String::from_utf8_lossy(&bytes);
            let parsed = crate::apple_report::parse_json(text.trim_end_matches('\0'), budget);
            let threads = parsed.value.get("threads").map_or(&[][..], |threads| threads.list());
            notes.thread_ids =
                threads.iter().map(|thread| thread.get("thread_id").and_then(|id| id.u64()).unwrap_or(0)).collect();
        }
        // A version number, then text.
        "kern ver str" => notes.kernel_version = fields.cstr(4, 1024).map(text),
        "addrable bits" => {
            // Version 3 has one number, version 4 one for each half; user space is the lower one.
            notes.address_bits = fields.u32(4).filter(|bits| (1..=64).contains(bits));
        }
        "main bin spec" => {
            let version = fields.u32(0).unwrap_or(0);
            // Version 2 has a slide before the UUID.
            let uuid_at = if version >= 2 { 24 } else { 16 };
            let uuid = fields.slice(uuid_at, 16).map(<[u8]>::to_vec);
            if let (Some(kind), Some(address), Some(uuid)) = (fields.u32(4), fields.u64(8), uuid) {
                let platform = fields.u32(uuid_at + 20).unwrap_or(0);
                notes.main = Some((kind, address, uuid, platform));
            }
        }
        "load binary" => {
            let (uuid, base) = (fields.slice(4, 16).map(<[u8]>::to_vec), fields.u64(20));
            if let Some(base) = base.filter(|&base| base != u64::MAX) {
                let path = fields.cstr(36, MAX_PATH).map(text).unwrap_or_default();
                notes.images.push(ModuleRecord { base, path, build_id: uuid, ..ModuleRecord::default() });
            }
        }
        _ => {}
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Version, count, file offset of the entries, bytes of an entry. An entry: file offset of the path, UUID, address.
fn images(notes: &mut Notes, source: &SharedSource, fields: Fields<'_>, endian: Endian, budget: &Budget) {
    let (Some(count), Some(at), Some(size)) = (fields.u32(4), fields.u64(8), fields.u32(16)) else { return };
    if size < 32 {
        return;
    }
    for index in 0..u64::from(count).min(budget.max_items as u64) {
        let Some(place) = u64::from(size).checked_mul(index).and_then(|past| at.checked_add(past)) else { break };
        let Ok(entry) = read_vec(&**source, place, 48) else { break };
        let entry = Fields::new(&entry, endian);
        let (Some(path_at), Some(uuid), Some(base)) = (entry.u64(0), entry.slice(8, 16), entry.u64(24)) else { break };
        if budget.take(512).is_err() {
            break;
        }
        let path = read_vec(&**source, path_at, MAX_PATH).ok().filter(|_| path_at != u64::MAX);
        let path = path.and_then(|bytes| Fields::new(&bytes, endian).cstr(0, MAX_PATH).map(text)).unwrap_or_default();
        let build_id = uuid.iter().any(|&byte| byte != 0).then(|| uuid.to_vec());
        notes.images.push(ModuleRecord { base, path, build_id, ..ModuleRecord::default() });
    }
}
