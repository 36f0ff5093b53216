//! The list of tables, and running one.

use crate::cell::{Cell, ColumnType};
use crate::remarks::FewNotes;
use crate::rows;
use crate::rows::linux::files::{MOUNTS_OF, PID};
use crate::sink::Sink;
use afterimage_target::Target;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Name in snake case.
    pub name: &'static str,
    /// Type of its values.
    pub kind: ColumnType,
    /// Whether a value can be missing.
    pub optional: bool,
    /// Manual, one or more lines.
    pub doc: &'static str,
}

/// A row struct made by the `row!` declaration.
pub trait Row {
    /// The table's manual.
    const DOC: &'static str;
    /// Its columns.
    const COLUMNS: &'static [Column];
    /// The cells in the order of the columns.
    fn cells(self) -> Vec<Cell>;
}

/// A key that narrows a table, as `tid=1234`.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// The key.
    pub name: &'static str,
    /// Manual.
    pub doc: &'static str,
}

/// A table: a question and the shape of its answer.
pub struct Table {
    /// Name, plural, in snake case.
    pub name: &'static str,
    /// Another name that it can be asked by.
    pub alias: Option<&'static str>,
    /// Manual, one or more lines.
    pub doc: &'static str,
    /// Columns.
    pub columns: &'static [Column],
    /// Keys that narrow it.
    pub params: &'static [Param],
    run: fn(&Target, &Params, &mut dyn Sink) -> Result<(), TableError>,
}

impl Table {
    /// Answers the question for `target`.
    ///
    /// # Errors
    /// When a key is unknown or its value cannot be understood.
    pub fn run(&self, target: &Target, params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
        if let Some(key) = params.0.keys().find(|key| !self.params.iter().any(|param| param.name == **key)) {
            let known: Vec<&str> = self.params.iter().map(|param| param.name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(TableError::UnknownKey { table: self.name, key: key.clone(), known });
        }
        target.refill_linux();
        let mut few = FewNotes::new(sink, target);
        let ran = (self.run)(target, params, &mut few);
        few.finish();
        ran?;
        if let Some(spent) = target.linux_spent() {
            sink.note(&spent);
        }
        Ok(())
    }
}

/// Keys and their values as a user wrote them.
#[derive(Clone, Debug, Default)]
pub struct Params(pub BTreeMap<String, String>);

impl Params {
    /// The value of `key` as a number (decimal or `0x…`), if it was given.
    ///
    /// # Errors
    /// When the value is no number.
    pub fn number(&self, key: &'static str) -> Result<Option<u64>, TableError> {
        let Some(text) = self.0.get(key) else { return Ok(None) };
        let number = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(&hex.replace('_', ""), 16),
            None => text.parse(),
        };
        let bad = |_| TableError::BadValue { key, value: text.clone(), wanted: "a number, as 1234 or 0x7f00" };
        number.map(Some).map_err(bad)
    }

    /// The value of `key` as text, if it was given.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

/// A question that cannot be asked this way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The table has no such key.
    #[error("table {table} has no key {key} (its keys: {known})")]
    UnknownKey {
        /// The table.
        table: &'static str,
        /// The unknown key.
        key: String,
        /// The keys that it has.
        known: String,
    },
    /// The value cannot be understood.
    #[error("{key}={value} is not {wanted}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The table needs this key.
    #[error("this table needs {0}")]
    MissingKey(&'static str),
    /// Nothing in the dump has this key.
    #[error("{0}")]
    NoSuch(String),
}

/// Hands one typed row to a sink.
pub(crate) fn emit<R: Row>(sink: &mut dyn Sink, row: R) -> ControlFlow<()> {
    sink.row(row.cells())
}

/// The table with this name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name || table.alias == Some(name))
}

pub(crate) const TID: Param = Param { name: "tid", doc: "only this thread" };

