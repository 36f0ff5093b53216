//! The kernel's log before 5.10: records of their own length in one buffer (`struct printk_log`, kernel/printk/printk.c of
//! 3.11 to 5.9).
//!
//! *Trap*: a record of length 0 is no end: the next one did not fit behind it and lies at the front.

use super::kernel::Linux;
use super::log::LogLine;
use afterimage_dump::system::vmcoreinfo::value;

/// Longest buffer (`CONFIG_LOG_BUF_SHIFT` is 25 at most).
const MAX_BUFFER: u64 = 64 << 20;

/// Where the members of a record are.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Bytes of the record's head; its text follows.
    head: usize,
    time: usize,
    length: usize,
    text_length: usize,
    /// Flags in five bits, level in three.
    level: usize,
}

impl Linux {
    /// The log of a kernel without the ring of 5.10.
    pub(super) fn old_log(&self) -> Result<Vec<LogLine>, String> {
        let shape = self.record_shape()?;
        let unreadable = || "the log's buffer cannot be read".to_owned();
        let buffer = self.symbol("log_buf").and_then(|at| self.word(at).ok_or_else(unreadable))?;
        let number = |name: &str| self.symbol(name).and_then(|at| self.number(at, 4).ok_or_else(unreadable));
        let len = number("log_buf_len")?;
        if len > MAX_BUFFER {
            return Err("the log's buffer claims an absurd size".into());
        }
        let (first, next) = (number("log_first_idx")?, number("log_next_idx")?);
        let bytes = self.bytes(buffer, len as usize);
        if bytes.is_empty() {
            return Err(unreadable());
        }
        Ok(records(&bytes, first as usize, next as usize, shape))
    }

    /// By the kernel's own types or, since kernels of that time seldom have them, by its VMCOREINFO.
    fn record_shape(&self) -> Result<Shape, String> {
        let told = |key: &str| value(self.vmcoreinfo.as_deref()?, key)?.parse::<u64>().ok();
        let offset = |member: &str| {
            let own = self.offset("printk_log", member);
            own.or_else(|why| told(&format!("OFFSET(printk_log.{member})")).ok_or(why)).map(|offset| offset as usize)
        };
        let head = self.size("printk_log").or_else(|why| told("SIZE(printk_log)").ok_or(why))?;
        let dict_length = offset("dict_len")?;
        Ok(Shape {
            head: head as usize,
            time: offset("ts_nsec")?,
            length: offset("len")?,
            text_length: offset("text_len")?,
            // Behind {u16 dict_len, u8 facility}; bit fields have no line in VMCOREINFO.
            level: dict_length + 3,
        })
    }
}

/// The records from `first` up to `next`, oldest first.
fn records(buffer: &[u8], first: usize, next: usize, shape: Shape) -> Vec<LogLine> {
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(*buffer.get(at..)?.first_chunk()?)));
    let mut lines = Vec::new();
    let mut at = first;
    let (mut wrapped, mut left) = (false, buffer.len());
    while at != next || lines.is_empty() && !wrapped && first == next && buffer.len() > shape.head {
        let Some(length) = short(at.saturating_add(shape.length)) else { break };
        if length == 0 {
            if wrapped {
                break;
            }
            (wrapped, at) = (true, 0);
            continue;
        }
        let (Some(less), true) = (left.checked_sub(length), length >= shape.head) else { break };
        left = less;
        let time =
            buffer.get(at + shape.time..).and_then(|rest| rest.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes));
        let text = short(at + shape.text_length).map(|len| len.min(length - shape.head));
        let text = text.and_then(|len| buffer.get(at + shape.head..at + shape.head + len));
        let level = buffer.get(at + shape.level);
        let (Some(time_ns), Some(text), Some(level)) = (time, text, level) else { break };
        lines.push(LogLine { time_ns, level: level >> 5, text: String::from_utf8_lossy(text).into_owned() });
        at += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

    use super::*;

    /// As in 5.4 with CONFIG_PRINTK_CALLER off: {u64 ts_nsec; u16 len, text_len, dict_len; u8 facility; u8 flags:5, level:3}.
    const SHAPE: Shape = Shape { head: 16, time: 0, length: 8, text_length: 10, level: 15 };

    fn record(time: u64, level: u8, text: &str) -> Vec<u8> {
        let mut bytes = time.to_le_bytes().to_vec();
        let len = (16 + text.len()).next_multiple_of(4);
        bytes.extend_from_slice(&(len as u16).to_le_bytes());
        bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[0, 0, 0, level << 5 | 3]);
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(len, 0);
        bytes
    }

    fn texts(lines: &[LogLine]) -> Vec<(u64, u8, &str)> {
        lines.iter().map(|line| (line.time_ns, line.level, line.text.as_str())).collect()
    }

    #[test]
    fn a_buffer_that_has_not_run_round() {
        let mut buffer =
            [record(5, 6, "Linux version 4.19"), record(1_000, 3, "a fault"), record(2_000, 4, "")].concat();
        let next = buffer.len();
        buffer.resize(1024, 0);
        let lines = records(&buffer, 0, next, SHAPE);
        assert_eq!(texts(&lines), [(5, 6, "Linux version 4.19"), (1_000, 3, "a fault"), (2_000, 4, "")]);
        assert!(records(&buffer[..0], 0, next, SHAPE).is_empty());
    }

    #[test]
    fn a_buffer_that_has_run_round() {
        let (newer, old) = (record(30, 6, "newest"), record(10, 6, "oldest"));
        let middle = record(20, 5, "in the middle");
        let mut buffer = newer.clone();
        buffer.resize(256, 0xee);
        let first = buffer.len();
        buffer.extend_from_slice(&old);
        buffer.extend_from_slice(&middle);
        // What did not fit here lies at the front.
        buffer.extend_from_slice(&[0; 20]);
        let lines = records(&buffer, first, newer.len(), SHAPE);
        assert_eq!(texts(&lines), [(10, 6, "oldest"), (20, 5, "in the middle"), (30, 6, "newest")]);
    }

    #[test]
    fn nonsense_ends() {
        let zeros = vec![0; 512];
        assert!(records(&zeros, 0, 8, SHAPE).is_empty());
        assert!(records(&zeros, usize::MAX, 8, SHAPE).is_empty());
        // Records that lead past the end, are shorter than their heads, or never meet the end.
        let mut far = record(1, 1, "x");
        far[8] = 0xff;
        far[9] = 0xff;
        assert!(records(&far, 0, 8, SHAPE).len() <= 1);
        let mut tiny = record(1, 1, "x");
        tiny[8] = 3;
        assert!(records(&tiny, 0, 8, SHAPE).is_empty());
        let round: Vec<u8> = record(1, 1, "xxxx").repeat(20);
        assert!(records(&round, 0, 3, SHAPE).len() <= 20);
    }
}
