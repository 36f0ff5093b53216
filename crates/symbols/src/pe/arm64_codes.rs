//! Unwind codes of arm64, as operations; and the ones that packed unwind data stands for.
//!
//! Facts: Microsoft's "ARM64 exception handling".
//!
//! Trap: codes stand in the order of undoing, so `save_next` comes *before* the pair that it continues.

/// What undoing one instruction of a prologue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// The stack pointer goes up.
    Alloc(u32),
    /// A register, or two, come back from the stack; then the stack pointer goes up (0: it stays).
    Load { first: u8, second: Option<u8>, at: u32, then: u32 },
    /// The same for registers that are not followed: only the stack pointer's way counts.
    LoadFloat { then: u32 },
    /// The stack pointer is the frame pointer less so many bytes.
    Frame(u32),
    /// Nothing.
    Nop,
    /// The next pair of the one that follows.
    Next,
    /// The link register is signed.
    Signed,
    /// The processor's or the kernel's frame of a trap: address and stack pointer.
    MachineFrame,
    /// A whole `CONTEXT` lies on the stack.
    Context,
    /// No more codes.
    End,
    /// What is not known here.
    Unknown(u8),
}

const FP: u8 = 29;
const LR: u8 = 30;

/// Decodes codes up to their end.
pub(super) fn decode(bytes: &[u8]) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut at = 0usize;
    while let Some(&first) = bytes.get(at) {
        let next = |n: usize| bytes.get(at + n).copied().map_or(0, u32::from);
        let b = u32::from(first);
        let two = b << 8 | next(1);
        let z6 = two & 0x3f;
        let int = |number: u32| (19 + number).min(30) as u8;
        let pair =
            |number: u32, at: u32, then: u32| Op::Load { first: int(number), second: Some(int(number + 1)), at, then };
        let (op, length) = match first {
            0x00..=0x1f => (Op::Alloc((b & 0x1f) * 16), 1),
            0x20..=0x3f => (pair(0, 0, (b & 0x1f) * 8), 1),
            0x40..=0x7f => (Op::Load { first: FP, second: Some(LR), at: (b & 0x3f) * 8, then: 0 }, 1),
            0x80..=0xbf => (Op::Load { first: FP, second: Some(LR), at: 0, then: ((b & 0x3f) + 1) * 8 }, 1),
            0xc0..=0xc7 => (Op::Alloc((two & 0x7ff) * 16), 2),
            0xc8..=0xcb => (pair(two >> 6 & 15, z6 * 8, 0), 2),
            0xcc..=0xcf => (pair(two >> 6 & 15, 0, (z6 + 1) * 8), 2),
            0xd0..=0xd3 => (Op::Load { first: int(two >> 6 & 15), second: None, at: z6 * 8, then: 0 }, 2),
            0xd4..=0xd5 => {
                (Op::Load { first: int(two >> 5 & 15), second: None, at: 0, then: ((two & 0x1f) + 1) * 8 }, 2)
            }
            0xd6..=0xd7 => (Op::Load { first: int(2 * (two >> 6 & 7)), second: Some(LR), at: z6 * 8, then: 0 }, 2),
            0xd8..=0xd9 => (Op::LoadFloat { then: 0 }, 2),
            0xda..=0xdb => (Op::LoadFloat { then: (z6 + 1) * 8 }, 2),
            0xdc..=0xdd => (Op::LoadFloat { then: 0 }, 2),
            0xde => (Op::LoadFloat { then: ((two & 0x1f) + 1) * 8 }, 2),
            0xe0 => (Op::Alloc((next(1) << 16 | next(2) << 8 | next(3)).saturating_mul(16)), 4),
            0xe1 => (Op::Frame(0), 1),
            0xe2 => (Op::Frame(next(1) * 8), 2),
            0xe3 => (Op::Nop, 1),
            0xe4 => {
                ops.push(Op::End);
                return ops;
            }
            // `end_c` ends the codes of a chained scope; the parent's go on behind it.
            0xe5 => (Op::Nop, 1),
            0xe6 => (Op::Next, 1),
            0xe7 => (any_register(next(1), next(2)), 3),
            0xe9 => (Op::MachineFrame, 1),
            0xea => (Op::Context, 1),
            0xec => (Op::Nop, 1),
            0xfc => (Op::Signed, 1),
            other => {
                ops.push(Op::Unknown(other));
                return ops;
            }
        };
        ops.push(op);
        at += length;
    }
    ops
}

/// `save_any_reg`: `0pxrrrrr mmoooooo`; p: a pair, x: pre-indexed, m: which kind of register.
fn any_register(second: u32, third: u32) -> Op {
    let (pair, moves, number) = (second & 0x40 != 0, second & 0x20 != 0, (second & 0x1f) as u8);
    let (kind, offset) = (third >> 6, third & 0x3f);
    let scale = if pair || moves || kind == 2 { 16 } else { 8 };
    let then = if moves { (offset + 1) * scale } else { 0 };
    match kind {
        0 if number <= 30 => Op::Load {
            first: number,
            second: pair.then(|| (number + 1).min(30)),
            at: if moves { 0 } else { offset * scale },
            then,
        },
        _ => Op::LoadFloat { then },
    }
}

