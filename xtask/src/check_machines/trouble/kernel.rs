//! A kernel of the distribution and a module built for it, once, in the lab's cache.
//!
//! *Trap*: the packages of headers name each other by where they would be installed; they are unpacked elsewhere, and the
//! one line that does so is made to fit.

use crate::tools::{run_with, stdout_of};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel and its headers.
pub struct Kernel {
    /// Release, as `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// What the emulator starts.
    pub image: PathBuf,
    headers: PathBuf,
}

impl Kernel {
    /// The newest one of a series, as `6.12`.
    pub fn newest(series: &str, cache: &Path) -> anyhow::Result<Self> {
        let listed = stdout_of(Command::new("apt-cache").args(["pkgnames", &format!("linux-image-{series}")]))?;
        let listed = String::from_utf8_lossy(&listed);
        let releases = listed.lines().filter_map(|name| {
            let release = name.strip_prefix("linux-image-")?.strip_suffix("-unsigned")?;
            // 6.1 is not 6.12, and backports of other flavours are others.
            let fits = release.strip_prefix(series)?.starts_with('.') && release.ends_with("-cloud-amd64");
            (fits && !release.contains("-rt-")).then(|| release.to_owned())
        });
        let numbers = |release: &str| -> Vec<u64> {
            release.split(|letter: char| !letter.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
        };
        let release = releases.max_by_key(|release| numbers(release));
        let release = release.with_context(|| format!("apt knows no linux-image-{series}*-cloud-amd64-unsigned"))?;
        let package = format!("linux-image-{release}-unsigned");
        // As the lab keeps them: whoever comes first has it for the other.
        let image = cache.join(&package);
        if !image.join("boot").is_dir() {
            let deb = download(&package, cache)?;
            let unpacking = cache.join(format!("{package}.tmp"));
            run_with(Command::new("dpkg").arg("-x").arg(&deb).arg(&unpacking))?;
            std::fs::rename(&unpacking, &image)?;
            std::fs::remove_file(deb)?;
        }
        let image = image.join("boot").join(format!("vmlinuz-{release}"));
        ensure!(image.is_file(), "{} is not there", image.display());
        let headers = headers(&release, cache)?;
        Ok(Self { release, image, headers })
    }

    /// Builds the module whose source lies in `source`, in a folder of its own; gives the file.
    pub fn module(&self, source: &Path, place: &Path) -> anyhow::Result<PathBuf> {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        std::fs::create_dir_all(place)?;
        std::fs::copy(source, place.join(format!("{name}.c")))?;
        std::fs::write(place.join("Makefile"), format!("obj-m := {name}.o\n"))?;
        let mut make = Command::new("make");
        make.arg("-C").arg(&self.headers).arg(format!("M={}", place.display())).args(["CC=gcc", "modules"]);
        // Its words are of interest only when it fails.
        stdout_of(&mut make).context("build the module")?;
        Ok(place.join(format!("{name}.ko")))
    }
}

/// The headers for this release, unpacked with all that they need.
fn headers(release: &str, cache: &Path) -> anyhow::Result<PathBuf> {
    let root = cache.join(format!("linux-headers-{release}"));
    let folder = root.join("usr/src").join(format!("linux-headers-{release}"));
    if root.is_dir() {
        return Ok(folder);
    }
    let unpacking = cache.join(format!("linux-headers-{release}.tmp"));
    let _ = std::fs::remove_dir_all(&unpacking);
    let own = format!("linux-headers-{release}");
    let needed = stdout_of(Command::new("apt-cache").args(["show", &own]))?;
    let needed = String::from_utf8_lossy(&needed).into_owned();
    let depends = needed.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    let others = depends.split(", ").filter_map(|one| one.split_whitespace().next());
    let others = others.filter(|name| name.starts_with("linux-kbuild-") || name.ends_with("-common"));
    for package in others.chain([own.as_str()]) {
        let deb = download(package, cache)?;
        run_with(Command::new("dpkg").arg("-x").arg(&deb).arg(&unpacking))?;
        std::fs::remove_file(deb)?;
    }
    let makefile = unpacking.join("usr/src").join(&own).join("Makefile");
    let text = std::fs::read_to_string(&makefile)?;
    let place = format!("include {}/usr/src/", root.display());
    std::fs::write(&makefile, text.replace("include /usr/src/", &place))?;
    std::fs::rename(&unpacking, &root)?;
    Ok(folder)
}

/// Fetches one package by the system's own tool.
fn download(package: &str, cache: &Path) -> anyhow::Result<PathBuf> {
    println!("  apt-get download {package}");
    let place = cache.join(format!("{package}.deb.tmp"));
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place)?;
    let mut command = Command::new("apt-get");
    // It gives up root's rights for the transfer, and may not be let into the folder then; that is no error.
    command.args(["download", "-qq", package]).current_dir(&place);
    let output = command.output().context("start apt-get")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "apt-get download {package}: {}", said.trim());
    let deb = std::fs::read_dir(&place)?.find_map(|entry| Some(entry.ok()?.path())).context("it left no file")?;
    let kept = cache.join(format!("{package}.deb"));
    std::fs::rename(deb, &kept)?;
    std::fs::remove_dir_all(&place)?;
    Ok(kept)
}
