//! The scene of the crash: the thread, its registers and frames, and the questions that every part of the analysis asks.

use super::instruction::{self, Instruction};
use super::{Evidence, Statement};
use crate::stack::{Frame, Stack, Trust};
use crate::target::{Location, Target};
use afterimage_dump::{MemoryExt, Region, Registers, Virt};
use std::borrow::Cow;

/// The thread that crashed, and how to ask about it.
pub(crate) struct Scene<'a> {
    pub target: &'a Target,
    pub registers: Registers,
    pub stack: Cow<'a, Stack>,
}

impl<'a> Scene<'a> {
    pub fn new(target: &'a Target) -> Option<Self> {
        let thread = target.crashed_thread()?;
        let record = target.dump().threads.get(thread)?;
        let exception = target.dump().exception.as_ref()?;
        let registers = exception.registers.unwrap_or(record.registers);
        Some(Self { target, registers, stack: Cow::Borrowed(target.stack(thread)) })
    }

    /// The scene that a signal handler interrupted, if the crash happened inside one: the first fault, of which this one
    /// is the consequence.
    pub fn interrupted(&self) -> Option<Self> {
        let at = self.stack.frames.iter().position(|frame| frame.trust == Trust::SignalFrame)?;
        let frames = self.stack.frames.get(at..)?.to_vec();
        let registers = frames.first()?.registers;
        let stack = Stack { frames, ..self.stack.clone().into_owned() };
        Some(Self { target: self.target, registers, stack: Cow::Owned(stack) })
    }

    pub fn pc(&self) -> Option<u64> {
        self.registers.pc().map(|pc| pc.0)
    }

    /// The innermost function's name at a frame.
    pub fn function(&self, frame: &Frame) -> Option<String> {
        self.target.locate(frame.address).first().and_then(|place| place.function.clone())
    }

    /// Names of all functions on the stack, inlined ones too, with their physical frame.
    pub fn functions(&self, limit: usize) -> Vec<(usize, String)> {
        let mut names = Vec::new();
        for (index, frame) in self.stack.frames.iter().take(limit).enumerate() {
            for place in self.target.locate(frame.address).iter() {
                names.extend(place.function.clone().map(|function| (index, function)));
            }
        }
        names
    }

    /// `function (file:line)`, or what else is known of the place.
    pub fn place(&self, frame: &Frame) -> String {
        let Some(place) = self.own_location(frame) else {
            let at = frame.address.address();
            return match self.target.module_at(frame.address.lookup()) {
                Some(module) => format!("{}+{:#x}", module.name(), at.0.wrapping_sub(module.base.0)),
                None => match self.target.reported_image(frame.address) {
                    Some(image) => format!("{image} at {at}"),
                    None => format!("{at}"),
                },
            };
        };
        let function = place.function.unwrap_or_else(|| "an unnamed function".to_owned());
        match (&place.file, place.line) {
            (Some(file), Some(line)) => format!("{function} ({}:{line})", short_path(file)),
            _ => function,
        }
    }

    /// The place in the program's own text: functions of a language's library that were inlined into it are passed over.
    pub fn own_location(&self, frame: &Frame) -> Option<Location> {
        let places = self.target.locate(frame.address);
        places.iter().find(|place| !is_library(place)).or(places.first()).cloned()
    }

    /// Whether all that is known of a frame lies in the text of a language's own library.
    pub fn is_library(&self, frame: &Frame) -> bool {
        let places = self.target.locate(frame.address);
        !places.is_empty() && places.iter().all(is_library)
    }

    /// The region that holds an address.
    pub fn region(&self, at: u64) -> Option<&'a Region> {
        self.target.dump().region(Virt(at))
    }

    pub fn word_size(&self) -> u64 {
        self.target.dump().pointer_size as u64
    }

    /// A pointer-sized word of memory.
    pub fn word(&self, at: u64) -> Option<u64> {
        let dump = self.target.dump();
        self.target.memory().read_uint(Virt(at), dump.pointer_size, dump.endian).ok()
    }

    pub fn uint(&self, at: u64, size: usize) -> Option<u64> {
        self.target.memory().read_uint(Virt(at), size, self.target.dump().endian).ok()
    }

    /// A C string, if it is text.
    pub fn text(&self, at: u64, limit: usize) -> Option<String> {
        let bytes = self.target.memory().read_cstr(Virt(at), limit).ok()?;
        String::from_utf8(bytes).ok()
    }

    /// The instruction at an address, decoded with these registers.
    pub fn decode(&self, at: u64, registers: &Registers) -> Option<Instruction> {
        let mut bytes = [0; instruction::LONGEST];
        let got = self.target.memory().read_upto(Virt(at), &mut bytes);
        instruction::decode(bytes.get(..got)?, at, registers)
    }

    pub fn register_name(&self, slot: usize) -> &'static str {
        self.registers.arch().info().registers.get(slot).map_or("?", |register| register.name)
    }

    /// A register and its value as evidence.
    pub fn register_fact(&self, slot: usize) -> Option<Evidence> {
        let value = self.registers.get(slot)?;
        Some(Evidence {
            kind: "register",
            text: format!("{} = {value:#x}", self.register_name(slot)),
            address: Some(value),
        })
    }
}

/// Whether a place is in the text of Rust's or C++'s own library.
fn is_library(place: &Location) -> bool {
    place
        .file
        .as_deref()
        .is_some_and(|file| file.starts_with("/rustc/") || file.contains("/include/c++/") || file.contains("/lib/gcc/"))
}

/// The last two parts of a path: enough to know it, short enough for a sentence.
pub(crate) fn short_path(path: &str) -> &str {
    let mut slashes = path.rmatch_indices('/');
    match slashes.nth(1) {
        Some((at, _)) if path.len() > 48 => path.get(at + 1..).unwrap_or(path),
        _ => path,
    }
}

/// A region in words.
pub(crate) fn region_words(region: &Region) -> String {
    let permissions = region.permissions.map(|permissions| format!(" {permissions}")).unwrap_or_default();
    let path = region.path.as_deref().map(|path| format!(" {path}")).unwrap_or_default();
    format!("region {:#x}-{:#x}{permissions}{path}", region.start.0, region.end.0)
}

pub(crate) fn fact(kind: &'static str, text: impl Into<String>, address: Option<u64>) -> Evidence {
    Evidence { kind, text: text.into(), address }
}

pub(crate) fn statement(text: impl Into<String>, evidence: Vec<Evidence>) -> Statement {
    Statement { text: text.into(), evidence }
}
