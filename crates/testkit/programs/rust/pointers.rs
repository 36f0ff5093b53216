//! Rust that dies of a signal without a panic: "null" reads a null pointer in unsafe code (a release build, which does
//! not check for it), "overflow" fills the stack: std's own handler then says so and aborts.

use std::hint::black_box;

struct Record {
    _name: [u8; 16],
    value: u32,
}

trait Source {
    fn read(&self, at: *const Record) -> u32;
}

struct Raw;

impl Source for Raw {
    #[inline(never)]
    fn read(&self, at: *const Record) -> u32 {
        unsafe { std::ptr::read_volatile(&raw const (*at).value) } // CRASH:null
    }
}

#[inline(never)]
fn lookup<S: Source>(source: &S, key: u32) -> u32 {
    let found: *const Record = std::ptr::null();
    black_box(source.read(black_box(found))) + key
}

#[inline(never)]
fn descend(depth: u32) -> u32 {
    let room = black_box([depth; 256]);
    descend(depth + 1) + room[7] // CALL:overflow
}

#[inline(never)]
fn handle_request(how: &str) -> u32 {
    let work = |key: u32| if how == "overflow" { descend(key) } else { lookup(&Raw, key) };
    black_box(work(3)) + 1
}

fn main() {
    let how = std::env::args().nth(1).unwrap_or_default();
    println!("{}", handle_request(&how) + 1);
}
