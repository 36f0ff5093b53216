//! The page cache: which files were in memory, and their bytes.
//!
//! *What it is*: from an inode's tree of pages to physical memory, for file systems on disks and those in memory alike.
//!
//! *What it is not*: a reader of file systems. What was not in memory is missing, with its reason.
//!
//! *Trap*: an entry of the tree stands for one page or for many (huge pages, large folios), and an odd one for none: in
//! tmpfs it says where the page was swapped to, elsewhere that it was there once.
//!
//! *Trap*: a page that is not up to date may hold blocks that are: what was written last.

mod buffers;
mod executable;
mod file;
mod list;
mod pages;
mod shared;
mod tree;

pub(in crate::linux) use file::FilePages;
pub use file::{FileRun, PageState};
pub use list::CachedFile;
pub(super) use shared::Shared;
