//! `convert`: a dump in another form.
//!
//! *Trap*: with `-o -` standard output is the dump's, so nothing else may go there.

mod image;

use crate::args::{Common, Convert, ConvertCompress, ConvertFormat};
use crate::failure::{Failure, INPUT, OUTPUT, USAGE};
use crate::open;
use crate::output::file::{self, NewFile};
use crate::output::progress::Progress;
use crate::output::{clean, json_line};
use afterimage_dump::convert::{self, Conversion, ConvertError, Request};
use afterimage_dump::write::WriteError;
use afterimage_dump::write::layout::{Output, Pipe, Sparse, Written};
use afterimage_dump::write::seekable;
use afterimage_dump::{Dump, ProgressHook};
use serde_json::json;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

pub fn convert(arguments: &Convert, common: &Common) -> Result<u8, Failure> {
    let to_stdout = arguments.output == Path::new("-");
    refuse(arguments, common, to_stdout)?;
    afterimage_capture::survive_file_size_limit();
    let dump = open::dump(&arguments.dump, common)?;
    if dump.machine.is_some() {
        return image::convert(&dump, arguments, common);
    }
    let format = arguments.format.map(of_a_process).transpose()?;
    let compress = packing(arguments)?;
    let request = Request { format, dump_type: arguments.dump_type.map(Into::into) };
    let conversion = convert::plan(&dump, &request).map_err(|error| not_planned(arguments, &error))?;
    let progress = Arc::new(Progress::new("converting", common.quiet));
    let hook = ProgressHook::new({
        let progress = progress.clone();
        move |done, total| progress.bytes(done, total)
    });
    let done = if to_stdout {
        to_pipe(&conversion, compress, hook)?
    } else {
        let new = NewFile::create("convert", &arguments.output, arguments.force)?;
        let done = to_file(&conversion, &new, arguments, compress, hook)?;
        new.finish()?;
        done
    };
    drop(progress);
    tell(arguments, common, &dump, &conversion, &done)?;
    Ok(0)
}

/// A form for a process's memory.
fn of_a_process(format: ConvertFormat) -> Result<afterimage_dump::Format, Failure> {
    match format {
        ConvertFormat::Elf => Ok(afterimage_dump::Format::ElfCore),
        ConvertFormat::Minidump => Ok(afterimage_dump::Format::Minidump),
        _ => Err(Failure::new(USAGE, "convert: this dump is of a process, and that format holds machines only")
            .advise("--format elf or --format minidump")),
    }
}

/// Whether a process's dump is to be packed with zstd.
fn packing(arguments: &Convert) -> Result<bool, Failure> {
    match arguments.compress {
        None | Some(ConvertCompress::None) => Ok(false),
        Some(ConvertCompress::Zstd) => Ok(true),
        Some(_) => {
            Err(Failure::new(USAGE, "convert: zlib, lzo and snappy are for the pages of a machine's kdump only")
                .advise("--compress zstd"))
        }
    }
}

/// Finds wrong use before a large dump is opened.
fn refuse(arguments: &Convert, common: &Common, to_stdout: bool) -> Result<(), Failure> {
    let wrong = |what: &str| Failure::new(USAGE, format!("convert: {what}"));
    if common.csv {
        return Err(wrong("there is no table to show as CSV").advise("--json gives one object"));
    }
    if to_stdout && common.json {
        return Err(wrong("standard output cannot have both the dump and JSON").advise("name a file with -o"));
    }
    if to_stdout && io::stdout().is_terminal() {
        return Err(wrong("a dump is not for a terminal").advise("name a file with -o, or redirect the output"));
    }
    if !to_stdout && file::is_same(&arguments.dump, &arguments.output) {
        return Err(wrong(&format!("{} is the dump that is to be read", arguments.output.display()))
            .advise("name another file with -o"));
    }
    Ok(())
}

/// What was written, and how many bytes the file has.
struct Done {
    written: Written,
    file_bytes: u64,
}

