//! See [`sluicegate_fuzz::forwarded`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_fuzz::forwarded(data));
