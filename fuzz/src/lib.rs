//! What is fuzzed. Each function here is fed any bytes; what is not of its form it leaves alone, and it panics where a
//! promise of the library or the binary is broken. `scripts/fuzz` drives them with libFuzzer; a test replays what was found
//! interesting (`corpus/`) through the same functions, in every run of the tests.
//!
//! | target | fed | promises |
//! | --- | --- | --- |
//! | [`quota()`] | text | a quota's text reads back to the same quota; an error says what would be right |
//! | [`config()`] | text | a file is read to settings that can be, or to mistakes that lie inside it and can be shown |
//! | [`forwarded()`] | fields | who a client is taken for does not depend on what stands left of the first hop not trusted |
//! | [`keys()`] | text, lists | limits and patterns read back to the same; a path's plain form is final; keys are told apart |
//! | [`bucket()`] | a quota, operations | nothing more than the quota is granted; a retry is told exactly |
//! | [`records()`] | what a disk store's file holds | it is refused, or reads back to the same; a bucket of any state is one |
//! | [`answers()`] | requests, a server's reply | each request is told what it asked for, or all of the reply is refused |
#![expect(clippy::panic, reason = "a panic is how a fuzz target tells of a finding")]

mod answers;
mod bucket;
mod config;
mod forwarded;
mod keys;
mod quota;
mod records;

pub use answers::answers;
pub use bucket::bucket;
pub use config::config;
pub use forwarded::forwarded;
pub use keys::keys;
pub use quota::quota;
pub use records::records;

/// A target: its name, and the function that is fed.
pub type Target = (&'static str, fn(&[u8]));

/// All targets. Each has a binary of its name in `fuzz_targets/`, and a folder of its name in `corpus/`.
pub const TARGETS: &[Target] = &[
    ("answers", answers),
    ("bucket", bucket),
    ("config", config),
    ("forwarded", forwarded),
    ("keys", keys),
    ("quota", quota),
    ("records", records),
];

/// What `text` reads as, if it can be read; then its text must read back to the same.
fn read_back<T>(text: &str) -> Option<T>
where
    T: std::str::FromStr<Err: std::error::Error> + std::fmt::Display + PartialEq + std::fmt::Debug,
{
    let read: T = match text.parse() {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error without words for {text:?}");
            return None;
        }
    };
    let printed = read.to_string();
    match printed.parse::<T>() {
        Ok(again) => assert_eq!(again, read, "{text:?} printed as {printed:?}"),
        Err(error) => panic!("{text:?} printed as {printed:?}: {error}"),
    }
    Some(read)
}
