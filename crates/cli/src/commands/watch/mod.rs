//! `watch`: a dump when something happens.
//!
//! This file turns flags into a request and the outcome into an exit status. [`take`] takes a dump, [`say`] tells what
//! happens, [`then`] runs the user's command afterwards.
//!
//! *Trap*: a dump of a program that merely runs is taken by a child process, `afterimage capture`; that of a traced one
//! by the library itself, in ELF only, since nobody else may look at a traced process.

mod say;
mod take;
mod then;

use crate::args::{CaptureType, Common, Triggers, Watch as Arguments};
use crate::failure::{Failure, INPUT, OUTPUT, PERMISSION, USAGE, VANISHED};
use crate::values::percent;
use afterimage_capture::watch::{
    FailureKind, Firing, Outcome, Pace, Resource, Responder, Stall, TakeFailure, Target, Trigger, Watch, WatchEnd,
    WatchError, WatchEvent,
};
use afterimage_capture::{DumpType, RunError};
use std::path::PathBuf;
use std::time::Duration;

/// How long processor time must be high or low, unless --for says it.
const CPU_LASTING: Duration = Duration::from_secs(10);
/// The window of pressure, unless --for says it: what the kernel allows to everybody.
const PRESSURE_WINDOW: Duration = Duration::from_secs(2);

pub fn watch(arguments: &Arguments, common: &Common) -> Result<u8, Failure> {
    let watch = request(arguments).map_err(|what| usage(&what))?;
    super::run::writable("watch", &arguments.output)?;
    let mut hands = Hands {
        taker: take::Taker::new(&arguments.output, &arguments.taking, watch.stop.clone()),
        speaker: say::Speaker::new(common, &watch),
        then: arguments.then.as_ref().map(|command| then::Then::new(command, watch.stop.clone())),
    };
    let outcome = afterimage_capture::watch::watch(&watch, &mut hands).map_err(|error| failure(&error))?;
    hands.speaker.end(&outcome)?;
    status(&outcome)
}

fn usage(what: &str) -> Failure {
    Failure::new(USAGE, format!("watch: {what}"))
}

/// What the library asks of us.
struct Hands {
    taker: take::Taker,
    speaker: say::Speaker,
    then: Option<then::Then>,
}

impl Responder for Hands {
    fn take(&mut self, firing: &Firing) -> Result<PathBuf, TakeFailure> {
        self.taker.take(firing)
    }

    fn event(&mut self, event: &WatchEvent) {
        self.speaker.event(event);
        if let (WatchEvent::Dumped { firing, path }, Some(then)) = (event, &self.then)
            && let Err(why) = then.run(firing, path)
        {
            self.speaker.event(&WatchEvent::Remark(why));
        }
    }
}

/// The request that the flags make.
fn request(arguments: &Arguments) -> Result<Watch, String> {
    // clap forgets `requires` where the required flag conflicts with one that is there.
    if arguments.wait && arguments.name.is_none() {
        return Err("--wait goes with --name only (a process id cannot be waited for)".to_owned());
    }
    let target = match (&arguments.pid, &arguments.name, &arguments.launch) {
        (Some(pid), _, _) => Target::Pid(*pid),
        (_, Some(name), _) => Target::Name { name: name.clone(), wait: arguments.wait },
        (_, _, Some(command)) => {
            let separator = command.first().is_some_and(|first| first == "--");
            Target::Launch(command.iter().skip(usize::from(separator)).cloned().collect())
        }
        _ => return Err("no process given (a process id, --name or --launch)".to_owned()),
    };
    let triggers = triggers(&arguments.triggers)?;
    if triggers.is_empty() {
        return Err("no trigger given (add one, as --memory-above 2G or --signal fatal)".to_owned());
    }
    let mut watch = Watch::new(target, triggers);
    watch.count = arguments.count;
    watch.cooldown = arguments.cooldown;
    watch.interval = arguments.interval;
    watch.timeout = arguments.timeout;
    watch.output_dir = arguments.output.clone();
    watch.dump_type = match arguments.taking.dump_type {
        CaptureType::Complete => DumpType::Complete,
        CaptureType::Active | CaptureType::Automatic => DumpType::Active,
        CaptureType::Small => DumpType::Small,
    };
    watch.handle_signals = true;
    if watch.traces()
        && let Some(flag) = take::not_for_traced(&arguments.taking)
    {
        return Err(format!(
            "{flag} cannot be had together with --signal or --exit (leave it out, and use `afterimage convert` later)"
        ));
    }
    Ok(watch)
}

