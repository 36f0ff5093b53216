//! Text crash reports (`.crash`; `.ips` up to iOS 14, with a line of JSON before): a head of `Key: value` lines, then
//! sections that begin with a title.
//!
//! *What it is not*: `sample`'s call trees and panics (`sample`, `panic`).
//!
//! *Trap*: other writers (PLCrashReporter and what is made of it) use the same form with less in it: `SIGSEGV` without a
//! Mach exception, a `Crashed Thread:` that is not the thread whose title says `Crashed`. The title wins: its registers
//! follow.

use super::draft::{Draft, MAX_FRAMES};
use super::line;
use super::report::{ObjcException, ReportedFrame, ReportedThread, Termination};
use super::words;
use crate::Issue;

/// Which section the lines belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Section {
    Head,
    Application,
    Triage,
    Region,
    Termination,
    Thread,
    LastException,
    Registers,
    Images,
    Other,
}

/// A thread whose lines are being read.
#[derive(Default)]
struct Current {
    number: u32,
    name: Option<String>,
    queue: Option<String>,
    crashed: bool,
    frames: Vec<ReportedFrame>,
}

struct Reader<'d, 'b> {
    draft: &'d mut Draft<'b>,
    section: Section,
    current: Option<Current>,
    /// `Thread 4 name:` stands a line before `Thread 4:`.
    named: Option<(u32, String)>,
    blamed: Option<u32>,
    /// Registers come behind all threads.
    registers_of: Option<u32>,
    lost_frames: usize,
}

/// Reads a report.
pub(super) fn read(draft: &mut Draft<'_>, text: &str) {
    let mut reader = Reader {
        draft,
        section: Section::Head,
        current: None,
        named: None,
        blamed: None,
        registers_of: None,
        lost_frames: 0,
    };
    for line in text.lines() {
        reader.line(line.trim_end());
    }
    reader.close_thread();
    reader.finish();
}

/// Reads only `Key: value` lines.
pub(super) fn head_only(draft: &mut Draft<'_>, text: &str) {
    let issues = draft.issues.len();
    read(draft, text);
    draft.issues.truncate(issues);
}

impl Reader<'_, '_> {
    fn line(&mut self, line: &str) {
        if self.title(line) {
            return;
        }
        match self.section {
            Section::Head => self.head(line),
            Section::Application => {
                if line.is_empty() {
                    self.section = Section::Other;
                } else if let Some((_, text)) = self.draft.report.application.last_mut() {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(line.trim_end());
                }
            }
            Section::Triage | Section::Region => {
                let place = if self.section == Section::Triage {
                    &mut self.draft.report.triage
                } else {
                    &mut self.draft.report.region
                };
                if line.is_empty() {
                    self.section = Section::Head;
                } else if let Some(text) = place {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(line);
                }
            }
            Section::Termination => {
                // Lines that go on with the reason have no key, or only one of the watchdog's own.
                let key = line.split(':').next().unwrap_or("");
                let known = ["Terminating Process", "Triggered by Thread", "Crashed Thread", "Exception"];
                if line.is_empty() || known.iter().any(|known| key.starts_with(known)) {
                    self.section = Section::Head;
                    self.head(line);
                } else if let Some(termination) = &mut self.draft.report.termination
                    && termination.details.len() < 64
                {
                    termination.details.push(line.trim().to_owned());
                }
            }
            Section::Thread | Section::LastException => self.frame(line),
            Section::Registers => self.registers(line),
            Section::Images => self.image(line),
            Section::Other => {
                // Keys may follow sections (`Logical CPU:`).
                self.head(line);
            }
        }
    }

