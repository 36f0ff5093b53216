//! Loaded modules of the kernel: what `lsmod`, `/proc/modules` and `/sys/module` show.
//!
//! *Trap*: the table of a module's sections is what insmod(8) left for debuggers. Sections for starting are in it, too,
//! though their memory is long free or in use by something else.

use super::kernel::Linux;
use super::walk::tell;
use std::collections::HashSet;

/// Sections of a module at most.
const MOST_SECTIONS: u64 = 4096;
const NOT_HERE: &str = "the kernel's structure with it is not in the dump";

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
    /// `Live`, `Loading`, `Unloading`, `Unformed`.
    pub state: Option<&'static str>,
    /// How often it is in use.
    pub references: Option<u32>,
    /// Modules that need it, commas between them; empty for none.
    pub used_by: Option<String>,
    /// Its version; why there is none.
    pub version: Result<String, &'static str>,
    /// Sum of its sources; why there is none.
    pub srcversion: Result<String, &'static str>,
    /// Names of its parameters, commas between them; empty for none.
    pub parameters: Option<String>,
}

/// A section of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleSection {
    /// Name of the module.
    pub module: String,
    /// Name, as `.text`.
    pub name: String,
    /// Where it was loaded to.
    pub address: Option<u64>,
}

impl Linux {
    /// All modules, as `lsmod` shows them; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn modules(&self) -> Result<(Vec<KernelModule>, Vec<String>), String> {
        let head = match self.symbol("modules") {
            Ok(head) => head,
            Err(why) => self.modules_head().ok_or(why)?,
        };
        let (mut modules, mut remarks) = (Vec::new(), Vec::new());
        let mut wrong = Vec::new();
        for module in self.list(head, "module", "list", "the list of modules", &mut remarks)? {
            let name = self.offset("module", "name").ok().and_then(|offset| self.text(module.wrapping_add(offset), 56));
            let Some(name) = name.filter(|name| !name.is_empty()) else {
                wrong.push(module);
                continue;
            };
            let (base, size) = self.parts(module).unwrap_or((0, 0));
            let taints = self.pointer(module, "module", "taints").unwrap_or(0);
            modules.push(KernelModule {
                at: module,
                name,
                base,
                size,
                taints,
                state: self.module_state(module),
                references: self.references(module),
                used_by: self.users(module, &mut remarks),
                version: self.module_text(module, "version"),
                srcversion: self.module_text(module, "srcversion"),
                parameters: self.parameters(module),
            });
        }
        if let Some(first) = wrong.first() {
            let more = if wrong.len() > 1 { format!("; {} more like it", wrong.len() - 1) } else { String::new() };
            remarks.push(format!("the module at {first:#x} makes no sense, or is not in the dump{more}"));
        }
        Ok((modules, remarks))
    }

    /// The head of the list where no symbol leads to it (CONFIG_KALLSYMS_ALL=n): some module owns a file system that is
    /// mounted, the disk that it is on, or the operations of an open file or socket; in the ring that it is in, the head
    /// alone lies in the kernel's image.
    fn modules_head(&self) -> Option<u64> {
        let link = self.offset("module", "list").ok()?;
        let mut owners = Vec::new();
        for mount in self.mounts_seen() {
            let block = self.pointer(mount, "mount", "mnt.mnt_sb");
            let kind = block.and_then(|block| self.pointer(block, "super_block", "s_type"));
            owners.extend(kind.and_then(|kind| self.pointer(kind, "file_system_type", "owner")));
            let device = block.and_then(|block| self.pointer(block, "super_block", "s_bdev")).filter(|at| *at != 0);
            let disk = device.and_then(|device| self.pointer(device, "block_device", "bd_disk"));
            let operations = disk.and_then(|disk| self.pointer(disk, "gendisk", "fops"));
            owners.extend(operations.and_then(|at| self.pointer(at, "block_device_operations", "owner")));
        }
        let _ = self.each_file(None, |linux, _, _, file, _| {
            let operations = linux.pointer(file, "file", "f_op");
            owners.extend(operations.and_then(|at| linux.pointer(at, "file_operations", "owner")));
            if linux.is_socket(file) == Some(true) {
                let socket = linux.pointer(file, "file", "private_data");
                let operations = socket.and_then(|socket| linux.pointer(socket, "socket", "ops"));
                owners.extend(operations.and_then(|at| linux.pointer(at, "proto_ops", "owner")));
            }
        });
        let mut tried = HashSet::from([0]);
        owners.into_iter().filter(|owner| tried.insert(*owner)).find_map(|owner| {
            let mut ignored = Vec::new();
            let ring = self.list(owner.wrapping_add(link), "module", "list", "the ring", &mut ignored).ok()?;
            let heads: Vec<u64> = ring.iter().map(|at| at.wrapping_add(link)).collect();
            let mut heads = heads.into_iter().filter(|at| self.in_image(*at));
            heads.next().filter(|_| heads.next().is_none())
        })
    }

    /// The sections of all modules, as `/sys/module/NAME/sections` has them; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn module_sections(&self) -> Result<(Vec<ModuleSection>, Vec<String>), String> {
        self.offset("module", "sect_attrs")?;
        let (modules, mut remarks) = self.modules()?;
        let mut sections = Vec::new();
        for module in modules {
            match self.sections_of(module.at) {
                Err(why) => tell(&mut remarks, || format!("the sections of {}: {why}", module.name)),
                Ok(found) => sections.extend(found.into_iter().map(|(name, address)| ModuleSection {
                    module: module.name.clone(),
                    name,
                    address,
                })),
            }
        }
        Ok((sections, remarks))
    }

    fn sections_of(&self, module: u64) -> Result<Vec<(String, Option<u64>)>, String> {
        let attributes = self.pointer(module, "module", "sect_attrs").ok_or(NOT_HERE)?;
        if attributes == 0 {
            return Err("the kernel kept no table of them".into());
        }
        let name = |at: Option<u64>| at.filter(|at| *at != 0).and_then(|at| self.text(at, 256));
        let mut found = Vec::new();
        let mut lost = 0;
        match self.offset("module_sect_attrs", "nsections") {
            // Up to 6.13: their number, and an array.
            Ok(count) => {
                let count = self.number(attributes.wrapping_add(count), 4).ok_or(NOT_HERE)?;
                if count > MOST_SECTIONS {
                    return Err("their table makes no sense".into());
                }
                let first = attributes.wrapping_add(self.offset("module_sect_attrs", "attrs")?);
                let each = self.size("module_sect_attr")?;
                for number in 0..count {
                    let at = first.wrapping_add(each.wrapping_mul(number));
                    // A file of text up to 5.7, of bytes since.
                    let text = self.pointer(at, "module_sect_attr", "battr.attr.name");
                    match name(text.or_else(|| self.pointer(at, "module_sect_attr", "name"))) {
                        Some(name) => found.push((name, self.pointer(at, "module_sect_attr", "address"))),
                        None => lost += 1,
                    }
                }
            }
            // Since then the files of sysfs themselves, up to an empty place; the address is what is private of each.
            Err(_) => {
                let files = self.offset("module_sect_attrs", "grp.bin_attrs");
                let files = files.or_else(|_| self.offset("module_sect_attrs", "grp.bin_attrs_new"))?;
                let files = self.word(attributes.wrapping_add(files)).filter(|at| *at != 0).ok_or(NOT_HERE)?;
                for number in 0..MOST_SECTIONS {
                    let file = self.word(files.wrapping_add(8 * number)).ok_or(NOT_HERE)?;
                    if file == 0 {
                        break;
                    }
                    match name(self.pointer(file, "bin_attribute", "attr.name")) {
                        Some(name) => found.push((name, self.pointer(file, "bin_attribute", "private"))),
                        None => lost += 1,
                    }
                }
            }
        }
        if lost > 0 && found.is_empty() {
            return Err("their names are not in the dump".into());
        }
        Ok(found)
    }

    /// `enum module_state`.
    fn module_state(&self, module: u64) -> Option<&'static str> {
        let states = [
            ("MODULE_STATE_LIVE", "Live"),
            ("MODULE_STATE_COMING", "Loading"),
            ("MODULE_STATE_GOING", "Unloading"),
            ("MODULE_STATE_UNFORMED", "Unformed"),
        ];
        let state = i64::try_from(self.int(module, "module", "state")?).ok()?;
        states.into_iter().find(|(name, _)| self.enumerator(name) == Some(state)).map(|(_, text)| text)
    }

    /// A module that is loaded has one for itself, which is not counted.
    fn references(&self, module: u64) -> Option<u32> {
        self.int(module, "module", "refcnt").map(|count| (count as u32).saturating_sub(1))
    }

    fn users(&self, module: u64, remarks: &mut Vec<String>) -> Option<String> {
        let head = module.wrapping_add(self.offset("module", "source_list").ok()?);
        let uses = self.list(head, "module_use", "source_list", "the list of a module's users", remarks).ok()?;
        let name = |at: u64| {
            let user = self.pointer(at, "module_use", "source").filter(|user| *user != 0)?;
            self.text(user.wrapping_add(self.offset("module", "name").ok()?), 56)
        };
        let names: Option<Vec<String>> = uses.into_iter().map(name).collect();
        Some(names?.join(","))
    }

    fn module_text(&self, module: u64, member: &str) -> Result<String, &'static str> {
        match self.pointer(module, "module", member).ok_or(NOT_HERE)? {
            0 => Err("the module says none"),
            at => self.text(at, 256).ok_or(NOT_HERE),
        }
    }

    fn parameters(&self, module: u64) -> Option<String> {
        const MOST: u64 = 4096;
        let first = self.pointer(module, "module", "kp")?;
        let count = self.int(module, "module", "num_kp").filter(|count| *count <= MOST)?;
        let each = self.size("kernel_param").ok()?;
        let name = |number: u64| {
            let at = first.wrapping_add(each.wrapping_mul(number));
            self.text(self.pointer(at, "kernel_param", "name").filter(|at| *at != 0)?, 128)
        };
        let names: Option<Vec<String>> = (0..count).map(name).collect();
        Some(names?.join(","))
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