/// The triggers that the flags name.
fn triggers(flags: &Triggers) -> Result<Vec<Trigger>, String> {
    let mut out = Vec::new();
    let lasting = flags.lasting.unwrap_or(CPU_LASTING);
    out.extend(flags.cpu_above.map(|percent| Trigger::CpuAbove { percent, lasting }));
    out.extend(flags.cpu_below.map(|percent| Trigger::CpuBelow { percent, lasting }));
    for text in &flags.pressure {
        out.push(pressure(text, flags.lasting.unwrap_or(PRESSURE_WINDOW))?);
    }
    if out.is_empty() && flags.lasting.is_some() {
        return Err("--for says how long, but not what (add --cpu-above, --cpu-below or --pressure)".to_owned());
    }
    if !flags.memory_above.is_empty() {
        out.push(Trigger::MemoryAbove(flags.memory_above.clone()));
    }
    out.extend(flags.memory_below.map(Trigger::MemoryBelow));
    out.extend(flags.memory_step.map(Trigger::MemoryStep));
    out.extend(flags.threads_above.map(Trigger::ThreadsAbove));
    out.extend(flags.fds_above.map(Trigger::FdsAbove));
    out.extend(flags.signal.clone().map(Trigger::Signal));
    out.extend(flags.exit.then_some(Trigger::Exit));
    out.extend(flags.hang.map(Trigger::Hang));
    let pace = Pace { every: flags.probe_every, timeout: flags.probe_timeout, failures: flags.probe_failures };
    out.extend(flags.probe_http.clone().map(|url| Trigger::ProbeHttp { url, pace }));
    out.extend(flags.probe_command.clone().map(|command| Trigger::ProbeCommand { command, pace }));
    out.extend(flags.cgroup_memory.map(|percent| Trigger::CgroupMemory { percent }));
    if let (Some(file), Some(pattern)) = (&flags.log, &flags.pattern) {
        out.push(Trigger::Log { file: file.clone(), pattern: pattern.clone() });
    }
    out.extend(flags.at.as_deref().map(time_of_day).transpose()?);
    out.extend(flags.every.map(Trigger::Every));
    Ok(out)
}

/// `memory=10`, `io:full=5`.
fn pressure(text: &str, window: Duration) -> Result<Trigger, String> {
    let wrong = || format!("--pressure `{text}`: write it as memory=10 or io:full=5");
    let (what, number) = text.split_once('=').ok_or_else(wrong)?;
    let (resource, stall) = what.split_once(':').unwrap_or((what, "some"));
    let resource = match resource {
        "memory" => Resource::Memory,
        "cpu" => Resource::Cpu,
        "io" => Resource::Io,
        _ => return Err(wrong()),
    };
    let stall = match stall {
        "some" => Stall::Some,
        "full" => Stall::Full,
        _ => return Err(wrong()),
    };
    let percent = percent(number).map_err(|_| wrong())?;
    Ok(Trigger::Pressure { resource, stall, percent, window })
}

/// `03:30`, `03:30:15`.
fn time_of_day(text: &str) -> Result<Trigger, String> {
    let wrong = || format!("--at `{text}`: write it as 03:30 or 03:30:15");
    let parts: Result<Vec<u32>, _> = text.split(':').map(|part| two_digits(part).ok_or_else(wrong)).collect();
    match *parts?.as_slice() {
        [hour, minute] if hour < 24 && minute < 60 => Ok(Trigger::At { hour, minute, second: 0 }),
        [hour, minute, second] if hour < 24 && minute < 60 && second < 60 => Ok(Trigger::At { hour, minute, second }),
        _ => Err(wrong()),
    }
}

