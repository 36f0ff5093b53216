//! The image that `bench images` works on: 4 GiB of real memory, as an ELF core that makedumpfile takes.
//!
//! *What it is*: a real machine's 256 MiB (from `../shared/vmcores`), then copies of them above 4 GiB, in each of which
//! every page that is not zero differs in its first word, so that nothing is the same page twice.
//!
//! *Trap*: makedumpfile wants a VMCOREINFO and memory where it says; both are the first copy's.

use anyhow::{Context, bail};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const GIB: u64 = 1 << 30;
const COPIES_AT: u64 = 4 * GIB;

struct Load {
    offset: u64,
    start: u64,
    size: u64,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Makes the image; gives the bytes of memory in it.
pub(super) fn make(program: &Path, packed: &Path, folder: &Path, to: &Path, size: u64) -> anyhow::Result<u64> {
    let small = folder.join("small.elf");
    let mut convert = Command::new(program);
    convert.args(["--quiet", "convert", "--format", "elf", "--force"]).arg(packed).arg("-o").arg(&small);
    crate::tools::run_with(&mut convert)?;
    let file = File::open(&small)?;
    let mut head = vec![0; 64 << 10];
    let got = file.read_at(&mut head, 0)?;
    head.truncate(got);
    let count = usize::from(head[56]) | usize::from(head[57]) << 8;
    let (mut notes, mut loads) = (Vec::new(), Vec::new());
    for index in 0..count {
        let at = 64 + 56 * index;
        let (offset, start, held) = (word(&head, at + 8), word(&head, at + 24), word(&head, at + 32));
        match head[at] {
            4 => {
                notes = vec![0; held as usize];
                file.read_exact_at(&mut notes, offset)?;
            }
            _ => loads.push(Load { offset, start, size: held }),
        }
    }
    let low = loads.iter().filter(|load| load.start < GIB).map(|load| load.start + load.size).max();
    let unit = low.context("no memory below 1 GiB")?.next_multiple_of(1 << 20);
    // The runs of each copy, with the number that changes its pages; 0 is the original.
    let mut runs: Vec<(u64, &Load, u64)> = loads.iter().map(|load| (load.start, load, 0)).collect();
    let mut total: u64 = loads.iter().map(|load| load.size).sum();
    let mut copy = 1;
    while total < size {
        for load in loads.iter().filter(|load| load.start < GIB) {
            runs.push((COPIES_AT + (copy - 1) * unit + load.start, load, copy));
            total += load.size;
        }
        copy += 1;
    }
    if runs.len() > 60_000 {
        bail!("{} runs of memory do not fit the header", runs.len());
    }
    let mut out = BufWriter::with_capacity(1 << 20, File::create(to)?);
    let notes_at = 64 + 56 * (runs.len() as u64 + 1);
    let data_at = (notes_at + notes.len() as u64).next_multiple_of(4096);
    let mut header = head[..64].to_vec();
    header[56..58].copy_from_slice(&(runs.len() as u16 + 1).to_le_bytes());
    let mut entry = |kind: u32, [offset, paddr, size]: [u64; 3]| {
        header.extend_from_slice(&kind.to_le_bytes());
        header.extend_from_slice(&7u32.to_le_bytes());
        for value in [offset, 0, paddr, size, size, 0] {
            header.extend_from_slice(&value.to_le_bytes());
        }
    };
    entry(4, [notes_at, 0, notes.len() as u64]);
    let mut offset = data_at;
    for (start, load, _) in &runs {
        entry(1, [offset, *start, load.size]);
        offset += load.size;
    }
    header.extend_from_slice(&notes);
    header.resize(data_at as usize, 0);
    out.write_all(&header)?;
    let mut block = vec![0; 1 << 20];
    for (_, load, copy) in &runs {
        let mut done = 0;
        while done < load.size {
            let len = (load.size - done).min(block.len() as u64) as usize;
            let part = &mut block[..len];
            file.read_exact_at(part, load.offset + done)?;
            if *copy > 0 {
                for page in part.chunks_mut(4096).filter(|page| page.iter().any(|&byte| byte != 0)) {
                    for (byte, change) in page.iter_mut().zip(copy.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()) {
                        *byte ^= change;
                    }
                }
            }
            out.write_all(part)?;
            done += len as u64;
        }
    }
    out.flush()?;
    drop(out);
    std::fs::remove_file(small)?;
    Ok(total)
}
