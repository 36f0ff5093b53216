//! Single entries and the ways between them: their attributes, their children, what they refer to.
//!
//! Not here: what the entries mean (`types`, `variables`).
//!
//! Example: a variable's DW_AT_type is a place in the same unit, in another one, or in the supplementary file of dwz.
//!
//! Trap: a hostile file can refer in circles and have a million children; every entry that is read is paid for, and at the
//! end of the purse nothing more is found.

use super::functions::Extent;
use super::{Dwarf, DwarfFile, Unit, Value, units};
use gimli::{UnitOffset, constants as dw};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Entries that one question may read.
const PURSE: usize = 400_000;
/// Bytes of names that one question may take: one long name may be the name of everything.
const MAX_TEXT: usize = 16 << 20;
/// Other units that one question may open.
const MAX_UNITS: usize = 256;
/// Attributes of one entry.
const MAX_ATTRIBUTES: usize = 256;

/// Which sections a unit stands in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Home {
    /// Those of the function: the program's, or those of its split part.
    Code,
    /// The supplementary file's.
    Supplementary,
}

/// The place of an entry.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) home: Home,
    pub(super) unit: Rc<Unit<'a>>,
    pub(super) die: UnitOffset,
}

impl Place<'_> {
    /// Tells one entry from another.
    pub(super) fn key(&self) -> (Home, usize, usize) {
        let unit = self.unit.header.debug_info_offset().map_or(usize::MAX, |offset| offset.0);
        (self.home, unit, self.die.0)
    }
}

/// An entry with its attributes.
pub(super) struct Entry<'a> {
    pub(super) tag: gimli::DwTag,
    pub(super) has_children: bool,
    pub(super) attributes: Vec<(gimli::DwAt, Value<'a>)>,
}

impl<'a> Entry<'a> {
    pub(super) fn get(&self, name: gimli::DwAt) -> Option<Value<'a>> {
        self.attributes.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    pub(super) fn number(&self, name: gimli::DwAt) -> Option<u64> {
        self.get(name)?.udata_value()
    }

    pub(super) fn flag(&self, name: gimli::DwAt) -> bool {
        matches!(self.get(name), Some(Value::Flag(true)))
    }
}

/// Reads entries for one question.
pub(super) struct Entries<'s, 'a> {
    file: &'s DwarfFile,
    main: &'s Dwarf<'a>,
    code: &'s Dwarf<'a>,
    split: bool,
    purse: Cell<usize>,
    text: Cell<usize>,
    opened: RefCell<HashMap<(Home, usize), Rc<Unit<'a>>>>,
}

impl<'s, 'a> Entries<'s, 'a> {
    /// `main` are the program's own sections, `code` those that its functions stand in: the same unless it is `split`.
    pub(super) fn new(file: &'s DwarfFile, main: &'s Dwarf<'a>, code: &'s Dwarf<'a>, split: bool) -> Self {
        Entries {
            file,
            main,
            code,
            split,
            purse: Cell::new(PURSE),
            text: Cell::new(MAX_TEXT),
            opened: RefCell::default(),
        }
    }

