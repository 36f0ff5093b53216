//! A complete crash dump of Windows, with the header of the dump that is converted.
//!
//! *Trap*: the format knows pages and a few dozen runs of them. What closes the gaps between runs is zeros, and is told.

use super::jobs::{self, Job, Jobs, Read};
use super::{Adapter, Options, Tally, Writing, raw};
use crate::system::windows::{Header, WriteError as Failure, write_complete};
use crate::write::WriteError;
use crate::write::layout::Output;
use crate::{Dump, Format};

/// Bytes of a header of the wide form.
const HEADER: usize = 0x2000;

/// The header of a Windows dump.
pub(super) fn header(dump: &Dump) -> Result<Header, WriteError> {
    let no = |what: &str| WriteError::Contradiction { what: what.to_owned() };
    if dump.format != Format::Windows {
        return Err(no("only the dump of a Windows machine has what a Windows crash dump's header tells"));
    }
    let bytes = crate::source::read_vec(&**dump.memory.source(), 0, HEADER)
        .map_err(|source| WriteError::Input { at: 0, source })?;
    Header::parse(&bytes).ok_or_else(|| no("its header cannot be read"))
}

/// Writes it.
pub(super) fn write(writing: &Writing<'_>, out: &mut dyn Output, options: &Options) -> Result<Tally, WriteError> {
    let header = header(writing.dump)?;
    let progress = writing.progress.clone();
    let mut tell = |done: u64, total: u64| {
        if let Some(progress) = &progress {
            progress.call(done, total);
        }
    };
    let written = write_complete(&header, writing.memory(), &mut Adapter(out), &mut tell);
    let written = written.map_err(|error| match error {
        Failure::Output(source) => WriteError::Output { what: "the dump", source },
        other => WriteError::Contradiction { what: other.to_string() },
    })?;
    // The sum over what was to be written, to be compared with what is read again.
    let mut tally = Tally::new(writing);
    tally.progress = None;
    let done = jobs::run(
        Jobs::new(writing.memory(), (1 << 20).max(writing.page), 1),
        options.threads,
        || move |job: &Job| raw::summed(writing, job),
        |_, (read, sum): (Read, u128)| {
            tally.add(read.bytes.len() as u64, sum, read.bad);
            Ok::<(), std::convert::Infallible>(())
        },
    );
    let Ok(()) = done;
    tally.zeroed = written.zeroed;
    tally.file_size = written.bytes;
    Ok(tally)
}
