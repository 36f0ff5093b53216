//! The report on a machine that is no Windows: what it was, its processors, its memory, the kernel's last words.

use super::stop::duration;
use super::text::{bytes, dump_line, fitted, heading, registers, remarks, room, sentence, wrapped};
use crate::args::Common;
use crate::output::style::{DIM, ERROR, HEADING, PLACE, paint};
use crate::output::{clean, table_width};
use afterimage_dump::Machine;
use afterimage_tables::Value;
use afterimage_tables::rows::variables::of_level;
use afterimage_target::linux::{KernelFrame, KernelTrust};
use afterimage_target::{Target, VariableValue};
use std::io::{self, Write};

/// Processors that are shown without `--verbose`.
const PROCESSORS: usize = 8;

pub fn write(target: &Target, machine: &Machine, locals: bool, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let diagnosis = target.diagnosis();
    let style = if diagnosis.kind == "none" { HEADING } else { ERROR };
    writeln!(out, "{}", paint(style, &wrapped(&sentence(&diagnosis.headline), 0)))?;
    for statement in &diagnosis.statements {
        writeln!(out, "  • {}", wrapped(&sentence(&statement.text), 4))?;
    }
    heading(out, "The machine")?;
    if let Some(linux) = target.linux().ok().filter(|_| machine.name.is_none()) {
        let words = [Some("Linux".to_owned()), linux.release(), linux.build()].into_iter().flatten();
        let words: Vec<String> = words.map(|text| clean(&text)).collect();
        writeln!(out, "  {}", wrapped(&words.join(" "), 2))?;
    }
    if let Some(name) = &machine.name {
        let words = [&name.system, &name.release, &name.version, &name.machine].map(|text| clean(text));
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        writeln!(out, "  {}", wrapped(&words.join(" "), 2))?;
    }
    let sizes = machine.sizes();
    let mut memory = vec![format!("{} of memory", bytes(sizes.present))];
    // Images without a map of what is memory (raw) have holes of zeros in them.
    let own = target.linux().ok().and_then(|linux| linux.total_memory().ok());
    if let Some(own) = own.filter(|own| *own > 0 && sizes.present / 2 > *own) {
        memory = vec![format!("{} of memory in an image of {}", bytes(own), bytes(sizes.present))];
    }
    for (why, count) in &sizes.absent {
        memory.push(format!("{} {why}", bytes(*count)));
    }
    let uptime = machine.uptime.or_else(|| Some(target.linux().ok()?.uptime()? as f64));
    memory.extend(uptime.map(|seconds| format!("up for {}", duration(seconds))));
    let start = target.linux().ok().and_then(|linux| linux.boot_time_ns());
    if let Some((start, uptime)) = start.zip(uptime) {
        let end = start.div_euclid(1_000_000_000).saturating_add(uptime as i64);
        let what = if diagnosis.message.is_some() { "stopped" } else { "copied" };
        memory.push(format!("{what} {}", Value::Time(end)));
    }
    writeln!(out, "  {}", wrapped(&memory.join(", "), 2))?;
    processors(target, machine, common, out)?;
    let panicked = diagnosis.message.is_some();
    if panicked {
        panic_stack(target, locals, common, out)?;
        fault_registers(target, out)?;
        if common.verbose {
            let cpu = target.linux().ok().map(afterimage_target::linux::Linux::panicked_cpu);
            let thread = cpu.and_then(|cpu| target.dump().threads.iter().position(|thread| thread.tid == cpu));
            if let Some(thread) = thread {
                registers(target, thread, common, out)?;
            }
        }
    }
    if !panicked || common.verbose {
        super::overview::write(target, common, out)?;
    }
    last_lines(target, panicked, common, out)?;
    if !diagnosis.advice.is_empty() {
        heading(out, "What to do next")?;
    }
    for advice in &diagnosis.advice {
        writeln!(out, "  • {}", wrapped(&clean(advice), 4))?;
    }
    dump_line(target, out)?;
    remarks(target, common, out)
}

/// Each processor with what it ran.
fn processors(target: &Target, machine: &Machine, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let all = target.processors();
    if !all.is_empty() {
        heading(out, "Processors")?;
    }
    let most = if common.verbose { usize::MAX } else { PROCESSORS };
    for index in all.iter().take(most) {
        let cpu = machine.cpus.iter().find(|cpu| cpu.index == *index);
        let place = |at: Option<afterimage_dump::Virt>| at.map_or("–".to_owned(), |at| format!("{at:#x}"));
        let mut line = match cpu {
            Some(cpu) => {
                format!("{index:>3}  at {:18}  stack {:18}", place(cpu.registers.pc()), place(cpu.registers.sp()))
            }
            None => format!("{index:>3}  its registers are not in the dump"),
        };
        let task = target.linux().ok().and_then(|linux| linux.running_on(*index));
        match (task, cpu.and_then(|cpu| cpu.pid)) {
            (Some((pid, comm)), _) => line.push_str(&format!("  {} ({pid})", clean(&comm))),
            (None, Some(pid)) => line.push_str(&format!("  process {pid}")),
            (None, None) => {}
        }
        let root = cpu.and_then(|cpu| cpu.control("cr3").or_else(|| cpu.control("ttbr1_el1")));
        let root = root.map(|root| format!("  page tables at {root:#x}")).unwrap_or_default();
        // Half of an address is none.
        let fits = room(common).is_none_or(|room| line.chars().count() + root.len() <= room);
        writeln!(out, "  {}", fitted(&line, if fits { &root } else { "" }, room(common)))?;
    }
    if all.len() > most {
        writeln!(out, "  {}", paint(DIM, &format!("and {} more (--verbose shows all)", all.len() - most)))?;
    }
    Ok(())
}

