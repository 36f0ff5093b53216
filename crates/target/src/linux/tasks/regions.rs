//! The mappings of processes, as `/proc/PID/maps` shows them; and their environment.
//!
//! *Trap*: a node of a maple tree says nowhere how many of its places are in use; what lies behind the last one is stale.
//! Each mapping therefore has to begin and end where its place in the tree says.

use super::process::Process;
use crate::linux::Linux;
use crate::linux::values::Missing;
use crate::linux::walk::Broken;
use afterimage_dump::{MemoryExt, Virt};
use std::collections::HashSet;

/// Mappings of a process at most (`vm.max_map_count` is 65530, and may be set higher).
const MOST: usize = 1 << 20;
/// Mappings of all processes at most.
const TOTAL: usize = 8 << 20;
/// Bytes of an environment at most.
const MAX_ENVIRONMENT: u64 = 2 << 20;

/// One mapping of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRegion {
    /// Process id.
    pub pid: u32,
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// As `r-xp`.
    pub perms: Option<String>,
    /// File, or the kernel's name for it; `Ok(None)` for plain memory.
    pub path: Result<Option<String>, &'static str>,
    /// Address of its `vm_area_struct`.
    pub area: u64,
    /// Its `vm_flags` (include/linux/mm.h).
    pub flags: Option<u64>,
    /// Address of the `struct file` that is mapped; 0 for none.
    pub file: Option<u64>,
    /// Where in its file it begins, in bytes; of plain memory a number without meaning.
    pub offset: Option<u64>,
}

/// A variable in the environment of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// What names a mapping without a file.
struct Places {
    brk: Option<(u64, u64)>,
    stack: Option<u64>,
    vdso: Option<u64>,
}

