//! Writing the memory of a machine: raw, LiME, AVML, ELF, kdump-compressed, Windows' complete crash dump.
//!
//! *What it is*: [`Image::plan`] says what will be lost, [`Image::write_file`] and [`Image::write_stream`] write, and
//! [`Image::verify`] reads what was written and compares it with what was read.
//!
//! *What it is not*: it makes up nothing. What is absent stays absent where the format can say so; a page that turns out
//! to be unreadable is left out, or zeros stand for it and it is told.
//!
//! ```no_run
//! use afterimage_dump::write::image::{Codec, Image, ImageFormat, Options};
//! use afterimage_dump::{Budget, open};
//! let dump = open(std::path::Path::new("memory.lime"), &Budget::default())?;
//! let mut image = Image::plan(&dump, ImageFormat::Kdump(Codec::Zstd), &Options::default())?;
//! let written = image.write_file(&std::fs::File::create("vmcore")?, &Options::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Trap*: only what comes back from `Ok` is whole. Write to a temporary name and rename.

mod digest;
mod elf;
mod jobs;
mod kdump;
mod notes;
mod place;
mod ranges;
mod raw;
mod windows;
mod without;

use super::WriteError;
use super::layout::{Output, Sparse};
use crate::machine::{Machine, PhysMemory};
use crate::system::vmcoreinfo;
use crate::{Absence, Arch, Dump, Os, Phys, ProgressHook};
use place::Place;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

/// How pages of a kdump file are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// zlib, the smallest that old readers know.
    Zlib,
    /// LZO, the fastest that all readers know.
    Lzo,
    /// snappy.
    Snappy,
    /// zstd (makedumpfile 1.7, crash 7.3 and later).
    Zstd,
    /// Not at all.
    None,
}

/// A form for a machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// The byte of address N at place N.
    Raw,
    /// LiME, version 1.
    Lime,
    /// AVML, version 2.
    Avml,
    /// An ELF core with physical addresses, as /proc/vmcore.
    Elf,
    /// kdump-compressed; into a pipe in the flattened form.
    Kdump(Codec),
    /// A complete 64-bit crash dump of Windows, from another dump of a Windows machine.
    Windows,
}

/// How it is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that read and pack; the caller's thread writes besides. 1 does all in the caller's.
    pub threads: usize,
    /// Told how many bytes of memory are done.
    pub progress: Option<ProgressHook>,
    /// Look for a VMCOREINFO in memory if the container has none, where the new form can carry it.
    pub find_vmcoreinfo: bool,
    /// Keep a sum over all pages, without which [`Image::verify`] cannot compare.
    pub sum: bool,
}

impl Default for Options {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, progress: None, find_vmcoreinfo: true, sum: true }
    }
}

/// What a writer works on.
struct Writing<'d> {
    dump: &'d Dump,
    memory: Arc<dyn PhysMemory>,
    /// The processor: as the dump says it, or as the VMCOREINFO found in memory does.
    arch: Arch,
    page: u64,
    /// The text that goes into the new dump.
    vmcoreinfo: Option<String>,
    notes: Vec<u8>,
    total: u64,
    sum: bool,
    progress: Option<ProgressHook>,
}

impl Writing<'_> {
    /// The part of a range in the sum over all pages.
    fn digest(&self, at: u64, bytes: &[u8]) -> u128 {
        if self.sum { digest::range(at, bytes, self.page) } else { 0 }
    }

    fn memory(&self) -> &dyn PhysMemory {
        &*self.memory
    }
}

/// What was done so far.
struct Tally {
    progress: Option<ProgressHook>,
    total: u64,
    read: u64,
    digest: u128,
    bad: Vec<(Range<u64>, Absence)>,
    more_bad: u64,
    /// The same for a second writing, of which there may be more than are told one by one.
    all_bad: Vec<(Range<u64>, Absence)>,
    /// Bytes in pages of which other parts are not there.
    parts: u64,
    /// Bytes that were not there and had to be written as zeros.
    zeroed: u64,
    file_size: u64,
}

/// Unreadable ranges that are told one by one.
const MAX_BAD: usize = 8;
/// Unreadable ranges that are kept for a second writing.
const MAX_ALL_BAD: usize = 1 << 20;

