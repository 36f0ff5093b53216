//! PDB files: names, source lines and inlined functions of Windows' programs, and the frames of 32-bit ones.
//!
//! What it is: the identity, sections, publics and each object file's procedures and lines, read when an address of that
//! object file is asked for. What it is not: types of variables, or a writer.
//!
//! Trap: symbols count from sections, not from the image; and where a program was rearranged after linking (OMAP), its
//! sections are not the ones that the symbols mean.
//!
//! Facts: LLVM's description of the format, Microsoft's `cvinfo.h`.

mod frames;
mod ids;
mod inlines;
mod lines;
mod module;
mod msf;
mod places;
mod publics;

use crate::dwarf::Found;
use crate::elf::View;
use crate::pe::CodeView;
use crate::{Blob, CfiMiss, Error, Function, FunctionKind, Machine, Step, demangle};
use module::ObjectFile;
use msf::Msf;
use places::Places;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Streams with fixed numbers.
const INFO: u16 = 1;
const DBI: u16 = 3;

/// One PDB.
pub struct Pdb {
    msf: Msf,
    guid: [u8; 16],
    /// Ages of the information and of the DBI stream: modules are known by the second, when there is one.
    ages: (u32, u32),
    places: Places,
    header: Header,
    /// Object files by their number; a file that cannot be read is kept as nothing.
    objects: Mutex<HashMap<u16, Option<Arc<ObjectFile>>>>,
    names: OnceLock<Vec<u8>>,
    publics: OnceLock<publics::Publics>,
    ids: OnceLock<ids::Ids>,
    frames: OnceLock<frames::Frames>,
}

/// What the DBI stream says.
#[derive(Default)]
struct Header {
    symbols: u16,
    /// Symbol stream, bytes of symbols, of old lines and of lines of each object file.
    modules: Vec<(u16, u32, u32, u32)>,
    /// Names of object files by their number.
    module_names: Vec<Box<[u8]>>,
    /// Streams of further debug data.
    debug: Vec<u16>,
    names: Option<u16>,
    /// `IMAGE_FILE_MACHINE_*`.
    machine: u16,
}

/// Object files kept at a time.
const MAX_KEPT: usize = 256;
const MAX_MODULES: usize = 1 << 16;

impl std::fmt::Debug for Pdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pdb").field("debug_id", &self.debug_id()).finish()
    }
}

impl Pdb {
    /// Reads the identity and the list of object files.
    ///
    /// # Errors
    /// If the bytes are no PDB of version 7, or its fixed streams are missing.
    pub fn parse(blob: Blob) -> Result<Self, Error> {
        let msf = Msf::open(blob)?;
        let missing = |cause: &str| Error::Malformed { what: "pdb", cause: cause.to_owned() };
        let info = msf.stream(INFO).ok_or_else(|| missing("it has no stream of information"))?;
        let view = View::new(&info, true);
        let age = view.u32(8).ok_or_else(|| missing("its information is cut off"))?;
        let guid = view.bytes(12, 16).and_then(|guid| guid.try_into().ok());
        let guid = guid.ok_or_else(|| missing("its information is cut off"))?;
        let dbi = msf.stream(DBI).unwrap_or_default();
        let mut header = Header::read(&dbi);
        header.names = named_stream(&info, b"/names");
        let places = Places::read(&msf, &dbi, &header.debug);
        let dbi_age = View::new(&dbi, true).u32(8).unwrap_or(age);
        Ok(Self {
            msf,
            guid,
            ages: (age, dbi_age),
            places,
            header,
            objects: Mutex::default(),
            names: OnceLock::new(),
            publics: OnceLock::new(),
            ids: OnceLock::new(),
            frames: OnceLock::new(),
        })
    }

    /// GUID and age, as symbol stores name its folder.
    pub fn debug_id(&self) -> String {
        crate::pe::codeview_id(&self.guid, self.ages.1)
    }

    /// Whether it is the debug file that an image names.
    pub fn belongs_to(&self, image: &CodeView) -> bool {
        self.guid == image.guid && (self.ages.0 == image.age || self.ages.1 == image.age)
    }

