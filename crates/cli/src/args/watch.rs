//! `watch`: its flags and their help.

use super::Taking;
use crate::values::{duration, percent, size};
use afterimage_capture::watch::{HttpUrl, SignalSet};
use clap::{ArgGroup, Args};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// `watch`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("target").required(true).args(["pid", "name", "launch"]))]
#[command(after_help = "\
Any of the triggers fires. Times: 20ms 5s 2m 1h; sizes: 64K 50M 2G, in steps of 1024. The program is sampled from
outside, without touching it; with --signal or --exit it is traced, as under `run`: that costs 25 to 40 µs for each
thread that starts or ends and a little for each signal, and no debugger can be attached meanwhile. However the watcher
ends, the program lives on. Children of the program are not watched.

With --launch the program gets what is sent to the watcher, and the watcher stays until it ends; its output and the
events of --json then share standard output.

Exit status: 0 a dump was taken, or the time is over; 2 wrong use; 4 not permitted; 5 the program ended before any trigger
fired; 6 a dump could not be written; 128 + the signal that ended the watcher.

Examples:
  afterimage watch 1234 --memory-above 1G,2G --count 2      a dump at one, another at two GiB
  afterimage watch 1234 --cpu-above 95 --for 30s            half a minute of one busy processor
  afterimage watch --name server --wait --signal fatal      a crash, dumped before the process dies
  afterimage watch 1234 --probe-http http://localhost:8080/health --then 'systemctl restart server'
  afterimage watch 1234 --cgroup-memory 90                  before the out-of-memory killer comes
  afterimage watch 1234 --log app.log --match 'ERROR.*disk' -o /var/dumps
  afterimage watch --exit --launch ./job --nightly          what was in memory when it ended")]
pub struct Watch {
    /// Process to watch.
    pub pid: Option<i32>,
    /// Watch the only process of this name: its short name or its program's.
    #[arg(long)]
    pub name: Option<String>,
    /// With --name: wait until there is such a process.
    #[arg(long)]
    pub wait: bool,
    /// What to watch for.
    #[command(flatten)]
    pub triggers: Triggers,
    /// End after so many dumps.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// No dump within this time after the last one. A death does not wait.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub cooldown: Duration,
    /// Time between samples, at least 100ms.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// Stop watching after this time.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Run this by `sh -c` after each dump, with AFTERIMAGE_DUMP, AFTERIMAGE_PID and AFTERIMAGE_TRIGGER set.
    #[arg(long, value_name = "CMD")]
    pub then: Option<OsString>,
    /// Folder for the dumps.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// How a dump is taken; of a traced program only --type counts.
    #[command(flatten)]
    pub taking: Taking,
    /// Start this program and watch it. Everything after --launch belongs to it, so it comes last.
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "CMD")]
    pub launch: Option<Vec<OsString>>,
}

/// What to watch for.
#[derive(Args, Debug)]
#[command(next_help_heading = "Triggers")]
pub struct Triggers {
    /// Processor time above this percentage of one processor (250: two and a half) for all of --for.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub cpu_above: Option<f64>,
    /// Processor time below this percentage for all of --for.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub cpu_below: Option<f64>,
    /// How long CPU or pressure must last [default: 10s for CPU, 2s for pressure].
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub lasting: Option<Duration>,
    /// Resident memory above this. Of several sizes each fires once.
    #[arg(long, value_name = "SIZE", value_parser = size, value_delimiter = ',')]
    pub memory_above: Vec<u64>,
    /// Resident memory below this.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_below: Option<u64>,
    /// Resident memory grown by this since the start, and again at each further step.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_step: Option<u64>,
    /// More threads than this.
    #[arg(long, value_name = "N")]
    pub threads_above: Option<u64>,
    /// More open file descriptors than this.
    #[arg(long, value_name = "N")]
    pub fds_above: Option<u64>,
    /// One of these signals is about to kill it, as SEGV,ABRT; `fatal` for any. Traces the program.
    #[arg(long, value_name = "SIG")]
    pub signal: Option<SignalSet>,
    /// It is about to end, in whatever way. Traces the program.
    #[arg(long)]
    pub exit: bool,
    /// No thread has run for this long. A server that merely has nothing to do looks the same.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub hang: Option<Duration>,
    /// This address does not answer, or with a status of 500 or more. Plain http:// only.
    #[arg(long, value_name = "URL")]
    pub probe_http: Option<HttpUrl>,
    /// This command, run by `sh -c` with AFTERIMAGE_PID set, does not exit with 0.
    #[arg(long, value_name = "CMD")]
    pub probe_command: Option<OsString>,
    /// A probe that takes longer has failed.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub probe_timeout: Duration,
    /// So many failures in a row fire.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    pub probe_failures: u32,
    /// Time between probes.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub probe_every: Duration,
    /// Tasks of its control group, or else of the machine, wait for memory, cpu or io, as memory=10 or io:full=5.
    #[arg(long, value_name = "RESOURCE[:some|full]=PERCENT")]
    pub pressure: Vec<String>,
    /// Memory of its control group above this percentage of the limit, without files that can be dropped.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub cgroup_memory: Option<f64>,
    /// A line appended to this file matches --match. Rotation is followed.
    #[arg(long, value_name = "FILE", requires = "pattern")]
    pub log: Option<PathBuf>,
    /// Regular expression for --log.
    #[arg(long = "match", id = "pattern", value_name = "REGEX", requires = "log")]
    pub pattern: Option<String>,
    /// At this local time, as 03:30 or 03:30:15.
    #[arg(long, value_name = "HH:MM[:SS]")]
    pub at: Option<String>,
    /// Again and again after this time.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub every: Option<Duration>,
}