impl Tally {
    fn new(writing: &Writing<'_>) -> Self {
        Self {
            progress: writing.progress.clone(),
            total: writing.total,
            read: 0,
            digest: 0,
            bad: Vec::new(),
            more_bad: 0,
            all_bad: Vec::new(),
            parts: 0,
            zeroed: 0,
            file_size: 0,
        }
    }

    fn add(&mut self, bytes: u64, digest: u128, bad: Vec<(Range<u64>, Absence)>) {
        self.read += bytes;
        self.digest = self.digest.wrapping_add(digest);
        for one in bad {
            if self.all_bad.len() < MAX_ALL_BAD {
                self.all_bad.push(one.clone());
            }
            if self.bad.len() < MAX_BAD { self.bad.push(one) } else { self.more_bad += one.0.end - one.0.start }
        }
        if let Some(progress) = &self.progress {
            progress.call(self.read.min(self.total), self.total);
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file (of the straight one, if it went into a pipe as records).
    pub file_size: u64,
    /// Bytes of memory in it.
    pub memory: u64,
    /// Sum over all pages, to be compared with what is read again.
    digest: u128,
    /// What could not be read, a line each.
    pub unreadable: Vec<String>,
}

impl From<Tally> for Written {
    fn from(tally: Tally) -> Self {
        let line = |(range, why): &(Range<u64>, Absence)| {
            format!("physical memory {:#x}-{:#x} could not be read: {why}", range.start, range.end)
        };
        let mut unreadable: Vec<String> = tally.bad.iter().map(line).collect();
        if tally.more_bad > 0 {
            unreadable.push(format!("{} more bytes of memory could not be read", tally.more_bad));
        }
        if tally.parts > 0 {
            let bytes = tally.parts;
            unreadable.push(format!(
                "{bytes} bytes are left out: they lie in pages of which other parts are not there, and the format knows \
                 whole pages only"
            ));
        }
        if tally.zeroed > 0 {
            let bytes = tally.zeroed;
            unreadable
                .push(format!("zeros stand for {bytes} bytes between runs of pages: the header has room for few runs"));
        }
        Self { file_size: tally.file_size, memory: tally.read, digest: tally.digest, unreadable }
    }
}

/// A machine's memory that is about to be written.
pub struct Image<'d> {
    writing: Writing<'d>,
    format: ImageFormat,
    /// Where a VMCOREINFO was found in memory that the container does not have.
    pub found_vmcoreinfo: Option<Phys>,
    /// What the new dump will not have, a line each.
    pub lost: Vec<String>,
    /// Bytes of memory that will be written.
    pub memory: u64,
}

impl<'d> Image<'d> {
    /// Looks at what there is, and says what the format has no place for.
    ///
    /// # Errors
    /// When the dump is not of a machine, or the format cannot hold it.
    pub fn plan(dump: &'d Dump, format: ImageFormat, options: &Options) -> Result<Self, WriteError> {
        let contradiction = |what: &str| WriteError::Contradiction { what: what.to_owned() };
        let machine = dump.machine.as_deref().ok_or_else(|| contradiction("it is not the dump of a machine"))?;
        if format == ImageFormat::Windows {
            windows::header(dump)?;
        }
        let sizes = machine.sizes();
        if sizes.present == 0 {
            return Err(contradiction("the dump holds no physical memory"));
        }
        let carries = matches!(format, ImageFormat::Elf | ImageFormat::Kdump(_));
        let mut found = None;
        if carries
            && machine.vmcoreinfo.is_none()
            && options.find_vmcoreinfo
            && matches!(dump.os, Os::Linux | Os::Unknown)
        {
            found = vmcoreinfo::find(&*machine.memory, machine.page_size, &mut |_| true);
        }
        let mut lost = losses(dump, machine, &sizes, format);
        if carries && found.is_none() && machine.vmcoreinfo.is_none() && dump.os == Os::Linux {
            lost.push("there is no VMCOREINFO in it: crash, drgn and makedumpfile may refuse it".to_owned());
        }
        let text = found.as_ref().map(|found| found.text.clone());
        let notes = if carries { notes::encode(dump, text.as_deref()) } else { Vec::new() };
        let arch = match (dump.arch, text.as_deref()) {
            (Arch::Other(0), Some(text)) if text.contains("NUMBER(phys_base)") => Arch::X86_64,
            (Arch::Other(0), Some(text)) if text.contains("NUMBER(kimage_voffset)") => Arch::Aarch64,
            (arch, _) => arch,
        };
        if carries && matches!(arch, Arch::Other(_)) {
            lost.push("which processor it is of: the dump does not say".to_owned());
        }
        let writing = Writing {
            dump,
            memory: machine.memory.clone(),
            arch,
            page: machine.page_size,
            vmcoreinfo: text.or_else(|| machine.vmcoreinfo.clone()),
            notes,
            total: sizes.present,
            sum: options.sum,
            progress: options.progress.clone(),
        };
        let found_vmcoreinfo = found.map(|found| found.at);
        Ok(Self { writing, format, found_vmcoreinfo, lost, memory: sizes.present })
    }

