//! Loaded modules of the kernel.

use super::kernel::Linux;
use std::collections::HashSet;

/// Modules at most.
const MOST: usize = 1 << 16;

/// One module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelModule {
    /// Address of its `struct module`.
    pub at: u64,
    /// Its name.
    pub name: String,
    /// Where its code lies.
    pub base: u64,
    /// Bytes of its core parts.
    pub size: u64,
    /// Taints, a bit each.
    pub taints: u64,
}

impl Linux {
    /// All modules, as `lsmod` shows them; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn modules(&self) -> Result<(Vec<KernelModule>, Vec<String>), String> {
        let head = self.symbol("modules")?;
        let list = self.offset("module", "list")?;
        let (mut modules, mut remarks) = (Vec::new(), Vec::new());
        let mut seen = HashSet::from([head]);
        let mut at = head;
        loop {
            let Some(next) = self.word(at) else {
                remarks.push(format!("the list of modules cannot be followed behind {at:#x}"));
                break;
            };
            if next == head {
                break;
            }
            if !seen.insert(next) || modules.len() >= MOST {
                remarks.push("the list of modules runs in a circle".to_owned());
                break;
            }
            let module = next.wrapping_sub(list);
            let name = self.offset("module", "name").ok().and_then(|offset| self.text(module.wrapping_add(offset), 56));
            let Some(name) = name.filter(|name| !name.is_empty()) else {
                remarks.push(format!("the module at {module:#x} makes no sense; those behind it are not read"));
                break;
            };
            let (base, size) = self.parts(module).unwrap_or((0, 0));
            modules.push(KernelModule {
                at: module,
                name,
                base,
                size,
                taints: self.pointer(module, "module", "taints").unwrap_or(0),
            });
            at = next;
        }
        Ok((modules, remarks))
    }

    /// Where a module's code lies, and how large all its parts are together.
    fn parts(&self, module: u64) -> Option<(u64, u64)> {
        if let Ok(parts) = self.offset("module", "mem") {
            // Since 6.4: one part for each kind of memory, text first; those for starting are gone.
            const CORE: u64 = 4;
            let each = self.size("module_memory").ok()?;
            let base = self.pointer(module.wrapping_add(parts), "module_memory", "base")?;
            let sizes = (0..CORE).filter_map(|part| {
                self.int(module.wrapping_add(part.wrapping_mul(each).wrapping_add(parts)), "module_memory", "size")
            });
            return Some((base, sizes.sum()));
        }
        let base = self.pointer(module, "module", "core_layout.base")?;
        Some((base, self.int(module, "module", "core_layout.size")?))
    }
}