    /// Whether the line is a title; opens its section.
    fn title(&mut self, line: &str) -> bool {
        let opened = match line.trim() {
            "Binary Images:" => Section::Images,
            "Last Exception Backtrace:" => Section::LastException,
            "Thread State" => {
                self.close_thread();
                self.registers_of = self.crashed_number();
                Section::Registers
            }
            "Kernel Triage:" => {
                self.draft.report.triage.get_or_insert_default();
                Section::Triage
            }
            "Application Specific Information:" => {
                self.draft.report.application.push((String::new(), String::new()));
                Section::Application
            }
            "External Modification Summary:" | "VM Region Summary:" | "EOF" | "Error Formulating Crash Report:" => {
                Section::Other
            }
            other if other.starts_with("Application Specific Backtrace") => Section::LastException,
            other if other.starts_with("Thread ") => return self.thread_title(other),
            _ => return false,
        };
        self.close_thread();
        self.section = opened;
        true
    }

    fn thread_title(&mut self, line: &str) -> bool {
        let Some((number, rest)) = line.strip_prefix("Thread ").and_then(words::leading_number) else { return false };
        let Ok(number) = u32::try_from(number) else { return false };
        if let Some(name) = rest.strip_prefix(" name:") {
            self.close_thread();
            self.named = Some((number, name.trim().to_owned()));
            self.section = Section::Other;
            return true;
        }
        if rest.starts_with(" crashed with") {
            self.close_thread();
            self.registers_of = Some(number);
            self.section = Section::Registers;
            return true;
        }
        let crashed = rest.trim_start().starts_with("Crashed");
        let rest = rest.trim_start().trim_start_matches("Crashed").trim_start();
        let Some(rest) = rest.strip_prefix(':') else {
            self.close_thread();
            self.section = Section::Other;
            return line.contains("instruction stream");
        };
        self.close_thread();
        let mut name = rest.trim_start_matches(':').trim().to_owned();
        if name.is_empty()
            && let Some((_, before)) = self.named.take().filter(|(named, _)| *named == number)
        {
            name = before;
        }
        self.named = None;
        let (name, queue) = match name.split_once("Dispatch queue:") {
            Some((name, queue)) => (name.trim().to_owned(), Some(queue.trim().to_owned())),
            None => (name, None),
        };
        let name = (!name.is_empty()).then_some(name);
        self.current = Some(Current { number, name, queue, crashed, frames: Vec::new() });
        self.section = Section::Thread;
        true
    }

    fn close_thread(&mut self) {
        let Some(current) = self.current.take() else { return };
        let told = ReportedThread {
            frames: current.frames,
            queue: current.queue,
            number: Some(current.number),
            state: Vec::new(),
        };
        let index = self.draft.thread(Some(u64::from(current.number)), current.name, told);
        if current.crashed {
            self.draft.crashed = self.draft.crashed.or(index);
        }
    }

    fn index_of(&self, number: u32) -> Option<usize> {
        self.draft.report.threads.iter().position(|thread| thread.number == Some(number))
    }

    fn crashed_number(&self) -> Option<u32> {
        let crashed = self.draft.crashed.and_then(|index| self.draft.report.threads.get(index));
        crashed.and_then(|thread| thread.number).or(self.blamed)
    }

