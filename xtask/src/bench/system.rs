//! How long a whole machine takes to be understood: from the start of a program to its list of processes, to all stacks, to
//! all sockets; beside crash, drgn and volatility3, in one run on the same file.
//!
//! *Example*: `cargo xtask bench system --rounds 7`; to see that it works, `--rounds 1 k6.12-live`.
//!
//! *Trap*: the peers are given what they need (debug information of hundreds of megabytes, a symbol file), and we are given
//! nothing. Fetching that is not measured, nor volatility3's first start, in which it builds a cache.

use super::explain::met;
use super::measure::{Series, megabytes, rounds, run, time};
use super::system_case::{FEW, Image, Peers, QUESTIONS, Question, SLOW};
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command line of it.
pub(super) const USAGE: &str =
    "system [--rounds N] [--output DIR] [--cache DIR] [--program FILE] [--crash FILE] [k6.1-live | k6.12-live | big]…";

/// Goals of the issue: seconds on an image of 256 MiB, times the fastest peer's speed, megabytes, and how many times as
/// long an image of 2 GiB may take.
const SECONDS: f64 = 0.5;
const FASTER: f64 = 5.0;
const MEMORY: f64 = 150.0;
const GROWS: f64 = 3.0;

/// The machines of 256 MiB: folder and file.
const MACHINES: [(&str, &str); 2] = [("k6.1-live", "dump.elf.zst"), ("k6.12-live", "kdump-zlib.flat.zst")];
/// The machine that the one of 2 GiB is compared with: the same kernel.
const SAME_AS_BIG: &str = "k6.12-live";
/// What that one is called here.
const BIG: &str = "big";

struct Settings {
    rounds: usize,
    output: PathBuf,
    cache: PathBuf,
    program: Option<PathBuf>,
    /// A crash(8) that is newer than the system's, which may not know the newer kernels.
    crash: PathBuf,
    machines: Vec<String>,
}

fn parse(arguments: &[String]) -> anyhow::Result<Settings> {
    let mut settings = Settings {
        rounds: 5,
        output: std::env::temp_dir(),
        cache: crate::tools::target().join("tools/lab-cache"),
        program: None,
        crash: "crash".into(),
        machines: Vec::new(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => settings.rounds = value()?.parse().context("--rounds N")?,
            "--output" => settings.output = value()?.into(),
            "--cache" => settings.cache = value()?.into(),
            "--program" => settings.program = Some(PathBuf::from(value()?).canonicalize()?),
            "--crash" => settings.crash = PathBuf::from(value()?).canonicalize()?,
            name if name == BIG || MACHINES.iter().any(|(known, _)| *known == name) => {
                settings.machines.push(name.to_owned())
            }
            other => bail!("{other}: usage: cargo xtask bench {USAGE}"),
        }
    }
    Ok(settings)
}

impl Settings {
    /// Without names, all.
    fn wants(&self, name: &str) -> bool {
        self.machines.is_empty() || self.machines.iter().any(|wanted| wanted == name)
    }
}

/// What was measured of us, to be held against the goals.
struct Ours {
    image: String,
    question: &'static str,
    wall: f64,
    peak: f64,
    /// The fastest peer's time over ours.
    ratio: Option<(String, f64)>,
}

/// `bench system …`.
pub(super) fn system(arguments: &[String]) -> anyhow::Result<()> {
    let settings = parse(arguments)?;
    let shared = crate::tools::shared().context("../shared with real machines is needed")?;
    let program = match &settings.program {
        Some(program) => program.clone(),
        None => crate::tools::program(true)?,
    };
    let folder = tempfile::Builder::new().prefix("afterimage-system").tempdir_in(&settings.output)?;
    let peers = Peers::new(program, settings.crash.clone(), folder.path().to_owned());
    let least = run(&mut Command::new("true"), &folder.path().join("output"))?.peak;
    println!("{} rounds in turn after a warm-up, medians, files in the page cache;", settings.rounds);
    println!("peers that need more than {SLOW} s: {FEW} rounds after their trial.");
    println!("Peak memory is the kernel's ru_maxrss, which cannot show less than {:.1} MB here.", megabytes(least));
    let mut ours = Vec::new();
    for (name, file) in MACHINES {
        if settings.wants(name) {
            let machine = shared.join("vmcores").join(name);
            let image = peers.unpack(&machine.join(file), &machine.join("TRUTH"), name)?;
            measure(&settings, &peers, &image, &mut ours)?;
            std::fs::remove_file(&image.file)?;
        }
    }
    if settings.wants(BIG) {
        match big(&settings, &peers, &shared) {
            Ok(image) => measure(&settings, &peers, &image, &mut ours)?,
            Err(error) => println!("\n2 GiB: not measured: {error:#}"),
        }
    }
    verdicts(&ours);
    Ok(())
}

