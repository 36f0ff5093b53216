//! The bytes of BTF: the kernel's own, and its modules'.
//!
//! *Example*: the kernel's blob is what `/sys/kernel/btf/vmlinux` gave; bpftool and pahole read it.
//!
//! *Trap*: a module's blob alone says little. Its numbers go on where the kernel's end, so readers want both
//! (`bpftool btf dump file MODULE -B VMLINUX`).

use crate::linux::Linux;
use afterimage_symbols::kernel::Btf;
use std::sync::Arc;

/// Bytes of a module's BTF at most; the largest of a kernel with all modules has some 2 MiB.
const MOST: u64 = 64 << 20;

/// The types of a module.
pub struct ModuleBtf {
    /// The module's name.
    pub name: String,
    /// The blob as the module brought it.
    pub bytes: Vec<u8>,
}

impl Linux {
    /// The kernel's BTF as it lies in memory.
    ///
    /// # Errors
    /// Why there is none.
    pub fn btf_bytes(&self) -> Result<Vec<u8>, String> {
        let types = self.types.as_ref().map_err(Clone::clone)?;
        let Some((start, len)) = self.btf_place().filter(|(_, len)| *len <= MOST) else {
            // Found by what it holds: names of data are not in all kernels.
            return Ok(types.to_bytes());
        };
        let bytes = self.bytes(start, len as usize);
        if (bytes.len() as u64) < len {
            return Ok(types.to_bytes());
        }
        Ok(bytes)
    }

    /// The BTF of all modules that have one (5.11 and later), and what was wrong on the way.
    ///
    /// # Errors
    /// If the kernel keeps none.
    pub fn module_btfs(&self) -> Result<(Vec<ModuleBtf>, Vec<String>), String> {
        let head = self.symbol("btf_modules").map_err(|why| format!("{why}: this kernel keeps no types of modules"))?;
        let (mut found, mut remarks) = (Vec::new(), Vec::new());
        for at in self.list(head, "btf_module", "list", "the list of modules' types", &mut remarks)? {
            let module = self.pointer(at, "btf_module", "module");
            let name =
                module.and_then(|module| self.text(module.wrapping_add(self.offset("module", "name").ok()?), 56));
            let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("module at {at:#x}"));
            match self.one_btf(at) {
                Ok(bytes) => found.push(ModuleBtf { name, bytes }),
                Err(why) => remarks.push(format!("{name}: {why}")),
            }
        }
        Ok((found, remarks))
    }

    fn one_btf(&self, at: u64) -> Result<Vec<u8>, String> {
        let btf = self.pointer(at, "btf_module", "btf").ok_or("its types are not in the dump")?;
        let data = self.pointer(btf, "btf", "data").ok_or("its types are not in the dump")?;
        let len = self.int(btf, "btf", "data_size").ok_or("the length of its types is not in the dump")?;
        if len == 0 || len > MOST {
            return Err(format!("its types would have {len} bytes"));
        }
        let bytes = self.bytes(data, len as usize);
        if (bytes.len() as u64) < len {
            return Err(format!("only {} of {len} bytes of its types are in the dump", bytes.len()));
        }
        let base = self.types.as_ref().map_err(Clone::clone)?;
        match Btf::parse_split(&bytes, Arc::clone(base)) {
            Some(_) => Ok(bytes),
            None => Err("its types (BTF) are damaged".into()),
        }
    }
}
