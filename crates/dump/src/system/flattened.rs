//! Files that were written front to end because their output could not seek: `makedumpfile -F`, QEMU's kdump formats.
//!
//! *What it is*: records of (offset, length, bytes) in the order of writing, put straight on reading. Where two overlap
//! the later one counts, as it would have on a disk.
//!
//! *Trap*: only the records say how long the file is, and there are as many as the writer had buffers: all of their heads
//! are read when the file is opened.

use crate::bytes::Fields;
use crate::source::{SharedSource, Source, read_vec};
use crate::{Budget, Dump, Endian, Error, FormatReader, Issue};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The reader of this container: it reads what is inside.
pub const READER: FormatReader = FormatReader { name: "flattened makedumpfile", probe, open };

const SIGN: &[u8] = b"makedumpfile\0\0\0\0";
const HEADER: u64 = 4096;
/// Bytes of a record's head.
const HEAD: u64 = 16;

fn probe(head: &[u8]) -> bool {
    head.starts_with(SIGN)
}

fn open(path: &Path, source: SharedSource, budget: &Budget) -> Result<Dump, Error> {
    let broken = |what: String| Error::Broken { path: path.to_owned(), format: READER.name, what };
    let head = read_vec(&*source, 0, 32).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let fields = Fields::new(&head, Endian::Big);
    if (fields.u64(16), fields.u64(24)) != (Some(1), Some(1)) {
        return Err(broken("its header is of an unknown type or version".into()));
    }
    let size = source.len();
    let (straight, issue) = Straight::read(source, budget);
    if straight.end == 0 {
        return Err(broken("it has no record".into()));
    }
    let mut dump = crate::formats::open_plain(path, Arc::new(straight), budget)?;
    if let Some(issue) = issue {
        dump.missing_bytes = dump.missing_bytes.max(1);
        dump.issues.insert(0, issue);
    }
    dump.file_size = size;
    Ok(dump)
}

#[derive(Clone, Copy)]
struct Record {
    to: u64,
    len: u64,
    from: u64,
}

/// The file as it would have been.
struct Straight {
    source: SharedSource,
    /// In ascending order, each behind everything that was written before it.
    records: Vec<Record>,
    /// What was written later over what stood there, by start: end and place.
    patches: BTreeMap<u64, (u64, u64)>,
    end: u64,
}

impl Straight {
    fn read(source: SharedSource, budget: &Budget) -> (Self, Option<Issue>) {
        let mut straight = Self { source, records: Vec::new(), patches: BTreeMap::new(), end: 0 };
        let mut at = HEADER;
        let cut =
            |at: u64| Issue::loss(format!("the file is cut off: its records end at offset {at} without an end mark"));
        let issue = loop {
            let Ok(head) = read_vec(&*straight.source, at, HEAD as usize) else { break Some(cut(at)) };
            let fields = Fields::new(&head, Endian::Big);
            let (Some(to), Some(len)) = (fields.u64(0), fields.u64(8)) else { break Some(cut(at)) };
            if to == u64::MAX {
                break None;
            }
            let from = at + HEAD;
            let there = straight.source.len() - from;
            if to.checked_add(len).is_none() || len > i64::MAX as u64 || to > i64::MAX as u64 {
                break Some(Issue::loss(format!("the record at offset {at} makes no sense; what follows is not read")));
            }
            if straight.records.len().is_multiple_of(1024) && budget.in_time().is_err()
                || budget.take(size_of::<Record>() as u64).is_err()
            {
                break Some(Issue::loss(format!(
                    "only the records before offset {at} are read: the budget is used up"
                )));
            }
            straight.add(Record { to, len: len.min(there), from });
            if len > there {
                break Some(cut(at));
            }
            at = from + len;
        };
        (straight, issue)
    }

    fn add(&mut self, record: Record) {
        let end = record.to + record.len;
        if record.len == 0 {
            return;
        }
        if record.to >= self.end {
            self.records.push(record);
            self.end = end;
            return;
        }
        // Over earlier patches: those are cut, or parted.
        let touched: Vec<(u64, (u64, u64))> = self
            .patches
            .range(..end)
            .rev()
            .take_while(|(_, (old, _))| *old > record.to)
            .map(|(k, v)| (*k, *v))
            .collect();
        for (start, (old_end, from)) in touched {
            self.patches.remove(&start);
            if start < record.to {
                self.patches.insert(start, (record.to, from));
            }
            if old_end > end {
                self.patches.insert(end, (old_end, from + (end - start)));
            }
        }
        self.patches.insert(record.to, (end, record.from));
        self.end = self.end.max(end);
    }

    /// Where the bytes at `at` lie, and how many there are in a row; `None` for zeros.
    fn place(&self, at: u64) -> (Option<u64>, u64) {
        let patch = self.patches.range(..=at).next_back().filter(|(_, (end, _))| at < *end);
        if let Some((start, (end, from))) = patch {
            return (Some(from + (at - start)), end - at);
        }
        let limit = self.patches.range(at..).next().map_or(u64::MAX, |(start, _)| *start);
        let next = self.records.partition_point(|record| record.to <= at);
        let record = next.checked_sub(1).and_then(|i| self.records.get(i)).filter(|r| at - r.to < r.len);
        match record {
            Some(record) => (Some(record.from + (at - record.to)), (record.to + record.len).min(limit) - at),
            None => (None, self.records.get(next).map_or(self.end, |record| record.to).min(limit) - at),
        }
    }
}

impl Source for Straight {
    fn len(&self) -> u64 {
        self.end
    }

    fn data_from(&self, at: u64) -> u64 {
        match self.place(at) {
            (Some(_), _) => at,
            (None, hole) => at.saturating_add(hole),
        }
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let want = (buf.len() as u64).min(self.end.saturating_sub(at)) as usize;
        let mut done = 0;
        while done < want {
            let (place, len) = self.place(at + done as u64);
            let upto = done + len.min((want - done) as u64) as usize;
            let Some(part) = buf.get_mut(done..upto).filter(|part| !part.is_empty()) else { break };
            match place {
                None => part.fill(0),
                Some(from) => {
                    if self.source.read_at(from, part)? < part.len() {
                        break;
                    }
                }
            }
            done = upto;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_records_win() {
        let mut file = vec![0; 4096];
        let mut expect = vec![0u8; 400];
        let writes: [(usize, usize, u8); 8] =
            [(0, 10, 1), (100, 50, 2), (5, 3, 3), (120, 100, 4), (90, 40, 5), (130, 5, 6), (300, 100, 7), (290, 20, 8)];
        for (to, len, byte) in writes {
            file.extend((to as u64).to_be_bytes());
            file.extend((len as u64).to_be_bytes());
            file.extend(vec![byte; len]);
            expect[to..to + len].fill(byte);
        }
        file.extend([0xff; 16]);
        let (straight, issue) = Straight::read(Arc::new(file.clone()), &Budget::default());
        assert_eq!(issue, None);
        let all = read_vec(&straight, 0, 1000).unwrap();
        assert_eq!(all, expect);
        let (cut, issue) = Straight::read(Arc::new(file[..file.len() - 40].to_vec()), &Budget::default());
        assert!(issue.unwrap().loses_data);
        assert_eq!(read_vec(&cut, 0, 290).unwrap(), expect[..290]);
    }
}
