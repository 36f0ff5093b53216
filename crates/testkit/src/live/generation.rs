//! Whether a picture of `generation` is of one instant.
//!
//! `programs/live/generation.c` says what holds at any instant; here each of it is looked at, and what does not hold is
//! said in a line. For example "private page 812 of 8192 holds generation 97, 97; at position 98:3002 it must be 98".
//!
//! *Trap*: the rules are exact because the writer is one loop in assembly; they would not hold for compiled code.

use super::core::Core;
use serde_json::Value;

/// What a picture can be asked.
pub trait Picture {
    /// Reads memory; false if any of it is missing.
    fn read(&self, at: u64, into: &mut [u8]) -> bool;
    /// `r12` and the low half of `xmm7` of a thread; none if the picture has no registers.
    fn registers(&self, tid: u32) -> Option<(u64, u64)>;
}

impl Picture for Core {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        self.read_at(at, into)
    }

    fn registers(&self, tid: u32) -> Option<(u64, u64)> {
        let thread = self.threads().into_iter().find(|thread| thread.tid == tid)?;
        // FXSAVE: xmm0 at 160, 16 bytes each.
        let xmm7 = thread.floating.get(272..280)?.try_into().ok().map(u64::from_le_bytes)?;
        Some((thread.register("r12")?, xmm7))
    }
}

struct Region {
    name: String,
    start: u64,
    pages: u64,
    bytes: Vec<u8>,
}

const PAGE: usize = 4096;
/// Faults of one kind that are said; a torn picture has thousands.
const SAID: usize = 5;

/// What is wrong with a picture of the program that said `ready`; nothing if it is of one instant.
#[must_use]
pub fn one_instant(ready: &Value, picture: &dyn Picture) -> Vec<String> {
    look(ready, picture).unwrap_or_else(|missing| vec![missing])
}

fn look(ready: &Value, picture: &dyn Picture) -> Result<Vec<String>, String> {
    let number = |name: &str| ready.get(name).and_then(Value::as_u64).ok_or(format!("the program said no {name}"));
    let word = |name: &str| -> Result<u64, String> {
        let mut bytes = [0; 8];
        let at = number(name)?;
        if picture.read(at, &mut bytes) {
            Ok(u64::from_le_bytes(bytes))
        } else {
            Err(format!("{name} at {at:#x} is missing"))
        }
    };
    let mut regions = Vec::new();
    for region in ready.get("regions").and_then(Value::as_array).into_iter().flatten() {
        let get = |name: &str| region.get(name).and_then(Value::as_u64).unwrap_or(0);
        let name = region.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut bytes = vec![0; usize::try_from(get("length")).map_err(|error| error.to_string())?];
        if !picture.read(get("start"), &mut bytes) {
            return Err(format!("region {name} is missing, or a part of it"));
        }
        regions.push(Region { name, start: get("start"), pages: get("length") / PAGE as u64, bytes });
    }
    let total: u64 = regions.iter().map(|region| region.pages).sum();
    if total == 0 {
        return Err("the program said no regions".to_owned());
    }

    let position = word("position")?;
    let (generation, index) = (position >> 32, position & 0xffff_ffff);
    let shown = |position: u64| format!("{}:{}", position >> 32, position & 0xffff_ffff);
    let mut faults = Vec::new();
    if index >= total || generation < 2 {
        return Err(format!("position {} is none", shown(position)));
    }
    let next = if index + 1 == total { (generation + 1) << 32 } else { position + 1 };
    let previous = if index == 0 { (generation - 1) << 32 | (total - 1) } else { position - 1 };
    let local = word("local")?;
    if local != position && local != previous {
        faults.push(format!("the thread-local position is {}, and the position {}", shown(local), shown(position)));
    }
    let tid = u32::try_from(number("writer")?).map_err(|error| error.to_string())?;
    match picture.registers(tid) {
        Some((r12, xmm7)) => {
            if r12 != position && r12 != next {
                faults.push(format!("register r12 is {}, and the position {}", shown(r12), shown(position)));
            }
            if xmm7 != position && xmm7 != previous {
                faults.push(format!("register xmm7 is {}, and the position {}", shown(xmm7), shown(position)));
            }
        }
        None => faults.push(format!("thread {tid} has no registers")),
    }
    faults.extend(pages(&regions, generation, index, total));
    faults.extend(watched(ready, picture, position)?);
    Ok(faults)
}

/// Goes through the pages in the order in which they are stamped.
fn pages(regions: &[Region], generation: u64, index: u64, total: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let mut wrong = 0;
    let mut at = 0;
    let largest = regions.iter().map(|region| region.pages).max().unwrap_or(0);
    for round in 0..largest {
        for region in regions.iter().filter(|region| round < region.pages) {
            let begin = usize::try_from(round).unwrap_or(usize::MAX).saturating_mul(PAGE);
            let word = |offset: usize| {
                let piece = region.bytes.get(begin + offset..begin + offset + 8);
                piece.and_then(|piece| piece.try_into().ok()).map_or(0, u64::from_le_bytes)
            };
            let (first, own, last) = (word(0), word(8), word(PAGE - 8));
            let fits = match at.cmp(&index) {
                std::cmp::Ordering::Less => (first, last) == (generation, generation),
                std::cmp::Ordering::Greater => (first, last) == (generation - 1, generation - 1),
                // The first word is written first.
                std::cmp::Ordering::Equal => {
                    (last == generation - 1 && (first == generation || first == generation - 1))
                        || (last == generation && first == generation)
                }
            };
            if !fits || own != at {
                wrong += 1;
                if wrong <= SAID {
                    faults.push(format!(
                        "{} page {round} of {} at {:#x} holds generation {first}, {last} and index {own}; its index is \
                         {at}, and the position {generation}:{index}",
                        region.name,
                        region.pages,
                        region.start + round * PAGE as u64
                    ));
                }
            }
            at += 1;
        }
    }
    if wrong > SAID {
        faults.push(format!("… and {} more of {total} pages", wrong - SAID));
    }
    faults
}

/// What the other thread has seen: nothing that is still to come, and in order.
fn watched(ready: &Value, picture: &dyn Picture, position: u64) -> Result<Vec<String>, String> {
    let number = |name: &str| ready.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut bytes = vec![0; usize::try_from(number("watch_length")).map_err(|error| error.to_string())?];
    if !picture.read(number("watch"), &mut bytes) {
        return Err("the watcher's pages are missing".to_owned());
    }
    let line = |piece: &[u8]| piece.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let seen: Vec<u64> = bytes.chunks_exact(64).map(line).filter(|seen| *seen != 0).collect();
    let mut faults = Vec::new();
    let later = seen.iter().filter(|seen| **seen > position).count();
    if later > 0 {
        faults.push(format!("the watcher has seen {later} positions that are still to come"));
    }
    let back = seen.windows(2).filter(|pair| pair.first() > pair.last()).count();
    if back > 1 {
        faults.push(format!("the watcher's notes go back {back} times"));
    }
    Ok(faults)
}