    /// Whether it has this identity, with either of its ages.
    pub fn has_id(&self, debug_id: &str) -> bool {
        [self.ages.0, self.ages.1]
            .iter()
            .any(|&age| crate::pe::codeview_id(&self.guid, age).eq_ignore_ascii_case(debug_id))
    }

    /// The object file with a number.
    fn object(&self, number: u16) -> Option<Arc<ObjectFile>> {
        let mut kept = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&number) {
            return known.clone();
        }
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        let object = self.header.modules.get(usize::from(number)).and_then(|&(stream, symbols, old, lines)| {
            let bytes = self.msf.stream(stream)?;
            Some(Arc::new(ObjectFile::read(bytes, symbols, old, lines)))
        });
        kept.insert(number, object.clone());
        object
    }

    /// A text of the PDB's table of names.
    fn name(&self, offset: u32) -> Option<String> {
        let names = self.names.get_or_init(|| self.header.names.and_then(|n| self.msf.stream(n)).unwrap_or_default());
        let view = View::new(names, true);
        if view.u32(0)? != 0xeffe_effe || offset >= view.u32(8)? {
            return None;
        }
        Some(String::from_utf8_lossy(view.c_str(12 + u64::from(offset))?).into_owned())
    }

    fn publics(&self) -> &publics::Publics {
        self.publics.get_or_init(|| {
            let stream = self.msf.stream(self.header.symbols).unwrap_or_default();
            publics::Publics::read(stream, &self.places)
        })
    }

    /// The object file and procedure at an address, and the address in the section's terms.
    fn at(&self, rva: u32) -> Option<(Arc<ObjectFile>, places::Place)> {
        let place = self.places.of(rva)?;
        Some((self.object(self.places.module(place)?)?, place))
    }

    /// The procedure that covers an address.
    pub(crate) fn function(&self, rva: u32) -> Option<Function> {
        let (object, place) = self.at(rva)?;
        let procedure = object.procedure(place)?;
        let start = self.places.rva(procedure.place)?;
        Some(Function {
            name: demangle(self.plain(&procedure.name)),
            raw: procedure.name.clone(),
            start: u64::from(start),
            size: Some(u64::from(procedure.size)),
            exact: true,
            kind: FunctionKind::Function,
            source: "pdb",
        })
    }

    /// The last public name at or before an address: its address and name.
    pub(crate) fn public(&self, rva: u32) -> Option<(u32, String)> {
        let (start, name) = self.publics().find(rva)?;
        Some((start, self.plain(&name).to_owned()))
    }

    /// A C name without what i386's calling conventions add: `_f`, `_f@8`, `@f@8`.
    fn plain<'a>(&self, name: &'a str) -> &'a str {
        const I386: u16 = 0x14c;
        if self.header.machine != I386 || name.starts_with('?') {
            return name;
        }
        let bare = name.strip_prefix(['_', '@']).unwrap_or(name);
        match bare.rsplit_once('@') {
            Some((before, bytes)) if !before.is_empty() && bytes.bytes().all(|b| b.is_ascii_digit()) => before,
            _ if name.starts_with('_') => bare,
            _ => name,
        }
    }

    /// The address of a name, decorated or not.
    pub(crate) fn address_of(&self, name: &str) -> Option<u32> {
        self.publics().address_of(name)
    }

    /// Innermost first: functions inlined at an address, then the procedure, each with its place in the source.
    pub(crate) fn locate(&self, rva: u32) -> Vec<Found> {
        let Some((object, place)) = self.at(rva) else { return Vec::new() };
        let Some(procedure) = object.procedure(place) else {
            return self.line_only(&object, place).into_iter().collect();
        };
        let file = |id: u32| object.file(id).and_then(|name| self.name(name));
        let (outer_file, outer_line, column) = match object.line(place) {
            Some(line) => (file(line.file), (line.line != 0).then_some(line.line), line.column),
            None => (None, None, None),
        };
        let start = self.places.rva(procedure.place).map(u64::from);
        let mut found = Vec::new();
        let ids = || self.ids.get_or_init(|| ids::Ids::read(&self.msf));
        for site in object.inlined(procedure, place.offset.wrapping_sub(procedure.place.offset)) {
            found.push(Found {
                raw: self.id(&object, site.function).and_then(|id| ids().name(id)),
                file: site.file.and_then(file),
                line: site.line,
                column: None,
                inlined: true,
                pieced: false,
                range: None,
            });
        }
        found.reverse();
        found.push(Found {
            raw: Some(self.plain(&procedure.name).to_owned()),
            file: outer_file,
            line: outer_line,
            column,
            inlined: false,
            pieced: false,
            range: start.map(|start| (start, start + u64::from(procedure.size))),
        });
        found
    }

    /// The number in the table of ids of an inlined function, which may be another object file's.
    fn id(&self, object: &ObjectFile, function: u32) -> Option<u32> {
        if function >> 31 == 0 {
            return Some(function);
        }
        let (name, local) = object.import(function)?;
        let name = self.name(name)?;
        // Names of paths of Windows: of the two places the one has them in lower case.
        let number = self.header.module_names.iter().position(|known| known.eq_ignore_ascii_case(name.as_bytes()))?;
        // The highest bit tells ids from types.
        self.object(u16::try_from(number).ok()?)?.export(local).map(|id| id & 0x7fff_ffff)
    }

    /// Assembler code has lines and no procedures.
    fn line_only(&self, object: &ObjectFile, place: places::Place) -> Option<Found> {
        let line = object.line(place)?;
        Some(Found {
            raw: None,
            file: object.file(line.file).and_then(|name| self.name(name)),
            line: (line.line != 0).then_some(line.line),
            column: line.column,
            inlined: false,
            pieced: false,
            range: None,
        })
    }

    /// One step out of a 32-bit function, by the frame data that MSVC and lld write.
    pub(crate) fn unwind(&self, rva: u32, machine: &dyn Machine) -> Result<Step, CfiMiss> {
        let frames = self.frames.get_or_init(|| frames::Frames::read(&self.msf, &self.header.debug));
        // Frame data counts as symbols do.
        let own = self.places.original(rva).ok_or(CfiMiss::NotCovered)?;
        frames.step(own, machine, &|offset| self.name(offset))
    }
}

