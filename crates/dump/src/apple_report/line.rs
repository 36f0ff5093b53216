//! Single lines of text reports: a frame, an image, a thread's registers.
//!
//! *What it is not*: which section a line stands in; `text` and `sample` know that.
//!
//! *Example*: `3   multithread-test   0x100ec5b3c main + 160 (multithread-test.cpp:31)`.
//!
//! *Trap*: names of images have blanks in them, and names of C++ functions have blanks, brackets and plus signs: a line is
//! read from its address outwards, and from its end inwards.

use super::report::ReportedFrame;
use super::words;
use crate::ModuleRecord;

/// Where a word `0x…` that is an address begins and ends in a line.
fn address(text: &str) -> Option<(usize, usize, u64)> {
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find("0x") {
        let start = from + found;
        let before = text.get(..start)?.chars().next_back();
        let (value, rest) = match words::leading_number(text.get(start..)?) {
            Some(found) => found,
            None => {
                from = start + 2;
                continue;
            }
        };
        let clear = rest.chars().next().is_none_or(char::is_whitespace);
        if clear && before.is_none_or(char::is_whitespace) {
            return Some((start, text.len() - rest.len(), value));
        }
        from = start + 2;
    }
    None
}

/// A line of a stack: number, image, address, and what is known of the place.
pub(super) fn frame(line: &str) -> Option<(u64, ReportedFrame)> {
    let (number, rest) = words::leading_number(line)?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let (start, end, at) = address(rest)?;
    let image = rest.get(..start)?.trim();
    let mut frame = ReportedFrame { address: at, ..ReportedFrame::default() };
    frame.image = (!image.is_empty() && image != "???").then(|| image.to_owned());
    place(&mut frame, rest.get(end..)?.trim());
    Some((number, frame))
}

/// What stands behind the address: `base + offset`, or a name with its offset, image and source line.
pub(super) fn place(frame: &mut ReportedFrame, text: &str) {
    let text = text.strip_prefix("load address ").unwrap_or(text).trim();
    if let Some((base, rest)) = words::leading_number(text)
        && text.starts_with("0x")
        && let Some((offset, _)) = rest.trim_start().strip_prefix('+').and_then(words::leading_number)
    {
        if base != 0 {
            frame.image_offset = Some(offset);
        }
        return;
    }
    let mut name = text;
    if let Some((before, file, line)) = source(name) {
        frame.file = Some(file.to_owned());
        frame.line = (line != 0).then_some(line);
        name = before.trim_end();
    }
    if let Some((before, offset)) = offset(name) {
        frame.symbol_offset = Some(offset);
        name = before;
    }
    // `atos` and `sample` name the image once more.
    if let Some(open) = name.rfind("(in ").filter(|_| name.ends_with(')')) {
        let image = name.get(open + 4..name.len() - 1).unwrap_or("").trim();
        if frame.image.is_none() && !image.is_empty() {
            frame.image = Some(image.to_owned());
        }
        name = name.get(..open).unwrap_or(name).trim_end();
    }
    if !(name.is_empty() || name == "???") {
        frame.symbol = Some(name.to_owned());
    }
}

/// `… (file.c:12)` at the end.
fn source(text: &str) -> Option<(&str, &str, u32)> {
    let inside = text.strip_suffix(')')?;
    let open = inside.rfind('(')?;
    let (file, line) = inside.get(open + 1..)?.rsplit_once(':')?;
    let line = line.parse().ok()?;
    (!file.is_empty()).then_some((inside.get(..open)?, file, line))
}

/// `… + 12` at the end.
fn offset(text: &str) -> Option<(&str, u64)> {
    let (before, digits) = text.rsplit_once(" + ")?;
    let (value, rest) = words::leading_number(digits)?;
    rest.trim().is_empty().then_some((before.trim_end(), value))
}

