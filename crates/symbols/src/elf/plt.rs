//! Names for the stubs of the procedure linkage table: `abort@plt`.
//!
//! Not here: following a stub into another module.
//!
//! Example: on x86-64 a stub is `jmp *slot(%rip)`; the relocation that fills that slot names the function. So the order
//! of stubs and relocations does not matter, and `.plt`, `.plt.sec` (IBT) and `.plt.got` are read the same way.
//!
//! Trap: a lazy `.plt` beside a `.plt.sec` has no such jump: its stubs push the index of their relocation instead.

use super::*;

/// The stubs of one file, in rising order.
#[derive(Debug, Default)]
pub(crate) struct PltStubs {
    /// Start, size, index of the dynamic symbol.
    stubs: Vec<(u64, u64, u32)>,
}

/// A file has at most as many stubs as imported functions.
const MAX_STUBS: usize = 1 << 20;

const R_GLOB_DAT_JUMP_SLOT_X86: [u32; 2] = [6, 7];
const R_GLOB_DAT_JUMP_SLOT_AARCH64: [u32; 2] = [1025, 1026];

impl ElfObject {
    /// The PLT stub that covers an address: its start, its size, and the name of the function that it calls.
    pub(crate) fn plt_stub(&self, at: u64) -> Option<(u64, u64, &[u8])> {
        let section = self.section_at(at)?;
        if !self.section_name(section).starts_with(b".plt") {
            return None;
        }
        let stubs = &self.plt.get_or_init(|| self.read_stubs()).stubs;
        let after = stubs.partition_point(|(start, ..)| *start <= at);
        let (start, size, symbol) = *stubs.get(after.checked_sub(1)?)?;
        if at - start >= size {
            return None;
        }
        Some((start, size, self.dynsym()?.name_of(self, symbol)?))
    }

    fn read_stubs(&self) -> PltStubs {
        let (wanted, machine) = match self.machine {
            EM_386 | EM_X86_64 => (R_GLOB_DAT_JUMP_SLOT_X86, self.machine),
            EM_AARCH64 => (R_GLOB_DAT_JUMP_SLOT_AARCH64, self.machine),
            _ => return PltStubs::default(),
        };
        let (slots, order) = self.slot_symbols(wanted);
        let mut stubs = Vec::new();
        for section in &self.sections {
            let name = self.section_name(section);
            if !matches!(name, b".plt" | b".plt.sec" | b".plt.got" | b".plt.bnd") {
                continue;
            }
            let Some(code) = self.section_raw(section) else { continue };
            if machine == EM_AARCH64 {
                self.aarch64_stubs(section, code, &slots, &mut stubs);
                continue;
            }
            let size = match section.entsize {
                8 | 16 => section.entsize,
                _ => 16,
            };
            for (index, entry) in code.chunks_exact(size as usize).enumerate() {
                let start = section.addr.wrapping_add(index as u64 * size);
                let symbol = match self.x86_slot(entry, start) {
                    Some(slot) => slots.get(&slot).copied(),
                    // endbr; push $n; jmp PLT0: the lazy half of an IBT stub.
                    None => x86_push(entry).and_then(|n| order.get(n as usize).copied()),
                };
                if let Some(symbol) = symbol.filter(|_| stubs.len() < MAX_STUBS) {
                    stubs.push((start, size, symbol));
                }
            }
        }
        stubs.sort_unstable();
        PltStubs { stubs }
    }

