//! What a kernel's image says of itself, as files for other tools: System.map, BTF, ISF.
//!
//! *Trap*: volatility3 reads `.json`, `.json.xz` and `.json.gz`, and tells them by the ends of their names.

use crate::args::{Common, Extract};
use crate::failure::{Failure, INPUT, OUTPUT, USAGE};
use crate::output::file::{self, NewFile};
use crate::output::{clean, json_line};
use afterimage_target::linux::{ExportError, Linux, MapForm};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// xz's own default.
const XZ_LEVEL: u32 = 6;

/// What was written, for people and for scripts.
struct Written {
    what: String,
    facts: Value,
    remarks: Vec<String>,
}

/// Writes what was asked for; `None` if it was none of these.
pub fn extract(linux: &Linux, arguments: &Extract, common: &Common) -> Option<Result<u8, Failure>> {
    (arguments.system_map || arguments.btf || arguments.isf).then(|| {
        let written = if arguments.output == Path::new("-") {
            let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
            let written = write(linux, arguments, &mut out).map_err(|error| failed(arguments, error))?;
            out.flush()?;
            written
        } else {
            let new = NewFile::create("extract", &arguments.output, arguments.force)?;
            let written = to_file(linux, arguments, &new).map_err(|error| failed(arguments, error))?;
            new.finish()?;
            written
        };
        tell(&written, arguments, common)?;
        Ok(0)
    })
}

fn to_file(linux: &Linux, arguments: &Extract, new: &NewFile) -> Result<Written, ExportError> {
    let mut out = BufWriter::with_capacity(1 << 20, new.file());
    let packed = |end: &str| arguments.output.extension().is_some_and(|own| own == end);
    let written = if packed("xz") {
        let mut packer = liblzma::write::XzEncoder::new(out, XZ_LEVEL);
        let written = write(linux, arguments, &mut packer)?;
        packer.finish()?.flush()?;
        written
    } else if packed("gz") {
        let mut packer = flate2::write::GzEncoder::new(out, flate2::Compression::default());
        let written = write(linux, arguments, &mut packer)?;
        packer.finish()?.flush()?;
        written
    } else {
        let written = write(linux, arguments, &mut out)?;
        out.flush()?;
        written
    };
    Ok(written)
}

fn write(linux: &Linux, arguments: &Extract, out: &mut dyn Write) -> Result<Written, ExportError> {
    if arguments.isf {
        let summary = linux.write_isf(out)?;
        return Ok(Written {
            what: format!(
                "ISF of {} types and {} symbols, {} of them with a type",
                summary.types, summary.symbols, summary.typed
            ),
            facts: json!({
                "format": "isf",
                "types": summary.types,
                "symbols": summary.symbols,
                "typed_symbols": summary.typed,
                "modules": summary.modules,
                "unpacked_bytes": summary.bytes,
            }),
            remarks: summary.remarks,
        });
    }
    if arguments.system_map {
        let (form, what) = match arguments.running {
            true => (MapForm::Running, "/proc/kallsyms"),
            false => (MapForm::Linked, "System.map"),
        };
        let summary = linux.write_system_map(form, out)?;
        return Ok(Written {
            what: format!("{what} of {} symbols", summary.symbols),
            facts: json!({
                "format": "system-map",
                "running": arguments.running,
                "symbols": summary.symbols,
                "kaslr_offset": linux.kaslr_offset.map(|offset| format!("{offset:#x}")),
            }),
            remarks: summary.remarks,
        });
    }
    let (bytes, of, remarks) = match &arguments.module {
        None => (linux.btf_bytes()?, "the kernel".to_owned(), Vec::new()),
        Some(name) => {
            let (modules, remarks) = linux.module_btfs()?;
            let Some(module) = modules.iter().find(|module| module.name == *name) else {
                return Err(ExportError::Missing(no_types(name, modules.len(), &remarks)));
            };
            (module.bytes.clone(), format!("module {name}"), Vec::new())
        }
    };
    out.write_all(&bytes)?;
    Ok(Written {
        what: format!("BTF of {of}, {} bytes", bytes.len()),
        facts: json!({"format": "btf", "module": arguments.module, "unpacked_bytes": bytes.len()}),
        remarks,
    })
}

/// Why a module has no types: it is not there, or they are not.
fn no_types(name: &str, others: usize, remarks: &[String]) -> String {
    let own = remarks.iter().find(|remark| remark.starts_with(&format!("{name}: ")));
    let mut why =
        own.cloned().unwrap_or_else(|| format!("no types of a module {name} were found; {others} others have some"));
    for remark in remarks.iter().filter(|remark| Some(*remark) != own) {
        why.push_str("; ");
        why.push_str(remark);
    }
    why
}

fn failed(arguments: &Extract, error: ExportError) -> Failure {
    let shown = arguments.dump.display();
    match error {
        ExportError::Write(error) if arguments.output == Path::new("-") => Failure::output(&error),
        ExportError::Write(error) if error.raw_os_error().is_some() => {
            file::failure("extract", &arguments.output, &error)
        }
        ExportError::Write(error) => Failure::new(OUTPUT, format!("extract {shown}: {error}")),
        error => Failure::new(INPUT, format!("extract {shown}: {error}")),
    }
}

/// Finds wrong use.
pub fn refuse(arguments: &Extract) -> Result<(), Failure> {
    let wrong = |what: &str, advice: &str| Failure::new(USAGE, format!("extract: {what}")).advise(advice);
    if arguments.running && !arguments.system_map {
        return Err(wrong("--running says which addresses --system-map has", "add --system-map"));
    }
    if arguments.module.is_some() && !arguments.btf {
        return Err(wrong("--module says whose types --btf takes", "add --btf"));
    }
    Ok(())
}

fn tell(written: &Written, arguments: &Extract, common: &Common) -> Result<(), Failure> {
    let to_stdout = arguments.output == Path::new("-");
    if common.json && !to_stdout {
        let mut line = json!({"output": arguments.output.to_string_lossy()});
        if let (Value::Object(line), Value::Object(facts)) = (&mut line, written.facts.clone()) {
            line.extend(facts);
            line.insert("remarks".to_owned(), json!(written.remarks));
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{}", json_line(&line))?;
        out.flush()?;
    }
    if common.quiet {
        return Ok(());
    }
    for remark in &written.remarks {
        anstream::eprintln!("! {}", clean(remark));
    }
    let name = if to_stdout { "standard output".to_owned() } else { clean(&arguments.output.display().to_string()) };
    anstream::eprintln!("{name}: {}", written.what);
    Ok(())
}