fn to_file(
    conversion: &Conversion<'_>,
    new: &NewFile,
    arguments: &Convert,
    zstd: bool,
    hook: ProgressHook,
) -> Result<Done, Failure> {
    let failed = |error: &io::Error| file::failure("convert", &arguments.output, error);
    let written = |error| not_written(arguments, error);
    match zstd {
        false => {
            let mut out = Sparse::new(BufWriter::with_capacity(BUFFER, new.file()));
            let written = conversion.write(&mut out, Some(hook)).map_err(written)?;
            out.finish().map_err(|error| failed(&error))?;
            Ok(Done { file_bytes: written.file_size, written })
        }
        true => {
            let packed = pack_with(new.file(), |out| conversion.write(out, Some(hook)));
            let (written, file_bytes) = packed.map_err(written)?;
            Ok(Done { written, file_bytes })
        }
    }
}

fn to_pipe(conversion: &Conversion<'_>, zstd: bool, hook: ProgressHook) -> Result<Done, Failure> {
    let piped = |error| match error {
        WriteError::Output { source, .. } => Failure::output(&source),
        other => Failure::new(INPUT, format!("convert: {other}")),
    };
    let stdout = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    match zstd {
        false => {
            let mut out = Pipe(stdout);
            let written = conversion.write(&mut out, Some(hook)).map_err(piped)?;
            out.0.flush()?;
            Ok(Done { file_bytes: written.file_size, written })
        }
        true => {
            let (written, file_bytes) = pack_with(stdout, |out| conversion.write(out, Some(hook))).map_err(piped)?;
            Ok(Done { written, file_bytes })
        }
    }
}

/// Writes through a packer; gives what the writer said, and the bytes of the packed file.
fn pack_with<T>(
    out: impl Write,
    write: impl FnOnce(&mut dyn Output) -> Result<T, WriteError>,
) -> Result<(T, u64), WriteError> {
    let refused = |source| WriteError::Output { what: "the packed dump", source };
    let mut packer = seekable::Writer::new(out, seekable::Options::default()).map_err(refused)?;
    let written = write(&mut packer)?;
    let (mut out, totals) = packer.finish().map_err(refused)?;
    out.flush().map_err(refused)?;
    Ok((written, totals.compressed))
}

fn not_planned(arguments: &Convert, error: &ConvertError) -> Failure {
    let status = match error {
        ConvertError::Unsupported { .. } => USAGE,
        ConvertError::Claims { .. } => INPUT,
        _ => OUTPUT,
    };
    Failure::new(status, format!("convert {}: {error}", arguments.dump.display()))
}

fn not_written(arguments: &Convert, error: WriteError) -> Failure {
    match error {
        WriteError::Output { source, .. } => file::failure("convert", &arguments.output, &source),
        WriteError::TooLarge { .. } => Failure::new(OUTPUT, format!("convert: {error}")),
        other => Failure::new(INPUT, format!("convert {}: {other}", arguments.dump.display())),
    }
}

/// What was lost, and one line about what was written.
fn tell(
    arguments: &Convert,
    common: &Common,
    dump: &Dump,
    conversion: &Conversion<'_>,
    done: &Done,
) -> Result<(), Failure> {
    let path = clean(&arguments.output.display().to_string());
    if common.json {
        let line = json!({
            "output": arguments.output.to_string_lossy(),
            "format": conversion.format.name(),
            "type": conversion.dump_type.name(),
            "file_bytes": done.file_bytes,
            "unpacked_bytes": done.written.file_size,
            "memory_bytes": conversion.memory_len(),
            "threads": dump.threads.len(),
            "lost": conversion.lost,
            "unreadable": done.written.soft_errors,
        });
        let mut out = io::stdout().lock();
        writeln!(out, "{}", json_line(&line))?;
        out.flush()?;
    }
    if common.quiet {
        return Ok(());
    }
    for line in conversion.lost.iter().chain(&done.written.soft_errors) {
        anstream::eprintln!("! {}", clean(line));
    }
    let name = if arguments.output == Path::new("-") { "standard output" } else { &path };
    anstream::eprintln!(
        "{name}: {} {}, {} of memory in {}",
        conversion.dump_type.name(),
        match conversion.format {
            afterimage_dump::Format::Minidump => "minidump",
            _ => "ELF core",
        },
        bytes(conversion.memory_len()),
        bytes(done.file_bytes)
    );
    Ok(())
}

/// Bytes in the largest unit that leaves a number before the point.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut name = "bytes";
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    if name == "bytes" { format!("{count} bytes") } else { format!("{value:.1} {name}") }
}
