//! The register values of one thread or one frame: some known, some not.

use crate::Virt;
use crate::arch::{Arch, RegisterInfo};

/// Most registers that any processor's table has.
pub(crate) const SLOTS: usize = 48;

/// Register values by slot (see [`crate::arch`]); a register that was not saved has no value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    arch: Arch,
    known: u64,
    values: [u64; SLOTS],
}

impl Registers {
    /// No register known.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        Self { arch, known: 0, values: [0; SLOTS] }
    }

    /// The processor.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The value in a slot.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<u64> {
        if slot < SLOTS && self.known >> slot & 1 == 1 { self.values.get(slot).copied() } else { None }
    }

    /// Sets a slot; a slot that the processor does not have is ignored.
    pub fn set(&mut self, slot: usize, value: u64) {
        if slot < self.arch.info().registers.len()
            && let Some(place) = self.values.get_mut(slot)
        {
            *place = value;
            self.known |= 1 << slot;
        }
    }

    /// Makes a slot unknown.
    pub fn clear(&mut self, slot: usize) {
        if slot < SLOTS {
            self.known &= !(1 << slot);
        }
    }

    /// The value of the register with this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<u64> {
        self.get(self.arch.info().slot(name)?)
    }

    /// The value of the register with this DWARF number.
    #[must_use]
    pub fn by_dwarf(&self, number: u16) -> Option<u64> {
        self.get(self.arch.info().slot_of_dwarf(number)?)
    }

    /// The program counter.
    #[must_use]
    pub fn pc(&self) -> Option<Virt> {
        self.get(self.arch.info().pc).map(Virt)
    }

    /// The stack pointer.
    #[must_use]
    pub fn sp(&self) -> Option<Virt> {
        self.get(self.arch.info().sp).map(Virt)
    }

    /// The frame pointer.
    #[must_use]
    pub fn fp(&self) -> Option<Virt> {
        self.arch.info().fp.and_then(|slot| self.get(slot)).map(Virt)
    }

    /// The link register.
    #[must_use]
    pub fn lr(&self) -> Option<Virt> {
        self.arch.info().lr.and_then(|slot| self.get(slot)).map(Virt)
    }

    /// All known registers with their values, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static RegisterInfo, u64)> + '_ {
        let registers = self.arch.info().registers.iter().enumerate();
        registers.filter_map(|(slot, register)| Some((register, self.get(slot)?)))
    }
}

impl std::fmt::Debug for Registers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for (register, value) in self.iter() {
            map.entry(&register.name, &format_args!("{value:#x}"));
        }
        map.finish()
    }
}
