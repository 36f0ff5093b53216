//! Names of inlined functions: the table of ids (IPI), and the classes that methods belong to (TPI).
//!
//! Trap: a record's number is its place in the list, so the list is walked once before any can be found.

use super::msf::Msf;
use super::publics::records;
use crate::elf::View;

const TPI: u16 = 2;
const IPI: u16 = 4;
const LF_FUNC_ID: u16 = 0x1601;
const LF_MFUNC_ID: u16 = 0x1602;
const LF_STRING_ID: u16 = 0x1605;
const LF_CLASS: u16 = 0x1504;
const LF_STRUCTURE: u16 = 0x1505;
const LF_UNION: u16 = 0x1506;
const MAX_RECORDS: usize = 16 << 20;

#[derive(Default)]
struct Table {
    bytes: Vec<u8>,
    first: u32,
    places: Vec<u32>,
}

impl Table {
    fn read(msf: &Msf, number: u16) -> Self {
        let bytes = msf.stream(number).unwrap_or_default();
        let view = View::new(&bytes, true);
        let (Some(header), Some(first)) = (view.u32(4), view.u32(8)) else { return Self::default() };
        let places =
            records(&bytes, header as usize).take(MAX_RECORDS).filter_map(|(.., at)| u32::try_from(at).ok()).collect();
        Self { first, places, bytes }
    }

    /// Kind and data of a record.
    fn get(&self, number: u32) -> Option<(u16, View<'_>)> {
        let at = u64::from(*self.places.get(usize::try_from(number.checked_sub(self.first)?).ok()?)?);
        let view = View::new(&self.bytes, true);
        let length = u64::from(view.u16(at - 4)?);
        Some((view.u16(at - 2)?, View::new(view.bytes(at, length.checked_sub(2)?)?, true)))
    }
}

/// The tables.
pub(super) struct Ids {
    ids: Table,
    types: Table,
}

impl Ids {
    pub(super) fn read(msf: &Msf) -> Self {
        Self { ids: Table::read(msf, IPI), types: Table::read(msf, TPI) }
    }

    /// The name of a function, with the namespace or class that it is in.
    pub(super) fn name(&self, function: u32) -> Option<String> {
        let text = |view: &View<'_>, at: u64| Some(String::from_utf8_lossy(view.c_str(at)?).into_owned());
        let (kind, record) = self.ids.get(function)?;
        let name = text(&record, 8)?;
        let parent = record.u32(0)?;
        let scope = match kind {
            LF_FUNC_ID if parent != 0 => match self.ids.get(parent)? {
                (LF_STRING_ID, scope) => text(&scope, 4),
                _ => None,
            },
            LF_FUNC_ID => None,
            LF_MFUNC_ID => self.class(parent),
            _ => return None,
        };
        Some(match scope.filter(|scope| !scope.is_empty()) {
            // An anonymous namespace has the number of its file for a name.
            Some(scope) if scope.starts_with("?A0x") => format!("`anonymous namespace'::{name}"),
            Some(scope) => match name.as_str() {
                "{ctor}" => format!("{scope}::{}", class_of(&scope)),
                "{dtor}" => format!("{scope}::~{}", class_of(&scope)),
                _ => format!("{scope}::{name}"),
            },
            None => name,
        })
    }

    fn class(&self, number: u32) -> Option<String> {
        let (kind, record) = self.types.get(number)?;
        // Count, properties, fields, derived, shape (not of unions); then the size as a number of one of several forms.
        let at = match kind {
            LF_CLASS | LF_STRUCTURE => 16,
            LF_UNION => 8,
            _ => return None,
        };
        let size = match record.u16(at)? {
            0x8000 => 3,
            0x8001 | 0x8002 => 4,
            0x8003 | 0x8004 => 6,
            0x8009 | 0x800a => 10,
            _ => 2,
        };
        Some(String::from_utf8_lossy(record.c_str(at + size)?).into_owned())
    }
}

/// The last name of a scope, without template arguments.
fn class_of(scope: &str) -> &str {
    let (mut depth, mut from) = (0usize, 0usize);
    for (at, byte) in scope.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => from = at + 1,
            _ => {}
        }
    }
    let last = scope.get(from..).unwrap_or(scope);
    last.split('<').next().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    #[test]
    fn constructors_are_called_as_their_class() {
        assert_eq!(super::class_of("std::list<a::b,c<d> >"), "list");
        assert_eq!(super::class_of("plain"), "plain");
        assert_eq!(super::class_of("a<b>::c"), "c");
    }
}