    fn frame(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.section == Section::LastException && line.trim_start().starts_with('(') {
            // Unsymbolised: addresses in one pair of brackets.
            let addresses = line.trim().trim_matches(['(', ')']).split_whitespace().map_while(words::number);
            for address in addresses.take(MAX_FRAMES) {
                self.draft.report.last_exception.push(ReportedFrame { address, ..ReportedFrame::default() });
            }
            return;
        }
        let Some((_, frame)) = line::frame(line) else {
            if line.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
                self.lost_frames += 1;
            } else if !line.starts_with(' ') {
                self.close_thread();
                self.section = Section::Other;
                self.head(line);
            }
            return;
        };
        if !self.draft.afford_frame() {
            return;
        }
        let frames = match (&mut self.current, self.section) {
            (Some(current), Section::Thread) => &mut current.frames,
            _ => &mut self.draft.report.last_exception,
        };
        if frames.len() < MAX_FRAMES {
            frames.push(frame);
        }
    }

    fn registers(&mut self, line: &str) {
        let found = line::registers(line);
        if found.is_empty() {
            if line.trim().is_empty() {
                return;
            }
            self.section = Section::Other;
            self.head(line);
            return;
        }
        let index = self.registers_of.and_then(|number| self.index_of(number)).or(self.draft.crashed);
        let Some(index) = index else { return };
        for (name, value) in found {
            self.draft.state(index, &name, value);
            if name == "esr"
                && let Some((_, words)) = line.split_once("esr:")
                && let Some((_, words)) = words.trim().split_once(' ')
            {
                self.draft.fact("state.esr", words);
            }
        }
    }

    fn image(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        match line::image(line) {
            Some(image) => {
                if self.draft.arch.is_none() {
                    self.draft.arch = line::image_arch(line);
                }
                if self.draft.afford(512) && self.draft.modules.len() < self.draft.budget.max_items {
                    self.draft.modules.push(image);
                }
            }
            None if line.trim_start().starts_with("0x") => {}
            None => self.section = Section::Other,
        }
    }

    fn head(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(':') else { return };
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() && key != "Termination Reason" {
            return;
        }
        let named = |text: &str| -> (String, Option<u32>) {
            match text.rsplit_once('[') {
                Some((name, pid)) => (name.trim().to_owned(), pid.trim_end_matches(']').trim().parse().ok()),
                None => (text.to_owned(), None),
            }
        };
        let draft = &mut *self.draft;
        match key {
            "Process" | "Command" => {
                let (name, pid) = named(value);
                draft.process.name = Some(name);
                draft.process.pid = pid.or(draft.process.pid);
            }
            "Path" => draft.process.executable = Some(value.to_owned()),
            "Parent Process" | "Parent" => {
                let (name, pid) = named(value);
                draft.process.ppid = pid;
                draft.fact("parent", name);
            }
            "User ID" => draft.process.uid = value.parse().ok(),
            "Code Type" | "Architecture" => draft.arch = words::arch(value).or(draft.arch),
            "Date/Time" => draft.time = words::time(value).or(draft.time),
            "Launch Time" => draft.process.start_time = words::time(value),
            "OS Version" => {
                draft.os_version = None;
                draft.system(value);
            }
            "Hardware Model" => {
                draft.report.hardware = Some(value.to_owned());
                draft.fact("hardware", value);
            }
            "Incident Identifier" => draft.report.incident = Some(value.to_owned()),
            "Identifier" => draft.fact("bundle", value),
            "Version" if value != "???" => draft.fact("version", value),
            "Role" => draft.fact("role", value),
            "Responsible" => draft.fact("responsible", value),
            "Error Code" | "Trap Number" => {
                draft.fact(key, value);
                let name = if key == "Error Code" { "err" } else { "trap" };
                if let (Some(index), Some((number, _))) = (draft.crashed, words::leading_number(value)) {
                    draft.state(index, name, number);
                }
            }
            "Exception Type" => {
                let (name, signal) = match value.split_once('(') {
                    Some((name, signal)) => (name.trim(), Some(signal.trim_end_matches(')').trim())),
                    None => (value, None),
                };
                if name.starts_with("SIG") {
                    draft.report.signal = Some(name.to_owned());
                } else {
                    draft.report.exception = Some(name.to_owned());
                    draft.report.signal = signal.map(str::to_owned);
                }
            }
            "Exception Subtype" => draft.report.subtype = Some(value.to_owned()),
            "Exception Message" => draft.report.message = Some(value.to_owned()),
            "Exception Codes" => {
                let codes: Vec<u64> = value.split(',').map_while(words::number).take(16).collect();
                if codes.is_empty() {
                    draft.report.subtype = Some(value.to_owned());
                } else {
                    draft.codes = codes;
                }
            }
            "Termination Signal" => draft.fact("termination_signal", value),
            "Termination Reason" | "Termination Description" => {
                let read = termination(value);
                match &mut draft.report.termination {
                    Some(known) => known.details.push(value.to_owned()),
                    none => *none = Some(read),
                }
                self.section = Section::Termination;
            }
            "Terminating Process" => {
                draft.report.termination.get_or_insert_default().by = Some(named(value).0);
            }
            "Crashed Thread" | "Triggered by Thread" | "Triggered by" => {
                let value = value.strip_prefix("Thread").unwrap_or(value);
                self.blamed = words::leading_number(value).and_then(|(number, _)| u32::try_from(number).ok());
            }
            "VM Region Info" => {
                draft.report.region = Some(value.to_owned());
                self.section = Section::Region;
            }
            _ => {}
        }
    }

    fn finish(mut self) {
        if self.draft.crashed.is_none() {
            self.draft.crashed = self.blamed.and_then(|number| self.index_of(number));
        }
        if self.lost_frames > 0 {
            let text = format!("{} frames have no address that can be read: they are left out", self.lost_frames);
            self.draft.issues.push(Issue::loss(text));
        }
        if self.draft.threads.is_empty() {
            self.draft.issues.push(Issue::loss("the report holds no threads"));
        }
        let report = &mut self.draft.report;
        report.triage = report.triage.take().filter(|text| !text.is_empty());
        // `*** Terminating app due to uncaught exception 'NSX', reason: 'why'`
        let words = report.application.iter().map(|(_, text)| text.as_str());
        report.objc = words.filter_map(objc).next();
        self.registers_of = None;
    }
}

