//! The name of a function's entry.
//!
//! Not here: demangling.
//!
//! Example: an inlined call points at its abstract function (DW_AT_abstract_origin), that at its declaration in a class
//! (DW_AT_specification), and there stands the linker's name; each step may lead into another unit or into the
//! supplementary file of dwz.
//!
//! Trap: a name without a linker's name is bare ("run"); for C++, Rust and the like the namespaces around it are looked
//! up, which means going through the unit.

use super::scopes::{self, ScopeTable};
use super::{Dwarf, DwarfFile, Slice, Unit, Value, units};
use gimli::{UnitOffset, constants as dw};

/// What names are looked up in.
pub(super) struct Names<'s, 'a> {
    pub(super) file: &'s DwarfFile,
    /// The program's own sections (`dwarf` may be those of a split file).
    pub(super) main: &'s Dwarf<'a>,
    pub(super) dwarf: &'s Dwarf<'a>,
    pub(super) unit: &'s Unit<'a>,
}

/// Steps from one entry to the next.
const MAX_STEPS: usize = 16;
/// Folded namespaces.
const MAX_DEPTH: usize = 256;

/// A name as it was found.
struct Name {
    text: String,
    /// Put together from the namespaces around a bare name.
    pieced: bool,
}

/// One entry, as far as names go.
#[derive(Default)]
struct Entry<'a> {
    linkage: Option<String>,
    name: Option<String>,
    next: Option<Value<'a>>,
}

impl<'a> Names<'_, 'a> {
    /// The linker's name of an entry, or its source name with the namespaces around it.
    pub(super) fn of(&self, die: UnitOffset) -> Option<String> {
        self.follow(self.dwarf, self.unit, die, MAX_STEPS).map(|name| name.text)
    }

    /// The same, and whether the linker's name would say more (parameters, scopes inside functions).
    pub(super) fn of_function(&self, die: UnitOffset) -> Option<(String, bool)> {
        self.follow(self.dwarf, self.unit, die, MAX_STEPS).map(|name| (name.text, name.pieced))
    }

    fn follow(&self, dwarf: &Dwarf<'a>, unit: &Unit<'a>, die: UnitOffset, steps: usize) -> Option<Name> {
        let entry = read(dwarf, unit, die)?;
        // Rust's old mangling calls every closure of a function `{{closure}}`; its source name numbers them.
        if let Some(name) = entry.name.as_deref().filter(|name| name.starts_with("{closure#"))
            && let Some(text) = with_scopes(unit, dwarf, die, name)
        {
            return Some(Name { text, pieced: false });
        }
        if let Some(text) = entry.linkage {
            return Some(Name { text, pieced: false });
        }
        let further = match entry.next {
            Some(next) if steps > 0 => self.step(dwarf, unit, next, steps - 1),
            _ => None,
        };
        further.or_else(|| {
            let name = entry.name?;
            Some(match with_scopes(unit, dwarf, die, &name) {
                Some(text) => Name { pieced: text != name, text },
                None => Name { text: name, pieced: false },
            })
        })
    }

    fn step(&self, dwarf: &Dwarf<'a>, unit: &Unit<'a>, to: Value<'a>, steps: usize) -> Option<Name> {
        match to {
            Value::UnitRef(offset) => self.follow(dwarf, unit, offset, steps),
            Value::DebugInfoRef(place) => {
                let is_main = std::ptr::eq(dwarf, self.main);
                let header = if is_main {
                    self.file.index.containing(dwarf, place.0)?
                } else {
                    units::walk_to(dwarf, 0, place.0)?
                };
                self.enter(dwarf, header, place.0, steps)
            }
            Value::DebugInfoRefSup(place) => {
                let other = self.main.sup()?;
                self.enter(other, units::walk_to(other, 0, place.0)?, place.0, steps)
            }
            _ => None,
        }
    }

    fn enter(
        &self,
        dwarf: &Dwarf<'a>,
        header: gimli::UnitHeader<Slice<'a>>,
        place: usize,
        steps: usize,
    ) -> Option<Name> {
        let start = header.debug_info_offset()?.0;
        let abbreviations = self.file.abbreviations_of(dwarf, &header).ok()?;
        let unit = units::light_unit(dwarf, header, abbreviations).ok()?;
        self.follow(dwarf, &unit, UnitOffset(place.checked_sub(start)?), steps)
    }
}

