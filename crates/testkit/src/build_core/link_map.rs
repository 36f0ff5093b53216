//! The dynamic linker's list of modules in memory (x86-64): `r_debug` and the chain of `link_map` nodes that it heads,
//! as `<link.h>` lays them out.
//!
//! ```
//! use afterimage_testkit::build_core::LinkMap;
//! let list = LinkMap::new(0x7f00_0000_0000)
//!     .module(0, 0x40_0300, "")                                  // the program itself has no name
//!     .module(0x7f10_0000_0000, 0x7f10_0000_2000, "/lib/libc.so.6");
//! assert_eq!(list.r_debug(), 0x7f00_0000_0000);
//! let segment = list.segment();                                  // goes into the core
//! # let _ = segment;
//! ```
//!
//! A debugger finds `r_debug` through DT_DEBUG in the program's dynamic section, and that through AT_PHDR.
//!
//! *Trap*: nodes are 40 bytes here, the public part; glibc's own are much longer, so the distance between nodes tells
//! nothing.

use super::pen::Pen;
use super::segment::Segment;

const R_DEBUG: u64 = 40;
const NODE: u64 = 40;

/// Describes the chain.
#[derive(Clone, Debug)]
pub struct LinkMap {
    base: u64,
    modules: Vec<Module>,
    last_next: Next,
}

#[derive(Clone, Debug)]
struct Module {
    load_bias: u64,
    dynamic: u64,
    name: Name,
}

#[derive(Clone, Debug)]
enum Name {
    Text(String),
    At(u64),
}

#[derive(Clone, Copy, Debug)]
enum Next {
    None,
    Node(usize),
    Address(u64),
}

impl LinkMap {
    /// An empty list whose `r_debug` stands at an address; nodes and names follow it.
    #[must_use]
    pub fn new(base: u64) -> Self {
        Self { base, modules: Vec::new(), last_next: Next::None }
    }

    /// Adds a node: `l_addr` (load bias), `l_ld` (dynamic section), `l_name`.
    #[must_use]
    pub fn module(mut self, load_bias: u64, dynamic: u64, name: &str) -> Self {
        self.modules.push(Module { load_bias, dynamic, name: Name::Text(name.to_owned()) });
        self
    }

    /// Adds a node whose `l_name` points to somewhere else.
    #[must_use]
    pub fn module_named_at(mut self, load_bias: u64, dynamic: u64, name_address: u64) -> Self {
        self.modules.push(Module { load_bias, dynamic, name: Name::At(name_address) });
        self
    }

    /// The last node's `l_next` leads back to a node (by its place in the list): a loop.
    #[must_use]
    pub fn loop_to(mut self, node: usize) -> Self {
        self.last_next = Next::Node(node);
        self
    }

    /// The last node's `l_next` leads to an address.
    #[must_use]
    pub fn continue_at(mut self, address: u64) -> Self {
        self.last_next = Next::Address(address);
        self
    }

    /// Address of `r_debug`: the value of DT_DEBUG.
    #[must_use]
    pub fn r_debug(&self) -> u64 {
        self.base
    }

    /// Address of a node.
    #[must_use]
    pub fn node(&self, place: usize) -> u64 {
        self.base.wrapping_add(R_DEBUG).wrapping_add(NODE.wrapping_mul(place as u64))
    }

    /// `r_debug`, nodes and names as readable and writable memory.
    #[must_use]
    pub fn segment(&self) -> Segment {
        let mut names = Pen::little();
        let names_start = self.node(self.modules.len());
        let mut pen = Pen::little();
        let head = if self.modules.is_empty() { 0 } else { self.node(0) };
        // r_version (and padding), r_map, r_brk, r_state RT_CONSISTENT (and padding), r_ldbase
        pen.u64(1).u64(head).u64(0).u64(0).u64(0);
        for (place, module) in self.modules.iter().enumerate() {
            let name = match &module.name {
                Name::At(address) => *address,
                Name::Text(text) => {
                    let address = names_start.wrapping_add(names.position());
                    names.bytes(text.as_bytes()).u8(0);
                    address
                }
            };
            let next_place = place.saturating_add(1);
            let next = match self.last_next {
                _ if next_place < self.modules.len() => self.node(next_place),
                Next::None => 0,
                Next::Node(back) => self.node(back),
                Next::Address(address) => address,
            };
            let previous = place.checked_sub(1).map_or(0, |previous| self.node(previous));
            pen.u64(module.load_bias).u64(name).u64(module.dynamic).u64(next).u64(previous);
        }
        pen.bytes(&names.into_bytes());
        Segment::new(self.base, pen.into_bytes()).access("rw-")
    }
}
