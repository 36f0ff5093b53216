//! What is said of a FreeBSD dump in words: savecore's `info` file, and the kernel's message buffer.
//!
//! *Trap*: the message buffer is a ring of text that may begin in the middle of a line, and holds older messages; the last
//! panic is this dump's.

use crate::machine::SystemName;
use crate::system::opening::{Opening, seconds_of};
use crate::{Dump, source};

/// `info.3` belongs to `vmcore.3`.
const MOST: usize = 64 << 10;

/// Adds what the `info` file beside a `vmcore` says.
pub(super) fn add(opening: &Opening<'_>, dump: &mut Dump) {
    let Some(text) = beside(opening) else { return };
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned()).filter(|value| !value.is_empty())
    };
    if let Some(time) = field("Dumptime").and_then(|words| date(&words)) {
        dump.time = Some(time);
    }
    if let Some(version) = field("Version String") {
        name_system(dump, &version);
    }
    if let (Some(node), Some(machine)) = (field("Hostname"), dump.machine.as_mut()) {
        machine.name.get_or_insert_with(SystemName::default).node = node;
    }
    if let Some(panic) = field("Panic String") {
        dump.process.facts.retain(|(name, _)| name != "panic");
        dump.process.facts.push(("panic".to_owned(), panic));
    }
}

fn beside(opening: &Opening<'_>) -> Option<String> {
    let name = opening.path.file_name()?.to_str()?;
    let number = name.strip_prefix("vmcore.")?.split('.').next()?;
    let file = std::fs::File::open(opening.path.with_file_name(format!("info.{number}"))).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let file = source::FileSource::new(file).ok()?;
    Some(String::from_utf8_lossy(&source::read_vec(&file, 0, MOST).ok()?).into_owned())
}

/// Adds what the message buffer says.
pub(super) fn add_messages(dump: &mut Dump, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = || text.split(['\n', '\0']).map(str::trim);
    if let Some(line) = lines().rfind(|line| line.starts_with("FreeBSD ") && line.contains('#')) {
        name_system(dump, line);
    }
    if let Some(panic) = lines().filter_map(|line| line.strip_prefix("panic: ")).next_back() {
        dump.process.facts.push(("panic".to_owned(), panic.to_owned()));
    }
}

/// `FreeBSD 13.0-RELEASE #0 releng/13.0-n244733: …`
fn name_system(dump: &mut Dump, line: &str) {
    let mut words = line.splitn(3, ' ');
    let (Some("FreeBSD"), Some(release)) = (words.next(), words.next()) else { return };
    dump.os_version = Some(release.to_owned());
    let machine_name = dump.arch.info().name.to_owned();
    let Some(machine) = dump.machine.as_mut() else { return };
    let name = machine.name.get_or_insert_with(SystemName::default);
    name.system = "FreeBSD".to_owned();
    name.release = release.to_owned();
    name.version = words.next().unwrap_or_default().to_owned();
    name.machine = machine_name;
}

/// `2021-02-05 14:23:12 +0000`, or as C's `ctime` writes it, whose time zone is not known and taken for UTC.
fn date(words: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let clock = |text: &str| {
        let mut parts = text.split(':').map(|part| part.parse::<i64>().ok());
        Some((parts.next()??, parts.next()??, parts.next()??))
    };
    let parts: Vec<&str> = words.split_whitespace().collect();
    match *parts.as_slice() {
        [day, time, ref zone @ ..] if day.contains('-') => {
            let mut numbers = day.split('-').map(|part| part.parse::<i64>().ok());
            let date = (numbers.next()??, numbers.next()??, numbers.next()??);
            let zone =
                zone.first().and_then(|zone| zone.parse::<i64>().ok()).filter(|zone| zone.abs() <= 1400).unwrap_or(0);
            Some(seconds_of(date, clock(time)?)? - 60 * (zone / 100 * 60 + zone % 100))
        }
        [_, month, day, time, year] => {
            let month = MONTHS.find(month)? as i64 / 3 + 1;
            seconds_of((year.parse().ok()?, month, day.parse().ok()?), clock(time)?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date("1970-01-02 00:00:01 +0000"), Some(86_401));
        assert_eq!(date("1970-01-02 02:30:01 +0230"), Some(86_401));
        assert_eq!(date("Fri Jan  2 00:00:01 1970"), Some(86_401));
        assert_eq!(date("unknown"), None);
    }
}
