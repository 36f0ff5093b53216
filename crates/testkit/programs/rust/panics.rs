//! Panics in the ways in which Rust programs end; the argument says which.

use std::hint::black_box;

#[inline(never)]
fn read_setting(name: &str) -> u32 {
    if black_box(name).is_empty() {
        return 0;
    }
    panic!("setting {name} is not a number") // CALL:panic
}

#[inline(never)]
fn find_user(id: Option<u32>) -> u32 {
    black_box(id).unwrap() // CALL:unwrap
}

#[inline(never)]
fn open_log(path: &str) -> u64 {
    let file = std::fs::File::open(black_box(path)).expect("the log must be there"); // CALL:expect
    file.metadata().map_or(0, |data| data.len())
}

#[inline(never)]
fn pick(rows: &[u32], at: usize) -> u32 {
    rows[black_box(at)] // CALL:index
}

#[inline(never)]
fn add(a: u8, b: u8) -> u8 {
    black_box(a) + black_box(b) // CALL:overflow
}

#[inline(never)]
fn stop() -> u32 {
    std::process::abort() // CALL:abort
}

#[inline(never)]
extern "C" fn callback_from_c(number: u32) -> u32 {
    read_setting(if number > 100 { "" } else { "depth" }) + 1
}

/// A guard whose destructor panics too, while the first panic unwinds.
struct Guard(u32);

impl Drop for Guard {
    #[inline(never)]
    fn drop(&mut self) {
        release(self.0);
    }
}

#[inline(never)]
fn release(number: u32) {
    assert!(black_box(number) > 100, "guard {number} was never locked");
}

#[inline(never)]
fn guarded(number: u32) -> u32 {
    let guard = Guard(number);
    read_setting("depth") + guard.0
}

#[inline(never)]
fn handle_request(how: &str) -> u32 {
    1 + match how {
        "unwrap" => find_user(None),
        "expect" => open_log("/nonexistent/log") as u32,
        "index" => pick(&[1, 2, 3], 7),
        "overflow" => u32::from(add(250, 10)),
        "abort" => stop(),
        "extern" => callback_from_c(1),
        "double" => guarded(3),
        _ => read_setting("depth"),
    }
}

#[inline(never)]
fn serve(how: &str) -> u32 {
    handle_request(how) + 1
}

fn main() {
    let how = std::env::args().nth(1).unwrap_or_default();
    println!("{}", serve(&how) + 1);
}
