//! `convert` for dumps of machines: any image to any other, read again afterwards.
//!
//! *Trap*: a kdump is not written front to end; standard output gets makedumpfile's flattened form.

use super::{bytes, pack_with};
use crate::args::{Common, Convert, ConvertCompress, ConvertFormat};
use crate::failure::{Failure, INPUT, OUTPUT, USAGE};
use crate::output::file::{self, NewFile};
use crate::output::progress::Progress;
use crate::output::{clean, json_line};
use afterimage_dump::source::FileSource;
use afterimage_dump::write::WriteError;
use afterimage_dump::write::image::{Codec, Image, ImageFormat, Options, Written};
use afterimage_dump::write::layout::Pipe;
use afterimage_dump::{Budget, Dump, Format, ProgressHook, open_source};
use serde_json::json;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

/// What was asked for, as the library knows it.
struct Wanted {
    format: ImageFormat,
    /// As the command line writes it, and in words.
    short: &'static str,
    name: &'static str,
    /// Packed as a whole.
    zstd: bool,
}

fn wrong(what: &str, advice: &str) -> Failure {
    Failure::new(USAGE, format!("convert: {what}")).advise(advice)
}

fn wanted(dump: &Dump, arguments: &Convert) -> Result<Wanted, Failure> {
    let own = match dump.format {
        Format::Raw => ConvertFormat::Raw,
        Format::Lime => ConvertFormat::Lime,
        Format::Avml => ConvertFormat::Avml,
        Format::Kdump => ConvertFormat::Kdump,
        _ => ConvertFormat::Elf,
    };
    if arguments.dump_type.is_some() {
        return Err(wrong("--type does not go with the dump of a machine yet", "leave it out: all pages are kept"));
    }
    let format = arguments.format.unwrap_or(own);
    let packing = arguments.compress;
    let zstd = packing == Some(ConvertCompress::Zstd) && format != ConvertFormat::Kdump;
    let codec = match packing {
        None | Some(ConvertCompress::Zlib) => Codec::Zlib,
        Some(ConvertCompress::Lzo) => Codec::Lzo,
        Some(ConvertCompress::Snappy) => Codec::Snappy,
        Some(ConvertCompress::Zstd) => Codec::Zstd,
        Some(ConvertCompress::None) => Codec::None,
    };
    if format != ConvertFormat::Kdump && !matches!(packing, None | Some(ConvertCompress::None | ConvertCompress::Zstd))
    {
        return Err(wrong(
            "zlib, lzo and snappy are for the pages of a kdump only",
            "--format kdump, or --compress zstd",
        ));
    }
    let (format, short, name) = match format {
        ConvertFormat::Elf => (ImageFormat::Elf, "elf", "ELF core"),
        ConvertFormat::Kdump => (ImageFormat::Kdump(codec), "kdump", "kdump"),
        ConvertFormat::Lime => (ImageFormat::Lime, "lime", "LiME image"),
        ConvertFormat::Avml => (ImageFormat::Avml, "avml", "AVML image"),
        ConvertFormat::Raw => (ImageFormat::Raw, "raw", "raw image"),
        ConvertFormat::Windows => (ImageFormat::Windows, "windows", "complete Windows crash dump"),
        ConvertFormat::Minidump => {
            return Err(wrong("a minidump holds a process, and this dump is of a machine", "--format elf"));
        }
    };
    Ok(Wanted { format, short, name, zstd })
}

fn options(arguments: &Convert, progress: &Arc<Progress>) -> Options {
    let mut options = Options::default();
    if let Some(threads) = arguments.threads {
        options.threads = usize::from(threads);
    }
    options.sum = !arguments.no_verify && arguments.output != Path::new("-");
    let progress = progress.clone();
    options.progress = Some(ProgressHook::new(move |done, total| progress.bytes(done, total)));
    options
}

pub(super) fn convert(dump: &Dump, arguments: &Convert, common: &Common) -> Result<u8, Failure> {
    let wanted = wanted(dump, arguments)?;
    let progress = Arc::new(Progress::new("converting", common.quiet));
    let options = self::options(arguments, &progress);
    let mut image = Image::plan(dump, wanted.format, &options).map_err(|error| {
        // A form that only another system's dumps can have is wrong use.
        let status = if wanted.format == ImageFormat::Windows { USAGE } else { INPUT };
        Failure::new(status, format!("convert {}: {error}", arguments.dump.display()))
    })?;
    let done = if arguments.output == Path::new("-") {
        to_pipe(&image, &wanted, &options)?
    } else {
        let new = NewFile::create("convert", &arguments.output, arguments.force)?;
        let done = to_file(&mut image, &wanted, &new, arguments, &options)?;
        drop(options);
        drop(progress);
        let done = if arguments.no_verify { done } else { verify(&image, done, &new, arguments, common)? };
        new.finish()?;
        done
    };
    tell(arguments, common, dump, &image, &wanted, &done)?;
    Ok(0)
}