fn read<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>, die: UnitOffset) -> Option<Entry<'a>> {
    let mut raw = unit.entries_raw(Some(die)).ok()?;
    let abbreviation = raw.read_abbreviation().ok()??;
    let mut entry = Entry::default();
    let text = |value: Value<'a>| {
        let text = dwarf.attr_string(unit, value).ok()?.to_string_lossy().into_owned();
        (!text.is_empty()).then_some(text)
    };
    for spec in abbreviation.attributes() {
        let attribute = raw.read_attribute(*spec).ok()?;
        match attribute.name() {
            dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name => entry.linkage = text(attribute.value()),
            dw::DW_AT_name => entry.name = text(attribute.value()),
            dw::DW_AT_abstract_origin | dw::DW_AT_specification => entry.next = Some(attribute.value()),
            _ => {}
        }
    }
    Some(entry)
}

/// Languages whose functions live in namespaces.
pub(super) fn has_namespaces(unit: &Unit<'_>) -> bool {
    let root = || -> gimli::Result<Option<Value<'_>>> {
        let mut raw = unit.entries_raw(None)?;
        let Some(root) = raw.read_abbreviation()? else { return Ok(None) };
        let mut language = None;
        for spec in root.attributes() {
            let attribute = raw.read_attribute(*spec)?;
            if attribute.name() == dw::DW_AT_language {
                language = Some(attribute.value());
            }
        }
        Ok(language)
    };
    // A partial unit (dwz) does not say its language.
    let Ok(Some(Value::Language(language))) = root() else { return true };
    matches!(
        language,
        dw::DW_LANG_C_plus_plus
            | dw::DW_LANG_C_plus_plus_03
            | dw::DW_LANG_C_plus_plus_11
            | dw::DW_LANG_C_plus_plus_14
            | dw::DW_LANG_C_plus_plus_17
            | dw::DW_LANG_C_plus_plus_20
            | dw::DW_LANG_Rust
            | dw::DW_LANG_D
            | dw::DW_LANG_Swift
            | dw::DW_LANG_Zig
            | dw::DW_LANG_Crystal
    )
}

/// The name of a type with the namespaces and classes around it.
pub(super) fn qualified(
    unit: &Unit<'_>,
    dwarf: &Dwarf<'_>,
    scopes: &ScopeTable,
    die: UnitOffset,
    name: &str,
) -> String {
    let mut out = String::new();
    for place in scopes.around(die.0) {
        match read(dwarf, unit, UnitOffset(place)).and_then(|entry| entry.name) {
            Some(part) => out.push_str(&part),
            // As gdb and the demangler write it.
            None => out.push_str("(anonymous namespace)"),
        }
        out.push_str("::");
    }
    out + name
}

/// `name` with the namespaces and classes around its entry.
fn with_scopes(unit: &Unit<'_>, dwarf: &Dwarf<'_>, die: UnitOffset, name: &str) -> Option<String> {
    if !has_namespaces(unit) {
        return None;
    }
    // The entries around one are those that were opened and not closed before it.
    let mut raw = unit.entries_raw(None).ok()?;
    let mut around: Vec<(UnitOffset, gimli::DwTag)> = Vec::new();
    while !raw.is_empty() && raw.next_offset().0 < die.0 {
        let place = raw.next_offset();
        let depth = usize::try_from(raw.next_depth()).ok()?;
        around.truncate(depth);
        let Some(abbreviation) = raw.read_abbreviation().ok()? else { continue };
        raw.skip_attributes(abbreviation.attributes()).ok()?;
        if abbreviation.has_children() {
            if depth >= MAX_DEPTH {
                return None;
            }
            around.push((place, abbreviation.tag()));
        }
    }
    around.truncate(usize::try_from(raw.next_depth()).ok()?);
    let mut out = String::new();
    for (place, tag) in around {
        if !scopes::is_scope(tag) {
            continue;
        }
        match read(dwarf, unit, place).and_then(|entry| entry.name) {
            Some(part) => out.push_str(&part),
            // As gdb and the demangler write it.
            None if tag == dw::DW_TAG_namespace => out.push_str("(anonymous namespace)"),
            None => out.push_str("{unnamed}"),
        }
        out.push_str("::");
    }
    out.push_str(name);
    Some(out)
}