macro_rules! table {
    ($name:literal, $alias:expr, $row:ty, $params:expr, $run:path) => {
        Table {
            name: $name,
            alias: $alias,
            doc: <$row as Row>::DOC,
            columns: <$row as Row>::COLUMNS,
            params: $params,
            run: $run,
        }
    };
}

/// All tables, in the order in which a reader meets them.
pub static TABLES: &[Table] = &[
    table!("dump", None, rows::DumpRow, &[], rows::dump::run),
    table!("exception", None, rows::ExceptionRow, &[], rows::exception::run),
    table!("findings", None, rows::FindingRow, &[], rows::findings::run),
    table!("threads", None, rows::ThreadRow, &[TID], rows::threads::run),
    table!("thread_groups", None, rows::ThreadGroupRow, &[], rows::thread_groups::run),
    table!("frames", None, rows::FrameRow, &[TID], rows::frames::run),
    table!("variables", None, rows::VariableRow, rows::variables::PARAMS, rows::variables::run),
    table!("registers", None, rows::RegisterRow, rows::registers::PARAMS, rows::registers::run),
    table!("modules", None, rows::ModuleRow, &[], rows::modules::run),
    table!("unloaded_modules", None, rows::UnloadedModuleRow, &[], rows::modules::run_unloaded),
    table!("regions", None, rows::RegionRow, &[], rows::regions::run),
    table!("memory", None, rows::MemoryRow, rows::memory::PARAMS, rows::memory::run),
    table!("cpus", None, rows::CpuRow, &[], rows::machine::cpus),
    table!("physical_regions", None, rows::PhysicalRegionRow, &[], rows::machine::physical_regions),
    table!("kernel", None, rows::KernelRow, &[], rows::linux::kernel),
    table!("kernel_log", None, rows::KernelLogRow, &[], rows::linux::log),
    table!("processes", None, rows::ProcessRow, &[PID], rows::linux::processes),
    table!("process_tree", None, rows::ProcessTreeRow, &[], rows::linux::process_tree),
    table!("process_threads", None, rows::ProcessThreadRow, &[PID], rows::linux::threads::run),
    table!("kernel_frames", None, rows::KernelFrameRow, rows::kernel_frames::PARAMS, rows::kernel_frames::run),
    table!(
        "user_frames",
        None,
        rows::linux::UserFrameRow,
        rows::linux::user_frames::PARAMS,
        rows::linux::user_frames::run
    ),
    table!("blocked_tasks", None, rows::BlockedTaskRow, &[], rows::linux::blocked::blocked_tasks),
    table!("kernel_fault", None, rows::KernelFaultRow, &[], rows::linux::fault::kernel_fault),
    table!("kernel_modules", None, rows::KernelModuleRow, &[], rows::linux::modules),
    table!("kernel_module_sections", None, rows::KernelModuleSectionRow, &[], rows::linux::module_sections),
    table!("open_files", None, rows::OpenFileRow, &[PID], rows::linux::files::open_files),
    table!("sockets", None, rows::SocketRow, &[PID], rows::linux::files::sockets),
    table!("network_interfaces", None, rows::NetworkInterfaceRow, &[], rows::linux::net::network_interfaces),
    table!("routes", None, rows::RouteRow, &[], rows::linux::net::routes),
    table!("neighbours", Some("arp"), rows::NeighbourRow, &[], rows::linux::net::neighbours),
    table!("process_regions", None, rows::ProcessRegionRow, &[PID], rows::linux::files::process_regions),
    table!("page_cache_files", None, rows::linux::cache::PageCacheFileRow, &[], rows::linux::cache::page_cache_files),
    table!("mounts", None, rows::MountRow, &[MOUNTS_OF], rows::linux::files::mounts),
    table!("shell_history", None, rows::linux::ShellHistoryRow, &[PID], rows::linux::history::run),
    table!("memory_usage", None, rows::linux::MemoryUsageRow, &[], rows::linux::memory::usage),
    table!("memory_zones", None, rows::linux::MemoryZoneRow, &[], rows::linux::memory::zones),
    table!("slab_caches", None, rows::linux::SlabCacheRow, &[], rows::linux::memory::slabs),
    table!("interrupts", None, rows::linux::InterruptRow, &[], rows::linux::sys::interrupts),
    table!("timers", None, rows::linux::TimerRow, &[], rows::linux::sys::timers),
    table!("bpf_programs", None, rows::linux::BpfProgramRow, &[], rows::linux::sys::bpf_programs),
    table!("bpf_maps", None, rows::linux::BpfMapRow, &[], rows::linux::sys::bpf_maps),
    table!("keyrings", None, rows::linux::KeyringRow, &[], rows::linux::sys::keyrings),
    table!("environment", None, rows::EnvironmentRow, &[PID], rows::process::run_environment),
    table!("auxv", None, rows::AuxvRow, &[], rows::process::run_auxv),
    table!("handles", None, rows::HandleRow, &[], rows::process::run_handles),
    table!("facts", None, rows::FactRow, &[], rows::process::run_facts),
    table!("notes", Some("streams"), rows::NoteRow, &[], rows::notes::run),
    table!("issues", None, rows::IssueRow, &[], rows::issues::run),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sound() {
        let snake = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        for (i, table) in TABLES.iter().enumerate() {
            assert!(snake(table.name));
            assert!(!table.doc.trim().is_empty() && !table.columns.is_empty(), "{}", table.name);
            assert!(TABLES[..i].iter().all(|other| other.name != table.name), "{} stands twice", table.name);
            for (j, column) in table.columns.iter().enumerate() {
                assert!(snake(column.name) && !column.doc.trim().is_empty(), "{}.{}", table.name, column.name);
                assert!(table.columns[..j].iter().all(|other| other.name != column.name));
            }
        }
    }

    #[test]
    fn columns_that_others_rely_on_are_there() {
        let relied_on: &[(&str, &[&str])] = &[
            ("dump", &["format", "type", "os", "arch", "pid", "time", "complete", "soft_errors"]),
            ("threads", &["tid", "name", "state", "signal", "pc", "sp", "crashed"]),
            (
                "frames",
                &["tid", "index", "pc", "function", "offset", "module", "file", "line", "inlined", "trust", "why"],
            ),
            ("registers", &["tid", "name", "value"]),
            ("variables", &["tid", "frame", "name", "type", "value"]),
            ("modules", &["base", "end", "path", "build_id", "matched"]),
            ("regions", &["start", "end", "perms", "path", "present_bytes"]),
            ("exception", &["signal", "code", "address", "kind", "thread"]),
            ("environment", &["pid", "name", "value"]),
            ("open_files", &["pid", "fd", "path", "kind", "deleted"]),
            ("sockets", &["pid", "fd", "family", "protocol", "local", "remote", "state"]),
            ("process_regions", &["pid", "start", "end", "perms", "path"]),
            (
                "network_interfaces",
                &["namespace", "name", "mac", "mtu", "flags", "ipv4", "ipv6", "rx_bytes", "tx_bytes"],
            ),
            ("routes", &["family", "table", "destination", "gateway", "interface", "metric"]),
            ("neighbours", &["family", "address", "mac", "interface", "state"]),
            ("process_tree", &["pid", "ppid", "depth", "comm"]),
            ("processes", &["pid", "ppid", "uid", "comm", "cgroup", "ns_net", "ns_pid", "cap_eff", "tty"]),
            ("kernel_modules", &["name", "base", "size", "taints", "refcount", "used_by"]),
            ("kernel_module_sections", &["module", "name", "address"]),
            ("mounts", &["source", "target", "fstype", "options"]),
            ("findings", &["kind", "severity", "subject", "summary", "evidence"]),
        ];
        for (name, columns) in relied_on {
            let table = find(name).unwrap_or_else(|| panic!("no table {name}"));
            for column in *columns {
                assert!(table.columns.iter().any(|c| c.name == *column), "{name} has no column {column}");
            }
        }
    }
}
