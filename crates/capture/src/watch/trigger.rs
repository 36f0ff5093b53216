//! What can be watched for: the triggers as data, in words, and what is wrong with one.
//!
//! *What it is not*: nothing here looks at a process; the detectors beside it do.

use super::{percent_words, size_words, time_words};
use crate::siginfo::{self, DefaultAction};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Something that may happen to a process.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Trigger {
    /// It uses more processor time than this, in percent of one processor, all the while.
    CpuAbove {
        /// 250 is two and a half processors.
        percent: f64,
        /// How long.
        lasting: Duration,
    },
    /// It uses less processor time than this all the while.
    CpuBelow {
        /// In percent of one processor.
        percent: f64,
        /// How long.
        lasting: Duration,
    },
    /// Its resident memory is above this many bytes. Of several sizes each fires once; a single one may fire again.
    MemoryAbove(Vec<u64>),
    /// Its resident memory is below this many bytes.
    MemoryBelow(u64),
    /// Its resident memory has grown by so many bytes over what it was at the start; again for each further such step.
    MemoryStep(u64),
    /// It has more threads than this.
    ThreadsAbove(u64),
    /// It has more open file descriptors than this.
    FdsAbove(u64),
    /// One of these signals is about to kill it. Traces it.
    Signal(SignalSet),
    /// It is about to end, in whatever way. Traces it.
    Exit,
    /// None of its threads has run for so long.
    Hang(Duration),
    /// A web address does not answer, or answers with a status of 500 or more.
    ProbeHttp {
        /// What is asked for.
        url: HttpUrl,
        /// How often.
        pace: Pace,
    },
    /// A shell command fails or does not end.
    ProbeCommand {
        /// For `sh -c`.
        command: OsString,
        /// How often.
        pace: Pace,
    },
    /// Tasks wait for a resource (pressure stall information), in its control group or else in the whole machine.
    Pressure {
        /// For what.
        resource: Resource,
        /// Whether some or all of them wait.
        stall: Stall,
        /// Of the time.
        percent: f64,
        /// Over which time.
        window: Duration,
    },
    /// The memory of its control group, in percent of the nearest limit.
    CgroupMemory {
        /// Of the limit.
        percent: f64,
    },
    /// A line that matches is appended to a file.
    Log {
        /// The file; it may be rotated or cut, and need not exist yet.
        file: PathBuf,
        /// A regular expression.
        pattern: String,
    },
    /// The clock shows this local time.
    At {
        /// 0 to 23.
        hour: u32,
        /// 0 to 59.
        minute: u32,
        /// 0 to 59.
        second: u32,
    },
    /// This time has passed, again and again.
    Every(Duration),
}

/// How often a probe is made, and when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From the end of one probe to the next.
    pub every: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// So many failures in a row fire.
    pub failures: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_secs(5), timeout: Duration::from_secs(5), failures: 3 }
    }
}

/// A resource that tasks can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Processors.
    Cpu,
    /// Input and output.
    Io,
}

impl Resource {
    /// As the kernel's files call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Io => "io",
        }
    }
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// At least one task.
    Some,
    /// All that are not idle.
    Full,
}

impl Stall {
    /// As the kernel's files call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Some => "some",
            Self::Full => "full",
        }
    }
}

/// Signals that may kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalSet {
    /// Any.
    Fatal,
    /// These.
    These(Vec<i32>),
}

impl SignalSet {
    pub(super) fn contains(&self, signal: i32) -> bool {
        match self {
            Self::Fatal => true,
            Self::These(list) => list.contains(&signal),
        }
    }
}

impl FromStr for SignalSet {
    type Err = String;

