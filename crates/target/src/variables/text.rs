//! Values as one line of text: `5`, `0x7f… -> "text"`, `{next = 0x…, count = 2}`.
//!
//! *What it is not*: a whole view of a value. Structures within structures, long arrays and long texts are cut, with `…`.
//!
//! *Trap*: one member of a structure may be missing while the others are there: it says so in its place.

use super::scalars::{TEXT, character, enumerated, float, quoted, signed};
use afterimage_dump::{Endian, Memory, MemoryExt, Virt};
use afterimage_symbols::{Content, Member, Missing, Pointee, Shape, Type, Variants};

/// Characters of one value.
const LONGEST: usize = 400;
/// Structures within each other that are shown.
const DEEPEST: usize = 3;
/// Members of a structure that are shown.
const MOST_MEMBERS: usize = 24;
/// Elements of an array that are looked at.
const MOST_ELEMENTS: u64 = 200;
/// Elements of an array that are shown; equal ones in a row are one.
const SHOWN_ELEMENTS: usize = 16;
/// Elements in a row that are worth to count.
const REPEATS: u64 = 4;
/// Bytes of a value that has no parts.
const SCALAR: u64 = 16;

/// What values are shown in.
pub(super) trait Surroundings {
    /// Memory.
    fn memory(&self) -> &dyn Memory<Virt>;
    /// The function or variable that holds an address.
    fn name(&self, at: u64) -> Option<String>;
}

/// Makes values text.
pub(super) struct Texts<'t> {
    around: &'t dyn Surroundings,
    endian: Endian,
}

/// Where a value, or a part of one, lies.
#[derive(Clone, Copy)]
enum Store<'c> {
    Memory(u64),
    Bytes(&'c afterimage_symbols::Pieces, u64),
}

impl Store<'_> {
    fn at(self, offset: u64) -> Self {
        match self {
            Store::Memory(start) => Store::Memory(start.wrapping_add(offset)),
            Store::Bytes(pieces, start) => Store::Bytes(pieces, start.saturating_add(offset)),
        }
    }
}

impl<'t> Texts<'t> {
    pub(super) fn new(around: &'t dyn Surroundings, endian: Endian) -> Self {
        Texts { around, endian }
    }

    /// A value as text, or why there is none.
    pub(super) fn value(&self, declared: &Type, content: &Result<Content, Missing>) -> Result<String, String> {
        let store = match content.as_ref().map_err(|why| self.reason(why))? {
            Content::Memory(at) => Store::Memory(*at),
            Content::Bytes(pieces) => Store::Bytes(pieces, 0),
            Content::ImplicitPointer { name, bytes } => {
                return Ok(match (name, bytes, &declared.shape) {
                    (Some(name), ..) => format!("&{name}, which has no address"),
                    (None, Some(bytes), Shape::Pointer(Pointee::Text)) => format!("-> {}", quoted(bytes, false)),
                    _ => "a pointer to what has no address".into(),
                });
            }
        };
        if matches!(declared.shape, Shape::Structure { .. } | Shape::Array { .. })
            && let (Store::Memory(_), Some(1..)) = (store, declared.size)
        {
            // Where nothing of it can be had, one reason is enough.
            self.bytes(store, 1)?;
        }
        let mut out = String::new();
        if let Some(text) = self.rust_text(declared, store) {
            return Ok(text);
        }
        match self.write(&mut out, declared, store, 0) {
            Ok(()) => Ok(cut(out)),
            Err(why) => Err(why),
        }
    }

    /// A `&str`, which is a pointer with a length.
    fn rust_text(&self, declared: &Type, store: Store<'_>) -> Option<String> {
        let Shape::Structure { members, .. } = &declared.shape else { return None };
        let [data, length] = members.as_slice() else { return None };
        let pointer = matches!(data.declared.shape, Shape::Pointer(_)) && data.declared.size == Some(8);
        if !matches!(&*declared.name, "&str" | "&mut str") || !pointer {
            return None;
        }
        let number = |member: &Member| Some(self.wide(&self.bytes(store.at(member.offset?), 8).ok()?) as u64);
        let (at, length) = (number(data)?, number(length)?);
        let bytes = self.bytes(Store::Memory(at), length.min(TEXT as u64) as usize).ok()?;
        Some(format!("{at:#x} -> {}", quoted(&bytes, length > TEXT as u64)))
    }

