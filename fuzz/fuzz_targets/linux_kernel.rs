//! `linux_kernel` for libFuzzer; what it does stands in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| afterimage_fuzz::linux_kernel(bytes));
