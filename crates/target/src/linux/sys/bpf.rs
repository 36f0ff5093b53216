//! Programs and maps of BPF, as `bpftool prog` and `bpftool map` list them (kernel/bpf/syscall.c).
//!
//! *What it is not*: what a map holds. Keys and values are the programs' own; sizes and names are shown.

use crate::linux::Linux;
use crate::linux::walk::tell;

/// Maps of one program at most (`MAX_USED_MAPS` is 64).
const MOST_MAPS: u64 = 512;
/// Bytes of an instruction (`struct bpf_insn`).
const INSTRUCTION: u64 = 8;

/// A program of BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfProgram {
    /// Number.
    pub id: u32,
    /// Address of its `struct bpf_prog`.
    pub at: u64,
    /// Kind, as `socket_filter`.
    pub kind: Option<String>,
    /// Name that its loader gave.
    pub name: Option<String>,
    /// Tag: the first 8 bytes of the SHA-1 of its instructions.
    pub tag: Option<[u8; 8]>,
    /// User id of who loaded it.
    pub uid: Option<u32>,
    /// Nanoseconds from the machine's start to its load.
    pub loaded_ns: Option<u64>,
    /// Bytes of its instructions, as the verifier left them.
    pub xlated: Option<u64>,
    /// Bytes of its machine code; `Some(0)` if it is interpreted.
    pub jited: Option<u64>,
    /// How often it ran, if the machine counts that (`kernel.bpf_stats_enabled`).
    pub runs: Option<u64>,
    /// Numbers of the maps it uses; `None` if they are not in the dump.
    pub maps: Option<Vec<u32>>,
}

/// A map of BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfMap {
    /// Number.
    pub id: u32,
    /// Address of its `struct bpf_map`.
    pub at: u64,
    /// Kind, as `array`.
    pub kind: Option<String>,
    /// Name that its maker gave.
    pub name: Option<String>,
    /// Bytes of a key.
    pub key_size: Option<u64>,
    /// Bytes of a value.
    pub value_size: Option<u64>,
    /// Entries at most.
    pub max_entries: Option<u64>,
    /// Flags, a bit each (`BPF_F_…`).
    pub flags: Option<u64>,
    /// Whether programs of the user side may no longer write to it.
    pub frozen: Option<bool>,
}

impl Linux {
    /// Numbers and addresses in an IDR.
    fn numbered_in(&self, idr: &str) -> Result<Vec<(u64, u64)>, String> {
        let head = self.symbol(idr)?.wrapping_add(self.offset("idr", "idr_rt.xa_head")?);
        self.xarray(self.word(head).ok_or_else(|| format!("{idr} is not in the dump"))?)
    }

    /// The name of an enumerator with `prefix` before it, in lower letters.
    fn kind_name(&self, list: &[(String, i64)], prefix: &str, value: u64) -> String {
        let own = list.iter().find(|(name, own)| u64::try_from(*own) == Ok(value) && name.starts_with(prefix));
        // A name that was given up stands before the one with it at its end.
        let name = own.and_then(|(name, _)| name.strip_prefix(prefix)).map(str::to_lowercase);
        name.map_or_else(|| value.to_string(), |name| name.trim_end_matches("_deprecated").to_owned())
    }

    fn enumeration(&self, name: &str) -> Vec<(String, i64)> {
        self.types.as_ref().map(|types| types.enumerators_of(name)).unwrap_or_default()
    }