fn two_digits(text: &str) -> Option<u32> {
    let plain = matches!(text.len(), 1..=2) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// Why nothing is watched.
fn failure(error: &WatchError) -> Failure {
    let (status, advice) = match error {
        WatchError::Wrong { .. } => (USAGE, None),
        WatchError::Ambiguous { .. } => (USAGE, Some("name one by its id")),
        WatchError::NoProcess { what } if what.starts_with('`') => (VANISHED, Some("--wait waits for one")),
        WatchError::NoProcess { .. } => (VANISHED, None),
        WatchError::NotPermitted { .. } | WatchError::Start(RunError::NotPermitted { .. }) => (PERMISSION, None),
        WatchError::Start(RunError::System { .. }) => (INPUT, None),
        WatchError::Start(_) | WatchError::Trigger { .. } => (USAGE, None),
        WatchError::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => (PERMISSION, None),
        _ => (INPUT, None),
    };
    let failure = Failure::new(status, format!("watch: {error}"));
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

/// The exit status of a watch that has ended.
fn status(outcome: &Outcome) -> Result<u8, Failure> {
    let failed = |what: &str, failure: &TakeFailure| {
        let status = match failure.kind {
            FailureKind::NotPermitted => PERMISSION,
            FailureKind::Vanished => VANISHED,
            _ => OUTPUT,
        };
        Err(Failure::new(status, format!("watch: {what}: {failure}")))
    };
    match (&outcome.end, &outcome.failure) {
        (WatchEnd::Stopped(0), _) => Ok(0),
        (WatchEnd::Stopped(signal), _) => Ok(128 + *signal as u8),
        (WatchEnd::GaveUp, Some(failure)) => failed("gave up, since dumps fail", failure),
        (_, Some(failure)) if outcome.dumps == 0 => failed("a trigger fired, but no dump could be written", failure),
        (WatchEnd::TargetEnded, None) if outcome.dumps == 0 => {
            Err(Failure::new(VANISHED, "watch: the process ended before any trigger fired"))
        }
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments as All, Verb};
    use clap::Parser;

    fn parse(words: &[&str]) -> Result<Watch, String> {
        let words = ["afterimage", "watch"].iter().chain(words);
        match All::try_parse_from(words).map_err(|error| error.to_string())?.verb {
            Verb::Watch(arguments) => request(&arguments),
            _ => unreachable!(),
        }
    }

    #[test]
    fn flags_become_triggers() {
        let watch = parse(&["7", "--memory-above", "1G,2G", "--cpu-above", "250", "--for", "3s", "--exit"]).unwrap();
        assert_eq!(watch.target, Target::Pid(7));
        let lasting = Duration::from_secs(3);
        assert_eq!(
            watch.triggers,
            [
                Trigger::CpuAbove { percent: 250.0, lasting },
                Trigger::MemoryAbove(vec![1 << 30, 2 << 30]),
                Trigger::Exit
            ]
        );
        let watch = parse(&["7", "--at", "3:05", "--pressure", "io:full=5", "--pressure=cpu=20%"]).unwrap();
        let window = PRESSURE_WINDOW;
        let (io, cpu) = (Resource::Io, Resource::Cpu);
        assert_eq!(
            watch.triggers,
            [
                Trigger::Pressure { resource: io, stall: Stall::Full, percent: 5.0, window },
                Trigger::Pressure { resource: cpu, stall: Stall::Some, percent: 20.0, window },
                Trigger::At { hour: 3, minute: 5, second: 0 },
            ]
        );
    }

    #[test]
    fn a_launched_program_keeps_its_flags() {
        for separator in [&[][..], &["--"]] {
            let words = [&["--exit", "--launch"], separator, &["prog", "--json", "-o", "x", "--", "--exit"]].concat();
            let watch = parse(&words).unwrap();
            let command = ["prog", "--json", "-o", "x", "--", "--exit"].map(Into::into).to_vec();
            assert_eq!(watch.target, Target::Launch(command));
        }
    }

    #[test]
    fn wrong_use_is_told() {
        for (words, what) in [
            (&["7"][..], "no trigger"),
            (&["--exit"], "required"),
            (&["7", "--name", "x", "--exit"], "cannot be used with"),
            (&["7", "--wait", "--exit"], "--name"),
            (&["7", "--exit", "--for", "3s"], "--for"),
            (&["7", "--exit", "--format", "minidump"], "--format"),
            (&["7", "--signal", "segv", "--max-pause", "20ms"], "--max-pause"),
            (&["7", "--signal", "KILL"], "SIGKILL"),
            (&["7", "--log", "x"], "--match"),
            (&["7", "--at", "25:00"], "--at"),
            (&["7", "--pressure", "disk=5"], "memory=10"),
            (&["7", "--memory-above", "1X"], "64K"),
            (&["7", "--hang", "5"], "20ms, 5s"),
            (&["7", "--probe-http", "https://x"], "http://"),
            (&["7", "--exit", "--count", "0"], "0"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(what), "{words:?}: {error}");
        }
    }
}
