//! `pe` for libFuzzer; what it does stands in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| afterimage_fuzz::pe(bytes));
