//! From any dump that can be read to an ELF core or a minidump.
//!
//! *What it is*: [`plan`] decides how the new file is laid out and says what will be lost; [`Conversion::write`] writes
//! it to any [`Output`].
//!
//! *What it is not*: it opens no file and names none. It makes up nothing: holes stay holes, what is absent stays absent.
//!
//! ```no_run
//! use afterimage_dump::{Budget, Format, convert, open, write::layout::Pipe};
//! let dump = open(std::path::Path::new("core"), &Budget::default())?;
//! let request = convert::Request { format: Some(Format::Minidump), dump_type: None };
//! let conversion = convert::plan(&dump, &request)?;
//! conversion.write(&mut Pipe(std::io::stdout()), None)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Trap*: a dump that stays in its container and keeps its type is copied byte by byte, if all of it is there: nothing
//! that we do not know of gets lost.

mod foreign;
mod notes;

use crate::elf_core::parts;
use crate::minidump::raw;
use crate::source::Source;
use crate::write::layout::{self, Layout, Output, Written};
use crate::write::{DumpMemory, WriteError, elf_core, minidump, small};
use crate::{Budget, Dump, DumpType, Format, ProgressHook};
use std::ops::Range;

/// Bytes that are copied at once.
const BLOCK: usize = 1 << 20;
/// How many ranges of memory may share a byte of the file, on average: a hostile dump of a megabyte would fill any disk.
const MOST_SHARED: u64 = 4;
/// Bytes of memory that may be claimed whatever the file has.
const FREE: u64 = 1 << 30;
/// Lines about what is lost that are kept.
const MAX_LOST: usize = 100;

/// What a dump shall become.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// The container; the dump's own if none is named.
    pub format: Option<Format>,
    /// How much of the process it shall hold; as much as there is if nothing is named.
    pub dump_type: Option<DumpType>,
}

/// Why a dump cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// No conversion leads there.
    #[error("{what}")]
    Unsupported {
        /// What was asked for, and why it cannot be.
        what: String,
    },
    /// The dump claims far more memory than its file can have.
    #[error("it claims {claimed} bytes of memory in a file of {file_size} bytes")]
    Claims {
        /// Bytes of memory.
        claimed: u64,
        /// Bytes of the file.
        file_size: u64,
    },
    /// The container cannot hold it.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A dump that is about to be written in another form.
pub struct Conversion<'d> {
    dump: &'d Dump,
    form: Form,
    /// The container.
    pub format: Format,
    /// How much of the process it will hold.
    pub dump_type: DumpType,
    /// What the new dump will not have, a line each.
    pub lost: Vec<String>,
}

enum Form {
    /// All bytes of the container, as they are.
    Copy,
    /// Laid out anew.
    Layout(Layout),
}

/// Decides how a dump is written anew.
///
/// # Errors
/// When the dump does not hold what is asked for, or the container cannot hold it.
pub fn plan<'d>(dump: &'d Dump, request: &Request) -> Result<Conversion<'d>, ConvertError> {
    let format = request.format.unwrap_or(dump.format);
    let dump_type = dump_type(dump, request.dump_type)?;
    let same_type = dump_type == dump.dump_type;
    if format == dump.format && same_type && dump.missing_bytes == 0 {
        return Ok(Conversion { dump, form: Form::Copy, format, dump_type, lost: Vec::new() });
    }
    if dump.report.is_some() {
        return Err(ConvertError::Unsupported {
            what: "a crash report holds no memory that could be written".to_owned(),
        });
    }
    let mut stored = DumpMemory::stored(dump);
    let claimed = stored.iter().fold(0u64, |sum, range| sum.saturating_add(range.end - range.start));
    if claimed > dump.file_size.saturating_mul(MOST_SHARED).saturating_add(FREE) {
        return Err(ConvertError::Claims { claimed, file_size: dump.file_size });
    }
    if !same_type {
        stored = small::select(dump, &stored);
    }
    let mut lost: Vec<String> =
        dump.issues.iter().filter(|issue| issue.loses_data).map(|issue| issue.text.clone()).collect();
    let layout = match format {
        Format::ElfCore => elf(dump, &stored, &mut lost)?,
        Format::Minidump => {
            let layout = minidump::lay_out(dump, &stored, dump_type)?;
            losses_of_minidump(dump, &layout, &mut lost);
            layout
        }
        other => {
            return Err(ConvertError::Unsupported { what: format!("{} is not written yet", other.name()) });
        }
    };
    if lost.len() > MAX_LOST {
        let more = lost.len() - MAX_LOST;
        lost.truncate(MAX_LOST);
        lost.push(format!("and {more} more"));
    }
    Ok(Conversion { dump, form: Form::Layout(layout), format, dump_type, lost })
}

