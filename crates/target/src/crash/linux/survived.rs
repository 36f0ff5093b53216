//! A fault of the kernel's own code that ended a task and not the machine, by the log: the task and its stack are gone.

use super::{Story, say};
use crate::linux::LogLine;

/// Lines of the log that a fault takes at most, up to the place of it.
const MOST: usize = 30;

pub(super) fn explain(log: &[LogLine], story: &mut Story) {
    // The last one; the kernel counts them: `Oops: 0002 [#1] PREEMPT SMP`.
    let number = |line: &LogLine| {
        let count = line.text.split_once(" [#")?.1.split(']').next()?.parse::<u32>().ok()?;
        (!line.text.starts_with(' ')).then_some(count)
    };
    let Some((at, count)) = log.iter().enumerate().rev().find_map(|(at, line)| Some((at, number(line)?))) else {
        return;
    };
    let Some(line) = log.get(at) else { return };
    let after = || log.iter().skip(at).take(MOST);
    let words = after().find_map(|line| line.text.strip_prefix("CPU: ")).unwrap_or_default();
    let word = |key: &str| words.split_once(key).and_then(|(_, rest)| rest.split_whitespace().next());
    let task = match (word("Comm: "), word("PID: ")) {
        (Some(comm), Some(pid)) => format!(", of {comm} (process {pid})"),
        _ => String::new(),
    };
    // x86; arm64.
    let place = after().find_map(|line| {
        let x86 = line.text.strip_prefix("RIP: 0010:");
        x86.or_else(|| line.text.strip_prefix("pc : ")).map(|place| (place.split('/').next().unwrap_or(place), line))
    });
    // What it was stands before it, if it is more than the exception's name.
    let before =
        log.iter().take(at).rev().take(8).find(|line| {
            ["BUG: ", "kernel BUG at ", "Unable to handle"].iter().any(|start| line.text.starts_with(start))
        });
    let head = before.unwrap_or(line);
    let seconds = line.time_ns / 1_000_000_000;
    let which = if count > 1 { format!(", the last of {count}") } else { String::new() };
    let at = place.map(|(place, _)| format!(" in {place}")).unwrap_or_default();
    let what = head.text.trim_end_matches(['!', '.']);
    let text = format!(
        "{seconds} seconds after the start the kernel's own code had a fault{at}{task}{which}: {what}. The machine went on."
    );
    if story.kind == "none" {
        story.kind = "kernel_fault";
    }
    story.statements.push(say(text, "message", line.text.clone(), None));
    story.advice.push("`show DUMP kernel_log` has the fault's registers and callers; what a task held when it ended so, nobody gives back".to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Vec<LogLine> {
        text.lines().map(|line| LogLine { time_ns: 7_000_000_000, level: 1, text: line.to_owned() }).collect()
    }

    fn story() -> Story {
        Story {
            kind: "none",
            clause: None,
            statements: Vec::new(),
            advice: Vec::new(),
            instruction: None,
            fault_address: None,
        }
    }

    #[test]
    fn the_log_names_place_and_task() {
        let mut told = story();
        let lines = "BUG: kernel NULL pointer dereference, address: 0000000000000050\n\
                     Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI\n\
                     CPU: 0 UID: 0 PID: 147 Comm: survivor Tainted: G           OE\n\
                     RIP: 0010:trouble_store+0x5/0x20 [trouble]\n";
        explain(&log(lines), &mut told);
        assert_eq!(told.kind, "kernel_fault");
        let text = told.statements.first().map(|one| one.text.as_str()).unwrap_or_default();
        assert_eq!(
            text,
            "7 seconds after the start the kernel's own code had a fault in trouble_store+0x5, of survivor (process 147): \
             BUG: kernel NULL pointer dereference, address: 0000000000000050. The machine went on."
        );
    }

    #[test]
    fn no_fault_is_no_story() {
        let mut told = story();
        explain(&log("usb 1-1: new device [#a]\nnothing"), &mut told);
        assert_eq!((told.kind, told.statements.len()), ("none", 0));
    }
}
