//! Says of two stacks of one thread whether ours is as good as a peer's.
//!
//! It runs nothing but `nm`, through [`Names`]. The rule: frames are walked from the inside out. What only we have
//! counts for us if the peer ended early, gives no inlined calls or no name, or shows what cannot be a frame, because no
//! code lies there. What only the peer has counts against us, and so does a frame of ours that lies where no code is,
//! or was only guessed and stands between the peer's. Where our stack is whole, by its tables or its chain of frame
//! pointers, guesses that the peer adds behind its end count for us. So does a caller that we have by unwind tables, where
//! the peer says itself that it had none and found another one without.
//!
//! Trap: a peer's frame that lies in code may still be false. No rule here says so; such a case needs a reason by name.

use super::frame::{Code, Frame, MOST, Stack};
use super::names::Names;

/// How one thread's stack compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same addresses and names.
    Agreed,
    /// All that the peer rightly shows, and more.
    Better(&'static str),
    /// Something is missing or wrong.
    Worse(String),
}

/// Functions that nothing called: a stack that goes on behind them goes too far.
const FIRST: &[&str] = &["_start", "clone", "__clone", "clone3", "__clone3", "__GI___clone3", "__GI___clone"];

/// Compares our stack with a peer's.
pub fn judge(ours: &Stack, theirs: &Stack, code: &Code, names: &Names) -> Verdict {
    let cut = |stack: &Stack| stack.frames.get(..MOST).unwrap_or(&stack.frames).to_vec();
    let (mine, other) = (cut(ours), cut(theirs));
    let ended = theirs.frames.len() <= MOST;
    let (mut i, mut j) = (0, 0);
    let mut better = None;
    while let Some(their) = other.get(j) {
        let Some(our) = mine.get(i) else {
            if ours.frames.len() > MOST {
                break;
            }
            if impossible(their, j, code) {
                better = better.or(Some("it shows frames where no code is"));
                j += 1;
                continue;
            }
            // Its own word for such a frame is that it found something like a return address there.
            if ours.whole && other.iter().skip(j).all(|frame| frame.guessed) {
                better = better.or(Some("it goes on by guesses where the stack ends"));
                break;
            }
            return Verdict::Worse(format!("we end before its frame {j}, {}", shown(their)));
        };
        let same_place = their.pc.is_none() || their.pc == our.pc;
        if same_place && names.agree(our, their, code) {
            if their.name.is_none() && our.name.is_some() && !their.signal {
                better = better.or(Some("it gives fewer names"));
            }
            i += 1;
            j += 1;
            continue;
        }
        // The functions of one frame stand behind each other, the outermost last.
        let next = mine.get(i + 1);
        if let Some(pc) = our.pc
            && next.and_then(|next| next.pc) == Some(pc)
            && same_place
            && our.name != next.and_then(|next| next.name.clone())
        {
            better = better.or(Some("it gives fewer inlined calls"));
            i += 1;
            continue;
        }
        if i > 0
            && mine.get(i - 1).is_some_and(|last| last.pc == our.pc)
            && other.get(j - 1).is_some_and(|last| last.pc == our.pc && last.name.is_none())
        {
            better = better.or(Some("it gives fewer names"));
            i += 1;
            continue;
        }
        if impossible(their, j, code) {
            better = better.or(Some("it shows frames where no code is"));
            j += 1;
            continue;
        }
        if same_place {
            return Verdict::Worse(format!("frame {i} is {}, its frame {j} {}", shown(our), shown(their)));
        }
        if our.by_tables && their.without_tables {
            return Verdict::Better("it guesses a caller that unwind tables give us");
        }
        match mine.iter().skip(i).position(|later| later.pc == their.pc) {
            Some(more) if mine.iter().skip(i).take(more).all(|frame| !frame.guessed && !impossible(frame, i, code)) => {
                better = better.or(Some("it leaves frames out"));
                i += more;
            }
            Some(_) => {
                return Verdict::Worse(format!("frame {i} is guessed, {}; its frame {j} {}", shown(our), shown(their)));
            }
            None => return Verdict::Worse(format!("frame {i} is {}, its frame {j} {}", shown(our), shown(their))),
        }
    }
    if ended && i < mine.len() {
        // The innermost frame may be in `clone3` of a thread that starts another one.
        let called = |last: &usize| *last > 0;
        let last = i.checked_sub(1).filter(called).and_then(|last| mine.get(last)?.name.as_deref());
        if last.is_some_and(|last| FIRST.contains(&last)) {
            return Verdict::Worse(format!("frame {i} lies behind {}", last.unwrap_or_default()));
        }
        if let Some(wrong) = (i..mine.len()).find(|&at| mine.get(at).is_some_and(|frame| impossible(frame, at, code))) {
            let frame = mine.get(wrong).map(shown).unwrap_or_default();
            return Verdict::Worse(format!("frame {wrong} lies where no code is: {frame}"));
        }
        better = better.or(Some(if other.is_empty() { "it shows nothing" } else { "it ends early" }));
    }
    better.map_or(Verdict::Agreed, Verdict::Better)
}

