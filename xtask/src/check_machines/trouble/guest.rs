//! A guest's life: an initramfs with busybox, the module and the scenes; the emulator; its memory as a file.

use super::kernel::Kernel;
use super::scenes::{SCENES, Scene};
use crate::tools::run_with;
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a guest may take to its end.
const PATIENCE: Duration = Duration::from_secs(180);

/// Makes the initramfs: one for all scenes, the command line says which is played.
pub fn initramfs(source: &Path, module: &Path, place: &Path) -> anyhow::Result<PathBuf> {
    let root = place.join("root");
    for folder in ["bin", "proc", "sys", "dev", "scenes"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file());
    std::fs::copy(busybox.context("no busybox")?, root.join("bin/busybox"))?;
    std::fs::copy(source.join("init"), root.join("init"))?;
    std::fs::set_permissions(root.join("init"), std::fs::Permissions::from_mode(0o755))?;
    std::fs::copy(module, root.join("trouble.ko"))?;
    for scene in SCENES {
        std::fs::write(root.join("scenes").join(scene.name), format!("{}\n", scene.script))?;
    }
    let packed = place.join("initrd");
    let line = "find . | sort | cpio -o -H newc --quiet -R 0:0 > ../initrd";
    let status = Command::new("sh").args(["-c", line]).current_dir(&root).stdin(Stdio::null()).status()?;
    ensure!(status.success(), "cpio: {status}");
    Ok(packed)
}

/// What a guest left.
pub struct Left {
    /// Its memory.
    pub dump: PathBuf,
    /// What it wrote to its console.
    pub console: String,
}

/// Ends the emulator, however the scene ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots a guest, lets it play a scene, and takes its memory.
pub fn play(kernel: &Kernel, initrd: &Path, scene: &Scene, place: &Path) -> anyhow::Result<Left> {
    let (console, control, dump) = (place.join("console"), place.join("qmp"), place.join("dump.elf"));
    for old in [&console, &control, &dump] {
        let _ = std::fs::remove_file(old);
    }
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2", "-m", "256", "-nodefaults"]);
    command.args(["-display", "none", "-no-reboot"]).arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initrd);
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", control.display()));
    let line = format!("console=ttyS0 ignore_loglevel panic=0 rdinit=/init trouble.scene={}", scene.name);
    command.args(["-append", &line]).stdin(Stdio::null());
    let mut guest = Running(command.spawn().context("start qemu-system-x86_64")?);
    let ends = if scene.panics { "---[ end Kernel panic" } else { "trouble: READY" };
    let started = Instant::now();
    let said = loop {
        std::thread::sleep(Duration::from_millis(100));
        let said = std::fs::read(&console).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).replace('\r', "");
        if said.contains(ends) {
            break said;
        }
        let wrong = ["BUG: ", " [#1]", "RIP: 0010:", "Kernel panic", "trouble: FAIL"];
        let mut last: Vec<&str> = said.lines().filter(|line| wrong.iter().any(|word| line.contains(word))).collect();
        last.truncate(4);
        last.extend(said.lines().last());
        if let Some(status) = guest.0.try_wait()? {
            bail!("the emulator left early ({status}); the console has {last:?}");
        }
        let early = !scene.panics && said.contains("Kernel panic") || said.contains("trouble: FAIL");
        ensure!(!early && started.elapsed() < PATIENCE, "it did not come to its end; the console has {last:?}");
    };
    std::thread::sleep(Duration::from_millis(500));
    let mut monitor = Monitor::connect(&control)?;
    monitor.ask("stop", json!({}))?;
    monitor.ask("dump-guest-memory", json!({"paging": false, "protocol": format!("file:{}", dump.display())}))?;
    let _ = monitor.ask("quit", json!({}));
    Ok(Left { dump, console: said })
}

/// QEMU's own protocol: a line of JSON each way.
struct Monitor {
    lines: BufReader<UnixStream>,
}

impl Monitor {
    fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).context("the emulator's monitor")?;
        let mut monitor = Self { lines: BufReader::new(stream) };
        monitor.lines.read_line(&mut String::new())?;
        monitor.ask("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    fn ask(&mut self, command: &str, arguments: Value) -> anyhow::Result<()> {
        let line = json!({"execute": command, "arguments": arguments});
        self.lines.get_mut().write_all(format!("{line}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "{command}: the emulator went away");
            let answer: Value = serde_json::from_str(&line)?;
            ensure!(answer["error"].is_null(), "{command}: {}", answer["error"]["desc"]);
            // What it tells unasked, as that it stopped, is no answer.
            if !answer["return"].is_null() {
                return Ok(());
            }
        }
    }
}

/// Keeps what a guest left under a scene's name.
pub fn keep(left: &Left, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("console.log"), &left.console)?;
    run_with(Command::new("cp").arg("--sparse=always").arg(&left.dump).arg(folder.join("dump.elf")))
}
