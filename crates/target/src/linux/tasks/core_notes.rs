//! What the notes of a process's core say: who it was, its threads, its mapped files.

use super::memory::ProcessMemory;
use super::process::Process;
use super::registers::{RegisterSource, UserRegisters};
use super::threads::Thread;
use crate::linux::Linux;
use afterimage_dump::Arch;
use afterimage_dump::write::elf_core::{Class, Note};
use afterimage_dump::write::notes::{self, FileMapping, NT_AUXV, NT_FPREGSET, Prpsinfo, Prstatus, Time};
use std::ops::Deref;

/// NT_ARM_TLS.
const NT_ARM_TLS: u32 = 0x401;
/// Bytes of a command line that a note holds.
const LINE: u64 = 4096;

/// Notes, and what could not be told.
pub(super) struct Told {
    pub(super) notes: Vec<Note>,
    pub(super) class: Class,
    pub(super) arch: Arch,
    /// Threads that have registers.
    pub(super) threads: usize,
    pub(super) remarks: Vec<String>,
}

impl Linux {
    pub(super) fn core_notes(
        &self,
        process: &Process,
        memory: &ProcessMemory<impl Deref<Target = Linux> + Send + Sync>,
    ) -> Result<Told, String> {
        let pid = process.pid;
        let (threads, remark) = self.threads(process);
        let mut remarks: Vec<String> = remark.into_iter().collect();
        let mut known: Vec<(Thread, UserRegisters)> = Vec::new();
        for thread in threads {
            let tid = thread.tid;
            match self.user_registers(thread.task) {
                Ok(registers) => {
                    if registers.source == RegisterSource::LastEntry {
                        remarks.push(format!(
                            "thread {tid} was running, and the dump has not its processor's registers: these are those \
                             of its last entry into the kernel"
                        ));
                    }
                    known.push((thread, registers));
                }
                Err(why) => remarks.push(format!("thread {tid} is left out, its registers are not known: {why}")),
            }
        }
        let Some((_, first)) = known.first() else {
            let why = remarks.pop().unwrap_or_default();
            return Err(format!("process {pid} has no thread whose registers are known ({why})"));
        };
        let arch = first.registers.arch();
        let class = if arch.info().pointer_size == 8 { Class::Bits64 } else { Class::Bits32 };
        known.retain(|(thread, registers)| {
            let fits = registers.registers.arch() == arch;
            if !fits {
                remarks.push(format!("thread {} is left out: it ran code of another width", thread.tid));
            }
            fits
        });
        let mut out = Vec::new();
        for (index, (thread, registers)) in known.iter().enumerate() {
            let status =
                self.prstatus(thread, registers).ok_or("the layout of this processor's registers is not known")?;
            out.push(status.note(class));
            if index == 0 {
                out.push(self.prpsinfo(process, memory).note(class));
                match self.auxv(process, class) {
                    Some(auxv) => out.push(Note { owner: "CORE", kind: NT_AUXV, content: auxv }),
                    None => remarks.push("the auxiliary vector is not in the dump".into()),
                }
                let files = file_mappings(memory);
                let of_files = memory.regions().filter(|region| region.file.is_some_and(|file| file != 0)).count();
                if files.len() < of_files {
                    let unknown = of_files - files.len();
                    remarks.push(format!(
                        "{unknown} mappings are of files whose paths are not in the dump: its list lacks them"
                    ));
                }
                out.push(notes::file_note(&files, self.page_bytes(), class));
            }
            match &registers.floating_point {
                Ok(state) => out.push(Note { owner: "CORE", kind: NT_FPREGSET, content: state.clone() }),
                Err(why) => remarks.push(format!("thread {} has no floating-point registers here: {why}", thread.tid)),
            }
            if let Some(pointer) = registers.thread_pointer.filter(|_| arch == Arch::Aarch64) {
                out.push(Note { owner: "LINUX", kind: NT_ARM_TLS, content: pointer.to_le_bytes().to_vec() });
            }
        }
        let names: Vec<(u32, String)> =
            known.iter().filter_map(|(thread, _)| Some((thread.tid, thread.comm.clone()?))).collect();
        out.push(notes::thread_names(&names));
        out.push(notes::facts(&self.facts(process, memory)));
        Ok(Told { notes: out, class, arch, threads: known.len(), remarks })
    }

    fn prstatus(&self, thread: &Thread, registers: &UserRegisters) -> Option<Prstatus> {
        let task = thread.task;
        let time = |member| self.pointer(task, "task_struct", member).map_or((0, 0), seconds);
        let set = |member| self.pointer(task, "task_struct", member).unwrap_or(0);
        let (pgrp, sid) = self.group_and_session(task);
        Some(Prstatus {
            tid: thread.tid,
            ppid: self.parent(task).unwrap_or(0),
            pgrp,
            sid,
            signal: 0,
            pending: set("pending.signal"),
            blocked: set("blocked"),
            times: [time("utime"), time("stime"), (0, 0), (0, 0)],
            registers: notes::integer_registers(&registers.registers)?,
            has_fp: registers.floating_point.is_ok(),
        })
    }

    fn parent(&self, task: u64) -> Option<u32> {
        let parent = self.pointer(task, "task_struct", "real_parent")?;
        Some(self.int(parent, "task_struct", "tgid")? as u32)
    }