/// Whether a frame cannot be one. The innermost may be anywhere: a program can jump into nothing.
fn impossible(frame: &Frame, index: usize, code: &Code) -> bool {
    index > 0 && frame.pc.is_some_and(|pc| code.impossible(pc))
}

fn shown(frame: &Frame) -> String {
    let pc = frame.pc.map_or_else(|| "without address".to_owned(), |pc| format!("{pc:#x}"));
    format!("{pc} {}", if frame.signal { "<signal>" } else { frame.name.as_deref().unwrap_or("??") })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::single_range_in_vec_init, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn stack(frames: &[(u64, &str)]) -> Stack {
        let frames = frames.iter().map(|&(pc, name)| Frame {
            pc: Some(pc),
            name: (name != "??").then(|| name.to_owned()),
            ..Frame::default()
        });
        Stack { tid: 1, frames: frames.collect(), whole: true }
    }

    fn verdict(ours: &[(u64, &str)], theirs: &[(u64, &str)]) -> Verdict {
        let code = Code { executable: vec![0x1000..0x2000], complete: true, ..Code::default() };
        judge(&stack(ours), &stack(theirs), &code, &Names::default())
    }

    #[test]
    fn the_same_and_more() {
        let full = [(0x1010, "c"), (0x1020, "b"), (0x1030, "_start")];
        assert_eq!(verdict(&full, &full), Verdict::Agreed);
        assert_eq!(verdict(&full, &full[..2]), Verdict::Better("it ends early"));
        assert_eq!(
            verdict(&full, &[(0x1010, "c"), (0x1020, "??"), (0x1030, "_start")]),
            Verdict::Better("it gives fewer names")
        );
        let garbage = [(0x1010, "c"), (0x1020, "b"), (0x9000, "??"), (0x1030, "_start"), (1, "??")];
        assert_eq!(verdict(&full, &garbage), Verdict::Better("it shows frames where no code is"));
    }

    #[test]
    fn tables_against_guesses() {
        let found =
            |pc, by_tables, without_tables| Frame { pc: Some(pc), by_tables, without_tables, ..Frame::default() };
        let with = |frames: Vec<Frame>| Stack { tid: 1, frames, whole: false };
        let code = Code { executable: vec![0x1000..0x2000], complete: true, ..Code::default() };
        let judged = |ours, theirs| judge(&with(ours), &with(theirs), &code, &Names::default());
        let first = || found(0x1010, false, false);
        let sure = vec![first(), found(0x1020, true, false)];
        let guess = vec![first(), found(0x1030, false, true)];
        assert!(matches!(judged(sure.clone(), guess.clone()), Verdict::Better(_)));
        assert!(matches!(judged(guess.clone(), sure.clone()), Verdict::Worse(_)));
        // A peer that does not say how it found a frame is believed.
        assert!(matches!(judged(sure, vec![first(), found(0x1030, false, false)]), Verdict::Worse(_)));
        assert!(matches!(judged(guess, vec![first(), found(0x1040, false, true)]), Verdict::Worse(_)));
    }

    #[test]
    fn inlined_calls() {
        let ours = [(0x1010, "inner"), (0x1010, "c"), (0x1020, "b")];
        assert_eq!(verdict(&ours, &[(0x1010, "c"), (0x1020, "b")]), Verdict::Better("it gives fewer inlined calls"));
        assert_eq!(verdict(&ours, &[(0x1010, "??"), (0x1020, "b")]), Verdict::Better("it gives fewer names"));
        assert!(matches!(verdict(&[(0x1010, "c"), (0x1020, "b")], &ours), Verdict::Worse(_)));
        // A recursion has one address and one name many times.
        let deep = [(0x1010, "f"), (0x1010, "f"), (0x1010, "f")];
        assert_eq!(verdict(&deep, &deep), Verdict::Agreed);
        assert!(matches!(verdict(&deep[..2], &deep), Verdict::Worse(_)));
    }

    #[test]
    fn what_is_worse() {
        let full = [(0x1010, "c"), (0x1020, "b"), (0x1030, "_start")];
        for ours in [
            &full[..2],
            &[(0x1010, "c"), (0x1030, "_start")],
            &[(0x1010, "c"), (0x1024, "b"), (0x1030, "_start")],
            &[(0x1010, "c"), (0x1020, "other"), (0x1030, "_start")],
            &[(0x1010, "c"), (0x1020, "??"), (0x1030, "_start")],
            &[(0x1010, "c"), (0x1020, "b"), (0x1030, "_start"), (0x1040, "d")],
        ] {
            assert!(matches!(verdict(ours, &full), Verdict::Worse(_)), "{ours:?}");
        }
        assert!(matches!(verdict(&[(0x1010, "c"), (0x9000, "??")], &[(0x1010, "c")]), Verdict::Worse(_)));
    }
}
