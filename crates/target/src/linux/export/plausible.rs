//! Whether a variable can be of the type that its name suggests.
//!
//! *What it is*: what holds for any kernel: a variable fits before the next symbol; pointers are null or lead to the
//! kernel's half; rings lead back to where they began.
//!
//! *Trap*: `__percpu` pointers of x86 are small or odd numbers and look like nothing, so one odd pointer proves nothing.

use super::types::{Type, Types};
use crate::linux::Linux;
use afterimage_symbols::kernel::BtfKind;

/// Pointers that are looked at in one structure.
const MOST: usize = 64;
/// Elements of an array at most.
const MOST_ELEMENTS: u64 = 1 << 16;

/// A type as the table of known names writes it.
pub(super) enum Known {
    /// One of the kernel's.
    Type(Type),
    /// What a pointer leads to where nobody says it.
    Void,
    /// A pointer.
    Pointer(Box<Known>),
    /// An array.
    Array(Box<Known>, u64),
}

impl Known {
    /// Reads an expression; an array is as long as `room` allows. `None` if the kernel has no such type.
    pub(super) fn parse(expression: &str, types: &Types, room: u64) -> Option<Self> {
        if let Some(to) = expression.strip_prefix('*') {
            return Some(Self::Pointer(Box::new(Self::parse(to, types, 0)?)));
        }
        if let Some(element) = expression.strip_prefix("[]") {
            let element = Self::parse(element, types, 0)?;
            let count = room.checked_div(element.size(types)?)?;
            return (1..=MOST_ELEMENTS).contains(&count).then(|| Self::Array(Box::new(element), count));
        }
        if let Some(members) = expression.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let members: Vec<&str> = members.split(',').collect();
            return types.with_members(&members).map(Self::Type);
        }
        if expression == "void" {
            return Some(Self::Void);
        }
        types.named(expression).map(Self::Type)
    }

    /// Its bytes.
    pub(super) fn size(&self, types: &Types) -> Option<u64> {
        match self {
            Self::Type(of) => types.size(*of),
            Self::Void => None,
            Self::Pointer(_) => Some(8),
            Self::Array(element, count) => element.size(types)?.checked_mul(*count),
        }
    }
}

impl Linux {
    /// Why a variable with `room` bytes at `at` cannot be of a type. With `strict`, no pointer may be odd.
    pub(super) fn implausible(&self, types: &Types, known: &Known, at: u64, room: u64, strict: bool) -> Option<String> {
        let Some(size) = known.size(types).filter(|size| *size > 0) else { return Some("it has no size".into()) };
        if size > room {
            return Some(format!("it takes {size} bytes and there is room for {room}"));
        }
        let (mut odd, mut all) = (0, 0);
        match known {
            Known::Pointer(_) => {
                all = 1;
                odd = usize::from(self.odd(at));
            }
            Known::Array(element, count) if matches!(**element, Known::Pointer(_)) => {
                for index in 0..(*count).min(MOST as u64) {
                    all += 1;
                    odd += usize::from(self.odd(at.wrapping_add(8 * index)));
                }
            }
            Known::Array(element, _) => return self.implausible(types, element, at, room, strict),
            Known::Type(of) => {
                let (of, _) = types.resolved(*of)?;
                if let Some(why) = self.broken_ring(types, of, at) {
                    return Some(why);
                }
                for (_, member) in types.members(of).into_iter().take(4 * MOST) {
                    let kind = types.resolved(Type { id: member.type_id, ..of }).map(|(_, kind)| kind);
                    if member.bits == 0 && all < MOST && matches!(kind, Some(BtfKind::Pointer(_))) {
                        all += 1;
                        odd += usize::from(self.odd(at.wrapping_add(member.offset())));
                    }
                }
            }
            Known::Void => {}
        }
        let bound = if strict { 0 } else { all / 4 };
        (odd > bound).then(|| format!("{odd} of {all} pointers lead nowhere"))
    }

    /// Whether a word that should be a pointer leads out of the kernel's half. What is not in the dump is not odd.
    fn odd(&self, at: u64) -> bool {
        self.word(at).is_some_and(|to| to != 0 && to >> 47 != 0x1_ffff && to >> 56 != 0xff)
    }

    /// Whether a `list_head` does not lead back.
    fn broken_ring(&self, types: &Types, of: Type, at: u64) -> Option<String> {
        if types.named("list_head").and_then(|ring| types.resolved(ring)).map(|(ring, _)| ring) != Some(of) {
            return None;
        }
        let next = self.pointer(at, "list_head", "next")?;
        let previous = self.pointer(at, "list_head", "prev")?;
        if next == 0 && previous == 0 {
            // Not in use yet.
            return None;
        }
        let back = |place: u64, member: &str| self.pointer(place, "list_head", member).is_none_or(|to| to == at);
        let whole = back(next, "prev") && back(previous, "next");
        (!whole).then(|| "its neighbours do not lead back to it".into())
    }
}
