//! See [`sluicegate_fuzz::records`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_fuzz::records(data));
