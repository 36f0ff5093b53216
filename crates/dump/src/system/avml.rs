//! AVML, version 2: LiME's ranges, each a stream of snappy frames with its length behind it.
//!
//! *Trap*: a range's head does not say how long its frames are. But the last eight bytes of each range do, so the file is
//! walked from its end; one that is cut off there is walked chunk by chunk from its front.

use super::lime::{AVML, HEAD, LIME, head};
use super::{BlockCache, machine_dump};
use crate::bytes::Fields;
use crate::machine::{Machine, PhysMemory, collect_extents};
use crate::source::{SharedSource, read_vec};
use crate::{Absence, Arch, Budget, Dump, Endian, Error, Extent, Fault, Format, FormatReader, Issue, Memory, Phys};
use std::path::Path;
use std::sync::Arc;

/// The reader of this container.
pub const READER: FormatReader = FormatReader { name: "AVML", probe, open };

/// Bytes that a chunk of a snappy frame unpacks to at most.
const CHUNK: u64 = 64 << 10;
const CACHE: usize = 8 << 20;
/// Ranges whose chunks are known at a time.
const KNOWN: usize = 1 << 20;
const MAX_EXTENTS: usize = 1 << 18;
/// Largest range: AVML makes them of at most 16 MiB; others may be larger, but not without end.
const MAX_RANGE: u64 = 1 << 32;

fn probe(bytes: &[u8]) -> bool {
    head(bytes, AVML, 2).is_some()
}

#[derive(Clone, Copy, Debug)]
struct Range {
    start: u64,
    end: u64,
    /// Where its frames begin, and where they end.
    from: u64,
    to: u64,
    /// LiME's ranges may stand among them: not packed.
    packed: bool,
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let broken = |what: &str| Error::Broken { path: path.to_owned(), format: READER.name, what: what.to_owned() };
    let mut issues = Vec::new();
    let ranges = match from_end(&source, budget) {
        Some(ranges) => ranges,
        None => from_front(&source, budget, &mut issues),
    };
    if ranges.is_empty() {
        return Err(broken("it has no range that can be read"));
    }
    let memory = AvmlMemory::new(source.clone(), ranges, &mut issues);
    let machine = Machine::new(Arc::new(memory));
    let mut dump = machine_dump(Format::Avml, &source, (Arch::Other(0), Endian::Little), machine);
    dump.missing_bytes = u64::from(issues.iter().any(|issue| issue.loses_data));
    dump.issues = issues;
    super::look_into(&mut dump);
    Ok(dump)
}

/// Heads of ranges by the lengths behind them, if those lead to the front of the file.
fn from_end(source: &SharedSource, budget: &Budget) -> Option<Vec<Range>> {
    let mut ranges = Vec::new();
    let mut end = source.len();
    while end > 0 {
        let tail = read_vec(&**source, end.checked_sub(8)?, 8).ok()?;
        let len = Fields::new(&tail, Endian::Little).u64(0)?;
        let from = end.checked_sub(8)?.checked_sub(len)?;
        let at = from.checked_sub(HEAD)?;
        let bytes = read_vec(&**source, at, HEAD as usize).ok()?;
        let (start, last) = head(&bytes, AVML, 2)?;
        if ranges.len() >= budget.max_items || budget.take(size_of::<Range>() as u64).is_err() {
            return None;
        }
        ranges.push(Range { start, end: last, from, to: end - 8, packed: true });
        end = at;
    }
    ranges.reverse();
    Some(ranges)
}

