//! Lets a program die and finds the core that the kernel wrote.
//!
//! This is the plain way, without afterimage: the outside truth for what `run` captures. It judges nothing.
//! For example `kernel_core(&built, dir)?.core` is what `gdb PROGRAM CORE` opens.
//!
//! Trap: a core holds what the kernel gives by default (`core(5)`, `coredump_filter`): no file-backed pages but the
//! first one of each file, so the program's own file is needed to read its code.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::build::BuiltCrasher;
use super::core_pattern::Guard;
use super::error::{CrasherError, Result};

/// How long a program may take to die; the slowest takes well under a second, its core perhaps ten.
const LIMIT: Duration = Duration::from_secs(120);
/// The usual stack, whatever the shell that runs the tests has set.
const STACK: libc::rlim_t = 8 << 20;

/// How a program ended, and what it left.
#[derive(Debug)]
pub struct Death {
    /// The core file.
    pub core: PathBuf,
    /// How the started process ended; for [`Dies::Child`](super::Dies::Child) not by a signal.
    pub status: ExitStatus,
    /// The started process.
    pub pid: u32,
    /// The folder that it ran in: a new one below the caller's, which the caller removes.
    pub dir: PathBuf,
    /// What it printed.
    pub stdout: String,
    /// What it printed as errors.
    pub stderr: String,
}

impl Death {
    /// The process that sent the signal, for programs that name it ([`Fact::SenderIsChild`](super::Fact)).
    #[must_use]
    pub fn sender(&self) -> Option<u32> {
        self.stdout.lines().find_map(|line| line.strip_prefix("sender ")?.trim().parse().ok())
    }
}

/// Runs a built program in a new folder below `dir` until it has died, and finds its core.
///
/// # Errors
/// If it cannot be started, does not end, or leaves no core; also if the kernel sends cores elsewhere and this
/// process may not change that.
pub fn kernel_core(built: &BuiltCrasher, dir: &Path) -> Result<Death> {
    kernel_core_of(built.crasher.name, &built.program, &built.args, dir)
}

/// The same for any program.
///
/// # Errors
/// As [`kernel_core`].
pub fn kernel_core_of(name: &str, program: &Path, args: &[String], dir: &Path) -> Result<Death> {
    fs::create_dir_all(dir).map_err(|error| CrasherError::io("create", dir, error))?;
    let dir = tempfile::Builder::new()
        .prefix(&format!("{name}."))
        .tempdir_in(dir)
        .map_err(|error| CrasherError::io("create a folder in", dir, error))?
        .keep();
    let (out, err) = (dir.join("stdout"), dir.join("stderr"));
    let create = |path: &Path| File::create(path).map_err(|error| CrasherError::io("create", path, error));

    let mut command = Command::new(program);
    command.args(args).current_dir(&dir).stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&err)?);
    // What changes how the run-time libraries die, or what they say.
    for variable in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE", "LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_CHECK_"] {
        command.env_remove(variable);
    }
    // SAFETY: between fork and exec only getrlimit and setrlimit are called, which are system calls and nothing else:
    // no memory is allocated and no lock taken.
    unsafe {
        command.pre_exec(|| {
            set_soft_limit(libc::RLIMIT_CORE, libc::RLIM_INFINITY)?;
            set_soft_limit(libc::RLIMIT_STACK, STACK)
        });
    }

    let guard = Guard::acquire(name)?;
    let mut child = command.spawn().map_err(|error| CrasherError::io("start", program, error))?;
    let pid = child.id();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| CrasherError::io("wait for", program, error))? {
            break status;
        }
        if start.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(CrasherError::Hangs { program: name.to_owned(), seconds: LIMIT.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    drop(guard);

    let text =
        |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    match find_core(&dir) {
        Some(core) => Ok(Death { core, status, pid, stdout: text(&out), stderr: text(&err), dir }),
        None => Err(CrasherError::NoCore {
            program: name.to_owned(),
            ended: status.to_string(),
            dir,
            hint: "the hard limit of the core size may be 0 (ulimit -Hc), or the disk full",
        }),
    }
}

/// Sets a soft limit as near to `wanted` as the hard limit allows.
fn set_soft_limit(resource: libc::__rlimit_resource_t, wanted: libc::rlim_t) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the whole call, which only writes to it.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = wanted.min(limit.rlim_max);
    // SAFETY: `limit` is valid for the whole call, which only reads it.
    if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The core in a folder, whatever the pattern calls it: an ELF file whose type is `ET_CORE`.
fn find_core(dir: &Path) -> Option<PathBuf> {
    let is_core = |path: &Path| {
        let mut header = [0u8; 18];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
        // e_type, little-endian, is behind the 16 bytes of e_ident.
        read.is_ok() && header.starts_with(b"\x7fELF") && header.ends_with(&[4, 0])
    };
    fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).find(|path| is_core(path))
}
