//! Bytes of memory, sixteen a row.

use crate::cell::{Absent, Addr, Field, HexBytes};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Param, Params, TableError, emit};
use afterimage_dump::{Absence, Address, Memory, Phys, Virt};
use afterimage_target::Target;
use std::ops::Range;

row! {
    /// Bytes of memory, sixteen a row. Needs `start=`; takes `length=` (256 bytes if not given), and `space=physical` for the
    /// dump of a machine.
    MemoryRow {
        /// Address of the first byte.
        address: Addr,
        /// The bytes; missing where the dump has none.
        bytes: Field<HexBytes>,
        /// The bytes as ASCII, a dot for everything else.
        text: Field<String>,
    }
}

/// The keys of this table.
pub(crate) const PARAMS: &[Param] = &[
    Param { name: "start", doc: "first address, as 0x7f00" },
    Param { name: "length", doc: "how many bytes; 256 if not given" },
    Param { name: "space", doc: "`physical` for the physical memory of a machine; `virtual` if not given" },
];

pub(crate) fn run(target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let start = params.number("start")?.ok_or(TableError::MissingKey("start=ADDRESS"))?;
    let length = params.number("length")?.unwrap_or(256);
    let end = start.saturating_add(length);
    match params.text("space") {
        None | Some("virtual") => {
            // A Linux machine's own page tables lead farther than its container.
            if target.dump().machine.is_some()
                && let Ok(linux) = target.linux()
            {
                rows::<Virt>(linux.memory(), start..end, &|at| Some((at / 4096 + 1).saturating_mul(4096)), sink);
                return Ok(());
            }
            let memory = target.memory();
            let next = |at: u64| {
                let extents = memory.extents();
                let behind = extents.iter().filter(|extent| extent.absent.is_none() && extent.end.0 > at);
                behind.map(|extent| extent.start.0.max(at.saturating_add(1))).min()
            };
            rows::<Virt>(memory, start..end, &next, sink);
            Ok(())
        }
        Some("physical") => {
            let Some(machine) = &target.dump().machine else {
                return Err(TableError::NoSuch("the dump is of a process and has no physical memory".to_owned()));
            };
            let next = |mut at: u64| loop {
                let extent = machine.memory.next(Phys(at)).filter(|extent| extent.end.0 > at)?;
                if extent.absent.is_none() {
                    return Some(extent.start.0.max(at.saturating_add(1)));
                }
                at = extent.end.0;
            };
            rows::<Phys>(&*machine.memory, start..end, &next, sink);
            Ok(())
        }
        Some(other) => Err(TableError::NoSuch(format!("there is no space `{other}` (physical, virtual)"))),
    }
}

/// Rows for a range; `next` gives the next address behind a hole that has bytes.
fn rows<A: Address>(
    memory: &(impl Memory<A> + ?Sized),
    range: Range<u64>,
    next: &dyn Fn(u64) -> Option<u64>,
    sink: &mut dyn Sink,
) {
    let (mut at, end) = (range.start, range.end);
    while at < end {
        let mut block = [0u8; 16];
        let want = (end - at).min(16) as usize;
        let Some(buf) = block.get_mut(..want) else { break };
        let row = match memory.read_at(A::new(at), buf) {
            Ok(got) => {
                let bytes = buf.get(..got).unwrap_or_default().to_vec();
                let printable = |&b: &u8| if (0x20..0x7f).contains(&b) { char::from(b) } else { '.' };
                let text = bytes.iter().map(printable).collect();
                at = at.saturating_add(got.max(1) as u64);
                let first = at.saturating_sub(got.max(1) as u64);
                MemoryRow { address: Addr(first), bytes: Ok(HexBytes(bytes)), text: Ok(text) }
            }
            Err(fault) => {
                let absent = Absent::because(fault.why.to_string());
                let first = at;
                // On to the next address that has bytes: a hole is one row, whatever its size. What should be there and
                // is lost is told page by page.
                let page = (at / 4096 + 1).saturating_mul(4096);
                let lost = matches!(fault.why, Absence::Truncated | Absence::Corrupt | Absence::Io(_));
                at = next(at).map_or(end, |next| if lost { next.max(page) } else { next });
                MemoryRow { address: Addr(first), bytes: Err(absent.clone()), text: Err(absent) }
            }
        };
        if emit(sink, row).is_break() {
            break;
        }
    }
}