/// Heads of ranges by walking all chunks.
fn from_front(source: &SharedSource, budget: &Budget, issues: &mut Vec<Issue>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let bytes = read_vec(&**source, at, HEAD as usize).unwrap_or_default();
        let from = at + HEAD;
        if let Some((start, end)) = head(&bytes, LIME, 1) {
            ranges.push(Range { start, end, from, to: from.saturating_add(end - start), packed: false });
            at = from.saturating_add(end - start);
            continue;
        }
        let Some((start, end)) = head(&bytes, AVML, 2) else {
            issues.push(Issue::loss(format!("no range begins at offset {at}, where one should; the rest is not read")));
            break;
        };
        if ranges.len() >= budget.max_items
            || budget.take(size_of::<Range>() as u64).is_err()
            || budget.in_time().is_err()
        {
            issues.push(Issue::loss(format!("only the first {} ranges are read: the budget is used up", ranges.len())));
            break;
        }
        let (mut to, mut unpacked) = (from, 0);
        while unpacked < end - start {
            let Some(chunk) = Chunk::read(source, to, source.len()) else { break };
            unpacked += chunk.len;
            to = chunk.next;
        }
        ranges.push(Range { start, end, from, to, packed: true });
        if unpacked < end - start {
            issues.insert(0, Issue::loss(format!("the file is cut off, or damaged, in the range at {start:#x}")));
            break;
        }
        // A snappy frame may end with chunks without data; then comes its length.
        let tail = read_vec(&**source, to, 8).unwrap_or_default();
        if Fields::new(&tail, Endian::Little).u64(0) != Some(to - from) {
            issues.push(Issue::loss(format!(
                "the range at {start:#x} has no right length behind it; the rest is not read"
            )));
            break;
        }
        at = to + 8;
    }
    ranges
}

/// One chunk of a snappy frame: google/snappy `framing_format.txt`.
struct Chunk {
    /// Bytes that it unpacks to.
    len: u64,
    kind: u8,
    /// Its masked CRC-32C.
    sum: u32,
    /// Its data without the checksum.
    from: u64,
    size: u64,
    next: u64,
}

impl Chunk {
    const PACKED: u8 = 0;
    const PLAIN: u8 = 1;

    fn read(source: &SharedSource, at: u64, end: u64) -> Option<Self> {
        let bytes = read_vec(&**source, at, 14).ok()?;
        let fields = Fields::new(&bytes, Endian::Little);
        let kind = fields.u8(0)?;
        let size = fields.uint(1, 3)?;
        let next = at + 4 + size;
        if next > end {
            return None;
        }
        let data = (at + 8, size.saturating_sub(4));
        let len = match kind {
            Self::PACKED if size > 4 => varint(bytes.get(8..)?)?,
            Self::PLAIN if size >= 4 => data.1,
            // The stream's name, padding, and what may be skipped.
            0x80..=0xff => 0,
            _ => return None,
        };
        let sum = fields.u32(4).unwrap_or(0);
        (len <= CHUNK).then_some(Self { len, kind, sum, from: data.0, size: data.1, next })
    }
}

fn varint(bytes: &[u8]) -> Option<u64> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

struct AvmlMemory {
    source: SharedSource,
    ranges: Vec<Range>,
    /// Unpacked chunks by their place in the file.
    chunks: BlockCache,
    /// Where the chunks of a range begin: unpacked and packed place, 16 bytes each, by the range's place.
    places: BlockCache,
}

impl AvmlMemory {
    fn new(source: SharedSource, mut ranges: Vec<Range>, issues: &mut Vec<Issue>) -> Self {
        ranges.sort_by_key(|range| range.start);
        // Snappy makes at most 64 bytes of three.
        let most = |range: &Range| {
            if range.packed { (range.to.saturating_sub(range.from)).saturating_mul(22) } else { u64::MAX }
        };
        let claims = ranges.iter().filter(|range| range.end - range.start > most(range)).count();
        if claims > 0 {
            issues.push(Issue::loss(format!(
                "{claims} ranges claim more memory than their frames can hold, and are not read"
            )));
            ranges.retain(|range| range.end - range.start <= most(range));
        }
        let before = ranges.len();
        let mut covered = 0;
        ranges.retain(|range| {
            let keep = range.start >= covered && range.end - range.start <= MAX_RANGE;
            covered = if keep { range.end } else { covered };
            keep
        });
        if ranges.len() < before {
            issues.push(Issue::loss(format!("{} ranges overlap others, or are too large", before - ranges.len())));
        }
        Self { source, ranges, chunks: BlockCache::new(CACHE), places: BlockCache::new(KNOWN) }
    }