    /// `fatal`, or names and numbers with commas between them: `SEGV,SIGABRT,6`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("fatal") {
            return Ok(Self::Fatal);
        }
        let mut list = Vec::new();
        for word in text.split(',') {
            let signal = signal_number(word.trim()).ok_or_else(|| {
                format!("`{word}` is no signal: give names as SEGV or ABRT, or `fatal` for every deadly one")
            })?;
            if signal == libc::SIGKILL {
                return Err("SIGKILL leaves no moment before death: use --exit, or --cgroup-memory against the \
                            out-of-memory killer"
                    .to_owned());
            }
            if !matches!(siginfo::default_action(signal), DefaultAction::Core | DefaultAction::Terminate) {
                return Err(format!("{} never kills a process", signal_words(signal)));
            }
            list.push(signal);
        }
        Ok(Self::These(list))
    }
}

/// Names by signal(7), without `SIG`.
const SIGNALS: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

fn signal_number(word: &str) -> Option<i32> {
    if let Ok(number) = word.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = word.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// A signal's name.
pub(super) fn signal_words(signal: i32) -> String {
    let known = SIGNALS.iter().find(|(_, number)| *number == signal);
    known.map_or_else(|| format!("signal {signal}"), |(name, _)| format!("SIG{name}"))
}

/// An `http://` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// As it was given.
    pub(super) text: String,
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands in the `Host:` field.
    pub(super) authority: String,
    /// Path and query, beginning with `/`.
    pub(super) path: String,
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("`{text}`: {what}"));
        let Some(rest) = text.strip_prefix("http://") else {
            return wrong("only plain http:// addresses can be probed; for others use --probe-command with curl");
        };
        if rest.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return wrong("an address holds no blanks");
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if authority.contains('@') {
            return wrong("a user name cannot be sent");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let Some((host, port)) = rest.split_once(']') else { return wrong("a bracket is not closed") };
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return wrong("the host is missing");
        }
        let Ok(port) = port.map_or(Ok(80), str::parse) else { return wrong("the port is no number up to 65535") };
        Ok(Self {
            text: text.to_owned(),
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Trigger {
    /// Its name, as the command line has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CpuAbove { .. } => "cpu-above",
            Self::CpuBelow { .. } => "cpu-below",
            Self::MemoryAbove(_) => "memory-above",
            Self::MemoryBelow(_) => "memory-below",
            Self::MemoryStep(_) => "memory-step",
            Self::ThreadsAbove(_) => "threads-above",
            Self::FdsAbove(_) => "fds-above",
            Self::Signal(_) => "signal",
            Self::Exit => "exit",
            Self::Hang(_) => "hang",
            Self::ProbeHttp { .. } => "probe-http",
            Self::ProbeCommand { .. } => "probe-command",
            Self::Pressure { .. } => "pressure",
            Self::CgroupMemory { .. } => "cgroup-memory",
            Self::Log { .. } => "log",
            Self::At { .. } => "at",
            Self::Every(_) => "every",
        }
    }

    /// Whether the process must be traced for it.
    #[must_use]
    pub fn traces(&self) -> bool {
        matches!(self, Self::Signal(_) | Self::Exit)
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let zero = |what: &str| Err(format!("{}: {what} must be more than 0", self.name()));
        match self {
            Self::CpuAbove { percent, .. } | Self::CpuBelow { percent, .. } | Self::CgroupMemory { percent }
                if !percent.is_finite() || *percent < 0.0 =>
            {
                Err(format!("{}: the percentage must be a number from 0 up", self.name()))
            }
            Self::CpuBelow { percent, .. } | Self::CgroupMemory { percent } if *percent == 0.0 => {
                zero("the percentage")
            }
            Self::Pressure { percent, .. } if !(*percent > 0.0 && *percent <= 100.0) => {
                Err("pressure: the percentage must be more than 0 and at most 100".to_owned())
            }
            Self::MemoryAbove(sizes) if sizes.is_empty() => Err("memory-above: no size given".to_owned()),
            Self::MemoryBelow(0) | Self::MemoryStep(0) => zero("the size"),
            Self::Hang(time) | Self::Every(time) if time.is_zero() => zero("the time"),
            Self::ProbeHttp { pace, .. } | Self::ProbeCommand { pace, .. }
                if pace.failures == 0 || pace.timeout.is_zero() || pace.every.is_zero() =>
            {
                zero("times and number of failures")
            }
            Self::At { hour, minute, second } if *hour > 23 || *minute > 59 || *second > 59 => {
                Err("at: the time must be HH:MM or HH:MM:SS".to_owned())
            }
            Self::Log { pattern, .. } => match regex_lite::Regex::new(pattern) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("log: `{pattern}` is no regular expression: {error}")),
            },
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CpuAbove { percent, lasting } => {
                write!(f, "CPU above {} for {}", percent_words(*percent), time_words(*lasting))
            }
            Self::CpuBelow { percent, lasting } => {
                write!(f, "CPU below {} for {}", percent_words(*percent), time_words(*lasting))
            }
            Self::MemoryAbove(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(|size| size_words(*size)).collect();
                write!(f, "resident memory above {}", sizes.join(", then "))
            }
            Self::MemoryBelow(size) => write!(f, "resident memory below {}", size_words(*size)),
            Self::MemoryStep(size) => write!(f, "resident memory grown by {}", size_words(*size)),
            Self::ThreadsAbove(limit) => write!(f, "more than {limit} threads"),
            Self::FdsAbove(limit) => write!(f, "more than {limit} file descriptors"),
            Self::Signal(SignalSet::Fatal) => f.write_str("a deadly signal"),
            Self::Signal(SignalSet::These(list)) => {
                let names: Vec<String> = list.iter().map(|signal| signal_words(*signal)).collect();
                write!(f, "death by {}", names.join(" or "))
            }
            Self::Exit => f.write_str("its end"),
            Self::Hang(time) => write!(f, "no thread running for {}", time_words(*time)),
            Self::ProbeHttp { url, pace } => write!(f, "{} failed probes of {url} in a row", pace.failures),
            Self::ProbeCommand { command, pace } => {
                write!(f, "{} failures of `{}` in a row", pace.failures, command.display())
            }
            Self::Pressure { resource, stall, percent, window } => {
                let (resource, stall, percent) = (resource.name(), stall.name(), percent_words(*percent));
                write!(f, "{resource} pressure ({stall}) above {percent} over {}", time_words(*window))
            }
            Self::CgroupMemory { percent } => {
                write!(f, "memory of its control group above {} of the limit", percent_words(*percent))
            }
            Self::Log { file, pattern } => write!(f, "a line of {} that matches `{pattern}`", file.display()),
            Self::At { hour, minute, second } => write!(f, "the time {hour:02}:{minute:02}:{second:02}"),
            Self::Every(time) => write!(f, "{} to pass", time_words(*time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        assert_eq!("fatal".parse(), Ok(SignalSet::Fatal));
        assert_eq!("SEGV,sigabrt,8".parse(), Ok(SignalSet::These(vec![11, 6, 8])));
        for wrong in ["KILL", "9", "STOP", "CHLD", "NOPE", "", "99"] {
            assert!(wrong.parse::<SignalSet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses() {
        let url: HttpUrl = "http://localhost:8080/health?x=1#top".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("localhost", 8080, "/health?x=1"));
        let url: HttpUrl = "http://[::1]?q".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 80, "/?q"));
        assert_eq!(url.authority, "[::1]");
        for wrong in
            ["https://a", "a", "http://", "http://:1/", "http://a:x/", "http://[::1/", "http://u@a/", "http://a b"]
        {
            assert!(wrong.parse::<HttpUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let lasting = Duration::ZERO;
        for wrong in [
            Trigger::CpuAbove { percent: f64::NAN, lasting },
            Trigger::CpuBelow { percent: 0.0, lasting },
            Trigger::MemoryStep(0),
            Trigger::Every(Duration::ZERO),
            Trigger::At { hour: 24, minute: 0, second: 0 },
            Trigger::Log { file: "x".into(), pattern: "(".into() },
        ] {
            assert!(wrong.check().is_err(), "{wrong}");
        }
    }
}
