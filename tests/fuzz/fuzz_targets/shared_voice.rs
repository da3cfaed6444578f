//! libFuzzer's way to `diarized_tests::fuzz::shared_voice`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| diarized_tests::fuzz::shared_voice(bytes));