    fn reason(&self, why: &Missing) -> String {
        match why {
            Missing::NotInDump { address } => self.fault(*address),
            why => why.to_string(),
        }
    }

    /// Why memory cannot be read.
    fn fault(&self, address: u64) -> String {
        match self.around.memory().read_exact(Virt(address), &mut [0]) {
            Err(fault) if fault.why != afterimage_dump::Absence::NotInDump => format!("its memory is {}", fault.why),
            _ => "not in the dump".into(),
        }
    }

    fn bytes(&self, store: Store<'_>, length: usize) -> Result<Vec<u8>, String> {
        match store {
            Store::Memory(at) => {
                let mut bytes = vec![0; length];
                match self.around.memory().read_exact(Virt(at), &mut bytes) {
                    Ok(()) => Ok(bytes),
                    Err(fault) => Err(self.fault(fault.at.0)),
                }
            }
            Store::Bytes(pieces, start) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let end = start.saturating_add(length);
                let lost = pieces.gaps.iter().find(|(from, to, _)| *from < end && start < *to);
                match (lost, pieces.bytes.get(start..end)) {
                    (Some((_, _, why)), _) => Err(self.reason(why)),
                    (None, Some(bytes)) => Ok(bytes.to_vec()),
                    (None, None) => Err(Missing::OptimizedOut.to_string()),
                }
            }
        }
    }

    /// Writes a value; an error says why the whole of it is missing.
    fn write(&self, out: &mut String, declared: &Type, store: Store<'_>, depth: usize) -> Result<(), String> {
        if let (Store::Bytes(pieces, start), Some(size @ 1..)) = (store, declared.size) {
            // One reason for the whole is calmer than one for each part.
            let (start, end) = (start as usize, start.saturating_add(size) as usize);
            if let Some((_, _, why)) = pieces.gaps.iter().find(|(from, to, _)| *from <= start && end <= *to) {
                return Err(self.reason(why));
            }
        }
        match &declared.shape {
            Shape::None => Err("its type is not described".into()),
            Shape::Opaque if depth > 0 => {
                out.push('…');
                Ok(())
            }
            Shape::Opaque => Err("its type is not understood".into()),
            Shape::Structure { .. } | Shape::Array { .. } if depth > DEEPEST => {
                out.push_str("{…}");
                Ok(())
            }
            Shape::Structure { members, variants: Some(variants), .. } if members.is_empty() => {
                self.variant(out, variants, store, depth)
            }
            Shape::Structure { members, cut, variants } => {
                self.structure(out, members, *cut || variants.is_some(), store, depth);
                Ok(())
            }
            Shape::Array { element, count } => self.array(out, element, *count, store, depth),
            _ => {
                let size = declared.size.filter(|size| *size <= SCALAR).ok_or("its size is not known")?;
                let bytes = self.bytes(store, size as usize)?;
                out.push_str(&self.scalar(&declared.shape, &bytes));
                Ok(())
            }
        }
    }

    /// Writes a part of a value.
    fn part(&self, out: &mut String, declared: &Type, store: Store<'_>, depth: usize) {
        if let Err(why) = self.write(out, declared, store, depth) {
            out.push_str(&format!("<{why}>"));
        }
    }

    fn structure(&self, out: &mut String, members: &[Member], more: bool, store: Store<'_>, depth: usize) {
        out.push('{');
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            if index >= MOST_MEMBERS || out.len() > LONGEST {
                out.push('…');
                break;
            }
            match &member.name {
                Some(name) if member.base => out.push_str(&format!("<{name}> = ")),
                Some(name) => out.push_str(&format!("{name} = ")),
                None => {}
            }
            match (member.bits, member.offset) {
                (Some((first, width)), _) => match self.field(store, first, width) {
                    Ok(number) => out.push_str(&self.number(&member.declared.shape, number, width)),
                    Err(why) => out.push_str(&format!("<{why}>")),
                },
                (None, Some(offset)) => self.part(out, &member.declared, store.at(offset), depth + 1),
                (None, None) => out.push('…'),
            }
        }
        if more && members.len() <= MOST_MEMBERS {
            out.push_str(if members.is_empty() { "…" } else { ", …" });
        }
        out.push('}');
    }

    /// The alternative of a Rust enum that a value has: `None`, `Some(5)`, `Moved {x = 1, y = 2}`.
    fn variant(&self, out: &mut String, variants: &Variants, store: Store<'_>, depth: usize) -> Result<(), String> {
        let number = match &variants.discriminant {
            None => None,
            Some(member) => {
                let size = member.declared.size.filter(|size| (1..=8).contains(size)).ok_or("its size is not known")?;
                let offset = member.offset.ok_or("its type is not understood")?;
                Some((self.wide(&self.bytes(store.at(offset), size as usize)?) as u64, size))
            }
        };
        let is = |value: Option<u64>| match (value, number) {
            (Some(value), Some((number, size))) => (value ^ number) << (64 - 8 * size) == 0,
            _ => false,
        };
        let arm = variants.arms.iter().find(|(value, _)| is(*value));
        let arm = arm.or_else(|| variants.arms.iter().find(|(value, _)| value.is_none()));
        let Some((_, member)) = arm else { return Err("it is none of its type's alternatives".into()) };
        out.push_str(member.name.as_deref().unwrap_or("?"));
        let Shape::Structure { members, cut, .. } = &member.declared.shape else { return Ok(()) };
        let store = store.at(member.offset.unwrap_or(0));
        // `__0` is how Rust calls what has no name.
        match members.as_slice() {
            [] => {}
            [only] if only.name.as_deref() == Some("__0") => {
                out.push('(');
                self.part(out, &only.declared, store.at(only.offset.unwrap_or(0)), depth + 1);
                out.push(')');
            }
            members => {
                out.push(' ');
                self.structure(out, members, *cut, store, depth);
            }
        }
        Ok(())
    }

    /// The bits of a bit field.
    fn field(&self, store: Store<'_>, first: u64, width: u64) -> Result<u64, String> {
        let skip = first % 8;
        let bytes = self.bytes(store.at(first / 8), (skip + width).div_ceil(8) as usize)?;
        let all = bytes.len() as u64 * 8;
        let number = self.wide(&bytes);
        let shift = if self.endian == Endian::Little { skip } else { all.saturating_sub(skip + width) };
        let mask = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
        Ok((number >> shift.min(127)) as u64 & mask)
    }

    fn array(
        &self,
        out: &mut String,
        element: &Type,
        count: Option<u64>,
        store: Store<'_>,
        depth: usize,
    ) -> Result<(), String> {
        let Some(count) = count else {
            out.push_str("{…}");
            return Ok(());
        };
        let size = match element.size {
            Some(size) if size > 0 => size,
            // Of nothing there may be as much as a file likes to say.
            _ => {
                out.push_str(if count == 0 { "{}" } else { "{…}" });
                return Ok(());
            }
        };
        if matches!(element.shape, Shape::Character { .. }) && size == 1 && count > 0 {
            let length = count.min(TEXT as u64 + 1) as usize;
            match self.bytes(store, length) {
                Ok(bytes) => {
                    // Behind a text that ended there is seldom more than zeros.
                    out.push_str(&quoted(&bytes, count > length as u64 && bytes.last() != Some(&0)));
                    return Ok(());
                }
                Err(why) if matches!(store, Store::Memory(_)) => return Err(why),
                // A part of it is known.
                Err(_) => {}
            }
        }
        out.push('{');
        let (mut last, mut times, mut shown) = (None::<String>, 0u64, 0usize);
        let put = |out: &mut String, last: &Option<String>, times: u64| {
            let Some(text) = last else { return };
            let each = if times >= REPEATS { 1 } else { times };
            for turn in 0..each {
                out.push_str(if turn > 0 { ", " } else { "" });
                out.push_str(text);
            }
            if times >= REPEATS {
                out.push_str(&format!(" <{times} times>"));
            }
        };
        let looked = count.min(MOST_ELEMENTS);
        for index in 0..looked {
            let mut text = String::new();
            self.part(&mut text, element, store.at(index.wrapping_mul(size)), depth + 1);
            if last.as_ref() == Some(&text) {
                times += 1;
                continue;
            }
            put(out, &last, times);
            if last.is_some() {
                out.push_str(", ");
            }
            shown += if times >= REPEATS { 1 } else { times as usize };
            (last, times) = (Some(text), 1);
            if shown >= SHOWN_ELEMENTS || out.len() > LONGEST {
                out.push_str("…}");
                return Ok(());
            }
        }
        put(out, &last, times);
        if count > looked {
            out.push_str(", …");
        }
        out.push('}');
        Ok(())
    }

    fn wide(&self, bytes: &[u8]) -> u128 {
        let add = |number: u128, byte: &u8| number << 8 | u128::from(*byte);
        match self.endian {
            Endian::Little => bytes.iter().rev().fold(0, add),
            _ => bytes.iter().fold(0, add),
        }
    }

    /// A value without parts.
    fn scalar(&self, shape: &Shape, bytes: &[u8]) -> String {
        let bits = bytes.len() as u32 * 8;
        let wide = self.wide(bytes);
        match shape {
            Shape::Float => float(wide, bytes.len()),
            Shape::Integer { signed: true } if bits > 64 => signed(wide, bits).to_string(),
            Shape::Integer { .. } if bits > 64 => wide.to_string(),
            shape => self.number(shape, wide as u64, u64::from(bits)),
        }
    }

    /// A number of at most 64 bits.
    fn number(&self, shape: &Shape, number: u64, bits: u64) -> String {
        let with_sign = signed(number.into(), bits.min(64) as u32) as i64;
        match shape {
            Shape::Boolean => match number {
                0 => "false".into(),
                1 => "true".into(),
                other => other.to_string(),
            },
            Shape::Integer { signed: true } => with_sign.to_string(),
            Shape::Character { signed } => {
                let shown = if *signed { with_sign.to_string() } else { number.to_string() };
                match u32::try_from(number).ok().and_then(char::from_u32) {
                    // A byte above 127 is no character by itself.
                    Some(letter) if bits > 8 || number < 128 => format!("{shown} {}", character(letter)),
                    _ => shown,
                }
            }
            Shape::Enumeration { signed, names } => {
                let value = if *signed { with_sign } else { number as i64 };
                enumerated(names, value).unwrap_or_else(|| if *signed { value.to_string() } else { number.to_string() })
            }
            Shape::Pointer(to) => self.pointer(*to, number),
            _ => number.to_string(),
        }
    }

    fn pointer(&self, to: Pointee, at: u64) -> String {
        let mut text = format!("{at:#x}");
        if at == 0 {
            return text;
        }
        if to == Pointee::Text
            && let Some(string) = self.string(at)
        {
            return text + " -> " + &string;
        }
        if let Some(name) = self.around.name(at) {
            text.push_str(&format!(" <{name}>"));
        }
        text
    }

    /// The text at an address, up to its end or the most that is shown.
    fn string(&self, at: u64) -> Option<String> {
        let mut bytes = vec![0; TEXT + 1];
        let got = self.around.memory().read_upto(Virt(at), &mut bytes);
        bytes.truncate(got);
        if bytes.is_empty() {
            return None;
        }
        let ended = bytes.contains(&0);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        // A pointer to `char` may as well lead to anything; what is mostly no text is not shown as one.
        let odd = bytes.utf8_chunks().map(|chunk| {
            let control = |letter: &char| letter.is_control() && !letter.is_whitespace();
            chunk.invalid().len() + chunk.valid().chars().filter(control).count()
        });
        (odd.sum::<usize>() * 4 <= bytes.len()).then(|| quoted(&bytes, !ended))
    }
}

/// What is too long, cut with a mark.
fn cut(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => text.get(..at).map(|text| format!("{text}…")).unwrap_or(text),
        None => text,
    }
}