    /// The chunks of a range: (unpacked place, place in the file) of each.
    fn places(&self, range: &Range) -> Result<Arc<[u8]>, Absence> {
        self.places.get(range.from, || {
            let mut places = Vec::new();
            let (mut at, mut unpacked) = (range.from, 0u64);
            let least = (range.end - range.start).div_ceil(CHUNK) as usize;
            while at < range.to && unpacked < range.end - range.start {
                // Chunks of nothing but padding cannot be many.
                let Some(chunk) = Chunk::read(&self.source, at, range.to) else { break };
                if chunk.len > 0 {
                    places.extend_from_slice(&unpacked.to_le_bytes());
                    places.extend_from_slice(&at.to_le_bytes());
                    if places.len() > (least + 64) * 16 * 64 {
                        break;
                    }
                }
                unpacked += chunk.len;
                at = chunk.next;
            }
            Ok(places)
        })
    }

    fn chunk(&self, at: u64, end: u64) -> Result<Arc<[u8]>, Absence> {
        self.chunks.get(at, || {
            let chunk = Chunk::read(&self.source, at, end).ok_or(Absence::Truncated)?;
            let data = read_vec(&*self.source, chunk.from, chunk.size as usize).map_err(|e| Absence::Io(e.kind()))?;
            if (data.len() as u64) < chunk.size {
                return Err(Absence::Truncated);
            }
            let right = |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8) == chunk.sum;
            if chunk.kind == Chunk::PLAIN {
                return if right(&data) { Ok(data) } else { Err(Absence::Corrupt) };
            }
            let mut out = vec![0; chunk.len as usize];
            let len = snap::raw::Decoder::new().decompress(&data, &mut out).map_err(|_| Absence::Corrupt)?;
            if len as u64 == chunk.len && right(&out) { Ok(out) } else { Err(Absence::Corrupt) }
        })
    }
}

impl Memory<Phys> for AvmlMemory {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        let fault = |why| Fault { at, why };
        let next = self.ranges.partition_point(|range| range.start <= at.0);
        let range = next.checked_sub(1).and_then(|i| self.ranges.get(i)).filter(|range| at.0 < range.end);
        let range = range.ok_or(fault(Absence::NotInDump))?;
        let skip = at.0 - range.start;
        let len = (buf.len() as u64).min(range.end - at.0) as usize;
        let Some(buf) = buf.get_mut(..len).filter(|buf| !buf.is_empty()) else { return Ok(0) };
        if !range.packed {
            return match self.source.read_at(range.from + skip, buf) {
                Ok(0) => Err(fault(Absence::Truncated)),
                Ok(got) => Ok(got),
                Err(error) => Err(fault(Absence::Io(error.kind()))),
            };
        }
        let places = self.places(range).map_err(fault)?;
        let (places, _) = places.as_chunks::<16>();
        let half = |place: &[u8; 16], at: usize| Fields::new(place, Endian::Little).u64(at).unwrap_or(0);
        let index = places.partition_point(|place| half(place, 0) <= skip);
        let place = index.checked_sub(1).and_then(|i| places.get(i)).ok_or(fault(Absence::Truncated))?;
        let bytes = self.chunk(half(place, 8), range.to).map_err(fault)?;
        let from = bytes.get((skip - half(place, 0)) as usize..).unwrap_or_default();
        let len = from.len().min(buf.len());
        match (buf.get_mut(..len), from.get(..len)) {
            (Some(to), Some(from)) if len > 0 => to.copy_from_slice(from),
            _ => return Err(fault(Absence::Truncated)),
        }
        Ok(len)
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        collect_extents(self, MAX_EXTENTS)
    }
}

impl PhysMemory for AvmlMemory {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let range = self.ranges.get(self.ranges.partition_point(|range| range.end <= at.0))?;
        Some(Extent { start: Phys(range.start), end: Phys(range.end), absent: None })
    }
}
