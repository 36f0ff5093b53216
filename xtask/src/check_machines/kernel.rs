//! The kernel itself: what it is, where KASLR put it, how it was started, whether it was tainted.

use super::asker::Asker;
use super::report::Report;
use super::truth::{Truth, number, text};
use anyhow::Context;
use serde_json::json;

/// Seconds between the guest's last look at its clock and the stop, at most.
const LATER: u64 = 5;

/// The topic.
pub fn kernel(machine: &Asker, truth: &Truth, report: &mut Report) -> anyhow::Result<()> {
    let answer = machine.table("kernel")?;
    let row = answer.rows.first().context("no row")?;
    let (before, guest) = (report.failures(), &truth.json);
    report.same("banner", &text(&row["banner"]).trim(), &text(&guest["version"]).trim());
    report.same("release", &text(&row["release"]), &text(&guest["osrelease"]));
    report.same("command line", &text(&row["command_line"]).trim(), &text(&guest["cmdline"]).trim());
    report.same("kaslr_offset", &text(&row["kaslr_offset"]), &text(&guest["kaslr"]["offset"]));
    report.cell(machine, "kernel", row, "taint", &json!(number(&guest["tainted"])));
    // The lists take some seconds; the clock is what the guest read last.
    let uptime: f64 = text(&guest["clock"][3]).parse().context("the guest's clock")?;
    let (ours, last) = (number(&row["uptime"]), uptime as u64);
    if !(last..=last + LATER).contains(&ours) {
        report.wrong(format!("uptime: {ours}, and the guest's clock was at {uptime} s before"));
    }
    let stat = truth.file("proc/stat")?;
    let started = stat.lines().find_map(|line| line.strip_prefix("btime ")).context("the guest's btime")?;
    let ours = text(&row["boot_time"]);
    let seconds = started.trim().parse::<i64>()?;
    if (super::time::seconds(ours).unwrap_or(i64::MIN) - seconds).abs() > 1 {
        report.wrong(format!("boot_time: {ours}, and the guest has {seconds}"));
    }
    report.count(7, 7);
    for _ in report.failures() - before..7 {
        report.found();
    }
    Ok(())
}
