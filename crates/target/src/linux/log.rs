//! The kernel's log: the ring of records since 5.10; what was before it is read in `log_records`.
//!
//! *Trap*: a record that was being written is not complete. Only those that the kernel itself calls committed or finalised
//! are shown (kernel/printk/printk_ringbuffer.c).

use super::kernel::Linux;

/// Records at most.
const MOST: u64 = 1 << 20;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Nanoseconds since the start of the machine.
    pub time_ns: u64,
    /// Level, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Text.
    pub text: String,
}

impl Linux {
    /// The log, oldest line first.
    ///
    /// # Errors
    /// What is missing to read it.
    pub fn log(&self) -> Result<Vec<LogLine>, String> {
        self.log_and_lost().map(|(lines, _)| lines)
    }

    /// The same, and how many more lines there were whose text is not in the dump.
    ///
    /// # Errors
    /// What is missing to read it.
    pub fn log_and_lost(&self) -> Result<(Vec<LogLine>, u64), String> {
        let ring = match self.symbol("prb") {
            Ok(ring) => ring,
            Err(_) if self.symbols.address("log_first_idx").is_some() => return Ok((self.old_log()?, 0)),
            Err(why) => return Err(why),
        };
        let ring = self.word(ring).ok_or("the log's ring cannot be read")?;
        let unreadable = || "the log's ring cannot be read".to_owned();
        let desc_ring = ring.wrapping_add(self.offset("printk_ringbuffer", "desc_ring")?);
        let data_ring = ring.wrapping_add(self.offset("printk_ringbuffer", "text_data_ring")?);
        let read = |at: u64, structure: &str, member: &str| -> Result<u64, String> {
            self.word(at.wrapping_add(self.offset(structure, member)?)).ok_or_else(unreadable)
        };
        let bits = |at: u64, structure: &str, member: &str| -> Result<u64, String> {
            let bits = self.number(at.wrapping_add(self.offset(structure, member)?), 4).ok_or_else(unreadable)?;
            if bits <= 40 { Ok(bits) } else { Err("the log's ring claims an absurd size".into()) }
        };
        let count_bits = bits(desc_ring, "prb_desc_ring", "count_bits")?;
        let descs = read(desc_ring, "prb_desc_ring", "descs")?;
        let infos = read(desc_ring, "prb_desc_ring", "infos")?;
        let head = read(desc_ring, "prb_desc_ring", "head_id.counter")
            .or_else(|_| read(desc_ring, "prb_desc_ring", "head_id"))?;
        let tail = read(desc_ring, "prb_desc_ring", "tail_id.counter")
            .or_else(|_| read(desc_ring, "prb_desc_ring", "tail_id"))?;
        let size_bits = bits(data_ring, "prb_data_ring", "size_bits")?;
        let data = read(data_ring, "prb_data_ring", "data")?;
        let (desc_size, info_size) = (self.size("prb_desc")?, self.size("printk_info")?);
        let state_at =
            self.offset("prb_desc", "state_var.counter").or_else(|_| self.offset("prb_desc", "state_var"))?;
        let begin_at = self.offset("prb_desc", "text_blk_lpos.begin")?;
        let next_at = self.offset("prb_desc", "text_blk_lpos.next")?;
        let [seconds, length, level] = [
            self.offset("printk_info", "ts_nsec")?,
            self.offset("printk_info", "text_len")?,
            self.offset("printk_info", "level")?,
        ];
        const ID: u64 = (1 << 62) - 1;
        let (mut lines, mut lost) = (Vec::new(), 0);
        let mut texts = 0u64;
        let mut id = tail & ID;
        let last = head & ID;
        for _ in 0..MOST.min((1 << count_bits) + 1) {
            let slot = id & ((1 << count_bits) - 1);
            let desc = descs.wrapping_add(slot.wrapping_mul(desc_size));
            let info = infos.wrapping_add(slot.wrapping_mul(info_size));
            if let Some(state) = self.word(desc.wrapping_add(state_at)) {
                let committed = state & ID == id && matches!(state >> 62, 1 | 2);
                let record = || self.record(desc, [begin_at, next_at], data, size_bits, info.wrapping_add(length));
                let text = if committed { record() } else { None };
                lost += u64::from(text == Some(None));
                if let Some(Some(text)) = text {
                    // Level and flags share a byte: 3 bits of level behind 5 of flags.
                    texts = texts.saturating_add(text.len() as u64);
                    let level = self.number(info.wrapping_add(level), 1).unwrap_or(0) >> 5 & 7;
                    lines.push(LogLine {
                        time_ns: self.word(info.wrapping_add(seconds)).unwrap_or(0),
                        level: level as u8,
                        text,
                    });
                }
            }
            // Texts share no bytes of the ring: what says otherwise is damaged.
            if id == last || texts > 1 << size_bits {
                break;
            }
            id = (id + 1) & ID;
        }
        Ok((lines, lost))
    }

    /// The text of a record; `Some(None)` if it is not in the dump.
    fn record(
        &self,
        desc: u64,
        [begin, next]: [u64; 2],
        data: u64,
        size_bits: u64,
        length: u64,
    ) -> Option<Option<String>> {
        let (begin, next) = (self.word(desc.wrapping_add(begin))?, self.word(desc.wrapping_add(next))?);
        let size = 1u64 << size_bits;
        if begin & 1 == 1 {
            return Some(Some(String::new()));
        }
        let (from, to) = (begin % size, next % size);
        // A block that did not fit behind begins anew at the front.
        let start = if from > to && to > 0 { 0 } else { from };
        let len = self.number(length, 2)?;
        let most = if from > to { to } else { to - from };
        let len = len.min(most.saturating_sub(8));
        let bytes = self.bytes(data.wrapping_add(start + 8), len as usize);
        let there = len == 0 || !bytes.is_empty();
        Some(there.then(|| String::from_utf8_lossy(&bytes).into_owned()))
    }
}
