//! libFuzzer's way to `diarized_tests::fuzz::cluster_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| diarized_tests::fuzz::cluster_message(bytes));