    /// The programs of BPF, by their numbers; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn bpf_programs(&self) -> Result<(Vec<BpfProgram>, Vec<String>), String> {
        let kinds = self.enumeration("bpf_prog_type");
        self.offset("bpf_prog", "aux")?;
        let (mut programs, mut remarks) = (Vec::new(), Vec::new());
        for (id, at) in self.numbered_in("prog_idr")? {
            let aux = self.pointer(at, "bpf_prog", "aux").filter(|aux| *aux != 0);
            if aux.and_then(|aux| self.int(aux, "bpf_prog_aux", "id")) != Some(id) {
                tell(&mut remarks, || format!("program {id} is not where its number leads, or not in the dump"));
                continue;
            }
            let aux = aux.unwrap_or(0);
            let inside = |member: &str| self.offset("bpf_prog_aux", member).ok().map(|offset| aux.wrapping_add(offset));
            let tag = self.offset("bpf_prog", "tag").ok().map(|offset| self.bytes(at.wrapping_add(offset), 8));
            let jited = match self.value(at, "bpf_prog", "jited") {
                Some(0) => Some(0),
                _ => self.int(at, "bpf_prog", "jited_len"),
            };
            programs.push(BpfProgram {
                id: id as u32,
                at,
                kind: self.int(at, "bpf_prog", "type").map(|kind| self.kind_name(&kinds, "BPF_PROG_TYPE_", kind)),
                name: inside("name").and_then(|at| self.text(at, 16)),
                tag: tag.and_then(|tag| tag.first_chunk().copied()),
                uid: self
                    .pointer(aux, "bpf_prog_aux", "user")
                    .filter(|user| *user != 0)
                    .and_then(|user| self.int(user, "user_struct", "uid"))
                    .map(|uid| uid as u32),
                loaded_ns: inside("load_time").and_then(|at| self.word(at)),
                xlated: self.int(at, "bpf_prog", "len").map(|count| count.wrapping_mul(INSTRUCTION)),
                jited,
                runs: self.runs(at, aux),
                maps: self.used_maps(aux),
            });
        }
        Ok((programs, remarks))
    }

    /// Every processor counts by itself.
    fn runs(&self, program: u64, aux: u64) -> Option<u64> {
        // A member of the program since 5.12.
        let place =
            self.pointer(program, "bpf_prog", "stats").or_else(|| self.pointer(aux, "bpf_prog_aux", "stats"))?;
        if place == 0 {
            return Some(0);
        }
        let count = self.offset("bpf_prog_stats", "cnt").ok()?;
        let each = |cpu| self.word(self.per_cpu(cpu, place)?.wrapping_add(count));
        self.possible_cpus().into_iter().map(each).try_fold(0u64, |sum, count| Some(sum.wrapping_add(count?)))
    }

    fn used_maps(&self, aux: u64) -> Option<Vec<u32>> {
        let count = self.int(aux, "bpf_prog_aux", "used_map_cnt")?;
        if count == 0 {
            return Some(Vec::new());
        }
        let table = self.pointer(aux, "bpf_prog_aux", "used_maps")?;
        let id = |map: Option<u64>| self.int(map?, "bpf_map", "id").map(|id| id as u32);
        self.words(table, count.min(MOST_MAPS)).into_iter().map(id).collect()
    }

    /// The maps of BPF, by their numbers; and what was wrong on the way.
    ///
    /// # Errors
    /// What is missing to walk at all.
    pub fn bpf_maps(&self) -> Result<(Vec<BpfMap>, Vec<String>), String> {
        let kinds = self.enumeration("bpf_map_type");
        self.offset("bpf_map", "id")?;
        let (mut maps, mut remarks) = (Vec::new(), Vec::new());
        for (id, at) in self.numbered_in("map_idr")? {
            if self.int(at, "bpf_map", "id") != Some(id) {
                tell(&mut remarks, || format!("map {id} is not where its number leads, or not in the dump"));
                continue;
            }
            let int = |member: &str| self.int(at, "bpf_map", member);
            let name = self.offset("bpf_map", "name").ok();
            maps.push(BpfMap {
                id: id as u32,
                at,
                kind: int("map_type").map(|kind| self.kind_name(&kinds, "BPF_MAP_TYPE_", kind)),
                name: name.and_then(|offset| self.text(at.wrapping_add(offset), 16)),
                key_size: int("key_size"),
                value_size: int("value_size"),
                max_entries: int("max_entries"),
                flags: int("map_flags"),
                frozen: self.value(at, "bpf_map", "frozen").map(|frozen| frozen != 0),
            });
        }
        Ok((maps, remarks))
    }
}