impl Linux {
    /// The mappings of one process or of all, by process and address; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn process_regions(&self, pid: Option<u32>) -> Result<(Vec<ProcessRegion>, Vec<String>), String> {
        let tree = self.tree_of_areas()?;
        let (processes, mut remarks) = self.asked(pid)?;
        let (mut regions, mut missing) = (Vec::new(), Missing::default());
        for process in processes {
            self.add_regions(&process, tree, &mut regions, &mut missing);
            if regions.len() > TOTAL {
                remarks.push(format!("there are more than {TOTAL} mappings: those behind are not read"));
                break;
            }
        }
        remarks.extend(missing.remarks());
        Ok((regions, remarks))
    }

    /// The mappings of a process that is known already, by address.
    pub(super) fn regions_of(&self, process: &Process) -> Result<(Vec<ProcessRegion>, Vec<String>), String> {
        let tree = self.tree_of_areas()?;
        let (mut regions, mut missing) = (Vec::new(), Missing::default());
        self.add_regions(process, tree, &mut regions, &mut missing);
        Ok((regions, missing.remarks().collect()))
    }

    /// Where in a `mm_struct` the tree of mappings is; `None` where they are a list.
    fn tree_of_areas(&self) -> Result<Option<u64>, String> {
        for member in ["vm_start", "vm_end", "vm_flags"] {
            self.offset("vm_area_struct", member)?;
        }
        let tree = self.offset("mm_struct", "mm_mt.ma_root").ok();
        if tree.is_none() {
            self.offset("mm_struct", "mmap").and_then(|_| self.offset("vm_area_struct", "vm_next"))?;
        }
        Ok(tree)
    }

    fn add_regions(
        &self,
        process: &Process,
        tree: Option<u64>,
        regions: &mut Vec<ProcessRegion>,
        missing: &mut Missing,
    ) {
        let pid = process.pid;
        let Some(mm) = self.pointer(process.task, "task_struct", "mm") else {
            missing.note("its task_struct is not in the dump, so its mappings are unknown", pid);
            return;
        };
        if mm == 0 {
            return;
        }
        let areas = match tree {
            Some(root) => self.area_tree(mm.wrapping_add(root), pid, missing),
            None => self.area_list(mm, pid, missing),
        };
        let word = |member| self.pointer(mm, "mm_struct", member);
        let places = Places {
            brk: word("start_brk").zip(word("brk")),
            stack: word("start_stack"),
            vdso: word("context.vdso").filter(|vdso| *vdso != 0),
        };
        for (start, end, area) in areas {
            let flags = self.pointer(area, "vm_area_struct", "vm_flags");
            let path = self.region_name(area, start, end, &places);
            let file = self.pointer(area, "vm_area_struct", "vm_file");
            let offset = self.pointer(area, "vm_area_struct", "vm_pgoff");
            let offset = offset.map(|pages| pages.wrapping_mul(self.page_bytes()));
            let perms = flags.map(perms);
            regions.push(ProcessRegion { pid, start, end, perms, path, area, flags, file, offset });
        }
    }

    fn area(&self, area: u64) -> Option<(u64, u64, u64)> {
        let start = self.pointer(area, "vm_area_struct", "vm_start")?;
        let end = self.pointer(area, "vm_area_struct", "vm_end")?;
        (start < end).then_some((start, end, area))
    }

    /// Mappings before 6.1: a list.
    fn area_list(&self, mm: u64, pid: u32, missing: &mut Missing) -> Vec<(u64, u64, u64)> {
        let mut areas = Vec::new();
        let mut seen = HashSet::new();
        let mut next = self.pointer(mm, "mm_struct", "mmap");
        loop {
            let Some(at) = next else {
                missing.note("its list of mappings breaks: the next one is not in the dump", pid);
                break;
            };
            if at == 0 {
                break;
            }
            if !seen.insert(at) || areas.len() >= MOST {
                missing.note("its list of mappings runs in a circle", pid);
                break;
            }
            let Some(area) = self.area(at) else {
                missing.note("its list of mappings breaks: the next one is not in the dump", pid);
                break;
            };
            areas.push(area);
            next = self.pointer(at, "vm_area_struct", "vm_next");
        }
        areas
    }

    /// Mappings since 6.1: a maple tree.
    fn area_tree(&self, root: u64, pid: u32, missing: &mut Missing) -> Vec<(u64, u64, u64)> {
        const GAP: &str = "part of its tree of mappings is not in the dump";
        let mut note = |broken| {
            let what = match broken {
                Broken::Missing => GAP,
                Broken::Unknown => "its tree of mappings has a node of an unknown kind",
                Broken::Circle => "its tree of mappings runs in a circle",
                Broken::Damaged => "its tree of mappings is damaged",
            };
            missing.note(what, pid);
        };
        let entries = self.maple(root, &mut note);
        let mut areas = Vec::new();
        for (first, last, entry) in entries {
            match self.area(entry) {
                Some(area) if area.0 == first && area.1 - 1 == last => areas.push(area),
                Some(_) => missing.note("a mapping is not where its tree says", pid),
                None => missing.note(GAP, pid),
            }
        }
        areas
    }

    /// The name as `/proc/PID/maps` has it (fs/proc/task_mmu.c).
    fn region_name(&self, area: u64, start: u64, end: u64, places: &Places) -> Result<Option<String>, &'static str> {
        let file = self.pointer(area, "vm_area_struct", "vm_file").ok_or("the mapping is not in the dump")?;
        if file != 0 {
            let named = self.backing_path(file).or_else(|| self.file_named(file));
            let named = named.ok_or("its directory entries cannot be read")?;
            return Ok(Some(if named.deleted { format!("{} (deleted)", named.name) } else { named.name }));
        }
        // The kernel's own mappings carry their name. One that does not name its operations has them in its image.
        let operations = self.pointer(area, "vm_area_struct", "vm_ops").unwrap_or(0);
        let own = ["special_mapping_vmops", "legacy_special_mapping_vmops"].map(|name| self.symbols.address(name));
        let unnamed = own == [None; 2] && self.in_image(operations);
        if operations != 0
            && (unnamed || own.contains(&Some(operations)))
            && let Some(special) = self.pointer(area, "vm_area_struct", "vm_private_data")
            && let Some(name) = self.pointer(special, "vm_special_mapping", "name").and_then(|name| self.text(name, 64))
            && (!unnamed || name.starts_with('[') && name.ends_with(']'))
        {
            return Ok(Some(name));
        }
        if places.vdso == Some(start) {
            return Ok(Some("[vdso]".to_owned()));
        }
        if places.brk.is_some_and(|(first, last)| first < last && start < last && end > first) {
            return Ok(Some("[heap]".to_owned()));
        }
        if places.stack.is_some_and(|stack| start <= stack && end >= stack) {
            return Ok(Some("[stack]".to_owned()));
        }
        // prctl(PR_SET_VMA_ANON_NAME), since 5.17; from 6.2 also in mappings of memory without a name.
        let given = self.pointer(area, "vm_area_struct", "anon_name").filter(|given| *given != 0);
        let name =
            given.and_then(|given| self.text(given.wrapping_add(self.offset("anon_vma_name", "name").ok()?), 256));
        Ok(name.map(|name| format!("[anon:{name}]")))
    }

    /// The path that a program used, where the mapping is of the file below it (overlayfs, since 6.5).
    fn backing_path(&self, file: u64) -> Option<crate::linux::files::Named> {
        const FMODE_BACKING: u64 = 1 << 25;
        let path = self.offset("backing_file", "user_path").ok()?;
        let backing = self.int(file, "file", "f_mode")? & FMODE_BACKING != 0;
        if backing { self.named(file.wrapping_add(path)) } else { None }
    }

    /// The environments of one process or of all; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn environment(&self, pid: Option<u32>) -> Result<(Vec<Variable>, Vec<String>), String> {
        for member in ["env_start", "env_end", "pgd"] {
            self.offset("mm_struct", member)?;
        }
        let (processes, mut remarks) = self.asked(pid)?;
        let (mut variables, mut missing) = (Vec::new(), Missing::default());
        for process in processes {
            let pid = process.pid;
            let Some(mm) = self.pointer(process.task, "task_struct", "mm") else {
                missing.note("its task_struct is not in the dump, so its environment is unknown", pid);
                continue;
            };
            if mm == 0 {
                continue;
            }
            let word = |member| self.pointer(mm, "mm_struct", member);
            let range = word("env_start").zip(word("env_end")).filter(|(start, end)| start <= end);
            let memory = word("pgd").and_then(|pgd| self.process_memory(pgd));
            let Some(((start, end), memory)) = range.zip(memory) else {
                missing.note("where its environment lies is not in the dump", pid);
                continue;
            };
            let len = (end - start).min(MAX_ENVIRONMENT) as usize;
            if !self.purse.spend_bytes(len) {
                missing.note("too much was read before", pid);
                continue;
            }
            let mut bytes = vec![0; len];
            let got = memory.read_upto(Virt(start), &mut bytes);
            if got < bytes.len() {
                missing.note("pages of its environment are not in the dump", pid);
            }
            bytes.truncate(got);
            for line in bytes.split(|byte| *byte == 0) {
                let line = String::from_utf8_lossy(line);
                if let Some((name, value)) = line.split_once('=') {
                    variables.push(Variable { pid, name: name.to_owned(), value: value.to_owned() });
                }
            }
        }
        remarks.extend(missing.remarks());
        Ok((variables, remarks))
    }
}

/// Letters for `vm_flags` (include/linux/mm.h).
fn perms(flags: u64) -> String {
    const MAY_SHARE: u64 = 0x80;
    let letter = |bit: u64, yes: char| if flags & bit != 0 { yes } else { '-' };
    let shared = if flags & MAY_SHARE != 0 { 's' } else { 'p' };
    [letter(1, 'r'), letter(2, 'w'), letter(4, 'x'), shared].iter().collect()
}
