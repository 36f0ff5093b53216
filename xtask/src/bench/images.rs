//! What it costs to convert, open and read an image of a machine: beside makedumpfile and `cp`, in one run.
//!
//! *Example*: `cargo xtask bench images --size 1G --rounds 3 --output /var/tmp`.
//!
//! *Trap*: makedumpfile writes only pages that its kernel's own tables know of, so kdump writing is compared on an image as
//! QEMU made it (256 MiB of `../shared`, or `--image`), not on the enlarged one. It ignores a codec that it is built
//! without, and writes plain pages. And `convert` makes its file durable, so makedumpfile's is synced here, too.

use super::explain::met;
use super::image_case;
use super::measure::{Contestant, Series, megabytes, rounds, time};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The command line of it.
pub(super) const USAGE: &str = "images [--size 4G] [--image FILE] [--rounds N] [--output DIR]";

/// Goals of the issue.
const OF_MAKEDUMPFILE: f64 = 2.0;
const MEMORY: f64 = 100.0;
/// Pages that are read at random in each format.
const READS: u64 = 20_000;

struct Settings {
    size: u64,
    /// A real machine's image; else that of `../shared`.
    image: Option<PathBuf>,
    rounds: usize,
    output: PathBuf,
}

fn parse(arguments: &[String]) -> anyhow::Result<Settings> {
    let mut settings = Settings { size: 4 << 30, image: None, rounds: 3, output: std::env::temp_dir() };
    let mut arguments = arguments.iter();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--size" => {
                let (number, unit) = value.split_at(value.len().saturating_sub(1));
                let unit = if unit == "G" { 30 } else { 20 };
                settings.size = number.parse::<u64>().context("--size 4G")? << unit;
            }
            "--image" => settings.image = Some(value.into()),
            "--rounds" => settings.rounds = value.parse().context("--rounds N")?,
            "--output" => settings.output = value.into(),
            _ => bail!("usage: cargo xtask bench {USAGE}"),
        }
    }
    Ok(settings)
}

/// `bench images …`.
pub(super) fn images(arguments: &[String]) -> anyhow::Result<()> {
    let settings = parse(arguments)?;
    let shared = crate::tools::shared().context("../shared with a real machine's memory is needed")?;
    let packed = settings.image.clone().unwrap_or_else(|| shared.join("vmcores/k6.12-panic/dump.elf.zst"));
    let program = crate::tools::program(true)?;
    let folder = tempfile::Builder::new().prefix("afterimage-bench").tempdir_in(&settings.output)?;
    let folder = folder.path();
    let image = folder.join("image.elf");
    let total = image_case::make(&program, &packed, folder, &image, settings.size)?;
    println!(
        "{:.2} GiB of real memory in {}; {} rounds in turn after a warm-up; medians.",
        total as f64 / (1u64 << 30) as f64,
        settings.output.display(),
        settings.rounds
    );
    // As the machine's own kernel knows its memory.
    let own = folder.join("own.elf");
    crate::tools::run_with(&mut convert(&program, &packed, &own, &["elf"], &[]))?;
    writing(&settings, &program, folder, &own)?;
    std::fs::remove_file(&own)?;
    copying(&settings, &program, folder, &image, total)?;
    reading(&settings, &program, folder, &image)
}

fn convert(program: &Path, from: &Path, to: &Path, format: &[&str], more: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["--quiet", "convert", "--force", "--format"]).args(format).args(more).arg(from).arg("-o").arg(to);
    command
}

fn line(name: &str, series: &Series, base: Option<f64>) {
    let ratio = base.map_or(String::new(), |base| format!("{:7.2}×", base / series.wall().median));
    println!(
        "  {name:34} {:>10} {:>10} {:>8.1} MB {ratio}",
        time(series.wall().median),
        time(series.processor().median),
        megabytes(series.peak())
    );
}

/// kdump writing at each codec beside makedumpfile.
fn writing(settings: &Settings, program: &Path, folder: &Path, image: &Path) -> anyhow::Result<()> {
    println!("\nkdump of the machine, durable              total  processor       peak  × makedumpfile on one thread");
    let out = |name: &str| folder.join(name);
    let mut goals = Vec::new();
    let mut rising = Vec::new();
    for (codec, flag) in
        [("zlib", Some("-c")), ("lzo", Some("-l")), ("snappy", Some("-p")), ("zstd", Some("-z")), ("none", None)]
    {
        let mut contestants = Vec::new();
        for threads in ["1", "2"] {
            let more = ["--compress", codec, "--threads", threads, "--no-verify"];
            let command = convert(program, image, &out("ours"), &["kdump"], &more);
            contestants.push(Contestant::new(&format!("afterimage, {codec}, threads {threads}"), command, None));
        }
        let again = convert(program, image, &out("ours"), &["kdump"], &["--compress", codec]);
        contestants.push(Contestant::new(&format!("afterimage, {codec}, and read again"), again, None));
        let peer = |threads: Option<&str>| {
            let script = format!(
                "makedumpfile {} -d 0 -f --message-level 0 {} \"$0\" \"$1\" && sync -d \"$1\"",
                flag.unwrap_or_default(),
                threads.map(|threads| format!("--num-threads={threads}")).unwrap_or_default()
            );
            let mut command = Command::new("sh");
            command.args(["-c", &script]).arg(image).arg(out("theirs"));
            command
        };
        let done = crate::tools::has("makedumpfile") && peer(None).output().is_ok_and(|output| output.status.success());
        let knows = done && (flag.is_none() || packs(&out("theirs")));
        if knows {
            contestants.push(Contestant::new(&format!("makedumpfile, {codec}"), peer(None), None));
            if flag.is_some() {
                contestants.push(Contestant::new(&format!("makedumpfile, {codec}, 2 threads"), peer(Some("2")), None));
            }
        }
        let all = rounds(&mut contestants, settings.rounds, folder)?;
        let base = knows.then(|| all[3].wall().median);
        for (contestant, series) in contestants.iter().zip(&all) {
            line(&contestant.name, series, base);
        }
        match base {
            Some(base) => {
                goals.push((format!("{codec}: makedumpfile over ours, one thread each"), base / all[0].wall().median))
            }
            None => println!("  (this makedumpfile is built without {codec}, or is not here)"),
        }
        rising.push((format!("{codec}: one thread over two"), all[0].wall().median / all[1].wall().median));
    }
    println!();
    for (what, ratio) in goals {
        println!("  {what}: {} ({ratio:.1}×, goal {OF_MAKEDUMPFILE:.1}×)", met(ratio >= OF_MAKEDUMPFILE));
    }
    for (what, ratio) in rising {
        println!("  {what}: {} ({ratio:.2}×, goal: more than 1)", met(ratio > 1.0));
    }
    Ok(())
}

