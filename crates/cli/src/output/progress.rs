//! A progress bar on standard error for work that takes longer than a second, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Work shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that appears once the work has taken a second.
pub struct Progress {
    what: &'static str,
    started: Instant,
    wanted: bool,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    /// A bar for work with this name.
    pub fn new(what: &'static str, quiet: bool) -> Self {
        let wanted = !quiet && std::io::stderr().is_terminal();
        Self { what, started: Instant::now(), wanted, bar: OnceLock::new() }
    }

    /// So many bytes of so many are done.
    pub fn bytes(&self, done: u64, total: u64) {
        if !self.wanted || self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
            let template = "{prefix} {bar:32.cyan/dim} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━━─"));
            }
            bar.set_prefix(self.what);
            bar
        });
        bar.set_position(done.min(total));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

/// A line that says what is being waited for, from the first second on, until it is dropped.
pub fn waiting(what: &'static str, quiet: bool) -> Option<ProgressBar> {
    if quiet || !std::io::stderr().is_terminal() {
        return None;
    }
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
    spinner.set_message(what);
    spinner.enable_steady_tick(Duration::from_millis(250));
    Some(spinner)
}

/// A bar for work in phases, told by several threads.
pub struct Phases {
    quiet: bool,
    now: std::sync::Mutex<Option<(Progress, u64)>>,
}

impl Phases {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, now: std::sync::Mutex::new(None) }
    }
}

impl afterimage_capture::Progress for Phases {
    fn phase(&self, what: &'static str, total: u64) {
        if let Ok(mut now) = self.now.lock() {
            *now = Some((Progress::new(what, self.quiet), total));
        }
    }

    fn done(&self, bytes: u64) {
        // Another thread is telling already: nothing is lost.
        if let Ok(now) = self.now.try_lock()
            && let Some((progress, total)) = &*now
        {
            progress.bytes(bytes, *total);
        }
    }
}