/// The Objective-C exception that a line of the runtime names.
fn objc(text: &str) -> Option<ObjcException> {
    let (_, rest) = text.split_once("uncaught exception '")?;
    let (name, rest) = rest.split_once('\'')?;
    let reason = rest
        .split_once("reason: '")
        .map(|(_, reason)| reason.rsplit_once('\'').map_or(reason, |(reason, _)| reason).to_owned());
    Some(ObjcException { name: Some(name.to_owned()), reason })
}

/// `Namespace SIGNAL, Code 11 Segmentation fault: 11`, `SIGNAL 5 Trace/BPT trap: 5`, `Namespace DYLD, Code 0x1`.
fn termination(text: &str) -> Termination {
    let text = text.strip_prefix("Namespace ").unwrap_or(text);
    let end = text.find([',', ' ', ';']).unwrap_or(text.len());
    let (namespace, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let rest = rest.trim_start_matches([',', ';', ' ']);
    let rest = rest.strip_prefix("Code ").or_else(|| rest.strip_prefix("code ")).unwrap_or(rest).trim_start();
    let (code, words) = match words::leading_number(rest) {
        Some((code, words)) => (Some(code), words),
        None => (None, rest),
    };
    let words = words.trim().trim_start_matches([',', ';']).trim();
    Termination {
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        code,
        indicator: (!words.is_empty()).then(|| words.to_owned()),
        details: Vec::new(),
        by: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminations() {
        let read = |text| {
            let found = termination(text);
            (found.namespace.unwrap_or_default(), found.code, found.indicator)
        };
        let signal = |code, words: &str| ("SIGNAL".to_owned(), Some(code), Some(words.to_owned()));
        assert_eq!(read("Namespace SIGNAL, Code 11 Segmentation fault: 11"), signal(11, "Segmentation fault: 11"));
        assert_eq!(read("SIGNAL 5 Trace/BPT trap: 5"), signal(5, "Trace/BPT trap: 5"));
        assert_eq!(read("Namespace SIGNAL, Code 0xb"), ("SIGNAL".to_owned(), Some(11), None));
        assert_eq!(read("FRONTBOARD 2343432205"), ("FRONTBOARD".to_owned(), Some(0x8bad_f00d), None));
    }

    #[test]
    fn objective_c() {
        let found =
            objc("*** Terminating app due to uncaught exception 'NSRangeException', reason: 'index 3 isn't in 0'")
                .unwrap();
        assert_eq!(found.name.as_deref(), Some("NSRangeException"));
        assert_eq!(found.reason.as_deref(), Some("index 3 isn't in 0"));
    }
}