/// The fields of packed unwind data (`.pdata` entries whose two low bits are not 0).
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    word: u32,
}

impl Packed {
    pub(super) fn new(word: u32) -> Self {
        Self { word }
    }

    /// Whether it has a prologue (flag 1) or is a fragment of a function without one (flag 2).
    pub(super) fn has_prologue(self) -> bool {
        self.word & 3 == 1
    }

    /// Bytes of code.
    pub(super) fn length(self) -> u32 {
        (self.word >> 2 & 0x7ff) * 4
    }

    /// The operations of undoing the prologue, and of an epilogue's, which has no frame pointer to set and no arguments
    /// to put away.
    pub(super) fn ops(self) -> (Vec<Op>, Vec<Op>) {
        let (floats, integers) = (self.word >> 13 & 7, (self.word >> 16 & 15).min(10));
        let (homes, chain) = (self.word >> 20 & 1 == 1, self.word >> 21 & 3);
        let frame = (self.word >> 23 & 0x1ff) * 16;
        let saves_lr = chain == 1;
        let integer_bytes = integers * 8 + if saves_lr { 8 } else { 0 };
        let float_bytes = if floats == 0 { 0 } else { floats * 8 + 8 };
        let saved = (integer_bytes + float_bytes + if homes { 64 } else { 0 }).next_multiple_of(16);
        let local = frame.saturating_sub(saved);
        // In the order of the prologue; turned round at the end. The first store makes the room.
        let mut ops = Vec::new();
        if chain == 2 {
            ops.push(Op::Signed);
        }
        let mut room = saved;
        let mut take = || std::mem::take(&mut room);
        let mut index = 0;
        while index < integers {
            let left = integers - index;
            let second = match left {
                1 => saves_lr.then_some(LR),
                _ => Some((19 + index + 1) as u8),
            };
            ops.push(Op::Load { first: (19 + index) as u8, second, at: index * 8, then: take() });
            index += 2;
        }
        if saves_lr && integers % 2 == 0 {
            ops.push(Op::Load { first: LR, second: None, at: integers * 8, then: take() });
        }
        let mut float = 0;
        while float_bytes > 0 && float <= floats {
            ops.push(Op::LoadFloat { then: take() });
            float += 2;
        }
        let homes_from = ops.len();
        if homes {
            ops.extend([Op::Nop; 4]);
            let then = take();
            if then > 0
                && let Some(slot) = ops.get_mut(homes_from)
            {
                *slot = Op::Alloc(then);
            }
        }
        if matches!(chain, 2 | 3) {
            if local <= 512 {
                ops.push(Op::Load { first: FP, second: Some(LR), at: 0, then: local });
            } else {
                allocate(&mut ops, local);
                ops.push(Op::Load { first: FP, second: Some(LR), at: 0, then: 0 });
            }
            ops.push(Op::Frame(0));
        } else if local > 0 {
            allocate(&mut ops, local);
        }
        ops.reverse();
        let epilogue =
            ops.iter().copied().filter(|op| !matches!(op, Op::Frame(_) | Op::Nop)).chain([Op::End]).collect();
        ops.push(Op::End);
        (ops, epilogue)
    }
}

/// `sub sp,sp,#n` takes 12 bits; more are two instructions.
fn allocate(ops: &mut Vec<Op>, bytes: u32) {
    if bytes <= 4080 {
        ops.push(Op::Alloc(bytes));
    } else {
        ops.extend([Op::Alloc(4080), Op::Alloc(bytes - 4080)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_documentation() {
        // Microsoft's example: set_fp, save_fplr_x, save_r19r20_x, end.
        let ops = decode(&[0xe1, 0x81, 0x22, 0xe4]);
        assert_eq!(
            ops,
            [
                Op::Frame(0),
                Op::Load { first: 29, second: Some(30), at: 0, then: 16 },
                Op::Load { first: 19, second: Some(20), at: 0, then: 16 },
                Op::End
            ]
        );
        assert_eq!(decode(&[0xd6, 0x42]), [Op::Load { first: 21, second: Some(30), at: 16, then: 0 }]);
        assert_eq!(decode(&[0xee]), [Op::Unknown(0xee)]);
        assert_eq!(decode(&[]), []);
    }

    #[test]
    fn packed_data_stands_for_codes() {
        // RegI = 2, CR = 3, a frame of 48 bytes: stp x19,x20,[sp,#-16]!; stp fp,lr,[sp,#-32]!; mov fp,sp.
        let word = 1 | 8 << 2 | 2 << 16 | 3 << 21 | 3 << 23;
        let (ops, epilogue) = Packed::new(word).ops();
        let pairs = [
            Op::Load { first: 29, second: Some(30), at: 0, then: 32 },
            Op::Load { first: 19, second: Some(20), at: 0, then: 16 },
            Op::End,
        ];
        assert_eq!(ops, [&[Op::Frame(0)][..], &pairs].concat());
        assert_eq!(epilogue, pairs);
        assert_eq!(Packed::new(word).length(), 32);
        for word in [u32::MAX, 0, 0xffff_fffd, 1 << 20 | 1] {
            let _ = Packed::new(word).ops();
        }
    }
}
