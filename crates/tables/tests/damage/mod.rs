//! Damaged machines, and what is asked of every table over them.

use afterimage_dump::{Absence, Budget, Dump, Extent, Fault, Memory, MemoryExt, Phys, PhysMemory, open_source};
use afterimage_tables::{Params, Rows, TABLES, Table};
use afterimage_target::{Options, Target};
use afterimage_testkit::build_linux::{Age, Machine};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const AGES: [Age; 3] = [Age::Old, Age::Middle, Age::New];
/// What no table of a small machine may take.
const SLOW: Duration = Duration::from_secs(20);
/// Rows that no such machine has.
const MANY: usize = 1 << 20;

pub fn dump_of(bytes: Vec<u8>) -> Dump {
    open_source(Path::new("built"), Arc::new(bytes), &Budget::default()).unwrap_or_else(|error| panic!("{error}"))
}

pub fn target_of(bytes: Vec<u8>) -> Target {
    target(dump_of(bytes))
}

pub fn target(dump: Dump) -> Target {
    let options = Options { use_system_files: false, debug_dirs: Vec::new(), ..Options::default() };
    Target::new(dump, options, Budget::default())
}

/// A machine with this memory and nothing that leads anywhere.
pub fn machine_of(bytes: Vec<u8>) -> Vec<u8> {
    let mut machine = Machine::new(Age::Middle, 1);
    machine.bytes = bytes;
    machine.bytes.resize(machine.bytes.len().next_multiple_of(4096), 0);
    machine.elf(false)
}

/// The tables of a Linux machine.
pub fn tables() -> impl Iterator<Item = &'static Table> {
    let place = |name: &str| TABLES.iter().position(|table| table.name == name).unwrap();
    let (first, last) = (place("kernel"), place("keyrings"));
    assert!(last > first + 20, "a table moved away");
    TABLES
        .iter()
        .enumerate()
        .filter(move |(at, table)| (first..=last).contains(at) || table.name == "environment")
        .map(|(_, table)| table)
}

/// Asks every table: it ends in time, with a bounded number of rows, and an empty one has a note. Gives rows by table.
pub fn every_table(shown: &str, target: &Target) -> Vec<(&'static str, usize)> {
    let mut counts = Vec::new();
    for table in tables() {
        let begin = Instant::now();
        let mut rows = Rows::default();
        table
            .run(target, &Params::default(), &mut rows)
            .unwrap_or_else(|error| panic!("{shown}: {}: {error}", table.name));
        let took = begin.elapsed();
        assert!(took < SLOW, "{shown}: {} took {took:?}", table.name);
        assert!(rows.rows.len() < MANY, "{shown}: {} has {} rows", table.name, rows.rows.len());
        assert!(
            !rows.rows.is_empty() || !rows.notes.is_empty(),
            "{shown}: {} is empty and does not say why",
            table.name
        );
        assert!(
            rows.notes.iter().all(|note| note.len() > 10 && note.len() < 2000),
            "{shown}: {}: {:?}",
            table.name,
            rows.notes
        );
        counts.push((table.name, rows.rows.len()));
    }
    let _ = target.diagnosis();
    counts
}

/// Numbers without an end, the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What is done to memory.
#[derive(Clone, Copy)]
pub enum Harm {
    /// It ends here.
    Cut(u64),
    /// Of 1000 pages so many are zeros.
    Zeros(u64),
    /// The same, and each is another page.
    Others(u64),
}

/// Memory with harm done to it, page by page.
pub struct Damaged {
    pub inner: Arc<dyn PhysMemory>,
    pub end: u64,
    pub harm: Harm,
}

impl Memory<Phys> for Damaged {
    fn read_at(&self, at: Phys, buf: &mut [u8]) -> Result<usize, Fault<Phys>> {
        const PAGE: u64 = 4096;
        let (Harm::Zeros(part) | Harm::Others(part)) = self.harm else {
            let Harm::Cut(end) = self.harm else { unreachable!() };
            let left = end.checked_sub(at.0).filter(|left| *left > 0).ok_or(Fault { at, why: Absence::Truncated })?;
            let len = buf.len().min(usize::try_from(left).unwrap());
            return self.inner.read_at(at, &mut buf[..len]);
        };
        let got = self.inner.read_at(at, buf)?;
        let mut done = 0;
        while done < got {
            let place = at.0 + done as u64;
            let here = ((PAGE - place % PAGE) as usize).min(got - done);
            let mut dice = Dice(place / PAGE);
            if dice.below(1000) < part {
                let other = Phys(dice.below(self.end / PAGE) * PAGE + place % PAGE);
                let bytes = &mut buf[done..done + here];
                if matches!(self.harm, Harm::Zeros(_)) || self.inner.read_upto(other, bytes) < here {
                    bytes.fill(0);
                }
            }
            done += here;
        }
        Ok(got)
    }

    fn extents(&self) -> Vec<Extent<Phys>> {
        self.inner.extents()
    }
}

impl PhysMemory for Damaged {
    fn next(&self, at: Phys) -> Option<Extent<Phys>> {
        let mut extent = self.inner.next(at)?;
        if let Harm::Cut(end) = self.harm {
            if extent.start.0 >= end || at.0 >= end {
                extent.absent = extent.absent.or(Some(Absence::Truncated));
            } else {
                extent.end = extent.end.min(Phys(end));
            }
        }
        Some(extent)
    }
}

/// Real machines beside the clone, and of how many harms one is done to each.
pub fn reals() -> Vec<(PathBuf, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vmcores");
    let own = [("k6.1-live/dump.elf.zst", 1), ("k6.12-kdump/d31.elf.zst", 3)];
    let found: Vec<_> =
        own.map(|(name, parts)| (folder.join(name), parts)).into_iter().filter(|(file, _)| file.is_file()).collect();
    if found.is_empty() {
        eprintln!("no real machines here: not tested");
    }
    found
}

/// Where so much of the memory that is there, in percent, lies below.
pub fn place_of(memory: &dyn PhysMemory, percent: u64) -> u64 {
    let mut extents: Vec<Extent<Phys>> = Vec::new();
    while let Some(next) = memory.next(extents.last().map_or(Phys(0), |last| last.end)) {
        extents.push(next);
    }
    let bytes = |extent: &&Extent<Phys>| if extent.absent.is_none() { extent.end.0 - extent.start.0 } else { 0 };
    let mut left = extents.iter().map(|extent| bytes(&extent)).sum::<u64>() / 100 * percent;
    for extent in &extents {
        let here = bytes(&extent);
        if left <= here && here > 0 {
            return extent.start.0 + left;
        }
        left -= here;
    }
    extents.last().map_or(0, |last| last.end.0)
}