impl Header {
    fn read(dbi: &[u8]) -> Self {
        let view = View::new(dbi, true);
        let mut header = Self { symbols: u16::MAX, ..Self::default() };
        let Some(symbols) = view.u16(20) else { return header };
        header.symbols = symbols;
        header.machine = view.u16(58).unwrap_or(0);
        let size = |at: u64| u64::from(view.u32(at).unwrap_or(0)).min(dbi.len() as u64);
        let (mut at, end) = (64u64, 64 + size(24));
        while at + 64 <= end && header.modules.len() < MAX_MODULES {
            let field = |offset: u64| view.u32(at + offset);
            let (Some(stream), Some(symbols), Some(old), Some(lines)) =
                (view.u16(at + 34), field(36), field(40), field(44))
            else {
                break;
            };
            let Some(name) = view.c_str(at + 64) else { break };
            header.modules.push((stream, symbols, old, lines));
            header.module_names.push(name.into());
            let object = at + 64 + name.len() as u64 + 1;
            let Some(library) = view.c_str(object) else { break };
            at = (object + library.len() as u64 + 1).next_multiple_of(4);
        }
        let before: u64 = [24, 28, 32, 36, 40, 52].into_iter().map(size).sum();
        header.debug = (0..(size(48) / 2).min(16)).map_while(|index| view.u16(64 + before + 2 * index)).collect();
        header
    }
}

/// The number of a stream that has a name: the information holds a hash table of them.
fn named_stream(info: &[u8], wanted: &[u8]) -> Option<u16> {
    let view = View::new(info, true);
    let length = u64::from(view.u32(28)?);
    let texts = view.bytes(32, length)?;
    let mut at = 32 + length;
    let count = view.u32(at)?;
    at += 8;
    // Two bit sets of which slots are filled; the filled ones follow without gaps.
    for _ in 0..2 {
        at = at.checked_add(4 + 4 * u64::from(view.u32(at)?))?;
    }
    (0..u64::from(count).min(4096)).find_map(|index| {
        let name = View::new(texts, true).c_str(u64::from(view.u32(at + 8 * index)?))?;
        (name == wanted).then(|| view.u32(at + 8 * index + 4)).flatten().and_then(|number| u16::try_from(number).ok())
    })
}
