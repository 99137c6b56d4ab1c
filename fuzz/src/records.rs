//! What a store on a disk reads of its file.

use sluicegate::bucket::Bucket;
use sluicegate_disk::fuzzed;

/// Bytes of a key in the file.
const ID: usize = 20;

/// A byte that says whether a checksum is put right first; and what is read as a space's name, as a file's header, and as a key
/// with its record.
pub fn records(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    let is_sealed = first & 1 == 1;
    if let Some((name, written)) = fuzzed::name(7, bytes, is_sealed) {
        assert_eq!(fuzzed::name(7, &written, false), Some((name, written.clone())));
        assert!(fuzzed::name(8, &written, false).is_none(), "another space's");
    }
    if let Some(written) = fuzzed::header(bytes) {
        assert_eq!(written, bytes);
    }
    let Some((id, bytes)) = bytes.split_at_checked(ID) else { return };
    let Some((quota, state, kept_until, written)) = fuzzed::record(id, bytes, is_sealed) else { return };
    assert_eq!(fuzzed::record(id, &written, false), Some((quota, state, kept_until, written)));
    // Whatever state it is, a bucket goes on from it.
    let bucket = Bucket::new(quota);
    for now in [0, 1, kept_until, u64::MAX / 2, u64::MAX] {
        assert!(bucket.available(state, now) <= quota.capacity(), "{quota}: more than there can be");
        let (taken, next) = bucket.take_up_to(state, 3, now);
        assert!(taken <= 3);
        let (answer, _) = bucket.take(next, 1, now);
        assert!(!answer.is_granted() || taken == 3, "{quota}: less was taken than there was");
        assert!(bucket.put(next, 5, now).0 <= 5);
    }
}