    /// Writes to a new, empty file; zeros become holes where the format leaves them as they are.
    ///
    /// # Errors
    /// When the output refuses, or the format cannot hold it.
    pub fn write_file(&mut self, file: &File, options: &Options) -> Result<Written, WriteError> {
        let first = self.write_once(file, options)?;
        if first.bad.is_empty() || self.format == ImageFormat::Raw {
            return Ok(first.into());
        }
        // Pages that the container promised are lost, and heads have promised them again: once more, without them.
        let refused = |source| WriteError::Output { what: "the dump", source };
        let memory = self.writing.memory.clone();
        self.writing.memory = Arc::new(without::Without::new(memory, first.all_bad.clone()));
        file.set_len(0).map_err(refused)?;
        (&mut &*file).seek(SeekFrom::Start(0)).map_err(refused)?;
        let mut second = self.write_once(file, options)?;
        (second.bad, second.more_bad) = (first.bad, first.more_bad);
        Ok(second.into())
    }

    fn write_once(&self, file: &File, options: &Options) -> Result<Tally, WriteError> {
        if let ImageFormat::Kdump(codec) = self.format {
            return kdump::write(&self.writing, Place::File(file), codec, options);
        }
        let mut out = Sparse::new(BufWriter::with_capacity(1 << 20, file));
        let tally = self.write_front_to_end(&mut out, options)?;
        out.finish().map_err(|source| WriteError::Output { what: "the dump", source })?;
        Ok(tally)
    }

    /// Writes front to end into something that cannot seek.
    ///
    /// # Errors
    /// As [`Image::write_file`].
    pub fn write_stream(&self, out: &mut dyn Output, options: &Options) -> Result<Written, WriteError> {
        let refused = |source| WriteError::Output { what: "the dump", source };
        if let ImageFormat::Kdump(codec) = self.format {
            let mut out = BufWriter::with_capacity(1 << 20, Adapter(out));
            let place = Place::flat(&mut out).map_err(refused)?;
            let tally = kdump::write(&self.writing, place, codec, options)?;
            out.flush().map_err(refused)?;
            return Ok(tally.into());
        }
        Ok(self.write_front_to_end(out, options)?.into())
    }

    fn write_front_to_end(&self, out: &mut dyn Output, options: &Options) -> Result<Tally, WriteError> {
        match self.format {
            ImageFormat::Raw => raw::write(&self.writing, out, options),
            ImageFormat::Lime => ranges::lime(&self.writing, out, options),
            ImageFormat::Avml => ranges::avml(&self.writing, out, options),
            ImageFormat::Elf => elf::write(&self.writing, out, options),
            ImageFormat::Windows => windows::write(&self.writing, out, options),
            ImageFormat::Kdump(_) => {
                Err(WriteError::Contradiction { what: "kdump is not written front to end".into() })
            }
        }
    }

