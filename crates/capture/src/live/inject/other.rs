//! Processors in whose processes no calls are made: the same types, of which there is never a value.

use super::Refusal;
use crate::memory::Reader;
use crate::procfs::Vma;
use crate::sys::Tid;
use std::convert::Infallible;

/// See the x86-64 one.
#[derive(Clone, Copy, Debug)]
pub(in crate::live) struct Gadgets(Infallible);

/// See the x86-64 one.
#[derive(Clone, Copy, Debug)]
pub(in crate::live) struct Room(Infallible);

impl Room {
    pub(in crate::live) fn find(_: impl Iterator<Item = Tid>, _: &[Vma], _: &Reader, _: Gadgets) -> Option<Self> {
        None
    }
}

/// See the x86-64 one.
pub(in crate::live) struct Remote {
    pub(in crate::live) tid: Tid,
    pub(in crate::live) children: Vec<Tid>,
    never: Infallible,
}

/// `__WALL`.
pub(in crate::live) const WAIT_ALL: u64 = 0x4000_0000;

impl Remote {
    pub(in crate::live) fn begin(
        room: &Room,
        _: &Reader,
        _: Gadgets,
        _: bool,
        _: Option<i32>,
    ) -> Result<Self, Refusal> {
        match room.0 {}
    }

    pub(in crate::live) fn child(&self, _: Tid) -> Option<Self> {
        match self.never {}
    }

    pub(in crate::live) fn home(&self) -> u64 {
        match self.never {}
    }

    pub(in crate::live) fn wait_way(&self) -> u64 {
        match self.never {}
    }

    pub(in crate::live) fn close_way(&self) -> u64 {
        match self.never {}
    }

    pub(in crate::live) fn exit_way(&self) -> u64 {
        match self.never {}
    }

    pub(in crate::live) fn child_id(&self) -> u64 {
        match self.never {}
    }

    pub(in crate::live) fn saved(&self) -> (u64, &[u8]) {
        match self.never {}
    }

    pub(in crate::live) fn call(&mut self, _: i64, _: [u64; 6], _: u64) -> Result<i64, Refusal> {
        match self.never {}
    }

    pub(in crate::live) fn exit(self) -> Result<(), Refusal> {
        match self.never {}
    }

    pub(in crate::live) fn end(self, _: &Reader) -> Result<(), Refusal> {
        match self.never {}
    }
}
