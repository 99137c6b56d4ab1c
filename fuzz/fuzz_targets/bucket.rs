//! See [`sluicegate_fuzz::bucket`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_fuzz::bucket(data));
