//! Facts about a process from /proc: status, stat, mappings.
//!
//! *What it is not*: it reads no memory and changes nothing.
//!
//! *Trap*: names may hold blanks, brackets, newlines and bytes that are no UTF-8; `stat` is therefore read from its
//! last `)`.

use crate::sys::Tid;
use afterimage_dump::Permissions;
use std::io::{self, BufRead, BufReader};

/// The fields of `/proc/TID/status` that are used here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) state: u8,
    pub(crate) tgid: Tid,
    pub(crate) ppid: Tid,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Pending for this thread.
    pub(crate) pending: u64,
    /// Pending for the whole process.
    pub(crate) shared_pending: u64,
    pub(crate) blocked: u64,
    pub(crate) ignored: u64,
    pub(crate) caught: u64,
    /// Whether it is the first process of its PID namespace.
    pub(crate) init: bool,
    /// Who traces it; 0 for nobody.
    pub(crate) tracer: Tid,
    /// Whether system calls are filtered.
    pub(crate) seccomp: bool,
    /// Resident memory in bytes: all, shared, and of files.
    pub(crate) resident: u64,
    pub(crate) shared_resident: u64,
    pub(crate) file_resident: u64,
    /// Whether it runs with shadow stacks.
    pub(crate) shadow_stack: bool,
}

impl Status {
    pub(crate) fn read(tid: Tid) -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read(format!("/proc/{tid}/status"))?))
    }

    /// How often a thread has been switched out, by itself and by force.
    pub(crate) fn read_switches(pid: Tid, tid: Tid) -> io::Result<(u64, u64)> {
        let text = std::fs::read(format!("/proc/{pid}/task/{tid}/status"))?;
        let text = String::from_utf8_lossy(&text);
        let count = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key))?;
            value.trim().parse().ok()
        };
        Ok((count("voluntary_ctxt_switches:").unwrap_or(0), count("nonvoluntary_ctxt_switches:").unwrap_or(0)))
    }

    fn parse(text: &[u8]) -> Self {
        let mut status = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (key, value) = line.split_at(colon);
            let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
            let value = value.trim();
            let decimal = || value.split_whitespace().next().and_then(|word| word.parse::<i64>().ok()).unwrap_or(0);
            let mask = || u64::from_str_radix(value, 16).unwrap_or(0);
            match key {
                b"Name" => status.name = unescape(value),
                b"State" => status.state = value.bytes().next().unwrap_or(b'?'),
                b"Tgid" => status.tgid = decimal() as Tid,
                b"PPid" => status.ppid = decimal() as Tid,
                b"Uid" => status.uid = decimal() as u32,
                b"Gid" => status.gid = decimal() as u32,
                b"SigPnd" => status.pending = mask(),
                b"ShdPnd" => status.shared_pending = mask(),
                b"SigBlk" => status.blocked = mask(),
                b"SigIgn" => status.ignored = mask(),
                b"SigCgt" => status.caught = mask(),
                b"NSpid" => status.init = value.split_whitespace().next_back() == Some("1"),
                b"TracerPid" => status.tracer = decimal() as Tid,
                b"Seccomp" => status.seccomp = decimal() != 0,
                b"VmRSS" => status.resident = decimal().max(0) as u64 * 1024,
                b"RssShmem" => status.shared_resident = decimal().max(0) as u64 * 1024,
                b"RssFile" => status.file_resident = decimal().max(0) as u64 * 1024,
                b"x86_Thread_features" => status.shadow_stack = value.contains("shstk"),
                _ => {}
            }
        }
        status
    }

    /// Whether the thread has ended, so that only its exit status is left.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Whether the process has a handler for the signal, or ignores it.
    pub(crate) fn arranged_for(&self, signal: i32) -> bool {
        let bit = 1u64.checked_shl((signal - 1) as u32).unwrap_or(0);
        (self.ignored | self.caught) & bit != 0
    }
}

/// Undoes the two escapes that the kernel uses in `Name:`.
fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\\\", "\\")
}

/// The fields of `/proc/TID/stat` that are used here; times in clock ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) ppid: u32,
    pub(crate) pgrp: u32,
    pub(crate) session: u32,
    pub(crate) flags: u64,
    /// User, kernel, children's user, children's kernel.
    pub(crate) times: [u64; 4],
    pub(crate) nice: i8,
    pub(crate) threads: u32,
    /// Ticks after boot.
    pub(crate) start: u64,
}