/// The type that the new dump has.
fn dump_type(dump: &Dump, wanted: Option<DumpType>) -> Result<DumpType, ConvertError> {
    let own = dump.dump_type;
    match wanted {
        None => Ok(own),
        Some(wanted) if wanted == own => Ok(own),
        Some(DumpType::Small) => Ok(DumpType::Small),
        Some(DumpType::Active) if own == DumpType::Complete => Err(ConvertError::Unsupported {
            what: "making an active dump of a complete one is not supported yet".to_owned(),
        }),
        Some(wanted) => Err(ConvertError::Unsupported {
            what: format!("a {} dump does not hold what a {} one has", own.name(), wanted.name()),
        }),
    }
}

/// An ELF core: the one that the dump is or was made of, or one made up from what a minidump says.
fn elf(dump: &Dump, stored: &[Range<u64>], lost: &mut Vec<String>) -> Result<Layout, WriteError> {
    let core = match minidump::core_parts(dump) {
        Some(parts) => minidump::cut_core(dump, parts, stored),
        None => foreign::core(dump, stored, lost),
    };
    elf_core::lay_out(&core)
}

/// What a minidump has no place for.
fn losses_of_minidump(dump: &Dump, layout: &Layout, lost: &mut Vec<String>) {
    let standard = dump.threads.iter().filter(|thread| thread.registers.iter().next().is_some());
    let known = |registers| crate::minidump::context::encode(registers, dump.endian).is_some();
    if standard.into_iter().any(|thread| !known(&thread.registers)) && dump.format == Format::ElfCore {
        lost.push(format!(
            "minidumps have no form for the registers of {}: only afterimage finds them there",
            dump.arch
        ));
    }
    match dump.format {
        Format::ElfCore => {
            let others = parts::other_segments(&**dump.memory.source(), &Budget::default());
            if others > 0 {
                lost.push(format!("{others} segments that are neither notes nor memory are left out"));
            }
        }
        Format::Minidump => {
            let kept = minidump::stream_types(layout, dump.endian);
            // A list of memory may become one of the other kind.
            let memory = [raw::MEMORY_LIST_STREAM, raw::MEMORY64_LIST_STREAM];
            let gone = |kind, _| !kept.contains(&kind) && !memory.contains(&kind);
            let streams = crate::minidump::stream_names(dump, gone);
            if !streams.is_empty() {
                lost.push(format!("streams that are left out: {}", streams.join(", ")));
            }
            let crashed = dump.exception.as_ref().and_then(|exception| exception.tid);
            let others = dump.threads.iter().filter(|t| t.signal.is_some() && Some(t.tid) != crashed).count();
            if others > 0 && !kept.contains(&crate::minidump::ELF_HEAD) {
                lost.push(format!("exceptions of {others} other threads are left out"));
            }
        }
        _ => {}
    }
}

impl Conversion<'_> {
    /// Length of the new file in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        match &self.form {
            Form::Copy => self.dump.file_size,
            Form::Layout(layout) => layout.len(),
        }
    }

    /// Bytes of memory that the new file has.
    #[must_use]
    pub fn memory_len(&self) -> u64 {
        match &self.form {
            Form::Copy => DumpMemory::stored(self.dump).iter().fold(0, |sum, range| sum + (range.end - range.start)),
            Form::Layout(layout) => layout.memory_len(),
        }
    }

    /// Writes the new file from its front to its end.
    ///
    /// # Errors
    /// When the output refuses. Memory that cannot be read is in [`Written::soft_errors`].
    pub fn write(&self, out: &mut dyn Output, progress: Option<ProgressHook>) -> Result<Written, WriteError> {
        match &self.form {
            Form::Copy => self.copy(out, progress),
            Form::Layout(layout) => {
                let mut memory = DumpMemory::new(self.dump);
                if let Some(progress) = progress {
                    memory = memory.with_progress(progress, layout.memory_len());
                }
                let mut written = layout::write(layout, &mut memory, out)?;
                // What stood in the dump before is no news.
                written.soft_errors = memory.errors();
                Ok(written)
            }
        }
    }

    fn copy(&self, out: &mut dyn Output, progress: Option<ProgressHook>) -> Result<Written, WriteError> {
        let source: &dyn Source = &**self.dump.memory.source();
        let len = source.len();
        let mut written = Written { file_size: len, ..Written::default() };
        let mut buf = vec![0; BLOCK.min(usize::try_from(len).unwrap_or(BLOCK))];
        let mut at = 0;
        while at < len {
            let want = (len - at).min(BLOCK as u64) as usize;
            let Some(block) = buf.get_mut(..want) else { break };
            let got = source.read_at(at, block).map_err(|source| WriteError::Input { at, source })?;
            if got == 0 {
                let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(WriteError::Input { at, source });
            }
            let block = block.get(..got).unwrap_or_default();
            let stored = layout::put(out, block).map_err(|source| WriteError::Output { what: "the dump", source })?;
            written.stored += stored;
            at += got as u64;
            if let Some(progress) = &progress {
                progress.call(at, len);
            }
        }
        Ok(written)
    }
}
