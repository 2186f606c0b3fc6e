//! libFuzzer on the target of this name in `tests/src/fuzz/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tests::fuzz::run("answers", bytes));
