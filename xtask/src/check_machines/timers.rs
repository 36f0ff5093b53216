//! Timers: those that run for longer than the guest was still watched, as /proc/timer_list and timerfd's fdinfo have them.

use super::asker::Asker;
use super::report::{Only, Report, absent, filtered};
use super::truth::{Truth, number, text};
use anyhow::Context;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Nanoseconds: what ends sooner may have ended, and begun anew.
const LONG: i64 = 60_000_000_000;
/// Nanoseconds that lie between the list and the dump at most.
const LATER: i64 = 60_000_000_000;

/// Processor, nanoseconds of its clock, function.
type Timer = (u64, u64, String);

/// The topic.
pub fn timers(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("timers")?;
    report.remarks(machine, &answer);
    let list = truth.file("proc/timer_list")?;
    let (guest, now) = listed(&list)?;
    let mut ours: BTreeMap<Timer, &Value> = BTreeMap::new();
    for row in &answer.rows {
        if row["kind"] != "hrtimer" {
            report.untold("timers of the wheel");
            continue;
        }
        let rule = ["expires", "function"].iter().find_map(|column| absent(machine, row, column));
        if let Some(rule) = rule {
            report.excuse(rule);
            continue;
        }
        // A processor that sleeps puts its tick off, for minutes or for ever; /proc/timer_list woke it.
        if text(&row["function"]).starts_with("tick_") {
            report.excuse("the tick of a processor, which begins anew each time");
            continue;
        }
        let timer = (number(&row["cpu"]), number(&row["expires"]), text(&row["function"]).to_owned());
        ours.insert(timer, row);
    }
    let lasting: BTreeSet<Timer> = guest
        .iter()
        .filter(|((_, _, function), left)| **left >= LONG && !function.starts_with("tick_"))
        .map(|(timer, _)| timer.clone())
        .collect();
    // What ours has beyond that must have been set later: it ends sooner than what the guest would have listed as long.
    let own: BTreeSet<Timer> = ours
        .iter()
        .filter(|(timer, row)| lasting.contains(timer) || row["remaining_ns"].as_i64().unwrap_or(i64::MAX) >= LONG)
        .map(|(timer, _)| timer.clone())
        .collect();
    report.sets(&own, &lasting, |only, _| (only == Only::Guest).then(|| filtered(machine, &answer)).flatten());
    for timer in &lasting {
        let (Some(row), Some(left)) = (ours.get(timer), guest.get(timer)) else { continue };
        match row["remaining_ns"].as_i64() {
            Some(own) if (0..LATER).contains(&(left - own)) => {}
            _ => report.wrong(format!("{timer:?}: {left} ns were left, and our row is {row}")),
        }
    }
    let short = ours.len() - own.len();
    for _ in 0..short {
        report.excuse("a timer that ends within a minute, and may have begun anew");
    }
    descriptors(truth, now, &guest, report)
}

/// The timers of the guest's list with the nanoseconds that were left, and its clock.
fn listed(list: &str) -> anyhow::Result<(BTreeMap<Timer, i64>, i64)> {
    let (mut cpu, mut function, mut now) = (0, String::new(), None);
    let mut all = BTreeMap::new();
    for line in list.lines() {
        if let Some(words) = line.strip_prefix("now at ") {
            now = words.split(' ').next().and_then(|word| word.parse().ok());
        } else if let Some(number) = line.strip_prefix("cpu: ") {
            cpu = number.trim().parse()?;
        } else if line.starts_with(" #") && line.contains(": <") {
            function = line.split(", ").nth(1).context("a timer without a function")?.to_owned();
        } else if let Some(rest) = line.strip_prefix(" # expires at ") {
            let (range, left) = rest.split_once(" nsecs [in ").context("a timer without its end")?;
            let left = left.split(' ').next().unwrap_or_default().parse()?;
            let (_, hard) = range.split_once('-').context("a timer without its end")?;
            all.insert((cpu, hard.parse()?, function.clone()), left);
        }
    }
    Ok((all, now.context("the guest's timer_list has no clock")?))
}

/// Each descriptor of a timer that is set stands in the list, too: so its end is known to the nanosecond.
fn descriptors(truth: &Truth, now: i64, guest: &BTreeMap<Timer, i64>, report: &mut Report) -> anyhow::Result<()> {
    for (pid, fd, facts) in truth.fdinfo("clockid") {
        let value = facts.get("it_value").context("a timerfd without its value")?;
        let (seconds, rest) = value.trim_matches(['(', ')']).split_once(", ").context("a timerfd's value")?;
        let left = seconds.parse::<i64>()? * 1_000_000_000 + rest.parse::<i64>()?;
        if left == 0 {
            continue;
        }
        // The descriptor is read after the list.
        let near = guest.iter().any(|((_, end, function), _)| {
            let passed = *end as i64 - now - left;
            function.starts_with("timerfd") && (0..LATER).contains(&passed)
        });
        report.same(&format!("timerfd {fd} of {pid} is among the list's timers"), &near, &true);
    }
    Ok(())
}