impl Stat {
    pub(crate) fn read(path: &str) -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read(path)?))
    }

    fn parse(text: &[u8]) -> Self {
        let after = text.iter().rposition(|&byte| byte == b')').map_or(0, |at| at + 2);
        let text = String::from_utf8_lossy(text.get(after..).unwrap_or_default());
        // The field numbers of proc_pid_stat(5), less 3: state is the first here.
        let fields: Vec<i64> = text.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        let field = |number: usize| number.checked_sub(3).and_then(|at| fields.get(at)).copied().unwrap_or(0);
        Self {
            ppid: field(4) as u32,
            pgrp: field(5) as u32,
            session: field(6) as u32,
            flags: field(9) as u64,
            times: [field(14) as u64, field(15) as u64, field(16) as u64, field(17) as u64],
            nice: field(19) as i8,
            threads: field(20) as u32,
            start: field(22) as u64,
        }
    }
}

/// One mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vma {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) permissions: Permissions,
    pub(crate) shared: bool,
    pub(crate) offset: u64,
    /// Whether it shows a file.
    pub(crate) file: bool,
    pub(crate) path: Vec<u8>,
    /// Private pages of its own exist (smaps `Anonymous` or `Swap`).
    pub(crate) own_pages: bool,
    /// Other processes have some of the same pages: for anonymous memory, a fork's parent or child.
    pub(crate) pages_shared: bool,
    /// Device memory (`io`).
    pub(crate) io: bool,
    /// `MADV_DONTDUMP` (`dd`).
    pub(crate) dont_dump: bool,
    /// Huge pages of hugetlbfs (`ht`).
    pub(crate) hugetlb: bool,
    /// `MADV_DONTFORK` (`dc`).
    pub(crate) dont_fork: bool,
    /// `MADV_WIPEONFORK` (`wf`).
    pub(crate) wipe_on_fork: bool,
    /// A userfaultfd handles its faults (`um`, `uw`).
    pub(crate) userfault: bool,
}

impl Vma {
    /// Takes over from an earlier look, which told more, what the same addresses had then.
    pub(crate) fn with_flags_of(mut self, earlier: &[Self]) -> Self {
        let next = earlier.partition_point(|vma| vma.end <= self.start);
        if let Some(vma) = earlier.get(next).filter(|vma| vma.start < self.end && vma.path == self.path) {
            self.own_pages |= vma.own_pages;
            self.io |= vma.io;
            self.dont_dump |= vma.dont_dump;
            self.hugetlb |= vma.hugetlb;
            self.dont_fork |= vma.dont_fork;
            self.wipe_on_fork |= vma.wipe_on_fork;
            self.userfault |= vma.userfault;
        }
        self
    }

    /// Nothing but a process that runs can read it, by design (memfd_secret(2)).
    pub(crate) fn secret(&self) -> bool {
        self.path.starts_with(b"/secretmem")
    }

    /// A name in brackets, given by the kernel.
    pub(crate) fn special(&self) -> bool {
        self.path.starts_with(b"[")
    }

    /// `[vdso]` and its kin: kernel code that is always dumped.
    pub(crate) fn vdso(&self) -> bool {
        matches!(self.path.as_slice(), b"[vdso]" | b"[sigpage]" | b"[vectors]")
    }
}

/// All mappings in ascending order, with their flags where the kernel tells (smaps), else without (maps).
pub(crate) fn mappings(pid: Tid) -> io::Result<(Vec<Vma>, bool)> {
    // Read line by line: with 65 000 mappings it is 50 MB of text.
    if let Ok(file) = std::fs::File::open(format!("/proc/{pid}/smaps"))
        && let Ok(vmas) = parse_maps(BufReader::with_capacity(64 << 10, file))
        && !vmas.is_empty()
    {
        return Ok((vmas, true));
    }
    Ok((parse_maps(&*std::fs::read(format!("/proc/{pid}/maps"))?)?, false))
}

