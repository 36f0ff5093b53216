//! The report on a machine whose kernel is not understood: what it was, its processors, its memory.

use super::stop::duration;
use super::text::{bytes, dump_line, heading, remarks, sentence, wrapped};
use crate::args::Common;
use crate::output::clean;
use crate::output::style::{DIM, ERROR, HEADING, paint};
use afterimage_dump::Machine;
use afterimage_target::Target;
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
        if let Some(pid) = cpu.pid {
            line.push_str(&format!("  process {pid}"));
        }
        if let Some(root) = cpu.control("cr3").or_else(|| cpu.control("ttbr1_el1")) {
            line.push_str(&paint(DIM, &format!("  page tables at {root:#x}")));
        }
        writeln!(out, "  {}", line.trim_end())?;
    }
    if machine.cpus.len() > most {
        writeln!(out, "  {}", paint(DIM, &format!("and {} more (--verbose shows all)", machine.cpus.len() - most)))?;
    }
    if !diagnosis.advice.is_empty() {
        heading(out, "What to do next")?;
    }
    for advice in &diagnosis.advice {
        writeln!(out, "  • {}", wrapped(&clean(advice), 4))?;
    }
    dump_line(target, out)?;
    remarks(target, common, out)
}