/// What the processor that panicked was doing: from its registers in the dump, or from where it called `panic()`.
fn panic_stack(target: &Target, locals: bool, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    const FRAMES: usize = 30;
    let Ok(linux) = target.linux() else { return Ok(()) };
    let cpu = linux.panicked_cpu();
    let Some(stack) = linux.stack_of_cpu(cpu) else { return Ok(()) };
    let task = linux.running_on(cpu).map(|(pid, comm)| format!(", {} ({pid})", clean(&comm))).unwrap_or_default();
    heading(out, &format!("Where processor {cpu} panicked{task}"))?;
    let most = if common.verbose { usize::MAX } else { FRAMES };
    let variables = if locals { target.kernel_variables(&stack).ok() } else { None };
    for (index, frame) in stack.frames.iter().take(most).enumerate() {
        let guess = if frame.trust == KernelTrust::Guess { paint(DIM, "  a guess") } else { String::new() };
        let place = paint(DIM, &format!("{:#018x}", frame.pc));
        let line = line_of(target, frame).map(|line| format!("  {}", paint(PLACE, &clean(&line)))).unwrap_or_default();
        writeln!(out, "  {index:>3}  {place}  {}{line}{guess}", clean(&frame.to_string()))?;
        if let Some(Ok(found)) = variables.as_ref().map(|variables| variables.of(index)) {
            frame_variables(target, frame, &found, common, out)?;
        }
    }
    if stack.frames.len() > most {
        let more = format!("and {} more (--verbose shows all)", stack.frames.len() - most);
        writeln!(out, "  {}", paint(DIM, &more))?;
    }
    writeln!(out, "  {}", paint(DIM, &wrapped(&stack.end, 2)))?;
    if let Some(Err(why)) = locals.then(|| target.kernel_variables(&stack)) {
        let why = wrapped(&format!("without its variables: {}", clean(&why)), 2);
        writeln!(out, "  {}", paint(DIM, &why))?;
    }
    user_stack(target, cpu, locals, common, out)
}

/// The variables of a frame: of each function that was inlined there, then of its own.
fn frame_variables(
    target: &Target,
    frame: &KernelFrame,
    found: &[VariableValue],
    common: &Common,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Ok(lines) = target.kernel_lines() else { return Ok(()) };
    let places = lines.at(if frame.exact { frame.pc } else { frame.pc.wrapping_sub(1) });
    let levels = places.len().max(1);
    let mut labelled = false;
    for level in 0..levels {
        let own = of_level(found, level, levels);
        let inlined = places.get(level).filter(|place| place.inlined).and_then(|place| place.function.as_deref());
        if let Some(function) = inlined.filter(|_| !own.is_empty()) {
            writeln!(out, "       {}", paint(DIM, &format!("in {}, inlined", clean(function))))?;
            labelled = true;
        } else if labelled && !own.is_empty() {
            let function = frame.function.as_deref().unwrap_or("the function");
            writeln!(out, "       {}", paint(DIM, &format!("in {}", clean(function))))?;
        }
        super::locals::write(&own, common, out)?;
    }
    Ok(())
}

/// File and line of a frame, where a vmlinux was given: of the function itself, not of what was inlined into it.
fn line_of(target: &Target, frame: &KernelFrame) -> Option<String> {
    if frame.module.is_some() {
        return None;
    }
    let lines = target.kernel_lines().ok()?;
    let places = lines.at(if frame.exact { frame.pc } else { frame.pc.wrapping_sub(1) });
    let place = places.iter().rfind(|place| !place.inlined)?;
    Some(format!("{}:{}", place.file.as_deref()?, place.line?))
}

/// What the program was doing that a processor ran: the way into the kernel that panicked.
fn user_stack(target: &Target, cpu: u32, locals: bool, common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let Ok(linux) = target.linux() else { return Ok(()) };
    let Some((pid, thread)) = linux.current(cpu).and_then(|task| linux.thread_of(task)) else { return Ok(()) };
    let processes = linux.processes().map(|(processes, _)| processes).unwrap_or_default();
    let process = processes.iter().find(|process| process.pid == pid && process.kernel_thread == Some(false));
    let Some(of) = process.and_then(|process| target.process(process).ok()) else { return Ok(()) };
    let Some(index) = of.target.dump().threads.iter().position(|own| own.tid == thread.tid) else { return Ok(()) };
    writeln!(out, "  {}", paint(DIM, "and in its program:"))?;
    super::stack::write(&of.target, index, locals, common, out)
}

/// The registers of the kernel's fault, as the exception saved them.
fn fault_registers(target: &Target, out: &mut dyn Write) -> io::Result<()> {
    // Name, value and what lies between.
    const WIDTH: usize = 28;
    const COLUMNS: usize = 3;
    let columns = table_width().map_or(COLUMNS, |width| (width.saturating_add(1) / WIDTH).clamp(1, COLUMNS));
    let Some(oops) = target.linux().ok().and_then(|linux| linux.oops()) else { return Ok(()) };
    let Some(frame) = oops.stack.frames.get(oops.frame) else { return Ok(()) };
    heading(out, &format!("Registers of the fault in {}", clean(&frame.to_string())))?;
    let shown: Vec<String> =
        oops.registers.iter().map(|(info, value)| format!("{:>6} {value:#018x}", info.name)).collect();
    for row in shown.chunks(columns) {
        writeln!(out, "  {}", row.join("   "))?;
    }
    Ok(())
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
            // The terminal would break words.
            let text = if table_width().is_some() { wrapped(&clean(text), 17) } else { clean(text) };
            writeln!(out, "  {time} {text}")?;
        }
    }
    if log.len() - from > most {
        writeln!(out, "  {}", paint(DIM, "and more (`show DUMP kernel_log`)"))?;
    }
    Ok(())
}