/// Whether a kdump file says that its pages are packed.
fn packs(file: &Path) -> bool {
    const STATUS: usize = 424;
    let head = std::fs::File::open(file).and_then(|mut file| {
        let mut head = [0; 512];
        std::io::Read::read_exact(&mut file, &mut head)?;
        Ok(head)
    });
    head.is_ok_and(|head| head.get(STATUS).is_some_and(|status| status & 0x27 != 0))
}

/// QEMU's ELF to LiME beside `cp`.
fn copying(settings: &Settings, program: &Path, folder: &Path, image: &Path, total: u64) -> anyhow::Result<()> {
    println!("\nELF to LiME                                total  processor       peak  × cp");
    let mut cp = Command::new("cp");
    cp.arg(image).arg(folder.join("copy"));
    let mut synced = Command::new("sh");
    synced.args(["-c", "cp \"$0\" \"$1\" && sync -d \"$1\""]).arg(image).arg(folder.join("copy"));
    let ours = convert(program, image, &folder.join("ours.lime"), &["lime"], &["--no-verify"]);
    let mut contestants = vec![
        Contestant::new("cp", cp, None),
        Contestant::new("cp, synced", synced, None),
        Contestant::new("afterimage (synced)", ours, None),
    ];
    let all = rounds(&mut contestants, settings.rounds, folder)?;
    for (contestant, series) in contestants.iter().zip(&all) {
        line(&contestant.name, series, Some(all[0].wall().median));
    }
    println!("  ours: {:.2} GB/s", total as f64 / 1e9 / all[2].wall().median);
    std::fs::remove_file(folder.join("copy"))?;
    Ok(())
}

/// Opening, and random reads, in each format.
fn reading(settings: &Settings, program: &Path, folder: &Path, image: &Path) -> anyhow::Result<()> {
    println!("\nopening and reading                    info, all   peak       4 KiB reads a second, one thread");
    let mut worst = 0.0f64;
    let formats: [(&str, &[&str], &[&str]); 9] = [
        ("elf", &["elf"], &[]),
        ("elf in zstd (seekable)", &["elf"], &["--compress", "zstd"]),
        ("lime", &["lime"], &[]),
        ("avml", &["avml"], &[]),
        ("kdump, zlib", &["kdump"], &["--compress", "zlib"]),
        ("kdump, lzo", &["kdump"], &["--compress", "lzo"]),
        ("kdump, snappy", &["kdump"], &["--compress", "snappy"]),
        ("kdump, zstd", &["kdump"], &["--compress", "zstd"]),
        ("kdump, none", &["kdump"], &["--compress", "none"]),
    ];
    for (name, format, more) in formats {
        let file = folder.join("one");
        let more = [more, &["--no-verify"]].concat();
        crate::tools::run_with(&mut convert(program, image, &file, format, &more))?;
        let mut info = Command::new(program);
        info.args(["--json", "info"]).arg(&file);
        let mut contestants = vec![Contestant::new("info", info, Some("present_bytes"))];
        let all = rounds(&mut contestants, settings.rounds, folder)?;
        let rate = random_reads(&file)?;
        worst = worst.max(megabytes(all[0].peak()));
        println!("  {name:34} {:>10} {:>8.1} MB {rate:>12.0}", time(all[0].wall().median), megabytes(all[0].peak()));
    }
    println!("\n  peak memory of opening: {} ({worst:.1} MB, goal {MEMORY:.0} MB)", met(worst <= MEMORY));
    Ok(())
}

/// Pages a second at random places, with the library itself.
fn random_reads(file: &Path) -> anyhow::Result<f64> {
    use afterimage_dump::{MemoryExt, Phys};
    let dump = afterimage_dump::open(file, &afterimage_dump::Budget::default())?;
    let machine = dump.machine.as_deref().context("not of a machine")?;
    let mut ranges = Vec::new();
    let mut at = Phys(0);
    while let Some(extent) = machine.memory.next(at) {
        at = extent.end;
        if extent.absent.is_none() {
            ranges.push((extent.start.0.next_multiple_of(4096), extent.end.0));
        }
    }
    let total: u64 = ranges.iter().map(|(start, end)| end.saturating_sub(*start) / 4096).sum();
    let mut state = 88_172_645_463_325_252u64;
    let mut page = [0; 4096];
    let start = Instant::now();
    for _ in 0..READS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut index = state % total.max(1);
        for (start, end) in &ranges {
            let pages = end.saturating_sub(*start) / 4096;
            if index < pages {
                machine.memory.read_exact(Phys(start + index * 4096), &mut page)?;
                break;
            }
            index -= pages;
        }
    }
    Ok(READS as f64 / start.elapsed().as_secs_f64())
}
