//! volatility3's Intermediate Symbol Format (schema 6.2.0), from what the kernel carries in itself.
//!
//! *What it is*: types from BTF, symbols from kallsyms with addresses as linked, so that one file serves all images of the
//! kernel; volatility3 finds it by the banner.
//!
//! *Trap*: volatility3 refuses to make an object of a symbol that has no type at all, so each that nobody knows the type
//! of is `void`. It also checks a file of this size against the schema once, which takes it a minute or two.

use super::ExportError;
use super::json::{Json, base64};
use super::known;
use super::plausible::Known;
use super::types::{Types, base};
use crate::linux::Linux;
use afterimage_symbols::kernel::{Btf, KernelSymbol};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};
use std::sync::Arc;

/// Longest banner.
const BANNER: usize = 1024;
/// Refused types that are named one by one.
const NAMED: usize = 16;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IsfSummary {
    /// Structures, unions and enumerations.
    pub types: usize,
    /// Symbols.
    pub symbols: usize,
    /// Those of them whose type is known.
    pub typed: usize,
    /// Modules whose types are in it, too.
    pub modules: usize,
    /// Bytes.
    pub bytes: u64,
    /// What is not as it should be.
    pub remarks: Vec<String>,
}

impl Linux {
    /// Writes an ISF for this kernel.
    ///
    /// # Errors
    /// If the kernel's types or the distance from its linked addresses are not known, or the output fails.
    pub fn write_isf(&self, out: &mut dyn Write) -> Result<IsfSummary, ExportError> {
        let kernel = self.types.as_ref().map_err(Clone::clone)?;
        let mut summary = IsfSummary::default();
        let mut modules = Vec::new();
        match self.module_btfs() {
            Ok((found, remarks)) => {
                summary.remarks.extend(remarks);
                for module in found {
                    modules.extend(Btf::parse_split(&module.bytes, Arc::clone(kernel)).map(|btf| (module.name, btf)));
                }
            }
            Err(why) => summary.remarks.push(format!("no types of modules: {why}")),
        }
        summary.modules = modules.len();
        let types = Types::new(kernel, &modules);
        summary.types = types.len();
        let symbols = self.chosen()?;
        summary.symbols = symbols.len();
        let mut json = Json::new(out);
        json.open()?;
        json.object("metadata")?;
        json.object("producer")?;
        json.text("name", "afterimage")?;
        json.text("version", env!("CARGO_PKG_VERSION"))?;
        json.close()?;
        json.text("format", "6.2.0")?;
        json.close()?;
        json.object("base_types")?;
        types.write_base(&mut json)?;
        json.close()?;
        json.object("user_types")?;
        types.write_structures(&mut json)?;
        json.close()?;
        json.object("enums")?;
        types.write_enums(&mut json)?;
        json.close()?;
        json.object("symbols")?;
        let mut refused = Vec::new();
        for (symbol, linked) in symbols {
            json.object(symbol.name)?;
            json.number("address", linked)?;
            json.key("type")?;
            summary.typed += usize::from(self.write_type(&mut json, &types, symbol, &mut refused)?);
            if symbol.name == "linux_banner" {
                let banner = self.bytes(symbol.address, BANNER);
                let end = memchr::memchr(0, &banner).map_or(banner.len(), |end| end + 1);
                json.text("constant_data", &base64(banner.get(..end).unwrap_or_default()))?;
            }
            json.close()?;
        }
        summary.symbols += self.write_parts(&mut json)?;
        json.close()?;
        json.close()?;
        summary.bytes = json.written();
        if refused.len() > NAMED {
            summary.remarks.push(format!("{} more variables have no type for like reasons", refused.len() - NAMED));
            refused.truncate(NAMED);
        }
        summary.remarks.extend(refused);
        Ok(summary)
    }

    /// The tables of kallsyms, which are in no kallsyms; gives how many.
    fn write_parts(&self, json: &mut Json) -> Result<usize, ExportError> {
        let mut written = 0;
        for (name, physical) in &self.symbols.parts {
            if self.symbols.iter().any(|symbol| symbol.name == *name) {
                continue;
            }
            json.object(name)?;
            json.number("address", self.link_address(physical.wrapping_add(self.image_offset))?)?;
            json.key("type")?;
            base(json, if *name == "kallsyms_num_syms" { "unsigned int" } else { "void" })?;
            json.close()?;
            written += 1;
        }
        Ok(written)
    }

    /// One symbol for each name with its address as linked: names of static ones are not unique, and a global one, then the
    /// first, is what readers mean.
    fn chosen(&self) -> Result<Vec<(KernelSymbol<'_>, u64)>, String> {
        let mut by_name: HashMap<&str, KernelSymbol> = HashMap::with_capacity(self.symbols.len());
        let global = |symbol: &KernelSymbol| symbol.kind.is_ascii_uppercase();
        for symbol in self.symbols.iter().filter(|symbol| !symbol.name.is_empty()) {
            match by_name.entry(symbol.name) {
                Entry::Vacant(place) => {
                    place.insert(symbol);
                }
                Entry::Occupied(mut place) => {
                    if global(&symbol) && !global(place.get()) {
                        place.insert(symbol);
                    }
                }
            }
        }
        let mut symbols = Vec::with_capacity(by_name.len());
        for symbol in by_name.into_values() {
            symbols.push((symbol, self.link_address(symbol.address)?));
        }
        symbols.sort_by_key(|(symbol, _)| (symbol.address, symbol.name));
        Ok(symbols)
    }

    /// The type of a symbol; gives whether it is known.
    fn write_type(
        &self,
        json: &mut Json,
        types: &Types,
        symbol: KernelSymbol,
        refused: &mut Vec<String>,
    ) -> io::Result<bool> {
        let name = symbol.name;
        if let Some(of) = types.variable(name) {
            types.describe(json, of, 0)?;
            return Ok(true);
        }
        // In 7.3 most of the kernel's data have the letter of code.
        let data = matches!(symbol.kind, 'd' | 'D' | 'b' | 'B' | 'r' | 'R' | 'v' | 'V' | 'A')
            || self.in_image(symbol.address) && !self.own_code(symbol.address);
        let Some(rule) = known::rule(name).filter(|_| data) else {
            base(json, "void")?;
            return Ok(false);
        };
        let room = self.symbols.next_above(symbol.address).unwrap_or(u64::MAX).wrapping_sub(symbol.address);
        let Some(known) = Known::parse(rule.expression, types, room) else {
            base(json, "void")?;
            return Ok(false);
        };
        if let Some(why) = self.implausible(types, &known, symbol.address, room, !rule.exact) {
            // By parts of names much is guessed and refused; only what every kernel declares so is worth a word.
            if rule.exact {
                refused.push(format!("{name} is not taken for {}: {why}", rule.expression));
            }
            base(json, "void")?;
            return Ok(false);
        }
        write_known(json, types, &known)?;
        Ok(true)
    }
}

fn write_known(json: &mut Json, types: &Types, known: &Known) -> io::Result<()> {
    match known {
        Known::Type(of) => types.describe(json, *of, 0),
        Known::Void => base(json, "void"),
        Known::Pointer(to) => {
            json.open()?;
            json.text("kind", "pointer")?;
            json.key("subtype")?;
            write_known(json, types, to)?;
            json.close()
        }
        Known::Array(element, count) => {
            json.open()?;
            json.text("kind", "array")?;
            json.number("count", count)?;
            json.key("subtype")?;
            write_known(json, types, element)?;
            json.close()
        }
    }
}
