//! A few lines of source around the faulting line, if the file lies here.

use std::path::Path;

/// A source file larger than this is not read.
const MAX_FILE: u64 = 8 << 20;
/// Lines shown before and after.
const AROUND: u32 = 2;

/// The lines around `line`: number and text. Empty if the file is not here or has no such line.
pub fn excerpt(file: &str, line: u32) -> Vec<(u32, String)> {
    let path = Path::new(file);
    let readable = path.is_absolute() && path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_FILE);
    if !readable || line == 0 {
        return Vec::new();
    }
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    if text.lines().count() < line as usize {
        return Vec::new();
    }
    let first = line.saturating_sub(AROUND).max(1);
    let lines = text.lines().skip(first as usize - 1).take((line + AROUND - first + 1) as usize);
    lines.zip(first..).map(|(text, number)| (number, text.replace('\t', "    "))).collect()
}