    /// Which symbol fills which slot of the GOT, and the symbols of `.rela.plt` in its order.
    fn slot_symbols(&self, wanted: [u32; 2]) -> (HashMap<u64, u32>, Vec<u32>) {
        let mut slots = HashMap::new();
        let mut order = Vec::new();
        for section in &self.sections {
            if !matches!(section.kind, SHT_REL | SHT_RELA) || section.flags & SHF_ALLOC == 0 {
                continue;
            }
            let Some(bytes) = self.section_raw(section) else { continue };
            let words = if section.kind == SHT_RELA { 3 } else { 2 };
            let word = usize::from(self.address_size());
            let is_plt = self.section_name(section).ends_with(b".plt");
            for entry in bytes.chunks_exact(word * words) {
                let view = View::new(entry, self.little);
                let (Some(slot), Some(info)) = (view.word(0, self.is_64), view.word(word as u64, self.is_64)) else {
                    break;
                };
                let (symbol, kind) = if self.is_64 {
                    ((info >> 32) as u32, info as u32)
                } else {
                    ((info >> 8) as u32, info as u32 & 0xff)
                };
                if is_plt && order.len() < MAX_STUBS {
                    order.push(symbol);
                }
                if wanted.contains(&kind) && slots.len() < MAX_STUBS {
                    slots.insert(slot, symbol);
                }
            }
        }
        (slots, order)
    }

    /// The GOT slot that an x86 stub jumps through.
    fn x86_slot(&self, entry: &[u8], start: u64) -> Option<u64> {
        // An optional endbr (f3 0f 1e fa / fb) and an optional BND prefix stand before the jump.
        let mut at = if entry.starts_with(&[0xf3, 0x0f, 0x1e]) { 4 } else { 0 };
        if entry.get(at) == Some(&0xf2) {
            at += 1;
        }
        let modrm = *entry.get(at + 1).filter(|_| entry.get(at) == Some(&0xff))?;
        let displacement = View::new(entry, true).u32(at as u64 + 2)?;
        match (self.machine, modrm) {
            (EM_X86_64, 0x25) => {
                Some(start.wrapping_add(at as u64 + 6).wrapping_add_signed(i64::from(displacement as i32)))
            }
            (EM_386, 0x25) => Some(u64::from(displacement)),
            // jmp *disp(%ebx): ebx holds the GOT's address, which is that of .got.plt.
            (EM_386, 0xa3) => {
                let got = self.section_named(".got.plt").or_else(|| self.section_named(".got"))?;
                Some(u64::from((got.addr as u32).wrapping_add(displacement)))
            }
            _ => None,
        }
    }

    fn aarch64_stubs(
        &self,
        section: &Section,
        code: &[u8],
        slots: &HashMap<u64, u32>,
        stubs: &mut Vec<(u64, u64, u32)>,
    ) {
        let mut page = None;
        let mut start = section.addr;
        let word = |bytes: &[u8]| View::new(bytes, true).u32(0).unwrap_or(0);
        let mut open = false;
        for (index, bytes) in code.chunks_exact(4).enumerate() {
            let (here, code) = (section.addr.wrapping_add(index as u64 * 4), word(bytes));
            // bti c, or adrp x16, page: a stub begins.
            let bti = code == 0xd503_245f;
            let adrp = code & 0x9f00_001f == 0x9000_0010;
            if bti || (adrp && !open) {
                if let Some(last) = stubs.last_mut().filter(|stub| stub.0 == start) {
                    last.1 = here.wrapping_sub(start);
                }
                start = here;
                open = bti;
            }
            if adrp {
                open = false;
                let low = u64::from(code >> 29 & 3);
                let high = u64::from(code >> 5 & 0x7_ffff);
                let offset = (((high << 2 | low) << 12) as i64) << 31 >> 31;
                page = Some((here & !0xfff).wrapping_add_signed(offset));
            }
            // ldr x17, [x16, #imm]
            if let (0xf940_0211, Some(page)) = (code & 0xffc0_03ff, page)
                && let Some(symbol) = slots.get(&page.wrapping_add(u64::from(code >> 10 & 0xfff) * 8))
                && stubs.len() < MAX_STUBS
            {
                stubs.push((start, 16, *symbol));
            }
        }
    }
}

/// The relocation index that a lazy x86 stub pushes.
fn x86_push(entry: &[u8]) -> Option<u32> {
    let at = if entry.starts_with(&[0xf3, 0x0f, 0x1e]) { 4 } else { 0 };
    let index = View::new(entry, true).u32(at as u64 + 1)?;
    (entry.get(at) == Some(&0x68)).then_some(index)
}
