//! See [`sluicegate_fuzz::quota`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_fuzz::quota(data));