    /// Process group and session.
    fn group_and_session(&self, task: u64) -> (u32, u32) {
        let number = |name| {
            let index = self.enumerator(name).and_then(|index| u64::try_from(index).ok()).filter(|index| *index < 8)?;
            let signal = self.pointer(task, "task_struct", "signal").filter(|signal| *signal != 0)?;
            let pids = signal.wrapping_add(self.offset("signal_struct", "pids").ok()?);
            let pid = self.word(pids.wrapping_add(8 * index)).filter(|pid| *pid != 0)?;
            let first = pid.wrapping_add(self.offset("pid", "numbers").ok()?);
            self.int(first, "upid", "nr").map(|number| number as u32)
        };
        (number("PIDTYPE_PGID").unwrap_or(0), number("PIDTYPE_SID").unwrap_or(0))
    }

    fn prpsinfo(
        &self,
        process: &Process,
        memory: &ProcessMemory<impl Deref<Target = Linux> + Send + Sync>,
    ) -> Prpsinfo {
        const DEFAULT_PRIORITY: i64 = 120;
        let task = process.task;
        let cred = self.pointer(task, "task_struct", "cred");
        let of_cred = |member| cred.and_then(|cred| self.int(cred, "cred", member)).unwrap_or(0) as u32;
        let nice = self.int(task, "task_struct", "static_prio").map_or(0, |prio| prio as i64 - DEFAULT_PRIORITY);
        let (pgrp, sid) = self.group_and_session(task);
        Prpsinfo {
            state: process.state.and_then(|state| u8::try_from(state).ok()).unwrap_or(b'S'),
            nice: nice.clamp(-20, 19) as i8,
            flags: self.int(task, "task_struct", "flags").unwrap_or(0),
            uid: of_cred("uid"),
            gid: of_cred("gid"),
            pid: process.pid,
            ppid: process.ppid.unwrap_or(0),
            pgrp,
            sid,
            comm: process.comm.clone().unwrap_or_default().into_bytes(),
            command_line: self.argument_bytes(process, memory),
        }
    }

    /// The bytes of the command line, with their NULs.
    fn argument_bytes(
        &self,
        process: &Process,
        memory: &ProcessMemory<impl Deref<Target = Linux> + Send + Sync>,
    ) -> Vec<u8> {
        let mm = self.pointer(process.task, "task_struct", "mm").unwrap_or(0);
        let word = |member| self.pointer(mm, "mm_struct", member);
        let range = word("arg_start").zip(word("arg_end")).filter(|(start, end)| start < end);
        range.map(|(start, end)| memory.bytes(start, (end - start).min(LINE) as usize)).unwrap_or_default()
    }

    /// The auxiliary vector up to its end, words as wide as the program's.
    pub(super) fn auxv(&self, process: &Process, class: Class) -> Option<Vec<u8>> {
        let mm = self.pointer(process.task, "task_struct", "mm")?;
        let at = mm.wrapping_add(self.offset("mm_struct", "saved_auxv").ok()?);
        let words = self.elements("mm_struct", "saved_auxv")?.min(256);
        let bytes = self.bytes(at, usize::try_from(8 * words).ok()?);
        // A 32-bit program's is stored in its own width.
        let width = if class == Class::Bits64 { 8 } else { 4 };
        let mut out = Vec::new();
        for pair in bytes.chunks_exact(2 * width) {
            out.extend_from_slice(pair);
            if pair.get(..width)?.iter().all(|byte| *byte == 0) {
                return Some(out);
            }
        }
        None
    }

    fn facts(
        &self,
        process: &Process,
        memory: &ProcessMemory<impl Deref<Target = Linux> + Send + Sync>,
    ) -> Vec<(&'static str, Vec<u8>)> {
        let mut facts = vec![("cmdline", self.argument_bytes(process, memory))];
        if let Ok(exe) = &process.exe {
            facts.push(("exe", exe.clone().into_bytes()));
        }
        let release = self.banner().and_then(|banner| banner.split(' ').nth(2).map(str::to_owned));
        facts.extend(release.map(|release| ("os_version", release.into_bytes())));
        let mut maps = String::new();
        for region in memory.regions() {
            let (perms, path) = (region.perms.as_deref().unwrap_or("????"), region.path.clone().ok().flatten());
            let offset = region.offset.filter(|_| region.file.is_some_and(|file| file != 0)).unwrap_or(0);
            let path = path.unwrap_or_default().replace('\n', "\\012");
            maps.push_str(&format!("{:08x}-{:08x} {perms} {offset:08x} {path}\n", region.start, region.end));
        }
        facts.push(("maps", maps.into_bytes()));
        facts
    }
}

/// Mapped files whose path is known.
pub(super) fn file_mappings(memory: &ProcessMemory<impl Deref<Target = Linux> + Send + Sync>) -> Vec<FileMapping> {
    let of_file = memory.regions().filter(|region| region.file.is_some_and(|file| file != 0));
    let mapping = of_file.filter_map(|region| {
        let path = region.path.clone().ok().flatten()?.into_bytes();
        Some(FileMapping { start: region.start, end: region.end, offset: region.offset?, path })
    });
    mapping.collect()
}

/// Seconds and microseconds of nanoseconds.
fn seconds(nanoseconds: u64) -> Time {
    (nanoseconds / 1_000_000_000, nanoseconds / 1000 % 1_000_000)
}
