//! aarch64 code without unwind tables: what a function's first instructions say about its frame.
//!
//! *What it is not*: it is no disassembler; it knows the handful of instructions that compilers build frames with.
//!
//! *Example*: `stp x29, x30, [sp, #-32]!; mov x29, sp` puts the caller's stack pointer 32 bytes above `x29`.
//!
//! *Trap*: the frame record lies at the *bottom* of a frame, so the frame pointer alone does not say where the caller's
//! stack pointer is. Without it, the caller's unwind rules (most count from `sp`) give nonsense.

use super::window::Window;

/// Instructions of a prologue that are looked at.
const PROLOGUE: usize = 48;
/// Instructions backwards in which a start is looked for.
const BACK: usize = 1024;

/// What the code up to `pc` has done to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prologue {
    /// Bytes from the stack pointer, as the code up to here left it, to the caller's.
    pub(super) depth: u64,
    /// Bytes from the frame record up to the caller's stack pointer, once it is written.
    pub(super) record: Option<u64>,
    /// Bytes from the frame pointer up to the caller's stack pointer, once it is set.
    pub(super) from_fp: Option<u64>,
    /// Whether the function's start is known, and not only guessed.
    pub(super) sure: bool,
}

const RET: u32 = 0xd65f_03c0;

/// Whether an instruction returns from a function.
pub(super) fn is_return(word: u32) -> bool {
    word == RET || matches!(word, 0xd65f_0bff | 0xd65f_0fff)
}

/// Reads the code from the function's start to `pc`; where the start is not known, from behind the last `ret`.
pub(super) fn analyse(memory: &Window<'_>, pc: u64, start: Option<u64>) -> Option<Prologue> {
    let word = |at: u64| {
        let mut bytes = [0; 4];
        memory.read(at, &mut bytes).ok()?;
        // Instructions are little-endian on either kind of machine.
        Some(u32::from_le_bytes(bytes))
    };
    let sure = start.is_some();
    let start = match start {
        Some(start) if start <= pc => start,
        Some(_) => return None,
        None => {
            let mut at = pc;
            (0..BACK)
                .find_map(|_| {
                    let before = at.checked_sub(4)?;
                    let found = is_return(word(before)?).then_some(at);
                    at = before;
                    found
                })
                .map(|mut at| {
                    // Between functions stand `nop`s and zeros.
                    while at < pc && matches!(word(at), Some(0xd503_201f | 0)) {
                        at += 4;
                    }
                    at
                })?
        }
    };
    let mut done = Prologue { depth: 0, record: None, from_fp: None, sure };
    for index in 0..PROLOGUE as u64 {
        let at = start.checked_add(index * 4)?;
        if at >= pc {
            break;
        }
        let word = word(at)?;
        let sp_base = word >> 5 & 31 == 31;
        // The scaled, signed offset of a pair.
        let pair = || (i64::from(word >> 15 & 0x7f) << 57 >> 57) * 8;
        match word {
            // stp x, y, [sp, #-n]!
            _ if word & 0xffc0_0000 == 0xa980_0000 && sp_base => {
                done.depth = done.depth.wrapping_add_signed(-pair());
                if word & 0x7c1f == 0x781d {
                    done.record = Some(done.depth);
                }
            }
            // stp x29, x30, [sp, #n]
            _ if word & 0xffc0_7fff == 0xa900_7bfd => {
                done.record = Some(done.depth.wrapping_add_signed(-pair()));
            }
            // str x, [sp, #-n]!
            _ if word & 0xffe0_0c00 == 0xf800_0c00 && sp_base => {
                let offset = i64::from(word >> 12 & 0x1ff) << 55 >> 55;
                done.depth = done.depth.wrapping_add_signed(-offset);
            }
            // sub sp, sp, #n
            _ if word & 0xff80_03ff == 0xd100_03ff => {
                let shift = if word >> 22 & 1 == 1 { 12 } else { 0 };
                done.depth = done.depth.wrapping_add(u64::from(word >> 10 & 0xfff) << shift);
            }
            // add x29, sp, #n, and as its form with 0, mov x29, sp
            _ if word & 0xff80_03ff == 0x9100_03fd => {
                done.from_fp = Some(done.depth.wrapping_sub(u64::from(word >> 10 & 0xfff)));
            }
            // A branch or a return ends what is sure to have run.
            _ if word >> 26 & 0x1f == 5 || word >> 24 == 0x54 || word >> 26 & 0x1f == 0xd || word >> 25 == 0x6b => {
                break;
            }
            _ => {}
        }
    }
    // Nonsense from code that is no prologue.
    if done.depth > 1 << 24 {
        return None;
    }
    Some(done)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bytes;
    use super::*;
    use afterimage_dump::Endian;

    fn look(words: &[u32], pc: usize, start: Option<usize>) -> Option<Prologue> {
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let memory = Bytes::new(&[(0x1000, &code)]);
        let at = |index: usize| 0x1000 + 4 * index as u64;
        analyse(&Window::new(&memory, Endian::Little), at(pc), start.map(at))
    }

    /// Encodings as the GNU assembler writes them.
    #[test]
    fn frames_of_compilers() {
        // gcc: stp x29, x30, [sp, #-48]!; mov x29, sp; str x0, [sp, #24]; nop
        let gcc = [0xa9bd_7bfd, 0x9100_03fd, 0xf900_0fe0, 0xd503_201f];
        let whole = Prologue { depth: 48, record: Some(48), from_fp: Some(48), sure: true };
        assert_eq!(look(&gcc, 3, Some(0)), Some(whole));
        assert_eq!(look(&gcc, 0, Some(0)), Some(Prologue { depth: 0, record: None, from_fp: None, sure: true }));
        assert_eq!(look(&gcc, 1, Some(0)), Some(Prologue { from_fp: None, ..whole }));
        // clang: sub sp, sp, #64; stp x29, x30, [sp, #48]; add x29, sp, #48
        let clang = [0xd101_03ff, 0xa903_7bfd, 0x9100_c3fd, 0xd503_201f];
        let wanted = Prologue { depth: 64, record: Some(16), from_fp: Some(16), sure: true };
        assert_eq!(look(&clang, 3, Some(0)), Some(wanted));
        // Without symbols: behind the return of the function before.
        let mut unknown = vec![0xd65f_03c0, 0xd503_201f];
        unknown.extend(clang);
        assert_eq!(look(&unknown, 5, None), Some(Prologue { sure: false, ..wanted }));
        assert_eq!(look(&clang, 3, None), None);
    }
}