struct Done {
    written: Written,
    file_bytes: u64,
    verified: bool,
}

fn to_file(
    image: &mut Image<'_>,
    wanted: &Wanted,
    new: &NewFile,
    arguments: &Convert,
    options: &Options,
) -> Result<Done, Failure> {
    let failed = |error| match error {
        WriteError::Output { source, .. } => file::failure("convert", &arguments.output, &source),
        other => Failure::new(OUTPUT, format!("convert: {other}")),
    };
    if wanted.zstd {
        let (written, file_bytes) = pack_with(new.file(), |out| image.write_stream(out, options)).map_err(failed)?;
        return Ok(Done { written, file_bytes, verified: false });
    }
    let written = image.write_file(new.file(), options).map_err(failed)?;
    Ok(Done { file_bytes: written.file_size, written, verified: false })
}

fn to_pipe(image: &Image<'_>, wanted: &Wanted, options: &Options) -> Result<Done, Failure> {
    let piped = |error| match error {
        WriteError::Output { source, .. } => Failure::output(&source),
        other => Failure::new(INPUT, format!("convert: {other}")),
    };
    let stdout = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    if wanted.zstd {
        let (written, file_bytes) = pack_with(stdout, |out| image.write_stream(out, options)).map_err(piped)?;
        return Ok(Done { written, file_bytes, verified: false });
    }
    let mut out = Pipe(stdout);
    let written = image.write_stream(&mut out, options).map_err(piped)?;
    out.0.flush()?;
    Ok(Done { file_bytes: written.file_size, written, verified: false })
}

/// Reads all of it again.
fn verify(image: &Image<'_>, done: Done, new: &NewFile, arguments: &Convert, common: &Common) -> Result<Done, Failure> {
    let failed = |what: String| {
        Failure::new(OUTPUT, format!("convert: {} is not as it was written: {what}", arguments.output.display()))
            .advise("nothing is left of it; check the disk, and report this if it happens again")
    };
    let progress = Arc::new(Progress::new("reading it again", common.quiet));
    let options = self::options(arguments, &progress);
    let source = new.file().try_clone().and_then(FileSource::new).map_err(|error| failed(error.to_string()))?;
    let again = open_source(Path::new("it"), Arc::new(source), &Budget::default());
    let again = match again {
        Ok(again) => again,
        // Nothing in a raw image says what it is.
        Err(_) if arguments.format == Some(ConvertFormat::Raw) => {
            let source = new.file().try_clone().and_then(FileSource::new).map_err(|error| failed(error.to_string()))?;
            afterimage_dump::system::open_raw(Arc::new(source))
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    image.verify(&done.written, &again, &options).map_err(failed)?;
    Ok(Done { verified: true, ..done })
}

/// What was lost, and one line about what was written.
fn tell(
    arguments: &Convert,
    common: &Common,
    dump: &Dump,
    image: &Image<'_>,
    wanted: &Wanted,
    done: &Done,
) -> Result<(), Failure> {
    let to_stdout = arguments.output == Path::new("-");
    if common.json && !to_stdout {
        let line = json!({
            "output": arguments.output.to_string_lossy(),
            "format": wanted.short,
            "type": dump.dump_type.name(),
            "file_bytes": done.file_bytes,
            "unpacked_bytes": done.written.file_size,
            "memory_bytes": done.written.memory,
            "verified": done.verified,
            "vmcoreinfo_found_at": image.found_vmcoreinfo.map(|at| format!("{at:#x}")),
            "lost": image.lost,
            "unreadable": done.written.unreadable,
        });
        let mut out = io::stdout().lock();
        writeln!(out, "{}", json_line(&line))?;
        out.flush()?;
    }
    if common.quiet {
        return Ok(());
    }
    for line in &image.lost {
        anstream::eprintln!("! lost: {}", clean(line));
    }
    for line in &done.written.unreadable {
        anstream::eprintln!("! {}", clean(line));
    }
    if let Some(at) = image.found_vmcoreinfo {
        anstream::eprintln!("the VMCOREINFO that lies in memory at {at:#x} is put in");
    }
    let name = if to_stdout { "standard output".to_owned() } else { clean(&arguments.output.display().to_string()) };
    let checked = if done.verified { ", read again and equal" } else { "" };
    anstream::eprintln!(
        "{name}: {}, {} of memory in {}{checked}",
        wanted.name,
        bytes(done.written.memory),
        bytes(done.file_bytes)
    );
    Ok(())
}
