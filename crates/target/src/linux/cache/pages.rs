//! From a `struct page` to the physical page that it describes.
//!
//! *Trap*: where the array of all `struct page` begins is chosen anew at each start on x86, and lies in another place on
//! each kind of arm64 kernel. The kernel's own sections of memory say it on both.

use crate::linux::Linux;
use crate::linux::place::mapped_text;
use afterimage_dump::system::vmcoreinfo::value;
use afterimage_dump::{Phys, Virt};

/// Bytes of a page's address that sections use for marks (`SECTION_MAP_MASK`, include/linux/mmzone.h).
const MARKS: u64 = 0xfff;
/// Sections' tables that are looked at: enough for 52 bits of addresses.
const ROOTS: u64 = 1 << 17;

impl Linux {
    /// Physical address of what a `struct page` or folio describes.
    ///
    /// # Errors
    /// Why the array of pages cannot be found, or that this is no place in it.
    pub(in crate::linux) fn page_address(&self, page: u64) -> Result<Phys, String> {
        let base = self.page_array()?;
        let size = self.size("page")?;
        let distance = page.wrapping_sub(base);
        let number = distance.checked_div(size).filter(|number| number * size == distance);
        let address = number.and_then(|number| number.checked_mul(self.page_bytes()));
        address.map(Phys).ok_or_else(|| format!("{page:#x} is no struct page"))
    }

    /// Where the array of all `struct page` begins (`vmemmap`): that of physical page 0, which need not be there.
    pub(in crate::linux) fn page_array(&self) -> Result<u64, String> {
        self.vmemmap.get_or_init(|| self.find_page_array()).clone()
    }

    fn find_page_array(&self) -> Result<u64, String> {
        let size = self.size("page")?;
        let text = mapped_text(&self.symbols, self.arch).ok_or("kallsyms has no _text")?;
        let number =
            self.memory().translate(Virt(text)).map_err(|miss| miss.to_string())?.physical.0 / self.page_bytes();
        // The page that the kernel's code begins with has its structure.
        let proved = |base: &u64| {
            let page = base.wrapping_add(number.wrapping_mul(size));
            self.memory().translate(Virt(page)).is_ok()
        };
        let ways = [Self::by_sections, Self::by_variable, Self::by_vmcoreinfo];
        let found = ways.iter().find_map(|way| way(self).filter(proved));
        found.ok_or_else(|| "the array of pages (vmemmap) cannot be found".to_owned())
    }

    /// Each section of memory holds where its pages' structures would begin if it were the first one.
    fn by_sections(&self) -> Option<u64> {
        const PRESENT: u64 = 1;
        let roots = self.word(self.symbols.address("mem_section")?)?;
        let size = self.size("mem_section").ok()?;
        let map = self.offset("mem_section", "section_mem_map").ok()?;
        let sections = self.page_bytes().checked_div(size)?;
        let root = (0..ROOTS).map_while(|index| self.word(roots.wrapping_add(8 * index))).find(|root| *root != 0)?;
        let maps = (0..sections).filter_map(|index| self.word(root.wrapping_add(index * size + map)));
        maps.into_iter().find(|map| map & PRESENT != 0).map(|map| map & !MARKS)
    }

    /// x86 keeps it in a variable.
    fn by_variable(&self) -> Option<u64> {
        self.word(self.symbols.address("vmemmap_base")?)
    }

    /// arm64 tells where the array begins in its virtual memory, and where physical memory begins.
    fn by_vmcoreinfo(&self) -> Option<u64> {
        let told = value(self.vmcoreinfo.as_deref()?, "NUMBER(VMEMMAP_START)")?;
        let start = u64::from_str_radix(told.trim_start_matches("0x"), 16).ok()?;
        // Below 0 where the map of all memory was moved (KASLR), or is as large as 52 bits and the processor has 48.
        let first = (self.word(self.symbols.address("memstart_addr")?)? as i64).div_euclid(self.page_bytes() as i64);
        Some(start.wrapping_sub((first as u64).wrapping_mul(self.size("page").ok()?)))
    }
}