/// A line of `Binary Images:`.
///
/// Folklore: reports of iOS have `NAME ARCH  <32 digits> PATH`, of macOS `+NAME (VERSION) <UUID> PATH`, of other writers
/// all of that; the plus marks what is not Apple's.
pub(super) fn image(line: &str) -> Option<ModuleRecord> {
    let (base, rest) = words::leading_number(line).filter(|_| line.trim_start().starts_with("0x"))?;
    let rest = rest.trim_start().strip_prefix('-')?;
    let (last, rest) = words::leading_number(rest)?;
    let rest = rest.trim();
    let (before, id, path) = match rest.find('<') {
        Some(open) => {
            let close = open + rest.get(open..)?.find('>')?;
            (rest.get(..open)?, words::uuid(rest.get(open + 1..close)?), rest.get(close + 1..)?.trim())
        }
        None => match rest.find(" /") {
            Some(at) => (rest.get(..at)?, None, rest.get(at + 1..)?.trim()),
            None => (rest, None, ""),
        },
    };
    let mut name = before.trim().trim_start_matches('+').trim_start();
    let mut version = None;
    if let Some(open) = name.rfind('(').filter(|_| name.ends_with(')')) {
        let text = name.get(open + 1..name.len() - 1)?.trim();
        version = (!matches!(text, "*" | "???" | "")).then(|| text.to_owned());
        name = name.get(..open)?.trim_end();
    }
    if let Some((rest, _)) = name.rsplit_once(' ').filter(|(_, word)| words::is_arch(word)) {
        name = rest.trim_end();
    }
    if name == "???" && id.is_none() {
        return None;
    }
    let path = if path.is_empty() || path == "???" { name } else { path };
    Some(ModuleRecord {
        base,
        end: last.checked_add(1)?,
        path: path.to_owned(),
        build_id: id,
        version,
        ..ModuleRecord::default()
    })
}

/// The processor that a line of `Binary Images:` names.
pub(super) fn image_arch(line: &str) -> Option<crate::Arch> {
    let before = line.split('<').next()?;
    before.split_whitespace().filter(|word| words::is_arch(word)).find_map(words::arch)
}

/// `name: 0x…` pairs of a thread's state; empty if the line is something else.
pub(super) fn registers(line: &str) -> Vec<(String, u64)> {
    let mut out = Vec::new();
    let mut words_of = line.split_whitespace();
    while let (Some(name), Some(value)) = (words_of.next(), words_of.next()) {
        let value = value.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let (Some(name), Some(value)) = (name.strip_suffix(':'), value) else { break };
        out.push((name.to_owned(), value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let (number, found) =
            frame("3   multithread-test              \t       0x100ec5b3c main + 160 (multithread-test.cpp:31)")
                .unwrap();
        assert_eq!((number, found.address, found.symbol.as_deref()), (3, 0x1_00ec_5b3c, Some("main")));
        assert_eq!(
            (found.symbol_offset, found.file.as_deref(), found.line),
            (Some(160), Some("multithread-test.cpp"), Some(31))
        );
        let (_, found) = frame("0   My App \t 0x10e311e45 0x10e30e000 + 15941").unwrap();
        assert_eq!((found.image.as_deref(), found.image_offset, found.symbol), (Some("My App"), Some(15941), None));
        let (_, found) = frame("9   x \t 0x1 std::a<b>& std::endl<char>(std::c&) + 64 (ostream:994)").unwrap();
        assert_eq!(found.symbol.as_deref(), Some("std::a<b>& std::endl<char>(std::c&)"));
        let (_, found) = frame("2   App \t 0x1007da4bc a.b() (in App) (<compiler-generated>:0)").unwrap();
        assert_eq!((found.symbol.as_deref(), found.line), (Some("a.b()"), None));
        let (_, found) = frame("2   ???                                 0x0000000054485244 0x0 + 0").unwrap();
        assert_eq!((found.address, found.image, found.image_offset), (0x5448_5244, None, None));
        assert_eq!(frame("1   a.out                         \t@bar@"), None);
        assert_eq!(frame("Thread 1:"), None);
    }

    #[test]
    fn images() {
        let found = image(
            "       0x10e30e000 -        0x10e311fff CrashingTest (*) <01d2a9d5-1f8a-35c8-9228-7c7cca13c5fc> /U/*/C",
        )
        .unwrap();
        assert_eq!(
            (found.base, found.end, found.path.as_str(), found.version),
            (0x1_0e30_e000, 0x1_0e31_2000, "/U/*/C", None)
        );
        let found =
            image("0x10007c000 - 0x100083fff kaki arm64  <5fd6c4ca55493855959fbe077158c67a> /var/kaki").unwrap();
        assert_eq!(found.build_id.unwrap().first(), Some(&0x5f));
        let found =
            image("0x1 - 0x2 +My App x86_64 (400.9.4 - 1.0.0) <2d903291397d3d14bfca52c7fb8c5e00> /a b/My App").unwrap();
        assert_eq!((found.path.as_str(), found.version.as_deref()), ("/a b/My App", Some("400.9.4 - 1.0.0")));
        assert!(
            image("               0x0 - 0xffffffffffffffff ??? (*) <00000000-0000-0000-0000-000000000000> ???")
                .is_none()
        );
    }

    #[test]
    fn states() {
        let found = registers("  rip: 0x000000010e311e45  rfl: 0x0000000000010206  cr2: 0x0000000000000001");
        assert_eq!(found.len(), 3);
        assert_eq!(registers("   esr: 0x56000080  Address size fault").len(), 1);
        assert!(registers("Logical CPU:     2").is_empty());
    }
}