/// A fresh guest of 2 GiB, most of it filled.
fn big(settings: &Settings, peers: &Peers, shared: &Path) -> anyhow::Result<Image> {
    ensure!(crate::tools::has("qemu-system-x86_64"), "apt-get install qemu-system-x86");
    println!("\nbooting a machine of 2 GiB");
    let out = peers.folder.join("big");
    std::fs::create_dir_all(&settings.cache)?;
    let mut boot = Command::new(shared.join("lab/boot-guest.sh"));
    boot.args(["--kernel", "6.12", "--mem", "2048", "--fill", "1200", "--timeout", "600"]);
    crate::tools::run_with(boot.arg("--cache").arg(&settings.cache).arg("--out").arg(&out))?;
    peers.unpack(&out.join("dump.elf"), &out.join("TRUTH"), "2 GiB")
}

fn measure(settings: &Settings, peers: &Peers, image: &Image, all: &mut Vec<Ours>) -> anyhow::Result<()> {
    let size = std::fs::metadata(&image.file)?.len();
    println!("\n{} ({:.0} MB)", image.name, size as f64 / 1e6);
    println!("  {:36} {:>10} {:>19} {:>10} {:>10} {:>9}", "", "median", "min – max", "processor", "peak", "× ours");
    for question in QUESTIONS {
        all.push(ask(settings, peers, image, question)?);
    }
    Ok(())
}

fn ask(settings: &Settings, peers: &Peers, image: &Image, question: Question) -> anyhow::Result<Ours> {
    let (mut contestants, unable) = peers.contestants(image, question);
    let series = rounds(&mut contestants, settings.rounds, &peers.folder)?;
    let own = series.first().map_or(f64::NAN, |own| own.wall().median);
    println!("  {}", question.name);
    for (contestant, series) in contestants.iter().zip(&series) {
        println!("    {:34} {}", contestant.name, line(series, own));
    }
    for why in unable {
        println!("    {why}");
    }
    let ratio = |(contestant, series): (&super::measure::Contestant, &Series)| {
        (contestant.name.clone(), series.wall().median / own)
    };
    Ok(Ours {
        image: image.name.clone(),
        question: question.name,
        wall: own,
        peak: series.first().map_or(f64::NAN, |own| megabytes(own.peak())),
        ratio: contestants.iter().zip(&series).skip(1).map(ratio).min_by(|one, other| one.1.total_cmp(&other.1)),
    })
}

fn line(series: &Series, ours: f64) -> String {
    let wall = series.wall();
    let spread = format!("{} – {}", time(wall.min), time(wall.max));
    format!(
        "{:>10} {spread:>19} {:>10} {:>7.1} MB {:>8.1}×",
        time(wall.median),
        time(series.processor().median),
        megabytes(series.peak()),
        wall.median / ours
    )
}

fn verdicts(all: &[Ours]) {
    println!();
    for ours in all {
        let what = format!("{}, {}", ours.image, ours.question);
        let base = all.iter().find(|other| other.image == SAME_AS_BIG && other.question == ours.question);
        if MACHINES.iter().any(|(name, _)| *name == ours.image) {
            println!("  {what}: under {SECONDS} s: {} ({})", met(ours.wall < SECONDS), time(ours.wall));
        } else if let Some(base) = base {
            let grows = ours.wall / base.wall;
            println!("  {what}: at most {GROWS}× {SAME_AS_BIG}: {} ({grows:.1}×)", met(grows <= GROWS));
        }
        match &ours.ratio {
            Some((name, ratio)) => {
                println!(
                    "  {what}: {FASTER}× faster than the fastest ({name}): {} ({ratio:.1}×)",
                    met(*ratio >= FASTER)
                );
            }
            None => println!("  {what}: no peer answered"),
        }
        println!("  {what}: under {MEMORY} MB: {} ({:.1} MB)", met(ours.peak < MEMORY), ours.peak);
    }
}