    pub(super) fn dwarf(&self, home: Home) -> Option<&Dwarf<'a>> {
        match home {
            Home::Code => Some(self.code),
            Home::Supplementary => self.main.sup(),
        }
    }

    /// Pays for one entry.
    pub(super) fn pay(&self) -> Option<()> {
        self.purse.set(self.purse.get().checked_sub(1)?);
        Some(())
    }

    /// The attributes of an entry.
    pub(super) fn read(&self, place: &Place<'a>) -> Option<Entry<'a>> {
        self.pay()?;
        let mut raw = place.unit.entries_raw(Some(place.die)).ok()?;
        let abbreviation = raw.read_abbreviation().ok()??;
        attributes(&mut raw, abbreviation)
    }

    /// The children of an entry, not theirs; at most so many, and whether there are more.
    pub(super) fn children(&self, parent: &Place<'a>, most: usize) -> (Vec<(UnitOffset, Entry<'a>)>, bool) {
        let mut out = Vec::new();
        let mut cut = false;
        let _ = self.each_child(parent, |die, entry| {
            cut = out.len() >= most;
            if !cut {
                out.push((die, entry));
            }
            !cut
        });
        (out, cut)
    }

    fn each_child(&self, parent: &Place<'a>, mut each: impl FnMut(UnitOffset, Entry<'a>) -> bool) -> Option<()> {
        let unit = &parent.unit;
        let mut raw = unit.entries_raw(Some(parent.die)).ok()?;
        let root = raw.read_abbreviation().ok()??;
        raw.skip_attributes(root.attributes()).ok()?;
        if !root.has_children() {
            return Some(());
        }
        let base = raw.next_depth();
        let mut shift = 0;
        while !raw.is_empty() {
            self.pay()?;
            let (die, depth) = (raw.next_offset(), raw.next_depth() + shift);
            if depth < base {
                break;
            }
            let Some(abbreviation) = raw.read_abbreviation().ok()? else { continue };
            if depth > base {
                raw.skip_attributes(abbreviation.attributes()).ok()?;
                continue;
            }
            let entry = attributes(&mut raw, abbreviation)?;
            let sibling = match entry.get(dw::DW_AT_sibling) {
                Some(Value::UnitRef(next)) if entry.has_children && next.0 > raw.next_offset().0 => Some(next),
                _ => None,
            };
            if !each(die, entry) {
                break;
            }
            if let Some(next) = sibling {
                raw = unit.entries_raw(Some(next)).ok()?;
                shift = depth;
            }
        }
        Some(())
    }

    /// The entry that an attribute of an entry refers to.
    pub(super) fn follow(&self, from: &Place<'a>, to: Value<'a>) -> Option<Place<'a>> {
        match to {
            Value::UnitRef(die) => Some(Place { home: from.home, unit: Rc::clone(&from.unit), die }),
            Value::DebugInfoRef(place) => self.open(from.home, place.0),
            Value::DebugInfoRefSup(place) => self.open(Home::Supplementary, place.0),
            _ => None,
        }
    }

    fn open(&self, home: Home, place: usize) -> Option<Place<'a>> {
        self.pay()?;
        let dwarf = self.dwarf(home)?;
        let known = |(own, start): &(Home, usize), unit: &Rc<Unit<'a>>| {
            let end = start.saturating_add(unit.header.length_including_self());
            *own == home && (*start..end).contains(&place)
        };
        let opened =
            self.opened.borrow().iter().find(|(key, unit)| known(key, unit)).map(|(key, unit)| (key.1, unit.clone()));
        let (start, unit) = match opened {
            Some(opened) => opened,
            None => {
                let header = if home == Home::Code && !self.split {
                    self.file.index.containing(dwarf, place)?
                } else {
                    units::walk_to(dwarf, 0, place)?
                };
                let start = header.debug_info_offset()?.0;
                let abbreviations = self.file.abbreviations_of(dwarf, &header).ok()?;
                let unit = Rc::new(units::light_unit(dwarf, header, abbreviations).ok()?);
                let mut opened = self.opened.borrow_mut();
                if opened.len() >= MAX_UNITS {
                    opened.clear();
                }
                opened.insert((home, start), Rc::clone(&unit));
                (start, unit)
            }
        };
        Some(Place { home, unit, die: UnitOffset(place.checked_sub(start)?) })
    }

    /// The text of an attribute; `None` if it is empty.
    pub(super) fn text(&self, place: &Place<'a>, value: Value<'a>) -> Option<String> {
        /// Bytes of a name that are kept: some of C++'s have kilobytes.
        const LONGEST: usize = 1024;
        let bytes = self.dwarf(place.home)?.attr_string(&place.unit, value).ok()?.slice();
        let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
        self.text.set(self.text.get().checked_sub(bytes.len())?);
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
    }

    /// An attribute of an entry, or of those that it stands for (DW_AT_abstract_origin, DW_AT_specification), and where it
    /// was found.
    pub(super) fn inherited(
        &self,
        place: &Place<'a>,
        entry: &Entry<'a>,
        name: gimli::DwAt,
    ) -> Option<(Place<'a>, Value<'a>)> {
        const STEPS: usize = 8;
        if let Some(value) = entry.get(name) {
            return Some((place.clone(), value));
        }
        let mut next = self.origin(place, entry)?;
        for _ in 0..STEPS {
            let entry = self.read(&next)?;
            if let Some(value) = entry.get(name) {
                return Some((next, value));
            }
            next = self.origin(&next, &entry)?;
        }
        None
    }

    /// The entry that another one stands for.
    pub(super) fn origin(&self, place: &Place<'a>, entry: &Entry<'a>) -> Option<Place<'a>> {
        let value = entry.get(dw::DW_AT_abstract_origin).or_else(|| entry.get(dw::DW_AT_specification))?;
        self.follow(place, value)
    }

    /// Where the first piece of a function's code begins: a part that is seldom run lies elsewhere.
    pub(super) fn start(&self, place: &Place<'a>, entry: &Entry<'a>) -> Option<u64> {
        let dwarf = self.dwarf(place.home)?;
        let mut extent = Extent::default();
        for (name, value) in &entry.attributes {
            extent.take(dwarf, &place.unit, *name, *value);
        }
        let mut first = None;
        extent.pieces(dwarf, &place.unit, |start, _| {
            first = Some(start);
            true
        });
        first
    }

    /// The name of an entry, its own or its origin's.
    pub(super) fn name(&self, place: &Place<'a>, entry: &Entry<'a>) -> Option<String> {
        let (at, value) = self.inherited(place, entry, dw::DW_AT_name)?;
        self.text(&at, value)
    }
}

/// Reads what stands behind an abbreviation code.
pub(super) fn attributes<'a>(
    raw: &mut gimli::EntriesRaw<'_, super::Slice<'a>>,
    abbreviation: &gimli::Abbreviation,
) -> Option<Entry<'a>> {
    let specs = abbreviation.attributes();
    let mut attributes = Vec::with_capacity(specs.len().min(MAX_ATTRIBUTES));
    for spec in specs {
        let attribute = raw.read_attribute(*spec).ok()?;
        if attributes.len() < MAX_ATTRIBUTES {
            attributes.push((attribute.name(), attribute.value()));
        }
    }
    Some(Entry { tag: abbreviation.tag(), has_children: abbreviation.has_children(), attributes })
}