    /// Reads all memory out of what was written, and compares.
    ///
    /// # Errors
    /// A sentence on what differs.
    pub fn verify(&self, written: &Written, again: &Dump, options: &Options) -> Result<(), String> {
        let machine = again.machine.as_deref().ok_or("it is not read as the dump of a machine")?;
        if !self.writing.sum {
            return Err("no sum was kept when it was written".to_owned());
        }
        let unit = if matches!(self.format, ImageFormat::Kdump(_)) { self.writing.page } else { 1 };
        let skips_bad = !matches!(self.format, ImageFormat::Raw | ImageFormat::Elf | ImageFormat::Windows);
        let (mut sum, mut bytes) = (0u128, 0u64);
        let memory = &*machine.memory;
        let page = self.writing.page;
        let work = || {
            let mut buffer = Vec::new();
            move |job: &jobs::Job| {
                let read = jobs::read(memory, job, page, std::mem::take(&mut buffer));
                let result = sum_of(job, &read, unit, page, skips_bad);
                buffer = read.bytes;
                result
            }
        };
        let jobs = jobs::Jobs::new(self.writing.memory(), self.job(), unit);
        let done = jobs::run(jobs, options.threads, work, |_, (part, len)| {
            sum = sum.wrapping_add(part);
            bytes += len;
            if let Some(progress) = &options.progress {
                progress.call(bytes.min(self.memory), self.memory);
            }
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(()) = done;
        if bytes != written.memory {
            return Err(format!("it has {bytes} bytes of memory, not {}", written.memory));
        }
        if sum != written.digest {
            return Err("memory read back from it is not what was written".to_owned());
        }
        Ok(())
    }

    /// Bytes of memory that are worked on at once.
    fn job(&self) -> u64 {
        match self.format {
            ImageFormat::Lime | ImageFormat::Avml => ranges::RANGE,
            _ => (1 << 20).max(self.writing.page),
        }
    }
}

/// The sum and the count of a job's bytes that are there.
fn sum_of(job: &jobs::Job, read: &jobs::Read, unit: u64, page: u64, skips_bad: bool) -> (u128, u64) {
    let mut sum = 0u128;
    let mut count = 0;
    let mut rest = read.bytes.as_slice();
    for piece in &job.pieces {
        let Some((bytes, behind)) = rest.split_at_checked((piece.end - piece.start) as usize) else { break };
        rest = behind;
        for good in good_parts(piece, if skips_bad { &read.bad } else { &[] }, unit) {
            let bytes = bytes.get((good.start - piece.start) as usize..(good.end - piece.start) as usize);
            let bytes = bytes.unwrap_or_default();
            sum = sum.wrapping_add(digest::range(good.start, bytes, page));
            count += bytes.len() as u64;
        }
    }
    (sum, count)
}

/// A piece without what could not be read, by whole units.
fn good_parts(piece: &Range<u64>, bad: &[(Range<u64>, Absence)], unit: u64) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut at = piece.start;
    for (range, _) in bad.iter().filter(|(range, _)| range.start < piece.end && range.end > piece.start) {
        let start = (range.start / unit * unit).max(piece.start);
        let end = range.end.next_multiple_of(unit).min(piece.end);
        if at < start {
            parts.push(at..start);
        }
        at = at.max(end);
    }
    if at < piece.end {
        parts.push(at..piece.end);
    }
    parts
}

/// An [`Output`] as a writer.
struct Adapter<'a>(&'a mut dyn Output);

impl Write for Adapter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a format has no place for.
fn losses(dump: &Dump, machine: &Machine, sizes: &crate::Sizes, format: ImageFormat) -> Vec<String> {
    let mut lost: Vec<String> =
        dump.issues.iter().filter(|issue| issue.loses_data).map(|issue| issue.text.clone()).collect();
    let carries = matches!(format, ImageFormat::Elf | ImageFormat::Kdump(_));
    if !carries && format != ImageFormat::Windows {
        if !machine.cpus.is_empty() {
            lost.push(format!("the registers of {} processors", machine.cpus.len()));
        }
        if machine.vmcoreinfo.is_some() {
            lost.push("the VMCOREINFO (memory has it, too)".to_owned());
        }
        let notes = dump.notes.len();
        if notes > 0 && machine.cpus.is_empty() {
            lost.push(format!("{notes} notes"));
        }
    }
    let absent: u64 = sizes.absent.iter().map(|(_, bytes)| bytes).sum();
    if absent > 0 {
        match format {
            ImageFormat::Raw => lost.push(format!(
                "which {absent} bytes of memory are not in the dump: zeros stand for them, as for places without memory"
            )),
            ImageFormat::Lime | ImageFormat::Avml | ImageFormat::Windows => lost.push(format!(
                "that {absent} bytes are memory that is not in the dump: they become places without memory"
            )),
            _ => {}
        }
    }
    if machine.stop.is_some() && format != ImageFormat::Windows {
        lost.push("what the Windows dump says of its stop (its header)".to_owned());
    }
    if matches!(dump.format, crate::Format::Kdump | crate::Format::Lkcd) && machine.name.is_some() && !carries {
        lost.push("the system's name (utsname)".to_owned());
    }
    lost
}