/// Mappings out of the text of `maps` or `smaps`.
pub(crate) fn parse_maps(text: impl BufRead) -> io::Result<Vec<Vma>> {
    let mut vmas: Vec<Vma> = Vec::new();
    for line in text.split(b'\n') {
        let line = line?;
        let line = line.as_slice();
        if let Some(vma) = parse_header(line) {
            vmas.push(vma);
        } else if let Some(vma) = vmas.last_mut() {
            if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                for flag in flags.split(|&byte| byte == b' ') {
                    match flag {
                        b"io" => vma.io = true,
                        b"dd" => vma.dont_dump = true,
                        b"ht" => vma.hugetlb = true,
                        b"dc" => vma.dont_fork = true,
                        b"wf" => vma.wipe_on_fork = true,
                        b"um" | b"uw" | b"ui" => vma.userfault = true,
                        _ => {}
                    }
                }
            } else if let Some(amount) = line.strip_prefix(b"Shared_Clean:").or(line.strip_prefix(b"Shared_Dirty:")) {
                vma.pages_shared |= amount.iter().any(|byte| matches!(byte, b'1'..=b'9'));
            } else if let Some(amount) = line.strip_prefix(b"Anonymous:").or(line.strip_prefix(b"Swap:")) {
                vma.own_pages |= amount.iter().any(|byte| matches!(byte, b'1'..=b'9'));
            }
        }
    }
    Ok(vmas)
}

/// `start-end perms offset dev inode   path`.
fn parse_header(line: &[u8]) -> Option<Vma> {
    let mut words = line.splitn(6, |&byte| byte == b' ');
    let text = |word: &[u8]| std::str::from_utf8(word).ok().map(str::to_owned);
    let range = text(words.next()?)?;
    let (start, end) = range.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let perms = words.next()?;
    let flag = |at: usize, letter: u8| perms.get(at) == Some(&letter);
    let offset = u64::from_str_radix(&text(words.next()?)?, 16).ok()?;
    let _device = words.next()?;
    let inode: u64 = text(words.next()?)?.parse().ok()?;
    let path = words.next().unwrap_or_default().trim_ascii_start();
    Some(Vma {
        start,
        end,
        permissions: Permissions { read: flag(0, b'r'), write: flag(1, b'w'), execute: flag(2, b'x') },
        shared: flag(3, b's'),
        offset,
        // Folklore: a file's inode can be 0 on some network and overlay file systems, so the path counts as well.
        file: inode != 0 || path.starts_with(b"/"),
        // The kernel writes a newline in a path as \012.
        path: replace(path, b"\\012", b"\n"),
        ..Vma::default()
    })
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = tail;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// The threads of a process.
pub(crate) fn threads(pid: Tid) -> io::Result<Vec<Tid>> {
    let mut tids = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        if let Ok(entry) = entry
            && let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
        {
            tids.push(tid);
        }
    }
    tids.sort_unstable();
    Ok(tids)
}

/// `/proc/PID/coredump_filter`, or the kernel's default.
pub(crate) fn coredump_filter(pid: Tid) -> u64 {
    std::fs::read_to_string(format!("/proc/{pid}/coredump_filter"))
        .ok()
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(0x33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_stat() {
        let status = Status::parse(b"Name:\ta b\nState:\tt (tracing stop)\nTgid:\t7\nPPid:\t1\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000400\n");
        assert_eq!((status.name.as_str(), status.tgid, status.state), ("a b", 7, b't'));
        assert!(status.arranged_for(libc::SIGSEGV) && status.arranged_for(libc::SIGPIPE));
        assert!(!status.arranged_for(libc::SIGABRT));
        let stat = Stat::parse(b"7 (a) b) t 1 7 9 0 -1 4194304 0 0 0 0 11 12 13 14 20 -5 1 0 99 0");
        assert_eq!(stat.threads, 1);
        assert_eq!((stat.ppid, stat.session, stat.times, stat.nice, stat.start), (1, 9, [11, 12, 13, 14], -5, 99));
    }

    #[test]
    fn maps() {
        let text = b"00400000-00401000 r-xp 00002000 fe:00 12    /a b\\012c (deleted)\nAnonymous:       0 kB\nVmFlags: rd ex mr dd\n7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]\nRss:  8 kB\nAnonymous:   8 kB\n";
        let vmas = parse_maps(text.as_slice()).unwrap();
        assert_eq!(vmas.len(), 2);
        assert_eq!(vmas[0].path, b"/a b\nc (deleted)");
        assert!(vmas[0].file && vmas[0].dont_dump && !vmas[0].own_pages && vmas[0].permissions.execute);
        assert_eq!((vmas[0].offset, vmas[0].start, vmas[0].end), (0x2000, 0x40_0000, 0x40_1000));
        assert!(vmas[1].special() && vmas[1].own_pages && !vmas[1].file);
    }
}
