//! The shape of what is known of a bug check, and putting it together with a dump's numbers.

use super::status::{irql, status_text};
use super::{knowledge, more_knowledge, names, variants};
use afterimage_dump::system::windows::Stop;
use afterimage_dump::{Arch, Dump};

/// How a parameter's number is put into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// A plain number.
    Number,
    /// An address of data.
    Address,
    /// An address of code: says in which driver.
    Code,
    /// A level of interrupts.
    Irql,
    /// 0 read, 1 write, 8 (or 0x10) execute.
    Access,
    /// As [`How::Access`], in the newer form of 0x50: 0 read, 2 write, 0x10 execute.
    AccessBits,
    /// An NTSTATUS or exception code.
    Status,
    /// A number whose meaning `variants` has.
    Kind,
    /// Nothing of interest.
    Reserved,
}

/// One parameter: what it is, and how its number reads.
pub(super) type Parameter = (&'static str, How);

/// What is known of one bug check.
pub(super) struct Knowledge {
    pub(super) code: u32,
    pub(super) meaning: &'static str,
    pub(super) causes: &'static str,
    pub(super) advice: &'static [&'static str],
    pub(super) parameters: [Parameter; 4],
}

/// A parameter that says nothing.
pub(super) const NONE: Parameter = ("", How::Reserved);

/// One entry of the tables.
pub(super) const fn entry(
    code: u32,
    meaning: &'static str,
    causes: &'static str,
    advice: &'static [&'static str],
    parameters: [Parameter; 4],
) -> Knowledge {
    Knowledge { code, meaning, causes, advice, parameters }
}

/// A bug check in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The code without the bit of small dumps.
    pub code: u32,
    /// Name, as `DRIVER_IRQL_NOT_LESS_OR_EQUAL`; the number in words where it has none.
    pub name: String,
    /// What it means, in a sentence or two; empty where that is not known here.
    pub meaning: String,
    /// What usually causes it.
    pub causes: String,
    /// What to try, in order.
    pub advice: Vec<String>,
    /// The four parameters.
    pub parameters: Vec<ParameterText>,
}

/// One parameter in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterText {
    /// Number from 1.
    pub index: usize,
    /// Its value.
    pub value: u64,
    /// What it stands for; `None` where that is not known here.
    pub role: Option<String>,
    /// Its value in words, where there are any.
    pub words: Option<String>,
}

/// Advice for codes without any of their own.
const GENERAL: &[&str] = &[
    "Update Windows, the firmware and drivers, above all those that changed before the first of these stops.",
    "If it comes again with other codes or other drivers, test the memory and check disk and power.",
];

/// Puts a stop into words.
#[must_use]
pub fn describe(stop: &Stop, dump: &Dump) -> Description {
    let code = stop.plain_code();
    let known = knowledge::ALL.iter().chain(more_knowledge::ALL).find(|known| known.code == code);
    let name = names::name(stop.code).unwrap_or_else(|| "a bug check without a name here".to_owned());
    let own = |text: &[&str]| text.iter().map(|&line| line.to_owned()).collect();
    let parameter = |index: usize| stop.parameters.get(index).copied().unwrap_or(0);
    let parameters = (0..4).map(|index| {
        let value = parameter(index);
        let (role, how) = known.and_then(|known| known.parameters.get(index).copied()).unwrap_or(("", How::Number));
        let variant = variants::parameter(code, index, stop.parameters);
        ParameterText {
            index: index + 1,
            value,
            role: variant.map(str::to_owned).or_else(|| (!role.is_empty()).then(|| role.to_owned())),
            words: words(code, how, value, dump),
        }
    });
    let mut description = Description {
        code,
        name,
        meaning: known.map(|known| known.meaning.to_owned()).unwrap_or_default(),
        causes: known.map(|known| known.causes.to_owned()).unwrap_or_default(),
        advice: own(known.map_or(GENERAL, |known| known.advice)),
        parameters: parameters.collect(),
    };
    if stop.healthy() && description.meaning.is_empty() {
        "The dump was taken of a running system, which went on.".clone_into(&mut description.meaning);
        description.advice.clear();
    }
    description
}

fn words(code: u32, how: How, value: u64, dump: &Dump) -> Option<String> {
    let x64 = matches!(dump.arch, Arch::X86_64);
    match how {
        How::Number | How::Reserved => None,
        How::Status => Some(status_text(value)),
        How::Irql => Some(irql(value, x64)),
        How::Access => match value {
            0 => Some("a read".to_owned()),
            1 => Some("a write".to_owned()),
            2 | 8 | 0x10 => Some("an attempt to execute".to_owned()),
            _ => None,
        },
        How::AccessBits => match value {
            0 => Some("a read".to_owned()),
            1 | 2 => Some("a write".to_owned()),
            8 | 0x10 => Some("an attempt to execute".to_owned()),
            _ => None,
        },
        How::Kind => variants::kind(code, value).map(str::to_owned),
        How::Code => in_driver(dump, value),
        How::Address => in_driver(dump, value).or_else(|| special_address(value, dump.pointer_size)),
    }
}

/// `driver.sys+0x1234`.
pub(super) fn in_driver(dump: &Dump, at: u64) -> Option<String> {
    let module = super::culprit::driver_at(dump, at)?;
    Some(format!("{}+{:#x}", super::culprit::short(&module.path), at - module.base))
}

fn special_address(at: u64, pointer: usize) -> Option<String> {
    let words = match at {
        0 => "a null pointer",
        1..0x1_0000 => "close to null: a field of a structure whose address was null",
        u64::MAX => "no address at all: it was not canonical",
        _ if pointer == 8 && at >> 47 != 0 && at >> 47 != 0x1_ffff => "no address of this processor (not canonical)",
        _ if pointer == 8 && at >> 47 == 0 => "an address of a process's own memory",
        _ => return None,
    };
    Some(words.to_owned())
}
