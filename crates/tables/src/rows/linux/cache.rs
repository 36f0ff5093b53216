//! Files that were in memory.

use super::files::NONE;
use super::linux;
use crate::cell::{Absent, Addr, Field, Time};
use crate::declare::row;
use crate::sink::Sink;
use crate::table::{Params, TableError, emit};
use afterimage_target::Target;
use afterimage_target::linux::{CachedFile, Linux};

row! {
    /// Files of which a Linux machine had pages in memory (its page cache), by file system. `extract --file` writes them.
    PageCacheFileRow {
        /// Path, as process 1 sees it, without ` (deleted)`; of a block device `/dev/` and the kernel's name for it.
        path: Field<String>,
        /// Number of its inode.
        inode: Field<u64>,
        /// Major and minor number of its file system's device, as `254:0`.
        device: Field<String>,
        /// File system, as `ext4`, `tmpfs`.
        filesystem: Field<String>,
        /// Bytes of the file.
        size: Field<u64>,
        /// Bytes of it that are in the dump.
        cached_bytes: Field<u64>,
        /// Pages of it that the kernel counts in memory, be they in the dump or not.
        pages: Field<u64>,
        /// Whether its last name is gone.
        deleted: Field<bool>,
        /// When its content was changed.
        mtime: Field<Time>,
        /// Where the kernel's `struct inode` lies.
        address: Addr,
    }
}

pub(crate) fn page_cache_files(target: &Target, _params: &Params, sink: &mut dyn Sink) -> Result<(), TableError> {
    let Some(linux) = linux(target, sink) else { return Ok(()) };
    let (files, remarks) = match linux.page_cache_files() {
        Ok(found) => found,
        Err(why) => {
            sink.note(&why);
            return Ok(());
        }
    };
    if files.is_empty() && remarks.is_empty() {
        sink.note(NONE);
    }
    for file in files {
        if emit(sink, row(linux, file)).is_break() {
            return Ok(());
        }
    }
    for remark in remarks {
        sink.note(&remark);
    }
    Ok(())
}

fn row(linux: &Linux, file: CachedFile) -> PageCacheFileRow {
    let not_here = || Absent::because("the kernel's structure with it is not in the dump");
    let cached = linux.file_content(&file).map(|runs| Linux::cached_bytes(&runs));
    PageCacheFileRow {
        path: file.path.map_err(Absent::because),
        inode: file.inode.ok_or_else(not_here),
        device: file.device.map(|(major, minor)| format!("{major}:{minor}")).ok_or_else(not_here),
        filesystem: file.filesystem.ok_or_else(not_here),
        size: file.size.ok_or_else(not_here),
        cached_bytes: cached.map_err(|_| not_here()),
        pages: file.pages.ok_or_else(not_here),
        deleted: file.deleted.ok_or_else(not_here),
        mtime: file
            .mtime_ns
            .and_then(|time| i64::try_from(time.div_euclid(1_000_000_000)).ok())
            .map(Time)
            .ok_or_else(not_here),
        address: Addr(file.address),
    }
}
