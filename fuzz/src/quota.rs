//! Quotas and times as text.

use sluicegate::bucket::Bucket;
use sluicegate::clock::nanos;
use sluicegate::quota::Quota;
use sluicegate::span::{self, Span};

/// The text of a quota, and of a time.
pub fn quota(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some(time) = span::parse(text) {
        let printed = Span(nanos(time)).to_string();
        assert_eq!(span::parse(&printed), Some(time), "{text:?} printed as {printed:?}");
    }
    match text.parse::<Quota>() {
        // Every quota can be served, whatever its numbers.
        Ok(_) => {
            if let Some(quota) = crate::read_back::<Quota>(text) {
                let bucket = Bucket::new(quota);
                for now in [0, 1, u64::MAX / 2, u64::MAX] {
                    let (answer, next) = bucket.take(bucket.start(), 1, now);
                    assert!(answer.remaining() <= answer.limit(), "{text:?} at {now}: {answer:?}");
                    assert!(bucket.available(next, now) <= quota.capacity(), "{text:?} at {now}");
                }
            }
        }
        Err(error) => {
            assert!(!error.field().is_empty() && !error.expected().is_empty(), "{text:?}: {error}");
        }
    }
}
