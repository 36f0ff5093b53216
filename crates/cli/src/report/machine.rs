//! The report on a machine that is no Windows: what it was, its processors, its memory, the kernel's last words.

use super::stop::duration;
use super::text::{bytes, dump_line, heading, remarks, sentence, wrapped};
use crate::args::Common;
use crate::output::clean;
use crate::output::style::{DIM, ERROR, HEADING, paint};
use afterimage_dump::Machine;
use afterimage_target::Target;
use afterimage_target::linux::KernelTrust;
use std::io::{self, Write};

/// Processors that are shown without `--verbose`.
const PROCESSORS: usize = 8;

pub fn write(target: &Target, machine: &Machine, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let diagnosis = target.diagnosis();
    let style = if diagnosis.kind == "none" { HEADING } else { ERROR };
    writeln!(out, "{}", paint(style, &wrapped(&sentence(&diagnosis.headline), 0)))?;
    for statement in &diagnosis.statements {
        writeln!(out, "  • {}", wrapped(&sentence(&statement.text), 4))?;
    }
    heading(out, "The machine")?;
    if let Some(name) = &machine.name {
        let words = [&name.system, &name.release, &name.version, &name.machine].map(|text| clean(text));
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        writeln!(out, "  {}", wrapped(&words.join(" "), 2))?;
    }
    let sizes = machine.sizes();
    let mut memory = vec![format!("{} of memory", bytes(sizes.present))];
    for (why, count) in &sizes.absent {
        memory.push(format!("{} {why}", bytes(*count)));
    }
    memory.extend(machine.uptime.map(|seconds| format!("up for {}", duration(seconds))));
    writeln!(out, "  {}", wrapped(&memory.join(", "), 2))?;
    if !machine.cpus.is_empty() {
        heading(out, "Processors")?;
    }
    let most = if common.verbose { usize::MAX } else { PROCESSORS };
    for cpu in machine.cpus.iter().take(most) {
        let place = |at: Option<afterimage_dump::Virt>| at.map_or("–".to_owned(), |at| format!("{at:#x}"));
        let mut line =
            format!("{:>3}  at {:18}  stack {:18}", cpu.index, place(cpu.registers.pc()), place(cpu.registers.sp()));
        let task = target.linux().ok().and_then(|linux| linux.running_on(cpu.index));
        match (task, cpu.pid) {
            (Some((pid, comm)), _) => line.push_str(&format!("  {} ({pid})", clean(&comm))),
            (None, Some(pid)) => line.push_str(&format!("  process {pid}")),
            (None, None) => {}
        }
        if let Some(root) = cpu.control("cr3").or_else(|| cpu.control("ttbr1_el1")) {
            line.push_str(&paint(DIM, &format!("  page tables at {root:#x}")));
        }
        writeln!(out, "  {}", line.trim_end())?;
    }
    if machine.cpus.len() > most {
        writeln!(out, "  {}", paint(DIM, &format!("and {} more (--verbose shows all)", machine.cpus.len() - most)))?;
    }
    if diagnosis.kind == "panic" {
        panic_stack(target, common, out)?;
    }
    last_lines(target, diagnosis.kind == "panic", common, out)?;
    if !diagnosis.advice.is_empty() {
        heading(out, "What to do next")?;
    }
    for advice in &diagnosis.advice {
        writeln!(out, "  • {}", wrapped(&clean(advice), 4))?;
    }
    dump_line(target, out)?;
    remarks(target, common, out)
}

/// What the processor that panicked was doing, from its registers in the dump.
fn panic_stack(target: &Target, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    const FRAMES: usize = 30;
    let Ok(linux) = target.linux() else { return Ok(()) };
    let cpu = linux.panicked_cpu();
    let Some(stack) = linux.stack_of_cpu(cpu) else { return Ok(()) };
    let task = linux.running_on(cpu).map(|(pid, comm)| format!(", {} ({pid})", clean(&comm))).unwrap_or_default();
    heading(out, &format!("Where processor {cpu} panicked{task}"))?;
    let most = if common.verbose { usize::MAX } else { FRAMES };
    for (index, frame) in stack.frames.iter().take(most).enumerate() {
        let guess = if frame.trust == KernelTrust::Guess { paint(DIM, "  a guess") } else { String::new() };
        let place = paint(DIM, &format!("{:#018x}", frame.pc));
        writeln!(out, "  {index:>3}  {place}  {}{guess}", clean(&frame.to_string()))?;
    }
    if stack.frames.len() > most {
        let more = format!("and {} more (--verbose shows all)", stack.frames.len() - most);
        writeln!(out, "  {}", paint(DIM, &more))?;
    }
    writeln!(out, "  {}", paint(DIM, &wrapped(&stack.end, 2)))
}

/// The end of the kernel's log: of a panic, all from the last sign of trouble on.
fn last_lines(target: &Target, panicked: bool, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    const LINES: usize = 10;
    const MOST: usize = 40;
    let Some(log) = target.linux().ok().and_then(|linux| linux.log().ok()).filter(|log| !log.is_empty()) else {
        return Ok(());
    };
    let trouble = |text: &str| {
        ["BUG: ", "Oops", "general protection", "Unable to handle", "Kernel panic", "sysrq:", "watchdog:", "INFO: task"]
            .iter()
            .any(|sign| text.starts_with(sign))
    };
    let most = if common.verbose { log.len() } else { MOST };
    let from = log.iter().position(|line| panicked && trouble(&line.text)).unwrap_or(log.len().saturating_sub(LINES));
    heading(out, if panicked { "The kernel's last words" } else { "The end of the kernel's log" })?;
    for line in log.iter().skip(from).take(most) {
        let (seconds, rest) = (line.time_ns / 1_000_000_000, line.time_ns / 1000 % 1_000_000);
        let time = paint(DIM, &format!("[{seconds:>5}.{rest:06}]"));
        for text in line.text.lines() {
            writeln!(out, "  {time} {}", clean(text))?;
        }
    }
    if log.len() - from > most {
        writeln!(out, "  {}", paint(DIM, "and more (`show DUMP kernel_log`)"))?;
    }
    Ok(())
}
