//! Images in a core's memory: Mach-O headers at the start of a segment, and dyld's own list of names.
//!
//! *What it is not*: it looks for no file.
//!
//! *Example*: dyld's section `__all_image_info` holds the version, the number of images and the address of their list;
//! each entry is load address, address of the path, time.
//!
//! *Trap*: libraries of the shared cache do not begin a segment of the core; only dyld's list leads to them.

use super::headers::{
    self, Header, LC_BUILD_VERSION, LC_ID_DYLIB, LC_ID_DYLINKER, LC_UUID, MH_CORE, MH_DYLINKER, MH_EXECUTE,
};
use crate::{Budget, Endian, MemoryExt, ModuleRecord, SegmentMemory, Virt};
use std::collections::{HashMap, HashSet};

/// Bytes of load commands that are read of one image.
const MAX_COMMANDS: u32 = 1 << 20;

/// An image as its headers describe it.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) record: ModuleRecord,
    pub(super) file_type: u32,
    pub(super) platform: Option<u32>,
    /// Run-time address of `__all_image_info`.
    pub(super) all_image_infos: Option<u64>,
}

/// The image whose header lies at an address.
pub(super) fn at(memory: &SegmentMemory<Virt>, base: u64, budget: &Budget) -> Option<Image> {
    let mut head = [0u8; 32];
    memory.read_exact(Virt(base), &mut head).ok()?;
    let header = Header::parse(&head).filter(|header| header.file_type != MH_CORE)?;
    let size = header.commands_size.min(MAX_COMMANDS);
    // Hostile segments may show the same large commands a million times.
    budget.take(512 + u64::from(size)).ok()?;
    let mut bytes = vec![0u8; size as usize];
    let got = memory.read_upto(Virt(base.checked_add(header.size() as u64)?), &mut bytes);
    bytes.truncate(got);
    let mut image = Image {
        record: ModuleRecord { base, ..ModuleRecord::default() },
        file_type: header.file_type,
        platform: None,
        all_image_infos: None,
    };
    let mut text: Option<(u64, u64)> = None;
    let mut infos = None;
    for command in headers::commands(&header, &bytes) {
        match command.kind {
            LC_UUID => image.record.build_id = command.fields.slice(8, 16).map(<[u8]>::to_vec),
            LC_ID_DYLIB | LC_ID_DYLINKER => {
                let name = command.fields.u32(8).and_then(|at| command.fields.cstr(at as usize, 4096));
                image.record.path = name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
            }
            LC_BUILD_VERSION => image.platform = command.fields.u32(8),
            _ => {
                let Some(segment) = headers::Segment::read(&command) else { continue };
                if segment.name == "__TEXT" {
                    text = Some((segment.vmaddr, segment.vmsize));
                }
                let sections = segment.section_addresses(&command);
                infos = infos.or(sections.iter().find(|(name, _)| name == "__all_image_info").map(|(_, at)| *at));
            }
        }
    }
    let (vmaddr, vmsize) = text?;
    image.record.end = base.checked_add(vmsize).filter(|&end| end > base)?;
    image.all_image_infos = infos.map(|at| at.wrapping_sub(vmaddr).wrapping_add(base));
    Some(image)
}

/// All images that can be found: at starts of segments, then by dyld's list.
pub(super) fn find(
    memory: &SegmentMemory<Virt>,
    width: usize,
    endian: Endian,
    known: &[ModuleRecord],
    budget: &Budget,
) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    let starts = memory.segments().iter().map(|segment| segment.start.0);
    let starts: Vec<u64> = starts.chain(known.iter().map(|module| module.base)).collect();
    let mut seen = HashSet::new();
    for start in starts {
        if budget.in_time().is_err() || images.len() >= budget.max_items {
            break;
        }
        if seen.insert(start) {
            images.extend(at(memory, start, budget));
        }
    }
    let list = images.iter().find(|image| image.file_type == MH_DYLINKER).and_then(|image| image.all_image_infos);
    let Some(list) = list else { return images };
    let word = |at: u64| memory.read_uint(Virt(at), width, endian).ok();
    let count = memory.read_uint(Virt(list.wrapping_add(4)), 4, endian).unwrap_or(0);
    let Some(array) = word(list.wrapping_add(8)) else { return images };
    let mut places: HashMap<u64, usize> =
        images.iter().enumerate().map(|(index, image)| (image.record.base, index)).collect();
    for index in 0..count.min(65_536) {
        let entry = array.wrapping_add(index.wrapping_mul(3 * width as u64));
        let (Some(base), Some(path)) = (word(entry), word(entry.wrapping_add(width as u64))) else { break };
        let path = memory.read_cstr(Virt(path), 4096).map(|path| String::from_utf8_lossy(&path).into_owned());
        let path = path.unwrap_or_default();
        if seen.insert(base)
            && let Some(image) = at(memory, base, budget)
        {
            places.insert(base, images.len());
            images.push(image);
        }
        if let Some(image) = places.get(&base).and_then(|&index| images.get_mut(index))
            && !path.is_empty()
            && budget.take(path.len() as u64).is_ok()
        {
            image.record.path = path;
        }
    }
    images
}

/// Whether an image is the program itself.
pub(super) fn is_program(image: &Image) -> bool {
    image.file_type == MH_EXECUTE
}
